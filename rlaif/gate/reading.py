"""Are the questions with a label read at all? A policy that answers without reading has an accuracy too. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
from numpy.typing import ArrayLike

from rlaif.stats import Floats

ROUNDING = 1e-12  # answers that are all the same have a difference of 0 and no spread, up to rounding


@dataclass(frozen=True, slots=True)
class Reading:
    """`accuracy` of two policies together, and what answers as frequent as theirs reach `by_chance`, both in [0, 1].

    `lower`: the one-sided 95% lower bound of the difference of the two; `champion`: that bound of the champion alone.
    """

    accuracy: float
    by_chance: float
    lower: float
    champion: float

    @property
    def shown(self) -> bool:
        """Of both together, or of the champion alone: what it reads, a challenger could lose."""
        return max(self.lower, self.champion) > ROUNDING

    @property
    def words(self) -> str:
        return (
            f"{self.accuracy:.3f} of both policies' labels are right, and labels as frequent as theirs reach "
            f"{self.by_chance:.3f} without the questions: that they are read is not shown (lower 95% bound of the "
            f"difference {self.lower:+.3f} <= 0)"
        )


def reading(targets: ArrayLike, champion: ArrayLike, challenger: ArrayLike, groups: ArrayLike) -> Reading:
    """Whether the labels that two policies say agree with the right ones, `targets`, beyond chance: the numerator of
    Cohen's kappa (1960, Educational and Psychological Measurement 20), over the answers of both together.

    All have the shape (items,). The standard error is that of the linearised mean over whole groups; one group shows
    nothing. Which policy gave which answer makes no difference to the figure of both, so what hangs on it leaves the
    level of every test between the two. Where the champion alone is shown to read, the score has half of alpha instead
    of all, which promotes less.
    """
    labels, place = np.unique(np.stack([targets, champion, challenger]), return_inverse=True)
    right, one, other = np.eye(len(labels))[place].reshape(3, -1, len(labels))
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    return Reading(*_agreement(right, (one + other) / 2, group), _agreement(right, one, group)[2])


def _agreement(right: Floats, said: Floats, group: npt.NDArray[np.intp]) -> tuple[float, float, float]:
    """Accuracy, what it would be by chance, and the lower bound of their difference; (items, labels) each."""
    share_right, share_said = right.mean(axis=0), said.mean(axis=0)
    hits, by_chance = (right * said).sum(axis=1), float(share_right @ share_said)
    change = hits - right @ share_said - said @ share_right
    sums = np.bincount(group, weights=change - change.mean())
    accuracy = float(hits.mean())
    if len(sums) < 2:
        return accuracy, by_chance, -math.inf
    error = math.sqrt(len(sums) / (len(sums) - 1) * float(sums @ sums)) / len(hits)
    lower = accuracy - by_chance - float(scipy.stats.t.ppf(0.95, len(sums) - 1)) * error
    return accuracy, by_chance, lower
