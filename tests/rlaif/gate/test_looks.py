from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.config import Config, flat
from rlaif.gate.decide import RULE, Look
from rlaif.gate.looks import follows_older_rule, next_look
from rlaif.run import Run
from rlaif.types import Decision
from stores.store import Store


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = Config()
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    return Run(tmp_path, Store.create(tmp_path, row), config)


def decided(run: Run, round: int, action: str, alpha: float | None, **evidence: object) -> None:
    """A look as the loop records it; without `alpha`, one whose results could not be compared."""
    valid = {"condition": "valid", "metric": "exam", "passed": True, "detail": ""}
    tested = {"condition": "better", "metric": "accuracy", "passed": action == "PROMOTE", "alpha": alpha, "detail": ""}
    look = {"round": round, "look": max(round, 1), "champion": "a", "challenger": f"b{round}"}
    rows = [row | look for row in ([valid, tested] if alpha else [valid])]
    run.store.write({"gates": rows, "decisions": [Decision(round, "gate", action, "why", evidence)]})


def test_a_promotion_hands_its_alpha_on_until_a_look_promotes_nothing(run: Run) -> None:
    assert next_look(run, 0) == Look("sft", 1)
    decided(run, 0, "PROMOTE", 0.01, rule=RULE)
    assert next_look(run, 1) == Look("dpo", 1, 0.01)
    decided(run, 1, "PROMOTE", 0.034, rule=RULE)
    assert next_look(run, 2) == Look("dpo", 2, 0.034)
    decided(run, 2, "INCONCLUSIVE", 0.04, rule=RULE)
    assert next_look(run, 3) == Look("dpo", 3, 0.0)
    assert next_look(run, 1) == Look("dpo", 1, 0.01), "what a round inherits depends on what was before it alone"


def test_a_look_that_tested_nothing_counts_and_hands_nothing_on(run: Run) -> None:
    decided(run, 0, "PROMOTE", 0.01)
    decided(run, 1, "INCONCLUSIVE", None)
    assert next_look(run, 2) == Look("dpo", 2, 0.0)


def test_a_round_without_a_challenger_is_no_look(run: Run) -> None:
    decided(run, 0, "PROMOTE", 0.01)
    run.store.write({"decisions": [Decision(1, "gate", "INCONCLUSIVE", "only 3 pairs", {})]})
    assert next_look(run, 2) == Look("dpo", 1, 0.01)


def test_a_promotion_by_a_person_hands_nothing_on(run: Run) -> None:
    decided(run, 0, "PROMOTE", 0.01)
    decided(run, 1, "REJECT", 0.034)
    run.store.write({"decisions": [Decision(1, "manual", "PROMOTE", "why", {"policy_id": "b1"})]})
    assert next_look(run, 2) == Look("dpo", 2, 0.0)


def test_a_run_of_an_older_rule_goes_on_with_what_it_recorded(run: Run) -> None:
    assert not follows_older_rule(run, 0)
    decided(run, 0, "PROMOTE", 0.01)
    assert follows_older_rule(run, 1) and next_look(run, 1) == Look("dpo", 1, 0.01)
    decided(run, 1, "PROMOTE", 0.0243)
    assert next_look(run, 2) == Look("dpo", 2, 0.0243), "the alpha on record, not what the present rule would have had"
    decided(run, 2, "REJECT", 0.0304, rule=RULE)
    assert not follows_older_rule(run, 3), "said once, at the first look of the present rule"
