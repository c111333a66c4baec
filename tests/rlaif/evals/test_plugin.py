"""A benchmark that somebody else wrote: its rows, its protocol, its place at the gate, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import EvalConfig, ModelConfig
from rlaif.evals.benchmarks import AT_THE_GATE, BENCHMARKS, at_the_gate, benchmark_of
from rlaif.evals.plugin import PluginBenchmark, check_plugins
from rlaif.plugins import Plugin
from rlaif.prompts import load_prompt
from rlaif.types import Question, RlaifError, UsageError

PROMPT = load_prompt("prompts/policy/answer.md")
QUESTION = Question("q0", "plain", "gate", "s", "g", "Why?", reference="rest")
OWN = EvalConfig(benchmarks={"nowhere_at_all:plain": 0.1, "short": 0.2})


def benchmark(code: Any, sha: str = "ab") -> PluginBenchmark:
    return PluginBenchmark(Plugin("mine:plain", code, {"source_sha256": [sha]}))


def test_names_are_known_without_an_import() -> None:
    assert at_the_gate(OWN) == (*AT_THE_GATE, "plain", "short") and at_the_gate(EvalConfig()) == AT_THE_GATE
    found = benchmark_of(OWN, "short")
    assert (found.name, found.gate, found.metric, found.margin) == ("short", "not_worse", "score", 0.2)
    assert benchmark_of(OWN, "medquad") is BENCHMARKS["medquad"] and "nowhere_at_all" not in sys.modules
    with pytest.raises(UsageError, match="no benchmark 'other'; there are: medquad, pubmedqa, .*, plain, short"):
        benchmark_of(OWN, "other")


@pytest.mark.parametrize("value", [0, 0.25, 1, True, None])
def test_a_score_is_a_number_from_0_to_1_or_none(value: Any) -> None:
    assert benchmark(lambda question, answer: value).score(QUESTION, "rest") == value


@pytest.mark.parametrize("value", [1.01, -0.1, float("nan"), "0.5", [1]])
def test_any_other_score_is_refused(value: Any) -> None:
    with pytest.raises(RlaifError, match=r"the benchmark mine:plain gave .* for question q0; a score is a number"):
        benchmark(lambda question, answer: value).score(QUESTION, "rest")


def test_its_errors_are_told() -> None:
    with pytest.raises(RlaifError, match="mine:plain raised AttributeError"):
        benchmark(lambda question, answer: question.nothing).score(QUESTION, "rest")


def test_the_protocol_covers_code_prompt_and_length() -> None:
    def hash_of(sha: str = "ab", **settings: Any) -> str:
        return benchmark(None, sha).protocol_hash(PROMPT, EvalConfig(**settings))

    assert hash_of() == hash_of(batch_size=3)
    assert len({hash_of(), hash_of("cd"), hash_of(max_new_tokens=7)}) == 3


def test_the_rows_of_real_answers(tiny_model: Path) -> None:
    from rlaif.models.base import load_base

    base = load_base(ModelConfig(path=str(tiny_model), threads=1))
    questions = [
        Question(f"q{i}", "plain_words", "gate", f"s{i}", f"g{i}", "what helps ?", context, reference="rest")
        for i, context in enumerate(["", "fever " * 300, "cough"])
    ]
    seen: list[tuple[str, str]] = []

    def code(question: Question, answer: str) -> float | None:
        seen.append((question.question_id, answer))
        return None if question.question_id == "q2" else 0.5

    measured, settings = benchmark(code), EvalConfig(max_new_tokens=4, batch_size=2)
    rows = measured.evaluate(base.model, base.tokenizer, "p", questions, PROMPT, settings, "d")
    assert [(r.item_id, r.benchmark, r.metric, r.value, r.status) for r in rows] == [
        ("q0", "plain_words", "score", 0.5, "scored"),
        ("q1", "plain_words", "score", None, "failed"),
        ("q2", "plain_words", "score", None, "failed"),
    ]
    assert "leave room for an answer" in rows[1].reason and rows[2].reason == "the benchmark gave no score"
    assert dict(seen) == {r.item_id: r.prediction for r in rows if r.item_id != "q1"}, (
        "a cut question is not shown to it"
    )
    assert {r.protocol_hash for r in rows} == {measured.protocol_hash(PROMPT, settings)}


def test_what_is_configured_is_checked_before_any_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "aa_bench.py").write_text(
        "def plain(question, answer): return 1\ndef med(question, answer): return 1\n"
    )

    def check(datasets: Any, *names: str) -> str:
        with pytest.raises(UsageError, match="^evaluation.benchmarks") as caught:
            check_plugins(EvalConfig(benchmarks=dict.fromkeys(names, 0.1)), datasets)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    check_plugins(EvalConfig(benchmarks={"aa_bench:plain": 0.1}), ["medquad", "plain_words"])
    check_plugins(EvalConfig(benchmarks={"aa_bench:plain": 0.1}), None)
    assert "no gate questions of 'plain': its items are those" in check(["medquad"], "aa_bench:plain")
    assert "'med' and 'medquad' would share data sets" in check(["med"], "aa_bench:med")
    assert "medquad is a side of the gate, and its margin is in [gate]" in check(["medquad"], "medquad")
    check_plugins(EvalConfig(benchmarks={"healthbench": 0.1}), ["medquad", "healthbench"])
    assert "would share data sets" in check(["plain"], "aa_bench:plain", "aa_other:plain")
    assert "has no 'gone'; its functions are: plain, med" in check(["gone"], "aa_bench:gone")
    assert "there is no module 'aa_none': it is neither installed nor in the current folder" in check([], "aa_none:x")
    assert "names no benchmark: write module:object" in check([], "nothing")
