from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rlaif.config import Config, flat
from rlaif.evals import medquad
from rlaif.evals.evaluate import data_hash
from rlaif.gate.labels import given, labels_at, open_gate, to_label
from rlaif.prompts import load_prompt
from rlaif.review.label import person
from rlaif.review.label_gate import label_by_judge, label_by_person
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import EvalItem, Question, RlaifError, UsageError
from stores.store import Store

N = 40
QUESTIONS = [
    Question(
        f"q{i:02}", "medquad_style", "gate", "", f"g{i // 2}", f"What helps against {i}?", f"about {i}", f"Rest {i}."
    )
    for i in range(N)
]
PROMPT = load_prompt(Config().prompts.policy)


@pytest.fixture
def gate_run(tmp_path: Path) -> Run:
    """A run whose round 1 waits at the gate: answers to every fourth question are the same."""
    config = Config()
    gate = config.gate.model_copy(update={"labels": 30})
    config = config.model_copy(update={"gate": gate})
    row = {"run_id": "r1", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    store = Store.create(tmp_path, row)
    protocol, data = medquad.protocol_hash(PROMPT, config.evaluation), data_hash(QUESTIONS)
    rows = [
        EvalItem(policy, "medquad_style", "gate", q.question_id, "token_f1", said(policy, i), q.reference, 0.5,
                 "scored", "", "", protocol, data)
        for policy in ("champ", "chall") for i, q in enumerate(QUESTIONS)
    ]  # fmt: skip
    store.write({"questions": QUESTIONS, "eval_items": rows, "rounds": [{"round": 1, "champion_in": "champ"}]})
    stages = [
        {"round": 1, "stage": f"evaluate:medquad_style:{p}", "status": "done", "detail": {"policy_id": p}}
        for p in ("champ", "chall")
    ]
    store.write({"stages": stages})
    return Run(tmp_path, store, config)


def said(policy: str, i: int) -> str:
    return f"Nothing {i}." if i % 4 == 0 or policy == "champ" else f"Rest {i}, and water."


class Reader:
    """Gives 4 to the answer with water and 2 to the other one, wherever each stands; skips what `skip` names."""

    def __init__(self, screen: Screen, skip: tuple[str, ...] = ()) -> None:
        self.screen, self.skip = screen, skip

    def __call__(self) -> str:
        shown = self.screen.text().rsplit("Question: ", 1)[1]  # type: ignore[attr-defined]
        if any(f"against {i}?" in shown for i in self.skip):
            return "s\n"
        return "4 2\n" if "water" in shown.split("--- Answer B ---")[0] else "2 4\n"


def typed(*lines: str) -> Callable[[], str]:
    queue = [f"{line}\n" for line in lines]
    return lambda: queue.pop(0) if queue else ""


def test_a_round_waits_for_labels_and_goes_on_with_them(gate_run: Run, screen: Screen) -> None:
    assert open_gate(gate_run, None) == (1, "champ", "chall")
    with pytest.raises(RlaifError, match=r"round 1 waits for labels: 0 of 30 .* judge label --gate"):
        labels_at(gate_run, 1, "champ", "chall", PROMPT)
    counts = label_by_person(gate_run, "anna", 20, None, screen, Reader(screen))
    assert counts == {"labelled": 20, "skipped": 0, "left": 10}
    with pytest.raises(RlaifError, match="20 of 30"):
        labels_at(gate_run, 1, "champ", "chall", PROMPT)
    label_by_person(gate_run, "anna", 20, None, screen, Reader(screen))
    found = labels_at(gate_run, 1, "champ", "chall", PROMPT)
    assert found is not None and len(found) == 30
    assert set(found.values()) == {((2 - 1) / 3, 1.0)}, "whichever answer was shown first"
    assert not any(int(item[1:]) % 4 == 0 for item in found), "the same answers need no label"
    shown = gate_run.store.query("SELECT DISTINCT shown FROM gate_labels ORDER BY shown")
    assert [row["shown"] for row in shown] == ["challenger first", "champion first"]
    with pytest.raises(UsageError, match="no gate item that still needs a label"):
        label_by_person(gate_run, "anna", 20, None, screen, Reader(screen))
    assert "Reference: Rest" in screen.text() and "champ" not in screen.text()  # type: ignore[attr-defined]


def test_skipped_items_come_again_and_are_no_choice_of_items(gate_run: Run, screen: Screen) -> None:
    label_by_person(gate_run, "anna", 40, None, screen, Reader(screen, skip=("1",)))
    with pytest.raises(RlaifError, match="29 of 30"):
        labels_at(gate_run, 1, "champ", "chall", PROMPT)
    lenient = gate_run.config.gate.model_copy(update={"max_unscored": 0.05})
    easy = replace(gate_run, config=gate_run.config.model_copy(update={"gate": lenient}))
    few = labels_at(easy, 1, "champ", "chall", PROMPT)
    assert few is not None and len(few) == 29, "too few to correct the judge: the gate says so, which alone decides not"
    assert label_by_person(gate_run, "anna", 40, None, screen, Reader(screen))["labelled"] == 1
    assert len(labels_at(gate_run, 1, "champ", "chall", PROMPT) or {}) == 30


def test_two_people_are_averaged(gate_run: Run, screen: Screen) -> None:
    for name, marks in (("anna", "1 1"), ("bert", "4 4")):
        label_by_person(gate_run, name, 1, 1, screen, typed(marks))
    asked = to_label(gate_run, "champ", "chall", PROMPT, 30)
    assert given(gate_run, "champ", "chall", asked) == {asked[0].question.question_id: (0.5, 0.5)}
    assert person("anna").judge_id != person("bert").judge_id


def test_what_is_no_mark_is_asked_again_and_q_ends(gate_run: Run, screen: Screen) -> None:
    counts = label_by_person(gate_run, "anna", 5, None, screen, typed("5 1", "good", "3", "3,2", "q"))
    assert counts["labelled"] == 1
    assert screen.text().count("is not two marks from 1 to 4") == 3  # type: ignore[attr-defined]


def test_labels_that_a_run_did_not_ask_for_decide_nothing(gate_run: Run, screen: Screen) -> None:
    label_by_person(gate_run, "anna", 40, None, screen, Reader(screen))
    none = gate_run.config.gate.model_copy(update={"labels": 0})
    plain = replace(gate_run, config=gate_run.config.model_copy(update={"gate": none}))
    assert labels_at(plain, 1, "champ", "chall", PROMPT) is None


def test_a_careful_judge_labels_too_but_not_the_gates_own(gate_run: Run, screen: Screen) -> None:
    with pytest.raises(UsageError, match="the gate's own judge"):
        label_by_judge(gate_run, gate_run.config.evaluation.judge or gate_run.config.judge.model, 30, None, screen)
    free = gate_run.config.judge.model_copy(update={"require_licence": False})
    run = replace(gate_run, config=gate_run.config.model_copy(update={"judge": free}))
    assert label_by_judge(run, "support", 30, None, screen) == {"labelled": 30, "skipped": 0, "left": 0}
    found = labels_at(run, 1, "champ", "chall", PROMPT)
    assert found is not None and all(after > before for before, after in found.values())


def test_without_a_round_at_the_gate_there_is_nothing_to_label(gate_run: Run, screen: Screen) -> None:
    with pytest.raises(UsageError, match="no round 4 has policies at the gate"):
        label_by_person(gate_run, "anna", 5, 4, screen, typed())
