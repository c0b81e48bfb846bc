"""A table as text: columns aligned by display width, texts shortened before a column is left out.

Reads a ``Table``; hands rows to ``page``. By hand, because every cell is hostile text, the width is a promise,
and the same rows must come out in ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from barograph.visualize.chart import Cell, Column, Table
from barograph.visualize.hostile import display_width, pad, wrap
from barograph.visualize.text.pen import Pen, Row, heading

GAP = 2
_SHORTEST_TEXT = 8  # cells that a text column keeps before a column is left out
_LONGEST_WORD = 28  # cells that a word may ask for


def draw_table(table: Table, pen: Pen) -> list[Row]:
    """Heading, column titles, a rule, the rows."""
    rows = heading(pen, table.title, [table.subtitle])
    numeric = [_is_numeric(column, [row[index] for row in table.rows]) for index, column in enumerate(table.columns)]
    titles = [pen.clean(column.title, column.most) for column in table.columns]
    cells = [[_cell(cell, column, pen) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]
    widths = [
        max(1, display_width(title), *(display_width(row[index]) for row in cells))
        for index, title in enumerate(titles)
    ]
    stiff = [
        numeric[index] or column.whole or any(isinstance(row[index], datetime) for row in table.rows)
        for index, column in enumerate(table.columns)
    ]
    words = [_longest_word(column, [row[index] for row in cells]) for index, column in enumerate(table.columns)]
    widths = _shrink(widths, stiff, words, pen.width)
    left_out = len(table.columns) - len(widths)
    rows.append(_row(titles, widths, numeric, pen, "strong"))
    rule = (" " * GAP).join(pen.glyphs.horizontal * width for width in widths)
    rows.append([(rule, "grid")])
    for texts, values in zip(cells, table.rows, strict=True):
        missing = [value is None for value in values]
        lines = [
            wrap(text, width) if column.wraps else [text]
            for text, width, column in zip(texts, widths, table.columns, strict=False)
        ]
        for number in range(max(map(len, lines))):
            line = [one[number] if number < len(one) else "" for one in lines]
            rows.append(_row(line, widths, numeric, pen, "", missing))
    if not table.rows:
        rows.append([("no rows", "muted")])
    notes = [table.note] if table.note else []
    if left_out:
        notes.append(f"{left_out} more {'column' if left_out == 1 else 'columns'} on a wider screen")
    for note in notes:
        rows += [[(text, "muted")] for text in wrap(pen.clean(note), pen.width)]
    return rows


def _is_numeric(column: Column, cells: Sequence[Cell]) -> bool:
    """Whether the column stands at the right edge: asked for, or all its cells are numbers."""
    if column.align != "auto":
        return column.align == "right"
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known)


def _cell(cell: Cell, column: Column, pen: Pen) -> str:
    if cell is None:
        return pen.missing
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime):
        return pen.moment(cell)
    if isinstance(cell, str):
        return pen.clean(cell, column.most)
    return pen.value(cell, column.unit)


def _longest_word(column: Column, texts: Sequence[str]) -> int:
    """Cells that a column asks to keep: where a text goes on in the rows below, its words should not be broken."""
    words = (word for text in texts for word in text.split()) if column.wraps else ()
    return min(max(map(display_width, words), default=0), _LONGEST_WORD)


def _shrink(widths: Sequence[int], stiff: Sequence[bool], words: Sequence[int], most: int) -> list[int]:
    """Widths that fit: the widest text gives way first; then words are broken; then columns are left out from the end.

    Numbers, times and texts that stay whole, the ``stiff`` columns, are never cut while another column can give way.
    """
    wished, widths = widths, list(widths)
    least = [max(_SHORTEST_TEXT, length) for length in words]
    while (excess := sum(widths) + GAP * (len(widths) - 1) - most) > 0:
        texts = [index for index in range(len(widths)) if not stiff[index] and widths[index] > least[index]]
        if texts:
            widest = max(texts, key=lambda index: widths[index])
            second = max([least[widest], *(widths[index] for index in texts if index != widest)])
            widths[widest] -= min(excess, max(1, widths[widest] - second))
        elif max(least) > _SHORTEST_TEXT:
            least = [_SHORTEST_TEXT] * len(widths)
        elif len(widths) > 1:
            return _shrink(wished[:-1], stiff[:-1], words[:-1], most)  # what it leaves is room for the others
        else:
            return [most]
    return widths


def _row(
    texts: Sequence[str],
    widths: Sequence[int],
    numeric: Sequence[bool],
    pen: Pen,
    style: str,
    missing: Sequence[bool] = (),
) -> Row:
    row: Row = []
    for index, width in enumerate(widths):
        text = pad(pen.cut(texts[index], width), width, right=numeric[index])
        row.append((text, "muted" if missing and missing[index] else style))
        if index < len(widths) - 1:
            row.append((" " * GAP, ""))
    return row
