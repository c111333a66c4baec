from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rlaif import power
from rlaif.config import Config, flat
from rlaif.evals.results import MetricResults, PolicyResults
from rlaif.gate.decide import Checks, decide
from rlaif.gate.looks import next_look
from rlaif.gate.plan import SUPPOSED, plan, show
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import UsageError
from stores.store import Store

NEED = {"spread": 0.2, "judge_error": 0.008, "differ": 300, "n": 400, "alpha": 0.0125}


def labels(correlation: float, effect: float = 0.04, **changes: float) -> int | None:
    return power.labels_needed(correlation=correlation, effect=effect, **(NEED | changes))  # type: ignore[arg-type]


def test_labels_needed_is_the_number_at_which_the_error_is_small_enough() -> None:
    n = labels(0.8)
    assert n is not None
    for k, found in ((n, True), (n - 1, False)):
        variance = (0.8 * 0.008) ** 2 + (300 / 400 * 0.2) ** 2 * (1 - 0.8**2) / k
        assert (power.mean_power(variance**0.5, 0.04, 0.0125) >= 0.8) is found


def test_a_better_judge_a_larger_gain_and_more_same_answers_need_fewer_labels() -> None:
    alone, good, better = (labels(c) for c in (0.0, 0.5, 0.9))
    assert alone and good and better and alone > good > better
    assert (labels(0.5, effect=0.08) or 0) < good and (labels(0.5, differ=200) or 0) < good


def test_none_where_a_label_on_each_item_is_not_enough() -> None:
    assert labels(0.5, effect=0.002) is None, "the judge's own error alone is too large"
    assert labels(0.0, effect=0.02) is None, "more than the items that differ"


def side(name: str, values: np.ndarray) -> PolicyResults:
    n = len(values)
    ids, says = tuple(f"q{i:03}" for i in range(n)), tuple(f"{name if i % 4 else 'both'} {i}" for i in range(n))
    groups = tuple(f"g{i // 4}" for i in range(n))
    score = MetricResults(
        "medquad", "quality", ids, tuple(values.tolist()), says, ("",) * n, groups, ("scored",) * n, "h", "d"
    )
    return PolicyResults(name, None, score)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Round 1 was decided on 400 items, of which 300 have different answers."""
    config = Config()
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    sides = {"champ": side("champ", BEFORE), "chall": side("chall", BEFORE + CHANGE)}
    monkeypatch.setattr("rlaif.gate.plan.results", lambda run, policy_id, *_: sides[policy_id])
    return Run(tmp_path, Store.create(tmp_path, row), config)


RNG = np.random.default_rng(4)
BEFORE = RNG.uniform(0.3, 0.6, 400)
CHANGE = RNG.normal(0, 0.1, 400) * (np.arange(400) % 4 > 0)


def decided(run: Run) -> None:
    row = {"round": 1, "look": 1, "champion": "champ", "challenger": "chall", "condition": "better", "passed": False}
    run.store.write({"gates": [row | {"metric": "quality", "detail": "", "alpha": 0.0243}]})


def test_a_plan_before_any_gate_says_what_is_missing(run: Run) -> None:
    with pytest.raises(UsageError, match="no policy has met the gate yet"):
        plan(run, 0.01)


@pytest.mark.parametrize(("right", "turned", "part"), [(True, 20, 0.5), (True, 0, 1.0), (False, 20, 1.0)])
def test_labels_that_are_not_read_or_hardly_differ_take_no_alpha_of_the_score(
    run: Run, monkeypatch: pytest.MonkeyPatch, right: bool, turned: int, part: float
) -> None:
    """As in `decide`: a test that cannot reach its half whatever the answers are takes no share."""
    decided(run)
    targets = tuple("yes" if i % 2 else "no" for i in range(60))
    champion = targets if right else ("yes",) * 60
    challenger = tuple("no" if i < turned else said for i, said in enumerate(champion))
    ids = tuple(f"p{i}" for i in range(60))

    def labelled(says: tuple[str, ...]) -> MetricResults:
        values = tuple(float(a == b) for a, b in zip(targets, says, strict=True))
        return MetricResults("pubmedqa", "accuracy", ids, values, says, targets, ids, ("scored",) * 60, "h", "d")

    sides = {
        "champ": PolicyResults("champ", labelled(champion), side("champ", BEFORE).score),
        "chall": PolicyResults("chall", labelled(challenger), side("chall", BEFORE + CHANGE).score),
    }
    monkeypatch.setattr("rlaif.gate.plan.results", lambda run, policy_id, *_: sides[policy_id])
    assert plan(run, 0.03)["alpha"] == pytest.approx(0.04 * 6 / np.pi**2 / 4 * part)
    settings = run.config.gate.model_copy(update={"resamples": 200})
    looked = decide(sides["champ"], sides["chall"], look=next_look(run, 2), settings=settings, checks=Checks(), seed=0)
    assert looked.shares["quality"] == part


@pytest.mark.parametrize("gain", [float("nan"), float("inf"), 0.0, -0.01, 1.5])
def test_a_gain_that_is_none_is_refused(run: Run, gain: float) -> None:
    decided(run)
    with pytest.raises(UsageError, match="above 0 and up to 1"):
        plan(run, gain)


def test_a_plan_without_labels_supposes_and_one_with_them_measures(run: Run) -> None:
    decided(run)
    result = plan(run, 0.03)
    assert (result["n"], result["differ"], result["look"]) == (400, 300, 2)
    assert result["alpha"] == pytest.approx(0.04 * 6 / np.pi**2 / 4), "free text alone has all of the look's alpha"
    assert [row["correlation"] for row in result["rows"]] == list(SUPPOSED)
    asked = [i for i in range(400) if i % 4][:60]
    marks = [(0.5, float(np.clip(0.5 + CHANGE[i] + RNG.normal(0, 0.02), 0, 1))) for i in asked]
    said = {"champion": "champ", "challenger": "chall", "judge_id": "j", "shown": "champion first", "status": "scored"}
    labels = [
        said | {"item_id": f"q{i:03}", "champion_mark": a, "challenger_mark": b}
        for i, (a, b) in zip(asked, marks, strict=True)
    ]
    run.store.write({"judges": [{"judge_id": "j", "model": "person:anna"}], "gate_labels": labels})
    measured = plan(run, 0.03)["rows"][0]
    assert measured["labeller"] == "person:anna" and measured["measured"] and measured["correlation"] > 0.95
    assert 30 <= measured["labels"] < measured["labels_alone"]
    out = io.StringIO()
    show(plan(run, 0.03), Screen(Console(file=out, width=200)))
    assert "person:anna" in out.getvalue() and "0.90 (supposed)" in out.getvalue()
    json.dumps(plan(run, 0.03))
    impossible = plan(run, 0.001)["rows"]
    assert all(row["labels"] is None for row in impossible[1:])
