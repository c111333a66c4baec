"""Plain English text as the reference judge reads it: content words in a common form, cut into statements.

Everything here is a pure function of its text, needs no model, and never raises on any string.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from judges.reference.frames import Piece, said_to_be_false, with_frames
from judges.reference.words import (
    BINDING_WORDS,
    FINITE_VERBS,
    FRAME_TALK,
    HARD_NEGATORS,
    IRREGULAR,
    SENTENCE_WORDS,
    SOFT_NEGATORS,
    STOP_WORDS,
    SUFFIXES,
    SYNONYMS,
)

FEW_WORDS = 6  # fewer words than this may be an answer without a sentence ("Ibuprofen.")
BINDING_SHARE = 0.05  # in the sentences of the train topics it is 0.13 or more, but for one in a hundred
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
_VERBS = SENTENCE_WORDS | frozenset(
    form for v in FINITE_VERBS for form in (v, f"{v[:-1]}ies" if re.search("[^aeou]y$", v) else f"{v}s", f"{v}es")
)
_TALK_STEMS = frozenset(stem(w) for w in FRAME_TALK)


@dataclass(frozen=True, slots=True)
class Statement:
    """One clause or list item: its content words in order (numbers included), and how it says them.

    `denied`: by a frame, that is from outside the clause, see :mod:`judges.reference.frames`. `sentence`: the number of
    its sentence, from 0; numbers of sentences without a content word are skipped.
    """

    text: str
    words: tuple[str, ...]
    content: frozenset[str]
    numbers: frozenset[str]
    negated: bool
    softened: bool
    denied: bool = False
    sentence: int = 0


def plain(text: str) -> str:
    """`text` in lower case ASCII, without accents, markup and list marks; line breaks stay."""
    text = text[:MAX_CHARS]
    if not text.isascii():  # ASCII has no accents to take off
        text = unicodedata.normalize("NFKD", text).replace("\u2019", "'").replace("\u2018", "'")
        text = "".join(c for c in text.lower() if not unicodedata.combining(c))
    text = text.lower()
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
def statements(text: str, about: frozenset[str] = frozenset()) -> tuple[Statement, ...]:
    """`text` cut at punctuation, line breaks and conjunctions; pieces without any content word are left out.

    `about`: the content words of the right answer, which no frame has; without them no frame is looked for.
    """
    made = []
    for piece, negated, softened in _pieces(plain(text), about):
        words = tuple(content_words(piece.text))
        if not words:
            continue
        made.append(
            Statement(
                text=" ".join(piece.text.split()),
                words=words,
                content=frozenset(words),
                numbers=frozenset(w for w in words if w[0].isdigit()),
                negated=negated,
                softened=softened,
                denied=piece.denied,
                sentence=piece.sentence,
            )
        )
    return tuple(made)


def asserted(text: str, about: frozenset[str]) -> str:
    """`text` on one line, without the clauses that a frame denies; `about` as in :func:`statements`."""
    pieces: list[Piece] = []
    spelled: list[str] = []  # each clause as it is written, with what ends it
    for number, sentence in enumerate(_SENTENCE.split(text[:MAX_CHARS])):
        ends = [m.span() for m in _CLAUSE.finditer(sentence)]
        starts, stops = [0, *(b for _, b in ends)], [*(a for a, _ in ends), len(sentence)]
        after = [*(sentence[a:b] for a, b in ends), ""]
        for a, b, end in zip(starts, stops, after, strict=True):
            pieces.append(Piece(plain(sentence[a:b]), number, ":" in end))
            spelled.append(f"{sentence[a:b]}{end}{'' if end else ' '}")
    framed = with_frames(pieces, _beside_talk, about)
    return " ".join("".join(s for p, s in zip(framed, spelled, strict=True) if not p.denied).split())


def on_the_point(sentence: str, about: frozenset[str]) -> bool:
    """Whether a third of what `sentence` says is of the words `about`, those of the right answer. A single one of
    several words may be chance: then it has to be more than half.
    """
    shared, said = _shared(sentence, about)
    return shared > said / 2 or (shared > 1 and shared >= said / 3)


def _shared(sentence: str, about: frozenset[str]) -> tuple[int, int]:
    """How many content words of `sentence` are of the words `about`, and how many it has."""
    said = content_words(plain(sentence))
    return sum(word in about for word in said), len(said)


def by_chance(text: str, about: frozenset[str]) -> bool:
    """Whether `text` has just one of the words `about`, and that one in no sentence that is on the point."""
    if len(about.intersection(content_words(plain(text)))) != 1:
        return False
    return not any(on_the_point(sentence, about) for sentence in _SENTENCE.split(text[:MAX_CHARS]))


def held_together(text: str, about: frozenset[str]) -> tuple[bool, bool]:
    """Whether the sentences of `text` that say a third or more in the words `about` have a verb, and whether one word
    in twenty of theirs is of the kind that binds words into sentences. A few words need neither.
    """
    verb, binding = sentence_signs(text, about)
    return verb, binding >= BINDING_SHARE


def sentence_signs(text: str, about: frozenset[str]) -> tuple[bool, float]:
    """Whether the sentences of `text` that say a third or more in the words `about` have a verb, and which share (0-1)
    of their words is of the kind that binds words into sentences: True and 1.0 for a few words.

    A heading and the first line after it count as one, so "Symptoms include:" is the verb of its list.
    """
    parts = re.split(r"(?<=[.!?])\s+|(?<![:\s])\s*\n", plain(text))
    counted = [(part, *_shared(part, about)) for part in parts]
    tokens = [token for part, shared, said in counted if said and shared >= said / 3 for token in _TOKEN.findall(part)]
    if len(tokens) < FEW_WORDS:
        return True, 1.0
    return not _VERBS.isdisjoint(tokens), sum(token in BINDING_WORDS for token in tokens) / len(tokens)


def _negated(piece: str) -> bool:
    return not HARD_NEGATORS.isdisjoint(_TOKEN.findall(_NO_FLIP.sub(" ", piece))) or said_to_be_false(piece)


def _pieces(plain_text: str, about: frozenset[str]) -> Iterator[tuple[Piece, bool, bool]]:
    """Each clause, whether it is denied, and whether it or an earlier one of its sentence has a word that may stand for
    a negator.
    """
    cut = [_clauses(sentence, n) for n, sentence in enumerate(_SENTENCE.split(plain_text))]
    every = [piece for pieces in cut for piece in pieces]
    framed = iter(with_frames(every, _beside_talk, about) if about else every)
    for pieces in cut:
        texts = [piece.text for piece in pieces]
        negated = [_negated(text) for text in texts]
        verb = next((i for i, text in enumerate(texts) if _HAS_VERB.search(text)), len(texts))
        if verb < len(texts) and (_DENIES_LIST.search(_NO_FLIP.sub(" ", texts[verb])) or said_to_be_false(texts[verb])):
            negated[:verb] = [True] * verb
        softened = False
        for text, denied in zip(texts, negated, strict=True):
            softened = softened or bool(soft_negators(text))
            yield next(framed), denied, softened
            softened = softened or denied


def soft_negators(plain_text: str) -> frozenset[str]:
    """The stems of the words that may stand for a negator."""
    return frozenset(stem(w) for w in _TOKEN.findall(plain_text) if stem(w) in _SOFT_STEMS or w.startswith("un"))


def _beside_talk(piece: str) -> list[str]:
    return [word for word in content_words(piece) if word not in _TALK_STEMS]


def _clauses(sentence: str, number: int) -> list[Piece]:
    ends = [*_CLAUSE.finditer(sentence)]
    starts = [0, *(m.end() for m in ends)]
    stops = [*(m.start() for m in ends), len(sentence)]
    colons = [*(":" in m[0] for m in ends), False]
    return [Piece(sentence[a:b], number, c) for a, b, c in zip(starts, stops, colons, strict=True)]
