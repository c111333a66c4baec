"""The reference judge: scores an answer by what it shares with the reference and the key points. No LLM, offline, fast.

It reads words, not meaning: use it to label the embedded data and as a floor for other judges. Its rules:

- *key points*: those given, else the first clauses of the reference. A point is named as far as its words stand near
  each other in the answer, in any order and inflection.
- *key_point_coverage*: the mean over the points of a ramp that is 0 at a quarter of the words and 1 at three quarters.
- *completeness*: the mean share of each point's words; without given points, also the share of the reference's words.
- *factual_accuracy*: the mean support of the answer's statements, weighted by length. Key points and the reference
  support fully, an untitled part of the context by half, the context's other sections not at all. Contradictions
  (opposite polarity, a changed number, a frame that denies them: judges.reference.frames) and repetition cut it.
- *score*: 0.5 factual_accuracy + 0.25 completeness + 0.25 key_point_coverage. Another subject put in the place of the
  question's cuts all three; so does the lack of any sentence, and of any but one word of the right answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from judges.reference.contradiction import contradiction
from judges.reference.text import Statement, by_chance, content_words, held_together, plain, statements
from rlaif.types import JudgeIdentity, JudgeItem, Verdict

# A change of any rule here, or in another module of judges.reference, gets a new number, and so a new judge_id.
ALGORITHM = "reference-3"
WEIGHTS = {"factual_accuracy": 0.5, "completeness": 0.25, "key_point_coverage": 0.25}
DERIVED_POINTS = 8
CONTRADICTION = 0.5  # factor on factual accuracy for each contradicted statement, never below CONTRADICTION_FLOOR
CONTRADICTION_FLOOR = 0.2
# Factors on accuracy, and on the other two, when every naming of the subject is another subject.
WRONG_FOCUS = (0.3, 0.5)
# Factors on all three for key words that no sentence holds together: no verb among them; hardly a word that binds.
NO_VERB, UNBOUND = 0.5, 0.3
CHANCE = (
    0.3  # factor on all three for an answer that has a single word of the right one, among others: it may be chance
)
ENOUGH = 0.7  # a statement with this share of its words on the point is fully supported
FREE_REPEATS = 0.1  # a little repetition, as in a heading and its sentence, costs nothing
SHARED_WORD = 0.4  # weight of a point's word that other points of the question, or the question, also have

_SLOT = re.compile(
    r"(?:^|[.\n]\s*)(?:the )?(?:risk|chance) of ([a-z0-9' -]{2,60}?)(?=\s+(?:is|can|may|rises|goes|grows|falls)\b)"
    r"|\b(?:symptoms?|signs?|causes?|treatments?|tests?|prevention|effects?|interactions?|uses?|care|outlook|diagnosis"
    r"|people|patients|someone|those)\s+(?:of|for|with|against)\s+([a-z0-9' -]{2,60}?)"
    r"(?=\s+(?:are|is|was|were|include|includes|may|can|could|might|needs?|have|has|happens?|comes?"
    r"|which|that|who|in|with|will|often|usually)\b|[.,;:!?()\n]|$)"
    r"|\b(?:find|diagnose|treat|prevent|prescribe|taking|avoid)\s+([a-z0-9' -]{2,60}?)"
    r"(?=,|\s+(?:for|well|doctors|can|is|are)\b)"
    r"|(?:^|[.\n]\s*)([a-z0-9' -]{2,60}?)\s+(?=is (?:a|an|the|caused|treated|diagnosed|prevented|used|inherited)\b)"
)


@dataclass(frozen=True, slots=True)
class _Point:
    text: str
    weights: dict[str, float]  # content word -> weight


@dataclass(frozen=True, slots=True)
class _Key:
    """All that is known about the right answer of one question."""

    question: frozenset[str]
    points: tuple[_Point, ...]
    given: bool  # the key points were given, not derived
    units: tuple[Statement, ...]  # full support
    aside: tuple[frozenset[str], ...]  # half support
    words: frozenset[str]  # every word of `units`
    known: frozenset[str]  # every word of everything above and the context
    numbers: frozenset[str]


class ReferenceJudge:
    """Judges by overlap with reference, key points and context. Same item, same verdict, on every machine."""

    local: ClassVar[bool] = True
    chat: ClassVar[bool] = False

    @property
    def identity(self) -> JudgeIdentity:
        return JudgeIdentity("reference", "", "none", "", {"algorithm": ALGORITHM, "weights": WEIGHTS})

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order: "scored", or "failed" for an item with nothing to judge by."""
        judge_id = self.identity.judge_id
        return [_verdict(item, judge_id) for item in items]


def _verdict(item: JudgeItem, judge_id: str) -> Verdict:
    key = _key(item.question, item.reference, item.key_points, item.context)
    if not key.points:
        why = "nothing to judge by: there are no key points and no reference that says more than the question"
        return Verdict(item.candidate_id, judge_id, item.replicate, "failed", reason=why)
    about = key.words - key.question
    said = statements(item.answer, about)
    given = [s for s in said if not s.content <= key.question]
    flags: list[str] = []
    factual, notes = _factual(given, key, flags)
    other, elsewhere = _other_focus(item.answer, key)
    if elsewhere:
        flags.append("focus")
        notes.append(f"about another subject: '{_short(other)}'")
    factual *= 1.0 - (1.0 - WRONG_FOCUS[0]) * elsewhere
    # An echo names nothing, and what is denied from outside neither.
    clear = [
        w
        for s in said
        if given and not s.denied and not contradiction(s, key.units, key.question, key.numbers)
        for w in s.words
    ]
    shares = [_share(point, clear) for point in key.points]
    named = [_ramp(share) for share in shares]
    at_home = 1.0 - (1.0 - WRONG_FOCUS[1]) * elsewhere
    verb, bound = held_together(item.answer, about) if given else (True, True)
    if not (verb and bound):
        flags.append("no_sentence")
        notes.append("key words without a sentence")
        stated = (1.0 if verb else NO_VERB) * (1.0 if bound else UNBOUND)
        factual *= stated
        at_home *= stated
    if by_chance(item.answer, about):
        notes.append("a single word of the right answer")
        factual *= CHANCE
        at_home *= CHANCE
    coverage = at_home * sum(named) / len(named)
    complete = sum(shares) / len(shares)
    if not key.given:
        complete = (complete + _recall(key, clear)) / 2
    complete *= at_home
    score = (
        WEIGHTS["factual_accuracy"] * factual
        + WEIGHTS["completeness"] * complete
        + WEIGHTS["key_point_coverage"] * coverage
    )
    return Verdict(
        item.candidate_id, judge_id, item.replicate, "scored", round(score, 6), round(factual, 6), round(complete, 6),
        round(coverage, 6), _rationale(key, named, notes), flags=tuple(flags),
    )  # fmt: skip


@lru_cache(maxsize=256)
def _key(question: str, reference: str, key_points: tuple[str, ...], context: str) -> _Key:
    asked = frozenset(content_words(plain(question)))
    told = statements(reference)
    given = tuple(p for p in key_points if content_words(plain(p)))
    texts = given or tuple(s.text for s in told if not s.content <= asked)[:DERIVED_POINTS]
    sets = [frozenset(content_words(plain(t))) for t in texts]
    points = tuple(
        _Point(t, {w: SHARED_WORD if w in asked or sum(w in s for s in sets) > 1 else 1.0 for w in sorted(words)})
        for t, words in zip(texts, sets, strict=True)
    )
    pointed = frozenset().union(*sets)
    # With key points given, a clause of the reference that touches none of them is an aside: true, but not the answer.
    on_point = [s for s in told if not given or s.content & pointed]
    aside = [s.content for s in told if s not in on_point]
    for line in context.split("\n"):
        title, colon, _ = line.partition(":")
        if colon and len(title.split()) <= 4:
            continue  # a titled section: the asked one is in the key points already, the others answer other questions
        aside += [s.content for s in statements(line)]
    units = tuple(s for t in given for s in statements(t)) + tuple(on_point)
    words = frozenset().union(*(u.content for u in units)) | pointed
    known = words | asked | frozenset(content_words(plain(context))) | frozenset().union(*aside)
    numbers = frozenset(w for w in known if w[0].isdigit())
    return _Key(asked, points, bool(given), units, tuple(aside), words, known, numbers)


def _ramp(share: float) -> float:
    return min(1.0, max(0.0, (share - 0.25) / 0.5))


def _share(point: _Point, words: Sequence[str]) -> float:
    """The largest weighted share of the point's words within one window of the answer's content words."""
    pairs = {words[i] + words[i + 1]: i for i in range(len(words) - 1)}  # "heads may ache" names "headache"
    places = sorted(
        [(i, w) for i, w in enumerate(words) if w in point.weights]
        + [(pairs[w], w) for w in point.weights if w in pairs]
    )
    width = 2 * len(point.weights) + 3
    best = 0.0
    for start, (first, _) in enumerate(places):
        inside: set[str] = set()
        for at, word in places[start : start + 4 * width]:
            if at >= first + width:
                break
            inside.add(word)
        best = max(best, math.fsum(point.weights[w] for w in inside))  # exact, so in any order
        if len(inside) == len(point.weights):
            break
    return best / sum(point.weights.values())


def _recall(key: _Key, words: Sequence[str]) -> float:
    wanted = key.words - key.question
    return len(wanted & set(words)) / len(wanted) if wanted else 0.0


def _support(statement: Statement, key: _Key) -> tuple[float, bool]:
    """How far the statement is supported (0-1), and whether by the point of the question (True) or only by an aside."""
    content = statement.content - key.question
    joined = frozenset(a + b for a, b in zip(statement.words, statement.words[1:], strict=False))
    extra = len(joined & key.words)
    anywhere = (len(content & key.words) + 2 * extra) / len(content)
    together = max((len(content & u.content) + 2 * len(joined & u.content) for u in key.units), default=0) / len(
        content
    )
    support = min(1.0, (anywhere + together) / 2 / ENOUGH)
    beside = max((len(content & a) for a in key.aside), default=0) / len(content)
    if beside > 0.5 and beside / 2 > support:
        return beside / 2, False
    return support, True


def _factual(given: Sequence[Statement], key: _Key, flags: list[str]) -> tuple[float, list[str]]:
    """Factual accuracy (0-1) and what to say about it; adds to `flags`."""
    if not given:
        flags.append("empty")
        return 0.0, ["says nothing on the question"]
    on: list[tuple[float, float]] = []  # (weight, support)
    asides: list[tuple[float, float]] = []
    waste = 0.0
    wrong: list[tuple[str, str]] = []
    unsupported: list[str] = []
    seen: list[frozenset[str]] = []
    for s in given:
        content = s.content - key.question
        weight = float(min(len(content), 8))
        if any(content <= old for old in seen):
            waste += weight / 2  # said before: no credit, and some of the room for statements is gone
            continue
        seen.append(content)
        kind = contradiction(s, key.units, key.question, key.numbers)
        if kind:
            wrong.append((kind, s.text))
            on.append((weight, 0.0))
            continue
        support, direct = (0.0, True) if s.denied else _support(s, key)
        (on if direct else asides).append((weight, support))
        if support < 0.34:
            unsupported.append(s.text)
    total = sum(w for w, _ in on)
    mean = sum(w * s for w, s in on) / total if total else 0.0
    beside = sum(w * min(s, mean) for w, s in asides)  # an aside never raises what the answer itself earns
    room = total + sum(w for w, _ in asides) + max(0.0, waste - FREE_REPEATS * total)
    factual = (mean * total + beside) / room if room else 0.0
    notes = []
    if waste > total / 2:
        flags.append("repetition")
        notes.append("repeats itself")
    if unsupported:
        many = "statement" if len(unsupported) == 1 else "statements"
        notes.append(f"{len(unsupported)} {many} unsupported: '{_short(unsupported[0])}'")
    for kind, text in wrong[:2]:
        notes.append(f"contradicts ({kind}): '{_short(text)}'")
    flags += sorted({kind for kind, _ in wrong})
    factual *= max(CONTRADICTION_FLOOR, CONTRADICTION ** len(wrong))
    return factual, notes


def _other_focus(answer: str, key: _Key) -> tuple[str, float]:
    """A subject other than the question's, named where the subject belongs, and its share of all such places."""
    other, right, wrong = "", 0, 0
    for found in _SLOT.finditer(plain(answer)):
        text = next(g for g in found.groups() if g is not None)
        words = set(content_words(text))
        if words & key.question:
            right += 1
        elif words and not words & key.known:
            wrong += 1
            other = other or text
    return other, wrong / (wrong + right) if wrong else 0.0


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _rationale(key: _Key, named: Sequence[float], notes: Sequence[str]) -> str:
    missing = [_short(p.text) for p, n in zip(key.points, named, strict=True) if n < 0.5]
    text = f"{len(named) - len(missing)} of {len(named)} key points"
    if missing:
        text += f" (missing: {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''})"
    return "; ".join([text, *notes])
