"""Settings come from the file, the environment and arguments; what cannot be used is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from barograph.core.settings import Settings, load_settings
from barograph_client.errors import InvalidSettings


def loaded(directory: Path, toml: str = "", **variables: str) -> Settings:
    (directory / "barograph.toml").write_text(toml, encoding="utf-8")
    return load_settings(directory, {f"BAROGRAPH_{name}": text for name, text in variables.items()})


def test_a_later_source_wins_and_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "barograph.toml").write_text("[budget]\ndaily = 5\nmonthly = 90.0\n", encoding="utf-8")
    settings = load_settings(tmp_path, {"BAROGRAPH_BUDGET__DAILY": "6"}, budget={"monthly": 80})
    assert (settings.budget.daily, settings.budget.monthly) == (6.0, 80.0)


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ('[budget]\ndaily = "5"', "budget.daily: Expected `float | null`, got `str`. Write it without quotes."),
        ('[collect]\nhash_users = "true"', "collect.hash_users: Expected `bool`, got `str`. Write it without quotes."),
        ('[[rules]]\nname = "a"\nmetric = "cost"\nabove = "5"', "rules[0].above: Expected `float | null`, got `str`"),
        ("[budget]\ndayly = 5", "budget: Object contains unknown field `dayly`"),
        ("project = 3", "project: Expected `str`, got `int`"),
        ('[collect]\nredact = "email"', "collect.redact: Expected `array`, got `str`. See"),
    ],
)
def test_the_file_is_read_strictly_and_an_error_names_file_and_field(tmp_path: Path, toml: str, place: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        loaded(tmp_path, toml)
    assert place in str(refused.value)
    assert "barograph.toml" in str(refused.value)


def test_a_variable_is_read_as_the_type_of_its_setting(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path, '[collect]\ntags = {a = "b"}', BUDGET__DAILY="5", COLLECT__HASH_USERS="true", PROJECT="[x]",
        COLLECT__REDACT='["email", "card"]', COLLECT__TAGS__TEAM="search",
        RULES='[{"name": "slow", "metric": "response_time.p95", "above": 5, "for": "2m"}]',
    )  # fmt: skip
    assert (settings.budget.daily, settings.collect.hash_users, settings.project) == (5.0, True, "[x]")
    assert settings.collect.redact == ("email", "card")
    assert settings.collect.tags == {"a": "b", "team": "search"}
    assert (settings.rules[0].above, settings.rules[0].for_) == (5.0, "2m")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BUDGET__DAILY", "much", "BAROGRAPH_BUDGET__DAILY: Expected `float | null`, got `str` (got much)"),
        ("BUDGET__DAILY", "-1", "BAROGRAPH_BUDGET__DAILY: Expected `float` > 0"),
        ("COLLECT__REDACT", "email", "A list or a table is written as JSON: BAROGRAPH_COLLECT__REDACT="),
        ("COLLECT__REDACT", '["email"', "A list or a table is written as JSON"),
        ("JOURNAL__NONE", "1", "BAROGRAPH_JOURNAL__NONE: Object contains unknown field `none`"),
        ("PROJECT__NAME", "x", "BAROGRAPH_PROJECT__NAME: Expected `str`, got `object`"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_with_its_value(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        loaded(tmp_path, **{name: text})
    assert said in str(refused.value)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"barograph\.toml: "):
        loaded(tmp_path, "project = ")
