"""A cheap judge's mean paired difference on all gate items, corrected by labels on a random part of them. Pure.

Prediction-powered inference with power tuning (PPI++: Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453). Y are the
labels' differences (challenger minus champion), f those of the judge, n of N items have labels. The estimate

    mean_n(Y) + lambda * (mean_N(f) - mean_n(f))

is right on average whatever the judge is worth, because both of its parts with f estimate the same. A good judge takes
away what the labels vary for the sake of the items drawn; with lambda = 0 the judge is not asked. Lambda is the one of
least variance, from the sums over groups of items, and never below 0.

Two things are this gate's own. Items on which both policies gave the same answer have a difference of 0 that nobody
needs to label, so labels are drawn among the others. And the labelled items are part of the N, so their judge's marks
count in both means (the paper's formula for two separate samples gives the same estimate, with lambda / (1 + n / N)).

The estimate is the mean of one number per item, its influence (:func:`corrected`). Whatever resamples groups or swaps
the policies within them can take these numbers in the place of the judge's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from rlaif import stats
from rlaif.evals.results import Paired
from rlaif.types import RlaifError

LEAST = 30  # labels below which the error of their mean, and lambda, are not known well enough to decide
Labels = Mapping[str, tuple[float, float]]  # item -> the champion's and the challenger's mark, 0-1


@dataclass(frozen=True, slots=True)
class Correction:
    """`gains`: (N,) numbers whose mean is the corrected difference. `alone`: the same from the labels without the
    judge. `n`: labels; `of`: items that differ; `weight`: lambda; `correlation` of the labels' and the judge's
    differences over the labelled items, None where one of them does not vary.
    """

    gains: stats.Floats
    alone: stats.Floats
    n: int
    of: int
    weight: float
    correlation: float | None


def differing(paired: Paired) -> list[str]:
    """The items whose two answers differ, by their ids, which are hashes: the first n are a random draw."""
    rows = zip(paired.item_ids, paired.champion_predictions, paired.challenger_predictions, strict=True)
    return sorted(item for item, a, b in rows if a != b)


def correct(paired: Paired, labels: Labels) -> tuple[Paired, Correction]:
    """`paired` with the challenger's values moved so that the mean difference is the corrected one.

    Labels of items that are not in `paired`, or whose answers are the same, are left out. RlaifError where fewer than
    two are left.
    """
    differ = set(differing(paired))
    of_item = [labels.get(item) if item in differ else None for item in paired.item_ids]
    gains = np.array([np.nan if label is None else label[1] - label[0] for label in of_item])
    judged = np.asarray(paired.challenger) - np.asarray(paired.champion)
    _, groups = np.unique(np.array(paired.groups), return_inverse=True)
    found = corrected(judged, gains, np.array([item in differ for item in paired.item_ids]), groups)
    return replace(paired, challenger=list(np.asarray(paired.champion) + found.gains)), found


def corrected(
    judged: stats.Floats, labelled: stats.Floats, differ: npt.NDArray[np.bool_], groups: npt.NDArray[np.intp]
) -> Correction:
    """From arrays (N,): the judge's differences, the labels' (NaN where there is none), which answers differ, and the
    group of each item as a number.

    Labels must be a random part of the items that differ.
    """
    has = differ & ~np.isnan(labelled)
    n, of = int(has.sum()), int(differ.sum())
    if n < 2:
        raise RlaifError(f"{n} labels cannot correct a judge: 2 are the least, and {LEAST} to decide")
    times = np.where(has, of / n, 0.0)  # how many items that differ a labelled one stands for
    label = np.where(has, labelled, 0.0)
    own, seen, whole = float(label[has].mean()), float(judged[has].mean()), float(judged[differ].mean())
    of_labels = times * (label - own)
    of_judge = np.where(differ, times * (judged - seen) - (judged - whole), 0.0)
    sums_labels, sums_judge = np.bincount(groups, of_labels), np.bincount(groups, of_judge)
    squares = float(sums_judge @ sums_judge)
    # With a label on each item nothing of the judge is left, but for rounding.
    weight = max(float(sums_labels @ sums_judge) / squares, 0.0) if n < of and squares > 1e-20 else 0.0
    mean = own + weight * (whole - seen)
    varies = np.std(label[has]) > 0 and np.std(judged[has]) > 0
    correlation = float(np.corrcoef(label[has], judged[has])[0, 1]) if varies else None
    # Each label draws the mean and lambda towards itself: without it, what is left over would be larger by so much
    # (leave-one-out residuals: HC3 of MacKinnon and White 1985, at the mean leverage).
    left_over = times * (label - own - weight * (judged - seen)) * n / max(n - 2, 1)
    return Correction(
        np.where(differ, mean + left_over + weight * (judged - whole), 0.0),
        np.where(differ, own + of_labels * n / (n - 1), 0.0),
        n,
        of,
        weight,
        correlation,
    )


def enough(n: int, of: int) -> bool:
    """May so many labels, of so many items that differ, decide?"""
    return n >= min(LEAST, of) and n >= 2


def estimate(paired: Paired, *, seed: int, resamples: int) -> stats.PairedBootstrap:
    """The gate's bootstrap of a corrected pair, with Student's interval in the place of its percentiles.

    A few labels stand for many items, and rare large differences decide the tails. The standard error is the one over
    groups; its degrees of freedom follow Satterthwaite (1946), 2 V^2 / var(V) with the variance of V estimated from the
    fourth powers of the groups' sums: groups - 1 where these are normal, fewer where some are far out.
    `benchmarks/gate_labels.py` says how often it holds the truth.
    """
    found = stats.bootstrap_mean(paired.champion, paired.challenger, paired.groups, seed=seed, resamples=resamples)
    _, groups = np.unique(np.array(paired.groups), return_inverse=True)
    gains = np.asarray(paired.challenger) - np.asarray(paired.champion)
    squares = np.bincount(groups, gains - found.delta) ** 2
    total, k = float(squares.sum()), found.n_clusters
    error = float(np.sqrt(total * k / (k - 1))) / found.n
    excess = float((squares**2).sum()) - total**2 / k
    t = scipy.stats.t(max(min(k - 1.0, 2 * total**2 / excess), 1.0) if excess > 0 else k - 1)
    half, bound = float(t.ppf(0.975)) * error, float(t.ppf(0.95)) * error
    return replace(
        found,
        ci_low=found.delta - half,
        ci_high=found.delta + half,
        lower=found.delta - bound,
        upper=found.delta + bound,
        standard_error=error,
    )
