"""The controller: SFT, then rounds of sample, judge, pair, DPO, evaluate, gate.

    python cli.py loop --rounds 3

Each stage is a row in the database, written last and together with what the stage made, so a killed run goes on where
it stopped and ends with the same rows as one that was never killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rlaif.cluster.pool import Pool
from rlaif.evals.carried import carry
from rlaif.evals.evaluate import check_benchmarks, evaluate_policy, gate_questions
from rlaif.evals.healthbench import check_grader
from rlaif.evals.quality import gate_quality, labelled_quality
from rlaif.evals.stored import results
from rlaif.exam.licence import ensure_agreement, ensure_licence
from rlaif.gate.decide import decide
from rlaif.gate.labels import labels_at
from rlaif.gate.looks import entered, follows_older_rule, next_look, tell_others
from rlaif.judging.configured import gate_judge_config, judge_item, members
from rlaif.judging.cut import as_judged
from rlaif.judging.noise import UNMEASURED, measure_noise
from rlaif.judging.stage import judge_round
from rlaif.loop import controller, monitor_round
from rlaif.loop.consensus import consensus
from rlaif.loop.draw import NOTHING_TO_SAMPLE, POOL, draw
from rlaif.loop.drift import measure_drift
from rlaif.loop.eta import Forecast, time_left
from rlaif.loop.monitor_sft import sft_monitors
from rlaif.loop.monitors import Monitor
from rlaif.loop.pairs import bars_of, prefer
from rlaif.loop.sample import sample_round
from rlaif.loop.served import check_base
from rlaif.loop.valid import checks
from rlaif.prepare import Data, prepare
from rlaif.prompts import Prompt
from rlaif.records import load_questions, load_verdicts
from rlaif.run import Run, check_disk
from rlaif.screen import Screen
from rlaif.train import stages
from rlaif.train.material import best_answers, reference_pairs
from rlaif.types import Candidate, Decision, Judge, Preference, Question, Verdict
from rlaif.wording import setting_words

if TYPE_CHECKING:
    from judges.pairwise import PairwiseJudge
    from rlaif.models.base import Base


@dataclass(frozen=True)
class Loop:
    """What all stages of one session share."""

    run: Run
    screen: Screen
    prompt: Prompt
    judge: Judge
    base: Base
    pairwise: PairwiseJudge | None = None  # confirms narrow margins, if configured
    gate_judge: Judge | None = None  # one that does not label, whose marks the gate reads, if configured
    workers: Pool | None = None  # of a cluster, if configured


def run_loop(loop: Loop, rounds: int, data: Data | None = None) -> None:
    """Bring the run to `rounds` finished rounds. Rounds that are finished already stay as they are.

    `data` is what a new run starts with; where it is missing and needed, it is read as configured.
    """
    prepare(loop.run, loop.base, loop.prompt, loop.screen, data)
    if loop.run.config.sampling.engine == "vllm":
        check_base(loop.run, loop.base, loop.prompt, loop.screen.line)
    loop.screen.forecast = Forecast(loop.run, rounds, loop.judge.local)
    measured = gate_questions(loop.run)
    check_benchmarks(measured, loop.run.config.evaluation)  # a run that `train` made may lack one
    check_grader(loop.run.config, [q for questions in measured.values() for q in questions])
    tell_others(loop.run, loop.screen)
    ensure_licence(loop.run, loop.judge, loop.screen, hold_here=loop.judge.local)
    ensure_agreement(loop.run, loop.judge, loop.screen, hold_here=loop.judge.local)
    if loop.gate_judge:  # its word decides promotions, so it sits the same exam
        examined = replace(loop.run, config=gate_judge_config(loop.run.config))
        hold_here = loop.gate_judge.local
        ensure_licence(examined, loop.gate_judge, loop.screen, hold_here=hold_here, work="marks for the gate")
    first_round(loop)
    if not load_questions(loop.run, POOL, []):
        loop.screen.line(NOTHING_TO_SAMPLE, style="bold yellow")
        return
    for round in range(1, rounds + 1):
        if not finished(loop.run, round) and (why := monitor_round.halted(loop.run)):
            loop.screen.line(monitor_round.stop_words(why), style="bold yellow")
            return
        preference_round(loop, round, rounds)


def first_round(loop: Loop) -> None:
    """SFT on the training questions, gated against the base like every policy: SFT can be worse than the base."""
    run = loop.run
    if finished(run, 0):
        return
    loop.screen.heading("Round 0: SFT against the base")
    base = run.policy("base")["policy_id"]
    start_round(run, 0, base)
    challenger = stages.sft(run, loop.base, loop.prompt, loop.screen)
    for policy_id in (base, challenger):
        evaluate_policy(run, loop.base, policy_id, 0, loop.prompt, loop.screen, loop.workers)
    gate_round(loop, 0, base, challenger)


def preference_round(loop: Loop, round: int, rounds: int) -> None:
    """One round of `rounds`: a policy's answers, judged and paired, train a challenger for the gate. The policy is the
    champion, or what `Run.starts_from` says.
    """
    run = loop.run
    if finished(run, round):
        return
    loop.screen.heading(f"Round {round} of {rounds}{time_left(loop.screen)}")
    check_disk(run.folder)
    champion = start_round(run, round, run.champion())
    untuned, loop = loop, replace(loop, run=monitor_round.tuned(run, round))
    if settings := controller.settings_for(monitor_round.decisions(run), round):
        shown = ", ".join(f"{key} = {setting_words(value)}" for key, value in settings.items())
        loop.screen.line(f"  set by the controller  {shown}")
    run = loop.run
    start = run.starts_from(round, champion)
    if start != champion:
        loop.screen.line(f"  starts from            {start[:8]}: the gate could not tell it from the champion")
    questions = draw(run, round)
    candidates = sample_round(run, loop.base, start, round, questions, loop.prompt, loop.screen, loop.workers)
    candidates = as_judged(candidates, run.config.pairs)
    measure_drift(run, loop.base, start, round, loop.prompt, loop.screen)
    verdicts = judge_round(run, loop.judge, round, questions, candidates, loop.screen, loop.workers)
    kept = pair_round(loop, round, start, questions, candidates, verdicts)
    challenger = train_challenger(loop, round, start, kept)
    if challenger is None:
        lacks = [f"only {kept} pairs were kept"] if run.config.dpo.epochs else []
        if run.config.best_of.epochs:
            lacks.append(f"only {len(best_answers(run, start, round, run.config))} answers are good enough to learn")
        reason = f"{' and '.join(lacks)}, {stages.MIN_PAIRS} are needed to train; the champion stays"
        monitors = monitor_round.monitor_round(run, round, champion, None)
        close_round(untuned, round, champion, None, "INCONCLUSIVE", reason, {"kept": kept}, monitors=monitors)
        return
    evaluate_policy(run, loop.base, challenger, round, loop.prompt, loop.screen, loop.workers)
    gate_round(untuned, round, champion, challenger)


def train_challenger(loop: Loop, round: int, policy: str, kept: int) -> str | None:
    """What the round makes of the policy that it started from: best-of-k fine-tuning where it is configured, then DPO.
    None where neither has enough to train on.
    """
    run, start = loop.run, None
    if run.config.best_of.epochs and len(best_answers(run, policy, round, run.config)) >= stages.MIN_PAIRS:
        start = stages.raft(run, loop.base, policy, round, loop.prompt, loop.screen)
    if run.config.dpo.epochs and kept >= stages.MIN_PAIRS:
        return stages.dpo(run, loop.base, policy, round, loop.prompt, loop.screen, start)
    return start


def finished(run: Run, round: int) -> bool:
    return bool(run.store.query("SELECT 1 FROM rounds WHERE round = ? AND decision IS NOT NULL", [round]))


def start_round(run: Run, round: int, champion: str) -> str:
    """Record who the round's champion is, once; a round that goes on keeps the one it began with. Returns it."""
    run.store.write({"rounds": [{"round": round, "champion_in": champion}]})
    return str(run.store.query("SELECT champion_in FROM rounds WHERE round = ?", [round])[0]["champion_in"])


def pair_round(
    loop: Loop,
    round: int,
    policy: str,
    questions: Sequence[Question],
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
) -> int:
    """Make the round's preference pairs, those with a reference as the chosen answer included; returns how many were
    kept.
    """
    run = loop.run
    detail = run.done(round, "pairs")
    if detail is None:
        with run.stage(round, "pairs") as stage:
            settings = run.config.pairs
            judge_id = run.done(round, "judge")["judge_id"]  # type: ignore[index]  # the stage before is done
            with stage.model_time():
                noise = measure_noise(run, loop.judge, round, questions, candidates, loop.screen)
            if noise.judged:
                verdicts = load_verdicts(run, round, judge_id)
            votes = {m.identity.judge_id: load_verdicts(run, round, m.identity.judge_id) for m in members(loop.judge)}
            pairs = prefer(
                candidates,
                verdicts,
                judge_id=judge_id,
                round=round,
                sem=noise.sem,
                settings=settings,
                members=votes if len(votes) > 1 else None,
                confirm=confirmation(loop, questions, candidates),
            )
            held = bars_of(candidates, verdicts, judge_id, noise.sem, settings)
            agreed = consensus(candidates) if settings.consensus else {}
            agreement = [{"candidate_id": key, "token_f1": value} for key, value in agreed.items()]
            stage.rows = {"preferences": pairs, "consensus": agreement}
            stage.detail = detail = counted(pairs) | {
                "sem": None if noise.origin == UNMEASURED else noise.sem,
                "sem_from": noise.origin,
                "margin": held.margin,
                "best": held.best,
                "quantile_margin": held.quantile,
            }
            if run.config.dpo.reference_chosen:
                added, texts = reference_pairs(run, policy, round, run.config)
                stage.rows = {**stage.rows, "preferences": [*map(asdict, pairs), *added], "imported_answers": texts}
                detail["references"] = len(added)
        dropped = ", ".join(f"{n} {code}" for code, n in detail["dropped"].items())
        kept, asked, given = detail["kept"], detail["questions"], detail["questions_kept"]
        loop.screen.line(
            f"  pairs                  {kept} kept of {asked} questions, yield {given / max(asked, 1):.0%}"
            + (f"; dropped: {dropped}" if dropped else "")
            + (f"; and {detail['references']} of the reference" if "references" in detail else "")
        )
    # Counted, because a person may have excluded some since.
    rows = run.store.query("SELECT count(*) AS n FROM preferences WHERE round = ? AND status = 'kept'", [round])
    return int(rows[0]["n"])


def counted(pairs: Sequence[Preference]) -> dict[str, Any]:
    """kept: pairs; questions, and those of them with a kept pair; dropped: code -> questions without, most first."""
    given = {p.question_id for p in pairs if p.status == "kept"}
    dropped = Counter(p.reason.partition(":")[0] for p in pairs if p.question_id not in given)
    return {
        "kept": sum(p.status == "kept" for p in pairs),
        "questions": len({p.question_id for p in pairs}),
        "questions_kept": len(given),
        "dropped": dict(dropped.most_common()),
    }


def confirmation(
    loop: Loop, questions: Sequence[Question], candidates: Sequence[Candidate]
) -> Callable[[Sequence[Preference]], dict[str, str]] | None:
    """What shows narrow pairs to the pairwise judge (pairs.confirm_below), or None where that is not configured."""
    pairwise = loop.pairwise
    if pairwise is None:
        return None
    from rlaif.judging.confirm import confirm

    by_id = {q.question_id: q for q in questions}
    items = {c.candidate_id: judge_item(by_id[c.question_id], c) for c in candidates}
    return lambda pairs: confirm(loop.run, pairwise, pairs, items)


def gate_round(loop: Loop, round: int, champion: str, challenger: str) -> None:
    """Decide on the challenger from its results and the champion's on the same items, and close the round."""
    run = loop.run
    look, settings = next_look(run, round), run.config.gate
    if follows_older_rule(run, round):
        loop.screen.line(
            "  gate                   earlier looks keep what an older rule decided and spent; from this look on the "
            "present rule decides",
            style="yellow",
        )
    carry(run, loop.prompt, loop.screen)
    gate_quality(run, loop.gate_judge, (champion, challenger), round, loop.prompt, loop.screen)
    if round:
        labelled_quality(run, loop.judge, (champion, challenger), round, loop.prompt, loop.screen)
    judge_id = loop.gate_judge.identity.judge_id if loop.gate_judge else ""
    champion_results = results(run, champion, loop.prompt, judge_id)
    challenger_results = results(run, challenger, loop.prompt, judge_id)
    # SFT has monitors of its own: it may change length and likelihood at will, and there is no round before it.
    monitors = monitor_round.monitor_round(run, round, champion, challenger) if round else sft_monitors(run, challenger)
    conditions = replace(checks(run, loop.judge), guards=monitor_round.guards(monitors, run.config))
    labels = labels_at(run, round, champion, challenger, loop.prompt)
    look = entered(run, round, look, (champion_results, challenger_results), loop.screen, labels)
    seed = run.config.seed
    result = decide(
        champion_results,
        challenger_results,
        look=look,
        settings=settings,
        checks=conditions,
        seed=seed,
        labels=labels,
    )
    rows = [
        {k: v for k, v in row_dict(row).items() if v is not None}
        | {"round": round, "look": look.number, "champion": champion, "challenger": challenger}
        for row in result.rows
    ]
    evidence = result.evidence | {"look": look.number}
    close_round(
        loop, round, champion, challenger, result.action, result.reason, evidence, gates=rows, monitors=monitors
    )


def row_dict(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def close_round(
    loop: Loop,
    round: int,
    champion: str,
    challenger: str | None,
    action: str,
    reason: str,
    evidence: dict[str, Any],
    gates: Sequence[Any] = (),
    monitors: Sequence[Monitor] = (),
) -> None:
    """The last stage of a round, in one transaction: monitors, the gate's rows, the decisions, and who is champion now.

    The controller acts after the rounds of preferences.
    """
    run = loop.run
    winner = challenger if action == "PROMOTE" and challenger else champion
    next_steps: list[Decision] = []
    with run.stage(round, "gate") as stage:
        decisions = [
            *monitor_round.reports(monitors, round, run.config),
            Decision(round, "gate", action, reason, {"policy_id": winner} | evidence),
        ]
        if round:
            next_steps, winner = monitor_round.control(run, round, monitors, action, winner, challenger)
        outcome = {
            "round": round,
            "champion_in": champion,
            "challenger": challenger,
            "champion_out": winner,
            "decision": action,
        }
        tables: dict[str, Sequence[Any]] = {
            "monitors": [m.row | {"round": round} for m in monitors],
            "gates": gates,
            "decisions": decisions + next_steps,
            "rounds": [outcome],
        }
        stage.rows = {table: rows for table, rows in tables.items() if rows}
        stage.detail = {"action": action}
    for monitor in monitors:
        if monitor.red:
            loop.screen.line(f"  monitor                {monitor.name} is red: {monitor.detail}", style="yellow")
    style = {"PROMOTE": "bold green", "REJECT": "bold red"}.get(action, "bold yellow")
    loop.screen.line(f"  gate                   {action}: {reason}", style=style)
    for step in next_steps:
        if step.action != "continue":
            loop.screen.line(f"  controller             {step.action}: {step.reason}", style="bold yellow")
