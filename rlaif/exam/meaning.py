"""Spoils what an answer means and keeps what can be counted: its words, its length, its negators, its numbers.

Pure functions of the text and a seeded generator; None where the text offers no hold.
"""

from __future__ import annotations

import random
import re

from rlaif.exam.corrupt import NUMBER, change_number, drop_half, negate, sentences
from rlaif.exam.words import ANTONYMS, BALANCE, ELSEWHERE, MODALS, NEGATIVE, ONE_MORE, TRANSITIVE

_TOKEN = re.compile(r"[\w'-]+")
_CLOSE = re.compile(r"[.!?,;:]$")
MIN_SHUFFLED = 5  # a sentence of fewer words may survive a shuffle
LONGER = 1.5  # how much longer than the right answer the wrong one is


def shuffle(text: str, rng: random.Random) -> str | None:
    """The words of each sentence in random order; None where no sentence has MIN_SHUFFLED of them."""
    parts = [part.split() for part in sentences(text)]
    if max(map(len, parts), default=0) < MIN_SHUFFLED:
        return None
    mixed = []
    for words in parts:
        bare = [_CLOSE.sub("", w) for w in words]
        rng.shuffle(bare)
        mixed.append(" ".join(bare).capitalize() + ".")
    return " ".join(mixed)


def exchange(text: str) -> str | None:
    """In the first sentence where that is possible, subject and object change places: "Smoke narrows airways, and it
    hurts." becomes "Airways narrows smoke, and it hurts." The words stay.
    """
    parts = sentences(text)
    for i, part in enumerate(parts):
        if (turned := _exchanged(part)) is not None:
            return " ".join([*parts[:i], turned, *parts[i + 1 :]])
    return None


def _exchanged(sentence: str) -> str | None:
    clause, comma, rest = sentence.partition(",")
    words = _CLOSE.sub("", clause).split()
    if NEGATIVE & {w.lower() for w in words}:
        return None
    for at in range(1, len(words) - 1):
        start = at - 1 if words[at - 1].lower() in MODALS else at
        if words[at].lower() in TRANSITIVE and start and words[start - 1].lower() not in ("to", "that", "who", "which"):
            turned = " ".join([*words[at + 1 :], *words[start : at + 1], *words[:start]])
            return f"{turned[0].upper()}{turned[1:]}{comma or '.'}{rest}"
    return None


def reorder(text: str, rng: random.Random, number: int) -> str | None:
    """The same words in another order: by turns subject and object exchanged, where a verb allows it, or shuffled."""
    return (exchange(text) if number % 2 else None) or shuffle(text, rng)


def opposite(text: str, rng: random.Random, told: str) -> str | None:
    """One word in its opposite, without a negator. Only a word that `told` has too, so that it is known to be wrong."""
    known = {w.lower() for w in _TOKEN.findall(told)}
    found = [m for m in _TOKEN.finditer(text) if m[0].lower() in ANTONYMS and m[0].lower() in known]
    found = [m for m in found if ANTONYMS[m[0].lower()] not in known]
    if not found:
        return None
    match = rng.choice(found)
    new = ANTONYMS[match[0].lower()]
    new = new.capitalize() if match[0][0].isupper() else new
    return f"{text[: match.start()]}{new}{text[match.end() :]}"


def negators(text: str) -> int:
    """How many words of `text` deny: not, no, never, cannot, nobody, n't and their like."""
    words = [w.lower() for w in _TOKEN.findall(text)]
    return sum(w in NEGATIVE or w == "nobody" or w.endswith("n't") for w in words)


def balanced(text: str, rng: random.Random) -> tuple[str, str] | None:
    """`text` and `text` with statements turned round, each with sentences about nothing behind it, so that both have
    as many negators and as many sentences.
    """
    turned = negate(text, rng)
    if turned is None:
        return None
    more = negators(turned) - negators(text)
    if not 0 < abs(more) <= len(BALANCE):
        return None
    chosen = rng.sample(BALANCE, abs(more))
    denying, affirming = (" ".join(pair[i] for pair in chosen) for i in (0, 1))
    good, bad = (denying, affirming) if more > 0 else (affirming, denying)
    return f"{text} {good}", f"{turned} {bad}"


def number_elsewhere(text: str, rng: random.Random, told: str) -> tuple[str, str] | None:
    """`text` and `text` with a number changed that `told` states; behind each stands a sentence about nothing with the
    other one's number, so that both have the same numbers.
    """
    changed = change_number(text, rng, told)
    if changed is None:
        return None
    was, now = ([m[1] for m in NUMBER.finditer(t)] for t in (text, changed))
    differing = [(a, b) for a, b in zip(was, now, strict=False) if a != b]
    if len(was) != len(now) or not differing:
        return None
    right, wrong = differing[0]
    says = rng.choice(ELSEWHERE)
    return f"{text} {says.format(n=wrong)}", f"{changed} {says.format(n=right)}"


def one_more(text: str, own: str, other: str, number: int) -> tuple[str, str]:
    """`text` with one more claim behind it in the same words: `own`, which is true, and `other`, of another subject."""
    says = ONE_MORE[number % len(ONE_MORE)]
    made = (says.format(p=claim) for claim in (own, other))
    good, bad = (f"{text} {claim[0].upper()}{claim[1:]}" for claim in made)
    return good, bad


def foreign_sentence(text: str, other: str, rng: random.Random) -> str | None:
    """`text` with one of its sentences replaced by one of `other`; None where it has fewer than two."""
    parts, others = sentences(text), [s for s in sentences(other) if len(s.split()) >= MIN_SHUFFLED]
    if len(parts) < 2 or not others:
        return None
    at = rng.randrange(len(parts))
    return " ".join([*parts[:at], rng.choice(others), *parts[at + 1 :]])


def short_and_long(text: str, wrong: str, rng: random.Random) -> tuple[str, str] | None:
    """Half of the right answer `text`, and `wrong` where that has LONGER times as many words; None where it has not."""
    half = drop_half(text, rng)
    if half is None or len(wrong.split()) < LONGER * len(half.split()):
        return None
    return half, wrong
