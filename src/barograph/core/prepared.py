"""Struct types that several threads read: what msgspec works out of a type is worked out before there are threads.

It does so when a type is used for the first time; two threads that are first at the same moment crash the interpreter
(msgspec 0.22.0).
"""

from __future__ import annotations

import msgspec


def prepare(*types: object) -> None:
    """Work out what msgspec needs to decode and convert to these types."""
    for one in types:
        msgspec.json.Decoder(one)
