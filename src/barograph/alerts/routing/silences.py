"""What people hold back: silences and maintenance windows, looked up for an alert at a moment.

A silence comes from the control plane, a maintenance window from the settings; both say which alerts by matchers and
until when. Read by ``router``; the API makes silences through ``create_silence``, which reads the matchers first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from barograph.alerts.matcher import Matcher, all_match, parse_matcher, parse_matchers
from barograph.control.silences import Silence, SilenceRepository
from barograph.core.routing_settings import WEEKDAYS, MaintenanceSettings
from barograph.core.zone import zone_of
from barograph_client.clock import as_utc
from barograph_client.errors import InvalidInput, InvalidSettings

NEVER = datetime.max.replace(tzinfo=UTC)
COMMENT_LENGTH = 200  # characters of a comment that an explanation repeats
_matcher = lru_cache(maxsize=4096)(parse_matcher)  # silences are read at each step, and change rarely


class Hold(Struct, frozen=True, kw_only=True):
    """What keeps an alert from being told: ``id`` of it, ``words`` for people, and the end where it is known."""

    kind: Literal["silence", "maintenance", "inhibition"]
    id: str
    words: str
    until: datetime | None = None


def create_silence(
    repository: SilenceRepository,
    *,
    project: str,
    matchers: Sequence[str],
    ends_at: datetime,
    author: str,
    comment: str = "",
    starts_at: datetime | None = None,
) -> Silence:
    """Keep a silence whose matchers can be read. Raises InvalidInput, and ControlError when it cannot be kept.

    One that matches every alert, also those without any label, is refused: it is what a slip of the pen makes.
    """
    read = parse_matchers(matchers)
    if read and all(matcher.matches_absence for matcher in read):
        raise InvalidInput(
            "the silence would hold every alert",
            hint='Name at least one label that an alert must have, such as alertname=~".+".',
            value=list(map(str, read)),
        )
    return repository.create(
        project=project, matchers=tuple(map(str, read)), starts_at=starts_at, ends_at=ends_at, author=author,
        comment=comment,
    )  # fmt: skip


class Window(Struct, frozen=True, kw_only=True):
    """A maintenance window, checked. Weekly: ``days`` (0 is Monday), ``start`` and ``end``; once: ``once``."""

    name: str
    matchers: tuple[Matcher, ...]
    zone: ZoneInfo
    days: frozenset[int] = frozenset()
    start: time = time.min
    end: time = time.min
    once: tuple[datetime, datetime] | None = None

    def until(self, at: datetime) -> datetime | None:
        """The end of the window that ``at`` is in, in UTC, or None when it is in none."""
        spans = [self.once] if self.once else [self._span(day) for day in self._days_before(at)]
        return max((end for begin, end in spans if begin <= at < end), default=None)

    def _days_before(self, at: datetime) -> list[date]:
        today = at.astimezone(self.zone).date()
        return [day for day in (today, today - timedelta(days=1)) if day.weekday() in self.days]

    def _span(self, day: date) -> tuple[datetime, datetime]:
        last = day if self.end > self.start else day + timedelta(days=1)
        begin, end = (datetime.combine(on, clock, self.zone) for on, clock in ((day, self.start), (last, self.end)))
        return as_utc(begin), as_utc(end)


def make_windows(settings: Iterable[MaintenanceSettings]) -> tuple[Window, ...]:
    """The windows of those settings. Raises InvalidSettings with the place."""
    return tuple(_make_window(one, f"routing.maintenance[{number}]") for number, one in enumerate(settings))


def _make_window(settings: MaintenanceSettings, place: str) -> Window:
    weekly = settings.start is not None and settings.end is not None
    once = settings.begins_at is not None and settings.ends_at is not None
    half = (settings.start is None) != (settings.end is None) or (settings.begins_at is None) != (
        settings.ends_at is None
    )
    if weekly == once or half or (once and settings.days):
        raise InvalidSettings(
            f"{place}: neither a weekly nor a single window",
            hint="Give start and end (and days) for every week, or begins_at and ends_at for once.",
            value=settings.name,
        )
    try:
        matchers = parse_matchers(settings.matchers)
    except InvalidInput as error:
        raise InvalidSettings(f"{place}.matchers: {error.message}", hint=error.hint, value=error.value) from None
    zone = zone_of(settings.timezone)
    if once:
        begin, end = _moment(settings.begins_at, zone, place), _moment(settings.ends_at, zone, place)
        if begin >= end:
            raise InvalidSettings(f"{place}: ends before it begins", value=settings.ends_at)
        return Window(name=settings.name, matchers=matchers, zone=zone, once=(begin, end))
    return Window(
        name=settings.name,
        matchers=matchers,
        zone=zone,
        days=frozenset(map(WEEKDAYS.index, settings.days or WEEKDAYS)),
        start=_clock(settings.start, place),
        end=_clock(settings.end, place),
    )


def _clock(text: str | None, place: str) -> time:
    try:
        found = time.fromisoformat(text or "")
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise InvalidSettings(f"{place}: not a time of day", hint="Write HH:MM, such as 02:30.", value=text)
    return found


def _moment(text: str | None, zone: ZoneInfo, place: str) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
        return as_utc(found if found.tzinfo else found.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise InvalidSettings(
            f"{place}: not a moment", hint="Write ISO 8601, such as 2026-12-24T22:00.", value=text
        ) from None


class Silencer:
    """The silences and windows in force at a moment, ready to be asked about many alerts.

    A silence is found by a label and value that it asks for, so that many silences cost an alert little. One whose
    matchers cannot be read holds nothing: an alert too many is better than one too few.
    """

    def __init__(self, silences: Iterable[Silence], windows: Iterable[Window], now: datetime) -> None:
        self._by_label: dict[tuple[str, str], list[tuple[tuple[Matcher, ...], Hold]]] = {}
        self._others: list[tuple[tuple[Matcher, ...], Hold]] = []
        for silence in sorted(silences, key=lambda one: (one.until, one.id), reverse=True):
            if silence.is_active(now):
                self._add(silence)
        for window in windows:
            until = window.until(now)
            if until is not None:
                words = f"in maintenance ({window.name})"
                hold = Hold(kind="maintenance", id=window.name, words=words, until=until)
                self._others.append((window.matchers, hold))

    def _add(self, silence: Silence) -> None:
        try:
            matchers = tuple(_matcher(text) for text in silence.matchers)
        except InvalidInput:
            return
        said = f": {silence.comment[:COMMENT_LENGTH]}" if silence.comment else ""
        words = f"silenced by {silence.author}{said}"
        hold = Hold(kind="silence", id=silence.id, words=words, until=silence.until)
        exact = next((m for m in matchers if m.operator == "=" and m.value), None)
        chosen = self._others if exact is None else self._by_label.setdefault((exact.name, exact.value), [])
        chosen.append((matchers, hold))

    def hold(self, labels: Mapping[str, str]) -> Hold | None:
        """What holds an alert with these labels back: of several the one that lasts longest."""
        found = [hold for matchers, hold in self._others if all_match(matchers, labels)]
        for label in labels.items() if self._by_label else ():
            found += [hold for matchers, hold in self._by_label.get(label, ()) if all_match(matchers, labels)]
        return max(found, key=lambda hold: (hold.until or NEVER, hold.id), default=None)
