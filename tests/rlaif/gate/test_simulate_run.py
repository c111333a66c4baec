from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rlaif.config import Config, flat
from rlaif.evals.results import MetricResults, PolicyResults
from rlaif.gate import simulate_run
from rlaif.gate.decide import RULE
from rlaif.gate.simulate import Promotions
from rlaif.gate.simulate_run import show, simulate_own
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Decision
from stores.store import Store


def side(name: str, values: np.ndarray) -> PolicyResults:
    n = len(values)
    ids, says = tuple(f"q{i:03}" for i in range(n)), tuple(f"{name} {i}" for i in range(n))
    score = MetricResults(
        "medquad", "quality", ids, tuple(values.tolist()), says, ("",) * n, ids, ("scored",) * n, "h", "d"
    )
    return PolicyResults(name, None, score)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """SFT was promoted with a quarter of the alpha: other runs had the rest (gate.ledger=spend)."""
    config = Config()
    config = config.model_copy(update={"gate": config.gate.model_copy(update={"labels": 100})})
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    found = Run(tmp_path, Store.create(tmp_path, row), config)
    gate = {"round": 0, "look": 1, "champion": "base", "challenger": "sft", "condition": "better", "passed": True}
    evidence = {"rule": RULE, "ledger_share": 0.25}
    found.store.write(
        {
            "gates": [gate | {"metric": "quality", "detail": "", "alpha": 0.0025}],
            "decisions": [Decision(0, "gate", "PROMOTE", "why", evidence)],
        }
    )
    rng = np.random.default_rng(0)
    before = rng.uniform(0.3, 0.6, 60)
    sides = {"base": side("base", before), "sft": side("sft", before + rng.normal(0, 0.05, 60))}
    monkeypatch.setattr(simulate_run, "results", lambda run, policy_id, *_: sides[policy_id])
    return found


def test_a_run_that_spends_is_simulated_with_its_share_of_the_alpha(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    had: list[dict[str, float]] = []

    def loops(stream: object, n: int, looks: object, *rest: object, **alpha: float) -> Promotions:
        had.append(alpha)
        return Promotions(n, 0, (0,))

    monkeypatch.setattr(simulate_run, "promotions", loops)
    out = io.StringIO()
    screen = Screen(Console(file=out, width=200))
    result = simulate_own(run, 2, 1, screen)
    assert had and all(alpha == {"inherited": 0.0025, "share": 0.25} for alpha in had)
    show(result, screen)
    assert "labels that correct it (gate.labels) are not simulated" in out.getvalue()
