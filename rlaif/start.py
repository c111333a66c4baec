"""What the commands `loop` and `evaluate` do around the loop itself: lock, session, summary."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rlaif.config import Config
from rlaif.data import load_questions
from rlaif.data.prepare import cut_reference, prepare_questions
from rlaif.evals.more import More
from rlaif.evals.summary import by_type, metrics
from rlaif.evaluation import CHOICE_BENCHMARKS, PRIMARY, benchmark_questions, check_benchmarks, evaluate_questions
from rlaif.exam.licence import check_licence
from rlaif.judging import announce, check_pairwise, is_local, judge_settings, language_judge, mean_chars, members, pairwise_judge
from rlaif.progress import Screen
from rlaif.prompts import load_prompt
from rlaif.quality import BY_LABELLER, announce_gate_judge, make_gate_judge, mark_answers, measuring_judge, with_cache
from rlaif.run import Run, check_disk, find, now, open_or_create, open_run, session
from rlaif.sealed import goes_on_after, record_going_on, record_look
from rlaif.types import Judge, UsageError
from rlaif.watch import halted, stop_words
from rlaif.weights import check_weights
from stores.cache import AnswerCache
from stores.lock import run_lock


def run_from_command_line(folder: Path, config: Config, rounds: int, after_sealed_test: bool = False) -> None:
    """The command `loop`: one loop a run, a session's record, the rounds that are missing, and a summary at the end.

    Rounds after the sealed test need `after_sealed_test`, which marks the run (see `sealed`).
    """
    from rlaif.status import print_summary

    screen = Screen()

    def waiting(message: str) -> None:
        screen.line(f"  {message}", style="yellow")

    settings = judge_settings(config)
    check_pairwise(config)
    run = find(folder, config, waiting)
    if run and run.store.query("SELECT 1 FROM rounds WHERE round = ? AND decision IS NOT NULL", [rounds]):
        print_summary(run, screen)
        return
    if run:
        goes_on_after(run, rounds, after_sealed_test)
    if run and (why := halted(run)):
        print_summary(run, screen)
        screen.line(stop_words(why), style="bold yellow")
        return

    screen.line(f"rlaif: profile {config.profile}, seed {config.seed}, run {folder}")  # before the imports, which take seconds
    from judges import make_judge
    from rlaif.loop import Loop, check_prompt, run_loop
    from rlaif.policy import load_base

    started = now()  # after the imports
    # All that can be wrong with the input is found before a run folder is made, and before models are loaded what needs none.
    prompt = load_prompt(config.prompts.policy)
    if run and run.done(0, "prepare") is not None:
        check_prompt(run, prompt)
    data = None if run else prepare_questions(config)
    if data:
        check_benchmarks({q.dataset for q in data[0] if q.split == "gate"})
    check_disk(folder)
    judge = make_judge(config.judge.model, settings)
    gate_judge = make_gate_judge(config, judge)
    base = load_base(config.model)
    with run_lock(folder):
        run = open_or_create(folder, config, waiting)
        if opened := goes_on_after(run, rounds, after_sealed_test):  # asked again, now that nobody else can open it
            record_going_on(run, opened, rounds)
        if any(map(language_judge, members(judge))):  # now that there is a run, its answers are kept; other judges need no second load
            judge = make_judge(config.judge.model, settings, AnswerCache(run.store))
        gate_judge = with_cache(gate_judge, config, run)
        with session(run, started), screen.live():
            done = run.store.query("SELECT count(*) AS n FROM rounds WHERE round > 0 AND decision IS NOT NULL")[0]["n"]
            announce(screen, judge, config, max(rounds - done, 0), mean_chars(run, data[0] if data else ()))
            announce_gate_judge(screen, gate_judge)
            run_loop(Loop(run, screen, prompt, judge, base, pairwise_judge(config, settings, run), gate_judge), rounds, data)
    print_summary(run, screen)


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
) -> dict[str, Any]:
    """The command `evaluate`: results as the contract's JSON object, and means by kind of question. Rows go to the database too.

    `quality`: whether MedQuAD answers are shown to the run's judge (see `measuring_judge`); None: where that costs nothing.
    UsageError for the run's sealed split, which is the command `test`'s; sealed items in a file are evaluated, and the look is recorded.
    """
    run = open_run(folder)
    policy = run.policy(name)
    policy_id = str(policy["policy_id"])

    from rlaif.loop import check_prompt
    from rlaif.policy import load_base
    from rlaif.training import adapter_folder, check_base

    if data:
        loaded = load_questions(benchmark, data, eval_only=not split)  # type: ignore[arg-type]
        part = "part" if benchmark in CHOICE_BENCHMARKS else "split"
        questions = [q for q in loaded.questions if not split or getattr(q, part) == split]
        if benchmark == "medquad":
            questions = [cut_reference(q, run.config.data.max_reference_words) for q in questions]
        questions = sorted(questions, key=lambda q: q.question_id)[: limit or None]
        shown = split or "file"
        mine = run.store.query("SELECT question_id FROM questions WHERE split = 'sealed'")
        known = {r["question_id"] for r in mine} & {q.question_id for q in questions}
    else:
        shown, known = split or "gate", set()
        questions = benchmark_questions(run, benchmark, shown, limit)
    if not questions:
        raise UsageError(f"no {shown} items of {benchmark} in {data or folder}")
    screen = Screen()
    # What can be wrong is found before the slow part.
    prompt, adapter = load_prompt(run.config.prompts.policy), adapter_folder(run, policy)
    if adapter:
        check_weights(adapter, policy["sha256"])
    check_prompt(run, prompt)
    more = More(mode, template)
    if encoder:
        from rlaif.evals.bertscore import load_encoder

        more = More(mode, template, load_encoder(encoder))
    judge, metric = measuring_judge(run) if benchmark == "medquad" and quality is not False else (None, "")
    if judge and quality is None and not all(map(is_local, members(judge))):
        screen.line(f"  quality                left out: {judge.identity.model} has to be asked for it; --quality does")
        judge = None
    base = load_base(run.config.model)
    if template == "chat" and not base.tokenizer.chat_template:
        raise UsageError(f"--template chat: {base.path} has no chat template; use --template raw")
    check_base(run, base)
    if known:
        record_look(run, policy_id, data, len(known))
        screen.line(f"warning: {data} holds {len(known):,} of this run's sealed items; the look is on record", style="yellow")
    with screen.live():
        items, _ = evaluate_questions(run, base, policy_id, benchmark, questions, prompt, screen, more)
        if data:
            items = [dataclasses.replace(item, split=shown) for item in items]
        run.store.write({"eval_items": items})
        if judge:
            answers = [i for i in items if i.metric == PRIMARY[benchmark]]
            items += mark_answers(run, judge, metric, answers, questions, screen)
    groups = {q.question_id: q.group_id for q in questions}
    main = [i for i in items if i.metric == PRIMARY[benchmark]]
    sources = {q.question_id: q.source_id for q in questions}
    return {
        "policy": policy_id,
        "benchmark": questions[0].dataset,
        "split": shown,
        "n": len(main),
        "metrics": metrics(items, groups),
        "by_type": by_type(items, {q.question_id: q.qtype for q in questions}, groups),
        "items": [
            {"item_id": i.item_id, "source_id": sources[i.item_id], "prediction": i.prediction, "target": i.target, "value": i.value}
            for i in main
        ],
    } | ({"judge": _about(run, judge, metric)} if judge else {})


def _about(run: Run, judge: Judge, metric: str) -> dict[str, Any]:
    """Who gave the marks of `metric`, whether it labels, and whether it passed the exam here (None: has not sat it)."""
    model, judge_id = judge.identity.model, judge.identity.judge_id
    passed = check_licence(run, judge_id)
    return {"metric": metric, "model": model, "judge_id": judge_id, "labels": metric == BY_LABELLER, "passed_exam": passed}
