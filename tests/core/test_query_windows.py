"""Windows and the earlier ones they are compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from barograph.core.query import Period, Window, earlier_window
from barograph_client.errors import InvalidQuery

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_week_earlier_is_the_same_time_on_the_wall_also_over_a_change_of_the_clocks() -> None:
    window = Window(datetime(2026, 10, 26, 11, tzinfo=UTC), datetime(2026, 10, 26, 13, tzinfo=UTC))  # noon in winter
    week = earlier_window(window, "week", BERLIN)
    assert week.start == datetime(2026, 10, 19, 10, tzinfo=UTC)  # noon in summer
    assert week.start.astimezone(BERLIN).hour == window.start.astimezone(BERLIN).hour == 12


@pytest.mark.parametrize("period", ["previous", "day", "week"])
def test_before_the_first_year_there_is_nothing_to_compare_with(period: Period) -> None:
    start = datetime.min.replace(tzinfo=UTC) + timedelta(hours=12)
    with pytest.raises(InvalidQuery) as told:
        earlier_window(Window(start, start + timedelta(days=1)), period, UTC)
    assert told.value.hint
