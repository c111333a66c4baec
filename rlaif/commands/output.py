"""What commands print on stdout: tables for a person, CSV, Markdown and JSON."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

WRITTEN = ("csv", "markdown", "jsonl")  # tables as text for other programs and pages
FORMATS = ("table", "json", *WRITTEN)


def stdout_screen(format: str = "table", width: int | None = None) -> Any:
    """A screen for results: stdout, `width` columns wide; None: as wide as the terminal. With a `format` of csv,
    markdown or jsonl its tables are written as that.
    """
    from rich.console import Console

    from rlaif.screen import Screen

    return Written(format) if format in WRITTEN else Screen(Console(highlight=False, width=width))


class Written:
    """Stands in for a screen: tables go to stdout as CSV, Markdown or one JSON object per row, with the cells that a
    person would see. Lines between them are part of Markdown; beside CSV and JSON they go to stderr.
    """

    def __init__(self, format: str) -> None:
        self._format, self._begun = format, False

    def line(self, text: str, style: str = "") -> None:
        if self._format != "markdown":
            from rlaif.screen import Screen

            Screen().line(text, style)
        elif text.strip():
            print(f"{shown(text.strip())}\n")

    def heading(self, text: str) -> None:
        self.line(f"## {text}" if self._format == "markdown" else text)

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], lines: bool = False, spare: Any = ()
    ) -> None:
        """As `Screen.table`, which folds and spares; here every column is written. A title is Markdown's heading and
        the key `table` of a JSON object; CSV has an empty line between two tables.
        """
        if self._format == "jsonl":
            names = distinct(["table", *columns])
            for row in rows:
                print_json(
                    dict(zip(names, [title, *row], strict=True)) if title else dict(zip(columns, row, strict=True))
                )
            return
        if self._format == "markdown":
            if title:
                self.heading(title)
            print(markdown(columns, rows), end="\n\n")
            return
        if self._begun:
            print()
        self._begun = True
        csv.writer(sys.stdout, lineterminator="\n").writerows([shown(v) for v in row] for row in [columns, *rows])


def shown(text: str) -> str:
    """Text for stdout: what could steer a terminal is replaced where stdout is one."""
    from rlaif.screen import clean

    return clean(text) if sys.stdout.isatty() else text


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub's Markdown: a line break in a cell is <br>, a bar in it is escaped."""
    cells = [
        [shown(c).replace("\\", "\\\\").replace("|", "\\|").replace("\r", "").replace("\n", "<br>") for c in row]
        for row in rows
    ]
    lines = [list(columns), ["---"] * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_json(value: Any) -> None:
    """A result on one line of stdout. To a terminal, control characters are escaped too."""
    from rlaif.screen import CONTROL

    text = json.dumps(plain(value), ensure_ascii=not unicode_out(), default=str)
    print(CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) if sys.stdout.isatty() else text)


def unicode_out() -> bool:
    """Whether stdout takes every character: JSON escapes the others where it does not."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def print_rows(columns: list[str], rows: list[tuple[Any, ...]], format: str) -> None:
    """Rows of a query on stdout in one of :data:`FORMATS`. What goes to a terminal is cleaned; a file or a pipe gets
    every character of CSV and JSON as it is stored.
    """
    if format in ("json", "jsonl"):
        names = distinct(columns)
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        for value in objects if format == "jsonl" else [objects]:
            print_json(value)
    elif format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        for row in [tuple(columns), *rows]:
            writer.writerow([shown(v) if isinstance(v, str) else v for v in map(plain_cell, row)])
    else:
        wide = None if sys.stdout.isatty() else 10_000  # in a file or a pipe nothing is folded
        texts = [["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in rows]
        stdout_screen(format, wide).table("", columns, texts)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], format: str, spare: Sequence[str] = ()) -> None:
    """The one table of a command, in one of :data:`FORMATS`; JSON has a list of objects."""
    if format == "json":
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        stdout_screen(format).table("", columns, rows, spare=spare)


def distinct(names: list[str]) -> list[str]:
    """Each name once: the second `x` becomes `x_1`, or the next number that no column has."""
    taken: set[str] = set()
    found = []
    for index, name in enumerate(names):
        new, number = name, 0
        while new in taken or (number and new in names[index + 1 :]):
            number += 1
            new = f"{name}_{number}"
        taken.add(new)
        found.append(new)
    return found


def plain_cell(value: Any) -> Any:
    """A value as CSV has it: one that is not text or a number as its text."""
    return value if value is None or isinstance(value, str | int | float | Decimal) else str(value)


def plain(value: Any) -> Any:
    """A database value as JSON has it: decimals as numbers, and no NaN or infinity, which JSON does not know."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
