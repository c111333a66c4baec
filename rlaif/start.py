"""What the commands `loop` and `evaluate` do around the loop itself: lock, session, summary."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path
from typing import Any

from rlaif.config import Config
from rlaif.data import load_questions
from rlaif.data.prepare import cut_reference, prepare_questions
from rlaif.evaluation import SCORE, benchmark_questions, evaluate_questions
from rlaif.judging import announce, check_pairwise, judge_settings, mean_chars, pairwise_judge
from rlaif.progress import Screen
from rlaif.prompts import load_prompt
from rlaif.run import Run, check_disk, find, now, open_or_create, open_run, session
from rlaif.stats import macro_f1
from rlaif.types import UsageError
from rlaif.weights import check_weights
from stores.cache import AnswerCache
from stores.lock import run_lock


def run_from_command_line(folder: Path, config: Config, rounds: int) -> None:
    """The command `loop`: one loop a run, a session's record, the rounds that are missing, and a summary at the end."""
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

    from judges import make_judge
    from rlaif.loop import Loop, check_prompt, run_loop
    from rlaif.policy import load_base

    started = now()  # after the imports
    screen.line(f"rlaif: profile {config.profile}, seed {config.seed}, run {folder}")
    # All that can be wrong with the input is found before a run folder is made.
    prompt, judge = load_prompt(config.prompts.policy), make_judge(config.judge.model, settings)
    data = None if run else prepare_questions(config)
    if run and run.done(0, "prepare") is not None:
        check_prompt(run, prompt)
    check_disk(folder)
    base = load_base(config.model)
    with run_lock(folder):
        run = open_or_create(folder, config, waiting)
        judge = make_judge(config.judge.model, settings, AnswerCache(run.store))
        with session(run, started), screen.live():
            done = run.store.query("SELECT count(*) AS n FROM rounds WHERE round > 0 AND decision IS NOT NULL")[0]["n"]
            announce(screen, judge, config, max(rounds - done, 0), mean_chars(run, data[0] if data else ()))
            run_loop(Loop(run, screen, prompt, judge, base, pairwise_judge(config, settings, run)), rounds, data)
    print_summary(run, screen)


def evaluate_from_command_line(folder: Path, name: str, benchmark: str, data: str, split: str, limit: int) -> dict[str, Any]:
    """The command `evaluate`: results as the contract's JSON object. Rows go to the database too.

    Opening the sealed split is recorded in `sealed_tests` and in `runs`.
    """
    run = open_run(folder)
    policy = run.policy(name)
    policy_id = str(policy["policy_id"])

    from rlaif.loop import check_prompt
    from rlaif.policy import load_base
    from rlaif.training import adapter_folder, check_base

    if data:
        loaded = load_questions(benchmark, data, eval_only=not split)  # type: ignore[arg-type]
        questions = [q for q in loaded.questions if not split or q.split == split]
        if benchmark == "medquad":
            questions = [cut_reference(q, run.config.data.max_reference_words) for q in questions]
        questions = sorted(questions, key=lambda q: q.question_id)[: limit or None]
        shown = split or "file"
    else:
        shown = split or "gate"
        questions = benchmark_questions(run, benchmark, shown, limit)
    if not questions:
        raise UsageError(f"no {shown} items of {benchmark} in {data or folder}")
    screen = Screen()
    # What can be wrong is found before the slow part, and before the sealed split counts as opened.
    prompt, adapter = load_prompt(run.config.prompts.policy), adapter_folder(run, policy)
    if adapter:
        check_weights(adapter, policy["sha256"])
    check_prompt(run, prompt)
    base = load_base(run.config.model)
    check_base(run, base)
    if shown == "sealed" and not data:
        open_sealed(run, policy_id)
    with screen.live():
        items, _ = evaluate_questions(run, base, policy_id, benchmark, questions, prompt, screen)
    if data:
        items = [dataclasses.replace(item, split=shown) for item in items]
    run.store.write({"eval_items": items})
    means = {m: [i.value for i in items if i.metric == m and i.value is not None] for m in dict.fromkeys(i.metric for i in items)}
    metrics = {m: sum(v) / len(v) for m, v in means.items() if v}
    main = [i for i in items if i.metric == SCORE[benchmark]]
    if benchmark == "pubmedqa":
        metrics["macro_f1"] = macro_f1([i.target for i in main], [i.prediction for i in main])
    sources = {q.question_id: q.source_id for q in questions}
    return {
        "policy": policy_id,
        "benchmark": questions[0].dataset,
        "split": shown,
        "n": len(main),
        "metrics": metrics,
        "items": [
            {"item_id": i.item_id, "source_id": sources[i.item_id], "prediction": i.prediction, "target": i.target, "value": i.value}
            for i in main
        ],
    }


def open_sealed(run: Run, policy_id: str) -> None:
    """Record that sealed items are about to be looked at: when, at which round, for which policy."""
    rounds = run.store.query("SELECT coalesce(max(round), 0) AS r FROM rounds WHERE decision IS NOT NULL")[0]["r"]
    run.store.write({"sealed_tests": [{"session_id": uuid.uuid4().hex[:16], "round": rounds, "policies": [policy_id]}]})
    run.store.execute([("UPDATE runs SET sealed_opened_at_round = coalesce(sealed_opened_at_round, ?)", [rounds])])
