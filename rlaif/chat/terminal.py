"""What `chat` reads from a terminal and how it words what it shows: small functions without state."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from rlaif.prompts import CRITERIA
from rlaif.screen import clean
from rlaif.types import UsageError, Verdict

if TYPE_CHECKING:
    from rlaif.models.generate import Said


COMMANDS = ("/policy", "/both", "/why", "/context", "/new", "/help", "/quit")


def line_reader() -> Callable[[str], str]:
    """Reads a line: in a terminal with editing, history of this session and Tab for commands; elsewhere without a
    prompt.
    """
    if not sys.stdin.isatty():
        return lambda prompt: input()
    import readline

    def complete(text: str, state: int) -> str | None:
        return [*(c for c in COMMANDS if text.startswith("/") and c.startswith(text)), None][state]

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    return input


def side_by_side(names: list[str], texts: list[str]) -> Table:
    table = Table(expand=True)
    for name in names:
        table.add_column(Text(clean(name)), ratio=1, overflow="fold")
    table.add_row(*(Text(clean(text)) for text in texts))
    return table


def in_words(verdict: Verdict) -> str:
    if verdict.status != "scored":
        return f"{verdict.status}: {verdict.reason}"
    marks = {name.replace("_", " "): getattr(verdict, name) for name in CRITERIA}
    parts = ", ".join(f"{name} {mark:.2f}" for name, mark in marks.items() if mark is not None)
    return f"score {verdict.score:.2f} ({parts}). {verdict.rationale}"


def ending(said: Said) -> str:
    cut = {"": ", stopped", "length": ", cut at the limit", "stop": ""}[said.finish_reason]
    return f"{said.n_tokens} tokens{cut}"


def valid_text(line: str) -> str:
    """`line` without the halves of characters that a terminal in another encoding leaves."""
    return line.encode("utf-8", "replace").decode()


def read_context(given: str) -> str:
    """`given`, or with @FILE the text of that file. UsageError when it cannot be read."""
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(
            f"{given[1:]}: cannot read the context ({reason}); give @FILE of a text file, or the text itself"
        ) from error
