"""How far a promoted gain is too high because only high ones are promoted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import scipy


@dataclass(frozen=True, slots=True)
class Estimate:
    """A promoted gain (`row` of `gates`), the least that could have been promoted, and the gain that it stands for."""

    row: Mapping[str, Any]
    least: float
    true: float


def least_promoted(row: Mapping[str, Any], share: float) -> tuple[float, float]:
    """The least gain that this row of `gates` (condition `better`) could have been promoted with, and its standard
    error, by a normal approximation: above the least gain worth having, and significant at `share` of the look's alpha.
    """
    half = (row["ci_high"] - row["ci_low"]) / 2
    error = half / float(scipy.stats.t.ppf(0.975, max(row["n_clusters"] - 1, 1)))
    return max(row["threshold"], float(scipy.stats.norm.isf(row["alpha"] * share)) * error), error


def unselected(gain: float, least: float, error: float) -> float:
    """The true gain under which promoted ones are `gain` on average, if gains below `least` are not promoted.

    It is the conditional maximum-likelihood estimate of Zhong and Prentice (2008, Biostatistics 9(4)): the root m of
    m + error * phi(z) / (1 - Phi(z)) = gain with z = (least - m) / error. Never below 0, and `gain` itself where
    `error` is 0.
    """
    if error <= 0:
        return gain
    normal = scipy.stats.norm

    def mean_of_promoted(m: float) -> float:
        z = (least - m) / error
        # Far out, density and tail both vanish, and their ratio is z + 1/z.
        return m + error * (z + 1 / z if z > 30 else float(normal.pdf(z) / normal.sf(z)))

    if mean_of_promoted(0.0) >= gain:
        return 0.0
    return float(scipy.optimize.brentq(lambda m: mean_of_promoted(m) - gain, 0.0, gain))


def promoted_for(action: str, evidence: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Estimate]:
    """What each gain that a look promoted on may be worth; none where it did not promote. `rows`: those of `gates`."""
    if action != "PROMOTE":
        return []
    shares = evidence.get("alpha_shares", {})
    found = []
    for row in rows:
        if row["condition"] == "better" and row["passed"] and row["alpha"]:
            least, error = least_promoted(row, shares.get(row["metric"]) or 0.5)
            found.append(Estimate(row, least, unselected(row["delta"], least, error)))
    return found
