"""Settings come from the file, the environment and arguments; what cannot be used is named with its place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.core.mistakes import mistakes
from barograph.core.settings import Settings, load_settings
from barograph.core.toml_lines import TomlLines, dotted
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
        ('[budget]\ndaily = "5"', "line 2: budget.daily: must be a number, not text. Write it without quotes."),
        ('[collect]\nhash_users = "true"', "collect.hash_users: must be true or false, not text. Write it"),
        ('[[rules]]\nname = "a"\nmetric = "cost"\nabove = "5"', "line 4: rules[0].above: must be a number, not text"),
        ("[budget]\ndayly = 5", "line 2: budget.dayly: there is no such setting. Did you mean daily?"),
        ("project = 3", "line 1: project: must be text, not a whole number (got 3). Write it in quotes."),
        ('[collect]\nredact = "email"', 'collect.redact: must be a list, not text. Write redact = ["…"].'),
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
        ("BUDGET__DAILY", "much", "BAROGRAPH_BUDGET__DAILY: must be a number, not text (got much)"),
        ("BUDGET__DAILY", "-1", "BAROGRAPH_BUDGET__DAILY: must be above 0 (got -1)"),
        ("COLLECT__REDACT", "email", "A list or a table is written as JSON: BAROGRAPH_COLLECT__REDACT="),
        ("COLLECT__REDACT", '["email"', "A list or a table is written as JSON"),
        ("JOURNAL__NONE", "1", "BAROGRAPH_JOURNAL__NONE: there is no such setting"),
        ("PROJECT__NAME", "x", "BAROGRAPH_PROJECT__NAME: must be text, not a table"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_with_its_value(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(InvalidSettings) as refused:
        loaded(tmp_path, **{name: text})
    assert said in str(refused.value)


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path: Path) -> None:
    assert loaded(tmp_path, "\ufeffproject = 'shop'").project == "shop"


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"barograph\.toml: "):
        loaded(tmp_path, "project = ")


# Each line with a comment has the mistake that the comment names; a list of several lines has one in its second item.
MISTAKEN = """
timezone = 5                                # must be text, not a whole number
[budgt]                                     # Did you mean budget?
daily = 5
[[rule]]                                    # Did you mean rules?
[[rules]]
name = "a"
severity = "crit"                           # must be one of info, warning, critical | Did you mean critical?
kind = "treshold"                           # Did you mean threshold?
abov = 5                                    # Did you mean above?
message = '''
[[rules]]
name = 5 '''
known = 1.5                                 # must be a whole number, not a number | without a fraction
[[rules]]                                   # name: is missing
above = "5"                                 # must be a number, not text | Write it without quotes.
labels.team = 5                             # must be text
compare = "yesterday"                       # must be one of previous, day, week
annotations = { a = "x", "b" = 5 }          # must be text
[[receivers]]
name = "x"
targets = [
  { type = "slack" },
  { type = "webook" },                      # Did you mean webhook?
  { to = ["someone@example.org"] },         # There are: log, terminal,
]
[[receivers]]
name = "y"
[[receivers.targets]]
type = "email"
to = ["a@example.org"]
sender = "b@example.org"
hots = "mail"                               # Did you mean host?
host = ["mail"]                             # must be text, not a list
[routing.route]
routes = [{ matchers = "severity=info" }]   # must be a list, not text
[[routing.maintenance]]
name = "x"
days = ["saturday"]                         # must be one of mon, tue,
[[status]]                                  # Write [status], in single brackets.
[server]
port = 99999                                # must be at most 65,535
"""


def test_every_mistake_of_a_file_is_found_with_its_line_and_what_to_write() -> None:
    wanted = {
        number: said.split(" | ")
        for number, line in enumerate(MISTAKEN.split("\n"), 1)
        if (said := line.partition("# ")[2])
    }
    lines = TomlLines(MISTAKEN)
    found = {lines.of(one.at): one for one in mistakes(tomllib.loads(MISTAKEN), Settings)}
    assert found.keys() == wanted.keys()
    for line, parts in wanted.items():
        told = f"{dotted(found[line].at)}: {found[line].says}. {found[line].instead}"
        assert all(part in told for part in parts), told


@given(st.recursive(
    st.one_of(st.integers(), st.floats(), st.booleans(), st.sampled_from(["5", "slack", "day", ""])),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from([*Settings.__struct_fields__, "name", "type", "targets", "route", "routes",
                                       "to", "above", "labels", "for", "x"]), inner, max_size=3),
))  # fmt: skip
def test_a_tree_has_a_mistake_exactly_where_it_cannot_be_settings(tree: object) -> None:
    try:
        msgspec.convert(tree, Settings)
        right = True
    except msgspec.ValidationError:
        right = False
    assert (mistakes(tree, Settings) == []) is right


def test_of_several_mistakes_the_first_line_is_told_and_that_there_are_more(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"line 1: project: .* `barograph alerts check` tells of 1 more"):
        loaded(tmp_path, "project = 3\n[budget]\nx = 1")
