"""How far two judges agree, as small pure functions on scores in 0-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

POINTS = 5  # of the scale that scores are binned to
Floats = npt.NDArray[np.float64]


def bins(scores: Sequence[float] | Floats) -> npt.NDArray[np.int64]:
    """Scores (n,) in 0-1 on the five-point scale 1..5: 1 + 4 s, halves rounded up."""
    return np.floor(1 + (POINTS - 1) * np.asarray(scores, dtype=np.float64) + 0.5 + 1e-9).astype(np.int64)


def quadratic_kappa(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Cohen's kappa of scores (n,) binned to five points: 1 is full agreement, 0 what chance gives.

    Disagreements are weighted by their squared distance (Cohen 1968, Psychological Bulletin 70(4), 213-220). None where
    chance leaves nothing to disagree on: no scores, or all of both judges in one bin.
    """
    x, y = bins(a), bins(b)
    if not len(x):
        return None
    expected = x.var() + y.var() + (x.mean() - y.mean()) ** 2  # the mean of (x_i - y_j)^2 over all i, j
    return float(1 - ((x - y) ** 2).mean() / expected) if expected else None


def spearman(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float | None:
    """Spearman's rank correlation of scores (n,); None where one judge gives everything the same score."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(scipy.stats.spearmanr(a, b).statistic)


def length_slope(scores: Sequence[float] | Floats, tokens: Sequence[int], questions: Sequence[Any]) -> float | None:
    """By how much the score (n,) rises with 100 more tokens (n,) among the answers to one question.

    It is the least-squares slope within questions (n,), a fixed-effects regression. None where no question has answers
    of two lengths.
    """
    y, x = np.asarray(scores, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    if not len(x):
        return None
    _, group = np.unique([str(q) for q in questions], return_inverse=True)
    count = np.bincount(group)
    x = x - (np.bincount(group, x) / count)[group]
    y = y - (np.bincount(group, y) / count)[group]
    spread = float((x**2).sum())
    return float(100 * (x * y).sum() / spread) if spread > 1e-9 else None


@dataclass(frozen=True, slots=True)
class Flips:
    """Of one judge's best-against-worst pairs: how many there are, and what the other judge makes of them."""

    pairs: int
    flipped: int
    tied: int

    @property
    def share(self) -> float | None:
        return self.flipped / self.pairs if self.pairs else None


def flips(first: Mapping[str, float], second: Mapping[str, float], questions: Mapping[Any, Sequence[str]]) -> Flips:
    """What the second judge makes of the first one's best-against-worst pairs.

    `first`, `second`: candidate_id -> score; `questions`: the candidates of each question, both judges' scores known.
    Best and worst are the first judge's (ties by position); where it tells none apart there is no pair. The pair flips
    when the second judge gives the worst answer the higher score.
    """
    pairs = flipped = tied = 0
    for members in questions.values():
        best = max(members, key=lambda c: first[c])
        worst = min(members, key=lambda c: first[c])
        if first[best] <= first[worst]:
            continue
        pairs += 1
        flipped += second[best] < second[worst]
        tied += second[best] == second[worst]
    return Flips(pairs, flipped, tied)
