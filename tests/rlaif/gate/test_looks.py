from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rlaif.config import Config, flat
from rlaif.evals.results import MetricResults, PolicyResults
from rlaif.gate import ledger
from rlaif.gate.decide import RULE, Look, own_alpha
from rlaif.gate.looks import entered, follows_older_rule, next_look, tell_others
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Decision, RlaifError
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


def compared(values: tuple[float, ...], others: tuple[float, ...]) -> tuple[PolicyResults, PolicyResults]:
    def side(name: str, scored: tuple[float, ...]) -> PolicyResults:
        n = len(scored)
        ids = tuple(f"q{i}" for i in range(n))
        score = MetricResults("medquad", "token_f1", ids, scored, ("",) * n, ("",) * n, ids, ("scored",) * n, "h", "d")
        return PolicyResults(name, None, score)

    return side("a", values), side("b", others)


@pytest.fixture
def screen() -> Screen:
    return Screen(Console(file=io.StringIO(), width=400))


def said(screen: Screen) -> str:
    return screen.console.file.getvalue()  # type: ignore[attr-defined]


def with_ledger(run: Run, mode: str, folder: Path | None = None) -> Run:
    gate = run.config.gate.model_copy(update={"ledger": mode})
    return replace(run, config=run.config.model_copy(update={"gate": gate}), folder=folder or run.folder)


def another(tmp_path: Path, mode: str, name: str = "r2") -> Run:
    config = Config()
    row = {"run_id": name, "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    return with_ledger(Run(tmp_path / name, Store.create(tmp_path / name, row), config), mode)


def test_a_look_of_a_run_that_warns_keeps_its_alpha_and_the_next_run_is_told(
    run: Run, tmp_path: Path, screen: Screen
) -> None:
    tell_others(run, screen)
    assert entered(run, 1, Look("dpo", 1, 0.01), compared((0.5, 0.4), (0.6, 0.4)), screen) == Look("dpo", 1, 0.01)
    tell_others(run, screen)
    assert not said(screen), "nothing to say of its own looks"
    other = another(tmp_path, "warn")
    tell_others(other, screen)
    assert "1 look by 1 other run spent alpha 0.0243" in said(screen) and "up to 7.4%" in said(screen)


def test_runs_that_spend_share_the_alpha(run: Run, tmp_path: Path, screen: Screen) -> None:
    first, second = with_ledger(run, "spend"), another(tmp_path, "spend")
    pair = compared((0.5, 0.4), (0.6, 0.4))
    assert entered(first, 0, Look("sft", 1), pair, screen).share == 0.5
    assert entered(second, 0, Look("sft", 1), compared((0.5, 0.4), (0.7, 0.4)), screen).share == 0.25
    assert entered(first, 0, Look("sft", 1), pair, screen).share == 0.5, "killed before its decision"
    tell_others(second, screen)
    assert "this run may use half of what they leave" in said(screen)
    decided(second, 0, "PROMOTE", 0.0025, rule=RULE, ledger_share=0.25)
    assert next_look(second, 1) == Look("dpo", 1, 0.0025, 0.25)


def test_other_labels_of_the_same_answers_are_another_look(run: Run, screen: Screen) -> None:
    pair = compared((0.5, 0.4), (0.6, 0.4))
    for labels in (None, {"q0": (0.0, 1.0)}, {"q0": (1.0, 0.0)}, {"q0": (1.0, 0.0)}):
        entered(run, 1, Look("dpo", 1), pair, screen, labels)
    (counts,) = ledger.counts().values()
    assert counts.own == 3


def test_runs_that_part_after_the_same_sft_policy_keep_to_the_alpha_of_one_run(tmp_path: Path, screen: Screen) -> None:
    """All of them have its look, and it hands alpha on in each: by the share of the run that goes on."""
    sft, spent = compared((0.5, 0.4), (0.6, 0.4)), 0.0
    for k in range(8):
        run = another(tmp_path, "spend", f"r{k}")
        first = entered(run, 0, next_look(run, 0), sft, screen)
        assert first.share == 0.5, "one look, whoever repeats it"
        decided(run, 0, "PROMOTE", own_alpha(first, run.config.gate), rule=RULE, ledger_share=first.share)
        look = entered(run, 1, next_look(run, 1), compared((0.5, 0.4), (0.6, 0.5 + k / 100)), screen)
        assert look.share == pytest.approx(0.5 ** (k + 1))
        assert look.inherited == pytest.approx(look.share * 0.01)
        # All DPO looks that the run may come to, and what the SFT look handed on.
        spent += look.share * run.config.gate.alpha_dpo + look.inherited
    assert spent < 0.05
    decided(run, 1, "PROMOTE", own_alpha(look, run.config.gate) + look.inherited, rule=RULE, ledger_share=look.share)
    second = entered(run, 2, next_look(run, 2), compared((0.5, 0.4), (0.9, 0.9)), screen)
    assert second.inherited == pytest.approx(own_alpha(look, run.config.gate) + look.inherited), "a look of its own"


def test_off_leaves_no_trace(run: Run, screen: Screen) -> None:
    off = with_ledger(run, "off")
    tell_others(off, screen)
    assert entered(off, 1, Look("dpo", 1), compared((0.5,), (0.6,)), screen) == Look("dpo", 1)
    assert not ledger.path().exists() and not said(screen)


def test_a_ledger_that_cannot_be_written_stops_only_a_run_that_spends(
    run: Run, tmp_path: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("RLAIF_DATA", str(blocked))
    pair = compared((0.5,), (0.6,))
    assert entered(run, 1, Look("dpo", 1), pair, screen) == Look("dpo", 1)
    assert said(screen).count("\n") == 1 and "not counted over runs" in said(screen)
    with pytest.raises(RlaifError, match="the ledger of looks"):
        entered(with_ledger(run, "spend"), 1, Look("dpo", 1), pair, screen)


def test_a_run_that_spends_is_told_before_it_trains_that_nothing_is_left(
    run: Run, tmp_path: Path, screen: Screen
) -> None:
    for k in range(3):
        entered(run, 1, Look("dpo", 1), compared((0.5,), (0.6 + k / 10,)), screen)
    with pytest.raises(RlaifError, match="no look is left"):
        tell_others(another(tmp_path, "spend"), screen)


def test_a_run_that_knows_its_share_goes_on_where_its_ledger_was_lost(run: Run, tmp_path: Path, screen: Screen) -> None:
    for k in range(3):
        entered(run, 1, Look("dpo", 1), compared((0.5,), (0.6 + k / 10,)), screen)
    begun = another(tmp_path, "spend")
    decided(begun, 0, "REJECT", 0.0025, rule=RULE, ledger_share=0.25)
    tell_others(begun, screen)
    look = next_look(begun, 1)
    assert entered(begun, 1, look, compared((0.5,), (0.4,)), screen).share == 0.25
