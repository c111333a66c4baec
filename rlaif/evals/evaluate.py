"""Policies on benchmarks: which questions, results into the database, results out of it for the gate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlaif.cluster.policy import SpreadPolicy
from rlaif.cluster.pool import Pool
from rlaif.config import EvalConfig
from rlaif.config_data import HEALTHBENCH
from rlaif.evals.benchmarks import (
    FREE_TEXT,
    LABELLED,
    at_the_gate,
    benchmark_of,
    free_text_at_the_gate,
)
from rlaif.policies import load_policy, weights_of
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import EvalItem, Question, UsageError, content_id

if TYPE_CHECKING:
    from rlaif.evals.bertscore import Encoder
    from rlaif.models.base import Base


SEALED = "sealed items are opened by the command test alone: once, for base, SFT and champion together, and on record"


def benchmark_questions(run: Run, benchmark: str, split: str, limit: int = 0) -> list[Question]:
    """The items of a benchmark's split, the first `limit` of them by id where `limit` > 0.

    Ids are hashes, so the first ones are a random draw. UsageError for the split "sealed", which the command `test`
    opens, and nothing else.
    """
    if split == "sealed":
        raise UsageError(SEALED)
    questions = load_questions(run, "split = ? AND starts_with(dataset, ?)", [split, benchmark])
    return questions[:limit] if limit else questions


def gate_questions(run: Run) -> dict[str, list[Question]]:
    """What the gate evaluates: benchmark -> items, cut to the configured numbers.

    A benchmark that the run lacks is not there.
    """
    limits = {"medquad": run.config.data.gate_medquad, "pubmedqa": run.config.data.gate_pubmedqa}
    by_benchmark = {
        b: benchmark_questions(run, b, "gate", limits.get(b, 0)) for b in at_the_gate(run.config.evaluation)
    }
    return {b: questions for b, questions in by_benchmark.items() if questions}


def check_benchmarks(datasets: Iterable[str], settings: EvalConfig) -> None:
    """UsageError when `datasets`, those of the gate's questions, are of no benchmark, or of two of the same side.

    The gate decides on free text, on labels or on both, each on one benchmark; what `evaluation.benchmarks` names
    stands beside them.
    """
    names, sides = list(datasets), (free_text_at_the_gate(settings), LABELLED)
    found = [[b for b in side if any(name.startswith(b) for name in names)] for side in sides]
    if not any(found):
        raise UsageError(
            "no gate questions: nothing could say whether training helped; give your own questions and answers with "
            "--data FILE, or a source with --set data.medquad=FILE or data.pubmedqa=FILE, and a new --run DIR"
        )
    for kind, side in zip(("free text", "labels"), found, strict=True):
        if len(side) > 1:
            beside = (
                '; or let healthbench stand beside the other, with what it may lose: --set "evaluation.benchmarks='
                '{healthbench = 0.05}"'
            )
            raise UsageError(
                f"two benchmarks of {kind}: {' and '.join(side)}; the gate reads one of each kind: leave one out, "
                f"for example with --set data.medquad= or --set data.pubmedqa={beside if HEALTHBENCH in side else ''}"
            )


def free_text(run: Run) -> list[Question]:
    """The gate's free-text items, whichever benchmark they are of; empty where the run has labels alone."""
    names = free_text_at_the_gate(run.config.evaluation)
    return next((questions for b, questions in gate_questions(run).items() if b in names), [])


def marked_questions(run: Run) -> dict[str, list[Question]]:
    """Benchmark -> the gate's items whose answers its judge marks: the free text, and HealthBench beside it."""
    return {b: questions for b, questions in gate_questions(run).items() if b in FREE_TEXT}


def data_hash(questions: Sequence[Question]) -> str:
    """Identifies a set of items by content.

    Ids hash everything that is read; the targets are added because they may be cut, and rubrics because answers are
    held against them.
    """
    rubrics = [[q.question_id, *((c.text, c.weight) for c in q.rubric)] for q in questions if q.rubric]
    targets = sorted((q.question_id, q.reference, q.label) for q in questions)
    return content_id(targets, sorted(rubrics)) if rubrics else content_id(targets)


def evaluate_questions(
    run: Run,
    base: Base,
    policy_id: str,
    benchmark: str,
    questions: Sequence[Question],
    prompt: Prompt,
    screen: Screen,
    more: More | None = None,
    workers: Pool | None = None,
) -> tuple[list[EvalItem], float]:
    """Results of a policy on `questions`, and the seconds of model work. Writes nothing.

    Without `more` there is only what the gate reads, and `workers` may do it.
    """
    measured = benchmark_of(run.config.evaluation, benchmark)
    started = time.monotonic()
    model: Any
    if workers and not more:
        model = SpreadPolicy(workers, weights_of(run, policy_id), base.model.config)
    else:
        model = load_policy(run, base, policy_id)
    bar = screen.bar(f"evaluate {benchmark}", len(questions))

    def step(items: int, tokens: int) -> None:
        bar.step(items, tokens=tokens, note=workers.note() if workers else "")

    settings, data = run.config.evaluation, data_hash(questions)
    options = more.options if more else {}
    module = measured.module
    items: list[EvalItem] = module.evaluate(
        model, base.tokenizer, policy_id, questions, prompt, settings, data, step, **options
    )
    values = [i.value for i in items if i.metric == measured.metric and i.value is not None]
    kind = questions[0].dataset if questions else benchmark
    mean = f": {measured.metric} {sum(values) / max(len(values), 1):.4f}"
    if measured.by_rubric:  # answers are made here; what they are worth is said by a judge
        mean = ", answered"
    bar.finish(f"{policy_id[:8]} on {len(questions)} {kind} items{mean}")
    if more and (more_rows := getattr(module, "more_rows", None)):
        items += more_rows(model, base.tokenizer, questions, items, prompt, more.encoder, screen)
    return items, time.monotonic() - started


def evaluate_policy(
    run: Run,
    base: Base,
    policy_id: str,
    round: int,
    prompt: Prompt,
    screen: Screen,
    workers: Pool | None = None,
) -> None:
    """Stages `evaluate:<benchmark>:<policy>`: the policy on the gate's items of each benchmark, once."""
    for benchmark, questions in gate_questions(run).items():
        name = f"evaluate:{benchmark}:{policy_id}"
        if run.done(round, name) is None:
            with run.stage(round, name) as stage:
                items, stage.model_seconds = evaluate_questions(
                    run, base, policy_id, benchmark, questions, prompt, screen, workers=workers
                )
                stage.rows = {"eval_items": items}
                stage.detail = {"benchmark": benchmark, "policy_id": policy_id, "n": len(questions)}


@dataclass(frozen=True)
class More:
    """`options` go to the benchmark's `evaluate` (see `pubmedqa.evaluate`), `encoder` to its `more_rows`."""

    options: Mapping[str, str] = field(default_factory=dict)
    encoder: Encoder | None = None
