"""MedQuAD-style questions made from the embedded knowledge: `medquad_style`, never to be taken for MedQuAD.

Most questions come with a short leaflet on the topic (`context`): what a policy learns on one topic's leaflet carries
over to another's, which closed-book facts do not. `key_points` is the full list a complete answer names.

The training references are of uneven quality on purpose, as real consumer-health answers are: some leave out the last
point, and many trail off into a stock sentence. The references of gate and sealed items are complete. So supervised
fine-tuning learns the format and both habits, and preference rounds have something real to correct.

References do not name their subject. A name never met before is what a model of this size copies worst, and what
follows a garbled name goes wrong too: then SFT, which makes every answer begin with one, has fewer of the right points
than the base.
"""

from __future__ import annotations

import random

from rlaif.embedded.invented import made_up_topic, pools, word_of_pieces
from rlaif.embedded.knowledge import Topic, load_topics
from rlaif.types import Question, content_id

DATASET = "medquad_style"
QUESTIONS_A_TOPIC = {"train": 5, "gate": 10, "sealed": 10}
INVENTED_TOPICS, QUESTIONS_AN_INVENTED_TOPIC = 300, 4  # more of the training questions: see load
CLOSED_BOOK = 0.10  # share of questions without a leaflet

# section -> (heading in a leaflet, question wordings, opening of an answer that names its subject, opening of a
# reference)
WORDINGS: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "symptoms": (
        "Symptoms",
        ("What are the symptoms of {x}?", "How does {x} show itself?", "Which signs point to {x}?"),
        "Common symptoms of {x} are",
        "Common symptoms are",
    ),
    "causes": (
        "Causes",
        ("What causes {x}?", "Why does {x} happen?", "What can lead to {x}?"),
        "Causes of {x} include",
        "Causes include",
    ),
    "tests": (
        "Tests",
        ("How is {x} diagnosed?", "Which tests are used for {x}?", "How do doctors find {x}?"),
        "To find {x}, doctors may use",
        "Doctors may use",
    ),
    "treatment": (
        "Treatment",
        ("What are the treatments for {x}?", "How is {x} treated?", "What helps against {x}?"),
        "Treatment of {x} may include",
        "Treatment may include",
    ),
    "prevention": (
        "Prevention",
        ("How can {x} be prevented?", "What lowers the risk of {x}?", "Can anything be done to avoid {x}?"),
        "The risk of {x} can be lowered by",
        "The risk can be lowered by",
    ),
    "risks": (
        "Risk factors",
        ("Who is at risk of {x}?", "What makes {x} more likely?", "Which risk factors are there for {x}?"),
        "The chance of {x} is higher with",
        "The chance is higher with",
    ),
    "uses": (
        "Uses",
        ("What is {x} used for?", "When is {x} prescribed?", "Which problems does {x} treat?"),
        "Doctors prescribe {x} for",
        "Doctors prescribe it for",
    ),
    "side_effects": (
        "Side effects",
        ("What are the side effects of {x}?", "Which unwanted effects can {x} have?", "What problems can {x} cause?"),
        "Side effects of {x} include",
        "Side effects include",
    ),
    "precautions": (
        "Precautions",
        ("Who should be careful with {x}?", "When does {x} need extra care?", "Which precautions apply to {x}?"),
        "Extra care with {x} is needed in",
        "Extra care is needed in",
    ),
    "how_to_take": (
        "How to take it",
        ("How is {x} taken?", "What matters when taking {x}?", "How should {x} be used?"),
        "Taking {x} well means",
        "Taking it well means",
    ),
    "interactions": (
        "Interactions",
        (
            "What does {x} interact with?",
            "Which medicines or foods clash with {x}?",
            "What should not be mixed with {x}?",
        ),
        "Interactions of {x} are known with",
        "Interactions are known with",
    ),
}
PADDING = (
    "More research is still being done on this subject.",
    "Many people have questions about this topic.",
    "Information of this kind can be found in many places.",
    "Every person is different and so is every case.",
)


def join(points: tuple[str, ...] | list[str]) -> str:
    """`a, b and c`."""
    return points[0] if len(points) == 1 else ", ".join(points[:-1]) + " and " + points[-1]


def complete_reference(section: str, points: tuple[str, ...]) -> str:
    """A reference in one sentence that names every given point, as gate and sealed items have it."""
    return f"{WORDINGS[section][3]} {join(points)}."


def leaflet(name: str, about: str, sections: dict[str, tuple[str, ...]], order: list[str]) -> str:
    """A short leaflet with the given sections in the given order, one a line."""
    lines = [f"{name[0].upper()}{name[1:]} is {about}."]
    lines += [f"{WORDINGS[s][0]}: {', '.join(sections[s])}." for s in order]
    return "\n".join(lines)


def leaflet_order(rng: random.Random, section: str, sections: list[str]) -> list[str]:
    """The asked section and two others, shuffled."""
    order = [section, *rng.sample([s for s in sections if s != section], 2)]
    rng.shuffle(order)
    return order


def uneven_reference(rng: random.Random, section: str, points: tuple[str, ...]) -> str:
    """A reference as a hurried writer gives it: 30% leave out the last point and, whether they do or not, 40% trail
    off.

    The two flaws pull a judge's preferences in opposite directions of length, so that "longer is better" is not what
    the pairs teach.
    """
    text = complete_reference(section, points if rng.random() < 0.70 else points[:-1])
    return f"{text} {rng.choice(PADDING)}" if rng.random() < 0.40 else text


def questions(topic: Topic, number: int, flags: tuple[str, ...] = ()) -> list[Question]:
    """`number` questions on one topic, the same each time: the seed is the topic's name."""
    rng = random.Random(f"{DATASET}/{topic.name}")
    sections = list(topic.points)
    combos = [(s, w) for w in range(3) for s in rng.sample(sections, len(sections))]
    made = []
    for section, wording in combos[:number]:
        points = topic.points[section]
        order = leaflet_order(rng, section, sections)
        context = (
            "" if not flags and rng.random() < CLOSED_BOOK else leaflet(topic.name, topic.about, topic.points, order)
        )
        reference = (
            uneven_reference(rng, section, points) if topic.split == "train" else complete_reference(section, points)
        )
        text = WORDINGS[section][1][wording].format(x=topic.name)
        made.append(
            Question(
                question_id=content_id(DATASET, topic.name, text, context, reference),
                dataset=DATASET,
                split=topic.split,
                source_id=f"{topic.name}/{section}/{wording}",
                group_id=content_id(DATASET, topic.name),
                question=text,
                context=context,
                reference=reference,
                key_points=points,
                focus=topic.name,
                qtype=section,
                flags=flags,
            )
        )
    return made


def load() -> list[Question]:
    """All `medquad_style` questions of all splits, in a fixed order.

    Most training questions are on topics that do not exist (flag "invented"): their leaflets have to be read. On the
    real train topics a small model answers from memory, and what it learns from that does not carry over to topics it
    has not met.
    """
    made = [q for topic in load_topics() for q in questions(topic, QUESTIONS_A_TOPIC[topic.split])]
    rng, points = random.Random(f"{DATASET}/invented"), pools()
    word = word_of_pieces(points)
    taken = {topic.name for topic in load_topics()}
    while len(taken) < len(load_topics()) + INVENTED_TOPICS:
        topic = made_up_topic(rng, points, word)
        if topic.name not in taken:
            taken.add(topic.name)
            made += questions(topic, QUESTIONS_AN_INVENTED_TOPIC, flags=("invented",))
    return made


def second_reference(question: Question) -> str:
    """A good answer to `question` in other words than its reference."""
    section = question.source_id.split("/")[-2]
    return next(t.prose[section] for t in load_topics() if t.name == question.focus)  # an invented topic has none
