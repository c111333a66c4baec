"""How much of one text stands in others: the measures of the leak check. Texts in, numbers out; no files, no database,
no torch.
"""

from __future__ import annotations

import hashlib
import html
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Members = set[int]  # the hashes in a set
_WORD = re.compile(r"[^\W_]+")
_ENDS = frozenset(".?!:;\n\r\"'()[]{}<>|*\u2019\u201d\u2026\u2014\u2013")  # between two words: a question may end here
_UNSEEN = {"Mn", "Me", "Cf"}  # accents and marks; signs of format, such as a zero-width space
_ALIKE = str.maketrans(
    "авекмнорстухіѕјАВЕКМНОРСТУХІЅЈ", "abekmhopctyxisjABEKMHOPCTYXISJ"
)  # Cyrillic that reads as Latin
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing modulo 2**64
PERMUTATIONS = 64
ASKED_WORDS = 3

# Words that ask, and words most questions of a health collection have: without them, what is left of a question is its
# topic.
ASKING = frozenset(
    """a about affect affected an and any anyone are as at be been being but by call called can cause caused causes
    change changed changes clinical common condition could describe develop diagnose diagnosed diagnosis diagnostic did
    do does done effect explain find for frequency from gene genes genetic get getting give given had happen has have
    having help how i if in information inherit inheritance inherited into is it its kind know like likely look make
    many may me mean might much my need not number occur of on one or other our outlook patient patients people person
    please prevent prevention prognosis related research risk s should show sign signs so some somebody someone sort
    such suffer symptom symptoms t take tell test tested tests than that the their them there these they this those to
    treat treated treating treatment treatments trial trials typical us used usual was way we were what when where
    which who whom whose why will with would you your""".split()
)


def words(text: str) -> list[str]:
    """Lower-case words and numbers; punctuation and blanks separate.

    Two texts that look alike have the same words: wide letters and ligatures are plain ones (NFKC), accents and signs
    that nobody sees (a zero-width space, a soft hyphen) are left out, and so is HTML's escaping.
    """
    return _WORD.findall(plain(text).lower())


def normal(text: str) -> str:
    """A text as it is compared with another: its words."""
    return " ".join(words(text))


def plain(text: str) -> str:
    """The text as it looks: see :func:`words`."""
    if text.isascii():
        return html.unescape(text) if "&" in text else text
    spread = unicodedata.normalize("NFKD", html.unescape(text))
    return "".join(c for c in spread if unicodedata.category(c) not in _UNSEEN).translate(_ALIKE)


def topic(question: str) -> frozenset[str]:
    """The stems (Porter 1980) of the words in a question that do not merely ask."""
    return frozenset(_stem(word) for word in words(question) if word not in ASKING)


@cache
def _stem(word: str) -> str:
    return str(_stemmer().stem(word))


@cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer  # slow to import

    return PorterStemmer()


def asked_within(questions: Sequence[str], texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(question, text) where the text holds the whole question and more: a heading before it, a passage around it.

    The question has at least ASKED_WORDS words, and it ends where the text has a mark or its end: "What is lupus
    nephritis?" does not ask "What is lupus?".
    """
    endings: dict[tuple[str, str], list[tuple[int, list[str]]]] = {}
    for i, question in enumerate(questions):
        asked = words(question)
        if len(asked) >= ASKED_WORDS:
            endings.setdefault((asked[-2], asked[-1]), []).append((i, asked))
    for j, text in enumerate(texts):
        shown = plain(text).lower()
        found = list(_WORD.finditer(shown))
        said = [match[0] for match in found]
        hits: dict[int, None] = {}
        for at in range(1, len(said)):
            for i, asked in endings.get((said[at - 1], said[at]), ()):
                start = at + 1 - len(asked)
                gap = shown[found[at].end() : found[at + 1].start() if at + 1 < len(found) else None]
                ends = at + 1 == len(found) or not _ENDS.isdisjoint(gap)
                if start >= 0 and ends and len(asked) < len(said) and said[start : at + 1] == asked:
                    hits[i] = None
        yield from ((i, j) for i in hits)


class Texts:
    """Many texts as one array of hashed words, so that their n-grams are hashed together. Hashes do not depend on the
    other texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        split = [words(text) for text in texts]
        self.lengths = np.array([len(w) for w in split], dtype=np.intp)
        known = {word: _hash(word) for word in {w for text in split for w in text}}
        self._words = np.fromiter((known[w] for text in split for w in text), np.uint64, int(self.lengths.sum()))
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])

    def grams(self, n: int) -> tuple[Hashes, npt.NDArray[np.intp]]:
        """All n-grams, in order, and the index of each one's text. A text of fewer than n words has none."""
        count = max(0, len(self._words) - n + 1)
        hashes: Hashes = np.zeros(count, np.uint64)
        for j in range(n):  # Horner's rule over words, modulo 2**64
            hashes = hashes * _FACTOR + self._words[j : j + count]
        owner = np.repeat(np.arange(len(self.lengths)), self.lengths)[:count]
        inside = np.arange(count) + n <= self._starts[owner + 1]
        return hashes[inside], owner[inside]


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Shared:
    """What a text shares with the others: share of its n-grams (0-1), words in the longest run, and whose they are,
    most first.
    """

    share: float
    longest: int
    holders: tuple[int, ...]


def shared_grams(texts: Texts, others: Texts, n: int) -> list[Shared]:
    """For each text: its n-grams that occur anywhere in `others`. `holders` are indices into `others`."""
    theirs, owner = others.grams(n)
    order = np.lexsort((owner, theirs))
    theirs, owner = theirs[order], owner[order]
    mine, text = texts.grams(n)
    first, last = np.searchsorted(theirs, mine, "left"), np.searchsorted(theirs, mine, "right")
    hit = last > first
    ends = np.searchsorted(text, np.arange(len(texts.lengths) + 1))
    result = []
    for i in range(len(texts.lengths)):
        part = slice(ends[i], ends[i + 1])
        found = hit[part]
        if not found.any():
            result.append(Shared(0.0, 0, ()))
            continue
        counts: Counter[int] = Counter()
        for a, b in zip(first[part][found], last[part][found], strict=True):
            counts.update(set(owner[a:b].tolist()))
        holders = sorted(counts, key=lambda j: (-counts[j], j))
        result.append(Shared(float(found.mean()), _longest(found) + n - 1, tuple(holders)))
    return result


def _longest(found: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max())


def near_texts(texts: Texts, others: Texts, n: int, threshold: float) -> Iterator[tuple[int, int, float]]:
    """(text, other, Jaccard similarity of their sets of n-grams) for pairs at or above `threshold`.

    Candidates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., Mining of Massive Datasets,
    3.3-3.4) over `PERMUTATIONS` permutations, then the exact similarity: nothing that is returned is an estimate.
    """
    mine, theirs = _sets(texts, n), _sets(others, n)
    for i, j in _candidates(mine, theirs, threshold):
        similarity = len(mine[i] & theirs[j]) / len(mine[i] | theirs[j])
        if similarity >= threshold:
            yield i, j, similarity


def near_topics(questions: Sequence[str], others: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    """(question, other, similarity) for pairs whose topics are nearly the same: weighted Jaccard similarity >=
    `threshold`.

    A word weighs log(1 + N / df), N questions on both sides together, df of them with the word (inverse document
    frequency, Spaerck Jones 1972): sharing "syndrome" says little, sharing "halofantrine" much. For MinHash a word
    stands in the set as often as twice its weight (Haveliwala, Gionis and Indyk 2000); the similarity that is returned
    is exact.
    """
    mine, theirs = [topic(q) for q in questions], [topic(q) for q in others]
    frequency = Counter(word for one in (*mine, *theirs) for word in one)
    weight = {word: math.log(1 + (len(mine) + len(theirs)) / df) for word, df in frequency.items()}
    copies = {word: [_hash(f"{word} {k}") for k in range(math.ceil(2 * w))] for word, w in weight.items()}
    weighted: list[list[Members]] = [
        [{h for word in one for h in copies[word]} for one in side] for side in (mine, theirs)
    ]
    for i, j in _candidates(weighted[0], weighted[1], threshold):
        similarity = sum(weight[w] for w in mine[i] & theirs[j]) / sum(weight[w] for w in mine[i] | theirs[j])
        if similarity >= threshold:
            yield i, j, similarity


def _sets(texts: Texts, n: int) -> list[set[int]]:
    hashes, owner = texts.grams(n)
    ends = np.searchsorted(owner, np.arange(len(texts.lengths) + 1))
    return [set(hashes[a:b].tolist()) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _candidates(mine: Sequence[Members], theirs: Sequence[Members], threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs (index in `mine`, in `theirs`) that share a band of MinHash values. Missing a pair costs more here than one
    to look at.
    """
    from datasketch import MinHash, MinHashLSH

    def sketches(sets: Sequence[Members]) -> Iterator[tuple[int, MinHash]]:
        blank = MinHash(PERMUTATIONS, seed=1, hashfunc=int, scheme="affine64")
        for index, members in enumerate(sets):
            if members:
                sketch = blank.copy()
                sketch.update_batch(members)
                yield index, sketch

    index = MinHashLSH(threshold, PERMUTATIONS, weights=(0.1, 0.9))
    for j, sketch in sketches(theirs):
        index.insert(j, sketch)
    for i, sketch in sketches(mine):
        for j in sorted(index.query(sketch)):
            yield i, j
