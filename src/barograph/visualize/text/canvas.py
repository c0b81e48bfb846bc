"""A grid of cells on which lines are drawn, each in a character set of its own way.

In braille a cell is two by four dots; in Unicode a line runs through box-drawing characters; in ASCII a value
is a sign of its series and a steep stretch a ``|``. Where two series meet, the cell belongs to the one drawn
with the higher priority: it gives the colour, and outside braille also the character. Hands rows to ``line``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from barograph.visualize.charset import Glyphs
from barograph.visualize.text.pen import Row

NORTH, EAST, SOUTH, WEST = 1, 2, 4, 8
# A cell that the line enters from above and from below is drawn as just that: in dense data, junctions are a tangle.
LIGHT = "•│─└││┌│─┘─┴┐│┬│"
HEAVY = "•┃━┗┃┃┏┃━┛━┻┓┃┳┃"
DOUBLE = "•║═╚║║╔║═╝═╩╗║╦║"
WEIGHTS = {"─": LIGHT, "━": HEAVY, "═": DOUBLE}
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell, by row and column
DOTS_HIGH, DOTS_WIDE = 4, 2

COARSE_DASH, FINE_DASH = 6, 2  # periods in braille dots: of a comparison, of an unfinished bucket

Point = tuple[float, float]  # column from the left and row from the top, in cells, of a cell's middle


class Canvas:
    """So many columns by so many rows of cells, empty at first."""

    def __init__(self, columns: int, rows: int, glyphs: Glyphs, *, braille: bool) -> None:
        self.columns = columns
        self.rows = rows
        self._glyphs = glyphs
        self._braille = braille
        self._chars = [[" "] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]
        self._ranks = [[-1] * columns for _ in range(rows)]
        self._dots = [[0] * columns for _ in range(rows)]

    def put(self, column: int, row: int, char: str, style: str, rank: int) -> None:
        """One character, unless something of a higher rank is there."""
        if 0 <= column < self.columns and 0 <= row < self.rows and rank >= self._ranks[row][column]:
            self._chars[row][column] = char
            self._styles[row][column] = style
            self._ranks[row][column] = rank
            self._dots[row][column] = 0

    def is_free(self, column: int, row: int) -> bool:
        return self._ranks[row][column] < 0

    def draw(self, run: Sequence[Point], key: str, style: str, rank: int, *, dash: int = 0) -> bool:
        """A line through the points, which follow each other without a gap; returns whether dashes can be seen in it.

        ``dash`` is the period of a dashed line in braille dots, half of it drawn; 0 is a whole line.
        """
        if self._braille:
            return self._draw_dots(run, style, rank, dash)
        if self._glyphs.ascii:
            return self._draw_signs(run, key, style, rank, dash)
        return self._draw_box(run, WEIGHTS.get(key, LIGHT), style, rank, dash)

    def _draw_dots(self, run: Sequence[Point], style: str, rank: int, dash: int) -> bool:
        if len(run) == 1:
            self.put(round(run[0][0]), round(run[0][1]), self._glyphs.dot, style, rank)  # one dot would be overlooked
            return False
        length = 0
        previous: tuple[int, int] | None = None
        for column, row in run:
            here = (round(column * DOTS_WIDE + 0.5), round(row * DOTS_HIGH + 1.5))
            for x, y in _between(previous, here) if previous else (here,):
                length += 1
                if dash and length % dash >= dash // 2:
                    continue
                self._dot(x, y, style, rank)
            previous = here
        return bool(dash) and length >= 2 * dash

    def _dot(self, x: int, y: int, style: str, rank: int) -> None:
        column, row = x // DOTS_WIDE, y // DOTS_HIGH
        if not (0 <= column < self.columns and 0 <= row < self.rows):
            return
        if not self._dots[row][column] and rank < self._ranks[row][column]:
            return  # a character of a higher rank stands here
        self._dots[row][column] |= DOTS[y % DOTS_HIGH][x % DOTS_WIDE]
        self._chars[row][column] = chr(0x2800 + self._dots[row][column])
        if rank >= self._ranks[row][column]:
            self._ranks[row][column] = rank
            self._styles[row][column] = style

    def _draw_signs(self, run: Sequence[Point], key: str, style: str, rank: int, dash: int) -> bool:
        before: int | None = None
        dashed = False
        for column, rows in _columns(run):
            if dash and column % 2 and len(run) > 1:
                before, dashed = rows[-1], True
                continue
            for row in rows:
                if before is not None:
                    low, high = sorted((before, row))
                    for between in range(low + 1, high):
                        self.put(column, between, self._glyphs.vertical, style, rank)
                before = row
            for row in rows:
                self.put(column, row, key, style, rank)
        return dashed

    def _draw_box(self, run: Sequence[Point], weight: str, style: str, rank: int, dash: int) -> bool:
        bits: dict[tuple[int, int], int] = {}
        before: tuple[int, int] | None = None
        for column, rows in _columns(run):
            if before is not None:
                bits[before] |= EAST
                bits[(column, before[1])] = bits.get((column, before[1]), 0) | WEST
                rows = [before[1], *rows]
            for start, stop in zip(rows, rows[1:] or rows, strict=False):
                for row in range(min(start, stop), max(start, stop)):
                    bits[(column, row)] = bits.get((column, row), 0) | SOUTH
                    bits[(column, row + 1)] = bits.get((column, row + 1), 0) | NORTH
            bits.setdefault((column, rows[-1]), 0)
            before = (column, rows[-1])
        if len(run) > 1 and before is not None:
            bits[before] |= EAST
            bits[(round(run[0][0]), round(run[0][1]))] |= WEST
        dashed = False
        for (place, level), sides in bits.items():
            char = weight[sides]
            if dash == FINE_DASH:
                if place % 2 and sides == EAST | WEST:
                    dashed = True
                    continue
            elif dash and sides:
                char = self._glyphs.dash if sides & (EAST | WEST) else self._glyphs.dash_vertical
                dashed = True
            self.put(place, level, char, style, rank)
        return dashed

    def lines(self) -> Iterator[Row]:
        """The rows from the top, neighbours of one style joined; a blank goes with what stands before it."""
        for chars, styles in zip(self._chars, self._styles, strict=True):
            row: Row = []
            start = 0
            for index in range(1, self.columns + 1):
                if index == self.columns or (styles[index] != styles[start] and chars[index] != " "):
                    row.append(("".join(chars[start:index]), styles[start]))
                    start = index
            yield row


def _between(start: tuple[int, int], stop: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight stretch, without its first (Bresenham 1965)."""
    (x, y), (to_x, to_y) = start, stop
    wide, high = abs(to_x - x), -abs(to_y - y)
    step_x, step_y = (1 if to_x > x else -1), (1 if to_y > y else -1)
    error = wide + high
    while (x, y) != (to_x, to_y):
        twice = 2 * error
        if twice >= high:
            error += high
            x += step_x
        if twice <= wide:
            error += wide
            y += step_y
        yield x, y
    if start == stop:
        yield stop


def _columns(run: Sequence[Point]) -> Iterator[tuple[int, list[int]]]:
    """For each column that the line passes, the rows it visits there in order; a value's own row is among them."""
    current: int | None = None
    rows: list[int] = []
    previous: Point | None = None
    for column, row in run:
        here = round(column)
        if current is None:
            current = here
        if here != current and previous is not None:
            yield current, rows
            rows = []
            for between in range(current + 1, here):
                share = (between - previous[0]) / (column - previous[0])
                yield between, [round(previous[1] + share * (row - previous[1]))]
            current = here
        if not rows or rows[-1] != round(row):
            rows.append(round(row))
        previous = (column, row)
    if current is not None:
        yield current, rows
