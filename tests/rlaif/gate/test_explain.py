from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rlaif.commands.output import stdout_screen
from rlaif.config import Config, GateConfig, flat
from rlaif.gate import ledger
from rlaif.gate import simulate_run as simulate_own
from rlaif.gate.decide import Check, Checks, GateResult, Guard, Look, MetricResults, PolicyResults, decide
from rlaif.gate.explain import QUESTIONS, alpha_words, explain, show
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Decision, UsageError
from rlaif.wording import items_words
from stores.store import Store

SETTINGS = GateConfig().model_copy(update={"resamples": 200})  # fewer than a run may have
RNG = np.random.default_rng(2)
RIGHT, SCORE = (RNG.random(250) < 0.6), RNG.random(120).clip(0.2, 0.8)


def policy(name: str, right: np.ndarray, score: np.ndarray) -> PolicyResults:
    def metric(kind: str, benchmark: str, values: np.ndarray, says: list[str]) -> MetricResults:
        n = len(values)
        ids, groups = tuple(f"{kind}{i}" for i in range(n)), tuple(f"g{i // 2}" for i in range(n))
        targets = tuple("yes" if i % 2 else "no" for i in range(n))
        return MetricResults(
            benchmark, kind, ids, tuple(values.tolist()), tuple(says), targets, groups, ("scored",) * n, "h", "d"
        )

    says = ["yes" if ok == i % 2 else "no" for i, ok in enumerate(right)]
    return PolicyResults(
        name,
        metric("accuracy", "pubmedqa", right.astype(float), says),
        metric("token_f1", "medquad", score, [""] * len(score)),
    )


CHAMPION = policy("champ", RIGHT, SCORE)


def gained(n: int) -> np.ndarray:
    right = RIGHT.copy()
    right[np.flatnonzero(~right)[:n]] = True
    return right


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = Config()
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    return Run(tmp_path, Store.create(tmp_path, row), config)


def judged(
    run: Run,
    round: int,
    challenger: PolicyResults,
    checks: Checks = Checks(),  # noqa: B008
    inherited: float = 0.0,
    champion: PolicyResults = CHAMPION,
) -> GateResult:
    """Decide as the loop does, and write what the loop writes."""
    look = Look("sft", 1) if round == 0 else Look("dpo", round, inherited)
    result = decide(champion, challenger, look=look, settings=SETTINGS, checks=checks, seed=0)
    names = {"round": round, "look": look.number, "champion": "champ", "challenger": challenger.policy_id}
    rows = [{k: v for k, v in asdict(row).items() if v is not None} | names for row in result.rows]
    run.store.write(
        {"gates": rows, "decisions": [Decision(round, "gate", result.action, result.reason, result.evidence)]}
    )
    return result


def shown(result: dict) -> str:
    out = io.StringIO()
    show(result, Screen(Console(file=out, width=250, highlight=False)))
    return out.getvalue()


def test_every_condition_is_a_row_with_words(run: Run) -> None:
    result = judged(
        run, 1, policy("chall", gained(25), SCORE), Checks((Check("leaks", True, "none"),), (Guard("kl", False, True),))
    )
    found = explain(run, 1)
    assert len(found["conditions"]) == len(result.rows)
    assert [c["condition"] for c in found["conditions"]] == sorted(
        (r.condition for r in result.rows), key=list(QUESTIONS).index
    )
    assert all(c["words"] and c["question"] for c in found["conditions"])
    assert found["action"] == "PROMOTE" and found["verdict"].startswith("PROMOTE: better on accuracy beyond chance")
    better = next(c for c in found["conditions"] if (c["condition"], c["metric"]) == ("better", "accuracy"))
    assert (
        "(+0.1000)" in better["words"]
        and "25 items won, 0 lost" in better["words"]
        and "needs 0.0243 or less" in better["words"]
    )
    assert "250 items in 125 groups" in better["words"]
    assert (found["look"], found["champion"], found["challenger"]) == (1, "champ", "chall")
    json.dumps(found)
    text = shown(found)
    assert "same items, prompt and data for both, and no answer without a score" in text and "leaks: none" in text
    assert (
        len(text.splitlines()) < len(found["conditions"]) + 8 and "same_items" not in text and "monitor kl" not in text
    )
    assert "kl: green" in text
    assert (
        text.startswith("PROMOTE")
        and "DPO look 1, alpha 0.0243: chall against champ" in text
        and "in 80% of cases" in text
    )


def test_a_gain_that_was_not_needed_is_no_failure(run: Run) -> None:
    judged(run, 0, policy("chall", gained(60), SCORE))
    result = explain(run, 0)
    tests = {c["metric"]: c["passed"] for c in result["conditions"] if c["condition"] == "better"}
    assert result["action"] == "PROMOTE" and tests == {"accuracy": True, "token_f1": False}
    lines = shown(result).splitlines()
    assert any("is it better here too? (not needed)" in line for line in lines)
    assert not any("NO" in line.split() for line in lines)


def test_a_graded_figure_is_shown_with_its_grader(run: Run) -> None:
    def graded(results: PolicyResults) -> PolicyResults:
        score = results.score
        assert score is not None
        beside = replace(score, benchmark="healthbench", metric="healthbench quality", margin=0.05)
        who = "graded by openai:a, prompt rubric (j1)"
        return replace(results, score=replace(score, grader=who), others=(replace(beside, grader=who),))

    judged(run, 1, graded(policy("chall", gained(25), SCORE)), champion=graded(CHAMPION))
    found = explain(run, 1)
    figures = [c for c in found["conditions"] if c["metric"] in ("token_f1", "healthbench quality") and c["delta"] == 0]
    assert {c["condition"] for c in figures} == {"better", "not_worse", "gain_possible"}
    assert all(c["words"].endswith("; graded by openai:a, prompt rubric (j1)") for c in figures)
    assert found["reason"].count("graded by openai:a") == 2
    assert not any("graded by" in c["words"] for c in found["conditions"] if c["metric"] == "accuracy")


def test_round_0_and_the_latest_round(run: Run) -> None:
    judged(run, 0, policy("sft", gained(25), SCORE))
    judged(run, 1, policy("chall", RIGHT, SCORE))
    assert "SFT look 1, alpha 0.0100" in shown(explain(run, 0))
    latest = explain(run)
    assert latest["round"] == 1 and latest["verdict"] == "REJECT: any gain is smaller than one worth having."
    assert "too much alike for any gain" in latest["power"][0]


@pytest.mark.parametrize(
    ("right", "score", "checks", "verdict"),
    [
        (gained(25), SCORE, Checks((Check("exam", False, "no licence"),)), "may not be compared (exam)"),
        (
            gained(25),
            SCORE,
            Checks((), (Guard("kl", True, True, "0.3 > 0.1"),)),
            "better on accuracy, but held up by a red monitor (kl)",
        ),
        (RIGHT, SCORE - 0.05, Checks(), "REJECT: worse on token F1."),
        (gained(3), SCORE + RNG.normal(0, 0.3, 120), Checks(), "cannot tell a gain from chance"),
        (
            gained(25),
            SCORE + (x := RNG.normal(0, 0.3, 120)) - x.mean(),
            Checks(),
            "a loss on token F1 is not ruled out; ",
        ),
    ],
)
def test_verdicts(run: Run, right: np.ndarray, score: np.ndarray, checks: Checks, verdict: str) -> None:
    result = judged(run, 1, policy("chall", right, score), checks)
    found = explain(run, 1)
    assert verdict in found["verdict"] and found["verdict"].startswith(result.action)
    if result.action == "INCONCLUSIVE" and "cannot tell" in verdict:
        assert items_words(result.items_needed) in found["verdict"]


def test_which_alpha_was_used_and_why(run: Run) -> None:
    judged(run, 0, policy("sft", gained(25), SCORE + 0.1))
    judged(run, 1, policy("chall", gained(1), SCORE + RNG.normal(0, 0.1, 120)), inherited=0.01)
    assert explain(run, 0)["alpha_words"] == "alpha 0.0100 is this look's own; the two metrics share it (Holm)"
    found = explain(run, 1)
    assert (found["alpha_inherited"], found["alpha_shares"]) == (0.01, {"accuracy": 0.0, "token_f1": 1.0})
    assert found["alpha_words"] in shown(found) and found["alpha_words"] == (
        "alpha 0.0343: 0.0243 is this look's own, 0.0100 comes from the promotion before; token F1 has all of it: "
        "accuracy takes no share: its p could not be below 0.5 whatever the direction, half is 0.0172"
    )


def test_a_run_with_free_text_alone_has_one_test(run: Run) -> None:
    better = replace(policy("chall", RIGHT, SCORE + 0.1 + RNG.normal(0, 0.01, 120)), accuracy=None)
    assert judged(run, 1, better, champion=replace(CHAMPION, accuracy=None)).action == "PROMOTE"
    found = explain(run, 1)
    assert found["alpha_shares"] == {"token_f1": 1.0} and "accuracy" not in shown(found)
    assert found["alpha_words"] == ("alpha 0.0243 is this look's own; token F1 has all of it: there is no other test")


def test_a_round_of_an_older_rule_is_explained_by_it(run: Run) -> None:
    result = judged(run, 1, policy("chall", gained(3), SCORE + RNG.normal(0, 0.3, 120)))
    old = {"alpha": result.alpha, "items_needed": 1670, "look": 1}
    run.store.write({"decisions": [Decision(1, "gate", result.action, result.reason, old)]})
    found = explain(run, 1)
    assert "about 1,700 items would settle it" in found["verdict"]
    assert found["alpha_words"].startswith("decided by an older rule: each metric had half of alpha")


def test_a_round_without_a_challenger_and_an_unknown_round(run: Run) -> None:
    with pytest.raises(UsageError, match="decided rounds: none yet"):
        explain(run)
    run.store.write({"decisions": [Decision(2, "gate", "INCONCLUSIVE", "only 3 pairs were kept", {"kept": 3})]})
    found = explain(run)
    assert found["conditions"] == [] and shown(found) == "INCONCLUSIVE: only 3 pairs were kept\n"
    with pytest.raises(UsageError, match="round 5 has no gate decision.*decided rounds: 2"):
        explain(run, 5)


def test_simulate_on_the_runs_own_results(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(Console(file=io.StringIO()))
    with pytest.raises(UsageError, match="no policy has met the gate yet"):
        simulate_own.simulate_own(run, 3, 2, screen)
    challenger = policy("chall", gained(25), SCORE + RNG.normal(0, 0.05, 120))
    judged(run, 1, challenger)
    monkeypatch.setattr(simulate_own, "load_prompt", lambda name: None)
    monkeypatch.setattr(
        simulate_own, "results", lambda run, policy_id, *_: {"champ": CHAMPION, "chall": challenger}[policy_id]
    )
    monkeypatch.setattr(simulate_own, "POWER_DRAWS", 2)
    monkeypatch.setattr(simulate_own, "PROBE", 1)
    result = simulate_own.simulate_own(run, 3, 2, screen)
    assert result["sizes"] == {
        "accuracy": {"n": 250, "groups": 125, "discordance": 0.1},
        "token_f1": {"n": 120, "groups": 60},
    }
    assert result["expected_s"] > 0
    assert result["null"]["draws"] == 3 and len(result["null"]["by_look"]) == 2
    assert {(p["metric"], p["gain"], p["look"]) for p in result["power"]} == {
        *(("accuracy", g, k) for g in (0.02, 0.03, 0.05, 0.08) for k in (1, 2)),
        *(("token_f1", g, k) for g in (0.005, 0.01, 0.02, 0.04) for k in (1, 2)),
    }
    json.dumps(result)
    out = io.StringIO()
    simulate_own.show(result, Screen(Console(file=out, width=200)))
    assert "of 3 simulated loops of 2 rounds promote at all" in out.getvalue() and "10.0% discordant" in out.getvalue()


def test_the_ledger_and_the_share_it_leaves_are_shown(run: Run) -> None:
    assert explain_of(run)["ledger"] == ""
    key = ledger.run_key(run.store.query("SELECT run_id, created_at FROM runs")[0])
    for who, look_id in ((key, "1"), ("another", "2"), ("another", "3")):
        ledger.enter(ledger.Entry("items", look_id, who, "runs", 1, 0.02, 0.05), spends=False)
    found = explain(run, 1)
    assert "this run had 1 look at its gate items with alpha 0.0200; 2 runs together had 3, with alpha 0.0600" in shown(
        found
    )
    look = Look("dpo", 2, share=0.25)
    result = decide(CHAMPION, policy("chall", gained(25), SCORE), look=look, settings=SETTINGS, checks=Checks(), seed=0)
    assert result.alpha == pytest.approx(0.25 * 0.04 * 6 / np.pi**2 / 4)
    assert result.evidence["ledger_share"] == 0.25 and "leave 25.0% of a run's alpha" in result.reason
    rows = [row for row in map(asdict, result.rows) if row["condition"] == "better"]
    assert "leave this run 25.0% of its alpha" in alpha_words(result.evidence, rows)


def explain_of(run: Run) -> dict:
    result = judged(run, 1, policy("chall", gained(25), SCORE))
    assert "ledger_share" not in result.evidence, "a run that does not share records what it always did"
    return explain(run, 1)


@pytest.mark.parametrize(("there", "lost"), [("token_f1", "accuracy"), ("accuracy", "score")])
def test_simulate_on_one_kind_of_benchmark_in_every_format(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: str, lost: str
) -> None:
    challenger = policy("chall", gained(25), SCORE + RNG.normal(0, 0.05, 120))
    judged(run, 1, challenger)
    sides = {"champ": replace(CHAMPION, **{lost: None}), "chall": replace(challenger, **{lost: None})}
    monkeypatch.setattr(simulate_own, "load_prompt", lambda name: None)
    monkeypatch.setattr(simulate_own, "results", lambda run, policy_id, *_: sides[policy_id])
    monkeypatch.setattr(simulate_own, "POWER_DRAWS", 2)
    monkeypatch.setattr(simulate_own, "PROBE", 1)
    result = simulate_own.simulate_own(run, 3, 2, Screen(Console(file=io.StringIO())))
    assert list(result["sizes"]) == [there] and {p["metric"] for p in result["power"]} == {there}
    json.dumps(result)
    capsys.readouterr()
    for format, begins in (
        ("csv", "metric,true gain,"),
        ("markdown", "| metric | true gain |"),
        ("jsonl", '{"table": '),
    ):
        simulate_own.show(result, stdout_screen(format))
        lines = capsys.readouterr().out.splitlines()
        rows = [line for line in lines if there in line and "items in" not in line]
        assert len(rows) == len(result["power"]) and any(line.startswith(begins) for line in lines), format
