"""The exam over published or own documents: one source is the reference, another source's answer to the same focus and
question type the good answer.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator, Sequence

from rlaif.data import Loaded, load_questions
from rlaif.data.overlap import normal
from rlaif.data.questions import cut_reference, says_something
from rlaif.exam import meaning
from rlaif.exam.build import spoiled, swapped
from rlaif.exam.items import Exam, ExamItem, exam_item, first_of_each_type, same_text, seeded
from rlaif.types import DataError, Question

ITEMS_A_TYPE = 200
# Longer answers are cut at a sentence's end: a judge with a small window reads them too, and one changed statement is
# not lost.
WORDS = 150
SIBLINGS = 8  # answers on other subjects that are looked at for one that is long enough
Key = tuple[str, str]  # focus, question type


def medquad_exam(path: str, limit: int = 0) -> Exam:
    """The exam over the training documents of the MedQuAD file, folder or hub id at `path`: `limit` items of each type
    (0: ITEMS_A_TYPE). The same each time.

    Left out: the gate and sealed splits, answers that the loader drops, texts that stand in three or more documents,
    answers under ten words, and pairs whose texts coincide. Raises DataError for data that cannot be used, or without
    two sources for any question.
    """
    loaded = load_questions("medquad", path)
    exam = _exam("medquad", loaded, path, limit)
    if not exam.items:
        raise DataError(
            f"{path}: no question is answered by two sources (same focus and qtype); the exam needs "
            "columns source or uid, focus, qtype"
        )
    return exam


def own_exam(loaded: Loaded, path: str, limit: int = 0) -> Exam:
    """The same over the training rows of a reader's own set, read from `path`. Each row is a source of its own."""
    return _exam("own", loaded, path, limit)


def asked_twice(questions: Sequence[Question]) -> list[tuple[Question, Question]]:
    """The training questions with two answers (same focus and question type, or the same question) that do not
    coincide: the question with its own answer as reference, and the other with the good answer.
    """
    by_key: dict[Key, list[Question]] = {}
    for q in _usable(questions):
        by_key.setdefault(_key(q), []).append(q)
    return [pair for group in by_key.values() for pair in _two_sources(group)]


def _exam(name: str, loaded: Loaded, path: str, limit: int) -> Exam:
    by_focus: dict[str, list[Question]] = {}
    by_type: dict[tuple[str, str], list[Question]] = {}  # source, question type
    for q in _usable(loaded.questions):
        by_focus.setdefault(_subject(q), []).append(q)
        by_type.setdefault((_source(q), q.qtype), []).append(q)
    asked = asked_twice(loaded.questions)
    seeded(name).shuffle(asked)
    items = (i for number, (q, good) in enumerate(asked) for i in _items(number, q, good, by_focus, by_type))
    about = {"source": path, "data_sha256": loaded.data_sha256, "split": "train", "questions": len(asked)}
    return Exam(name, first_of_each_type(items, limit or ITEMS_A_TYPE), about=about)


def _usable(questions: Sequence[Question]) -> list[Question]:
    kept = [
        q
        for q in questions
        if q.split == "train" and q.reference and not q.label and not {"shared_text", "short"} & set(q.flags)
    ]
    return [cut_reference(q, WORDS) for q in kept if says_something(q)]


def _key(question: Question) -> Key:
    """What two answers have to have in common."""
    if question.focus and question.qtype:
        return question.focus.casefold(), question.qtype
    return "", normal(question.question)


def _subject(question: Question) -> str:
    return (question.focus or question.group_id).casefold()


def _source(question: Question) -> str:
    """The writer. A row of a reader's own file does not say who that was."""
    return question.source_id.split("/")[0] if question.dataset == "medquad" else ""


def _two_sources(group: Sequence[Question]) -> Iterator[tuple[Question, Question]]:
    """At most one pair of a key: the question of one source with its own answer as reference, and another source's good
    answer.
    """
    for q in seeded(group[0].question_id).sample(group, len(group)):
        for other in group:
            written_by_another = _source(other) != _source(q) or not _source(q)
            if other is not q and written_by_another and not same_text(q.reference, other.reference):
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
    same_page = [q for q in by_focus[_subject(question)] if q.qtype != question.qtype]
    # The writer of the good answer also wrote the bad one where it can be, so that style tells nothing.
    same_page = [q for q in same_page if _source(q) == _source(good)] or same_page
    if same_page:
        yield from swapped("wrong_question", question, good.reference, rng.choice(same_page).reference)
    elsewhere = [q for q in by_type[(_source(good), question.qtype)] if q.group_id != question.group_id]
    if elsewhere:
        yield from swapped("swapped_focus", question, good.reference, rng.choice(elsewhere).reference)
        yield from _with_a_sibling(question, good, elsewhere, seeded("sibling", question.question_id))
    yield from spoiled(question, good.reference, number)


def _with_a_sibling(
    question: Question, good: Question, elsewhere: Sequence[Question], rng: random.Random
) -> Iterator[ExamItem]:
    """One sentence of the answer on another subject in the good answer, and half of the good answer against a longer
    one on another subject. The other subject's name becomes this one's, so that the name alone gives nothing away.
    """
    made: set[str] = set()
    for other in rng.sample(elsewhere, min(len(elsewhere), SIBLINGS)):
        text = other.reference
        if other.focus and good.focus:
            text = re.sub(re.escape(other.focus), lambda _: good.focus, text, flags=re.IGNORECASE)
        if same_text(text, question.reference) or same_text(text, good.reference):
            continue
        if "sibling_claim" not in made and (bad := meaning.foreign_sentence(good.reference, text, rng)):
            made.add("sibling_claim")
            yield exam_item("sibling_claim", question, good.reference, bad)
        if "short_right" not in made and (both := meaning.short_and_long(good.reference, text, rng)):
            made.add("short_right")
            yield exam_item("short_right", question, *both)
