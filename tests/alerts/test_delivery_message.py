"""A notification's texts say what fires, since when, why it was sent and when next; nothing hostile gets through."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.receivers import AT, alert, sample

from barograph.alerts.alert import Alert
from barograph.alerts.delivery.message import (
    LINE_LENGTH,
    MOST_ITEMS,
    TITLE_LENGTH,
    compose,
    neutral,
    safe_link,
)

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)


def said_by(annotations: dict[str, str]) -> Alert:
    return Alert(labels={"alertname": "a"}, annotations=annotations, starts_at=AT, updated_at=AT)


class TestWhatIsSaid:
    def test_of_one_alert_is_all_that_a_woken_person_asks(self) -> None:
        message = compose(sample(), "https://barograph.example.org/")
        assert message.text == (
            "Critical: slow answers (model=gpt, project=default)\n"
            "\n"
            "[critical] slow answers\n"
            "  p95 of the response time is 12.3 s, more than 10 s\n"
            "  Value: 12.3 s\n"
            "  Since 2026-11-28 11:50:00 UTC\n"
            "  What to do: https://example.org/runbooks/slow?a=1&b=2\n"
            "\n"
            "Why now: 1 new alert\n"
            "Next: 2026-11-28 16:00:00 UTC, unless something changes before\n"
            "https://barograph.example.org/\n"
        )

    def test_of_an_alert_are_the_annotations_that_help_in_one_order(self) -> None:
        told = {"flapping": "7 changes in 30 min", "condition": "p95 > 5 s", "summary": "slow", "unknown": "not told"}
        (item,) = compose(sample(alerts=(said_by(told),))).items
        assert item.lines == (
            "slow", "Condition: p95 > 5 s", "Flapping: 7 changes in 30 min", "Since 2026-11-28 12:00:00 UTC",
        )  # fmt: skip

    def test_of_a_mixed_group_counts_both_and_is_as_bad_as_the_worst_that_fires(self) -> None:
        mixed = (
            alert(severity="warning", model="gpt"),
            alert(severity="info", model="llama"),
            alert(severity="critical", model="old", resolved=True),
        )
        message = compose(sample(alerts=mixed))
        assert message.title == "Warning: slow answers (project=default) - 2 firing, 1 resolved"
        assert [item.title for item in message.items] == [
            "[warning] slow answers (model=gpt)",
            "[info] slow answers (model=llama)",
            "[resolved] slow answers (model=old)",
        ]
        assert "From 2026-11-28 11:50:00 UTC to 2026-11-28 11:59:00 UTC" in message.items[2].lines

    def test_of_a_resolved_group_says_so_and_names_no_next_time(self) -> None:
        message = compose(sample(status="resolved", reason="all resolved"))
        assert message.title == "Resolved: slow answers (model=gpt, project=default)"
        assert message.notes == ("Why now: all resolved",)

    def test_of_a_storm_is_short_and_counts_the_rest(self) -> None:
        message = compose(sample(alerts=tuple(alert(model=f"m{i}") for i in range(50)), truncated=1950))
        assert len(message.items) == MOST_ITEMS
        assert message.rest == "and 1,980 more alerts of this group"
        assert "50 firing, 1,950 more" in message.title
        assert message.rest in message.text
        assert message.rest in message.html

    def test_of_different_rules_in_a_group_names_none_in_the_title(self) -> None:
        message = compose(sample(alerts=(alert("slow"), alert("dear")), group_labels={}))
        assert message.title.startswith("Critical: 2 alerts")


class TestWhatIsNotLetThrough:
    @given(ANY_TEXT, st.integers(1, 200))
    def test_any_text_becomes_one_line_of_bounded_length_that_steers_nothing(self, text: str, length: int) -> None:
        told = neutral(text, length)
        assert len(told) <= length
        assert not {unicodedata.category(char) for char in told} & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
        assert told == neutral(told, length)
        told.encode("utf-8")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a\r\n\tb", "a b"),
            ("\x1b[31mred", "\ufffd[31mred"),
            ("\u202egpj.exe", "\ufffdgpj.exe"),
            ("zero\u200bwidth\ufeff", "zerowidth"),
            ("z" + "\u0301" * 50, "z\u0301\u0301"),
            ("größer 数", "größer 数"),
        ],
    )
    def test_is_seen_or_gone(self, text: str, told: str) -> None:
        assert neutral(text, 100) == told

    @given(st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=4), ANY_TEXT)
    def test_the_page_has_no_markup_but_its_own(self, labels: dict[str, str], text: str) -> None:
        annotations = {"summary": text, "description": text, "value": text, "reason": text, "runbook_url": text}
        hostile = Alert(labels={**labels, "alertname": text}, annotations=annotations, starts_at=AT, updated_at=AT)
        message = compose(sample(alerts=(hostile,), group_labels=labels, reason=text), text)
        tags: set[str] = set()

        class Reader(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                tags.add(tag)
                assert not {name for name, _ in attrs} - {"href", "charset"}

        Reader().feed(message.html)
        assert tags <= {"html", "head", "meta", "body", "h2", "p", "b", "br", "a"}
        assert len(message.title) <= TITLE_LENGTH
        assert "\n" not in message.title

    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)", "https://", "https://u:p@h/", 'https://h/"onclick="x', "https://h/<b>",
            "http://h/ x", "https://h/\u202e", "data:text/html,x", "//h/x", "https://h/|x", "https://h/`x`",
            "https://[h/", "https://h/" + "x" * 1000,
        ],
    )  # fmt: skip
    def test_a_link_that_could_be_something_else_is_shown_as_text(self, url: str) -> None:
        assert safe_link(url) == ""
        (item,) = compose(sample(alerts=(said_by({"runbook_url": url}),))).items
        assert item.runbook == ""
        assert any(line.startswith("Runbook: ") for line in item.lines)

    def test_long_texts_are_cut(self) -> None:
        long = said_by(dict.fromkeys(("summary", "description", "value", "reason"), "word " * 10_000))
        (item,) = compose(sample(alerts=(long,), reason="x" * 9999)).items
        assert all(len(line) <= LINE_LENGTH + 20 for line in item.lines)
        many = {f"label{i:04}": "v" for i in range(1000)}
        message = compose(
            sample(alerts=(Alert(labels={"alertname": "a", **many}, starts_at=AT, updated_at=AT), alert()))
        )
        assert "988 more)" not in message.title
        assert ", 988 more)" in message.items[0].title
