"""One row of any further data set, as its module reads it, before it is given an id and a side of the split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlaif.data.tables import Table
from rlaif.types import Criterion, Question


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its reference answer, "" where there is a `rubric` instead. `source_id` is the data set's own id
    of the row, "" where it has none. `turns` and `rubric` are as in :class:`rlaif.types.Question`.
    """

    question: str
    reference: str
    context: str = ""
    qtype: str = ""
    focus: str = ""
    label: str = ""
    source_id: str = ""
    turns: tuple[tuple[str, str], ...] = ()
    rubric: tuple[Criterion, ...] = ()


Reader = Callable[[Table, int], Item | None]  # a row; None for one that holds no question, as the release has some


def meadow(table: Table, i: int) -> tuple[str, str, str]:
    """instruction, input and output of a row of a Medical Meadow set (medalpaca on the hub); the first two may be empty
    there.
    """
    table.require("instruction", "input", "output")
    return tuple(table.text(i, c, optional=True).strip() for c in ("instruction", "input", "output"))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The questions of one source, a small report about them, and the hash of what was read.

    `report` holds plain counts and texts that can be written as JSON: `rows` read, `questions` kept, `splits` (split ->
    count), and what the data set's own loader adds. `data_sha256` (64 hex digits) is the hash of the file's bytes, or
    of the rows where there is no file (hub, embedded).
    """

    questions: list[Question]
    report: dict[str, Any]
    data_sha256: str
