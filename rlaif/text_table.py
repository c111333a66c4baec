"""A table for a screen of a given width. Words, figures and names stay whole: cells fold at the ends of words, columns
that a caller can spare go, and where even that is too wide each row becomes a record of its own, one line per column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len, chop_cells
from rich.table import Table
from rich.text import Text

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LONGEST_WORD = 40  # characters; a longer one, such as an address, is broken where the column is narrower
NARROWEST = 12  # what a column of longer texts gets at least: narrower ones are towers of single words


def clean(text: str) -> str:
    """Text from a model or a data set, safe for a terminal: no control or direction-changing characters."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def make_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    lines: bool = False,
    spare: Sequence[str] = (),
) -> Table:
    """A rich table whose cells are plain text, for a screen of `width` columns; with `lines`, one between any two rows.

    `spare`: names of columns that may be left out where the rest needs their room, the first one first. The caption
    names those that were.
    """
    names, cells = [_text(name) for name in columns], [[_text(cell) for cell in row] for row in rows]
    shown, left_out = list(range(len(names))), []
    widths = _widths(names, cells, shown, width)
    for name in spare:
        if widths is None:
            shown.remove(columns.index(name))
            left_out.append(name)
            widths = _widths(names, cells, shown, width)
    if widths is None:
        return _records(title, names, cells, width)
    table = _empty(title, show_lines=lines)
    if left_out:
        table.caption = Text(f"no room for: {clean(', '.join(left_out))} (--format json has all)", justify="left")
    for index, column_width in zip(shown, widths, strict=True):
        justify: Literal["left", "right"] = "right" if index and _numeric(cells, index) else "left"
        table.add_column(Text(fold(names[index], column_width)), justify=justify, width=column_width, overflow="fold")
    for row in cells:
        table.add_row(*(Text(fold(row[i], w)) for i, w in zip(shown, widths, strict=True)))
    return table


def fold(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns, broken between words; a longer word is broken where it has to be."""
    lines: list[str] = []
    for line in text.split("\n"):
        current = ""
        for word in line.split(" ") if cell_len(line) > width else [line]:
            longer = f"{current} {word}" if current else word
            if cell_len(longer) <= width:
                current = longer
                continue
            lines += [current] if current else []
            *full, current = chop_cells(word, width) or [""]
            lines += full
        lines.append(current)
    return "\n".join(lines)


def _text(cell: str) -> str:
    return clean(cell).expandtabs(4)


def _empty(title: str, **settings: bool) -> Table:
    shown = Text(clean(title)) if title else None
    return Table(title=shown, title_justify="left", title_style="bold", caption_justify="left", **settings)  # type: ignore[arg-type]


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[int], width: int) -> list[int] | None:
    """The width of each column in `shown`; None where its longest words do not fit side by side."""
    texts = [[names[i], *(row[i] for row in rows)] for i in shown]
    wanted = [max((cell_len(line) for text in column for line in text.split("\n")), default=0) for column in texts]
    needed = []
    for i, column, most in zip(shown, texts, wanted, strict=True):
        whole = [row[i] for row in rows] if _numeric(rows, i) else []  # "25.3 MB" is one figure
        words = [*whole, *(word for text in column for word in text.split())]
        longest = max((min(cell_len(word), LONGEST_WORD) for word in words), default=0)
        needed.append(max(longest, min(most, NARROWEST)))
    room = width - 3 * len(shown) - 1  # a line and two blanks per column
    if sum(needed) > room:
        return None
    widths = needed
    for _ in range(room - sum(needed)):  # each further column of the screen goes where a text is longest for its width
        ratios = [most / max(w, 1) if w < most else 0 for most, w in zip(wanted, widths, strict=True)]
        if not any(ratios):
            break
        widths[ratios.index(max(ratios))] += 1
    return widths


def _records(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Table:
    """Each row as lines of (column's name, value)."""
    table = _empty(title, show_header=False)
    name_width = min(max(map(cell_len, names), default=0), max(width // 2 - 4, 1))
    value_width = max(width - name_width - 7, 1)
    widest = max((cell_len(line) for row in rows for cell in row for line in cell.split("\n")), default=0)
    table.add_column(width=name_width, overflow="fold", style="bold")
    table.add_column(width=min(value_width, max(widest, 1)), overflow="fold")
    for row in rows:
        for name, cell in zip(names, row, strict=True):
            table.add_row(Text(fold(name, name_width)), Text(fold(cell, value_width)))
        table.add_section()
    return table


def _numeric(rows: Sequence[Sequence[str]], index: int) -> bool:
    cells = [row[index] for row in rows if row[index]]
    return bool(cells) and all(re.fullmatch(r"[-+]?[\d,.]+%?( s| MB)?", cell) for cell in cells)
