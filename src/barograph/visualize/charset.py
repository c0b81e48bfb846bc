"""Which characters, colours and width a terminal gets, and the glyphs of each choice.

Reads the environment and the stream that are passed in; hands a ``Terminal`` to ``Visualizer``. The order is:
an argument, then ``BAROGRAPH_CHARSET``, then what the locale, ``TERM`` and the stream allow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from barograph.visualize.hostile import pad
from barograph_client.errors import InvalidSettings

CharsetName = Literal["ascii", "unicode", "braille"]
CHARSETS: tuple[CharsetName, ...] = ("ascii", "unicode", "braille")
NARROWEST = 20  # cells below which nothing useful can be drawn
WIDEST = 400
DEFAULT_WIDTH = 80


class Glyphs(Struct, frozen=True, kw_only=True):
    """The characters that a chart is made of, in one charset; each takes one cell."""

    ascii: bool
    vertical: str
    horizontal: str
    corner: str  # where the axes meet
    tick: str  # on the value axis
    time_tick: str
    broken: str  # where the axes meet when the value axis does not start at zero
    grid: str
    mark: str
    few: str
    unfinished: str
    dash: str
    dash_vertical: str
    block: str
    tail: str  # an interval's reach beyond a bar
    inside: str  # an interval's part inside a bar
    stop: str
    band: str  # intervals so close together that they are an area
    band_top: str  # the ends of an upright interval
    band_bottom: str
    point: str
    thin: str
    thick: str
    left: str
    right: str
    up: str
    down: str
    rising: str
    falling: str
    level: str
    dot: str
    separator: str
    missing: str
    ellipsis: str
    frame: str  # top left, top right, bottom left, bottom right
    eighths: str  # of a column, from empty to full
    shades: str
    series: tuple[str, ...]  # the key of each line
    numbers: tuple[str, ...]


ASCII_GLYPHS = Glyphs(
    ascii=True, vertical="|", horizontal="-", corner="+", tick="+", time_tick="+", broken="~", grid=".", mark=":",
    few="o", unfinished="~", dash="-", dash_vertical="'", block="#", tail="-", inside="=", stop="|", band=":",
    band_top="-", band_bottom="-", point="O", thin="-", thick="=", left="<", right=">", up="^", down="v", rising="^",
    falling="v", level="-", dot="*", separator=", ", missing="n/a", ellipsis="...", frame="++++",
    eighths=" ._-=+*%#", shades=" .:-=+*#%@",
    series=("*", "+", "x", "#", "%", "@"), numbers=tuple("123456789"),
)  # fmt: skip
UNICODE_GLYPHS = Glyphs(
    ascii=False, vertical="│", horizontal="─", corner="└", tick="┤", time_tick="┬", broken="≈", grid="·", mark="┆",
    few="○", unfinished="╌", dash="╌", dash_vertical="╎", block="█", tail="─", inside="▒", stop="┤", band="░",
    band_top="┬", band_bottom="┴", point="●", thin="─", thick="━", left="◀", right="▶", up="▲", down="▼", rising="↑",
    falling="↓", level="·", dot="•", separator=" · ", missing="–", ellipsis="…", frame="┌┐└┘",
    eighths=" ▁▂▃▄▅▆▇█", shades=" .:-=+*#%@",
    series=("─", "━", "═", "─", "━", "═"), numbers=tuple("①②③④⑤⑥⑦⑧⑨"),
)  # fmt: skip
GLYPHS: dict[CharsetName, Glyphs] = {"ascii": ASCII_GLYPHS, "unicode": UNICODE_GLYPHS, "braille": UNICODE_GLYPHS}


class Stream(Protocol):
    """What is asked of an output stream."""

    @property
    def encoding(self) -> str | None: ...
    def isatty(self) -> bool: ...
    def fileno(self) -> int: ...


class Terminal(Struct, frozen=True, kw_only=True):
    """What may be written: the charset, the width in cells, and whether colour may be used."""

    charset: CharsetName
    width: int
    colour: bool


def choose(
    stream: Stream, environment: Mapping[str, str], *, charset: str | None = None, width: int | None = None
) -> Terminal:
    """What a stream can show. Raises InvalidSettings for a charset that does not exist.

    A pipe or a file gets neither braille nor colour, unless asked for (``FORCE_COLOR``): files and CI logs are
    read in unknown fonts.
    """
    asked = charset or environment.get("BAROGRAPH_CHARSET") or None
    return Terminal(
        charset=_named(asked) if asked else _guess(stream, environment),
        width=width_of(stream, environment) if width is None else max(NARROWEST, min(width, WIDEST)),
        colour=_colour(stream, environment),
    )


def _named(name: str) -> CharsetName:
    for known in CHARSETS:
        if name.strip().lower() == known:
            return known
    raise InvalidSettings(
        "no such charset", hint="Choose ascii, unicode or braille (BAROGRAPH_CHARSET or the option).", value=name
    )


def _guess(stream: Stream, environment: Mapping[str, str]) -> CharsetName:
    term = environment.get("TERM", "")
    if not _is_utf8(stream, environment) or term == "dumb":
        return "ascii"
    if not stream.isatty() or term == "linux" or term.startswith("vt"):
        return "unicode"
    return "braille"


_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")  # PEP 538


def _is_utf8(stream: Stream, environment: Mapping[str, str]) -> bool:
    """Whether the stream and the locale are both UTF-8.

    Python writes UTF-8 under the C locale too, so the variables are asked; when someone told Python which
    encoding to use, that alone counts.
    """
    spoken = (stream.encoding or "").lower().replace("-", "").replace("_", "") == "utf8"
    if environment.get("PYTHONIOENCODING") or environment.get("PYTHONUTF8"):
        return spoken
    coerced = sys.flags.utf8_mode and environment.get("LC_CTYPE") in _COERCED  # by Python itself, which found C
    variables = ("LC_ALL", "LANG") if coerced else ("LC_ALL", "LC_CTYPE", "LANG")
    names = (environment.get(name, "") for name in variables)
    locale = next((name for name in names if name), "")
    return spoken and (not locale or "utf8" in locale.lower().replace("-", ""))


def _colour(stream: Stream, environment: Mapping[str, str]) -> bool:
    if environment.get("NO_COLOR"):
        return False
    forced = environment.get("FORCE_COLOR", "")
    if forced:
        return forced != "0"
    return stream.isatty() and environment.get("TERM", "") != "dumb"


def width_of(stream: Stream, environment: Mapping[str, str]) -> int:
    """Cells in a line: ``COLUMNS``, else the terminal's own width, else 80."""
    told = environment.get("COLUMNS", "")
    columns = int(told) if told.isascii() and told.isdigit() and len(told) < 6 else 0
    if not columns and stream.isatty():
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):  # a terminal that does not tell
            columns = 0
    return max(NARROWEST, min(columns or DEFAULT_WIDTH, WIDEST))


def test_pattern(charset: CharsetName) -> str:
    """Lines that show every glyph of the charset between two rulers; bent edges mean a font that lacks some.

    ``barograph doctor`` prints it. Each line is 40 cells from ``|`` to ``|``.
    """
    glyphs = GLYPHS[charset]
    axes = glyphs.vertical + glyphs.horizontal + glyphs.corner + glyphs.tick + glyphs.time_tick + glyphs.frame
    line = "".join((axes, glyphs.dash, glyphs.dash_vertical, glyphs.mark, glyphs.grid, *dict.fromkeys(glyphs.series)))
    rows = {
        "ruler": "1234567890" * 3,
        "lines": line,
        "bars": glyphs.eighths + glyphs.inside + glyphs.tail + glyphs.stop + glyphs.band + glyphs.shades,
        "signs": "".join((glyphs.up, glyphs.down, glyphs.rising, glyphs.falling, glyphs.left, glyphs.right,
                          glyphs.point, glyphs.few, glyphs.dot, glyphs.missing, glyphs.ellipsis, *glyphs.numbers)),
    }  # fmt: skip
    if charset == "braille":
        rows["braille"] = "⡀⡄⡆⡇⣇⣧⣷⣿⣾⣼⣸⢸⢰⢠⢀⠁⠃⠉⠒⠤⣀⠔⠊⠢⠑"
    if charset != "ascii":
        rows["wide"] = "日本語 한국어 👍 é ñ ü"
    return "\n".join(f"{name:<8}|{pad(text[:30], 30)}|" for name, text in rows.items())
