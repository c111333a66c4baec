"""About how many items would settle what a look left open. Pure."""

from __future__ import annotations

from statistics import NormalDist

from rlaif import power, stats
from rlaif.config import GateConfig
from rlaif.gate.conditions import POWER, ROUNDING, Measured

LIKELY = NormalDist().inv_cdf(0.9)  # ends of an 80% interval, in standard errors
FAR = 20  # a range that goes beyond so many times the items at hand says nothing

Items = tuple[int, int | None]


def items_to_settle(
    m: Measured, better: bool, open_bounds: list[str], next_alpha: float, settings: GateConfig
) -> Items | None:
    """From how many to how many items decide, with 80% power, at the look that comes next with `next_alpha`.

    The spread and the size of groups stay as they are. The two ends take the difference at the two ends of its 80%
    interval, because the one seen is itself only an estimate.

    For a gain: that a true one, or the least worth having where that is larger, is found, on the cheaper of the metrics
    that have a gain and may still have one worth having. The next look's alpha is shared as these items say; a test
    without a share counts with half of it. For each open bound: that it clears the margin if the true difference is the
    one seen. The largest of these is returned, with two digits. (twice the items, None) means: more than that. None
    where there is no gain, where a loss seen is beyond its margin, and where the range is too wide to say anything.
    """
    ranges: list[tuple[float, float, int]] = []  # items at the two ends of the interval, items at hand
    if not better:
        levels = m.levels(next_alpha)
        gains = [
            _range(e, 0.0, gain, next_alpha * (levels[metric].share or 0.5))
            for metric, _, e, gain in m.gains(settings)
            if e.standard_error > 0 and e.delta > 0 and e.upper >= gain - ROUNDING
        ]
        if not gains:
            return None
        ranges.append(min(gains))
    for metric, _, estimate, margin in m.bounded(settings):
        if metric not in open_bounds:
            continue
        if estimate.delta <= -margin:
            return None
        ranges.append(_range(estimate, margin, 0.0, 0.05))
    low, high, n = (max(ends) for ends in zip(*ranges, strict=True))
    if high <= FAR * n:
        return _two_digits(low), _two_digits(high)
    return (2 * int(n), None) if low > 2 * n else None


def _range(e: stats.PairedBootstrap, margin: float, least: float, alpha: float) -> tuple[float, float, int]:
    """Items that find the difference above -margin, at the upper and at the lower end of its interval."""
    ends = (max(e.delta + margin + side * LIKELY * e.standard_error, least) for side in (1, -1))
    low, high = (
        max(e.n + 1.0, power.items_needed(e.n, e.standard_error, end, alpha, POWER)) if end > 0 else float("inf")
        for end in ends
    )
    return low, high, e.n


def _two_digits(n: float) -> int:
    return int(round(n, 2 - len(str(round(n)))))
