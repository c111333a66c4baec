"""What the commands `loop` and `evaluate` do around the loop itself: lock, session, summary."""

from __future__ import annotations

from pathlib import Path

from judges import check_model, make_judge
from rlaif.cluster.ray_backend import check_cluster, cluster
from rlaif.config import Config
from rlaif.data.questions import prepare_questions
from rlaif.evals.benchmarks import at_the_gate
from rlaif.evals.evaluate import check_benchmarks
from rlaif.evals.healthbench import check_grader
from rlaif.evals.plugin import check_plugins
from rlaif.evals.quality import make_gate_judge, with_cache
from rlaif.evals.sealed import goes_on_after, record_going_on
from rlaif.judging.announce import announce, mean_chars, mean_criteria, whole_loop
from rlaif.judging.configured import chat_judges, check_pairwise, gate_judge_config, judge_settings, pairwise_judge
from rlaif.loop.monitor_round import halted, stop_words
from rlaif.loop.served import check_servers
from rlaif.prompts import load_prompt
from rlaif.run import check_disk, find, now, open_or_create, session
from rlaif.screen import Screen
from rlaif.trackers import check_trackers, tracking
from stores.cache import AnswerCache
from stores.lock import run_lock


def run_from_command_line(folder: Path, config: Config, rounds: int, after_sealed_test: bool = False) -> None:
    """The command `loop` runs the rounds that are missing, as one recorded session, and prints a summary at the end.

    A run has one loop at a time. Rounds after the sealed test need `after_sealed_test`, which marks the run (see
    `sealed`).
    """
    from rlaif.report.page import write_report
    from rlaif.report.status import print_summary

    screen = Screen()

    def waiting(message: str) -> None:
        screen.line(f"  {message}", style="yellow")

    settings = judge_settings(config)
    check_model(config.judge.model, settings)
    if config.evaluation.judge:
        gate_config = gate_judge_config(config)
        check_model(gate_config.judge.model, judge_settings(gate_config))
    check_pairwise(config)
    check_trackers(config)
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

    # Said before the imports, which take seconds.
    screen.line(f"rlaif: profile {config.profile}, seed {config.seed}, run {folder}")
    # All that can be wrong with the input is found before a run folder is made, and before torch is imported and models
    # are loaded what needs neither.
    prompt = load_prompt(config.prompts.policy)
    check_disk(folder)
    with screen.busy("reading and checking the data"):
        data = None if run else prepare_questions(config, at_the_gate(config.evaluation))
    datasets = {q.dataset for q in data[0] if q.split == "gate"} if data else None
    if datasets is not None and data:
        check_benchmarks(datasets, config.evaluation)
        check_grader(config, data[0])
    check_plugins(config.evaluation, datasets)
    check_cluster(config.cluster)
    if config.sampling.engine == "vllm":
        with screen.busy("looking at the servers of sampling.urls"):
            check_servers(config, waiting)
    with screen.busy("loading PyTorch"):
        from rlaif.loop.rounds import Loop, run_loop
        from rlaif.models.adapter import check_targets
        from rlaif.models.base import load_base
        from rlaif.policies import check_prompt

    started = now()  # after the imports
    if run and run.done(0, "prepare") is not None:
        check_prompt(run, prompt)
    with screen.busy("loading the judge and the model"):
        judge = make_judge(config.judge.model, settings)
        gate_judge = make_gate_judge(config, judge)
        base = load_base(config.model)
        check_targets(base, config.model)
    with run_lock(folder):
        run = open_or_create(folder, config, waiting)
        if opening := goes_on_after(run, rounds, after_sealed_test):  # asked again, now that nobody else can open it
            record_going_on(run, opening, rounds)
        if chat_judges(judge):  # now that there is a run, its answers are kept; other judges need no second load
            judge = make_judge(config.judge.model, settings, AnswerCache(run.store))
        gate_judge = with_cache(gate_judge, config, run)
        trackers = tracking(config, folder, run.trained_steps(), screen.line)
        workers = cluster(config, base, screen.line)
        with session(run, started), screen.live(), trackers as run.trackers, workers as pool:
            finished = run.store.query("SELECT count(*) AS n FROM rounds WHERE round > 0 AND decision IS NOT NULL")
            chars = mean_chars(run, data[0] if data else ())
            criteria = mean_criteria(run, data[0] if data else ())
            announce(screen, judge, whole_loop(config, max(rounds - finished[0]["n"], 0), chars, criteria))
            if gate_judge:
                announce(screen, gate_judge, role="gate's judge")
            loop = Loop(run, screen, prompt, judge, base, pairwise_judge(config, settings, run), gate_judge, pool)
            run_loop(loop, rounds, data)
            if config.train.report_to:
                for path in (write_report(folder), folder / "config.toml"):
                    run.trackers.artefact(path)
    print_summary(run, screen)
