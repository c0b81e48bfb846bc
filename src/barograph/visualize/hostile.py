"""Text that came from data, made harmless before it is shown: cleaned, measured, cut, padded, wrapped.

A query, a passage, a model's name may hold escape sequences, bidirectional overrides, newlines, stacks of
combining marks or a spreadsheet formula. Everything that the renderers draw from a chart goes through
``clean``; everything that the CSV export writes goes through ``csv_cell``. Reads nothing, hands to ``text`` and
``exports``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

REPLACEMENT = "\ufffd"
LONGEST = 4096  # characters of one text that are looked at, whatever the width
MARKS_ON_ONE = 2  # combining marks kept on one letter; more climb into the lines above
# A class of characters: controls but the tabulator and the line feed, bidirectional overrides, invisible marks, tags.
STEERING = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
JOINERS = r"\u200c\u200d"  # part of how Persian and emoji are spelled
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_NUMBER = re.compile(r"\A[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_RETURNS = re.compile(r"\r\n?")
_SPACES = re.compile(r"\s+")
_STEERS = re.compile(f"[{STEERING}]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# What is made wide by Unicode 16; terminals follow it whatever the interpreter's own tables say.
_WIDE = ((0x2630, 0x2637), (0x268A, 0x268F), (0x4DC0, 0x4DFF), (0x1D300, 0x1D356), (0x1D360, 0x1D376))
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u034f")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ASCII = {
    "–": "-", "—": "-", "−": "-", "‐": "-", "‑": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"',
    "…": "...", "·": "-", "•": "*", "→": "->", "←": "<-", "↑": "^", "↓": "v", "▲": "^", "▼": "v", "×": "x", "÷": "/",
    "±": "+/-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "µ": "u", "μ": "u", "°": " deg", "ß": "ss", "æ": "ae",
    "œ": "oe", "ø": "o", "Ø": "O", "Æ": "AE", "đ": "d", "ł": "l", "Ł": "L", "€": "EUR", "£": "GBP", "✓": "v", "✗": "x",
    "∞": "inf", "\u2044": "/", "│": "|", "─": "-", "█": "#",
}  # fmt: skip


@lru_cache(maxsize=8192)
def _cells(char: str) -> int:
    code = ord(char)
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF:
        return 0
    if unicodedata.east_asian_width(char) in "WF" or any(low <= code <= high for low, high in _WIDE):
        return 2
    return 1


def display_width(text: str) -> int:
    """How many terminal cells a cleaned text takes; wide characters take two, combining ones none.

    Terminals disagree about spacing vowel signs (Devanagari, Tamil …): each is counted as one cell, so that a
    line may come out shorter than wished and never wider.
    """
    return len(text) if text.isascii() else sum(map(_cells, text))


@lru_cache(maxsize=8192)
def _harmless(char: str) -> str:
    """One character as it may be shown."""
    code, category = ord(char), unicodedata.category(char)
    if category == "Cc":
        return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else REPLACEMENT
    if char in _BIDI or category in ("Cs", "Cn"):
        return REPLACEMENT
    if category == "Cf" or char in _INVISIBLE or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return ""  # joiners, selectors and fillers: terminals disagree about their width
    if 0x1F3FB <= code <= 0x1F3FF:
        return ""  # skin tones: two cells or none, by terminal
    if 0x1F1E6 <= code <= 0x1F1FF:
        return chr(code - 0x1F1E6 + ord("A"))  # half a flag is a letter
    return char


@lru_cache(maxsize=8192)
def _to_ascii(char: str) -> str:
    if char in _ASCII:
        return _ASCII[char]
    parts = unicodedata.normalize("NFKD", char)
    if parts == char:
        return "" if _cells(char) == 0 else "?"
    plain = "".join(c if c.isascii() else _to_ascii(c) for c in parts)
    return plain if "?" not in plain and plain.isprintable() else "?"


def clean(text: str, width: int | None = None, *, ascii_only: bool = False) -> str:
    """The text on one line, harmless in a terminal, in at most ``width`` cells.

    White space, newlines included, becomes one space; control characters become their pictures (``␛``), so
    that an escape sequence is seen and not obeyed; bidirectional overrides become ``\ufffd``; invisible
    characters go. What does not fit is cut and ends with ``…`` (``...`` in ASCII).
    """
    if width is not None:
        text = text[: min(LONGEST, 8 * width + 64)]
    else:
        text = text[:LONGEST]
    if not (text.isascii() and text.isprintable()):
        text = _filtered(_SPACES.sub(" ", text))
        if ascii_only:
            text = "".join(c if c.isascii() else _to_ascii(c) for c in text)
    return text if width is None else cut(text, width, ascii_only=ascii_only)


def _filtered(text: str) -> str:
    kept: list[str] = []
    marks = MARKS_ON_ONE  # none may come first: there is nothing to stand on
    for char in text:
        shown = _harmless(char)
        if not shown:
            continue
        if _cells(shown) == 0:
            marks += 1
            if marks > MARKS_ON_ONE:
                continue
        else:
            marks = 0
        kept.append(shown)
    return "".join(kept)


def cut(text: str, width: int, *, ascii_only: bool = False) -> str:
    """A cleaned text in at most ``width`` cells, ending with ``…`` when something was cut off."""
    if display_width(text) <= width:
        return text
    end = ("..." if width >= 6 else "." * min(width, 2)) if ascii_only else "…"
    room = width - len(end)
    if room < 0:
        return ""
    return _head(text, room).rstrip() + end


def _head(text: str, room: int) -> str:
    """As much of the text as fits in ``room`` cells, combining marks kept with their letter."""
    if text.isascii():
        return text[:room]
    used = 0
    for index, char in enumerate(text):
        used += _cells(char)
        if used > room:
            return text[:index]
    return text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """A cleaned text filled with spaces to ``width`` cells; ``right`` sets it at the right edge."""
    fill = " " * (width - display_width(text))
    return fill + text if right else text + fill


def wrap(text: str, width: int) -> list[str]:
    """A cleaned text in lines of at most ``width`` cells, broken at spaces where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if display_width(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while display_width(word) > width:
            head = _head(word, width)
            if not head:
                break  # one wide character in one cell: nothing can be shown of it
            lines.append(head)
            word = word[len(head) :]
        line = word if display_width(word) <= width else ""
    return [*lines, line] if line or not lines else lines


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be encoded as UTF-8."""
    return _SURROGATES.sub(REPLACEMENT, text)


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet runs and no terminal obeys; numbers stay.

    A text that starts like a formula gets a leading ``'``; what steers a terminal becomes ``\ufffd``.
    """
    if not isinstance(value, str):
        return value
    value = _STEERS.sub(
        REPLACEMENT, _RETURNS.sub("\n", encodable(value))
    )  # a bare carriage return ends the row for some readers
    if value.lstrip(" \u00a0").startswith(FORMULA) and not _NUMBER.match(value):
        return "'" + value
    return value


def csv_cells(values: Iterable[object]) -> list[object]:
    """``csv_cell`` of each."""
    return [csv_cell(value) for value in values]
