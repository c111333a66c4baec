from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rlaif.evals.results import MetricResults, pair
from rlaif.gate import ppi
from rlaif.types import RlaifError

N = 400
RNG = np.random.default_rng(5)
TRUE = RNG.normal(0.02, 0.2, N)
JUDGED = 0.5 * TRUE + RNG.normal(0.05, 0.05, N)  # of the right direction, on another scale, and too kind
DIFFER = np.arange(N) % 4 > 0
TRUE, JUDGED = TRUE * DIFFER, JUDGED * DIFFER
SINGLE = np.arange(N)


def labels(n: int, seed: int = 0) -> np.ndarray:
    found = np.full(N, np.nan)
    drawn = np.random.default_rng(seed).choice(np.flatnonzero(DIFFER), n, replace=False)
    found[drawn] = TRUE[drawn]
    return found


def test_the_estimate_is_that_of_the_paper() -> None:
    found = ppi.corrected(JUDGED, labels(100), DIFFER, SINGLE)
    has, rest = ~np.isnan(labels(100)), DIFFER & np.isnan(labels(100))
    # Eq. of the mean in PPI++: labels and judge on n items, the judge on the others, lambda = cov / ((1 + n/N) var).
    covariance = np.cov(TRUE[has], JUDGED[has], bias=True)[0, 1]
    paper_weight = found.weight * rest.sum() / DIFFER.sum()
    estimate = TRUE[has].mean() - paper_weight * (JUDGED[has].mean() - JUDGED[rest].mean())
    assert found.gains.mean() == pytest.approx(estimate * DIFFER.mean())
    assert paper_weight == pytest.approx(covariance / (1 + 100 / rest.sum()) / JUDGED[has].var(), rel=0.1)
    assert found.alone.mean() == pytest.approx(TRUE[has].mean() * DIFFER.mean())
    assert (found.n, found.of) == (100, 300) and found.correlation == pytest.approx(0.86, abs=0.01)


def test_a_judge_that_is_too_kind_is_corrected_and_a_good_one_narrows_the_interval() -> None:
    errors, alone = [], []
    for seed in range(200):
        found = ppi.corrected(JUDGED, labels(60, seed), DIFFER, SINGLE)
        errors.append(found.gains.mean() - TRUE.mean())
        alone.append(found.alone.mean() - TRUE.mean())
    assert abs(np.mean(errors)) < 0.15 * abs(JUDGED.mean() - TRUE.mean())
    assert np.std(errors) < 0.6 * np.std(alone)


def test_labels_of_every_item_leave_nothing_of_the_judge() -> None:
    found = ppi.corrected(JUDGED, TRUE, DIFFER, SINGLE)
    assert found.weight == 0 and found.gains.mean() == pytest.approx(TRUE.mean())


def test_a_judge_against_the_labels_and_one_that_says_nothing_have_no_weight() -> None:
    for judged in (-JUDGED, np.zeros(N)):
        found = ppi.corrected(judged, labels(100), DIFFER, SINGLE)
        assert found.weight == 0 and found.gains.mean() == pytest.approx(found.alone.mean())
    assert ppi.corrected(np.zeros(N), labels(100), DIFFER, SINGLE).correlation is None


def test_same_answers_have_no_difference_whatever_judge_and_labels_say() -> None:
    noisy = JUDGED + ~DIFFER * 0.3
    marked = np.where(DIFFER, labels(100), 0.7)
    found, quiet = (ppi.corrected(j, m, DIFFER, SINGLE) for j, m in ((noisy, marked), (JUDGED, labels(100))))
    assert found.gains == pytest.approx(quiet.gains) and not found.gains[~DIFFER].any()


def test_the_intervals_hold_in_groups() -> None:
    """300 populations of 40 topics in which judge and truth move together; 60 labels each."""
    rng, held = np.random.default_rng(1), []
    groups = np.repeat(np.arange(40), 8)
    for _ in range(300):
        true = rng.normal(0, 0.1, 40)[groups] + rng.normal(0.02, 0.2, 320)
        judged = true + rng.normal(0.1, 0.15, 320)
        drawn = rng.choice(320, 60, replace=False)
        says = [f"{i} before" for i in range(320)], [f"{i} after" for i in range(320)]
        paired = pair(side([0.0] * 320, says[0], groups), side(judged.tolist(), says[1], groups))
        marks = {f"q{i}": (0.0, true[i]) for i in drawn}
        found = ppi.estimate(ppi.correct(paired, marks)[0], seed=0, resamples=1000)
        held.append(found.ci_low <= 0.02 <= found.ci_high)
    assert 0.91 <= np.mean(held) <= 0.98


def side(values: list[float | None], says: list[str], groups: Sequence[object] | None = None) -> MetricResults:
    n = len(values)
    ids = tuple(f"q{i}" for i in range(n))
    topics = tuple(map(str, groups)) if groups is not None else ids
    status = tuple("scored" if v is not None else "failed" for v in values)
    return MetricResults("medquad", "quality", ids, tuple(values), tuple(says), ("",) * n, topics, status, "h", "d")


def test_pairs_are_corrected_by_item_and_unknown_ones_are_left_out() -> None:
    paired = pair(side([0.5, 0.5, 0.5, None], ["a", "b", "c", "d"]), side([0.6, 0.5, 0.9, 0.9], ["x", "b", "y", "z"]))
    assert ppi.differing(paired) == ["q0", "q2"]
    marks = {"q0": (0.0, 1.0), "q2": (1.0, 1.0), "q1": (0.0, 1.0), "q3": (0.0, 1.0), "else": (0.0, 1.0)}
    moved, found = ppi.correct(paired, marks)
    assert np.mean(np.subtract(moved.challenger, moved.champion)) == pytest.approx(1 / 3)
    assert moved.champion == paired.champion and (found.n, found.of) == (2, 2)
    with pytest.raises(RlaifError, match="2 are the least"):
        ppi.correct(paired, {"q0": (0.0, 1.0)})


def test_how_many_labels_may_decide() -> None:
    assert ppi.enough(30, 200) and not ppi.enough(29, 200)
    assert ppi.enough(12, 12) and not ppi.enough(11, 12) and not ppi.enough(1, 1)
