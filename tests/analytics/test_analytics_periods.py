"""Days and months are those of the zone that people see, also when they have 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barograph.analytics.period import bucket_of, day_of, duration_text, midnight, month_of, recent
from barograph.core.query import Calendar
from barograph.core.zone import zone_of
from barograph_client.errors import InvalidSettings

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut")


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "now", "start", "hours"),
    [
        ("UTC", utc(2026, 11, 24, 9), utc(2026, 11, 24), 24),
        ("Europe/Berlin", utc(2026, 3, 29, 12), utc(2026, 3, 28, 23), 23),
        ("Europe/Berlin", utc(2026, 10, 25, 12), utc(2026, 10, 24, 22), 25),
        ("Europe/Berlin", utc(2026, 10, 25, 23, 30), utc(2026, 10, 25, 23), 24),
        ("Asia/Kolkata", utc(2026, 11, 24, 18, 29), utc(2026, 11, 23, 18, 30), 24),
        ("Asia/Kolkata", utc(2026, 11, 24, 18, 30), utc(2026, 11, 24, 18, 30), 24),
        ("Asia/Beirut", utc(2022, 3, 27, 12), utc(2022, 3, 26, 22), 23),
    ],
)
def test_a_local_day_begins_at_its_midnight_and_has_the_hours_it_has(
    zone: str, now: datetime, start: datetime, hours: int
) -> None:
    day = day_of(now, zone_of(zone))
    assert (day.start, day.seconds) == (start, hours * 3600)


def test_a_month_has_the_days_and_the_clock_changes_it_has() -> None:
    march = month_of(utc(2026, 3, 15), zone_of("Europe/Berlin"))
    assert (march.start, march.seconds) == (utc(2026, 2, 28, 23), 31 * 86400 - 3600)
    december = month_of(utc(2026, 12, 31, 23, 59), zone_of("UTC"))
    assert (december.start, december.end) == (utc(2026, 12, 1), utc(2027, 1, 1))


@given(st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2037, 1, 1)), st.sampled_from(ZONES))
def test_days_follow_each_other_without_a_gap_and_hold_their_moment(moment: datetime, name: str) -> None:
    now, zone = moment.replace(tzinfo=UTC), zone_of(name)
    day = day_of(now, zone)
    assert day.start <= now < day.end
    assert day_of(day.end, zone).start == day.end
    assert day_of(day.start - timedelta(microseconds=1), zone).end == day.start
    month = month_of(now, zone)
    assert month.start <= day.start < day.end <= month.end


@given(
    st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2037, 1, 1)), st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month", 60.0, 3600.0, 86400.0]),
)  # fmt: skip
def test_the_bucket_of_a_moment_holds_it_and_the_next_one_follows(
    moment: datetime, name: str, every: float | Calendar
) -> None:
    now, zone = moment.replace(tzinfo=UTC), zone_of(name)
    bucket = bucket_of(now, every, zone)
    assert bucket.start <= now < bucket.end
    assert bucket_of(bucket.end, every, zone).start == bucket.end
    if every == "week":
        assert bucket.start.astimezone(zone).weekday() == 0
        assert 6.9 * 86400 < bucket.seconds < 7.1 * 86400


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../../etc/passwd", "\x00", "x" * 5000])
def test_an_unknown_zone_is_an_error_of_the_settings(name: str) -> None:
    with pytest.raises(InvalidSettings, match="time zone"):
        zone_of(name)


def test_a_window_up_to_now_holds_the_event_of_this_moment() -> None:
    now = utc(2026, 11, 24, 9)
    window = recent("15m", now)
    assert window.start <= now < window.end
    assert window.seconds == 900


def test_midnight_is_given_in_utc() -> None:
    assert midnight(date(2026, 7, 1), zone_of("Asia/Kolkata")) == utc(2026, 6, 30, 18, 30)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(900, "15 min"), (3600, "1 h"), (86400, "24 h"), (604800, "7 d"), (90, "90 s"), (5400, "90 min"), (93600, "26 h")],
)
def test_lengths_are_said_in_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
