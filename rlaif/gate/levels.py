"""How a look's alpha is shared between the two tests of `better`, accuracy and the score. Pure.

A promotion that is an error is one of a challenger that is no better than its champion on either metric. Two rules keep
the probability of any such error in a run at alpha_sft + alpha_dpo and lose less of it than halves would.

*Within a look* (:func:`shared`). A test whose least attainable p-value is above alpha / 2 cannot promote at its half
whatever the answers are, so it takes no share, and the other test has the whole alpha (Tarone 1990, A modified
Bonferroni method for discrete data, Biometrics 46). Otherwise Holm's step-down (1979) holds. The least p-value is 2^-g
with g the number of groups in which the two policies differ on any item: the test that swaps the policies within groups
has 2^g outcomes at most. g does not depend on the direction of any difference, for accuracy it is counted from the
discordant items alone: it stays the same when the policies change places in any of the groups. Given g, and the size of
every difference without its sign, both p-values keep their level, and so does any split of alpha that g decides.

*Over the looks of a run* (:class:`Look`, in `decide`). A look that promotes hands its alpha on to the next one (online
fallback: Tian and Ramdas 2021, Online control of the familywise error rate, arXiv 1910.04900; Wiens and Dmitrienko
2005). Until the first false promotion, the alpha of a look without a gain is its own and that of the promotions right
before it, which were true. No look's own alpha is counted twice, so the sum over looks without a gain, which bounds the
probability of a false promotion, is at most the sum of all looks' own: alpha_sft + alpha_dpo.

A run with labels alone or free text alone has one test, and that has the whole alpha (:func:`alone`).

A claim on the *second* metric of a look that promotes on the first one is held to the look's alpha by Holm, and not to
the run's. No promotion hangs on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rlaif import stats
from rlaif.types import UsageError


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the two tests: its p-value, and the least one that its items could have given whatever the direction."""

    p_value: float
    least_p: float


@dataclass(frozen=True, slots=True)
class Level:
    """`share` of the look's alpha (1, 1/2 or 0); the test passes where `p_adjusted` is at most the look's alpha."""

    share: float
    p_adjusted: float


def alone(arm: Arm) -> Level:
    """The level of a test that no other one stands beside: all of the look's alpha."""
    return Level(1.0, max(arm.p_value, arm.least_p))


def alpha_for_look(kind: Literal["sft", "dpo"], look: int, *, sft: float = 0.01, dpo: float = 0.04) -> float:
    """The level of one look: `sft` for the only SFT look, dpo * 6 / (pi^2 look^2) for DPO look 1, 2, ...

    The squares' reciprocals sum to pi^2 / 6, so by the union bound all looks together spend sft + dpo (0.05).
    Raises UsageError for a look below 1, a second SFT look (its level is spent) or an unknown kind.
    """
    if look < 1 or kind not in ("sft", "dpo") or (kind == "sft" and look != 1):
        raise UsageError(
            f"no alpha is set aside for look {look} of kind {kind!r}: sft has look 1 only, dpo has 1, 2, ..."
        )
    return sft if kind == "sft" else dpo * 6 / (math.pi**2 * look**2)


def least_p(
    champion: Sequence[float] | stats.Floats,
    challenger: Sequence[float] | stats.Floats,
    groups: Sequence[str] | npt.NDArray[np.intp],
) -> float:
    """2^-g: g is the number of groups with an item on which the two differ. Sequences of (n,); 1 without any."""
    differ = np.abs(np.asarray(challenger, dtype=float) - np.asarray(champion, dtype=float)) > 1e-12
    return float(2.0 ** -len(set(np.asarray(groups)[differ].tolist())))


def shared(accuracy: Arm, score: Arm, alpha: float) -> tuple[Level, Level]:
    """The level of each test at a look with `alpha`, in the order given: see the top of this module.

    A p-value below its test's least one, which resampling can give by chance, counts as that one. The test that has the
    whole alpha is the one with the smaller least p-value, accuracy where they are equal.
    """
    p = [max(arm.p_value, arm.least_p) for arm in (accuracy, score)]
    if max(accuracy.least_p, score.least_p) <= alpha / 2:
        first, second = stats.holm(p)
        return Level(0.5, first), Level(0.5, second)
    # The other test comes second: it may still pass where the first has (closed testing; Marcus et al. 1976).
    if accuracy.least_p <= score.least_p:
        return Level(1.0, p[0]), Level(0.0, max(p))
    return Level(0.0, max(p)), Level(1.0, p[1])
