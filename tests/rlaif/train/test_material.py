"""What a round learns from, on a database with made-up rows; no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import Config, DpoConfig, flat
from rlaif.config_file import load_config
from rlaif.run import Run
from rlaif.train.material import best_answers, dpo_pairs, label_smoothing, reference_pairs, split_heldout
from rlaif.train.stages import recorded
from rlaif.types import Candidate, Preference, Question, RlaifError, Verdict
from stores.store import Store

# question -> (split, scores of its answers); a score of None was not given, and "cut" ended at the token limit
ASKED: dict[str, tuple[str, list[Any]]] = {
    "q1": ("train", [0.2, 0.9, 0.9]),
    "q2": ("train", [0.4, 0.1, "cut"]),
    "q3": ("train", [0.0, 0.0, None]),
    "q4": ("train", [0.6, 0.5, 0.3]),
    "g1": ("gate", [0.9, 0.1, 0.2]),  # no round asks these: were one to, nothing would be learned from it
    "s1": ("sealed", [0.9, 0.1, 0.2]),
}


def with_settings(run: Run, *overrides: str) -> Run:
    return dataclasses.replace(run, config=load_config("embedded", [*overrides]))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Policy p1 was champion in round 1 and answered all of ASKED; p2, made of it, is in round 2 and answered q4."""
    config = Config()
    row = {"run_id": "r", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    store = Store.create(tmp_path / "run", row)
    questions = [
        Question(q, "medquad_style", split, q, q, f"Why {q}?", reference=f"reference of {q}")
        for q, (split, _) in ASKED.items()
    ]
    candidates, verdicts = [], []
    of_p1 = [(1, "p1", q, scores) for q, (_, scores) in ASKED.items()]
    for round, policy, question, scores in [*of_p1, (2, "p2", "q4", [0.8, 0.7])]:
        for n, score in enumerate(scores):
            name = f"{policy}.{question}.{n}"
            reason = "length" if score == "cut" else "stop"
            candidates.append(
                Candidate(name, round, question, policy, "s", n, 0, 0, f"answer {name}", 5, reason, -1.0, {})
            )
            if score is not None:
                value = 0.99 if score == "cut" else score
                verdicts.append(Verdict(name, "j", 0, "scored", value))
    policies = [
        {"policy_id": "b", "kind": "base", "round": 0},
        {"policy_id": "p1", "kind": "sft", "round": 0, "parent_id": "b"},
        {"policy_id": "p2", "kind": "dpo", "round": 1, "parent_id": "p1"},
    ]
    preferences = [
        Preference("k1", 1, "q1", "j", "kept", "", "p1.q1.1", "p1.q1.0", 0.9, 0.2, 0.7),
        Preference("k2", 2, "q4", "j", "kept", "", "p2.q4.0", "p2.q4.1", 0.8, 0.7, 0.1),
        Preference("k3", 1, "q4", "j", "dropped", "tie: x", "p1.q4.0", "p1.q4.1", 0.6, 0.5, 0.1),
    ]
    stages = [{"round": n, "stage": "judge", "status": "done", "detail": {"judge_id": "j"}} for n in (1, 2)]
    tables = {"questions": questions, "candidates": candidates, "verdicts": verdicts, "policies": policies}
    store.write({**tables, "preferences": preferences, "stages": stages})
    return Run(tmp_path / "run", store, config)


def ids(found: list[Any]) -> list[str]:
    return [t.item_id for t in found]


def test_the_best_answer_of_each_training_question_that_ended_and_scored(run: Run) -> None:
    """q1: the first of two best; q2: not the one that was cut off; q3: nobody scored above 0; g1, s1: never."""
    assert ids(best_answers(run, "p1", 1, run.config)) == ["p1.q1.1", "p1.q2.0", "p1.q4.0"]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["best_of.min_score=0.5"], ["p1.q1.1", "p1.q4.0"]),
        (["best_of.min_score=0.6"], ["p1.q1.1", "p1.q4.0"]),
        (["best_of.top=0.3"], ["p1.q1.1"]),
        (["best_of.references=1"], ["reference:q1", "reference:q2", "reference:q3", "reference:q4"]),
    ],
)
def test_settings_of_best_of_choose_among_them(run: Run, settings: list[str], wanted: list[str]) -> None:
    settings = ["best_of.epochs=1", *settings]
    assert ids(best_answers(run, "p1", 1, with_settings(run, *settings).config)) == wanted


def test_a_share_of_references_takes_the_place_of_own_answers(run: Run) -> None:
    config = with_settings(run, "best_of.references=0.5").config
    found = best_answers(run, "p1", 1, config)
    references = [t for t in found if t.item_id.startswith("reference:")]
    assert len(references) == 2 and all(t.text == f"reference of {t.question_id}" for t in references)
    assert len({t.question_id for t in found}) == len(found), "one answer to each question"
    assert ids(found) == ids(best_answers(run, "p1", 1, config)), "drawn the same way each time"


def test_answers_of_another_policy_are_not_the_champions(run: Run) -> None:
    assert ids(best_answers(run, "p2", 2, run.config)) == ["p2.q4.0"]
    assert len(best_answers(run, "p1", 2, run.config)) == 3, "those of earlier rounds are, while it is champion"


def test_reference_pairs_are_of_training_questions_alone(run: Run) -> None:
    pairs, texts = reference_pairs(run, "p1", 1, with_settings(run, "dpo.reference_chosen=1").config)
    assert [(p["question_id"], p["rejected_id"]) for p in pairs] == [
        ("q1", "p1.q1.0"),
        ("q2", "p1.q2.1"),
        ("q3", "p1.q3.0"),
        ("q4", "p1.q4.2"),
    ]
    assert {t["question_id"]: t["text"] for t in texts} == {f"q{n}": f"reference of q{n}" for n in (1, 2, 3, 4)}
    for pair in pairs:  # nobody judged the reference
        assert "chosen_score" not in pair and "margin" not in pair
        assert (pair["kind"], pair["reason"], pair["judge_id"]) == ("reference", "reference", "j")


def test_reference_pairs_are_marked_in_the_database_and_trained_on(run: Run) -> None:
    run = with_settings(run, "dpo.reference_chosen=0.5")
    pairs, texts = reference_pairs(run, "p1", 1, run.config)
    run.store.write({"preferences": pairs, "imported_answers": texts})
    rows = run.store.query("SELECT * FROM preference_pairs WHERE kind = 'reference'")
    assert len(rows) == 2 == len(pairs)
    for row in rows:
        assert row["chosen"] == f"reference of {row['question_id']}" and row["margin"] is row["chosen_score"] is None
    assert {r["pair_id"] for r in dpo_pairs(run, "p1", 1, run.config)} == {"k1", *(p["pair_id"] for p in pairs)}
    assert [r["pair_id"] for r in dpo_pairs(run, "p2", 2, run.config)] == ["k2"], "p1 is not champion any more"


def test_all_earlier_pairs_join_once(run: Run) -> None:
    config = with_settings(run, "dpo.earlier=all").config
    assert [r["pair_id"] for r in dpo_pairs(run, "p2", 2, run.config)] == ["k2"]
    assert [r["pair_id"] for r in dpo_pairs(run, "p2", 2, config)] == ["k1", "k2"]
    assert [r["pair_id"] for r in dpo_pairs(run, "p1", 1, config)] == ["k1"], "none of a later round"
    again = Preference("k0", 1, "q1", "j", "kept", "", "p1.q1.1", "p1.q1.0", 0.9, 0.2, 0.7)
    run.store.write({"preferences": [again]})
    assert [r["pair_id"] for r in dpo_pairs(run, "p2", 2, config)] == ["k0", "k2"], "the same two texts teach once"


def test_questions_are_held_out_whole(run: Run) -> None:
    pairs = [{"pair_id": f"{q}{n}", "question_id": f"q{q}"} for q in range(10) for n in range(3)]
    seen, unseen = split_heldout(pairs, 0.2, 7)
    assert len({p["question_id"] for p in unseen}) == 2 and len(unseen) == 6
    assert not {p["question_id"] for p in seen} & {p["question_id"] for p in unseen}
    assert len(seen) + len(unseen) == 30 and (seen, unseen) == split_heldout(pairs, 0.2, 7)
    assert split_heldout(pairs, 0.0, 7) == (pairs, [])
    assert len(split_heldout(pairs[:6], 0.01, 7)[1]) == 3, "at least one question"
    assert split_heldout(pairs[:3], 0.5, 7) == (pairs[:3], []), "something is left to train on"


def exam_rows(*outcomes: str, item_type: str = "negated", exam: str = "embedded") -> list[dict[str, Any]]:
    same = {"exam": exam, "judge_id": "j", "item_type": item_type}
    return [
        same | {"pair": f"{exam}{item_type}{n}", "outcome": o, "reason": "x" if o == "unscored" else ""}
        for n, o in enumerate(outcomes)
    ]


def test_the_judges_flip_rate_is_that_of_its_exams(run: Run) -> None:
    run = with_settings(run, "dpo.loss=robust", "dpo.label_smoothing=judge")
    with pytest.raises(RlaifError, match="sat no exam"):
        label_smoothing(run, 1, run.config)
    told = exam_rows("ordered", "ordered", "reversed", "tie", "unscored")
    told += exam_rows("ordered", item_type="swapped_focus", exam="medquad")
    other = exam_rows("failed", item_type="padded") + exam_rows("reversed", exam="published preferences")
    run.store.write({"exam_items": told + other})
    assert label_smoothing(run, 1, run.config) == 0.25
    run.store.write({"exam_items": exam_rows(*["reversed"] * 3, item_type="wrong_question")})
    with pytest.raises(RlaifError, match="4 of 7 exam pairs"):
        label_smoothing(run, 1, run.config)
    assert label_smoothing(run, 1, with_settings(run, "dpo.loss=robust", "dpo.label_smoothing=0.1").config) == 0.1


def test_the_recipe_of_default_settings_is_as_it_was() -> None:
    """These keys, and no other, made the ids of policies before there were more: a new key at its default is not in."""
    first = """learning_rate epochs batch_size gradient_accumulation warmup_steps scheduler max_length
        gradient_checkpointing beta sft_weight""".split()
    assert list(recorded(DpoConfig())) == first
    assert recorded(DpoConfig()) == {key: getattr(DpoConfig(), key) for key in first}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", "ipo"),
        ("ld_alpha", 0.5),
        ("heldout", 0.1),
        ("earlier", "all"),
        ("reference_chosen", 0.5),
        ("interpolation", 0.5),
    ],
)
def test_a_setting_that_trains_otherwise_is_in_the_recipe(key: str, value: Any) -> None:
    assert recorded(DpoConfig.model_validate({key: value}))[key] == value
    changed = {k: v for k, v in recorded(DpoConfig.model_validate({key: value})).items() if k != key}
    assert changed == recorded(DpoConfig())
