"""Plain English text as the reference judge reads it: content words in a common form, cut into statements.

Everything here is a pure function of its text, needs no model, and never raises on any string.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from judges.reference_words import HARD_NEGATORS, IRREGULAR, SOFT_NEGATORS, STOP_WORDS, SUFFIXES, SYNONYMS

MAX_CHARS = 20_000  # more of a text than this is not read: no answer needs it, and the time stays bounded

# A negator in one of these turns nothing round.
_NO_FLIP = re.compile(
    r"\bnot (?:only|just|always|necessarily|long ago|yet|far|be (?:taken|mixed|combined|used))\b"
    r"|\bwhether or not\b|\bif not\b|\bwithout much\b"
    r"|\bno (?:single|longer|more|bigger|larger|doubt|matter|one|other)\b"
)
# "A, B and C do not help": after several subjects these deny every one of them ...
_DENIES_LIST = re.compile(
    r"\b(?:(?:are|were|do|did|have|had|can|could|may|might|will|would|should|must) (?:not|never)|never|cannot"
    r"|arent|werent|dont|didnt|havent|cant|couldnt|wont|wouldnt|shouldnt)\b"
)
# ... unless one of them has a verb of its own.
_HAS_VERB = re.compile(
    r"\b(?:is|are|was|were|be|do|does|did|has|have|had|can|could|may|might|will|would|should|must|cannot|never"
    r"|arent|werent|dont|didnt|havent|cant|couldnt|wont|wouldnt|shouldnt|who|which|that|when|if)\b"
)
NUMBER_WORDS = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
NUMBER_WORDS |= {"ten": "10", "eleven": "11", "twelve": "12"}

_TOKEN = re.compile(r"[a-z]+|\d+(?:[.,]\d+)*")
_CLAUSE = re.compile(
    r"[,;:.!?\n\r\t()\[\]\"|]+(?=\s|$|[^0-9])|\s[-*\u2022\u2013\u2014]+\s|\b(?:and|or|but|while|plus)\b"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")
_LIST_MARK = re.compile(r"(?m)^\s*(?:[-*+\u2022#>]+|\(?\d{1,2}[.)](?=\s)|[a-z][.)](?=\s))\s*")


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A common form of an English word: rough, but the same for its inflections and most of its derivations."""
    word = IRREGULAR.get(word, word)
    for _ in range(2):
        for suffix in SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= (3 if len(suffix) < 4 else 4):
                word = word[: -len(suffix)]
                break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return _CANONICAL.get(word, word)


_CANONICAL: dict[str, str] = {}
for _line in SYNONYMS.split("\n"):
    _stems = [stem.__wrapped__(_w) for _w in _line.split()]
    _CANONICAL.update({_s: _stems[0] for _s in _stems if _s not in _CANONICAL})

_SOFT_STEMS = frozenset(stem(w) for w in SOFT_NEGATORS)


@dataclass(frozen=True, slots=True)
class Statement:
    """One clause or list item: its content words in order (numbers included), and how it says them."""

    text: str
    words: tuple[str, ...]
    content: frozenset[str]
    numbers: frozenset[str]
    negated: bool
    softened: bool


def plain(text: str) -> str:
    """`text` in lower case ASCII, without accents, markup and list marks; line breaks stay."""
    text = unicodedata.normalize("NFKD", text[:MAX_CHARS]).replace("\u2019", "'").replace("\u2018", "'").lower()
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = _LIST_MARK.sub("", re.sub(r"[*_`~]+", "", text))
    return re.sub(r"(?<=[a-z])'(?=[a-z])", "", text)


def number(token: str) -> str:
    """A number in one spelling: `1,000` is `1000`, `2.50` is `2.5`."""
    token = re.sub(r",(?=\d{3}(?!\d))", "", token)
    return token.rstrip("0").rstrip(".") if "." in token else token


def content_words(plain_text: str) -> list[str]:
    """The stems of the words that say something, in order; numbers stay as they are."""
    found = []
    for token in _TOKEN.findall(plain_text):
        token = NUMBER_WORDS.get(token, token)
        if token[0].isdigit():
            found.append(number(token))
        elif token not in STOP_WORDS and token not in HARD_NEGATORS and len(token) > 1:
            found.append(stem(token))
    return found


@lru_cache(maxsize=4096)
def statements(text: str) -> tuple[Statement, ...]:
    """`text` cut at punctuation, line breaks and conjunctions; pieces without any content word are left out."""
    made = []
    for piece, negated, softened in _pieces(plain(text)):
        words = tuple(content_words(piece))
        if not words:
            continue
        made.append(
            Statement(
                text=" ".join(piece.split()),
                words=words,
                content=frozenset(words),
                numbers=frozenset(w for w in words if w[0].isdigit()),
                negated=negated,
                softened=softened,
            )
        )
    return tuple(made)


def _negated(piece: str) -> bool:
    return not HARD_NEGATORS.isdisjoint(_TOKEN.findall(_NO_FLIP.sub(" ", piece)))


def _pieces(plain_text: str) -> Iterator[tuple[str, bool, bool]]:
    """Each clause, whether it is denied, and whether it or an earlier one of its sentence has a word that may stand for
    a negator.
    """
    for sentence in _SENTENCE.split(plain_text):
        pieces = _CLAUSE.split(sentence)
        negated = [_negated(piece) for piece in pieces]
        verb = next((i for i, piece in enumerate(pieces) if _HAS_VERB.search(piece)), len(pieces))
        if verb < len(pieces) and _DENIES_LIST.search(_NO_FLIP.sub(" ", pieces[verb])):
            negated[:verb] = [True] * verb
        softened = False
        for piece, denied in zip(pieces, negated, strict=True):
            raw = _TOKEN.findall(piece)
            softened = softened or any(stem(w) in _SOFT_STEMS or w.startswith("un") for w in raw)
            yield piece, denied, softened
            softened = softened or denied
