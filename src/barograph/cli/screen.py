"""A page that is drawn again and again in one place: the alternate screen of a terminal, as long as it is shown.

What was on the screen before is back when it ends, whatever ends it. Where the output is no terminal, or one that
cannot do this, one page is printed after the other. Used by ``demo --live``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TextIO

from barograph.visualize.hostile import clean

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # and hide the cursor meanwhile
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_ROWS = 24  # of a terminal that does not tell


class Screen:
    """A context manager; ``show`` draws the top of a page, as much of it as the terminal has rows."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str]) -> None:
        self._stream = stream
        self._ascii = not stream.encoding.lower().startswith("utf")
        self._whole = not stream.isatty() or environment.get("TERM", "") in ("", "dumb")

    def __enter__(self) -> Self:
        self._write("" if self._whole else _ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write("" if self._whole else _LEAVE)

    def show(self, text: str, rest: str) -> None:
        """The text; ``rest`` stands in the last row and says where to find what has no room above it."""
        if self._whole:
            self._write(f"\n{text}\n")
            return
        columns, rows = self._size()
        lines = text.split("\n")
        last = rest if len(lines) < rows else f"{len(lines) - rows + 1} more lines; {rest}"
        shown = [*lines[: rows - 1], clean(last, columns - 1, ascii_only=self._ascii)]
        self._write(_HOME + "\r\n".join(line + _REST_OF_LINE for line in shown) + _REST_OF_SCREEN)

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 80, _ROWS
        return size.columns or 80, size.lines or _ROWS

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
