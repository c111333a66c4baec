"""The rows of a tiny finished run, made up, in a real database: for tests of what reads a run.

Round 0 promoted SFT; round 1 kept one of three pairs, and its challenger ended INCONCLUSIVE. There are no weights.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rlaif.config import Config, flat
from rlaif.config_file import to_toml
from rlaif.prompts import load_prompt
from rlaif.types import LABELS, Decision, Question
from stores.store import Store

T0 = datetime(2026, 5, 4, 10, 0, 0)


def make_finished_run(folder: Path, config: Config | None = None) -> Path:
    """A finished run in the new folder `folder`, in milliseconds and without torch; returns `folder`.

    It can be opened, asked in SQL, shown and reported. No policy of it can answer, because there are no weights.
    `config` is what it says it was made with; the default is the embedded profile's.
    """
    config = config or Config(seed=7)
    row = {"profile": config.profile, "config": flat(config), "config_hash": config.config_hash, "seed": config.seed}
    store = Store.create(folder, {"run_id": "r1", **row})
    (folder / "config.toml").write_text(to_toml(config), "utf-8")
    write_round_1(store)
    write_gate_questions(store)
    prompt = load_prompt(config.prompts.policy)
    known = {"prompt_sha256": prompt.sha256, "kind": prompt.kind, "name": prompt.name, "text": prompt.text}
    store.write({"prompts": [known]})
    end_session(store, 0)
    return folder


def write_gate_questions(store: Store) -> None:
    """The questions that :func:`answers` belong to."""
    asked = [
        Question(f"p{i}", "pubmedqa_style", "gate", f"p{i}", f"p{i}", f"Does trial {i} help?", label=label)
        for i, label in enumerate((*LABELS, LABELS[0]))
    ]
    asked += [
        Question(f"m{i}", "medquad_style", "gate", f"m{i}", f"m{i}", f"What is illness {i}?", reference=f"Illness {i}.")
        for i in range(4)
    ]
    store.write({"questions": asked})


def policy(name: str, kind: str, round: int, parent: str | None = None) -> dict[str, Any]:
    recipe = {"quantization": "gptq"} if kind == "base" else {"learning_rate": 0.001}
    row = {
        "policy_id": name,
        "kind": kind,
        "round": round,
        "parent_id": parent,
        "recipe": recipe,
        "sha256": f"{name}abcdef0123456789",
    }
    return row | {"reference_id": parent if kind == "dpo" else None, "created_at": T0 + timedelta(minutes=round)}


def gate(
    round: int, champion: str, challenger: str, condition: str, metric: str, passed: bool, **numbers: Any
) -> dict[str, Any]:
    benchmark = "medquad_style" if metric.startswith("token_f1") else "pubmedqa_style"
    row = {
        "round": round,
        "look": max(round, 1),
        "champion": champion,
        "challenger": challenger,
        "condition": condition,
    }
    row |= {"metric": metric, "benchmark": benchmark, "passed": passed, "test": condition}
    if condition == "valid":
        return row | {"detail": "4 and 4 items, 0 not the same in both"}
    values = {
        "n": 40,
        "n_clusters": 40,
        "champion_mean": 0.5,
        "challenger_mean": 0.6,
        "delta": 0.1,
        "ci_low": 0.02,
        "ci_high": 0.18,
        "threshold": 0.005,
    }
    return (
        row
        | values
        | ({"p_value": 0.004, "p_adjusted": 0.008, "alpha": 0.01} if condition == "better" else {})
        | numbers
    )


def answers(policy_id: str, predictions: str, f1: float) -> list[dict[str, Any]]:
    """Four items of each benchmark; `predictions` are the beginnings of yes, no, maybe, or ? for something else."""
    names = {"y": "yes", "n": "no", "m": "maybe", "?": "unparsed"}
    rows: list[dict[str, Any]] = []
    for i, (letter, target) in enumerate(zip(predictions, ("yes", "no", "maybe", "yes"), strict=True)):
        row = {"policy_id": policy_id, "split": "gate", "status": "scored", "protocol_hash": "p1", "data_sha256": "d1"}
        said = names[letter]
        right = {
            "benchmark": "pubmedqa_style",
            "item_id": f"p{i}",
            "metric": "accuracy",
            "prediction": said,
            "target": target,
        }
        rows.append(row | right | {"value": float(said == target)})
        rows.append(
            row | {"benchmark": "medquad_style", "item_id": f"m{i}", "metric": "token_f1", "value": f1 + i / 100}
        )
    return rows


def candidate(name: str, round: int, question: str, index: int, text: str, tokens: int) -> dict[str, Any]:
    row = {
        "candidate_id": name,
        "round": round,
        "question_id": question,
        "policy_id": "sft00000bb",
        "prompt_sha256": "x",
    }
    return row | {
        "sample_index": index,
        "batch": 0,
        "seed": index,
        "text": text,
        "n_tokens": tokens,
        "finish_reason": "stop",
    }


def verdict(candidate_id: str, score: float, rationale: str = "2 of 3 key points") -> dict[str, Any]:
    row = {"candidate_id": candidate_id, "judge_id": "j1", "replicate": 0, "status": "scored", "rationale": rationale}
    return row | {"score": score, "factual_accuracy": score, "completeness": None, "key_point_coverage": None}


def write_base(store: Store) -> None:
    """Round 0 under way: the base is prepared and nothing else."""
    session = {"session_id": "s1", "started_at": T0, "pid": 1, "argv": ["loop", "--run", "/home/someone/my-run"]}
    store.write(
        {
            "policies": [policy("base0000aa", "base", 0)],
            "rounds": [{"round": 0, "champion_in": "base0000aa"}],
            "sessions": [session | {"versions": {"python": "3.11", "torch": "2.13"}}],
        }
    )


def write_round_0(store: Store) -> None:
    """SFT is promoted."""
    write_base(store)
    done = {
        "round": 0,
        "champion_in": "base0000aa",
        "challenger": "sft00000bb",
        "champion_out": "sft00000bb",
        "decision": "PROMOTE",
    }
    pair = ("base0000aa", "sft00000bb")
    store.write(
        {
            "policies": [policy("sft00000bb", "sft", 0, "base0000aa")],
            "rounds": [done],
            "eval_items": answers("base0000aa", "nnnn", 0.5) + answers("sft00000bb", "ynm?", 0.6),
            "gates": [
                gate(0, *pair, "better", "token_f1", True),
                gate(0, *pair, "better", "accuracy", False, b=2, c=1),
                gate(0, *pair, "valid", "token_f1: same_items", True),
            ],
            "decisions": [Decision(0, "gate", "PROMOTE", "SFT look 1: token_f1 up", {"policy_id": "sft00000bb"})],
            "policy_items": [{"policy_id": "sft00000bb", "item_id": f"t{i}", "role": "sft"} for i in range(3)],
            "train_log": [
                {"policy_id": "sft00000bb", "step": i, "name": "loss", "value": 2.0 / i} for i in range(1, 500)
            ],
        },
        replace=["rounds"],
    )


def write_round_1(store: Store) -> None:
    """Round 1 finds nothing: one pair kept, two dropped; one answer could not be scored."""
    write_round_0(store)
    done = {
        "round": 1,
        "champion_in": "sft00000bb",
        "challenger": "dpo10000cc",
        "champion_out": "sft00000bb",
        "decision": "INCONCLUSIVE",
    }
    pair = ("sft00000bb", "dpo10000cc")
    numbers: dict[str, Any] = {
        "champion_mean": 0.6,
        "challenger_mean": 0.595,
        "delta": -0.005,
        "ci_low": -0.03,
        "ci_high": 0.02,
    }
    kept = {
        "pair_id": "a1",
        "status": "kept",
        "chosen_id": "c1",
        "rejected_id": "c2",
        "chosen_score": 0.9,
        "rejected_score": 0.4,
    }
    dropped = [
        {"pair_id": f"a{i}", "question_id": f"q{i}", "status": "dropped", "reason": reason}
        for i, reason in ((2, "tie: both 0.50"), (3, "tie: both 1.00"))
    ]
    common = {"round": 1, "judge_id": "j1", "question_id": "q1"}
    unscored = {
        "candidate_id": "c3",
        "judge_id": "j1",
        "replicate": 0,
        "status": "unparsed",
        "reason": "no number in it",
    }
    question = {"question_id": "q1", "dataset": "medquad_style", "split": "train", "source_id": "1", "group_id": "g1"}
    store.write(
        {
            "policies": [policy("dpo10000cc", "dpo", 1, "sft00000bb")],
            "rounds": [done],
            "questions": [question | {"question": "What is gout?", "reference": "A disease of the joints."}],
            "judges": [{"judge_id": "j1", "model": "reference", "prompt_name": "none"}],
            "candidates": [candidate(f"c{i}", 1, "q1", i, f"Answer {i}.", 10 + i) for i in range(1, 4)],
            "verdicts": [verdict("c1", 0.9), verdict("c2", 0.4)],
            "eval_items": answers("dpo10000cc", "ynmn", 0.595),
            "gates": [
                gate(1, *pair, "better", "token_f1", False, **numbers),
                gate(1, *pair, "better", "accuracy", False, b=0, c=0),
            ],
            "decisions": [
                Decision(1, "gate", "INCONCLUSIVE", "about 900 items", {"policy_id": "sft00000bb", "items_needed": 900})
            ],
            "train_log": [
                {"policy_id": "dpo10000cc", "step": 1, "name": name, "value": 0.5}
                for name in ("loss", "rewards/margins")
            ],
        },
        replace=["rounds"],
    )
    store.write({"preferences": [common | kept]})
    store.write({"preferences": [common | row for row in dropped], "verdicts": [unscored]})


def end_session(store: Store, code: int | None) -> None:
    ended = None if code is None else T0 + timedelta(minutes=5)
    store.write({"sessions": [{"session_id": "s1", "ended_at": ended, "exit_code": code}]}, replace=["sessions"])
