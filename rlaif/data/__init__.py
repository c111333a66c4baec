"""The data sets: one small module each, and the one door to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple
from typing import Literal

from rlaif.data import medqa, medquad, mmlu, pubmedqa
from rlaif.data.items import Loaded
from rlaif.data.tables import rows_sha256

__all__ = ["Loaded", "load_questions"]


def load_questions(
    benchmark: Literal["pubmedqa", "medquad", "medqa", "mmlu"], source: str, *, eval_only: bool = False
) -> Loaded:
    """The questions of a benchmark from `source`: "embedded", a file, a folder (MedQuAD's XML), or a hub id owner/name.

    With `eval_only` every row is for evaluation, whatever its split, as those of medqa and mmlu always are. Raises
    DataError for a source that cannot be used; medqa and mmlu have no embedded stand-in.
    """
    if benchmark in ("medqa", "mmlu"):
        return medqa.load(source) if benchmark == "medqa" else mmlu.load(source)
    if source == "embedded":
        from rlaif.embedded import dataset

        questions = dataset.load(benchmark)
        splits = dict(Counter(q.split for q in questions))
        report = {"rows": len(questions), "questions": len(questions), "splits": splits}
        return Loaded(questions, report, rows_sha256([astuple(q) for q in questions]))
    if benchmark == "pubmedqa":
        return pubmedqa.load(source, eval_only=eval_only)
    return medquad.load(source, eval_only=eval_only)
