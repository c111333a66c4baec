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
    """A result on one line of stdout."""
    print(json.dumps(plain(value), ensure_ascii=False))


def print_rows(columns: list[str], rows: list[tuple[Any, ...]], format: str) -> None:
    """Rows of a query on stdout as a table, CSV or a JSON list of objects."""
    if format == "json":
        names = [
            name if name not in columns[:i] else f"{name}_{columns[:i].count(name)}" for i, name in enumerate(columns)
        ]
        print(
            json.dumps(
                [dict(zip(names, map(plain, row), strict=True)) for row in rows], default=str, ensure_ascii=False
            )
        )
    elif format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        wide = None if sys.stdout.isatty() else 10_000  # in a file or a pipe nothing is folded
        stdout_screen(wide).table(
            "",
            columns,
            [["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in rows],
        )


def plain(value: Any) -> Any:
    """A database value as JSON has it: decimals as numbers, and no NaN or infinity, which JSON does not know."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
