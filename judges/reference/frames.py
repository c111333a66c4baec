"""Denials that stand outside the clauses they deny: a heading ("Myths:"), a sentence ("None of this is true."), the
opening or the end of a sentence. Pure; no word of any exam is asked for, only what kind of words stand together.

A *remark* is a run of clauses that says nothing of the right answer and speaks about statements instead. A remark that
denies is a *frame*. It denies what follows where it ends in a colon, points ahead, or has nothing before it; else what
stands before it. A remark that affirms, or a new heading, ends a denial that points ahead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

FOREIGN = 2  # so many words that are neither talk about statements nor of the right answer may stand in a remark

_FALSE = re.compile(
    r"\b(?:myths?|mythical|fables?|fiction|fictional|fairy tales?|wives'? tales?|legends?|tall tales?|falsehoods?|false"
    r"|falsely|untrue|untruths?|(?<!go )(?<!goes )(?<!gone )wrong|wrongly|incorrect|incorrectly|inaccurate|erroneous"
    r"|errors?|mistakes?|mistaken(?! for)|mistakenly(?! for)|misconceptions?|misbeliefs?|misinformation|fallac(?:y|ies)"
    r"|superstitions?|a lie|lies(?= |$)(?! (?:down|in|on|at|between|behind|under))|liars?"
    r"|(?:is|are|was|were) lying(?! (?:down|on|in|flat|still|back))|hoax(?:es)?|nonsense|rubbish|bogus|humbug|hogwash"
    r"|baloney|rumou?rs?|baseless|unfounded|groundless|invalid|refuted?|refutes|disproved?|disproven|disproves"
    r"|debunk(?:ed|s)?|discredited|rebutted|overturned|retracted|withdrawn|dismiss(?:ed|es)?|reject(?:ed|s)?"
    r"|den(?:y|ies|ied)|contradict(?:ed|s)?|invent(?:ed|ions?)|fabricat(?:ed|ions?)|imaginary|(?:exact|very|just the)"
    r" opposite|opposite (?:is|of)|without (?:any )?(?:basis|foundation)|ma(?:de|king) (?:\w+ ){0,4}up"
    r"|rul(?:ed?|ing) out (?:\w+ ){0,3}(?:this|these|that|them|following|above)|(?:been|are|is|was|were|all) ruled out"
    r"|nothing to do with|speaks? against|(?:proved?|found) (?:wrong|false)|thrown out)\b"
)
_TRUE = re.compile(
    r"\b(?:true|truth|right(?! (?:for|side|away|now|hand|after|before|to))|rightly|correct|correctly|accurate|facts?"
    r"|factual|the case|valid|appl(?:y|ies)|shown|proved|proven|confirmed|supports? (?:this|these|that|it|any|them)"
    r"|supported|not support|borne|established|known to be|belongs? here|(?:is|are|be|was|were|not) so"
    r"|(?:holds?|counts?|stands?)(?= *$| true| up| water))\b"
)
_NO = re.compile(
    r"\b(?:no|not|none|nothing|never|neither|nor|nobody|cannot|isnt|arent|wasnt|werent|dont|doesnt|without)\b"
)
_PARTLY = re.compile(
    r"\bnot (?:every|all|always|everyone|much|many|only|just|yet|necessarily)\b|\bno (?:doubt|longer)\b"
)
_TRUST = re.compile(
    r"\b(?:not|dont|never|nobody(?: should)?|no one(?: should)?|cannot) (?:\w+ )?"
    r"(?:to )?(?:be )?(?:believed?|believes|trust(?:ed)?|accept(?:ed)?|buy|heed|listen to|repeat|fall for|be fooled)\b"
)
_EVERY = re.compile(
    r"\b(?:these|those|them|they|all|each|every|everything|any|none|nothing|neither|above|below|before|following|follows"
    r"|list|listed|both|such|claims|statements|opposite|whole|(?:one|a|single) (?:single )?word|up)\b"
)
_NONE_OF = re.compile(
    r"\b(?:none|nothing|neither|(?:no|not) (?:a |one |any |the )?(?:single )?(?:one|word|item|part|bit|thing|point|line"
    r"|statement|claim)s?)\b"
)
_ANAPHOR = re.compile(
    r"\b(?:this|these|that|those|it|them|they|all|each|every|everything|above|below|before|following|follows|list|listed"
    r"|both|such|said|former|latter)\b"
)
_AHEAD = re.compile(r"\b(?:following|follows?|below|next|here (?:is|are|come|comes|begins?)|begins?|starts? here)\b")
_REPORT = re.compile(
    r"\b(?:says?|said|claims?|claimed|believed?|believes|thinks?|thought|tells?|told|reads?|hears?|heard|taught|assume"
    r"|assumed|writes?|written|repeats?|imagine|rumou?r|rumou?rs|goes|internet|supposed(?:ly)?|alleged(?:ly)?|held)\b"
)
_TURN = re.compile(
    r"\b(?:facts?|truth|true|reality|actually|in fact|right|correct|really|instead|rather|known|however|but)\b"
)
# "It is a myth that X, Y and Z ...": what opens a sentence so denies all that follows in it.
_DENIED_THAT = re.compile(
    r"\b(?:myth|fable|false|untrue|wrong|incorrect|error|mistake|lie|misconception|fallacy|nonsense|fiction|rumou?r"
    r"|not (?:true|so|correct|right|the case|a fact)|no (?:evidence|proof)"
    r"|(?:nobody|no one) (?:should )?(?:thinks?|believes?)"
    r"|(?:never|not) (?:been )?(?:shown|proved|proven|confirmed)|(?:not|never) believe|deny|denies|refuted?|disproved?)"
    r"\b(?: \w+){0,2} that\b"
)
# "X, Y and Z are myths": a clause that says so of its own subject.
_FALSE_VERB = re.compile(
    r"\b(?:is|are|was|were|be|been)\b (?:\w+ ){0,2}(?:myths?|false|untrue|wrong|incorrect|refuted|disproved|disproven"
    r"|debunked|fiction|nonsense|lies|misconceptions?|fallac(?:y|ies)|fables?|made up|rumou?rs?)\b"
    r"(?! (?:positives?|negatives?|alarms?|way|dose|sense|side|time|place|size|type))"
)
_ELLIPTIC = frozenset("of in the no is are was one and at single words nor".split())
_KEEPS = re.compile(r"\bavoid")  # "mistakes to avoid" are advice


@dataclass(frozen=True, slots=True)
class Piece:
    """One clause: its words, the number of its sentence, whether a colon ends it, and whether a frame denies it."""

    text: str
    sentence: int
    colon: bool
    denied: bool = False


def said_to_be_false(clause: str) -> bool:
    """Whether the clause itself says of its subject that it is a myth, wrong, refuted."""
    return _FALSE_VERB.search(clause) is not None and not _NO.search(clause)


def with_frames(pieces: Sequence[Piece], words: Callable[[str], list[str]], about: frozenset[str]) -> list[Piece]:
    """The pieces, those that a frame denies marked. `words` gives a text's content words but for talk about statements;
    `about` are those of the right answer.
    """
    marked = list(pieces)
    ahead = False  # a denial that points ahead is in force
    since = 0  # where what a frame may deny begins: after the last frame or report
    content = False  # there has been a statement since
    at = 0
    while at < len(pieces):
        end = _remark_end(pieces, at, words, about)
        if end == at:
            if ahead:
                marked[at] = replace(marked[at], denied=True)
            content = content or bool(words(pieces[at].text))
            at += 1
            continue
        text = " ".join(" ".join(p.text for p in pieces[at:end]).split())
        colon = pieces[end - 1].colon
        foreign = sum(len(words(p.text)) for p in pieces[at:end])
        if _denies(text, colon, foreign):
            if colon or not content or _AHEAD.search(text):
                ahead = True
            else:
                for i in range(since if since or _EVERY.search(text) else _sentence_before(pieces, at, words), at):
                    marked[i] = replace(marked[i], denied=True)
                ahead = False
            since, content = end, False
        elif at > since and (colon or _TURN.search(text)) and not _NO.search(text):
            ahead, since, content = False, end if _REPORT.search(text) else since, not _REPORT.search(text)
        elif _REPORT.search(text):
            since, content = end, False
        at = end
    return _opened(marked)


def _remark_end(pieces: Sequence[Piece], start: int, words: Callable[[str], list[str]], about: frozenset[str]) -> int:
    """Where the remark that begins at `start` ends; `start` where there is none."""
    end, foreign = start, 0
    while end < len(pieces) and pieces[end].sentence == pieces[start].sentence:
        said = set(words(pieces[end].text))
        foreign += len(said)
        if said & about or foreign > FOREIGN:
            break
        end += 1
        if pieces[end - 1].colon:
            break
    return end


def _sentence_before(pieces: Sequence[Piece], at: int, words: Callable[[str], list[str]]) -> int:
    """Where the last sentence with anything said in it before the remark at `at` begins."""
    last = next(p.sentence for p in reversed(pieces[:at]) if words(p.text))
    return next(i for i, p in enumerate(pieces) if p.sentence == last)


def _denies(remark: str, colon: bool, foreign: int) -> bool:
    if _KEEPS.search(remark) or (foreign and _DENIED_THAT.search(remark)):  # advice; or it says itself what is false
        return False
    if _TRUST.search(remark):
        return True
    remark = _PARTLY.sub(" ", remark)
    remark = re.sub(r"^(?:well |oh )?no (?=\w)", "", remark) if _FALSE.search(remark) else remark
    negated, false, true = _NO.search(remark), _FALSE.search(remark), _TRUE.search(remark)
    if false and not (negated and not re.match("nothing to do|without", false[0])):
        return True
    if not negated:
        return False
    if false:  # "nothing above is wrong" affirms; "none of this is true: it was made up" does not
        return true is not None and negated.start() < true.start() < false.start()
    if true and foreign < FOREIGN and (colon or _ANAPHOR.search(remark) or len(remark.split()) <= 3):
        return True
    if colon and remark.endswith(" not"):
        return True
    rest = _ANAPHOR.sub("", _NONE_OF.sub("", remark, count=1)).split()
    return bool(_NONE_OF.search(remark)) and set(rest) <= _ELLIPTIC


def _opened(pieces: list[Piece]) -> list[Piece]:
    """Also what a sentence says after "it is a myth that", to its end."""
    open_in = -1
    for i, piece in enumerate(pieces):
        if _DENIED_THAT.search(piece.text):
            open_in = piece.sentence
        if piece.sentence == open_in:
            pieces[i] = replace(piece, denied=True)
    return pieces
