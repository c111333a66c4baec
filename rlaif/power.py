"""Power of the gate's tests: what could have been found on so many items, how many items would settle it, and how far a
promoted gain is too high because only high ones are promoted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from rlaif.types import RlaifError


def mcnemar_power(n: int, discordance: float, gain: float, alpha: float) -> float:
    """Power of `stats.mcnemar_exact` at level `alpha`, when truly P(b) + P(c) = discordance and P(b) - P(c) = gain.

    Exact, no approximation: sums the conditional power given m discordant items over m ~ Binomial(n, discordance)
    (Duffy 1984, Biometrics 40). Raises RlaifError unless |gain| <= discordance <= 1 and n >= 1.
    """
    if not (abs(gain) <= discordance <= 1 and n >= 1):
        raise RlaifError(f"no such design: n {n}, discordance {discordance}, gain {gain} (|gain| <= discordance <= 1)")
    if discordance == 0:
        return 0.0
    m, binom = np.arange(n + 1), scipy.stats.binom
    given_m = binom.sf(_critical(n, alpha) - 1, m, (discordance + gain) / (2 * discordance))
    return float(np.sum(binom.pmf(m, n, discordance) * given_m))


@lru_cache(maxsize=16)
def _critical(n: int, alpha: float) -> npt.NDArray[np.float64]:
    """For m = 0, ..., n discordant items the least b with P(B >= b) <= alpha; m + 1 where none is."""
    return np.asarray(scipy.stats.binom.isf(alpha, np.arange(n + 1), 0.5) + 1)


def mcnemar_mde(n: int, discordance: float, alpha: float, power: float = 0.8) -> float | None:
    """The least true gain that :func:`mcnemar_power` finds with `power`, to 1e-4; None where no possible gain is."""
    if mcnemar_power(n, discordance, discordance, alpha) < power:
        return None
    low, high = 0.0, discordance
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if mcnemar_power(n, discordance, middle, alpha) >= power else (middle, high)
    return float(high)


def mean_mde(standard_error: float, n_clusters: int, alpha: float, power: float = 0.8) -> float:
    """The least true difference of paired means found with `power` by a one-sided test at `alpha`.

    (t_alpha + t_power) * standard error, Student's t with n_clusters - 1 degrees of freedom (Bloom 1995).
    """
    t = scipy.stats.t(n_clusters - 1)
    return float((t.isf(alpha) + t.isf(1 - power)) * standard_error)


def mean_power(standard_error: float, gain: float, alpha: float) -> float:
    """Power of a one-sided test of a paired mean at `alpha` for a true `gain`; normal approximation, error above 0."""
    return float(scipy.stats.norm.sf(scipy.stats.norm.isf(alpha) - gain / standard_error))


def items_needed(n: int, standard_error: float, effect: float, alpha: float, power: float = 0.8) -> int:
    """How many items find a true `effect` > 0 with `power` at one-sided `alpha`, if `n` items gave this standard error.

    Normal approximation: the error falls with the square root of the items, their groups staying of the same size.
    """
    z = float(scipy.stats.norm.isf(alpha) + scipy.stats.norm.isf(1 - power))
    return max(1, math.ceil(n * (z * standard_error / effect) ** 2))


def labels_needed(
    spread: float,
    correlation: float,
    judge_error: float,
    differ: int,
    n: int,
    effect: float,
    alpha: float,
    power: float = 0.8,
) -> int | None:
    """How many labels, on `differ` of `n` items whose answers differ, find a true mean gain `effect` over the n items.

    With power `power` at one-sided `alpha`, where the labels' differences have the standard deviation `spread` over
    items that differ and that `correlation` with the judge's, whose own mean over the n items has `judge_error`, in the
    labels' units and with groups. Normal approximation of PPI++ at its best lambda: the variance is that of the judge's
    part, correlation^2 * judge_error^2, and of what the judge does not explain,
    (differ / n)^2 * spread^2 * (1 - correlation^2) / labels. None where even a label on each would not be enough.
    """
    z = float(scipy.stats.norm.isf(alpha) + scipy.stats.norm.isf(1 - power))
    rest = (effect / z) ** 2 - (correlation * judge_error) ** 2
    left_over = (differ / n) ** 2 * spread**2 * (1 - correlation**2)
    if rest <= 0 or left_over / rest > differ:
        return None
    return max(1, math.ceil(left_over / rest))


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
