"""Secrets: read from the environment or a file, handed to a channel, and never shown.

Used by ``targets`` and the channels. A ``Secret`` shows itself as ``Secret(hidden)`` wherever it is printed, logged
or put into an error, and cannot be pickled; only ``reveal`` gives it away. ``hide`` takes secrets out of a text that
came from the other side, which may repeat what it was sent.
"""

from __future__ import annotations

import base64
import functools
import html
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from barograph_client.errors import InvalidSettings

MOST_BYTES = 8192
HIDDEN = "(hidden)"
_BASE64 = {"+": "(?:[+-]|%2[Bb])", "/": "(?:\\\\{0,7}/|_|%2[Ff])"}  # as they stand in addresses and in JSON
_SHORTEST = 6  # characters; anything shorter is in many texts by chance, and no secret


class Secret:
    """A text that nothing shows. Equal secrets are equal."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the wire only."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret{HIDDEN}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


class SecretSource(Struct, frozen=True, kw_only=True):
    """Where a secret is: in a variable of the environment or in a file. ``what`` names it in errors, ``settings`` are
    the settings that may say where it is."""

    what: str
    settings: str
    variable: str = ""
    file: str = ""

    def __bool__(self) -> bool:
        """Whether one is named at all."""
        return bool(self.variable or self.file)

    def read(self, environment: Mapping[str, str]) -> Secret:
        """The secret as it is now, without the line end of a file. Raises InvalidSettings, which never repeats it."""
        if bool(self.variable) == bool(self.file):
            raise InvalidSettings(
                f"{self.what} is given {'twice' if self else 'nowhere'}",
                hint=f"Give one of {self.settings}; …_env names a variable that holds it, …_file a file.",
            )
        text = self._from_file() if self.file else environment.get(self.variable, "")
        if not text:
            place = f"the file {self.file}" if self.file else f"the variable {self.variable}"
            raise InvalidSettings(f"{self.what}: {place} is empty or not there", hint="Set it where Barograph runs.")
        if not text.isprintable() or not text.isascii():
            raise InvalidSettings(
                f"{self.what} holds a character that no secret of this kind has", hint="Is it one line of ASCII?"
            )
        return Secret(text)

    def _from_file(self) -> str:
        try:
            with Path(self.file).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise InvalidSettings(f"{self.what}: the file is longer than any secret", value=self.file)
            return data.decode("utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise InvalidSettings(
                f"{self.what}: its file cannot be read: {reason}", hint="Look at its permissions.", value=self.file
            ) from None


def hide(text: str, secrets: Iterable[Secret]) -> str:
    """The text without the secrets, however the other side has escaped them: for JSON, HTML or an address, or in Base64
    with anything before and after; of those that are URLs, without any part but the scheme."""
    parts = {part for secret in secrets for part in _parts(secret.reveal())}
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST:
            text = _written(part).sub(HIDDEN, text)
    return text


@functools.lru_cache(256)
def _written(part: str) -> re.Pattern[str]:
    """Finds the text in plain, each of its characters escaped or not, and in Base64 at each of the three offsets."""
    ways = ["".join(_character(one) for one in part)]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + part.encode()).decode().rstrip("=")
        whole = encoded[math.ceil(before * 4 / 3) : (before + len(part.encode())) * 4 // 3]  # of no other byte
        if len(whole) >= _SHORTEST:
            ways.append("".join(_BASE64.get(one, one) for one in whole))
    return re.compile("|".join(ways))


def _character(one: str) -> str:
    """A pattern for one character: as it is, and as URLs, JSON and HTML write it."""
    code = ord(one)
    escaped = [f"(?i:%(?:25){{0,3}}{code:02x}|\\\\{{1,8}}u{code:04x}|&#x0{{0,6}}{code:x};)", f"&#0{{0,6}}{code};"]
    named = html.escape(one)
    escaped += [named] if named != one else []
    escaped += [r"\+"] if one == " " else []
    plain = re.escape(one) if one.isalnum() else r"\\{1,8}" if one == "\\" else rf"\\{{0,7}}{re.escape(one)}"
    return f"(?:{'|'.join((plain, *escaped))})"


def _parts(plain: str) -> list[str]:
    """A secret, and what a URL is made of: services name their tokens in paths and queries."""
    if "://" not in plain:
        return [plain]
    parts = urlsplit(plain)
    values = [value for _, value in parse_qsl(parts.query)]
    return [plain, parts.netloc, parts.path.strip("/"), *parts.path.split("/"), parts.query, *values]
