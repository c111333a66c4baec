"""Monitors and controller on a real database with synthetic rows; no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif import admin
from rlaif.config import flat
from rlaif.config_file import load_config
from rlaif.loop import monitor_round as watch
from rlaif.loop.command import run_from_command_line
from rlaif.run import Run
from rlaif.types import Decision
from stores.store import Store

D1 = "d1" + "0" * 14  # an id as policies have it: a path is made of it
CONFIG = load_config("embedded")
ROUGH = [
    "rest and water help most people",
    "a doctor should see a high fever",
    "take the tablets with food twice a day",
]

LONGER = [
    f"{text} and {more}"
    for text, more in zip(ROUGH, ["then some more", "soon if it stays", "not on an empty stomach"], strict=True)
]


def answers(
    round: int, policy: str, questions: int, spread: float, mean: float = 0.6, cut: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Two answers to each of so many questions, scored mean +- spread."""
    candidates, verdicts = [], []
    for n in range(2 * questions):
        name = f"c{round}-{n:03}"
        fixed = {"policy_id": policy, "prompt_sha256": "p", "batch": 0, "seed": 1, "text": "an answer", "n_tokens": 20}
        at = {"round": round, "question_id": f"q{round}-{n // 2:03}", "sample_index": n % 2}
        candidates.append({"candidate_id": name, "finish_reason": "length" if n < cut else "stop", **at, **fixed})
        score = mean + (spread if n % 2 else -spread)
        verdicts.append({"candidate_id": name, "judge_id": "j", "replicate": 0, "status": "scored", "score": score})
    return {"candidates": candidates, "verdicts": verdicts}


def pairs(round: int, questions: int, kept: int) -> list[dict[str, Any]]:
    rows = []
    for n in range(questions):
        status = {"status": "kept", "reason": ""} if n < kept else {"status": "dropped", "reason": "tie"}
        ids = {"chosen_id": f"c{round}-{2 * n + 1:03}", "rejected_id": f"c{round}-{2 * n:03}"}
        row = {
            "pair_id": f"p{round}-{n:03}",
            "round": round,
            "question_id": f"q{round}-{n:03}",
            "judge_id": "j",
            "margin": 0.4,
        }
        rows.append(row | ids | status)
    return rows


def results(
    policy: str, texts: list[str], value: float, metric: str = "token_f1", judge: str = ""
) -> list[dict[str, Any]]:
    return [
        {"policy_id": policy, "benchmark": "medquad_style", "split": "gate", "item_id": f"i{n}", "metric": metric,
        "prediction": text,
         "target": "t", "value": value, "status": "scored", "judge_id": judge, "protocol_hash": "x",
         "data_sha256": "y"}
        for n, text in enumerate(texts)
    ]  # fmt: skip


def training(policy: str, chosen: float, rejected: float, again: float | None = None) -> list[dict[str, Any]]:
    """The log of six steps, one epoch, in which half of the pairs were right; where `again` is given, six more with
    that accuracy.
    """
    rows = []
    for step in range(1, 7 if again is None else 13):
        accuracy = 0.5 if step <= 6 or again is None else again
        done = (min(step, 6) - 1) // 2
        values = {
            "rewards/chosen": chosen * done,
            "rewards/rejected": rejected * done,
            "rewards/accuracies": accuracy,
            "epoch": step / 6,
        }
        rows += [{"policy_id": policy, "step": step, "name": name, "value": value} for name, value in values.items()]
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base, SFT promoted, and round 1 with champion sft and challenger d1, which was promoted; round 2 has begun with
    d1.
    """
    row = {"run_id": "r", "profile": "embedded", "config": flat(CONFIG), "config_hash": CONFIG.config_hash, "seed": 0}
    store = Store.create(tmp_path_factory.mktemp("watch"), row)
    chain = [("base", None, "base", 0), ("sft", "base", "sft", 0), (D1, "sft", "dpo", 1), ("d2", D1, "dpo", 2)]
    store.write(
        {
            "policies": [
                {"policy_id": i, "parent_id": p, "kind": k, "round": r, "path": f"policies/{i}"} for i, p, k, r in chain
            ],
            "rounds": [
                {"round": 0, "champion_in": "base", "challenger": "sft", "champion_out": "sft", "decision": "PROMOTE"},
                {"round": 1, "champion_in": "sft", "challenger": D1, "champion_out": D1, "decision": "PROMOTE"},
                {"round": 2, "champion_in": D1},
            ],
            "decisions": [
                Decision(0, "gate", "PROMOTE", "good", {"policy_id": "sft"}),
                Decision(1, "gate", "PROMOTE", "good", {"policy_id": D1}),
                Decision(1, "controller", "continue", "no monitor is red", {"settings": {}}),
            ],
            **answers(1, "sft", 20, 0.2),
            "preferences": pairs(1, 20, 16),
            "policy_items": [{"policy_id": p, "item_id": "p1-000", "role": "dpo"} for p in (D1, "d2")],
            "eval_items": [*results("sft", ROUGH, 0.5), *results(D1, ROUGH, 0.55)],
        }
    )
    return store.path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    for policy in ("sft", D1, "d2"):
        (tmp_path / "policies" / policy).mkdir(parents=True)
    return Run(tmp_path, Store(Path(shutil.copy(made, tmp_path))), CONFIG)


def second(
    run: Run, *, spread=0.2, cut=0, kept=16, texts=ROUGH, chosen=0.1, rejected=-0.1, again=None, drift=0.5, steps=6,
    labels=(0.6, 0.61), value=0.56,
):  # fmt: skip
    """Round 2 as it would be without a fault, but for what is named; returns its monitors.

    `labels`: what the labelling judge says of both policies on the gate's items; `value`: the challenger's token F1.
    """
    detail = {"champion": D1, "logratios": [drift] * 4, "tokens": 40}
    run.store.write(
        {
            **answers(2, D1, 20, spread, cut=cut),
            "preferences": pairs(2, 20, kept),
            "eval_items": [
                *results("d2", texts, value),
                *results(D1, ROUGH, labels[0], "labelling_quality", "j"),
                *results("d2", texts, labels[1], "labelling_quality", "j"),
            ],
            "train_log": [r for r in training("d2", chosen, rejected, again) if r["step"] <= steps or again],
            "stages": [{"round": 2, "stage": "drift", "status": "done", "detail": detail}],
        }
    )
    return watch.monitor_round(run, 2, D1, "d2")


def closed(run: Run, found: list[Any], action: str = "INCONCLUSIVE") -> str:
    """Ends round 2 as the loop does; returns the champion."""
    from rlaif.loop.rounds import close_round
    from rlaif.screen import Screen

    winner = "d2" if action == "PROMOTE" else D1
    close_round(SimpleNamespace(run=run, screen=Screen()), 2, D1, "d2", action, "the gate's reason", {}, monitors=found)  # type: ignore[arg-type]
    out = run.store.query("SELECT champion_out FROM rounds WHERE round = 2")[0]["champion_out"]
    assert out == run.champion()
    assert out in (winner, D1)
    return str(out)


def test_a_sound_round_is_green_and_changes_nothing(run: Run) -> None:
    found = second(run)
    assert [(m.name, m.red, m.value is None) for m in found] == [
        (name, False, False)
        for name in (
            "logps_falling", "overfit", "length_ratio", "distinct_2", "pair_yield", "score_spread", "judge_up",
            "kl_to_sft", "truncated", "yield_low", "lost_to", "steps_low",
        )
    ]  # fmt: skip
    values = {m.name: m.value for m in found}
    per_token = 0.2 / run.config.dpo.beta / 20
    assert values["logps_falling"] == pytest.approx(per_token), "the last third of six steps, over 20 tokens"
    assert values["kl_to_sft"] == pytest.approx(0.05)
    closed(run, found, "PROMOTE")
    assert run.store.query("SELECT count(*) AS n, count_if(red) AS red FROM monitors WHERE round = 2") == [
        {"n": 12, "red": 0}
    ]
    made = [d for d in watch.decisions(run) if d["round"] == 2]
    assert [(d["kind"], d["action"]) for d in made] == [("gate", "PROMOTE"), ("controller", "continue")]
    assert watch.tuned(run, 3).config is run.config


@pytest.mark.parametrize(
    ("fault", "monitor", "action", "settings"),
    [
        ({"kept": 5}, "pair_yield", "more_candidates", {"sampling.k": 6}),
        ({"spread": 0.05}, "score_spread", "more_candidates", {"sampling.k": 6}),
        ({"cut": 5}, "truncated", "longer_answers", {"sampling.max_new_tokens": 108}),
        ({"steps": 4}, "steps_low", "more_questions", {"sampling.questions": 384}),
        ({"texts": LONGER}, "length_ratio", "even_lengths", {"pairs.length_drift": 0.0}),
        (
            {"texts": ["rest and water help most people"] * 3},
            "distinct_2",
            "lower_learning_rate",
            {"dpo.learning_rate": CONFIG.dpo.learning_rate / 2},
        ),
        ({"chosen": -0.4, "rejected": -0.9}, "logps_falling", "add_nll_weight", {"dpo.sft_weight": 1.5}),
        ({"again": 1.0}, "overfit", "lower_learning_rate", {"dpo.learning_rate": CONFIG.dpo.learning_rate / 2}),
        ({"drift": 2.0}, "kl_to_sft", "lower_learning_rate", {"dpo.learning_rate": CONFIG.dpo.learning_rate / 2}),
    ],
)
def test_a_red_monitor_is_a_decision_and_changes_the_next_round(
    run: Run, fault: dict[str, Any], monitor: str, action: str, settings: dict[str, float]
) -> None:
    found = second(run, **fault)
    assert [m.name for m in found if m.red] == [monitor]
    closed(run, found)
    assert [r["name"] for r in run.store.query("SELECT name FROM monitors WHERE red")] == [monitor]
    made = [d for d in watch.decisions(run) if d["round"] == 2]
    assert [(d["kind"], d["action"]) for d in made] == [
        ("monitor", monitor),
        ("gate", "INCONCLUSIVE"),
        ("controller", action),
    ]
    assert made[0]["evidence"]["value"] == pytest.approx(next(m.value for m in found if m.red))
    assert made[2]["evidence"]["settings"] == settings and list(made[2]["evidence"]["red"]) == [monitor]
    now, then = flat(watch.tuned(run, 3).config), flat(run.config)
    assert {key: now[key] for key in now if now[key] != then[key]} == settings
    assert watch.tuned(run, 2).config is run.config, (
        "the round that is over keeps its settings when it is looked at again"
    )


GAMED = {"labels": (0.6, 0.75), "value": 0.54}


def test_a_challenger_that_pleases_the_labelling_judge_alone_is_held_up(run: Run) -> None:
    found = second(run, **GAMED)
    assert [m.name for m in found if m.red] == ["judge_up"]
    assert {g.name for g in watch.guards(found, run.config) if g.red and g.blocking} == {"judge_up"}
    assert closed(run, found) == D1
    assert [d["action"] for d in watch.decisions(run) if d["kind"] == "controller"][-1] == "higher_margin"


def test_where_that_does_not_block_the_promotion_is_taken_back(run: Run) -> None:
    found = second(run, **GAMED)
    assert closed(run, found, "PROMOTE") == D1
    made = [d for d in watch.decisions(run) if d["round"] == 2]
    assert [(d["kind"], d["action"]) for d in made[1:]] == [
        ("gate", "PROMOTE"),
        ("controller", "roll_back"),
        ("controller", "PROMOTE"),
    ]
    assert made[3]["evidence"] == {"policy_id": D1, "previous": "d2"}


def test_one_independent_measure_that_rises_is_enough(run: Run) -> None:
    """Quality and token F1 are both asked, on the items that the labelling judge has marked and on no others."""
    judged = {"metric": "quality", "judge": "g"}
    run.store.write({"eval_items": [*results(D1, ROUGH, 0.5, **judged), *results("d2", ROUGH, 0.52, **judged)]})
    found = {m.name: m for m in second(run, **GAMED)}
    assert not found["judge_up"].red and "quality 0.500 -> 0.520, token_f1 0.550 -> 0.540" in found["judge_up"].detail
    run.store.execute([("DELETE FROM eval_items WHERE metric = 'labelling_quality' AND item_id <> 'i1'", [])])
    run.store.execute([("DELETE FROM eval_items WHERE metric = 'quality' AND item_id = 'i1'", [])])
    found = {m.name: m for m in watch.monitor_round(run, 2, D1, "d2")}
    assert found["judge_up"].red and found["judge_up"].detail.endswith("token_f1 0.550 -> 0.540, on 1 gate questions")


def test_what_levers_look_at(run: Run) -> None:
    second(run, cut=10, spread=0.05)
    run.store.write(
        {
            "stages": [
                {"round": 2, "stage": "sample", "status": "done", "detail": {"room": 300}},
                {"round": 2, "stage": "pairs", "status": "done", "detail": {"sem": 0.1}},
            ]
        }
    )
    found = watch.found(run, 2)
    assert (found.cut, found.room, found.questions) == (0.25, 300, None)
    assert (found.best, found.margin) == (pytest.approx(0.65), pytest.approx(0.1))
    assert found.noise == pytest.approx(1.645 * 2**0.5 * 0.1)


def test_a_low_yield_is_put_down_to_the_most_frequent_reason(run: Run) -> None:
    run.store.execute([("DELETE FROM preferences", [])])
    lost = [
        {**row, "reason": "all_bad: best 0.10 < 0.50" if n % 2 else "tie: both 0.00"} if n > 4 else row
        for n, row in enumerate(pairs(1, 20, 2))
    ]
    run.store.write({"preferences": lost})
    found = {m.name: m for m in watch.monitor_round(run, 1, "sft", D1)}
    assert (found["yield_low"].value, found["yield_low"].red) == (0.1, True)
    assert (found["lost_to"].cause, found["lost_to"].detail) == ("tie", "tie: 10 of 20 questions, 50%")
    assert found["lost_to"].red and found["lost_to"].value == 0.5


def test_what_did_not_help_goes_back_two_rounds_later(run: Run) -> None:
    made = {"key": "sampling.k", "from": 4, "to": 6, "because": "pair_yield", "cause": "", "value": 0.3}
    run.store.execute([("DELETE FROM decisions WHERE kind = 'controller'", [])])
    run.decide(
        Decision(
            1, "controller", "more_candidates", "pair_yield is red", {"settings": {"sampling.k": 6}, "change": made}
        )
    )
    run.store.write({"rounds": [{"round": 3, "champion_in": D1}]})
    found = second(run, kept=4)  # 25% of round 1's 80%, below what it was when k was raised
    assert watch.control(run, 2, found, "INCONCLUSIVE", D1, "d2")[0][0].action == "more_candidates", "one round later"
    run.store.write({"preferences": pairs(3, 20, 4)} | answers(3, D1, 20, 0.2))
    (decision,), _ = watch.control(run, 3, watch.monitor_round(run, 3, D1, "d2"), "INCONCLUSIVE", D1, "d2")
    assert decision.action == "undo" and decision.evidence["settings"] == {}
    assert decision.evidence["undone"] == made | {
        "round": 1, "action": "more_candidates", "now": pytest.approx(0.25), "measure": "pair_yield"
    }  # fmt: skip
    assert "pair_yield was 0.3 then and is 0.25 now" in decision.reason and "sampling.k 6 -> 4" in decision.reason


def test_only_the_configured_guards_block(run: Run) -> None:
    found = second(run, texts=["rest and water help most people " * 2] * 3, kept=5)
    guards = {g.name: g for g in watch.guards(found, run.config)}
    assert {n for n, g in guards.items() if g.red} == {"length_ratio", "distinct_2", "pair_yield"}
    assert {n for n, g in guards.items() if g.red and g.blocking} == {"distinct_2"}
    assert guards["length_ratio"].detail.startswith("red, only warns: ")


def test_without_a_challenger_what_looks_at_it_is_not_measured(run: Run) -> None:
    run.store.write(answers(2, D1, 20, 0.2) | {"preferences": pairs(2, 20, 4)})
    found = watch.monitor_round(run, 2, D1, None)
    assert [m.name for m in found if m.value is None] == [
        "logps_falling",
        "overfit",
        "length_ratio",
        "distinct_2",
        "judge_up",
        "kl_to_sft",
        "steps_low",
    ]
    assert [m.name for m in found if m.red] == ["pair_yield"]
    assert len(watch.guards(found, run.config)) == 5


def test_three_rejections_in_a_row_end_the_loop_until_a_person_promotes(run: Run) -> None:
    run.store.execute([("UPDATE rounds SET decision = 'REJECT' WHERE round IN (1, 2)", [])])
    run.store.write({"rounds": [{"round": 3, "champion_in": D1, "champion_out": D1, "decision": "REJECT"}]})
    assert watch.halted(run) is None
    chosen, _ = watch.control(run, 3, [], "REJECT", D1, "d2")
    assert [d.action for d in chosen] == ["stop"]
    run.store.write({"decisions": chosen})
    assert watch.halted(run) == "after round 3: 3 rejections in a row: this recipe makes nothing better from here"
    run.decide(Decision(3, "manual", "PRUNE", "room", {"policies": []}))
    assert watch.halted(run), "only a promotion lets it go on"
    assert "is champion now" in admin.promote(run, D1, "a few more tries, please")
    assert watch.halted(run) is None
    assert "champion already" in admin.promote(run, D1, "again")


def test_a_stopped_run_says_so_and_loads_nothing(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rlaif.models.base", None)
    run.store.execute([("UPDATE rounds SET decision = 'INCONCLUSIVE' WHERE round = 2", [])])
    run.decide(Decision(2, "controller", "stop", "3 rejections in a row", {"settings": {}}))
    run_from_command_line(run.folder, CONFIG, 9)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "the controller stopped the loop after round 2: 3 rejections in a row; `promote POLICY --why "
        "TEXT` lets it go on" in said
    )
    assert run.store.query("SELECT count(*) AS n FROM sessions") == [{"n": 0}]


def test_round_1_is_measured_against_itself(run: Run) -> None:
    run.store.write({"train_log": training(D1, 0.1, -0.1)})
    found = {m.name: m for m in watch.monitor_round(run, 1, "sft", D1)}
    assert (found["pair_yield"].value, found["score_spread"].value, found["kl_to_sft"].value) == (1.0, 1.0, 0.0)
    assert found["judge_up"].value is None and "has not marked" in found["judge_up"].detail


def test_pairs_excluded_by_hand_count_as_kept(run: Run) -> None:
    before = second(run)
    run.store.execute(
        [
            (
                (
                    "UPDATE preferences SET status = 'dropped', reason = 'excluded by hand: x' WHERE round = "
                    "2 AND status = 'kept'"
                ),
                [],
            )
        ]
    )
    assert watch.monitor_round(run, 2, D1, "d2") == before


@pytest.mark.slow  # imports torch
def test_a_higher_margin_leaves_out_older_narrow_pairs_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlaif.train import stages

    trained: list[dict[str, Any]] = []
    monkeypatch.setattr(stages, "answer_prompt", lambda tokenizer, prompt, question, **_: question.question)
    monkeypatch.setattr(
        stages,
        "train_stage",
        lambda run, base, stage, screen, row, items, *rest: trained.append(row | {"items": items}),
    )
    source = {
        "dataset": "medquad",
        "split": "train",
        "source_id": "s",
        "group_id": "g",
        "question": "What helps?",
        "reference": "Rest.",
    }
    run.store.write({"questions": [{"question_id": f"q1-{n:03}"} | source for n in range(20)]})
    run.store.execute([("UPDATE preferences SET margin = 0.12 WHERE pair_id < 'p1-010'", [])])
    run.decide(
        Decision(2, "controller", "higher_margin", "length_ratio is red", {"settings": {"pairs.min_margin": 0.15}})
    )
    config = SimpleNamespace(_attn_implementation="eager")  # all that a recipe asks of the model
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    for round in (2, 3):
        tuned, thing = watch.tuned(run, round), SimpleNamespace(sha256="x", tokenizer=None, thinking=0, model=model)
        stages.dpo(tuned, thing, "sft", round, thing, None)  # type: ignore[arg-type]
    before, after = ([item["item_id"] for item in row["items"]] for row in trained)
    assert before == [f"p1-{n:03}" for n in range(16)] and after == [f"p1-{n:03}" for n in range(10, 16)]
    assert trained[0]["policy_id"] != trained[1]["policy_id"]


def test_no_torch_is_needed() -> None:
    code = "import sys, rlaif.loop.monitor_round; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"
