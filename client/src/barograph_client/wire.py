"""One event as the line of JSON that goes to the server, or an InvalidEvent where no JSON can be made of it.

Used by ``delivery``. Names, types and bounds are the server's to judge, and its answer says what it thought of each
event; what is refused here is only what it could not even read.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from barograph_client.aliases import ALIASES
from barograph_client.errors import InvalidEvent
from barograph_client.limits import MAX_LINE
from barograph_client.plain import Plain, original, plain
from barograph_client.sendable import unsendable

_IDS = {kind: tuple(a.name for a in aliases if a.field == "event_id") for kind, aliases in ALIASES.items()}
_TIMES = {kind: tuple(a.name for a in aliases if a.field == "time") for kind, aliases in ALIASES.items()}


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_iso).encode


def line_of(kind: object, fields: object, moment: datetime, event_id: str) -> bytes:
    """The line, with its line feed; ``moment`` and ``event_id`` are for an event that names none.

    Raises InvalidEvent.
    """
    try:
        return _line(kind, fields, moment, event_id)
    except InvalidEvent as error:
        error.__traceback__ = None
        raise
    except Exception as error:  # an object that does not want to be read
        raise InvalidEvent("", f"cannot be read: {type(error).__name__}") from None


def _line(kind: object, fields: object, moment: datetime, event_id: str) -> bytes:
    if not isinstance(kind, str):
        raise InvalidEvent("kind", "must be text", value=kind)
    value = plain(fields)
    if not isinstance(value, dict):
        text = original(fields)  # no event, as the server will say; it keeps what it was
        value = text if isinstance(text, str) else text.decode("utf-8", "replace")
    else:
        value = _completed(kind, value, moment, event_id)
    try:
        line = _encode(value).encode("utf-8") + b"\n"
    except (ValueError, OverflowError):  # UnicodeEncodeError is one too
        raise unsendable(value) or InvalidEvent("", "cannot be written as JSON") from None
    if len(line) > MAX_LINE:
        raise InvalidEvent(
            "", f"an event has at most {MAX_LINE:,} bytes as JSON", hint="Shorten its texts", value=len(line)
        )
    return line


def _completed(kind: str, fields: dict[str, Plain], moment: datetime, event_id: str) -> dict[str, Plain]:
    """The fields with kind, id and time; those without a value are left out, as the collector does."""
    given: dict[str, Plain] = {name: value for name, value in fields.items() if value is not None}
    if given.setdefault("kind", kind) != kind:
        raise InvalidEvent("kind", "is another kind than the one that is recorded", value=given["kind"])
    if "event_id" not in given and not any(name in given for name in _IDS.get(kind, ())):
        given["event_id"] = event_id
    if "time" not in given and not any(name in given for name in _TIMES.get(kind, ())):
        given["time"] = moment.astimezone(UTC).isoformat()
    return given
