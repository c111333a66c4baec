"""Further data sets in a real database: they come back as written, train as configured, and stand at the gate."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.config import EvalConfig
from rlaif.config_file import load_config
from rlaif.data.questions import prepare_questions
from rlaif.evals.benchmarks import AT_THE_GATE
from rlaif.evals.evaluate import check_benchmarks, gate_questions
from rlaif.loop.draw import draw
from rlaif.prompts import load_prompt
from rlaif.records import load_questions
from rlaif.run import Run, find, open_or_create, open_run
from rlaif.testing.rubric_files import write_healthbench
from rlaif.types import UsageError

pytestmark = pytest.mark.slow  # reads the embedded data and checks it for leaks

PROFILE = """
[data]
medquad = ""
train_on = ["medquad_mine"]

[[data.sets]]
format = "jsonl"
path = {path}
name = "medquad_mine"
question = "Question"
answer = "Answer"
qtype = "qtype"
where = {{qtype = ["symptoms", "causes"]}}
stratify = "qtype"

[train]
prompt = "prompts/policy/symptoms.md"
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    path = tmp_path / "t.jsonl"
    kinds = ("symptoms", "causes", "treatment")
    rows = [
        {"Question": f"What are {kinds[i % 3]} of d{i}?", "Answer": f"It is {i} and more.", "qtype": kinds[i % 3]}
        for i in range(120)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE.format(path=json.dumps(str(path))))
    config = load_config(str(profile))
    made = open_or_create(tmp_path / "run", config)
    made.store.write({"questions": prepare_questions(config, AT_THE_GATE)[0]})
    return made


def test_the_configuration_comes_back_and_the_same_command_goes_on(run: Run) -> None:
    assert open_run(run.folder).config == run.config
    assert find(run.folder, run.config) is not None
    assert load_config(str(run.folder / "config.toml")).config_hash == run.config.config_hash


def test_the_set_is_a_benchmark_at_the_gate_and_is_drawn_in_rounds(run: Run) -> None:
    gate = gate_questions(run)
    assert {q.dataset for q in gate["medquad"]} == {"medquad_mine"} and 7 <= len(gate["medquad"]) <= 9
    assert {q.qtype for q in load_questions(run, "dataset = 'medquad_mine'", [])} == {"symptoms", "causes"}
    assert {q.dataset for q in draw(run, 1)} == {"medquad_mine"}


@pytest.mark.slow  # imports TRL
def test_sft_trains_on_the_sets_that_are_named_in_the_recipes_template(run: Run) -> None:
    from rlaif.train.stages import sft_examples

    base: Any = SimpleNamespace(tokenizer=SimpleNamespace(chat_template="x"))
    examples, ids = sft_examples(run, base, load_prompt(run.config.prompts.policy))
    asked = load_questions(run, "split = 'train' AND dataset = 'medquad_mine'", [])
    assert sorted(ids) == [q.question_id for q in asked] and 62 <= len(ids) <= 66
    assert all(e.prompt.startswith("### Question Type: ") and e.prompt.endswith("### Answer:\n") for e in examples)


def test_the_loop_needs_one_benchmark_of_a_kind_and_not_two() -> None:
    for names in ("medquad_mine pubmedqa", "pubmedqa mine", "own_text", "own_labels", "own_labels medquad"):
        check_benchmarks(names.split(), EvalConfig())
    with pytest.raises(UsageError, match=r"no gate questions: .*--data FILE.*data\.medquad=FILE"):
        check_benchmarks(["mine", "meadow"], EvalConfig())
    with pytest.raises(UsageError, match=r"two benchmarks of free text: medquad and own_text; .*data\.medquad="):
        check_benchmarks(["medquad_style", "own_text"], EvalConfig())
    with pytest.raises(UsageError, match="two benchmarks of labels: pubmedqa and own_labels"):
        check_benchmarks(["own_labels", "pubmedqa"], EvalConfig())
    with pytest.raises(UsageError, match=r'and healthbench; .*"evaluation\.benchmarks=\{healthbench = 0\.05\}"'):
        check_benchmarks(["medquad_style", "healthbench"], EvalConfig())
    check_benchmarks(["medquad_style", "healthbench"], EvalConfig(benchmarks={"healthbench": 0.05}))
    check_benchmarks(["healthbench"], EvalConfig())
    with pytest.raises(UsageError, match="no gate questions: nothing could say"):
        check_benchmarks(["healthbench"], EvalConfig(benchmarks={"healthbench": 0.05}))


def test_healthbench_is_measured_and_never_trained_on(tmp_path: Path) -> None:
    file = write_healthbench(tmp_path / "hb.jsonl")
    config = load_config("embedded", [f"data.healthbench={file}", "data.pubmedqa="])
    questions, report = prepare_questions(config, AT_THE_GATE)
    sides = Counter(q.split for q in questions if q.dataset == "healthbench")
    assert set(sides) == {"gate", "sealed"} and sum(sides.values()) == 30 and min(sides.values()) >= 10
    assert report["healthbench"]["splits"] == dict(sides) and report["healthbench"]["leaks"]["found"] == 0


def test_healthbench_cannot_come_twice(tmp_path: Path) -> None:
    file = write_healthbench(tmp_path / "hb.jsonl")
    twice = [{"format": "healthbench", "path": str(file)}]
    config = load_config("embedded", [f"data.healthbench={file}", "data.pubmedqa=", "data.medquad="], twice)
    with pytest.raises(UsageError, match=r"data\.healthbench and data\.sets\.0 would both be healthbench: give"):
        prepare_questions(config, AT_THE_GATE)


def test_leaks_of_a_set_that_is_the_benchmark_are_on_record_and_the_gate_can_pass(tmp_path: Path) -> None:
    """Every fourth row gives the same long answer in other words before it: a gate item with it is no test."""
    from rlaif.data.questions import take_leak_rows
    from rlaif.loop.valid import gate_check

    same = "signs that most people notice first are " + " ".join(f"sign{i}" for i in range(40))
    rows = [
        {"q": f"What are signs of d{i}?", "a": f"Of d{i}: {same}" if i % 4 == 0 else f"It is {i} and {i * i}."}
        for i in range(120)
    ]
    files = []
    for name, some in (("mine", rows), ("other", rows[1::4])):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in some))
    columns = 'question = "q", answer = "a"'
    profile = tmp_path / "p.toml"
    profile.write_text(
        '[data]\nmedquad = ""\nsets = [\n'
        f'{{format = "jsonl", path = {json.dumps(str(files[0]))}, name = "medquad_mine", {columns}}},\n'
        f'{{format = "jsonl", path = {json.dumps(str(files[1]))}, name = "other", {columns}}},\n]\n'
    )
    questions, report = prepare_questions(load_config(str(profile)), AT_THE_GATE)
    found = report["medquad_mine"]["leaks"]
    assert found["eval_dropped"] == found["found"] >= 2
    left = [q for q in questions if q.dataset == "medquad_mine" and q.split != "train"]
    assert not any("sign39" in q.reference for q in left) and len(left) == found["checked"] - found["found"]
    assert report["medquad_mine"]["splits"].get("gate", 0) + report["medquad_mine"]["splits"].get("sealed", 0) == len(
        left
    )
    assert sum(report["all sets"]["splits"].values()) == len(questions)
    assert "leaks" not in report["other"], "it has no items at the gate"
    assert gate_check(report).passed, "and so does not hold up a promotion"
    assert len({row["question_id"] for row in take_leak_rows(report)}) == found["found"]


def test_a_larger_gate_is_taken_from_medquads_training_questions(tmp_path: Path) -> None:
    path = tmp_path / "medquad.jsonl"
    rows = [
        {"question": f"What is illness {i}?", "answer": f"Illness {i} swells joint {i} and fades slowly."}
        for i in range(200)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def splits(share: float) -> dict[str, set[str]]:
        config = load_config(overrides=["data.pubmedqa=", f"data.medquad={path}", f"data.medquad_gate_share={share}"])
        questions = prepare_questions(config, AT_THE_GATE)[0]
        return {side: {q.question for q in questions if q.split == side} for side in ("train", "gate", "sealed")}

    usual, larger = splits(0.1), splits(0.4)
    assert larger["sealed"] == usual["sealed"] and larger["gate"] > usual["gate"] and larger["train"] < usual["train"]
    assert len(larger["gate"]) > 2.5 * len(usual["gate"]) > 25

    with pytest.raises(UsageError, match=r"^data.medquad_gate_share: the embedded questions have a split"):
        prepare_questions(load_config(overrides=["data.medquad_gate_share=0.2"]), AT_THE_GATE)
