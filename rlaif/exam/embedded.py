"""The embedded exam: questions on the topics of the gate split, answered in the topics' prose.

Of the gate split, because a judge that ships may be trained on the train split; never of the sealed one. The reference
is the one in key points, the good answer the other one, in prose. Numbers are rare in both: `changed_number` adds one
invented measure to each, worded twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from rlaif.embedded import medquad_style
from rlaif.embedded.knowledge import Topic, load_topics
from rlaif.exam import corrupt, meaning
from rlaif.exam.build import spoiled, swapped
from rlaif.exam.items import Exam, ExamItem, exam_item, first_of_each_type, seeded
from rlaif.exam.words import LITTLE
from rlaif.text_metrics import tokens
from rlaif.types import Question

ITEMS_A_TYPE = 120  # enough that a bound lies near the share, few enough that a tiny judge needs about a minute
# section -> (key point, the same in prose, values): invented, to be read as part of the topic's leaflet.
MEASURES: dict[str, tuple[tuple[str, str, tuple[int, ...]], ...]] = {
    "symptoms": (
        ("complaints lasting {n} weeks", "It all tends to go on for {n} weeks.", (3, 6, 9)),
        ("attacks up to {n} times a day", "It has struck as often as {n} times a day.", (4, 7, 15)),
    ),
    "causes": (("a fault passed on to {n} percent of children", ("Some {n} percent of "
"children receive the fault."), (25, 50)),),
    "tests": (
        ("a check-up every {n} months", "A check-up follows once {n} months have gone by.", (4, 6, 18)),
        ("fasting for {n} hours before blood is drawn", "Blood is drawn after {n} hours of fasting.", (8, 12)),
    ),
    "treatment": (
        ("{n} mg tablets each morning", "Each morning a tablet of {n} mg is swallowed.", (20, 40, 250)),
        ("bed rest for {n} days", "Rest in bed goes on for {n} days.", (5, 8, 14)),
    ),
    "prevention": (
        ("walking {n} minutes a day", "A daily walk of {n} minutes protects too.", (30, 45)),
        ("a booster every {n} years", "After {n} years a booster is due.", (5, 7)),
    ),
    "risks": (("being older than {n} years", "Past {n} years of age it is seen more.", (50, 65)),),
    "uses": (("courses of {n} weeks", "A course runs for {n} weeks.", (2, 6)),),
    "side_effects": (("a rash in {n} percent of users", "Some {n} percent of users get a rash.", (3, 15)),),
    "precautions": (("a weight under {n} kg", "Those who weigh under {n} kg belong here too.", (45, 50)),),
    "how_to_take": (
        ("doses {n} hours apart", "One dose follows the other after {n} hours.", (6, 8, 12)),
        ("swallowing {n} mg at once", "The dose to swallow at once is {n} mg.", (75, 400)),
    ),
    "interactions": (("antacids within {n} hours", "Antacids should be {n} hours away.", (2, 4)),),
}  # fmt: skip


def embedded_exam(limit: int = 0) -> Exam:
    """The exam over the gate topics: `limit` items of each type (0: ITEMS_A_TYPE). The same each time."""
    topics = {t.name: t for t in load_topics() if t.split == "gate"}
    asked = [q for t in topics.values() for q in medquad_style.questions(t, medquad_style.QUESTIONS_A_TOPIC["gate"])]
    seeded("embedded").shuffle(asked)
    asked = list({(q.focus, q.qtype): q for q in asked}.values())  # one wording of each question
    items = first_of_each_type(
        (i for number, q in enumerate(asked) for i in _items(number, q, topics)), limit or ITEMS_A_TYPE
    )
    return Exam(
        "embedded",
        items,
        about={"source": "medquad_style", "split": "gate", "topics": len(topics), "questions": len(asked)},
    )


def _items(number: int, question: Question, topics: dict[str, Topic]) -> Iterator[ExamItem]:
    topic = topics[question.focus]
    good = topic.prose[question.qtype]
    rng = seeded(question.question_id)
    other_section = rng.choice([s for s in topic.prose if s != question.qtype])
    yield from swapped("wrong_question", question, good, topic.prose[other_section])
    siblings = [t for t in topics.values() if t.kind == topic.kind and t.name != topic.name]
    other_topic = topics[rng.choice([t.name for t in siblings])]
    yield from swapped("swapped_focus", question, good, other_topic.prose[question.qtype])
    yield from _with_a_measure(question, good)
    yield from _with_a_sibling(number, question, good, siblings)
    for item in spoiled(question, good, number):
        if item.item_type not in ("changed_number", "number_elsewhere"):  # names with digits in them: not measures
            yield item


def _with_a_sibling(number: int, question: Question, good: str, siblings: list[Topic]) -> Iterator[ExamItem]:
    """One claim of another topic of the kind, and all that the topic's leaflet says in place of half of the right
    answer. The claim stands in one topic's list alone, so that it is not true of this one too.
    """
    rng, section = seeded("sibling", question.question_id), question.qtype
    said = set(_content(f"{question.reference} {good}"))
    lists = [point for t in siblings for point in t.points[section]]
    claims = [p for p in lists if lists.count(p) == 1 and not said & set(_content(p))]
    if claims:
        own, other = rng.choice(question.key_points), rng.choice(claims)
        yield exam_item("sibling_claim", question, *meaning.one_more(good, own, other, number))
    other_topic = rng.choice(siblings)
    prose = [other_topic.prose[section], *(p for s, p in other_topic.prose.items() if s != section)]
    if (both := meaning.short_and_long(good, " ".join(prose[:2]), rng)) is not None:
        yield exam_item("short_right", question, *both)


def _content(text: str) -> list[str]:
    return [w for w in tokens(text) if w not in LITTLE]


def _with_a_measure(question: Question, good: str) -> Iterator[ExamItem]:
    """`question` with one more key point, a measure, in the reference and in the answer, where it is then changed."""
    rng = seeded("measure", question.question_id)
    point, prose, values = rng.choice(MEASURES[question.qtype])
    value = rng.choice(values)
    points = (*question.key_points, point.format(n=value))
    reference = medquad_style.complete_reference(question.qtype, points)
    asked = dataclasses.replace(question, reference=reference, key_points=points, context="")
    said = prose.format(n=value)
    changed = corrupt.change_number(said, rng, said)
    both = meaning.number_elsewhere(said, rng, said)
    assert changed is not None and both is not None  # the tests build every measure
    yield exam_item("changed_number", asked, f"{good} {said}", f"{good} {changed}")
    yield exam_item("number_elsewhere", asked, *(f"{good} {text}" for text in both))
