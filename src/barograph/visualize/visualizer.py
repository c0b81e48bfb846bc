"""``Visualizer``: one chart specification in, text, JSON or CSV out.

Reads ``chart``; draws with ``text`` and ``exports``. Every format shows the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from barograph.core.zone import zone_of
from barograph.visualize.charset import CHARSETS, DEFAULT_WIDTH, NARROWEST, CharsetName, Stream, choose
from barograph.visualize.chart import Chart
from barograph.visualize.exports import to_csv, to_json
from barograph.visualize.text.page import draw
from barograph.visualize.text.pen import Pen
from barograph_client.errors import InvalidSettings

Format = Literal["text", "json", "csv"]


class Visualizer:
    """Draws charts for one reader: a charset, a width in cells, colour or not, a time zone.

    ``charset`` is ``ascii``, ``unicode`` (blocks and box drawing, for files and plain fonts) or ``braille``.
    Nothing it draws is wider than ``width``, which is 20 at least. Raises InvalidSettings for what it cannot be.
    """

    def __init__(
        self,
        charset: CharsetName = "unicode",
        width: int = DEFAULT_WIDTH,
        colour: bool = False,
        timezone: str = "UTC",
    ) -> None:
        if charset not in CHARSETS:
            raise InvalidSettings("no such charset", hint="Choose ascii, unicode or braille.", value=charset)
        if width < NARROWEST:
            raise InvalidSettings("too narrow to draw", hint=f"Give {NARROWEST} cells at least.", value=width)
        zone_of(timezone)
        self._pen = Pen(charset=charset, width=width, colour=colour, timezone=timezone)

    @classmethod
    def for_stream(
        cls,
        stream: Stream,
        environment: Mapping[str, str],
        *,
        charset: str | None = None,
        width: int | None = None,
        timezone: str = "UTC",
    ) -> Visualizer:
        """The one that suits a stream, by the order of ``charset.choose``; arguments win."""
        terminal = choose(stream, environment, charset=charset, width=width)
        return cls(terminal.charset, terminal.width, terminal.colour, timezone)

    @property
    def charset(self) -> CharsetName:
        return self._pen.charset

    @property
    def width(self) -> int:
        return self._pen.width

    @property
    def colour(self) -> bool:
        return self._pen.colour

    @property
    def timezone(self) -> str:
        return self._pen.timezone

    def draw(self, chart: Chart, format: Format = "text") -> str:
        """The chart, panel or page in that format; text and JSON end without a newline, CSV with one."""
        match format:
            case "text":
                return self._pen.emit(draw(chart, self._pen))
            case "json":
                return to_json(chart)
            case "csv":
                return to_csv(chart, self._pen.timezone)
            case _:
                raise InvalidSettings("no such format", hint="Choose text, json or csv.", value=format)
