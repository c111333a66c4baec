"""What a person sees of a run: live bars in a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rlaif.text_table import CONTROL, clean, make_table

__all__ = ["CONTROL", "Bar", "Screen", "clean", "make_table"]
PLAIN_EVERY = 15.0  # seconds between plain progress lines of a long stage
WIDE = 100  # columns of a terminal that shows bars in full


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


class _Bars(Progress):
    """Bars, and under them a line about the work as a whole."""

    whole: Callable[[], str] = staticmethod(str)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if text := self.whole():
            yield Text(f"  {text}", style="dim", no_wrap=True, overflow="ellipsis")


class Forecast(Protocol):
    """A line about the work as a whole; `refresh` is called when a stage begins."""

    def refresh(self) -> None: ...

    def __call__(self) -> str: ...


class Screen:
    """Where the loop reports to."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.bars: _Bars | None = None
        self.forecast: Forecast | None = None

    @contextmanager
    def live(self) -> Iterator[Screen]:
        """Bars at the bottom of the terminal while inside; nothing where stderr is no terminal."""
        if not self.console.is_terminal:
            yield self
            return
        wide = self.console.width >= WIDE
        elapsed: list[ProgressColumn] = [TimeElapsedColumn()] if wide else []
        with _Bars(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=28 if wide else 8),
            MofNCompleteColumn(),
            *elapsed,
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False, style="cyan"),
            console=self.console,
            transient=True,
        ) as self.bars:
            self.bars.whole = self.whole
            try:
                yield self
            finally:
                self.bars = None

    def whole(self) -> str:
        """What stands under the bars about the work as a whole; asked ten times per second."""
        return self.forecast() if self.forecast else ""

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Something that moves while there is nothing to count, with the seconds so far; only in a terminal."""
        if not self.console.is_terminal:
            yield
            return
        columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task(clean(what), total=None)
            yield

    def bar(self, label: str, total: int | None = None) -> Bar:
        if self.forecast:
            self.forecast.refresh()
        return Bar(self, label, total)

    def line(self, text: str, style: str = "") -> None:
        """One line, shown as it is: no markup. A terminal gets it broken between words, what follows indented."""
        shown = hanging(clean(text), self.console.width) if self.console.is_terminal else clean(text)
        self.console.print(Text(shown, style=style), soft_wrap=True)

    def heading(self, text: str) -> None:
        self.line("")
        self.line(text, style="bold")

    def table(
        self,
        title: str,
        columns: list[str],
        rows: list[list[str]],
        lines: bool = False,
        spare: Sequence[str] = (),
    ) -> None:
        """A table of texts; see `rlaif.table.make_table`."""
        self.console.print(make_table(title, columns, rows, self.console.width, lines, spare))


def hanging(text: str, width: int) -> str:
    """`text` broken between words to `width` columns, the further lines of each line under where its text begins.

    That is behind the label of a stage's line. No word is broken: a path stays one that can be copied.
    """
    lines = []
    for line in text.split("\n"):
        label = re.match(r"  \S[^:]{0,20}? {2,}(?=\S)", line)
        indent = len(label[0]) if label and len(label[0]) <= width // 2 else len(line) - len(line.lstrip()) + 2
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        ) or [""]
    return "\n".join(lines)
