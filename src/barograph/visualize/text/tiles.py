"""Key numbers as text: a line each with notes in a column, or boxes side by side.

Reads ``Tile`` and ``Tiles``; hands rows to ``page``. The arrow says which way a number went, a word whether
that is better, and colour only repeats the word.
"""

from __future__ import annotations

from collections.abc import Sequence

from barograph.core.unit import significant
from barograph.visualize.chart import Tile
from barograph.visualize.hostile import display_width, wrap
from barograph.visualize.text.bars import spark
from barograph.visualize.text.pen import Pen, Row, fill, fit, row_width

GAP = 3
_NOTE_SPARK = 12
_NOTE_LINES = 2
_BOX = 26  # cells of a box at least
_LARGEST_SHARE = 10.0  # changes from there on are not told in percent
_SMALLEST_SHARE = 0.0005  # changes below it are said to be less than 0.1 %


def draw_lines(tiles: Sequence[Tile], pen: Pen) -> list[Row]:
    """``Title: value (change since when) better        notes``, the notes of all in one column."""
    fronts = [_front(tile, pen) for tile in tiles]
    limit = pen.width * 3 // 4
    column = max((row_width(front) for front in fronts if row_width(front) <= limit), default=0) + GAP
    rows: list[Row] = []
    for tile, front in zip(tiles, fronts, strict=True):
        used = row_width(front)
        if used > pen.width:
            rows += _folded(front, pen)
            used, front = pen.width, []
        note = _note(tile, pen, spark_too=True)
        if used + GAP + row_width(note) > pen.width:
            note = _note(tile, pen, spark_too=False) or note
        wide = row_width(note)
        if note and used + GAP + wide <= pen.width:
            place = max(used + GAP, min(column, pen.width - wide))
            rows.append([*front, (" " * (place - used), ""), *note])
            continue
        if front:
            rows.append(front)
        if note:
            rows.append([("  ", ""), *fit(note, pen.width - 2, pen)])
    return rows


def _front(tile: Tile, pen: Pen) -> Row:
    title = pen.clean(tile.title, max(8, pen.width // 2))
    row: Row = [(f"{title}: ", ""), (_value(tile, pen), "strong")]
    change = _change(tile, pen)
    inside = [text for text in (change, pen.clean(tile.aside)) if text]
    verdict, style = _verdict(tile)
    if inside:
        row.append((f" ({', '.join(inside)})", style if change else ""))
    if verdict:
        row.append((f" {verdict}", style))
    return row


def _folded(front: Row, pen: Pen) -> list[Row]:
    """A line that is too long: title and value first, the rest in rows below."""
    head, rest = front[:2], front[2:]
    text = "".join(piece for piece, _ in rest).strip()
    rows: list[Row] = [fit(head, pen.width, pen)]
    if text:
        rows += [[("  " + line, rest[0][1])] for line in wrap(text, pen.width - 2)]
    return rows


def _value(tile: Tile, pen: Pen) -> str:
    if isinstance(tile.value, str):
        return pen.clean(tile.value, pen.width)
    return pen.value(tile.value, tile.unit, headed=tile.value is None or tile.unit != "rating")


def _change(tile: Tile, pen: Pen) -> str:
    """``↓5% from yesterday``; the absolute change where a relative one is not known."""
    against = f" from {pen.clean(tile.delta_against, 24)}" if tile.delta_against else ""
    if tile.delta is not None:
        return _arrow(tile.delta, _share(tile.delta), pen) + against
    if tile.delta_absolute is not None:
        size = pen.value(abs(tile.delta_absolute), tile.unit)
        return _arrow(tile.delta_absolute, size, pen) + against
    return ""


def _arrow(delta: float, size: str, pen: Pen) -> str:
    if delta == 0:
        return "unchanged"
    return (pen.glyphs.rising if delta > 0 else pen.glyphs.falling) + size


def _share(delta: float) -> str:
    """A relative change in whole percent, or with one more digit below ten."""
    size = abs(delta)
    if size < _SMALLEST_SHARE:
        return "<0.1%"
    if size >= _LARGEST_SHARE:
        return ">999%"
    return f"{significant(size * 100, 2 if size < 1 else 3)}%"


def _verdict(tile: Tile) -> tuple[str, str]:
    """Better, worse or inside the noise, and its style; nothing for volumes."""
    delta = tile.delta if tile.delta is not None else tile.delta_absolute
    if delta is None or delta == 0:
        return "", ""
    if tile.significant is False:
        return "within noise", "muted"
    if tile.better == "neutral":
        return "", ""
    return ("better", "better") if (delta < 0) == (tile.better == "lower") else ("worse", "worse")


def _note(tile: Tile, pen: Pen, *, spark_too: bool) -> Row:
    row: Row = []
    parts = [pen.clean(tile.note)] if tile.note else []
    if tile.n is not None:
        parts.append(f"n={pen.value(tile.n, '1')}")
    if tile.spark and spark_too:
        row.append((spark(tile.spark, _NOTE_SPARK, pen), "main"))
    if parts:
        row.append((("  " if row else "") + "   ".join(parts), "muted"))
    return row


def draw_boxes(tiles: Sequence[Tile], pen: Pen) -> list[Row]:
    """Boxes of one height, as many beside each other as the width holds."""
    rows: list[Row] = []
    most = max(1, (pen.width + 1) // (_BOX + 1))
    lines = -(-len(tiles) // most)
    for line in range(lines):
        share = tiles[line * len(tiles) // lines : (line + 1) * len(tiles) // lines]
        width = min(pen.width, (pen.width + 1) // max(1, -(-len(tiles) // lines)) - 1)
        contents = [_contents(tile, pen.narrowed(width - 4)) for tile in share]
        height = max(map(len, contents))
        boxes = [_box(tile, rows_, height, width, pen) for tile, rows_ in zip(share, contents, strict=True)]
        for parts in zip(*boxes, strict=True):
            joined: Row = []
            for index, part in enumerate(parts):
                joined += [(" ", ""), *part] if index else part
            rows.append(joined)
    return rows


def _contents(tile: Tile, pen: Pen) -> list[Row]:
    """What stands in a box: value with its sample size, what is said beside it, the change, notes, the line."""
    value: Row = [(pen.cut(_value(tile, pen), pen.width), "strong")]
    if tile.n is not None:
        size = f"n={pen.value(tile.n, '1')}"
        space = pen.width - row_width(value) - display_width(size)
        if space >= 2:
            value += [(" " * space, ""), (size, "muted")]
    rows = [value]
    if tile.aside:
        rows.append([(pen.clean(tile.aside, pen.width), "")])
    change, style = _whole_change(tile, pen)
    if change:
        rows.append([(change, style)])
    if tile.note:
        lines = wrap(pen.clean(tile.note), pen.width)
        rows += [[(line, "muted")] for line in (*lines[: _NOTE_LINES - 1], " ".join(lines[_NOTE_LINES - 1 :])) if line]
    if tile.spark:
        rows.append([(spark(tile.spark, pen.width, pen), "main")])
    return rows


def _whole_change(tile: Tile, pen: Pen) -> tuple[str, str]:
    """The relative and the absolute change, the verdict, and since when, where there is room for it."""
    verdict, style = _verdict(tile)
    parts: list[str] = []
    if tile.delta is not None:
        parts.append(_arrow(tile.delta, _share(tile.delta), pen))
        if tile.delta_absolute:
            parts.append(pen.value(tile.delta_absolute, tile.unit, signed=True))
    elif tile.delta_absolute is not None:
        parts.append(_arrow(tile.delta_absolute, pen.value(abs(tile.delta_absolute), tile.unit), pen))
    if parts and tile.delta_against:
        whole = [*parts, f"from {pen.clean(tile.delta_against, 24)}", verdict]
        if display_width(" ".join(filter(None, whole))) <= pen.width:
            parts = whole[:-1]
    return " ".join(filter(None, [*parts, verdict])), style


def _box(tile: Tile, contents: list[Row], height: int, width: int, pen: Pen) -> list[Row]:
    top_left, top_right, low_left, low_right = tuple(pen.glyphs.frame)
    side, bar = pen.glyphs.vertical, pen.glyphs.horizontal
    title = pen.clean(tile.title, width - 4)
    rest = bar * (width - 4 - display_width(title))
    rows: list[Row] = [[(top_left + " ", "axis"), (title, "title"), (f" {rest}{top_right}", "axis")]]
    for index in range(height):
        content = contents[index] if index < len(contents) else []
        rows.append([(side + " ", "axis"), *fill(content, width - 4, pen), (" " + side, "axis")])
    return [*rows, [(low_left + bar * (width - 2) + low_right, "axis")]]
