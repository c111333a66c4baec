"""The command `evaluate`: a policy of a run on a benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.data import load_questions
from rlaif.data.own import with_options
from rlaif.data.questions import cut_reference
from rlaif.evals import healthbench
from rlaif.evals.benchmarks import FREE_TEXT, FROM_FILES, LABELLED, benchmark_of
from rlaif.evals.evaluate import More, benchmark_questions, evaluate_questions
from rlaif.evals.quality import BY_LABELLER, mark_answers, measuring_judge
from rlaif.evals.sealed import record_look
from rlaif.evals.summary import by_type, metrics
from rlaif.exam.licence import check_licence
from rlaif.judging.announce import announce
from rlaif.models.weights import check_weights
from rlaif.policies import adapter_folder, run_base, run_prompt
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import Judge, UsageError


def evaluate_from_command_line(
    folder: Path,
    name: str,
    benchmark: str,
    data: str,
    split: str,
    limit: int,
    mode: str = "loglik",
    template: str = "raw",
    encoder: str = "",
    quality: bool | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The command `evaluate`: results as the contract's JSON object, and means by kind of question.

    Rows go to the database too. `columns`: field -> name of a column of `data` (see `rlaif.data.own`). `quality`:
    whether free-text answers are shown to the run's judge (see `measuring_judge`); None: where that costs nothing.
    UsageError for the run's sealed split, which is the command `test`'s; sealed items in a file are evaluated, and the
    look is recorded.
    """
    run = open_run(folder)
    policy, measured = run.policy(name), benchmark_of(run.config.evaluation, benchmark)
    policy_id = str(policy["policy_id"])

    if data:
        loaded = load_questions(benchmark, data, eval_only=not split, columns=columns)
        part = "part" if benchmark in FROM_FILES else "split"
        questions = [q for q in loaded.questions if not split or getattr(q, part) == split]
        known = run.store.query("SELECT DISTINCT label FROM questions WHERE dataset = ? AND label <> ''", [benchmark])
        questions = with_options(questions, [row["label"] for row in known])
        if benchmark in FREE_TEXT:
            questions = [cut_reference(q, run.config.data.max_reference_words) for q in questions]
        questions = sorted(questions, key=lambda q: q.question_id)[: limit or None]
        shown = split or "file"
        sealed_rows = run.store.query("SELECT question_id FROM questions WHERE split = 'sealed'")
        sealed = {r["question_id"] for r in sealed_rows} & {q.question_id for q in questions}
    else:
        shown, sealed = split or "gate", set()
        questions = benchmark_questions(run, benchmark, shown, limit)
    if not questions:
        raise UsageError(f"no {shown} items of {benchmark} in {data or folder}")
    screen = Screen()
    # What can be wrong is found before the slow part.
    prompt, adapter = run_prompt(run), adapter_folder(run, policy)
    if adapter:
        check_weights(adapter, policy["sha256"])
    options = {"mode": mode, "template": template} if benchmark in LABELLED else {}
    more = More(options)
    if encoder:
        from rlaif.evals.bertscore import load_encoder

        more = More(options, load_encoder(encoder))
    judge, metric = measuring_judge(run) if benchmark in FREE_TEXT and quality is not False else (None, "")
    if judge and quality is None and not judge.local:
        screen.line(f"  quality                left out: {judge.identity.model} has to be asked for it; --quality does")
        judge = None
    base = run_base(run)
    if template == "chat" and not base.tokenizer.chat_template:
        raise UsageError(f"--template chat: {base.path} has no chat template; use --template raw")
    if judge:
        announce(screen, judge, role="quality's judge")
    if sealed:
        record_look(run, policy_id, data, len(sealed))
        warning = f"warning: {data} holds {len(sealed):,} of this run's sealed items; the look is on record"
        screen.line(warning, style="yellow")
    with screen.live():
        items, _ = evaluate_questions(run, base, policy_id, benchmark, questions, prompt, screen, more)
        if data:
            items = [dataclasses.replace(item, split=shown) for item in items]
        run.store.write({"eval_items": items})
        if judge:
            answers = [i for i in items if i.metric == measured.metric]
            items += mark_answers(run, judge, metric, answers, questions, screen)
    groups = {q.question_id: q.group_id for q in questions}
    main = [i for i in items if i.metric == measured.metric]
    sources = {q.question_id: q.source_id for q in questions}
    marks: dict[str, Any] = {"judge": _about(run, judge, metric)} if judge else {}
    if judge and (by_rubric := healthbench.graded(run, judge, policy_id, questions)):
        marks["rubric"] = by_rubric
    elif any(q.rubric for q in questions):
        screen.line(
            "  rubrics                not graded: that takes a judge with a prompt of mode rubric "
            "(evaluation.judge and evaluation.judge_prompt, else judge.model and judge.prompt)",
            style="yellow",
        )
    return {
        "policy": policy_id,
        "benchmark": questions[0].dataset,
        "split": shown,
        "n": len(main),
        "metrics": metrics(items, groups),
        "by_type": by_type(items, {q.question_id: q.qtype for q in questions}, groups),
        "items": [
            {
                "item_id": i.item_id,
                "source_id": sources[i.item_id],
                "prediction": i.prediction,
                "target": i.target,
                "value": i.value,
            }
            for i in main
        ],
    } | marks


def _about(run: Run, judge: Judge, metric: str) -> dict[str, Any]:
    """Who gave the marks of `metric`, whether it labels, and whether it passed the exam here (None: has not sat it)."""
    model, judge_id = judge.identity.model, judge.identity.judge_id
    passed = check_licence(run, judge_id)
    return {
        "metric": metric,
        "model": model,
        "judge_id": judge_id,
        "labels": metric == BY_LABELLER,
        "passed_exam": passed,
    }
