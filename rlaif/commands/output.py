"""What commands print on stdout: tables, CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
import sys
from decimal import Decimal
from typing import Any


def stdout_screen(width: int | None = None) -> Any:
    """A screen for results: stdout, `width` columns wide; None: as wide as the terminal."""
    from rich.console import Console

    from rlaif.screen import Screen

    return Screen(Console(highlight=False, width=width))


def print_json(value: Any) -> None:
    """A result on one line of stdout. To a terminal, control characters are escaped too."""
    from rlaif.screen import CONTROL

    text = json.dumps(plain(value), ensure_ascii=not unicode_out(), default=str)
    print(CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) if sys.stdout.isatty() else text)


def unicode_out() -> bool:
    """Whether stdout takes every character: JSON escapes the others where it does not."""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def print_rows(columns: list[str], rows: list[tuple[Any, ...]], format: str) -> None:
    """Rows of a query on stdout as a table, CSV or a JSON list of objects. What goes to a terminal is cleaned; a file
    or a pipe gets every character of CSV and JSON as it is stored.
    """
    from rlaif.screen import clean

    terminal = sys.stdout.isatty()
    if format == "json":
        names = distinct(columns)
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        for row in [tuple(columns), *rows]:
            writer.writerow([clean(v) if terminal and isinstance(v, str) else v for v in map(plain_cell, row)])
    else:
        wide = None if terminal else 10_000  # in a file or a pipe nothing is folded
        stdout_screen(wide).table(
            "",
            columns,
            [["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in rows],
        )


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
