"""From data sources to the questions of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlaif.config import Config
from rlaif.data import load_questions
from rlaif.evals.text import tokens
from rlaif.types import DataError, Question

MIN_NEW_WORDS = 3  # content words that a reference has beyond its question's


def prepare_questions(config: Config) -> tuple[list[Question], dict[str, Any]]:
    """All questions of both data sets as the run uses them, and a report on each source for the stage's row.

    DataError when a data set has no training or no gate questions.
    """
    questions: list[Question] = []
    report: dict[str, Any] = {}
    for benchmark, source in (("pubmedqa", config.data.pubmedqa), ("medquad", config.data.medquad)):
        loaded = load_questions(benchmark, source)  # type: ignore[arg-type]
        made = [cut_reference(q, config.data.max_reference_words) if benchmark == "medquad" else q for q in loaded.questions]
        if benchmark == "medquad":
            said = [q for q in made if says_something(q)]
            loaded.report["no_content"] = len(made) - len(said)
            made = said
        for split in ("train", "gate"):
            if not any(q.split == split for q in made):
                raise DataError(
                    f"data.{benchmark}={source}: no {split} questions among its {len(made)}; the loop needs train and gate questions"
                )
        questions += made
        report[benchmark] = {"source": source, "data_sha256": loaded.data_sha256} | loaded.report
    return questions, report


def says_something(question: Question) -> bool:
    """False for a reference that only repeats the question: no answer can be judged against it."""
    return len(set(tokens(question.reference)) - set(tokens(question.question))) >= MIN_NEW_WORDS


def cut_reference(question: Question, words: int) -> Question:
    """The question with its reference cut to its first `words` words (0: as it is), at a sentence's end in the last third."""
    parts = question.reference.split()
    if not words or len(parts) <= words:
        return question
    kept = parts[:words]
    ends = [i for i, word in enumerate(kept) if word.endswith((".", "!", "?")) and i >= words * 2 // 3]
    if ends:
        kept = kept[: ends[-1] + 1]
    return dataclasses.replace(question, reference=" ".join(kept), flags=(*question.flags, "cut"))
