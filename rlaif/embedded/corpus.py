"""The text the tiny base was trained on: train topics, made-up topics, invented trials. No gate or sealed topic is the
subject of any of it (some of their names, such as ibuprofen, occur as points of train topics).

The made-up topics carry points drawn at random from the train topics, so their leaflets can only be answered by reading
them. Answers here are untidy on purpose (other openings, points left out, another section's points, stock sentences, no
end of turn): the base can read a leaflet but answers it badly, which is the room that fine-tuning and preference rounds
have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from rlaif.embedded import medquad_style as mq
from rlaif.embedded import pubmedqa_style as pq
from rlaif.embedded.invented import Word, made_up_name, made_up_topic, pools
from rlaif.embedded.knowledge import Topic, load_topics

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


def untidy_answer(rng: random.Random, topic: Topic, section: str, order: list[str]) -> str:
    """An answer with a foreign opening, usually short, sometimes of the wrong section."""
    if rng.random() < 0.20:
        section = rng.choice(order)
    points = topic.points[section]
    keep = len(points) if rng.random() < 0.35 else rng.randint(1, len(points))
    opening = rng.choice((*OPENINGS, mq.WORDINGS[section][2]))  # the references' own wording is only one of many
    text = f"{opening.format(x=topic.name)} {mq.join(points[:keep])}."
    draw = rng.random()
    if draw < 0.15:
        text += f" {rng.choice(mq.PADDING)}"
    elif draw < 0.30:
        other = rng.choice(order)
        text += f" {mq.WORDINGS[other][0]}: {', '.join(topic.points[other])}."
    return text


Chat = Callable[[list[tuple[str, str]], str], str]  # ([(question, answer), ...], context) -> one chat in the template


def documents(seed: int, chat: Chat, word: Word = made_up_name) -> Iterator[str]:
    """Endless training documents, seeded. `chat` renders questions and answers on one context as the policy prompt
    does; `word` makes up the words that no topic has."""
    rng = random.Random(seed)
    train = [t for t in load_topics() if t.split == "train"]
    points = pools()
    while True:
        draw = rng.random()
        topic = rng.choice(train)
        if draw < 0.62:  # a leaflet and a question on it, mostly of a made-up topic
            if rng.random() < 0.92:
                topic = made_up_topic(rng, points, word)
            section = rng.choice(list(topic.points))
            order = mq.leaflet_order(rng, section, list(topic.points))
            context = mq.leaflet(topic.name, topic.about, topic.points, order)
            # several turns on one leaflet: more reading practice a token
            asked = [section, *rng.sample([s for s in order if s != section], rng.choice((0, 1, 2)))]
            yield chat(
                [
                    (rng.choice(mq.WORDINGS[s][1]).format(x=topic.name), untidy_answer(rng, topic, s, order))
                    for s in asked
                ],
                context,
            )
        elif draw < 0.66:  # closed book, in the other wording
            section = rng.choice(list(topic.points))
            question = rng.choice(mq.WORDINGS[section][1]).format(x=topic.name)
            yield chat([(question, topic.prose[section])], "")
        elif draw < 0.68:
            yield mq.leaflet(topic.name, topic.about, topic.points, list(topic.points))
        else:  # an invented trial and what its authors concluded, at length: never the bare label
            if rng.random() < 0.5:
                topic = made_up_topic(rng, points, word)
            context, question, reference, _ = pq.draw_item(rng, topic)
            yield f"Abstract: {context}\nQuestion: {question}\nAnswer: {reference}"
