"""Results of policies on given items.

What `eval_items` holds under the same protocol is read; the rest is evaluated and kept there.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from judges import WORD_JUDGES
from rlaif.evals import healthbench, loss
from rlaif.evals.benchmarks import FREE_TEXT, LABELLED, benchmark_of, free_text_at_the_gate
from rlaif.evals.carried import ITEM_COLUMNS, carried, carry
from rlaif.evals.evaluate import data_hash, evaluate_questions, gate_questions
from rlaif.evals.results import MetricResults, PolicyResults
from rlaif.policies import load_policy, run_base
from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import EvalItem, Question, RlaifError

if TYPE_CHECKING:
    from rlaif.models.base import Base


ORDER = "rouge_l"  # of the same answers: scores that compare words hardly see their order, and it must not be lost
CONSISTENCY = "consistency"  # with the reference: whether a statement is denied, which other scores hardly see either
COMPARING_WORDS = ("", *WORD_JUDGES)  # evaluation.judge: with none the score is token F1


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
    """A policy's results on exactly these questions under today's protocol, in the order of the ids.

    The list is empty where there are none. Answers that an earlier version scored are scored again here.
    """
    measured = benchmark_of(run.config.evaluation, benchmark)
    protocol = measured.module.protocol_hash(prompt, run.config.evaluation)
    if judge_id and measured.by_rubric:
        protocol = healthbench.protocol_of_marks(protocol)
    rows = run.store.query(
        f"SELECT {ITEM_COLUMNS} FROM eval_items WHERE policy_id = ? AND starts_with(benchmark, ?) AND split = ? "
        "AND metric = ? AND judge_id = ? AND protocol_hash = ? AND data_sha256 = ? ORDER BY item_id",
        [policy_id, benchmark, split, metric, judge_id, protocol, data_hash(questions)],
    )
    if rows or benchmark not in FREE_TEXT:
        return [EvalItem(**row) for row in rows]
    where = "policy_id = ? AND split = ? AND data_sha256 = ?"
    again = carried(run, prompt, where, [policy_id, split, data_hash(questions)])
    return [row for row in again if (row.metric, row.judge_id) == (metric, judge_id)]


def results(run: Run, policy_id: str, prompt: Prompt, judge_id: str = "") -> PolicyResults:
    """The gate's view of a policy: its stored results on the gate's items, in the order of their ids.

    With `judge_id`, that of the gate's own judge, the score is its `quality` instead of `token_f1`. ROUGE-L goes with a
    score that compares words, consistency with every one but a rubric's, which is not about a reference.
    """
    settings = run.config.evaluation
    free_text = free_text_at_the_gate(settings)
    by_name = {}  # one for each benchmark
    beside = {}  # of the same answers as the score: ORDER and CONSISTENCY
    for benchmark, questions in gate_questions(run).items():
        groups = {q.question_id: q.group_id for q in questions}
        measured = benchmark_of(settings, benchmark)
        judged = judge_id and benchmark in FREE_TEXT
        metric, judge = ("quality", judge_id) if judged else (measured.metric, "")
        rows = stored(run, policy_id, benchmark, metric, questions, prompt, "gate", judge)
        if measured.plugin and not rows:
            raise RlaifError(
                f"no results of {policy_id[:8]} on {benchmark} by the code that {measured.plugin!r} is now: it has "
                "changed since this run measured with it; put back what it was, or start a new run"
            )
        by_name[benchmark] = MetricResults.of(rows, groups)
        wanted: tuple[str, ...] = (ORDER, CONSISTENCY) if settings.judge in COMPARING_WORDS else (CONSISTENCY,)
        if judged and measured.by_rubric:
            said_by = healthbench.grader(run, judge_id)
            by_name[benchmark] = dataclasses.replace(by_name[benchmark], grader=said_by)
            wanted = wanted if settings.judge in COMPARING_WORDS else ()
        for name in wanted if benchmark in free_text else ():
            if rows := stored(run, policy_id, benchmark, name, questions, prompt):
                beside[name] = MetricResults.of(rows, groups)
    order, consistency = beside.get(ORDER), beside.get(CONSISTENCY)
    further = {name: by_name[name] for name in sorted(by_name.keys() - {*LABELLED, *free_text})}
    accuracy, score = (next((by_name[b] for b in side if b in by_name), None) for side in (LABELLED, free_text))
    others = tuple(
        dataclasses.replace(r, metric=f"{r.benchmark} {r.metric}", margin=benchmark_of(settings, name).margin)
        for name, r in further.items()
    )
    in_disorder = order and shuffled(order)
    return PolicyResults(policy_id, accuracy, score, order, in_disorder, others, consistency=consistency)


def shuffled(order: MetricResults) -> MetricResults:
    """ROUGE-L of the same answers with the words of each shuffled, the same way each time."""
    from rlaif.text_metrics import shuffled_rouge_l

    values = tuple(map(shuffled_rouge_l, order.predictions, order.targets, order.item_ids))
    statuses = tuple("failed" if v is None else "scored" for v in values)
    return dataclasses.replace(order, values=values, statuses=statuses)


def measure(
    run: Run, policy_ids: Sequence[str], benchmark: str, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> list[dict[str, list[EvalItem]]]:
    """Metric -> one row per question in their order, for each policy.

    It evaluates and stores what the database does not hold. The base is loaded only if anything is missing. RlaifError
    when it or an adapter is not what the run recorded.
    """
    measured = benchmark_of(run.config.evaluation, benchmark)
    if benchmark in FREE_TEXT:
        carry(run, prompt, screen)
    protocol = measured.module.protocol_hash(prompt, run.config.evaluation)
    parts = (
        (measured.metrics, protocol, evaluate_questions),
        (loss.LOSS, loss.protocol_hash(prompt), evaluate_losses),
    )
    base: Base | None = None
    out: list[dict[str, list[EvalItem]]] = []
    for policy_id in policy_ids:
        rows: dict[str, list[EvalItem]] = {}
        for metrics, protocol_hash, evaluate in parts:
            by_metric = {m: stored_by_item(run, policy_id, m, protocol_hash, questions) for m in metrics}
            missing = [q for q in questions if any(q.question_id not in by_item for by_item in by_metric.values())]
            if missing:
                base = base or run_base(run)
                evaluated, _ = evaluate(run, base, policy_id, benchmark, missing, prompt, screen)
                run.store.write({"eval_items": evaluated})
                for item in evaluated:
                    if item.metric in by_metric:
                        by_metric[item.metric][item.item_id] = item
            whole = data_hash(questions)  # all rows answer the same items now, whichever set they were evaluated in
            for metric, by_item in by_metric.items():
                rows[metric] = [dataclasses.replace(by_item[q.question_id], data_sha256=whole) for q in questions]
        out.append(rows)
    return out


def stored_by_item(
    run: Run, policy_id: str, metric: str, protocol_hash: str, questions: Sequence[Question]
) -> dict[str, EvalItem]:
    """item_id -> what the database has for it, where its target is still the question's."""
    targets = {q.question_id: q.label or q.reference for q in questions}
    rows = run.store.query(
        f"SELECT {ITEM_COLUMNS} FROM eval_items WHERE policy_id = ? AND benchmark = ? AND split = ? AND "
        "metric = ? AND protocol_hash = ? "
        "AND judge_id = '' ORDER BY item_id, data_sha256",
        [policy_id, questions[0].dataset, questions[0].split, metric, protocol_hash],
    )
    return {row["item_id"]: EvalItem(**row) for row in rows if targets.get(row["item_id"]) == row["target"]}


def evaluate_losses(
    run: Run, base: Base, policy_id: str, benchmark: str, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> tuple[list[EvalItem], float]:
    """Rows with the metrics of LOSS, and the seconds of model work. Writes nothing."""
    started = time.monotonic()
    model = load_policy(run, base, policy_id)
    bar = screen.bar(f"loss {benchmark}", len(questions))
    items = loss.evaluate(model, base.tokenizer, policy_id, questions, prompt, data_hash(questions), bar.step)
    per_token, tokens = loss.of_rows(items)
    summary = f"{per_token:.4f} nats per token" if per_token is not None else "none has a loss"
    bar.finish(f"{policy_id[:8]} on {len(questions)} references: {summary}")
    return items, time.monotonic() - started
