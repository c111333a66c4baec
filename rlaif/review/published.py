"""How far a judge agrees with preferences that were published with a data set, and those preferences as pairs to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.data.ultramedical import Pair
from rlaif.types import Judge, JudgeItem


@dataclass(frozen=True, slots=True)
class Alignment:
    """Counts over pairs: the judge scored the chosen answer higher, lower, or both alike; `unscored` where a verdict is missing."""

    kind: str
    agree: int
    disagree: int
    tie: int
    unscored: int

    @property
    def share(self) -> float | None:
        """Pairs judged as published among the scored ones, a tie half; None where none was scored."""
        n = self.agree + self.disagree + self.tie
        return (self.agree + self.tie / 2) / n if n else None


def alignment(judge: Judge, pairs: Sequence[Pair], references: dict[str, str] | None = None) -> list[Alignment]:
    """Agreement of `judge` with `pairs`: over all of them (kind "all", first), then by kind (easy, hard, length, human) where told.

    Each answer is judged on its own, as in the loop. `references` are reference answers by question; without one the judge sees none:
    a published chosen answer is never its own reference.
    """
    known = references or {}
    items = [
        JudgeItem(f"{pair.pair_id}.{side}", pair.question, answer, reference=known.get(pair.question, ""))
        for pair in pairs
        for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected))
    ]
    scores = {verdict.candidate_id: verdict.score for verdict in judge.score(items)}
    outcomes: dict[str, list[str]] = {"all": []}
    for pair in pairs:
        chosen, rejected = scores.get(f"{pair.pair_id}.chosen"), scores.get(f"{pair.pair_id}.rejected")
        if chosen is None or rejected is None:
            outcome = "unscored"
        else:
            outcome = "agree" if chosen > rejected else "disagree" if chosen < rejected else "tie"
        outcomes["all"].append(outcome)
        if pair.kind:
            outcomes.setdefault(pair.kind, []).append(outcome)
    return [Alignment(kind, *(found.count(o) for o in ("agree", "disagree", "tie", "unscored"))) for kind, found in outcomes.items()]
