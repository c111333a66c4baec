"""The embedded data sets by benchmark name, for :func:`rlaif.data.load_questions`."""

from __future__ import annotations

from rlaif.embedded import medquad_style, pubmedqa_style
from rlaif.types import Question


def load(benchmark: str) -> list[Question]:
    """All questions of the embedded stand-in for `benchmark` ("medquad" or "pubmedqa"), all splits, in a fixed
    order.
    """
    return medquad_style.load() if benchmark == "medquad" else pubmedqa_style.load()


def texts(limit: int = 256) -> list[str]:
    """Questions with their answers from the embedded training split, at even steps through it."""
    questions = [q for q in load("medquad") if q.split == "train"]
    return [f"{q.question}\n{q.reference}" for q in questions[:: max(1, len(questions) // limit)]][:limit]
