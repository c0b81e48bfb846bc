"""The texts of a notification: a title, what each alert says, why it was sent and when it is sent next.

Made from a ``Notification``, drawn as plain text, as HTML, and by the channels in their own way. Labels and annotations
may come from anybody: here they become single lines of bounded length without control characters, bidirectional
overrides or anything invisible. Markup is escaped by whoever draws in one: ``html`` here, the channels for theirs.
"""

from __future__ import annotations

import html as markup
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from msgspec import Struct

from barograph.alerts.alert import SEVERITIES, Alert, Notification
from barograph.core.unit import counted
from barograph_client.clock import as_utc

TITLE_LENGTH = 180
LINE_LENGTH = 600
LABEL_LENGTH = 100
MOST_LABELS = 12
MOST_ITEMS = 20  # alerts that are described; the rest is counted
LINK_LENGTH = 1000
REPLACEMENT = "\ufffd"
_WHITE = re.compile(r"\s+")
_STEERING = frozenset(("Cc", "Cs", "Cn", "Co"))
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINK = re.compile(r"https?://[!#-;=?-\[\]_a-z~]+", re.IGNORECASE)  # no quotes, angle brackets, spaces, bars
_NAMED = ("alertname", "severity")  # are said in words
# Annotations that are told, in this order, and what comes before each.
_SAID = {
    "summary": "",
    "description": "",
    "message": "",
    "value": "Value: ",
    "condition": "Condition: ",
    "reason": "Because: ",
    "flapping": "Flapping: ",
}


class Item(Struct, frozen=True):
    """One alert: a line that says what it is, lines that say more, and where to read what to do."""

    title: str
    lines: tuple[str, ...]
    runbook: str = ""


class Message(Struct, frozen=True):
    """What is told. Every text is one clean line; nothing in it is escaped yet.

    ``severity`` is that of the worst alert, ``more`` counts alerts that are not described, ``notes`` say why it was
    sent and when next, ``link`` leads to Barograph.
    """

    title: str
    severity: str
    resolved: bool
    items: tuple[Item, ...]
    more: int
    notes: tuple[str, ...]
    link: str

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield self.title
        for item in self.items:
            yield ""
            yield item.title
            yield from (f"  {line}" for line in item.lines)
            if item.runbook:
                yield f"  What to do: {item.runbook}"
        if self.more:
            yield ""
            yield self.rest
        yield ""
        yield from self.notes
        if self.link:
            yield self.link

    @property
    def rest(self) -> str:
        """The line that counts what is not described."""
        return f"and {self.more:,} more alerts of this group"

    @property
    def html(self) -> str:
        """All of it as a plain page without scripts, pictures or styles from elsewhere."""
        escape = markup.escape
        parts = [f"<h2>{escape(self.title)}</h2>"]
        for item in self.items:
            lines = "".join(f"<br>{escape(line)}" for line in item.lines)
            runbook = f'<br><a href="{escape(item.runbook)}">What to do</a>' if item.runbook else ""
            parts.append(f"<p><b>{escape(item.title)}</b>{lines}{runbook}</p>")
        if self.more:
            parts.append(f"<p>{escape(self.rest)}</p>")
        parts.append(f"<p>{'<br>'.join(escape(note) for note in self.notes)}</p>")
        if self.link:
            parts.append(f'<p><a href="{escape(self.link)}">Open Barograph</a></p>')
        return (
            f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head><body>\n{chr(10).join(parts)}\n</body></html>\n'
        )


def compose(notification: Notification, external_url: str = "") -> Message:
    """The message of a notification; ``external_url`` is where people find this Barograph."""
    firing = [alert for alert in notification.alerts if alert.status(notification.at) == "firing"]
    described = notification.alerts[:MOST_ITEMS]
    worst = min((alert.rank for alert in firing or notification.alerts), default=SEVERITIES.index("warning"))
    resolved = notification.status == "resolved"
    notes = [f"Why now: {neutral(notification.reason, LINE_LENGTH)}"] if notification.reason else []
    if notification.next_at is not None and not resolved:
        notes.append(f"Next: {_time(notification.next_at)}, unless something changes before")
    return Message(
        title=_title(notification, len(firing), SEVERITIES[worst]),
        severity=SEVERITIES[worst],
        resolved=resolved,
        items=tuple(_item(alert, notification) for alert in described),
        more=len(notification.alerts) - len(described) + notification.truncated,
        notes=tuple(notes),
        link=safe_link(external_url),
    )


def _title(notification: Notification, firing: int, severity: str) -> str:
    common = {**notification.group_labels, **notification.common_labels}
    name = common.get("alertname") or (counted(len(notification.alerts), "alert") if notification.alerts else "alert")
    about = _labels(common)
    state = "Resolved" if notification.status == "resolved" else severity.capitalize()
    ended = len(notification.alerts) - firing
    numbers = [f"{firing} firing"] if firing > 1 or (firing and ended) else []
    if ended and notification.status == "firing":
        numbers.append(f"{ended} resolved")
    if notification.truncated:
        numbers.append(f"{notification.truncated:,} more")
    title = f"{state}: {neutral(name, LABEL_LENGTH)}"
    if about:
        title += f" ({about})"
    return neutral(f"{title} - {', '.join(numbers)}" if numbers else title, TITLE_LENGTH)


def _item(alert: Alert, notification: Notification) -> Item:
    resolved = alert.status(notification.at) == "resolved"
    name = neutral(alert.labels.get("alertname", "alert"), LABEL_LENGTH)
    own = {key: value for key, value in alert.labels.items() if key not in notification.common_labels}
    about = _labels(own)
    said = alert.annotations
    lines = [f"{word}{neutral(said[name], LINE_LENGTH)}" for name, word in _SAID.items() if said.get(name)]
    if resolved and alert.ends_at is not None:
        lines.append(f"From {_time(alert.starts_at)} to {_time(alert.ends_at)}")
    else:
        lines.append(f"Since {_time(alert.starts_at)}")
    runbook = said.get("runbook_url", "")
    link = safe_link(runbook)
    if runbook and not link:
        lines.append(f"Runbook: {neutral(runbook, LABEL_LENGTH)}")
    severity = "resolved" if resolved else SEVERITIES[alert.rank]
    return Item(f"[{severity}] {name}{f' ({about})' if about else ''}", tuple(lines), link)


def _labels(labels: dict[str, str]) -> str:
    told = [
        f"{neutral(key, LABEL_LENGTH)}={neutral(value, LABEL_LENGTH)}"
        for key, value in sorted(labels.items())
        if key not in _NAMED
    ]
    return ", ".join(told if len(told) <= MOST_LABELS else [*told[:MOST_LABELS], f"{len(told) - MOST_LABELS} more"])


def _time(moment: datetime) -> str:
    return f"{as_utc(moment):%Y-%m-%d %H:%M:%S} UTC"


def neutral(text: str, length: int) -> str:
    """The text on one line of at most ``length`` characters that steers nothing: no terminal, no direction of writing.

    White space becomes one space; control characters, bidirectional overrides and what Unicode has not assigned become
    ``\ufffd``; invisible characters go; a third mark on one letter goes too.
    """
    text = _WHITE.sub(" ", text[: 4 * length]).strip()
    if not (text.isascii() and text.isprintable()):
        kept: list[str] = []
        marks = 0
        for char in text:
            category = unicodedata.category(char)
            marks = marks + 1 if category in ("Mn", "Me") else 0
            if category in _STEERING or char in _BIDI:
                kept.append(REPLACEMENT)
            elif category != "Cf" and marks <= 2:
                kept.append(char)
        text = "".join(kept)
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def safe_link(url: str) -> str:
    """The URL if it is of http or https, without a user and without a character that markup reads; else nothing."""
    if len(url) > LINK_LENGTH or not _LINK.fullmatch(url):
        return ""
    try:
        parts = urlsplit(url)
        return url if parts.hostname and parts.username is None and parts.password is None else ""
    except ValueError:
        return ""
