"""Are the questions with a label read at all? A policy that answers without reading has an accuracy too. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import scipy

from rlaif.evals.results import Paired


@dataclass(frozen=True, slots=True)
class Reading:
    """`accuracy` of two policies together, and what answers as frequent as theirs reach `by_chance`, both in [0, 1].

    `lower`: the one-sided 95% lower bound of the difference of the two.
    """

    accuracy: float
    by_chance: float
    lower: float

    @property
    def shown(self) -> bool:
        return self.lower > 0

    @property
    def words(self) -> str:
        return (
            f"{self.accuracy:.3f} of both policies' labels are right, and labels as frequent as theirs reach "
            f"{self.by_chance:.3f} without the questions: that they are read is not shown (lower 95% bound of the "
            f"difference {self.lower:+.3f} <= 0)"
        )


def reading(paired: Paired) -> Reading:
    """Whether labels and right labels agree beyond chance: the numerator of Cohen's kappa (1960, Educational and
    Psychological Measurement 20), over the answers of both policies together.

    Its standard error is that of the linearised mean, over whole groups, of which `paired` has two at least. Which
    policy gave which answer makes no difference, so what hangs on it leaves the level of every test between the two.
    """
    labels = sorted({*paired.targets, *paired.champion_predictions, *paired.challenger_predictions})
    place = {label: i for i, label in enumerate(labels)}
    n = len(paired.targets)
    right, said = np.zeros((n, len(labels))), np.zeros((n, len(labels)))
    for i, target in enumerate(paired.targets):
        right[i, place[target]] = 1
        said[i, place[paired.champion_predictions[i]]] += 0.5
        said[i, place[paired.challenger_predictions[i]]] += 0.5
    share_right, share_said = right.mean(axis=0), said.mean(axis=0)
    hits, by_chance = (right * said).sum(axis=1), float(share_right @ share_said)
    change = hits - right @ share_said - said @ share_right
    sums: defaultdict[str, float] = defaultdict(float)
    for group, value in zip(paired.groups, change - change.mean(), strict=True):
        sums[group] += float(value)
    groups = len(sums)
    error = math.sqrt(groups / (groups - 1) * sum(value**2 for value in sums.values())) / n
    accuracy = float(hits.mean())
    lower = accuracy - by_chance - float(scipy.stats.t.ppf(0.95, groups - 1)) * error
    return Reading(accuracy, by_chance, lower)
