import math
from dataclasses import asdict

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif import power, stats
from rlaif.types import LABELS, RlaifError


def test_mcnemar_counts_and_exact_p():
    result = stats.mcnemar_exact([0] * 7 + [1] * 2 + [1] * 5 + [0], [1] * 7 + [0] * 2 + [1] * 5 + [0])
    assert (result.b, result.c) == (7, 2)
    assert result.p_value == pytest.approx((math.comb(9, 7) + math.comb(9, 8) + 1) / 2**9)


def test_mcnemar_without_discordant_items_has_p_one():
    assert stats.mcnemar_exact([1, 0], [1, 0]).p_value == 1.0


def test_mcnemar_refuses_values_that_are_not_right_or_wrong():
    with pytest.raises(RlaifError, match="neither 0 nor 1"):
        stats.mcnemar_exact([0.5], [1])


@pytest.mark.parametrize("bad", [([1.0], [1.0, 0.0]), ([math.nan], [1.0]), ([], [])])
def test_unpaired_or_unscored_values_are_refused(bad):
    with pytest.raises(RlaifError, match="paired values"):
        stats.bootstrap_mean(*bad, ["a"] * len(bad[0]), seed=0, resamples=10)


def test_one_group_cannot_be_resampled():
    with pytest.raises(RlaifError, match="two groups"):
        stats.bootstrap_mean([0.0, 1.0], [1.0, 1.0], ["a", "a"], seed=0, resamples=10)


def test_bootstrap_interval_agrees_with_the_t_interval_of_cluster_means():
    rng = np.random.default_rng(3)
    champion = rng.random(400)
    difference = rng.normal(0.02, 0.1, 400)
    result = stats.bootstrap_mean(champion, champion + difference, [str(i) for i in range(400)], seed=1)
    expected = scipy.stats.ttest_1samp(difference, 0)
    low, high = expected.confidence_interval(0.95)
    assert result.delta == pytest.approx(difference.mean())
    assert result.standard_error == pytest.approx(difference.std(ddof=1) / 20, rel=0.03)
    assert (result.ci_low, result.ci_high) == pytest.approx((low, high), abs=0.0007)
    assert result.lower == pytest.approx(expected.confidence_interval(0.90)[0], abs=0.0007)
    assert result.upper == pytest.approx(expected.confidence_interval(0.90)[1], abs=0.0007)


def test_bootstrap_p_agrees_with_the_t_test():
    rng = np.random.default_rng(5)
    difference = rng.normal(0.015, 0.1, 200)
    result = stats.bootstrap_mean(np.zeros(200), difference, [str(i) for i in range(200)], seed=1)
    assert result.p_value == pytest.approx(
        scipy.stats.ttest_1samp(difference, 0, alternative="greater").pvalue, abs=0.01
    )


def test_repeating_each_item_within_its_group_adds_no_certainty():
    rng = np.random.default_rng(0)
    x, y = rng.random(60), rng.random(60)
    groups = [str(i) for i in range(60)]
    once = stats.bootstrap_mean(x, y, groups, seed=2, resamples=500)
    many = stats.bootstrap_mean(np.tile(x, 5), np.tile(y, 5), groups * 5, seed=2, resamples=500)
    assert many.standard_error == pytest.approx(once.standard_error)
    assert (many.lower, many.p_value) == pytest.approx((once.lower, once.p_value))
    assert (many.n, many.n_clusters) == (300, 60)


def test_bootstrap_false_positives_are_near_nominal():
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(50), 10).astype(str)
    p = []
    for seed in range(300):
        d = (rng.normal(0, 0.5, (50, 1)) + rng.normal(0, 1, (50, 10))).ravel()
        p.append(stats.bootstrap_mean(np.zeros(500), d, groups, seed=seed, resamples=200).p_value)
    # 300 runs: 15 expected at 0.05, with a standard deviation of 3.8
    assert 5 <= sum(value <= 0.05 for value in p) <= 25
    assert sum(value <= 0.024 for value in p) <= 15


def test_p_value_is_never_zero_and_uses_the_corrected_count():
    result = stats.bootstrap_mean(np.zeros(40), np.ones(40), [str(i) for i in range(40)], seed=0, resamples=99)
    assert result.p_value == pytest.approx(1 / 100)
    assert (result.ci_low, result.ci_high, result.standard_error) == (1.0, 1.0, 0.0)
    assert stats.bootstrap_mean(np.ones(40), np.zeros(40), list("ab") * 20, seed=0, resamples=99).p_value == 1.0
    assert stats.bootstrap_mean(np.ones(40), np.ones(40), list("ab") * 20, seed=0, resamples=99).p_value == 1.0


unit = st.floats(0, 1, allow_nan=False)


@settings(max_examples=40)
@given(st.lists(st.tuples(unit, unit, st.sampled_from("abcde")), min_size=5, max_size=30))
def test_swapping_the_policies_flips_the_sign(rows):
    x, y, groups = ([row[k] for row in rows] for k in range(3))
    if len(set(groups)) < 2:
        groups = ["z", *groups[1:]] if groups[0] != "z" else groups
    there = stats.bootstrap_mean(x, y, groups, seed=1, resamples=60)
    back = stats.bootstrap_mean(y, x, groups, seed=1, resamples=60)
    assert there.delta == -back.delta
    assert (there.ci_low, there.ci_high) == pytest.approx((-back.ci_high, -back.ci_low), abs=1e-9)
    assert (there.lower, there.upper) == pytest.approx((-back.upper, -back.lower), abs=1e-9)
    assert all(type(value) in (int, float) and math.isfinite(value) for value in asdict(there).values())


def test_macro_f1_by_hand():
    # yes: tp 2, predicted 3, true 3 -> 4/6; no: tp 1, predicted 2, true 2 -> 1/2; maybe: tp 0, predicted 0, true 1 -> 0
    targets = ["yes", "yes", "yes", "no", "no", "maybe"]
    predictions = ["yes", "yes", "no", "no", "yes", "unparsed"]
    assert stats.macro_f1(targets, predictions) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_always_yes_has_the_published_macro_f1():
    targets = ["yes"] * 276 + ["no"] * 169 + ["maybe"] * 55  # the 500 PubMedQA test labels: 55.2 / 23.7
    assert stats.macro_f1(targets, ["yes"] * 500) == pytest.approx(0.237, abs=5e-4)


def test_macro_f1_is_over_the_labels_that_are_asked_for():
    assert stats.labels_in(["no"]) == ("no",) and stats.labels_in(["C", "A", "A"]) == ("A", "C")
    assert stats.macro_f1(["ja", "nein"], ["ja", "nein"]) == stats.macro_f1(["yes", "no"], ["yes", "no"]) == 1.0
    assert stats.macro_f1(["A", "A", "C", "C"], ["A", "C", "C", "B"]) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert stats.bootstrap_macro_f1(["A", "C"] * 9, ["A"] * 18, ["A", "C"] * 9, [str(i) for i in range(18)], seed=0,
                                    resamples=200).challenger_mean == 1.0  # fmt: skip
    with pytest.raises(RlaifError, match="no items"):
        stats.macro_f1([], [])


labels = st.sampled_from(["yes", "no", "maybe"])


@settings(max_examples=40)
@given(st.lists(st.tuples(labels, st.sampled_from(["yes", "no", "maybe", "unparsed"])), min_size=1, max_size=40))
def test_macro_f1_equals_the_mean_of_precision_recall_harmonics(rows):
    def f1(label):
        tp = sum(t == p == label for t, p in rows)
        precision = tp / max(1, sum(p == label for _, p in rows))
        recall = tp / max(1, sum(t == label for t, _ in rows))
        return 2 * precision * recall / (precision + recall) if tp else 0.0

    asked = {target for target, _ in rows}
    expected = sum(map(f1, asked)) / len(asked)
    assert stats.macro_f1([t for t, _ in rows], [p for _, p in rows]) == pytest.approx(expected)


def test_macro_f1_bootstrap():
    rng = np.random.default_rng(2)
    targets = rng.choice(LABELS, 120).tolist()
    noisy = [t if rng.random() < 0.5 else "yes" for t in targets]
    groups = [str(i % 60) for i in range(120)]
    better = stats.bootstrap_macro_f1(targets, noisy, targets, groups, seed=0, resamples=400)
    worse = stats.bootstrap_macro_f1(targets, targets, noisy, groups, seed=0, resamples=400)
    assert better.challenger_mean == 1.0
    assert better.champion_mean == pytest.approx(stats.macro_f1(targets, noisy))
    assert 0 < better.ci_low < better.lower < better.delta < better.upper < better.ci_high
    assert better.p_value == pytest.approx(1 / 401)
    assert (worse.lower, worse.p_value) == (pytest.approx(-better.upper), 1.0)


def test_holm_by_hand_keeps_the_order():
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert stats.holm([0.7, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []


@pytest.mark.slow  # importing statsmodels takes seconds
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=10)
def test_holm_agrees_with_statsmodels(p_values):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    assert stats.holm(p_values) == pytest.approx(list(multitest.multipletests(p_values, method="holm")[1]))


def test_wilson_by_formula():
    z, n, p = 1.959963984540054, 50, 0.8
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    assert stats.wilson_interval(40, 50) == pytest.approx((centre - half, centre + half))
    assert stats.wilson_lower(40, 50) == pytest.approx(stats.wilson_interval(40, 50, 0.90)[0])
    assert stats.wilson_upper(40, 50) == pytest.approx(1 - stats.wilson_lower(10, 50))
    assert stats.wilson_lower(0, 10) == pytest.approx(0, abs=1e-12)
    with pytest.raises(RlaifError, match="0 of 0"):
        stats.wilson_interval(0, 0)


def test_power_of_the_published_example_and_by_enumeration():
    # 500 items, 15% discordant: a true gain of 3 points is found about half of the time at 0.05
    assert power.mcnemar_power(500, 0.15, 0.03, 0.05) == pytest.approx(0.49, abs=0.01)
    n, pb, pc, alpha, total = 8, 0.5, 0.2, 0.1, 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            chance = math.comb(n, b) * math.comb(n - b, c) * pb**b * pc**c * (1 - pb - pc) ** (n - b - c)
            total += chance * (b + c > 0 and scipy.stats.binomtest(b, b + c, 0.5, "greater").pvalue <= alpha)
    assert power.mcnemar_power(n, pb + pc, pb - pc, alpha) == pytest.approx(total)


def test_size_of_mcnemar_is_at_most_alpha_and_impossible_designs_are_refused():
    assert 0 < power.mcnemar_power(300, 0.2, 0.0, 0.024) <= 0.024
    assert power.mcnemar_power(300, 0.0, 0.0, 0.024) == 0.0
    with pytest.raises(RlaifError, match="no such design"):
        power.mcnemar_power(100, 0.1, 0.2, 0.05)


def test_minimal_detectable_effects_invert_the_power():
    gain = power.mcnemar_mde(400, 0.15, 0.024)
    assert power.mcnemar_power(400, 0.15, gain, 0.024) >= 0.8 > power.mcnemar_power(400, 0.15, gain - 0.002, 0.024)
    assert power.mcnemar_mde(20, 0.05, 0.01) is None
    assert power.mean_mde(0.01, 10_000, 0.05) == pytest.approx(0.01 * (1.6449 + 0.8416), rel=1e-3)
    assert power.items_needed(100, 0.01, power.mean_mde(0.01, 10**6, 0.05), 0.05) in (100, 101)
    assert power.items_needed(100, 0.02, 0.01, 0.05) == math.ceil(100 * (2.48648 * 2) ** 2)
