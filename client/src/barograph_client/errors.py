"""Every error that Barograph raises, in one tree.

    BarographError
    ├── InvalidInput            what was handed in cannot be used
    │   ├── InvalidEvent        one event, with the field and the reason
    │   ├── InvalidQuery        a question that cannot be asked
    │   │   └── UnknownMetric   no metric of that name in the catalogue
    │   ├── InvalidRule         an alert rule
    │   ├── InvalidExperiment   the definition of an experiment
    │   │   ├── UnknownExperiment   no experiment of that key in the project
    │   │   └── ConditionUndecided  whether attributes fit a targeting condition took too long to find out
    │   ├── InvalidChart        a chart specification that cannot be drawn
    │   └── InvalidSettings     barograph.toml, the environment or an argument
    ├── JournalError            the event was not made durable
    │   ├── DirectoryLocked     another process owns the data directory
    │   ├── DiskFull            no space is left for the journal
    │   ├── JournalReadOnly     the journal may not be written
    │   ├── JournalClosed       the journal was closed before the event came
    │   ├── ServerUnavailable   the server cannot be reached, or asks to come again later
    │   └── ServerRefused       the server will not take it as it is
    ├── EngineError             the journal is safe, the engine did not answer
    │   ├── EngineUnavailable   it cannot be reached or opened
    │   ├── QueryTooExpensive   the question passed its time, memory or row limit
    │   └── SchemaError         the engine holds a schema this version cannot use
    └── ControlError            what people decided (control.db) cannot be read or written
        └── ChangedMeanwhile    somebody else changed the same thing first

Each carries a message, a hint (what to do next) and, where there is one, the offending value, cut to a
bounded length and made safe for a terminal. Only the application, the command line and the server log.
"""

from __future__ import annotations

VALUE_LENGTH = 120  # characters of an offending value that an error repeats
NARROW_SPACE = "\u202f"  # before a per cent sign; it moves nothing


def shorten(value: object, length: int = VALUE_LENGTH) -> str:
    """The value on one line in at most ``length`` characters, with control characters made visible.

    The space before our per cent signs is none.
    """
    try:
        if isinstance(value, bytes | bytearray):
            value = bytes(value[: 4 * length]).decode("utf-8", "backslashreplace")
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:  # a hostile __repr__ must not hide the error that is being told
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    text = text[: length + 1]
    text = "".join(
        c if c.isprintable() or c == NARROW_SPACE else c.encode("unicode_escape").decode("ascii") for c in text
    )
    return text if len(text) <= length else text[: length - 1] + "…"


class BarographError(Exception):
    """Something that Barograph can name went wrong.

    ``message`` says what, ``hint`` what to do next, ``value`` repeats the offending value (bounded).
    """

    def __init__(self, message: str, *, hint: str = "", value: object = None) -> None:
        self.message = message
        self.hint = hint
        self.value = None if value is None else shorten(value)
        super().__init__(message)

    def __str__(self) -> str:
        got = f" (got {self.value})" if self.value is not None else ""
        hint = f". {self.hint}" if self.hint else ""
        return f"{self.message}{got}{hint}"


class InvalidInput(BarographError):
    """What was handed in cannot be used."""


class InvalidEvent(InvalidInput):
    """One event was refused; ``field`` names the part at fault, ``reason`` says why."""

    def __init__(self, field: str, reason: str, *, hint: str = "", value: object = None) -> None:
        self.field = shorten(field)
        self.reason = reason
        super().__init__(f"{self.field}: {reason}" if field else reason, hint=hint, value=value)


class InvalidQuery(InvalidInput):
    """The question cannot be asked as it stands."""


class UnknownMetric(InvalidQuery):
    """There is no metric of that name in the catalogue."""


class InvalidRule(InvalidInput):
    """The alert rule cannot be evaluated as it stands."""


class InvalidExperiment(InvalidInput):
    """The experiment's definition, or what was asked of it, does not hold together.

    ``field`` names the part of the definition at fault, as ``variants[1].weight``, where there is one.
    """

    def __init__(self, message: str, *, hint: str = "", value: object = None, field: str = "") -> None:
        self.field = shorten(field)
        super().__init__(message, hint=hint, value=value)


class UnknownExperiment(InvalidExperiment):
    """There is no experiment of that key in the project."""


class ConditionUndecided(InvalidExperiment):
    """Whether attributes fit a targeting condition was not found out within the CPU that a server gives it."""


class InvalidChart(InvalidInput):
    """The chart specification cannot be drawn."""


class InvalidSettings(InvalidInput):
    """A setting in barograph.toml, the environment or an argument cannot be used."""


class JournalError(BarographError):
    """The event was not made durable and was not acknowledged."""


class DirectoryLocked(JournalError):
    """Another process owns the data directory; ``pid`` is its process id where known."""

    def __init__(self, message: str, *, pid: int | None, hint: str = "") -> None:
        self.pid = pid
        super().__init__(message, hint=hint)


class DiskFull(JournalError):
    """No space is left for the journal."""


class JournalReadOnly(JournalError):
    """The journal may not be written: read-only disk, or permission lost."""


class JournalClosed(JournalError):
    """The journal was closed before the event came."""


class ServerUnavailable(JournalError):
    """The server cannot be reached, or would not take it now; the same may be sent again.

    ``retry_after`` is the least number of seconds to wait, if the server named one or trying soon is pointless.
    ``away`` is false when somebody answered, but not as a server that lets this program in would.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 0.0, away: bool = True) -> None:
        self.retry_after = retry_after
        self.away = away
        super().__init__(message, hint=hint)


class ServerRefused(JournalError):
    """The server will not take it as it is; sending the same again would not help."""


class EngineError(BarographError):
    """The journal is safe, but the engine did not answer."""


class EngineUnavailable(EngineError):
    """The engine cannot be reached or opened; what is journaled is loaded when it is back."""


class EngineRefused(EngineError):
    """The engine would not take a statement or a line; ``code`` is ClickHouse's own error code."""

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        self.code = code
        super().__init__(message, hint=hint)


class QueryTooExpensive(EngineError):
    """The question passed its time, memory or row limit."""


class SchemaError(EngineError):
    """The engine holds a schema that this version cannot use."""


class ControlError(BarographError):
    """What people decided (rules, states, experiments) cannot be read or written; events are not touched."""


class ChangedMeanwhile(ControlError):
    """Somebody else changed the same thing first; read it again and decide on what it is now."""
