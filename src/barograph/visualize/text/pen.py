"""What every text renderer writes with: pieces of text with a style, in rows of a known width.

A ``Row`` is a list of (text, style) pairs; its width is known without escape sequences, and colour is added
only at the very end, by ``Pen.emit``. Reads ``charset`` and ``hostile``; hands finished lines to ``Visualizer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from barograph.core.unit import MINUS, format_value, missing
from barograph.core.zone import zone_of
from barograph.visualize.charset import GLYPHS, CharsetName, Glyphs
from barograph.visualize.hostile import clean, cut, display_width

_UNIT_CELLS = 12  # of a unit that is not the catalogue's

Row = list[tuple[str, str]]

# The sixteen colours of the terminal's own theme: readable on light and on dark. Better and worse are blue and
# yellow, never green and red; a style is never the only carrier of what it says.
SGR = {
    "title": "1", "muted": "2", "strong": "1", "grid": "2", "axis": "2", "mark": "35", "alert": "33",
    "better": "36", "worse": "33", "good": "36", "warning": "33", "critical": "1;31",
    "main": "36", "comparison": "2", "limit": "33", "p50": "34", "p90": "36", "p95": "36", "p99": "35",
    "group0": "36", "group1": "33", "group2": "35", "group3": "34", "group4": "32", "group5": "31",
}  # fmt: skip
HEAT = (17, 18, 19, 25, 31, 37, 73, 116, 159)  # xterm's 256 colours, dark to light in nine even steps


class Pen(Struct, frozen=True, kw_only=True):
    """How to write: charset, width in cells, colour or not, and the zone in which times are shown."""

    charset: CharsetName
    width: int
    colour: bool = False
    timezone: str = "UTC"

    @property
    def glyphs(self) -> Glyphs:
        return GLYPHS[self.charset]

    @property
    def ascii(self) -> bool:
        return self.charset == "ascii"

    def narrowed(self, width: int) -> Pen:
        """The same pen on fewer cells."""
        return Pen(charset=self.charset, width=width, colour=self.colour, timezone=self.timezone)

    def clean(self, text: str, width: int | None = None) -> str:
        """A text from data, harmless, in this charset, in at most so many cells."""
        return clean(text, width, ascii_only=self.ascii)

    def cut(self, text: str, width: int) -> str:
        return cut(text, width, ascii_only=self.ascii)

    def value(self, value: float | None, unit: str, *, signed: bool = False, headed: bool = True) -> str:
        """A number with its unit, in this charset; ``headed`` where a title names what it counts."""
        return format_value(value, self.clean(unit, _UNIT_CELLS), ascii_only=self.ascii, signed=signed, headed=headed)

    @property
    def missing(self) -> str:
        return missing(ascii_only=self.ascii)

    @property
    def minus(self) -> str:
        return "-" if self.ascii else MINUS

    def moment(self, x: datetime | float, form: str = "%m-%d %H:%M") -> str:
        """A time in the shown zone; a number as it is."""
        if isinstance(x, datetime):
            return x.astimezone(zone_of(self.timezone)).strftime(form)
        return self.value(x, "")

    def emit(self, rows: Iterable[Row]) -> str:
        """The finished text: every row cut to the width, trailing blanks removed, colour added where allowed."""
        return "\n".join(self._line(row) for row in rows)

    def _line(self, row: Row) -> str:
        row = _stripped(fit(row, self.width, self))
        if not self.colour:
            return "".join(text for text, _ in row)
        codes = [(text, _code(style)) for text, style in row]
        return "".join(f"\x1b[{code}m{text}\x1b[0m" if code and text else text for text, code in codes)


def _stripped(row: Row) -> Row:
    """The row without blanks at its end."""
    for index in range(len(row) - 1, -1, -1):
        text = row[index][0].rstrip(" ")
        if text:
            return [*row[:index], (text, row[index][1])]
    return []


def _code(style: str) -> str:
    if style.startswith("heat"):
        step = int(style.removeprefix("heat"))
        return f"48;5;{HEAT[step]};38;5;{'231' if step < 5 else '16'}"
    return SGR.get(style, "")


def row_width(row: Row) -> int:
    """How many cells a row takes."""
    return sum(display_width(text) for text, _ in row)


def fit(row: Row, width: int, pen: Pen) -> Row:
    """The row in at most so many cells."""
    used = 0
    for index, (text, style) in enumerate(row):
        here = display_width(text)
        if used + here > width:
            return [*row[:index], (pen.cut(text, width - used), style)]
        used += here
    return row


def fill(row: Row, width: int, pen: Pen) -> Row:
    """The row in exactly so many cells."""
    row = fit(row, width, pen)
    return [*row, (" " * (width - row_width(row)), "")]


def heading(pen: Pen, title: str, details: Sequence[str]) -> list[Row]:
    """The title and, dimmed, what it is made of: on one line where that fits, else on two."""
    name = pen.clean(title, pen.width)
    rest = pen.clean(pen.glyphs.separator.join(text for text in details if text))
    if not name and not rest:
        return []
    if not rest or not name:
        return [[(name, "title")] if name else [(pen.cut(rest, pen.width), "muted")]]
    if display_width(name) + 2 + display_width(rest) <= pen.width:
        return [[(name, "title"), ("  " + rest, "muted")]]
    return [[(name, "title")], [("  " + pen.cut(rest, pen.width - 2), "muted")]]
