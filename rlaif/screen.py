"""What a person sees of a run: live bars in a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
PLAIN_EVERY = 15.0  # seconds between plain progress lines of a long stage


def clean(text: str) -> str:
    """Text from a model or a data set, safe for a terminal: no control or direction-changing characters."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Bar:
    """One running stage. `step` advances it; `note` is what stands at the end of its line (tokens/s, mean score,
    ...).
    """

    def __init__(self, screen: Screen, label: str, total: int | None) -> None:
        label = clean(label)
        self._screen, self._label, self._total, self._done = screen, label, total, 0
        self._started = self._said = time.monotonic()
        self._note, self._tokens = "", 0
        self._task = screen.bars.add_task(label, total=total, note="") if screen.bars else None

    def total(self, total: int) -> None:
        """Set how many steps there will be, once it is known."""
        self._total = total
        if self._screen.bars and self._task is not None:
            self._screen.bars.update(self._task, total=total)

    def step(self, amount: int = 1, *, tokens: int = 0, note: str = "") -> None:
        self._done += amount
        self._tokens += tokens
        now = time.monotonic()
        parts = [f"{self._tokens / max(now - self._started, 1e-9):,.0f} tok/s"] if self._tokens else []
        self._note = "  ".join(parts + ([clean(note)] if note else []))
        if self._screen.bars and self._task is not None:
            self._screen.bars.update(self._task, advance=amount, note=self._note)
        elif now - self._said > PLAIN_EVERY:
            self._said = now
            self._screen.line(f"  {self._label}: {self._done}/{self._total or '?'}  {self._note}".rstrip())

    def finish(self, result: str) -> None:
        """Take the bar down and leave one line with what came out."""
        if self._screen.bars and self._task is not None:
            self._screen.bars.remove_task(self._task)
        seconds = time.monotonic() - self._started
        note = f"  [{self._note}]" if self._tokens else ""
        self._screen.line(f"  {self._label:<22} {result}  ({seconds:.1f} s){note}")


class Screen:
    """Where the loop reports to."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.bars: Progress | None = None

    @contextmanager
    def live(self) -> Iterator[Screen]:
        """Bars at the bottom of the terminal while inside; nothing where stderr is no terminal."""
        if not self.console.is_terminal:
            yield self
            return
        with Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False, style="cyan"),
            console=self.console,
            transient=True,
        ) as self.bars:
            try:
                yield self
            finally:
                self.bars = None

    def bar(self, label: str, total: int | None = None) -> Bar:
        return Bar(self, label, total)

    def line(self, text: str, style: str = "") -> None:
        """One line, shown as it is: no markup."""
        self.console.print(Text(clean(text), style=style), soft_wrap=True)

    def heading(self, text: str) -> None:
        self.line("")
        self.line(text, style="bold")

    def table(self, title: str, columns: list[str], rows: list[list[str]], lines: bool = False) -> None:
        self.console.print(make_table(title, columns, rows, self.console.width, lines))


LONGEST_ID = 16  # characters; such a cell is not broken
NARROWEST = 8  # a column of several words


def make_table(title: str, columns: list[str], rows: list[list[str]], width: int, lines: bool = False) -> Table:
    """A rich table whose cells are plain text, for a screen of `width` columns; with `lines`, one between any two rows.
    Where all does not fit, words are folded before ids and numbers; where not even these fit, everything is.
    """
    table = Table(
        title=Text(clean(title)) if title else None, title_justify="left", title_style="bold", show_lines=lines
    )
    cells = [[row[index] for row in rows] for index in range(len(columns))]
    short = [
        _numeric(rows, i) or all(len(c) <= LONGEST_ID and " " not in c for c in cells[i]) for i in range(len(columns))
    ]
    needed = [
        max(map(len, [name, *column]), default=0) if s else NARROWEST
        for name, column, s in zip(columns, cells, short, strict=True)
    ]
    fits = sum(needed) + 3 * len(columns) + 1 <= width
    for index, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if index and _numeric(rows, index) else "left"
        table.add_column(Text(clean(name)), justify=justify, overflow="fold", no_wrap=fits and short[index])
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table


def _numeric(rows: list[list[str]], index: int) -> bool:
    cells = [row[index] for row in rows if row[index]]
    return bool(cells) and all(re.fullmatch(r"[-+]?[\d,.]+%?( s| MB)?", cell) for cell in cells)
