"""What JSON cannot hold: half a surrogate pair, and numbers that are not finite. Found in builtin types, by its path.

Asked by ``wire`` before an event is sent, and by the collector when one could not be encoded.
"""

from __future__ import annotations

from collections.abc import Mapping

from barograph_client.errors import InvalidEvent, shorten

_MOST_BITS = 10_000  # of a whole number; longer ones cost quadratic time to print


def unsendable(value: object, path: str = "") -> InvalidEvent | None:
    """The first value that JSON has no form for, as the error that tells it; None where there is none."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            reason = f"holds half a surrogate pair, which is no character, at position {error.start}"
            return InvalidEvent(path, reason, hint="Decode the text with errors='replace'", value=value)
    elif isinstance(value, float):
        if value - value != 0.0:
            return InvalidEvent(path, "must be a finite number", hint="Leave it out when it is unknown", value=value)
    elif isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            return InvalidEvent(path, "has too many digits", hint="Send it as text")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            name = f"{path}.{key}" if path else str(key)
            if found := unsendable(key, path) or unsendable(item, shorten(name)):
                return found
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            if found := unsendable(item, f"{path}[{i}]"):
                return found
    return None
