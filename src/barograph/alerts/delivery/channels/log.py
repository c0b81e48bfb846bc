"""A notification as one line in the log, or as the whole message on a terminal."""

from __future__ import annotations

import logging
from typing import TextIO

from barograph.alerts.alert import Notification
from barograph.alerts.delivery.message import compose
from barograph.alerts.delivery.outcome import SENT, Outcome

LEVELS = {"critical": logging.CRITICAL, "warning": logging.WARNING, "info": logging.INFO}


class LogChannel:
    """One line each, with what the first alert says, at the level of the worst; what is resolved is information."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def send(self, notification: Notification) -> Outcome:
        """Write the line; a handler that fails says so itself, as handlers do."""
        message = compose(notification)
        level = logging.INFO if message.resolved else LEVELS[message.severity]
        said = message.items[0].lines[:1] if message.items else ()
        self._logger.log(level, "%s", " | ".join((message.title, *said, *message.notes)))
        return SENT


class TerminalChannel:
    """The message as plain text, with an empty line after it."""

    def __init__(self, stream: TextIO, external_url: str = "") -> None:
        self._stream = stream
        self._external_url = external_url

    def send(self, notification: Notification) -> Outcome:
        """Write it in one go. A stream that cannot be written to may be writable later."""
        text = compose(notification, self._external_url).text + "\n"
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError) as error:
            return Outcome("later", f"the terminal cannot be written to: {type(error).__name__}")
        return SENT
