"""The exam of a judge by rubrics on the embedded topics: criteria of which it is known whether an answer meets them.

Questions on the topics of the gate split, as in `rlaif.exam.embedded`. Of each, one key point is the criterion:

    met             the answer is the topic's prose, which says it in other words     yes
    unmet_by_edit   a list of the key points with this one taken out                  no
    met_again       the same list with it put back                                    yes
    other_question  the criterion is a key point of another topic's section           no
    negated         the criterion asks that it is left out, and the answer says it    no
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from rlaif.embedded import medquad_style
from rlaif.embedded.knowledge import Topic, load_topics
from rlaif.exam.criteria import CriterionExam, Labelled
from rlaif.exam.items import seeded
from rlaif.rubric import KEY_POINTS, STATES
from rlaif.types import Criterion, JudgeItem, Question, content_id

ITEMS_A_TYPE = 80
LEAVES_OUT = "Leaves this out, and does not state it in any words:"


def rubric_exam(limit: int = 0, split: str = "gate") -> CriterionExam:
    """The exam over the topics of `split`: `limit` items of each type (0: ITEMS_A_TYPE). The same each time."""
    topics = [t for t in load_topics() if t.split == split]
    asked = [q for t in topics for q in medquad_style.questions(t, medquad_style.QUESTIONS_A_TOPIC["gate"])]
    seeded("rubric", split).shuffle(asked)
    asked = list({(q.focus, q.qtype): q for q in asked}.values())  # one wording of each question
    by_name = {t.name: t for t in topics}
    taken: dict[str, list[Labelled]] = {}
    for question in asked:
        for one in _items(question, by_name):
            of_kind = taken.setdefault(one.kind, [])
            if len(of_kind) < (limit or ITEMS_A_TYPE):
                of_kind.append(one)
    items = tuple(one for of_kind in taken.values() for one in of_kind)
    return CriterionExam("rubric", items, {"source": "medquad_style", "split": split, "topics": len(topics)})


def _items(question: Question, topics: dict[str, Topic]) -> Iterator[Labelled]:
    rng = seeded("criterion", question.question_id)
    topic, points = topics[question.focus], question.key_points
    if len(points) < 2:
        return
    point = rng.choice(points)
    prose, states = topic.prose[question.qtype], f"{STATES} {point}"
    yield _labelled("met", question, prose, states, True)
    without = tuple(p for p in points if p != point)
    yield _labelled("unmet_by_edit", question, _list(question, without), states, False)
    yield _labelled("met_again", question, _list(question, points), states, True)
    yield _labelled("other_question", question, prose, f"{STATES} {_foreign(rng, question, topics)}", False)
    yield _labelled("negated", question, _list(question, points), f"{LEAVES_OUT} {point}", False)


def _list(question: Question, points: tuple[str, ...]) -> str:
    return medquad_style.complete_reference(question.qtype, points)


def _foreign(rng: random.Random, question: Question, topics: dict[str, Topic]) -> str:
    """A key point of another topic that none of this question's shares a word of four letters with."""
    own = {word for point in question.key_points for word in point.lower().split() if len(word) > 3}
    others = [t for t in topics.values() if t.name != question.focus]
    rng.shuffle(others)
    for other in others:
        for point in other.points.get(question.qtype, ()):
            if not own & set(point.lower().split()):
                return point
    raise AssertionError("every topic shares a word with this one")  # the tests build every exam


def _labelled(kind: str, question: Question, answer: str, criterion: str, met: bool) -> Labelled:
    rubric = (Criterion(criterion, 1.0, "key point", KEY_POINTS),)
    item_id = content_id("criterion", question.question, answer, criterion)
    return Labelled(JudgeItem(item_id, question.question, answer, rubric=rubric), (met,), kind)
