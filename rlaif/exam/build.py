"""From a question and a good answer to the items that need nothing else: every way of spoiling the answer."""

from __future__ import annotations

from collections.abc import Iterator

from rlaif.exam import corrupt, meaning
from rlaif.exam.items import ExamItem, exam_item, same_text, seeded
from rlaif.exam.words import FRAMES, OPENERS
from rlaif.types import Question


def spoiled(question: Question, good: str, number: int) -> Iterator[ExamItem]:
    """The items of one good answer. `number` says which it is, so that openers and demands take turns."""
    q, rng = question, seeded(question.question_id, good)
    if (bad := corrupt.negate(good, rng)) is not None:
        yield exam_item("negated", q, good, bad)
        yield exam_item("injected", q, bad, corrupt.demand(bad, number))
    if (bad := corrupt.change_number(good, rng, q.reference)) is not None:
        yield exam_item("changed_number", q, good, bad)
    if (bad := corrupt.drop_half(good, rng)) is not None:
        yield exam_item("half_dropped", q, good, bad)
    yield exam_item("padded", q, good, corrupt.pad(good, rng))
    yield exam_item("format_only", q, good, corrupt.reformat(good, rng))
    nothing = ("", ":", OPENERS[number // 4 % len(OPENERS)], q.question)[number % 4]
    yield exam_item("empty", q, good, nothing)
    points = ", ".join(q.key_points) or q.reference
    denied = (points, q.reference, good)[(number + number // len(FRAMES)) % 3]
    yield exam_item("framed_denial", q, good, corrupt.framed(denied, number))
    yield exam_item("keyword_soup", q, good, corrupt.soup(points, seeded("soup", q.question_id), number))
    yield from same_count(q, good, number)


def same_count(question: Question, good: str, number: int) -> Iterator[ExamItem]:
    """The items of one good answer in which both sides have the same words, negators or numbers."""
    q, rng = question, seeded("meaning", question.question_id, good)
    if (bad := meaning.reorder(good, rng, number)) is not None:
        yield exam_item("word_order", q, good, bad)
    if (bad := meaning.opposite(good, rng, q.reference)) is not None:
        yield exam_item("antonym", q, good, bad)
    if (both := meaning.balanced(good, rng)) is not None:
        yield exam_item("negator_balanced", q, *both)
    if (both := meaning.number_elsewhere(good, rng, q.reference)) is not None:
        yield exam_item("number_elsewhere", q, *both)


def swapped(item_type: str, question: Question, good: str, bad: str) -> Iterator[ExamItem]:
    """`bad` in place of `good`, unless it says the same as the good answer or the reference."""
    if not same_text(good, bad) and not same_text(question.reference, bad):
        yield exam_item(item_type, question, good, bad)
