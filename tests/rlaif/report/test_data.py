import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from rlaif import wording as words
from rlaif.report.data import CURVE_POINTS, read
from rlaif.stats import mean_interval
from stores.store import Store


def test_interval_of_a_mean_agrees_with_statsmodels() -> None:
    """The robust standard error of an intercept, without the factor (n - 1) / (n - k) that is 1 for k = 1."""
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 12, 200)
    values = rng.normal(0.5, 0.1, 200) + groups / 50
    squares = sum(float(np.sum(values[groups == g] - values.mean())) ** 2 for g in set(groups))
    fit = OLS(values, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    low, high = fit.conf_int()[0]
    found = mean_interval(values.mean(), 200, len(set(groups)), squares, share=False)
    assert found == pytest.approx((low, high), rel=1e-9)


def test_interval_of_a_share_is_wilsons_over_the_groups_where_the_other_has_no_width() -> None:
    assert mean_interval(1.0, 40, 40, 0.0, share=True) == pytest.approx(proportion_confint(40, 40, method="wilson"))
    assert mean_interval(0.0, 400, 40, 0.0, share=True) == pytest.approx(proportion_confint(0, 40, method="wilson"))
    assert mean_interval(0.25, 40, 40, 7.5, share=True) == pytest.approx(proportion_confint(10, 40, method="wilson"))


def test_interval_of_a_share_of_clustered_items_stays_within_0_and_1() -> None:
    low, high = mean_interval(0.99, 100, 5, 4.0, share=True) or (math.nan, math.nan)
    half = float(scipy.stats.t.ppf(0.975, 4)) * math.sqrt(4.0 * 5 / 4) / 100
    assert (low, high) == (pytest.approx(0.99 - half), 1.0)


def test_one_group_tells_nothing_about_the_spread() -> None:
    assert mean_interval(0.5, 10, 1, 0.0, share=False) is None


def test_scores_counts_and_curves_come_from_the_rows(finished: Store) -> None:
    data = read(finished)
    score = next(s for s in data.scores if (s.policy_id, s.metric) == ("sft00000bb", "accuracy"))
    assert (score.mean, score.n, score.n_groups, score.unscored) == (0.75, 4, 4, 0)
    f1 = next(s for s in data.scores if (s.policy_id, s.metric) == ("sft00000bb", "token_f1"))
    assert f1.mean == pytest.approx(0.615)
    assert data["judged"] == [{"round": 1, "n": 2, "unscored": 1, "mean": 0.65, "median": 0.65}]
    assert data["lengths"][0]["quantiles"][2] == 12
    assert [(r["outcome"], r["n"]) for r in data.snapshot.outcomes] == [("tie", 2), ("kept", 1)]
    assert sum(r["n"] for r in data["histogram"]) == 2
    loss = [r for r in data["curves"] if r["policy_id"] == "sft00000bb"]
    assert CURVE_POINTS / 2 < len(loss) <= CURVE_POINTS + 1
    assert [r["step"] for r in loss] == sorted(r["step"] for r in loss)


def test_items_of_one_group_count_as_one(finished: Store, rows: SimpleNamespace) -> None:
    common = {"dataset": "pubmedqa_style", "split": "gate", "group_id": "one", "question": "?"}
    finished.write({"questions": [common | {"question_id": f"p{i}", "source_id": str(i)} for i in range(4)]})
    score = next(s for s in read(finished).scores if (s.policy_id, s.metric) == ("sft00000bb", "accuracy"))
    assert (score.n, score.n_groups, score.low) == (4, 1, None)


def test_ten_pairs_evenly_over_the_rounds(finished: Store, rows: SimpleNamespace) -> None:
    pairs = [
        {
            "pair_id": f"{round}-{i}",
            "round": round,
            "question_id": "q",
            "judge_id": "j",
            "status": "kept",
            "chosen_id": "a",
            "rejected_id": "b",
        }
        for round in (2, 3)
        for i in range(20)
    ]
    finished.write({"preferences": pairs})
    shown = [p["round"] for p in read(finished)["pairs"]]
    assert [shown.count(round) for round in (1, 2, 3)] == [1, 5, 4]  # round 1 has no more


@pytest.mark.parametrize(
    ("n", "text"),
    [(7, "7"), (99, "99"), (927, "930"), (12_961, "13,000"), (998_700, "1 million"), (5_458_877, "5.5 million")],
)
def test_an_estimated_count_has_two_digits(n: int, text: str) -> None:
    assert words.about(n) == text
