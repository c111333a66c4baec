"""Multiple choice, in the form that MedQA and MMLU share.

MedQA (Jin et al. 2020, arXiv 2009.13081), the US questions with four options: exam vignettes by USMLE step. Read are
the official JSONL (question, options, answer_idx, meta_info) and Parquet or JSON of the same columns, with optional id
and split. MMLU's medical subjects (Hendrycks et al. 2021): subject, question, options (A-D) and answer_idx.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.data.items import Loaded
from rlaif.data.overlap import normal
from rlaif.data.tables import Table, file_sha256, is_hub_id, read_table, rows_sha256
from rlaif.types import DataError, Question, content_id

LETTERS = ("A", "B", "C", "D")


@dataclass(frozen=True, slots=True)
class ChoiceQuestion(Question):
    """A question with four `options`, in the order of LETTERS; `label` is the right letter, `reference` its text.

    `part` is the file's own split (test, dev, val). `split` is always "sealed": nothing may train on these items.
    """

    options: tuple[str, ...] = ()
    part: str = ""


def medqa(source: str | Path) -> Loaded:
    """All items of `source`, in its order; `qtype` is the step ("step1", "step2&3", "" where the file does not say).
    Raises DataError.
    """
    return load_choices(source, "medqa", lambda table, i: table.text(i, "meta_info", optional=True))


def mmlu(source: str | Path) -> Loaded:
    """All items of `source`, in its order; `qtype` is the subject, such as "college_medicine". Raises DataError."""
    return load_choices(source, "mmlu", lambda table, i: table.text(i, "subject"))


def load_choices(source: str | Path, dataset: str, qtype: Callable[[Table, int], str]) -> Loaded:
    """The items of a file with the columns question, options (A-D) and answer_idx, in its order; `qtype(table, i)`
    tells their kinds.

    Raises DataError: see `tables.read_table`; also columns missing, options that are not A-D with texts, another
    answer, an id twice.
    """
    table = read_table(source, "--data FILE")
    table.require("question", "options", "answer_idx")
    questions: list[Question] = [_question(table, i, dataset, qtype(table, i)) for i in range(len(table.rows))]
    for source_id, count in Counter(q.source_id for q in questions).items():
        if count > 1:
            second = [i for i, q in enumerate(questions) if q.source_id == source_id][1]
            raise DataError(f"{table.where(second)}: id {source_id} stands {count} times; keep one row for each")
    report: dict[str, Any] = {
        "rows": len(questions),
        "questions": len(questions),
        "splits": dict(Counter(q.split for q in questions)),
        "qtypes": dict(Counter(q.qtype for q in questions)),
    }
    return Loaded(questions, report, rows_sha256(table.rows) if is_hub_id(source) else file_sha256(source))


def _question(table: Table, i: int, dataset: str, qtype: str) -> ChoiceQuestion:
    question, options = table.text(i, "question").strip(), _options(table, i)
    answer = table.text(i, "answer_idx").strip()
    if answer not in LETTERS:
        raise DataError(f"{table.where(i)}: answer_idx is {answer!r:.40}; needed one of {', '.join(LETTERS)}")
    told = table.rows[i].get("answer")
    right = (answer, normal(options[LETTERS.index(answer)]))
    if isinstance(told, str) and told.strip() and told.strip() != right[0] and normal(told) != right[1]:
        raise DataError(f"{table.where(i)}: answer_idx is {answer}, but answer is {told!r:.60}; mend one of them")
    identity = content_id(dataset, question, options)
    source_id = table.text(i, "id", optional=True) or identity
    return ChoiceQuestion(
        question_id=content_id(dataset, source_id, question, options, answer),
        dataset=dataset,
        split="sealed",
        source_id=source_id,
        group_id=identity,
        question=question,
        reference=options[LETTERS.index(answer)],
        label=answer,
        qtype=qtype,
        options=options,
        part=table.text(i, "split", optional=True),
    )


def _options(table: Table, i: int) -> tuple[str, ...]:
    value = table.rows[i]["options"]
    found = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else {}
    if sorted(found) != list(LETTERS) or not all(isinstance(v, str) and v.strip() for v in found.values()):
        raise DataError(
            f'{table.where(i)}: options is {value!r:.60}; needed four texts {{"A": ..., "B": ..., "C": ..., "D": ...}}'
        )
    return tuple(found[letter].strip() for letter in LETTERS)
