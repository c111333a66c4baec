"""The spreads that are counted in SQL, against the functions of rlaif.stats on the same items."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rlaif import stats
from rlaif.config import Config, flat
from rlaif.report.spread import MEANS, ROUNDS, bare, interval_of
from stores.store import Store

LABELS = ("yes", "no", "maybe")
N = 240


@pytest.fixture
def store(tmp_path: Path) -> Store:
    config = Config(seed=7)
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 7}
    return Store.create(tmp_path, row)


def questions(dataset: str) -> list[dict]:
    same = {"dataset": dataset, "split": "gate", "source_id": "s", "question": "?"}
    return [same | {"question_id": f"{dataset}{i}", "group_id": f"{dataset}g{i // 4}"} for i in range(N)]


def items(dataset: str, metric: str, rows: list[tuple[float | None, str, str]]) -> list[dict]:
    same = {"policy_id": "p", "benchmark": dataset, "split": "gate", "metric": metric}
    return [
        same | {"item_id": f"{dataset}{i}", "value": v, "prediction": said, "target": target, "status": "scored"}
        for i, (v, said, target) in enumerate(rows)
    ]


def means(store: Store) -> dict[str, dict]:
    return {row["metric"]: row for row in store.query(MEANS)}


def test_a_mean_has_the_interval_of_its_groups(store: Store) -> None:
    rng = random.Random(1)
    values = [rng.random() * (0.2 + (i // 4 % 3) * 0.3) for i in range(N)]
    store.write({"questions": questions("medquad_style")})
    store.write({"eval_items": items("medquad_style", "token_f1", [(v, "", "") for v in values])})
    row = means(store)["token_f1"]
    expected = stats.grouped_mean(values, [str(i // 4) for i in range(N)])
    assert interval_of(row) == pytest.approx(expected.interval)
    shown = bare(row)
    assert (shown["mean_low"], shown["mean_high"]) == pytest.approx(expected.interval)
    assert "squares" not in shown and shown["n"] == N


@pytest.mark.parametrize("benchmark", ["pubmedqa_style", "own_labels"])
def test_labels_have_intervals_of_accuracy_and_of_macro_f1(store: Store, benchmark: str) -> None:
    rng = random.Random(2)
    targets = [LABELS[min(int(rng.random() * 4), 2)] for _ in range(N)]
    given = [t if rng.random() < 0.7 else rng.choice((*LABELS, "unparsed")) for t in targets]
    values = [float(t == g) for t, g in zip(targets, given, strict=True)]
    store.write({"questions": questions(benchmark)})
    store.write({"eval_items": items(benchmark, "accuracy", list(zip(values, given, targets, strict=True)))})
    found, groups = means(store), [str(i // 4) for i in range(N)]
    assert interval_of(found["accuracy"]) == pytest.approx(stats.grouped_mean(values, groups, share=True).interval)
    assert found["macro_f1"]["mean"] == pytest.approx(stats.macro_f1(targets, given))
    drawn = stats.bootstrap_macro_f1(targets, ["unparsed"] * N, given, groups, seed=0)
    low, high = interval_of(found["macro_f1"]) or (0.0, 0.0)
    assert high - low == pytest.approx(drawn.ci_high - drawn.ci_low, rel=0.12)
    assert (low + high) / 2 == pytest.approx(found["macro_f1"]["mean"])


def test_one_group_or_none_scored_has_no_interval(store: Store) -> None:
    alone = [q | {"group_id": "one"} for q in questions("medquad_style")]
    store.write({"questions": alone})
    store.write({"eval_items": items("medquad_style", "token_f1", [(0.5, "", "")] * N)})
    row = means(store)["token_f1"]
    assert interval_of(row) is None and bare(row)["mean_low"] is None
    assert interval_of({"mean": None, "n_groups": 3}) is None


def test_a_rounds_mean_score_has_the_interval_of_its_questions(store: Store) -> None:
    scores = [0.1 * (i % 7) + 0.05 * (i // 4 % 3) for i in range(40)]
    same = {"round": 1, "policy_id": "p", "prompt_sha256": "", "batch": 0, "seed": 0, "text": "a", "n_tokens": 1}
    store.write(
        {
            "rounds": [{"round": 1, "champion_in": "p"}, {"round": 2, "champion_in": "p"}],
            "candidates": [
                same
                | {"candidate_id": f"c{i}", "question_id": f"q{i // 4}", "sample_index": i, "finish_reason": "stop"}
                for i in range(40)
            ],
            "verdicts": [
                {"candidate_id": f"c{i}", "judge_id": "j", "replicate": 0, "score": s, "status": "scored"}
                for i, s in enumerate(scores)
            ],
        }
    )
    one, two = store.query(ROUNDS)
    expected = stats.grouped_mean(scores, [str(i // 4) for i in range(40)])
    assert interval_of(one, "mean_score") == pytest.approx(expected.interval)
    assert one["candidates"] == 40 and interval_of(two, "mean_score") is None
    assert bare(one, "mean_score")["mean_score_high"] == pytest.approx((expected.interval or (0, 0))[1])
