"""The data sets: one small module each, and the one door to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple

from rlaif.data import choices, medquad, pubmedqa
from rlaif.data.items import Loaded
from rlaif.data.own import OWN
from rlaif.data.tables import rows_sha256
from rlaif.types import UsageError

__all__ = ["Loaded", "load_questions"]

CHOICES = {"medqa": choices.medqa, "mmlu": choices.mmlu}  # every item is for evaluation
WITH_SPLITS = {"pubmedqa": pubmedqa.load, "medquad": medquad.load}


def load_questions(
    benchmark: str, source: str, *, eval_only: bool = False, columns: Mapping[str, str] | None = None
) -> Loaded:
    """The questions of a benchmark from `source`: "embedded", a file, a folder (MedQuAD's XML), or a hub id owner/name.

    `columns` (field -> name, see `rlaif.data.own`) names the columns of a table; those of own_text and own_labels are
    guessed without. With `eval_only` every row is for evaluation, whatever its split, as those of medqa and mmlu always
    are. Raises DataError for a source that cannot be used; medqa and mmlu have no embedded stand-in.
    """
    if columns or benchmark.startswith(f"{OWN}_"):
        from rlaif.data.sets import load_own

        if benchmark in CHOICES:
            raise UsageError(f"--column: a file of {benchmark} has columns of its own; leave --column out")
        return load_own(benchmark, source, columns or {}, eval_only=eval_only)
    if benchmark in CHOICES:
        return CHOICES[benchmark](source)
    if source == "embedded":
        from rlaif.embedded import dataset

        questions = dataset.load(benchmark)
        splits = dict(Counter(q.split for q in questions))
        report = {"rows": len(questions), "questions": len(questions), "splits": splits}
        return Loaded(questions, report, rows_sha256([astuple(q) for q in questions]))
    if benchmark in WITH_SPLITS:
        return WITH_SPLITS[benchmark](source, eval_only=eval_only)
    from rlaif.data.sets import READERS, load_published, load_table

    if benchmark in READERS:
        return load_published(benchmark, source, eval_only=eval_only)
    return load_table(benchmark, source, eval_only=eval_only)
