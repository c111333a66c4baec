"""The MedQuAD exam: one NIH source is the reference, another source's answer to the same focus and question type the
good answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rlaif.data import load_questions
from rlaif.data.questions import cut_reference, says_something
from rlaif.exam.build import spoiled, swapped
from rlaif.exam.items import Exam, ExamItem, first_of_each_type, same_text, seeded
from rlaif.types import DataError, Question

ITEMS_A_TYPE = 200
# Longer answers are cut at a sentence's end: a judge with a small window reads them too, and one changed statement is
# not lost.
WORDS = 150
Key = tuple[str, str]  # focus, question type


def medquad_exam(path: str, limit: int = 0) -> Exam:
    """The exam over the MedQuAD file, folder or hub id at `path`: `limit` items of each type (0: ITEMS_A_TYPE). The
    same each time.

    Left out: the sealed split, answers that the loader drops, texts that stand in three or more documents, answers
    under ten words, and pairs whose texts coincide. Raises DataError for data that cannot be used, or without two
    sources for any question.
    """
    loaded = load_questions("medquad", path)
    usable = [
        q
        for q in loaded.questions
        if q.split != "sealed" and q.focus and q.qtype and not {"shared_text", "short"} & set(q.flags)
    ]
    usable = [cut_reference(q, WORDS) for q in usable if says_something(q)]
    by_key: dict[Key, list[Question]] = {}
    by_focus: dict[str, list[Question]] = {}
    by_type: dict[tuple[str, str], list[Question]] = {}  # source, question type
    for q in usable:
        by_key.setdefault((q.focus.casefold(), q.qtype), []).append(q)
        by_focus.setdefault(q.focus.casefold(), []).append(q)
        by_type.setdefault((_source(q), q.qtype), []).append(q)
    asked = [pair for group in by_key.values() for pair in _two_sources(group)]
    if not asked:
        raise DataError(
            f"{path}: no question is answered by two sources (same focus and qtype); the exam needs "
            "columns source or uid, focus, qtype"
        )
    seeded("medquad").shuffle(asked)
    items = (i for number, (q, good) in enumerate(asked) for i in _items(number, q, good, by_focus, by_type))
    about = {"source": path, "data_sha256": loaded.data_sha256, "split": "train and gate", "questions": len(asked)}
    return Exam("medquad", first_of_each_type(items, limit or ITEMS_A_TYPE), about=about)


def _source(question: Question) -> str:
    return question.source_id.split("/")[0]


def _two_sources(group: Sequence[Question]) -> Iterator[tuple[Question, Question]]:
    """At most one pair of a key: the question of one source with its own answer as reference, and another source's good
    answer.
    """
    for q in seeded(group[0].question_id).sample(group, len(group)):
        for other in group:
            if _source(other) != _source(q) and not same_text(q.reference, other.reference):
                yield dataclasses.replace(q, key_points=()), other
                return


def _items(
    number: int,
    question: Question,
    good: Question,
    by_focus: dict[str, list[Question]],
    by_type: dict[tuple[str, str], list[Question]],
) -> Iterator[ExamItem]:
    rng = seeded("medquad", question.question_id)
    same_page = [q for q in by_focus[question.focus.casefold()] if q.qtype != question.qtype]
    # The writer of the good answer also wrote the bad one where it can be, so that style tells nothing.
    same_page = [q for q in same_page if _source(q) == _source(good)] or same_page
    if same_page:
        yield from swapped("wrong_question", question, good.reference, rng.choice(same_page).reference)
    elsewhere = [q for q in by_type[(_source(good), question.qtype)] if q.group_id != question.group_id]
    if elsewhere:
        yield from swapped("swapped_focus", question, good.reference, rng.choice(elsewhere).reference)
    yield from spoiled(question, good.reference, number)
