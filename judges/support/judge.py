"""The support judge: how far the sentences of an answer and those of a reference support each other. No LLM, offline.

Use it to label answers that are mostly poor, where there is a reference and no key points: the reference judge finds
nothing in them and gives the same mark to all. It reads words, not meaning. Its rules:

- Texts are read as the reference judge reads them: content words in a common form, statements, frames that deny.
- *factual_accuracy* is precision, a weighted mean of two: the share of the answer's words that the reference has too
  (WHOLE), and the mean over the answer's sentences, by length, of the similarity to the reference's sentence that is
  most alike (judges.support.match).
- *completeness* is recall: the same from the reference's side.
- *score* is their harmonic mean.
- What a frame denies, a statement that contradicts the reference by polarity or number, and a repeated sentence are
  supported by nothing and count in the length. A negator is a word: one that the reference has not costs a little.
- A frame that denies also cuts the rest: how far back it reaches is not always plain. So does the lack of any verb, or
  of words that bind others into sentences.
- *key_point_coverage* is the mean share of each key point's words that the answer has; none without key points. It is
  no part of the score. Where there is no reference, the key points stand in for it. The context is not read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from judges.reference.contradiction import contradiction
from judges.reference.text import Statement, content_words, plain, sentence_signs, statements
from judges.support.match import Sentence, best_matches, sentences, settings, shared_weight, total
from rlaif.types import JudgeIdentity, JudgeItem, Verdict

# A change of any rule here, or in another module of judges.support or judges.reference, gets a new number, and so a new
# judge_id.
ALGORITHM = "support-1"
WHOLE = 0.4  # weight of the texts as wholes beside their sentences
DENIED = 0.3  # factor on both measures for an answer in which a frame denies something
NO_VERB = 0.5  # factor on both for sentences on the point without any verb
BOUND = 0.15  # a smaller share of binding words in them cuts both in proportion, down to UNBOUND
UNBOUND = 0.1
SUPPORTED = 0.3  # a sentence this similar to one of the reference is called supported in the rationale

# A line that goes on in lower case is no new sentence; a list mark before it is layout.
_SAME_SENTENCE = re.compile(r"\n+[^\S\n]*(?:[-*+\u2022]|\d{1,2}[.)])?[^\S\n]*(?=[a-z])")


@dataclass(frozen=True, slots=True)
class _Key:
    """All that is known about the right answer of one question."""

    question: frozenset[str]
    units: tuple[Statement, ...]
    sentences: tuple[Sentence, ...]
    words: tuple[str, ...]  # those of `sentences`, in order
    points: tuple[frozenset[str], ...]
    about: frozenset[str]  # what the right answer says beside the question
    numbers: frozenset[str]


class SupportJudge:
    """Judges by the sentences that an answer and its reference share. Same item, same verdict, on every machine."""

    local: ClassVar[bool] = True
    chat: ClassVar[bool] = False

    @property
    def identity(self) -> JudgeIdentity:
        decoding = {"algorithm": ALGORITHM, "whole": WHOLE, "denied": DENIED, "bound": BOUND, **settings()}
        return JudgeIdentity("support", "", "none", "", decoding)

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order: "scored", or "failed" for an item with nothing to judge by."""
        judge_id = self.identity.judge_id
        return [_verdict(item, judge_id) for item in items]


def _verdict(item: JudgeItem, judge_id: str) -> Verdict:
    key = _key(item.question, item.reference, item.key_points)
    if not key.about:
        why = "nothing to judge by: there are no key points and no reference that says more than the question"
        return Verdict(item.candidate_id, judge_id, item.replicate, "failed", reason=why)
    said = statements(_lines_joined(item.answer), key.about)
    if all(s.content <= key.question for s in said):
        coverage = 0.0 if key.points else None
        why = "says nothing on the question"
        return Verdict(
            item.candidate_id, judge_id, item.replicate, "scored", 0.0, 0.0, 0.0, coverage, why, flags=("empty",)
        )
    kinds = ["denied" if s.denied else contradiction(s, key.units, key.question, key.numbers) for s in said]
    wrong = [(kind, s) for kind, s in zip(kinds, said, strict=True) if kind]
    mine = sentences(said, [s for _, s in wrong])
    stands, cut = _stands(item.answer, said, key)
    precision, recall, best = _overlap(mine, key, stands)
    score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    flags = sorted({kind for kind, _ in wrong} | ({"repetition"} if any(s.repeats for s in mine) else set())) + cut
    notes = _notes(mine, wrong, cut)
    found = _found(mine, best, precision, recall)
    return Verdict(
        item.candidate_id, judge_id, item.replicate, "scored", round(score, 6), round(precision, 6), round(recall, 6),
        _coverage(mine, key, stands), "; ".join([found, *notes]), flags=tuple(flags),
    )  # fmt: skip


@lru_cache(maxsize=256)
def _key(question: str, reference: str, key_points: tuple[str, ...]) -> _Key:
    asked = frozenset(content_words(plain(question)))
    told = statements(_lines_joined(reference if content_words(plain(reference)) else "\n".join(key_points)))
    pointed = tuple(s for point in key_points for s in statements(point))
    points = tuple(frozenset(words) for point in key_points if (words := content_words(plain(point))))
    right = sentences(told)
    known = frozenset().union(*points, *(s.content for s in told))
    return _Key(
        question=asked,
        units=pointed + told,
        sentences=tuple(right),
        words=tuple(word for s in right for word in s.words),
        points=points,
        about=known - asked,
        numbers=frozenset(w for w in known | asked if w[0].isdigit()),
    )


def _lines_joined(text: str) -> str:
    return _SAME_SENTENCE.sub(" ", text)


def _overlap(mine: Sequence[Sentence], key: _Key, stands: float) -> tuple[float, float, list[float]]:
    """Precision, recall (0-1), and the similarity of each of `mine` to the sentence of the reference most like it."""
    best, best_of_theirs = best_matches(mine, key.sentences)
    shared = shared_weight((word for s in mine for word in s.kept), key.words)
    measures = []
    for texts, similarities in ((mine, best), (key.sentences, best_of_theirs)):
        weights = [s.weight for s in texts]
        by_sentence = sum(w * b for w, b in zip(weights, similarities, strict=True))
        measures.append(stands * (WHOLE * shared + (1 - WHOLE) * by_sentence) / sum(weights))
    return measures[0], measures[1], best


def _stands(answer: str, said: Sequence[Statement], key: _Key) -> tuple[float, list[str]]:
    """How far the answer says what its words name (a factor, 0-1), and the flag "no_sentence" where it hardly does."""
    verb, binding = sentence_signs(answer, key.about)
    sentence = (1.0 if verb else NO_VERB) * min(1.0, max(UNBOUND, binding / BOUND))
    denied = DENIED if any(s.denied for s in said) else 1.0
    return denied * sentence, ["no_sentence"] if sentence < 1.0 else []


def _coverage(mine: Sequence[Sentence], key: _Key, stands: float) -> float | None:
    if not key.points:
        return None
    named = {word for s in mine for word in s.kept}
    return round(stands * sum(total(point & named) / total(point) for point in key.points) / len(key.points), 6)


def _found(mine: Sequence[Sentence], best: Sequence[float], precision: float, recall: float) -> str:
    supported = [(b, s.text) for b, s in zip(best, mine, strict=True) if b >= SUPPORTED]
    text = f"{len(supported)} of {len(mine)} sentences supported"
    if supported:
        text += f" (best: '{_short(max(supported)[1])}')"
    return f"{text}; precision {precision:.2f}, recall {recall:.2f}"


def _notes(mine: Sequence[Sentence], wrong: Sequence[tuple[str, Statement]], cut: Sequence[str]) -> list[str]:
    notes = [f"contradicts ({kind}): '{_short(s.text)}'" for kind, s in wrong[:2]]
    if repeats := sum(s.repeats for s in mine):
        notes.append(f"repeats itself in {repeats} {'sentence' if repeats == 1 else 'sentences'}")
    return notes + (["key words without a sentence"] if cut else [])


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
