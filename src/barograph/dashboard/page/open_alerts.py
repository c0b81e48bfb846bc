"""Open alerts as people see them, on the alerts page and by ``barograph alerts list``: few one by one, many as a table.

Made from ``OpenAlerts``, wherever they were asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from zoneinfo import ZoneInfo

from barograph.core.unit import counted, format_value
from barograph.dashboard.open_alerts import OpenAlert, OpenAlerts, OpenCount, Telling, group_words
from barograph.visualize.chart import Cell, Column, Panel, Part, Table, Text, Tone
from barograph_client.errors import shorten

EACH = 5  # of one name that are told one by one; where there are more they are a table
SHOWN = 20  # of all names at first
_NAMES = 20  # that have a line of their own when none of their alerts is shown
_SUMMARY = 500  # characters of what is said of an alert
_REASONS = 3  # that a table has under it
_TONES: dict[str, Tone] = {"critical": "critical", "warning": "warning"}


def open_alert_parts(found: OpenAlerts, zone: ZoneInfo) -> list[Part]:
    """What is open, the worst first; how many more there are is told."""
    parts: list[Part] = []
    unseen: list[OpenCount] = []
    for count in found.by_name:
        shown = [one for one in found.alerts if one.name == count.alertname]
        if not shown:
            unseen.append(count)
        elif count.total > EACH:
            parts.append(_table(count, shown))
        else:
            for told, alike in groupby(shown, key=lambda one: one.told):
                lines = [line for one in alike for line in _lines(one, zone)]
                parts.append(Panel(title="", parts=[*lines, *(Text(text=_why(each), tone="muted") for each in told)]))
    left = [Text(text=f"{shorten(one.alertname, 40)}: {counts([one])}, not shown.") for one in unseen[:_NAMES]]
    if len(unseen) > _NAMES:
        left.append(Text(text=f"{len(unseen) - _NAMES:,} more rules have alerts that are not shown."))
    if len(found.alerts) < found.total:
        more = found.total - len(found.alerts)
        hint = f"{more:,} more: `barograph alerts list --rule NAME`, with --limit N or --json, has them."
        left.append(Text(text=hint, tone="muted"))
    return [*parts, Panel(title="", parts=left)] if left else parts


def counts(of: Sequence[OpenCount], *, of_what: str = "") -> str:
    """How many there are, in words; those that are held fire too. ``of_what`` names them where nothing else does."""
    firing, pending, held = (sum(getattr(one, state) for one in of) for state in ("firing", "pending", "held"))
    words = []
    if firing:
        kept = "" if not held else ", held back" if held == firing else f", {held:,} of them held back"
        words.append(f"{_many(firing, of_what)} {'fires' if firing == 1 else 'fire'}{kept}")
    if pending:
        words.append(f"{_many(pending, '' if words else of_what)} {'waits' if pending == 1 else 'wait'}")
    return "; ".join(words)


def _many(number: int, thing: str) -> str:
    return counted(number, thing) if thing else f"{number:,}"


def _why(told: Telling) -> str:
    """Who was told or is not, why, and when the next notification is due."""
    return f"{told.receiver}: {told.why}"


def _lines(one: OpenAlert, zone: ZoneInfo) -> list[Text]:
    """An alert by itself: what is wrong, and which alert it is."""
    state = _state(one)
    tone: Tone = _TONES.get(one.labels.get("severity", ""), "plain") if state == "firing" else "muted"
    name = shorten(one.name) or "an alert without a name"
    summary = one.annotations.get("summary", "")[:_SUMMARY]
    about = [one.fingerprint, f"since {_clock(one.active_at, zone)}"]
    if one.data_at is not None:
        about.append(f"data until {_clock(one.data_at, zone)}")
    about += [shorten(one.labels.get("severity", ""), 20), group_words(one.labels)]
    about += ["from outside"] if one.from_outside else []
    return [
        Text(text=f"{state.upper()} {name}{f': {summary}' if summary else ''}", tone=tone),
        Text(text="  ".join(word for word in about if word), tone="muted"),
    ]


def _table(count: OpenCount, shown: Sequence[OpenAlert]) -> Table:
    """Many alerts of one name: a row each, what differs in columns, what is told of them below."""
    columns = [Column(title="Alert", most=16), Column(title="Since"), Column(title="Now", align="right"),
               Column(title="State"), Column(title="Severity", most=10), Column(title="Group", most=60)]  # fmt: skip
    rows: list[list[Cell]] = [
        [one.fingerprint, one.active_at, _now(one), _state(one), one.labels.get("severity") or None,
         group_words(one.labels) or None]
        for one in shown
    ]  # fmt: skip
    told = [column for column in range(len(columns)) if column < 2 or _is_told(column, rows)]
    reasons = Counter(_why(each) for one in shown for each in one.told)
    note = "; ".join(
        f"{words} ({number} of these {len(shown)})" if number < len(shown) else words
        for words, number in reasons.most_common(_REASONS)
    )
    severities = {str(row[4]) for row in rows if row[4] is not None}
    few = f"the worst {len(shown):,}" if len(shown) < count.total else ""
    return Table(
        title=f"{shorten(count.alertname, 40)}: {counts([count])}",
        subtitle=", ".join(filter(None, [few, *(severities if len(severities) == 1 else ())])),
        columns=[columns[column] for column in told],
        rows=[[row[column] for column in told] for row in rows],
        note=note,
    )


def _is_told(column: int, rows: Sequence[Sequence[Cell]]) -> bool:
    """Whether a column says anything: a state or a severity that all have alike does not."""
    cells = {row[column] for row in rows}
    return cells not in ({"firing"}, {None}) and (column != 4 or len(cells) > 1)


def _state(one: OpenAlert) -> str:
    return "held" if one.held_by else one.state


def _now(one: OpenAlert) -> str | None:
    return None if one.value == "NaN" else format_value(float(one.value), one.unit)


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
