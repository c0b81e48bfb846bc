"""Time ticks are aligned to the calendar of the shown zone, also on the days the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.core.zone import zone_of
from barograph.visualize.axes import clock_changes, number_ticks, time_ticks, value_axis

ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"]


def labels(zone: str, start: str, end: str, cells: int = 64) -> list[str]:
    """The labels between two local times."""
    here = zone_of(zone)
    first, last = (datetime.fromisoformat(text).replace(tzinfo=here).timestamp() for text in (start, end))
    return [tick.label for tick in time_ticks(first, last, here, cells)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-11-22T13:00", "2026-11-22T13:01", ["13:00:00", "13:00:15", "13:00:30", "13:00:45", "13:01:00"]),
        ("2026-11-22T13:02", "2026-11-22T14:00", ["13:10", "13:20", "13:30", "13:40", "13:50", "14:00"]),
        ("2026-11-21T14:00", "2026-11-22T14:00",
         ["15:00", "18:00", "21:00", "11-22", "03:00", "06:00", "09:00", "12:00"]),
        ("2026-11-15T07:00", "2026-11-22T07:00", ["11-16", "11-17", "11-18", "11-19", "11-20", "11-21", "11-22"]),
        ("2026-10-20T00:00", "2026-11-22T00:00", ["10-26", "11-02", "11-09", "11-16"]),
        ("2026-01-01T00:00", "2026-11-22T00:00", ["2026-01", "2026-03", "2026-05", "2026-07", "2026-09", "2026-11"]),
        ("2000-01-01T00:00", "2026-01-01T00:00", ["2000", "2005", "2010", "2015", "2020", "2025"]),
    ],
)  # fmt: skip
def test_ticks_are_round_times(start: str, end: str, expected: list[str]) -> None:
    assert labels("Europe/Berlin", start, end) == expected


def test_ticks_stay_on_wall_time_when_the_clocks_change() -> None:
    autumn = labels("Europe/Berlin", "2026-10-24T20:00", "2026-10-25T12:00")
    assert autumn == ["21:00", "10-25", "03:00", "06:00", "09:00", "12:00"]
    spring = labels("Europe/Berlin", "2026-03-28T20:00", "2026-03-29T08:00")
    assert spring == ["20:00", "22:00", "03-29", "04:00", "06:00", "08:00"]  # 02:00 does not exist


def test_a_day_that_a_zone_skipped_has_no_tick_of_its_own() -> None:
    assert "12-30" not in labels("Pacific/Apia", "2011-12-28T00:00", "2012-01-02T00:00")


def test_days_on_which_the_clocks_change_are_named() -> None:
    zone = zone_of("Europe/Berlin")
    start, end = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 10, 28, tzinfo=UTC)
    assert clock_changes(start.timestamp(), end.timestamp(), zone) == ["2026-10-25"]
    assert clock_changes(start.timestamp(), end.timestamp(), zone_of("UTC")) == []


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2040, 1, 1)),
    st.floats(1, 86400 * 4000),
    st.sampled_from(ZONES),
    st.integers(20, 120),
)
@settings(max_examples=150)
def test_ticks_lie_inside_increase_and_begin_whole_seconds(naive: datetime, span: float, name: str, cells: int) -> None:
    zone = zone_of(name)
    start = naive.replace(tzinfo=UTC).timestamp()
    ticks = time_ticks(start, start + span, zone, cells)
    assert all(start <= tick.x <= start + span for tick in ticks)
    assert all(before.x < after.x for before, after in pairwise(ticks))
    assert sum(len(tick.label) + 1 for tick in ticks) <= cells + 12
    for tick in ticks:
        local = datetime.fromtimestamp(tick.x, zone)
        assert local.microsecond == 0
        if ":" in tick.label:
            assert local.strftime("%H:%M:%S").startswith(tick.label)
        else:
            before = datetime.fromtimestamp(tick.x - 1, zone)
            assert before.date() < local.date()


def test_a_number_axis_has_round_ticks() -> None:
    assert [tick.label for tick in number_ticks(0.0, 100.0, 60)] == ["0", "20", "40", "60", "80", "100"]


def test_a_value_axis_begins_at_zero_unless_told() -> None:
    assert value_axis(0.81, 0.87, "score", 11).low == 0.0
    assert value_axis(0.81, 0.87, "score", 11, None).low == pytest.approx(0.8)
    assert value_axis(-3.0, 5.0, "s", 11).low <= -3.0


def test_a_long_range_is_quick_to_label() -> None:
    start = datetime(2000, 1, 1, tzinfo=UTC)
    assert len(time_ticks(start.timestamp(), (start + timedelta(days=14600)).timestamp(), zone_of("UTC"), 120)) < 20
