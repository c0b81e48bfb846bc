"""A notification as a message to a Slack incoming webhook: the text first, then blocks that say more.

https://docs.slack.dev/messaging/formatting-message-text: ``&``, ``<`` and ``>`` are escaped, so that no label can
mention a channel or make a link. What blocks may hold is bounded there too; a message whose blocks are refused is
sent as text.
"""

from __future__ import annotations

import json

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.channels.http import Poster, Reply
from barograph.alerts.delivery.channels.webhook import AGENT
from barograph.alerts.delivery.message import Item, Message, compose
from barograph.alerts.delivery.outcome import Outcome
from barograph_client.clock import Clock

MOST_BLOCKS = 50
TEXT_LENGTH = 3000  # of a section's text; the text of the whole message may have 40,000
_HEADERS = {"Content-Type": "application/json", "User-Agent": AGENT}
_SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}


class SlackChannel:
    """Posts to one incoming webhook."""

    def __init__(self, poster: Poster, clock: Clock, external_url: str) -> None:
        self._poster = poster
        self._clock = clock
        self._external_url = external_url

    def send(self, notification: Notification) -> Outcome:
        """Post it once, and once more without blocks if those were what Slack would not take."""
        message = compose(notification, self._external_url)
        reply = self._post({"text": slack_text(message), "blocks": blocks(message)})
        if isinstance(reply, Reply) and reply.status == 400 and "invalid_blocks" in reply.text:
            reply = self._post({"text": slack_text(message)})
        return reply if isinstance(reply, Outcome) else self._poster.judge(reply, self._clock.now)

    def _post(self, payload: dict[str, object]) -> Reply | Outcome:
        return self._poster.post(_HEADERS, json.dumps(payload).encode("ascii"))


def slack_text(message: Message) -> str:
    """What phones and screen readers get: the title, one line an alert and why."""
    lines = [message.title, *(item.title for item in message.items), *message.notes]
    return escaped("\n".join(lines), TEXT_LENGTH)


def blocks(message: Message) -> list[dict[str, object]]:
    """At most ``MOST_BLOCKS`` blocks, the title first and the notes last."""
    sign = "✅" if message.resolved else _SIGNS[message.severity]
    head: dict[str, object] = {
        "type": "section",
        "text": _mrkdwn(f"{sign} *{escaped(message.title, TEXT_LENGTH - 10)}*"),
    }
    room = MOST_BLOCKS - 2
    tail: list[str] = []
    if message.more:
        tail.append(escaped(message.rest, 200))
    tail.extend(escaped(note, 1000) for note in message.notes)
    if message.link:
        tail.append(f"<{_url(message.link)}|Open Barograph>")
    body: list[dict[str, object]] = [
        {"type": "section", "text": _mrkdwn(_section(item))} for item in message.items[:room]
    ]
    foot: list[dict[str, object]] = (
        [{"type": "context", "elements": [_mrkdwn("\n".join(tail)[:TEXT_LENGTH])]}] if tail else []
    )
    return [head, *body, *foot]


def _section(item: Item) -> str:
    link = f"\n<{_url(item.runbook)}|What to do>" if item.runbook else ""
    return escaped("\n".join((item.title, *item.lines)), TEXT_LENGTH - len(link)) + link


def _mrkdwn(text: str) -> dict[str, object]:
    return {"type": "mrkdwn", "text": text}


def _url(url: str) -> str:
    return url.replace("&", "&amp;")


def escaped(text: str, length: int) -> str:
    """The text with Slack's three characters escaped, cut to so many characters without cutting an escape."""
    done: list[str] = []
    room = length - 1
    for char in text:
        form = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(char, char)
        room -= len(form)
        if room < 0:
            return "".join(done) + "…"
        done.append(form)
    return "".join(done)
