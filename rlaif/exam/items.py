"""The values of an exam."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.types import JudgeItem, Question, content_id


@dataclass(frozen=True, slots=True)
class ExamItem:
    """Two answers to one question. `good` is the better one, or the one as it was; `bad` the worse one, or the one as
    it was changed.

    What the two must do is said by the rules of `item_type`: see :mod:`rlaif.exam.rules`.
    """

    item_type: str
    pair: str
    good: JudgeItem
    bad: JudgeItem


@dataclass(frozen=True, slots=True)
class Exam:
    """All items of one exam. `name` is embedded, medquad or human; `about` says what they were made of.

    `graded` holds answers with a person's score, 1 (worst) to 4, for the agreement that is reported beside the rules.
    """

    name: str
    items: tuple[ExamItem, ...]
    graded: tuple[tuple[JudgeItem, int], ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Identifies the items: two judges with the same hash were asked the same."""
        rows = [[i.item_type, i.pair, i.good.candidate_id, i.bad.candidate_id] for i in self.items]
        return content_id(self.name, rows, [[item.candidate_id, grade] for item, grade in self.graded])

    @property
    def data_sha256(self) -> str:
        """The hash of the file that it was made of; "" for the embedded one."""
        return str(self.about.get("data_sha256", ""))

    @property
    def answers(self) -> list[JudgeItem]:
        """Every answer once: what the judge has to score."""
        every = [a for item in self.items for a in (item.good, item.bad)] + [item for item, _ in self.graded]
        return list({a.candidate_id: a for a in every}.values())


def judge_item(question: Question, answer: str) -> JudgeItem:
    """`answer` to `question` as a judge sees it; the id hashes all of it, so equal answers are judged once."""
    q = question
    return JudgeItem(
        candidate_id=content_id("exam", q.question, answer, q.reference, q.context, q.key_points),
        question=q.question,
        answer=answer,
        reference=q.reference,
        context=q.context,
        key_points=q.key_points,
    )


def exam_item(item_type: str, question: Question, good: str, bad: str) -> ExamItem:
    """The pair `good` against `bad` as answers to `question`."""
    one, other = judge_item(question, good), judge_item(question, bad)
    return ExamItem(item_type, content_id(item_type, one.candidate_id, other.candidate_id), one, other)


def seeded(*key: Any) -> random.Random:
    """A generator that depends on `key` alone: the same exam on every machine."""
    return random.Random(content_id("exam", *key))


def first_of_each_type(items: Iterable[ExamItem], limit: int) -> tuple[ExamItem, ...]:
    """The first `limit` items of each type, in order; each pair once."""
    taken: dict[str, int] = {}
    kept: dict[tuple[str, str], ExamItem] = {}
    for item in items:
        key = (item.item_type, item.pair)
        if key not in kept and taken.get(item.item_type, 0) < limit:
            taken[item.item_type] = taken.get(item.item_type, 0) + 1
            kept[key] = item
    return tuple(kept.values())


def same_text(one: str, other: str, overlap: float = 0.8) -> bool:
    """Whether two answers say the same: their sets of words overlap by `overlap` (Jaccard) or more. Such a pair has no
    better side.
    """
    a, b = (set(_words(text)) for text in (one, other))
    return not (a | b) or len(a & b) / len(a | b) >= overlap


def _words(text: str) -> Sequence[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()
