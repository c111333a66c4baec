"""How much of one text another one supports, by sentences and as a whole. Pure.

The similarity of two sentences is the weighted Dice coefficient (Dice 1945) of their grams: content words and pairs of
neighbouring content words. A gram's weight is 1, less for the words of judges.support.words and for a negator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from judges.reference.text import Statement
from judges.support.words import COMMON

NOT = "not"  # no content word: those leave negators out
COMMON_WEIGHT, NOT_WEIGHT = 0.3, 0.4


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence by its grams. `words` are its content words in order, with "not" before those of a clause that denies;
    `kept` those that may be supported, and `kept_grams` the grams of these alone.
    """

    text: str
    words: tuple[str, ...]
    grams: Mapping[str, float]
    kept: tuple[str, ...]
    kept_grams: frozenset[str]
    repeats: bool = False  # an earlier sentence has all its words

    @property
    def weight(self) -> float:
        """The weights of its words, added up; a word that stands twice counts twice."""
        return total(self.words)


def sentences(statements: Sequence[Statement], wrong: Iterable[Statement] = ()) -> list[Sentence]:
    """The sentences that `statements` make up, in order. Nothing supports the words of those that are `wrong`, or a
    sentence of several words all of which an earlier one has.
    """
    unkept = set(map(id, wrong))
    made: list[Sentence] = []
    seen: list[frozenset[str]] = []
    for _, group in groupby(statements, key=lambda s: s.sentence):
        clauses = list(group)
        marked = [(word, id(s) not in unkept) for s in clauses for word in ((NOT,) if s.negated else ()) + s.words]
        words = tuple(word for word, _ in marked)
        repeats = len(words) > 1 and any(earlier.issuperset(words) for earlier in seen)  # one word may be chance
        seen.append(frozenset(words))
        kept = tuple(word for word, good in marked if good and not repeats)
        pairs = (f"{a} {b}" for (a, good), (b, too) in zip(marked, marked[1:], strict=False) if good and too)
        grams = frozenset(kept) if repeats else frozenset((*kept, *pairs))
        made.append(Sentence(", ".join(s.text for s in clauses), words, _grams(words), kept, grams, repeats))
    return made


def best_matches(mine: Sequence[Sentence], theirs: Sequence[Sentence]) -> tuple[list[float], list[float]]:
    """For each of `mine` its largest similarity (0-1) to one of `theirs`, and for each of `theirs` to one of `mine`.

    Only what is kept of `mine` can be shared; all of it counts in the denominator.
    """
    having: dict[str, list[int]] = {}
    for n, sentence in enumerate(theirs):
        for gram in sentence.grams:
            having.setdefault(gram, []).append(n)
    sizes = [sum(s.grams.values()) for s in theirs]
    best, best_of_theirs = [0.0] * len(mine), [0.0] * len(theirs)
    for i, sentence in enumerate(mine):
        size = sum(sentence.grams.values())
        shared: dict[int, float] = {}
        for gram, weight in sentence.grams.items():
            if gram in sentence.kept_grams:
                for n in having.get(gram, ()):
                    shared[n] = shared.get(n, 0.0) + weight
        for n, weight in shared.items():
            alike = 2 * weight / (size + sizes[n])
            best[i] = max(best[i], alike)
            best_of_theirs[n] = max(best_of_theirs[n], alike)
    return best, best_of_theirs


def shared_weight(mine: Iterable[str], theirs: Iterable[str]) -> float:
    """The weights of the words that two texts share, as multisets: what one has more often than the other counts as
    often as the other has it.
    """
    return total((Counter(mine) & Counter(theirs)).elements())


def total(words: Iterable[str]) -> float:
    """The weights of `words`, added up."""
    return math.fsum(map(_weight, words))


def settings() -> dict[str, Any]:
    """What of this module a judge's identity has to name."""
    return {"common": COMMON_WEIGHT, "not": NOT_WEIGHT}


@lru_cache(maxsize=50_000)
def _weight(word: str) -> float:
    return NOT_WEIGHT if word == NOT else COMMON_WEIGHT if word in COMMON else 1.0


def _grams(words: Sequence[str]) -> dict[str, float]:
    grams = {word: _weight(word) for word in words}
    for a, b in zip(words, words[1:], strict=False):
        grams[f"{a} {b}"] = (_weight(a) + _weight(b)) / 2
    return grams
