"""Topics that do not exist: a made-up name, and points drawn at random from the train topics.

A leaflet on one cannot be answered from memory, only by reading it. Nothing in them is true of anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable

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


def pools() -> dict[str, list[str]]:
    """All points of the train topics by section."""
    found: dict[str, list[str]] = {}
    for topic in load_topics():
        if topic.split == "train":
            for section, points in topic.points.items():
                found.setdefault(section, []).extend(points)
    return found


def made_up_name(rng: random.Random) -> str:
    syllables = "".join(
        rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(("", rng.choice(CODAS)))
        for _ in range(rng.choice((1, 2, 2, 3)))
    )
    return syllables + rng.choice(ENDINGS)


Word = Callable[[random.Random], str]  # makes up a word


def word_of_pieces(pools: dict[str, list[str]]) -> Word:
    """Made-up words: half by syllables, half put together from two to four pieces of the words in `pools`.

    Real names that a reader has not met fall into all sorts of tokens. A policy fine-tuned on syllables alone loses the
    copying of the others, which its base could do.
    """
    words = {
        word
        for pool in pools.values()
        for point in pool
        for word in point.lower().split()
        if word.isalpha() and len(word) > 3
    }
    pieces = sorted(
        {word[at : at + n] for word in words for n in (2, 3, 4, 5) for at in range(0, len(word) - n + 1, n)}
    )

    def word(rng: random.Random) -> str:
        return (
            made_up_name(rng)
            if rng.random() < 0.5
            else "".join(rng.choice(pieces) for _ in range(rng.choice((2, 2, 3, 4))))
        )

    return word


def made_up_point(rng: random.Random, pool: list[str], word: Word) -> str:
    """A point of some topic, half of the time with another's tail, and often with a made-up word in it: rare words come
    in several tokens, and a reader has to copy those too."""
    words = rng.choice(pool).split()
    if rng.random() < 0.5:
        tail = rng.choice(pool).split()
        words = words[: max(1, len(words) // 2)] + tail[len(tail) // 2 :]
    if rng.random() < 0.35:
        words[rng.randrange(len(words))] = word(rng)
    return " ".join(words)


def made_up_topic(rng: random.Random, pools: dict[str, list[str]], word: Word = made_up_name) -> Topic:
    """A topic that does not exist: half of the time each section draws on its own kind of point, else on all of
    them.
    """
    everything = [p for pool in pools.values() for p in pool]
    kind = rng.choice(("condition", "condition", "condition", "medicine"))
    own = rng.random() < 0.5
    points = {
        s: tuple(
            dict.fromkeys(
                made_up_point(rng, pools[s] if own else everything, word) for _ in range(rng.choice((3, 4, 4, 5, 5)))
            )
        )
        for s in SECTIONS[kind]
    }
    return Topic(word(rng), kind, rng.choice(everything) + " of some kind", points, {}, "train")
