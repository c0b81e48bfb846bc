"""Incidents from transitions: each firing is of one incident, lengths add up, and what is open is not averaged in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.dictionary_reader import DictionaryReader

from barograph.alerts.incident_queries import with_queries
from barograph.alerts.incidents import PAGE, by_rule, history, incidents_of, summed
from barograph.alerts.rule import make_rule
from barograph.core.metric import Catalogue
from barograph.core.query import EventPage, EventQuery, Window
from barograph.core.settings import RuleSettings
from barograph.dashboard.page.incidents import resolve_text

START = datetime(2026, 11, 17, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=7))
UNTIL = WINDOW.end
ALL = Window(START - timedelta(days=365), UNTIL)


def change(minute: float, state: str, previous: str = "", **fields: object) -> dict[str, Any]:
    """An alert event, as a Reader gives it, so many minutes after the window began."""
    return {"kind": "alert", "event_id": f"{minute}{state}", "time": START + timedelta(minutes=minute), "rule": "slow",
            "state": state, "previous": previous, "metric": "response_time.p95", "severity": "critical",
            "threshold": 5.0, "project": "default", **fields}  # fmt: skip


STATES = st.sampled_from(["firing", "resolved", "removed", "pending", "nodata", "error", "inactive"])
CHANGES = st.lists(
    st.builds(
        lambda minute, state, rule, model: change(minute, state, rule=rule, labels={"model": model} if model else {}),
        st.integers(0, 5_000),
        STATES,
        st.sampled_from(["slow", "errors"]),
        st.sampled_from(["", "large", "small"]),
    ),
    max_size=60,
)


@given(CHANGES)
def test_every_firing_transition_belongs_to_exactly_one_incident(changes: list[dict[str, Any]]) -> None:
    changes = list({(one["time"], one["rule"], str(one["labels"])): one for one in changes}.values())
    found = incidents_of(changes, ALL, UNTIL)
    firing = [one for one in changes if one["state"] == "firing"]
    holders = [
        [
            incident.fired_at
            for incident in found
            if (incident.rule, incident.labels) == (one["rule"], one["labels"])
            and incident.fired_at <= one["time"] < (incident.resolved_at or UNTIL)
        ]
        for one in firing
    ]
    assert all(len(one) == 1 for one in holders)
    begun = {(one["rule"], str(one["labels"]), *held) for one, held in zip(firing, holders, strict=True)}
    assert begun == {(one.rule, str(one.labels), one.fired_at) for one in found}


@given(CHANGES)
def test_lengths_add_up_and_no_two_of_a_group_overlap(changes: list[dict[str, Any]]) -> None:
    found = incidents_of(changes, ALL, UNTIL)
    total, rules = summed("", found), by_rule(found)
    assert total.count == len(found) == sum(one.count for one in rules)
    assert total.open == sum(one.open for one in rules) == sum(one.resolved_at is None for one in found)
    assert total.removed == sum(one.removed for one in rules) == sum(one.removed for one in found)
    lengths = [one.seconds for one in found if one.resolved_at and not one.removed]
    assert total.resolved_seconds == sum(lengths) == sum(one.resolved_seconds for one in rules)
    if lengths:
        assert total.mean_seconds_to_resolve == pytest.approx(sum(lengths) / len(lengths))
    else:
        assert total.mean_seconds_to_resolve is None
    groups: dict[tuple[str, str], list[tuple[datetime, datetime]]] = {}
    for one in reversed(found):
        groups.setdefault((one.rule, str(one.labels)), []).append((one.fired_at, one.resolved_at or UNTIL))
    for spans in groups.values():
        assert all(end <= later for (_, end), (later, _) in pairwise(spans))


@given(CHANGES, st.randoms())
def test_the_order_of_the_events_says_nothing(changes: list[dict[str, Any]], draw: Any) -> None:
    distinct = list({(one["time"], one["rule"], str(one["labels"])): one for one in changes}.values())
    mixed = list(distinct)
    draw.shuffle(mixed)

    def told(events: list[dict[str, Any]]) -> set[str]:
        return {str(one) for one in incidents_of(events, ALL, UNTIL)}

    assert told(mixed) == told(distinct)


def test_data_that_are_away_for_a_while_do_not_end_an_incident_and_its_worst_value_is_known() -> None:
    (found,) = incidents_of(
        [
            change(10, "firing", "pending", value=7.0, message="ALERT: slow"),
            change(20, "nodata", "firing", value=7.0),
            change(25, "firing", "nodata", value=9.0),
            change(40, "resolved", "firing", value=1.0),
        ],
        WINDOW,
        UNTIL,
    )
    assert (found.seconds, found.worst, found.message) == (1800.0, 9.0, "ALERT: slow")
    ended = [change(1, "firing", value=6.0), change(9, "resolved", "firing", value=1.0, worst=8.0)]
    assert incidents_of(ended, WINDOW, UNTIL)[0].worst == 8.0
    low = [change(1, "firing", value=0.4, threshold=0.5), change(2, "firing", "error", value=0.2, threshold=0.5)]
    assert incidents_of(low, WINDOW, UNTIL)[0].worst == 0.2
    assert incidents_of([change(1, "firing", threshold=None)], WINDOW, UNTIL)[0].worst is None


def test_what_ended_with_its_rule_is_no_time_to_resolve() -> None:
    changes = [
        change(0, "firing"),
        change(10, "resolved", "firing"),
        change(20, "firing"),
        change(95, "removed", "firing"),
    ]
    removed, resolved = incidents_of(changes, WINDOW, UNTIL)
    assert (removed.seconds, removed.removed, resolved.removed) == (4500.0, True, False)
    total = summed("", [removed, resolved])
    assert (total.count, total.open, total.removed, total.mean_seconds_to_resolve) == (2, 0, 1, 600.0)
    assert resolve_text(total) == "mean time to resolve 10 min (1 resolved, 1 ended with the rule not counted)"


def test_what_fired_and_was_resolved_at_one_moment_is_over() -> None:
    at_once = [change(5, "resolved", "firing"), change(5, "firing", "pending")]
    (found,) = incidents_of(at_once, WINDOW, UNTIL)
    assert (found.seconds, found.resolved_at) == (0.0, found.fired_at)
    again = [*at_once, change(1, "firing"), change(5, "firing", "resolved")]
    assert [one.resolved_at is None for one in incidents_of(again, WINDOW, UNTIL)] == [True, False]


def test_an_incident_that_began_before_the_window_is_told_whole_and_one_that_ended_before_it_is_not() -> None:
    events = [
        change(-5000, "firing"), change(-4000, "resolved"),
        change(-600, "firing", rule="over the edge"), change(60, "resolved", rule="over the edge"),
        change(-60, "firing", rule="open"),
        change(-60 * 24 * 40, "firing", rule="too long ago"), change(5, "resolved", rule="too long ago"),
        change(60 * 24 * 7, "firing", rule="after the end"),
    ]  # fmt: skip
    found = history(DictionaryReader(events, lambda: UNTIL), WINDOW, WINDOW.end + timedelta(days=1))
    assert [(one.rule, one.seconds, one.resolved_at is None) for one in found.incidents] == [
        ("open", 3600 * (7 * 24 + 1), True),
        ("over the edge", 3600 * 11, False),
    ]
    assert (found.total.count, found.total.open, found.total.mean_seconds_to_resolve) == (2, 1, 3600 * 11)


def test_an_open_incident_is_as_long_as_up_to_now_not_to_the_end_of_the_window() -> None:
    reader = DictionaryReader([change(0, "firing")], lambda: UNTIL)
    assert history(reader, WINDOW, START + timedelta(minutes=30)).incidents[0].seconds == 1800


def test_a_window_at_the_beginning_of_time_can_be_asked_for() -> None:
    for start in (datetime(1, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)):
        assert history(DictionaryReader([], lambda: UNTIL), Window(start, UNTIL), UNTIL).total.count == 0


class Pages(DictionaryReader):
    """Answers in pages, as the store does, and counts them."""

    pages = 0

    def events(self, question: EventQuery) -> EventPage:
        self.pages += 1
        whole = super().events(replace(question, limit=10**6, cursor=""))
        begin = int(question.cursor or 0)
        end = begin + question.limit
        return replace(whole, items=whole.items[begin:end], cursor=str(end) if end < len(whole.items) else "")


def test_many_are_read_in_pages_and_the_newest_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [change(n, "resolved" if n % 2 else "firing") for n in range(3 * PAGE)]
    reader = Pages(events, lambda: UNTIL)
    found = history(reader, WINDOW, UNTIL, limit=5)
    assert (reader.pages, found.total.count, len(found.incidents), found.cut) == (3, 1500, 5, False)
    assert found.incidents[0].fired_at == START + timedelta(minutes=2998)
    assert found.total.mean_seconds_to_resolve == 60
    monkeypatch.setattr("barograph.alerts.incidents.MOST_PAGES", 1)
    found = history(reader, WINDOW, UNTIL)
    assert (found.total.count, found.cut) == (500, True)


def test_another_project_and_other_states_are_not_asked_for() -> None:
    events = [change(1, "firing", project="theirs"), change(1, "pending"), change(2, "firing")]
    found = history(DictionaryReader(events, lambda: UNTIL), WINDOW, UNTIL)
    assert [one.fired_at for one in found.incidents] == [START + timedelta(minutes=2)]


def test_a_query_behind_a_ratio_is_told_in_the_unit_of_its_own_value() -> None:
    settings = RuleSettings(name="slow", kind="ratio", metric="tokens.output", per="tokens.input", above=0.3)
    rule = make_rule(settings, Catalogue())
    at = START + timedelta(minutes=9)
    query = {"kind": "query", "event_id": "q", "time": at, "output_tokens": 400, "project": "default"}
    events = [change(10, "firing", metric="tokens.output", value=0.4, threshold=0.3), query]
    reader = DictionaryReader(events, lambda: UNTIL)
    found = history(reader, WINDOW, UNTIL)
    found = with_queries(found, reader, lambda name: rule, Catalogue(), UNTIL, project="default")
    (incident,) = found.incidents
    assert (incident.unit, incident.queries_unit, incident.queries[0].value) == ("ratio", "tokens", 400)
