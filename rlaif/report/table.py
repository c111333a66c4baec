"""A table of the report, as every module that makes one hands it to the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    `kind` is the CSS class: "numbers" aligns all but the first column to the right, "words" folds into cards on a
    phone.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    kind: str = "numbers"
    note: str = ""
