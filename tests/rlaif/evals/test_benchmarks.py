"""The table of benchmarks, and what a benchmark that is not in the code's own words goes through."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from rlaif.config import EvalConfig
from rlaif.data import load_questions
from rlaif.evals.benchmarks import (
    AT_THE_GATE,
    BENCHMARKS,
    FREE_TEXT,
    FROM_FILES,
    LABELLED,
    at_the_gate,
    benchmark_of,
    free_text_at_the_gate,
    plugin_names,
)
from rlaif.types import DataError


def test_the_gate_has_two_sides() -> None:
    assert {BENCHMARKS[b].gate for b in FREE_TEXT} == {"score"} and {BENCHMARKS[b].gate for b in LABELLED} == {
        "accuracy"
    }
    for name in BENCHMARKS:  # a data set belongs to the benchmark that its name begins with
        assert not [other for other in BENCHMARKS if other != name and other.startswith(name)]
    assert set(AT_THE_GATE) | set(FROM_FILES) == set(BENCHMARKS) and not set(AT_THE_GATE) & set(FROM_FILES)


def test_healthbench_stands_beside_the_free_text_where_it_has_a_margin() -> None:
    alone, beside = EvalConfig(), EvalConfig(benchmarks={"healthbench": 0.05, "mine:plain": 0.1})
    assert benchmark_of(alone, "healthbench") is BENCHMARKS["healthbench"]
    found = benchmark_of(beside, "healthbench")
    assert (found.gate, found.margin, found.by_rubric) == ("not_worse", 0.05, True)
    assert free_text_at_the_gate(alone) == FREE_TEXT
    assert set(FREE_TEXT) - set(free_text_at_the_gate(beside)) == {"healthbench"}
    assert plugin_names(beside) == ("plain",) and at_the_gate(beside) == (*AT_THE_GATE, "plain")


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_module_has_what_the_table_says(name: str) -> None:
    module = BENCHMARKS[name].module
    wanted = "model tokenizer policy_id questions prompt settings data_sha256 on_step".split()
    assert list(inspect.signature(module.evaluate).parameters)[: len(wanted)] == wanted
    if name in AT_THE_GATE:
        assert list(inspect.signature(module.protocol_hash).parameters)[:2] == ["prompt", "settings"]


def test_a_benchmark_without_a_format_reads_a_table(tmp_path: Path) -> None:
    path = tmp_path / "safety.jsonl"
    rows = [{"question": f"Is {n} safe?", "answer": f"It is safe to take {n}.", "label": "yes"} for n in range(12)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    loaded = load_questions("safety", str(path))
    assert {q.dataset for q in loaded.questions} == {"safety"} and loaded.questions[0].label == "yes"
    assert {q.split for q in load_questions("safety", str(path), eval_only=True).questions} == {"sealed"}
    with pytest.raises(DataError, match="give a table of safety questions"):
        load_questions("safety", str(tmp_path / "safety.txt"))
