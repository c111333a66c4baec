from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from rlaif import stats
from rlaif.config import Config, flat
from rlaif.run import Run
from rlaif.train.before_after import before_and_after
from stores.store import Store

N = 60


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = Config(seed=7)
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 7}
    run = Run(tmp_path, Store.create(tmp_path, row), config)
    same = {"dataset": "medquad_style", "split": "gate", "source_id": "s", "question": "?"}
    run.store.write(
        {"questions": [same | {"question_id": f"q{i}", "group_id": f"g{i // 3}"} for i in range(N)]},
    )
    return run


def write(run: Run, policy: str, metric: str, values: list[float | None]) -> None:
    same = {"policy_id": policy, "benchmark": "medquad_style", "split": "gate", "metric": metric}
    rows = [
        {"item_id": f"q{i}", "value": v}
        | ({"status": "failed", "reason": "none"} if v is None else {"status": "scored"})
        for i, v in enumerate(values)
    ]
    run.store.write({"eval_items": [same | row for row in rows]})


def test_the_change_has_a_paired_interval_by_group(run: Run) -> None:
    rng = random.Random(3)
    before: list[float | None] = [rng.random() for _ in range(N)]
    after: list[float | None] = [(v or 0.0) + 0.1 * rng.random() for v in before]
    before[0] = None  # unscored before: no item of the change
    write(run, "b", "token_f1", before)
    write(run, "a", "token_f1", after)
    (row,) = before_and_after(run, "b", "a")
    changes = [(y or 0.0) - x for x, y in zip(before, after, strict=True) if x is not None]
    expected = stats.grouped_mean(changes, [f"g{i // 3}" for i in range(1, N)])
    assert (row["benchmark"], row["metric"], row["n"]) == ("medquad_style", "token_f1", N - 1)
    assert row["change"] == pytest.approx(expected.mean) == pytest.approx(row["after"] - row["before"])
    assert (row["change_low"], row["change_high"]) == pytest.approx(expected.interval)


def test_loss_and_perplexity_change_over_all_tokens(run: Run) -> None:
    rng = random.Random(4)
    tokens: list[float | None] = [float(rng.randint(5, 40)) for _ in range(N)]
    first: list[float | None] = [(t or 0.0) * (1.0 + 0.1 * rng.random()) for t in tokens]
    last: list[float | None] = [(v or 0.0) * (0.8 + 0.02 * rng.random()) for v in first]
    for policy, nats in (("b", first), ("a", last)):
        write(run, policy, "reference_nats", nats)
        write(run, policy, "reference_tokens", tokens)
    loss, perplexity = before_and_after(run, "b", "a")
    total = sum(t or 0.0 for t in tokens)
    one, other = (sum(v or 0.0 for v in nats) / total for nats in (first, last))
    assert (loss["metric"], loss["before"], loss["after"]) == ("loss", pytest.approx(one), pytest.approx(other))
    assert loss["change_low"] < loss["change"] < loss["change_high"] < 0
    assert (perplexity["before"], perplexity["after"]) == pytest.approx((math.exp(one), math.exp(other)))
    assert perplexity["change_low"] < perplexity["change"] < perplexity["change_high"] < 0
    drawn = []  # both as they come out when whole groups are drawn anew
    for _ in range(800):
        items = [3 * rng.randrange(N // 3) + k for _ in range(N // 3) for k in range(3)]
        count = sum(tokens[i] or 0.0 for i in items)
        drawn.append([math.exp(sum(n[i] or 0.0 for i in items) / count) for n in (first, last)])
    changes = sorted(b - a for a, b in drawn)
    width = changes[779] - changes[20]
    assert perplexity["change_high"] - perplexity["change_low"] == pytest.approx(width, rel=0.25)


def test_what_one_policy_lacks_is_no_row_and_one_group_has_no_interval(run: Run) -> None:
    write(run, "b", "rouge_l", [0.5] * N)
    assert before_and_after(run, "b", "a") == []
    write(run, "a", "rouge_l", [0.75, 0.5, 1.0])
    (row,) = before_and_after(run, "b", "a")
    assert (row["n"], row["change"], row["change_low"], row["change_high"]) == (3, 0.25, None, None)
