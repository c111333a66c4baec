"""Policies on benchmarks: which questions, results into the database, results out of it for the gate."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rlaif.drawing import load_questions
from rlaif.paired import MetricResults, PolicyResults
from rlaif.progress import Screen
from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.types import EvalItem, Question, UsageError, content_id

if TYPE_CHECKING:
    from rlaif.evals.more import More
    from rlaif.policy import Base

BENCHMARKS = ("medquad", "pubmedqa")
CHOICE_BENCHMARKS = ("medqa", "mmlu")  # multiple choice, from files, for the command `evaluate` only
SCORE = {"medquad": "token_f1", "pubmedqa": "accuracy"}  # the metric of each that the gate looks at
ORDER = "rouge_l"  # of the same answers: scores that compare words hardly see their order, and it must not be lost
COMPARING_WORDS = ("", "reference")  # evaluation.judge: with none the score is token F1
PRIMARY = SCORE | {"medqa": "accuracy", "mmlu": "accuracy"}
SEALED = "sealed items are opened by the command test alone: once, for base, SFT and champion together, and on record"
ITEM_COLUMNS = (
    "policy_id, benchmark, split, item_id, metric, prediction, target, value, status, reason, judge_id, protocol_hash, data_sha256"
)


def benchmark_questions(run: Run, benchmark: str, split: str, limit: int = 0) -> list[Question]:
    """The items of a benchmark's split, the first `limit` of them by id where `limit` > 0 (ids are hashes: that is a random draw).

    UsageError for the split "sealed", which the command `test` opens, and nothing else.
    """
    if split == "sealed":
        raise UsageError(SEALED)
    questions = load_questions(run, "split = ? AND starts_with(dataset, ?)", [split, benchmark])
    return questions[:limit] if limit else questions


def gate_questions(run: Run) -> dict[str, list[Question]]:
    """What the gate evaluates: benchmark -> items, cut to the configured numbers. A benchmark that the run lacks is not there."""
    limits = {"medquad": run.config.data.gate_medquad, "pubmedqa": run.config.data.gate_pubmedqa}
    found = {b: benchmark_questions(run, b, "gate", limits[b]) for b in BENCHMARKS}
    return {b: questions for b, questions in found.items() if questions}


def check_benchmarks(datasets: Iterable[str]) -> None:
    """UsageError when the gate's questions, which are of `datasets`, lack a benchmark: the loop decides on both."""
    names = list(datasets)
    for benchmark in BENCHMARKS:
        if not any(name.startswith(benchmark) for name in names):
            raise UsageError(
                f"no gate questions of {benchmark}: the loop's gate needs them; name a source with --set data.{benchmark}=FILE "
                "and a new --run DIR (the command train does without)"
            )


def data_hash(questions: Sequence[Question]) -> str:
    """Identifies a set of items by content: ids hash everything that is read, and targets are added because they may be cut."""
    return content_id(sorted((q.question_id, q.reference, q.label) for q in questions))


def evaluate_questions(
    run: Run,
    base: Base,
    policy_id: str,
    benchmark: str,
    questions: Sequence[Question],
    prompt: Prompt,
    screen: Screen,
    more: More | None = None,
) -> tuple[list[EvalItem], float]:
    """Results of a policy on `questions`, and the seconds of model work. Writes nothing. Without `more`, only what the gate reads."""
    from rlaif.evals import choices, medquad, pubmedqa
    from rlaif.training import load_policy

    started = time.monotonic()
    model = load_policy(run, base, policy_id)
    bar = screen.bar(f"evaluate {benchmark}", len(questions))

    def step(items: int, tokens: int) -> None:
        bar.step(items, tokens=tokens)

    settings, data = run.config.evaluation, data_hash(questions)
    if benchmark == "medquad":
        items = medquad.evaluate(model, base.tokenizer, policy_id, questions, prompt, settings, data, step)
    elif benchmark == "pubmedqa":
        mode, template = (more.mode, more.template) if more else ("loglik", "raw")
        items = pubmedqa.evaluate(model, base.tokenizer, policy_id, questions, settings, data, step, mode, template)
    else:
        items = choices.evaluate(model, base.tokenizer, policy_id, questions, settings, data, step)  # type: ignore[arg-type]
    values = [i.value for i in items if i.metric == PRIMARY[benchmark] and i.value is not None]
    kind = questions[0].dataset if questions else benchmark
    bar.finish(f"{policy_id[:8]} on {len(questions)} {kind} items: {PRIMARY[benchmark]} {sum(values) / max(len(values), 1):.4f}")
    if benchmark == "medquad" and more:
        from rlaif.evals.medquad_more import more_rows

        items += more_rows(model, base.tokenizer, questions, items, prompt, more.encoder, screen)
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


def stored(
    run: Run,
    policy_id: str,
    benchmark: str,
    metric: str,
    questions: Sequence[Question],
    prompt: Prompt,
    split: str = "gate",
    judge_id: str = "",
) -> list[EvalItem]:
    """A policy's results on exactly these questions under today's protocol, in the order of the ids; empty where there are none."""
    from rlaif.evals import medquad, pubmedqa

    protocol = medquad.protocol_hash(prompt, run.config.evaluation) if benchmark == "medquad" else pubmedqa.protocol_hash()
    rows = run.store.query(
        f"SELECT {ITEM_COLUMNS} FROM eval_items WHERE policy_id = ? AND starts_with(benchmark, ?) AND split = ? "
        "AND metric = ? AND judge_id = ? AND protocol_hash = ? AND data_sha256 = ? ORDER BY item_id",
        [policy_id, benchmark, split, metric, judge_id, protocol, data_hash(questions)],
    )
    return [EvalItem(**row) for row in rows]


def results(run: Run, policy_id: str, prompt: Prompt, judge_id: str = "") -> PolicyResults:
    """The gate's view of a policy: its stored results on the gate's items, in the order of their ids.

    With `judge_id`, that of the gate's own judge, the score is its `quality` instead of `token_f1`. ROUGE-L goes with a score that
    compares words.
    """
    found = {}
    for benchmark, questions in gate_questions(run).items():
        groups = {q.question_id: q.group_id for q in questions}
        metric, judge = ("quality", judge_id) if judge_id and benchmark == "medquad" else (SCORE[benchmark], "")
        found[benchmark] = MetricResults.of(stored(run, policy_id, benchmark, metric, questions, prompt, "gate", judge), groups)
        comparing = benchmark == "medquad" and run.config.evaluation.judge in COMPARING_WORDS
        if comparing and (rows := stored(run, policy_id, benchmark, ORDER, questions, prompt)):
            found[ORDER] = MetricResults.of(rows, groups)
    order = found.get(ORDER)
    return PolicyResults(policy_id, found["pubmedqa"], found["medquad"], order, order and shuffled(order))


def shuffled(order: MetricResults) -> MetricResults:
    """ROUGE-L of the same answers with the words of each shuffled, the same way each time."""
    from rlaif.evals.text import shuffled_rouge_l

    values = tuple(map(shuffled_rouge_l, order.predictions, order.targets, order.item_ids))
    return dataclasses.replace(order, values=values, statuses=tuple("failed" if v is None else "scored" for v in values))
