"""Expressions of Prometheus: what is read is written back the same, and what cannot be said here is told why."""

from __future__ import annotations

import pytest
from tests.alerts.test_promtool_fuzz import Draw
from tests.support.series_rules import read_groups

from barograph.alerts.prometheus.parser import parse
from barograph.alerts.prometheus.template import Template
from barograph.alerts.prometheus.text import duration, write, write_yaml
from barograph.alerts.prometheus.tokens import parse_seconds
from barograph_client.errors import InvalidRule


@pytest.mark.parametrize("seed", range(200))
def test_what_is_written_is_read_as_the_same_expression(seed: int) -> None:
    for rule in Draw(seed, 30).case()["rules"]["groups"][0]["rules"]:
        node = parse(rule["expr"])
        assert parse(write(node)) == node
        assert write(parse(write(node))) == write(node)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("-2^2+m", "(-(2 ^ 2)) + m"),
        ("1 + 2 * m > 3 and n or o unless p", "(((1 + (2 * m)) > 3) and n) or (o unless p)"),
        ("2 ^ m ^ 3", "2 ^ (m ^ 3)"),
        ("sum(rate(m{a='x',b!~\"y.*\"}[1h30m] offset 5m)) by (i)", None),
        ("m > bool 1e-3", "m > bool 0.001"),
        ("{__name__=~\"a|b\"} == Inf", '{__name__=~"a|b"} == +Inf'),
        ("a * ignoring (x) group_left (y) b # why", "a * ignoring (x) group_left (y) b"),
        ("0x10 + m", "16 + m"),
        ("absent_over_time(m{i=\"a\"}[5m])", 'absent_over_time(m{i="a"}[5m])'),
        ("max_over_time(rate(m[5m])[1h:1m])", "max_over_time(rate(m[5m])[1h:1m])"),
        ("clamp(m, 1, 5)", "clamp_min(clamp_max(m, 5), 1)"),
        ("quantile by (i) (.9, m) or vector(-1)", "quantile by (i) (0.9, m) or vector(-1)"),
        ("round(m, 5) + round(n)", "round(m, 5) + round(n)"),
        ("predict_linear(m[1h], 4 )", "predict_linear(m[1h], 4)"),
    ],
)  # fmt: skip
def test_precedence_and_forms_are_those_of_prometheus(text: str, written: str | None) -> None:
    expected = 'sum by (i) (rate(m{a="x",b!~"y.*"}[1h30m] offset 5m))' if written is None else written
    assert write(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("topk(3, m) > 1", "topk: which series it keeps changes"),
        ("label_replace(m, 'a', '$1', 'b', '(.*)') > 1", "label_replace: labels are kept"),
        ("holt_winters(m[5m], 0.5, 0.5)", "there is no such function here"),
        ("m[5m] > 1", "a window of samples stands outside of a function"),
        ("rate(m)", "needs a window"),
        ("rate(m[5m:])", "a subquery without its step"),
        ("rate((m + 1)[5m])", "the window of an expression needs a step"),
        ("m @ 100 > 1", "@ asks for a fixed time"),
        ("m offset -5m > 1", "an offset into the future"),
        ("m + bool 1", "bool stands after an operator that does not compare"),
        ("1 > 2", "a comparison of two numbers needs bool"),
        ("m and 1", "and joins series, not numbers"),
        ("m and on (i) group_left n", "and joins many series with many"),
        ("m > on (i) 1", "on and ignoring stand between series only"),
        ("abs(1) > m", "abs of a number instead of series"),
        ('{i=~".*"} > 1', "a selector that every series matches"),
        ('m{i=~"a(?=b)"} > 1', "regular expression"),
        ('m{i="a} > 1', "is not part of an expression"),
        ('"text" > 1', "a text is no number"),
        ("m > ", "'the end' stands where a series or number should"),
        ("m > 1)", "')' is not expected there"),
        ("sum(m", "'the end' stands where ')' should"),
        ("clamp(m, 5, 1) > 1", "clamp to nothing"),
        ("vector(m) > 1", "vector of series instead of a number"),
        ("clamp_max(m, n) > 1", "clamp_max needs a number that does not change"),
        ("(" * 100 + "m" + ")" * 100, "nested too deeply"),
        ("m" + " or m" * 101, "it has more than 100 operators"),
    ],
)
def test_what_cannot_be_translated_is_told_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidRule) as raised:
        parse(text)
    assert reason in raised.value.message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("m > ", "(character 5)"),
        ("m > 1)", "(character 6)"),
        ("a + topk(1, m) > 1", "(character 5)"),
        ("m > 1 and\n  rate(m) > 1", "(line 2, character 9)"),
        ("m and 1", "(character 3)"),
        ("m ? 1", "(character 3)"),
    ],
)
def test_the_place_of_what_cannot_be_translated_is_told(text: str, place: str) -> None:
    with pytest.raises(InvalidRule) as raised:
        parse(text)
    assert raised.value.message.endswith(place)


def test_a_rule_that_asks_for_one_that_cannot_be_translated_cannot_be_either() -> None:
    document = {
        "groups": [
            {
                "name": "g",
                "rules": [
                    {"record": "r", "expr": "topk(1, m)"},
                    {"alert": "A", "expr": "r > 1"},
                    {"alert": "B", "expr": "m > 1", "labels": {"x": '{{ query "m" }}'}},
                    {"alert": "C", "expr": "m > 1", "for": "soon"},
                    {"alert": "D", "expr": "m > 1"},
                ],
            },
            {"name": "h", "source_tenants": ["x"], "rules": [{"alert": "E", "expr": "m > 1"}]},
        ]
    }
    groups, refusals = read_groups(document)
    assert [rule.name for group in groups for rule in group.rules] == ["D"]
    reasons = {refusal.rule: refusal.reason for refusal in refusals}
    assert list(reasons) == ["r", "A", "B", "C", "E"]
    assert reasons["A"] == "it asks for r, and rule r cannot be translated"
    assert "template" in reasons["B"]
    assert "duration" in reasons["C"]
    assert "source_tenants" in reasons["E"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90s", 90), ("1h30m", 5400), ("1d12h", 129_600), ("1y", 31_536_000), ("5ms", 0.005)],
)
def test_durations_are_read_in_prometheus_form(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds
    assert parse_seconds(duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "30s1h", "1.5h", "-5m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRule):
        parse_seconds(text)


@pytest.mark.parametrize(
    "text", ['{{ query "m" }}', "{{ if true }}x{{ end }}", "{{ $value", "{{ $labels }}", "{{ .Values }}"]
)
def test_a_template_that_needs_more_than_the_alert_is_refused(text: str) -> None:
    with pytest.raises(InvalidRule, match="template"):
        Template(text)


def test_yaml_is_quoted_so_that_nothing_is_taken_for_something_else() -> None:
    yaml = pytest.importorskip("yaml")
    nasty = [
        "yes",
        "1e3",
        "- a",
        "a: b # c",
        "\x07\x85\u2028é\U0001f600",
        'say "no"\\n',
        "",
        " x ",
        "*a",
        "{{ $value }}",
    ]
    document = {
        "groups": [{"name": text, "rules": [{text or "empty": text}], "limit": 3} for text in nasty],
        "none": [],
    }
    assert yaml.safe_load(write_yaml(document, ["a note\nin lines"])) == document
