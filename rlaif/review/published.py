"""How far a judge, or a policy, agrees with preferences that were published with a data set. Pure: no database, no
files.

A judge scores each answer on its own, as in the loop. A policy agrees where it gives the chosen answer more:
`likelihood` is its mean log-probability a token; `reward` is the summed log-probability beyond the base's, which is
what DPO learns as a reward (Rafailov et al. 2023, arXiv 2305.18290, equation 5, without its factor beta).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.data.ultramedical import Pair
from rlaif.types import Judge, JudgeItem

VALUE = {"agree": 1.0, "tie": 0.5, "disagree": 0.0}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pair as somebody sees it: higher is better; None where there is no score, and then `reason` says why."""

    pair: Pair
    chosen: float | None
    rejected: float | None
    reason: str = ""

    @property
    def word(self) -> Literal["agree", "disagree", "tie", "unscored"]:
        if self.chosen is None or self.rejected is None:
            return "unscored"
        return "agree" if self.chosen > self.rejected else "disagree" if self.chosen < self.rejected else "tie"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Counts over pairs: the chosen answer was seen as better, worse, or both alike; `unscored` where a score is
    missing.
    """

    kind: str
    agree: int
    disagree: int
    tie: int
    unscored: int

    @property
    def share(self) -> float | None:
        """Pairs seen as published among the scored ones, a tie half; None where none was scored."""
        n = self.agree + self.disagree + self.tie
        return (self.agree + self.tie / 2) / n if n else None


def judged(judge: Judge, pairs: Sequence[Pair], references: Mapping[str, str] | None = None) -> list[Outcome]:
    """The judge's scores (0-1) of both answers of each pair, in their order.

    `references` are reference answers by question; without one the judge sees none: a published chosen answer is never
    its own reference.
    """
    known = references or {}
    items = [
        JudgeItem(f"{pair.pair_id}.{side}", pair.question, answer, reference=known.get(pair.question, ""))
        for pair in pairs
        for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected))
    ]
    verdicts = judge.score(items)
    out = []
    for pair, chosen, rejected in zip(pairs, verdicts[::2], verdicts[1::2], strict=True):
        missing = [f"{v.status}: {v.reason}" for v in (chosen, rejected) if v.score is None]
        out.append(Outcome(pair, chosen.score, rejected.score, missing[0] if missing else ""))
    return out


def by_kind(outcomes: Sequence[Outcome]) -> list[Alignment]:
    """Counts over all pairs (kind "all", first), then by kind (easy, hard, length, human) where told."""
    words: dict[str, list[str]] = {"all": []}
    for outcome in outcomes:
        words["all"].append(outcome.word)
        if outcome.pair.kind:
            words.setdefault(outcome.pair.kind, []).append(outcome.word)
    return [
        Alignment(kind, *(found.count(o) for o in ("agree", "disagree", "tie", "unscored")))
        for kind, found in words.items()
    ]


def alignment(judge: Judge, pairs: Sequence[Pair], references: Mapping[str, str] | None = None) -> list[Alignment]:
    """Agreement of `judge` with `pairs`: :func:`judged`, counted as in :func:`by_kind`."""
    return by_kind(judged(judge, pairs, references))
