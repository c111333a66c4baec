"""What every loader returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlaif.types import Question


@dataclass(frozen=True, slots=True)
class Loaded:
    """The questions of one source, a small report about them, and the hash of what was read.

    `report` holds plain counts and texts that can be written as JSON: `rows` read, `questions` kept, `splits` (split ->
    count), and what the data set's own loader adds. `data_sha256` (64 hex digits) is the hash of the file's bytes, or of the
    rows where there is no file (hub, embedded).
    """

    questions: list[Question]
    report: dict[str, Any]
    data_sha256: str
