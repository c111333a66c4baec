"""Policies on benchmarks: which questions, results into the database, results out of it for the gate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlaif.drawing import load_questions
from rlaif.paired import MetricResults, PolicyResults
from rlaif.progress import Screen
from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from rlaif.policy import Base

BENCHMARKS = ("medquad", "pubmedqa")
SCORE = {"medquad": "token_f1", "pubmedqa": "accuracy"}  # the metric of each that the gate looks at
ITEM_COLUMNS = (
    "policy_id, benchmark, split, item_id, metric, prediction, target, value, status, reason, judge_id, protocol_hash, data_sha256"
)


def benchmark_questions(run: Run, benchmark: str, split: str, limit: int = 0) -> list[Question]:
    """The items of a benchmark's split, the first `limit` of them by id where `limit` > 0 (ids are hashes: that is a random draw)."""
    questions = load_questions(run, "split = ? AND starts_with(dataset, ?)", [split, benchmark])
    return questions[:limit] if limit else questions


def gate_questions(run: Run) -> dict[str, list[Question]]:
    """What the gate evaluates: benchmark -> items, cut to the configured numbers."""
    data = run.config.data
    return {b: benchmark_questions(run, b, "gate", {"medquad": data.gate_medquad, "pubmedqa": data.gate_pubmedqa}[b]) for b in BENCHMARKS}


def data_hash(questions: Sequence[Question]) -> str:
    """Identifies a set of items by content: ids hash everything that is read, and targets are added because they may be cut."""
    return content_id(sorted((q.question_id, q.reference, q.label) for q in questions))


def evaluate_questions(
    run: Run, base: Base, policy_id: str, benchmark: str, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> tuple[list[EvalItem], float]:
    """Results of a policy on `questions`, and the seconds of model work. Writes nothing."""
    from rlaif.evals import medquad, pubmedqa
    from rlaif.training import load_policy

    started = time.monotonic()
    model = load_policy(run, base, policy_id)
    bar = screen.bar(f"evaluate {benchmark}", len(questions))

    def step(items: int, tokens: int) -> None:
        bar.step(items, tokens=tokens)

    settings, data = run.config.evaluation, data_hash(questions)
    if benchmark == "medquad":
        items = medquad.evaluate(model, base.tokenizer, policy_id, questions, prompt, settings, data, step)
    else:
        items = pubmedqa.evaluate(model, base.tokenizer, policy_id, questions, settings, data, step)
    values = [i.value for i in items if i.metric == SCORE[benchmark] and i.value is not None]
    kind = questions[0].dataset if questions else benchmark
    bar.finish(f"{policy_id[:8]} on {len(questions)} {kind} items: {SCORE[benchmark]} {sum(values) / max(len(values), 1):.4f}")
    return items, time.monotonic() - started


def evaluate_policy(run: Run, base: Base, policy_id: str, round: int, prompt: Prompt, screen: Screen) -> None:
    """Stages `evaluate:<benchmark>:<policy>`: the policy on the gate's items of both benchmarks, once."""
    for benchmark, questions in gate_questions(run).items():
        name = f"evaluate:{benchmark}:{policy_id}"
        if run.done(round, name) is None:
            with run.stage(round, name) as stage:
                items, stage.model_seconds = evaluate_questions(run, base, policy_id, benchmark, questions, prompt, screen)
                stage.rows = {"eval_items": items}
                stage.detail = {"benchmark": benchmark, "policy_id": policy_id, "n": len(questions)}


def results(run: Run, policy_id: str, prompt: Prompt) -> PolicyResults:
    """The gate's view of a policy: its stored results on the gate's items, in the order of their ids."""
    from rlaif.evals import medquad, pubmedqa

    protocols = {"medquad": medquad.protocol_hash(prompt, run.config.evaluation), "pubmedqa": pubmedqa.protocol_hash()}
    found = {}
    for benchmark, questions in gate_questions(run).items():
        groups = {q.question_id: q.group_id for q in questions}
        rows = run.store.query(
            f"SELECT {ITEM_COLUMNS} FROM eval_items WHERE policy_id = ? AND starts_with(benchmark, ?) AND split = 'gate' "
            "AND metric = ? AND protocol_hash = ? AND data_sha256 = ? ORDER BY item_id",
            [policy_id, benchmark, SCORE[benchmark], protocols[benchmark], data_hash(questions)],
        )
        found[benchmark] = MetricResults.of([EvalItem(**row) for row in rows], groups)
    return PolicyResults(policy_id=policy_id, accuracy=found["pubmedqa"], score=found["medquad"])
