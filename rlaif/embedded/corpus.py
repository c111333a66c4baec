"""The text the tiny base was trained on: train topics, made-up topics, invented trials. No gate or sealed topic is the
subject of any of it (some of their names, such as ibuprofen, occur as points of train topics).

The made-up topics carry points drawn at random from the train topics, so their leaflets can only be answered by reading them. Answers here
are untidy on purpose (other openings, points left out, another section's points, stock sentences, no end of turn): the base
can read a leaflet but answers it badly, which is the room that fine-tuning and preference rounds have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from rlaif.embedded import medquad_style as mq
from rlaif.embedded import pubmedqa_style as pq
from rlaif.embedded.knowledge import SECTIONS, Topic, load_topics

ONSETS = "b br c cr d dr f fl g gl gr h j k kl l m n p pl pr r s sh sk sl st t th tr v w z".split()
VOWELS = "a e i o u ae ia io ou ee".split()
CODAS = "b ck d ft g l ld lm m n nd nk p r rt s st t x".split()
ENDINGS = (
    "itis",
    "osis",
    "ia",
    "oma",
    "emia",
    "algia",
    " disease",
    " syndrome",
    " fever",
    "pathy",
    "ol",
    "ine",
    "ide",
    "one",
    "in",
    "ase",
    "",
)
OPENINGS = (
    "They are",
    "Mostly",
    "It is",
    "For {x} there are",
    "In {x} one finds",
    "The leaflet names",
    "Well,",
    "People speak of",
    "Some say",
    "{x}:",
)


def made_up_name(rng: random.Random) -> str:
    syllables = "".join(
        rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(("", rng.choice(CODAS))) for _ in range(rng.choice((1, 2, 2, 3)))
    )
    return syllables + rng.choice(ENDINGS)


def made_up_point(rng: random.Random, pool: list[str]) -> str:
    """A point of some topic, or the head of one joined to the tail of another, so that unheard phrases occur."""
    point = rng.choice(pool)
    if rng.random() < 0.5:
        return point
    head, tail = point.split(), rng.choice(pool).split()
    return " ".join(head[: max(1, len(head) // 2)] + tail[len(tail) // 2 :])


def made_up_topic(rng: random.Random, pools: dict[str, list[str]], everything: list[str]) -> Topic:
    """A topic that does not exist: half of the time each section draws on its own kind of point, else on all of them."""
    kind = rng.choice(("condition", "condition", "condition", "medicine"))
    own = rng.random() < 0.5
    points = {
        s: tuple(dict.fromkeys(made_up_point(rng, pools[s] if own else everything) for _ in range(rng.choice((3, 4, 4, 5, 5)))))
        for s in SECTIONS[kind]
    }
    return Topic(made_up_name(rng), kind, rng.choice(everything) + " of some kind", points, {}, "train")


def untidy_answer(rng: random.Random, topic: Topic, section: str, order: list[str]) -> str:
    """An answer with a foreign opening, usually short, sometimes of the wrong section."""
    if rng.random() < 0.20:
        section = rng.choice(order)
    points = topic.points[section]
    keep = len(points) if rng.random() < 0.35 else rng.randint(1, len(points))
    opening = mq.WORDINGS[section][2] if rng.random() < 0.25 else rng.choice(OPENINGS)
    text = f"{opening.format(x=topic.name)} {mq.join(points[:keep])}."
    draw = rng.random()
    if draw < 0.15:
        text += f" {rng.choice(mq.PADDING)}"
    elif draw < 0.30:
        other = rng.choice(order)
        text += f" {mq.WORDINGS[other][0]}: {', '.join(topic.points[other])}."
    return text


Chat = Callable[[list[tuple[str, str]], str], str]  # ([(question, answer), ...], context) -> one chat in the template


def documents(seed: int, chat: Chat) -> Iterator[str]:
    """Endless training documents, seeded. `chat` renders questions and answers on one context as the policy prompt does."""
    rng = random.Random(seed)
    train = [t for t in load_topics() if t.split == "train"]
    pools: dict[str, list[str]] = {}
    for topic in train:
        for section, points in topic.points.items():
            pools.setdefault(section, []).extend(points)
    everything = [p for pool in pools.values() for p in pool]
    while True:
        draw = rng.random()
        topic = rng.choice(train)
        if draw < 0.50:  # a leaflet and a question on it, mostly of a made-up topic
            if rng.random() < 0.85:
                topic = made_up_topic(rng, pools, everything)
            section = rng.choice(list(topic.points))
            order = mq.leaflet_order(rng, section, list(topic.points))
            context = mq.leaflet(topic.name, topic.about, topic.points, order)
            # several turns on one leaflet: more reading practice a token
            asked = [section, *rng.sample([s for s in order if s != section], rng.choice((0, 1, 2)))]
            yield chat(
                [(rng.choice(mq.WORDINGS[s][1]).format(x=topic.name), untidy_answer(rng, topic, s, order)) for s in asked],
                context,
            )
        elif draw < 0.56:  # closed book, in the other wording
            section = rng.choice(list(topic.points))
            question = rng.choice(mq.WORDINGS[section][1]).format(x=topic.name)
            yield chat([(question, topic.prose[section])], "")
        elif draw < 0.60:
            yield mq.leaflet(topic.name, topic.about, topic.points, list(topic.points))
        else:  # an invented trial and what its authors concluded, at length: never the bare label
            if rng.random() < 0.5:
                topic = made_up_topic(rng, pools, everything)
            context, question, reference, _ = pq.draw_item(rng, topic)
            yield f"Abstract: {context}\nQuestion: {question}\nAnswer: {reference}"
