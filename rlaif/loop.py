"""The controller: SFT, then rounds of sample, judge, pair, DPO, evaluate, gate.

    python cli.py loop --rounds 3

Each stage is a row in the database, written last and together with what the stage made, so a killed run goes on where it stopped and
ends with the same rows as one that was never killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rlaif import controller, drawing, training, watch
from rlaif.candidates import sample_round
from rlaif.data.prepare import prepare_questions, take_leak_rows
from rlaif.drift import measure_drift
from rlaif.evaluation import check_benchmarks, evaluate_policy, gate_questions, results
from rlaif.exam.licence import check_licence, ensure_licence
from rlaif.gate import Check, Checks, GateSettings, Look, decide
from rlaif.judging import is_local, judge_item, judge_round, load_verdicts, members
from rlaif.leaks import gate_check, summary
from rlaif.monitors import Monitor
from rlaif.pairs import PairSettings, prefer
from rlaif.progress import Screen
from rlaif.prompts import Prompt
from rlaif.quality import gate_judge_config, gate_quality
from rlaif.run import Run, check_disk
from rlaif.types import Candidate, Decision, Judge, Preference, Question, UsageError, Verdict

if TYPE_CHECKING:
    from judges.pairwise import PairwiseJudge
    from rlaif.policy import Base


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


Data = tuple[list[Question], dict[str, Any]]  # questions, and the report on where they came from


def run_loop(loop: Loop, rounds: int, data: Data | None = None) -> None:
    """Bring the run to `rounds` finished rounds. Rounds that are finished already stay as they are.

    `data` is what a new run starts with; where it is missing and needed, it is read as configured.
    """
    prepare(loop, data)
    check_benchmarks(gate_questions(loop.run))  # a run that `train` made may lack one
    ensure_licence(loop.run, loop.judge, loop.screen, hold_here=all(map(is_local, members(loop.judge))))
    if loop.gate_judge:  # its word decides promotions, so it sits the same exam
        own = replace(loop.run, config=gate_judge_config(loop.run.config))
        hold_here = all(map(is_local, members(loop.gate_judge)))
        ensure_licence(own, loop.gate_judge, loop.screen, hold_here=hold_here, work="marks for the gate")
    first_round(loop)
    for round in range(1, rounds + 1):
        if not finished(loop.run, round) and (why := watch.halted(loop.run)):
            loop.screen.line(watch.stop_words(why), style="bold yellow")
            return
        preference_round(loop, round)


def prepare(loop: Loop, data: Data | None) -> None:
    """Round 0, first stage: the questions, the prompt and the base go into the database."""
    run = loop.run
    if run.done(0, "prepare") is None:
        loop.screen.heading("Preparing")
        with run.stage(0, "prepare") as stage:
            questions, stage.detail = data or prepare_questions(run.config)
            prompt = loop.prompt
            base = training.base_row(loop.base, run.config)
            stage.rows = {
                "questions": questions,
                "prompts": [{"prompt_sha256": prompt.sha256, "kind": prompt.kind, "name": prompt.name, "text": prompt.text}],
                "policies": [base],
            }
            if leaks := take_leak_rows(stage.detail):
                stage.rows["leaks"] = leaks
        for name, source in stage.detail.items():
            splits = ", ".join(f"{source['splits'].get(s, 0):,} {s}" for s in ("train", "gate", "sealed"))
            told = f"; {summary(source['leaks'])}" if "leaks" in source else ""
            loop.screen.line(f"  {name:<22} {splits} questions from {source['source']}{told}")
            if source.get("unofficial_split"):
                loop.screen.line(
                    f"  warning: {source['source']} does not say which rows are the official test; its split is by hash", style="yellow"
                )
        loop.screen.line(f"  base                   {base['policy_id'][:8]}, {loop.base.quantization} weights, {loop.base.device}")
    training.check_base(run, loop.base)
    check_prompt(run, loop.prompt)


def check_prompt(run: Run, prompt: Prompt) -> None:
    """UsageError when the policy prompt's words are not those this run began with: its results could not be compared."""
    recorded = run.store.query("SELECT prompt_sha256, name FROM prompts WHERE kind = 'policy'")[0]
    if recorded["prompt_sha256"] != prompt.sha256:
        raise UsageError(
            f"{run.config.prompts.policy} has changed since this run began "
            f"(sha256 {prompt.sha256[:12]}, was {recorded['prompt_sha256'][:12]}); "
            "put the old text back (table prompts has it), or start a new run with --run DIR"
        )


def first_round(loop: Loop) -> None:
    """SFT on the training questions, gated against the base like every policy: SFT can be worse than the base."""
    run = loop.run
    if finished(run, 0):
        return
    loop.screen.heading("Round 0: SFT against the base")
    base = run.policy("base")["policy_id"]
    start_round(run, 0, base)
    challenger = training.sft(run, loop.base, loop.prompt, loop.screen)
    for policy_id in (base, challenger):
        evaluate_policy(run, loop.base, policy_id, 0, loop.prompt, loop.screen)
    gate_round(loop, 0, base, challenger)


def preference_round(loop: Loop, round: int) -> None:
    """One round: the champion's answers, judged and paired, train a challenger that the gate promotes or not."""
    run = loop.run
    if finished(run, round):
        return
    loop.screen.heading(f"Round {round}")
    check_disk(run.folder)
    champion = start_round(run, round, run.champion())
    untuned, loop = loop, replace(loop, run=watch.tuned(run, round))
    if settings := controller.settings_for(watch.decisions(run), round):
        loop.screen.line("  set by the controller  " + ", ".join(f"{key} = {value:g}" for key, value in settings.items()))
    run = loop.run
    questions = drawing.draw(run, round)
    candidates = sample_round(run, loop.base, champion, round, questions, loop.prompt, loop.screen)
    measure_drift(run, loop.base, champion, round, loop.prompt, loop.screen)
    verdicts = judge_round(loop, round, questions, candidates)
    kept = pair_round(loop, round, questions, candidates, verdicts)
    if kept < training.MIN_PAIRS:
        reason = f"only {kept} pairs were kept, {training.MIN_PAIRS} are needed to train; the champion stays"
        found = watch.monitor_round(run, round, champion, None)
        close_round(untuned, round, champion, None, "INCONCLUSIVE", reason, {"kept": kept}, monitors=found)
        return
    challenger = training.dpo(run, loop.base, champion, round, loop.prompt, loop.screen)
    evaluate_policy(run, loop.base, challenger, round, loop.prompt, loop.screen)
    gate_round(untuned, round, champion, challenger)


def finished(run: Run, round: int) -> bool:
    return bool(run.store.query("SELECT 1 FROM rounds WHERE round = ? AND decision IS NOT NULL", [round]))


def start_round(run: Run, round: int, champion: str) -> str:
    """Record who the round's champion is, once; a round that goes on keeps the one it began with. Returns it."""
    run.store.write({"rounds": [{"round": round, "champion_in": champion}]})
    return str(run.store.query("SELECT champion_in FROM rounds WHERE round = ?", [round])[0]["champion_in"])


def pair_round(loop: Loop, round: int, questions: Sequence[Question], candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> int:
    """Make the round's preference pairs; returns how many were kept."""
    run = loop.run
    detail = run.done(round, "pairs")
    if detail is None:
        with run.stage(round, "pairs") as stage:
            settings = PairSettings(**run.config.pairs.model_dump())
            judge_id = run.done(round, "judge")["judge_id"]  # type: ignore[index]  # the stage before is done
            votes = {m.identity.judge_id: load_verdicts(run, round, m.identity.judge_id) for m in members(loop.judge)}
            # sem: a judge at temperature 0 gives the same score each time; a sampled judge's spread is measured by re-judging.
            pairs = prefer(
                candidates,
                verdicts,
                judge_id=judge_id,
                round=round,
                sem=0.0,
                settings=settings,
                members=votes if len(votes) > 1 else None,
                confirm=confirmation(loop, questions, candidates),
            )
            reasons: dict[str, int] = {}
            for pair in pairs:
                if pair.status == "dropped":
                    code = pair.reason.split(":")[0]
                    reasons[code] = reasons.get(code, 0) + 1
            kept = sum(p.status == "kept" for p in pairs)
            stage.rows = {"preferences": pairs}
            stage.detail = detail = {"kept": kept, "dropped": dict(sorted(reasons.items(), key=lambda r: -r[1]))}
        dropped = ", ".join(f"{n} {code}" for code, n in detail["dropped"].items())
        yield_ = kept / max(len(pairs), 1)
        loop.screen.line(
            f"  pairs                  {kept} kept of {len(pairs)} questions, yield {yield_:.0%}"
            + (f"; dropped: {dropped}" if dropped else "")
        )
    # counted, because a person may have excluded some since
    return int(run.store.query("SELECT count(*) AS n FROM preferences WHERE round = ? AND status = 'kept'", [round])[0]["n"])


def confirmation(
    loop: Loop, questions: Sequence[Question], candidates: Sequence[Candidate]
) -> Callable[[Sequence[Preference]], dict[str, str]] | None:
    """What shows narrow pairs to the pairwise judge (pairs.confirm_below), or None where that is not configured."""
    pairwise = loop.pairwise
    if pairwise is None:
        return None
    from rlaif.review.confirm import confirm

    by_id = {q.question_id: q for q in questions}
    items = {c.candidate_id: judge_item(by_id[c.question_id], c) for c in candidates}
    return lambda pairs: confirm(loop.run, pairwise, pairs, items)


def gate_round(loop: Loop, round: int, champion: str, challenger: str) -> None:
    """Decide on the challenger from its results and the champion's on the same items, and close the round."""
    run = loop.run
    looks = run.store.query("SELECT count(DISTINCT (round, challenger)) AS n FROM gates WHERE round > 0")[0]["n"]
    look = Look("sft", 1) if round == 0 else Look("dpo", looks + 1)
    settings = GateSettings(**run.config.gate.model_dump())
    gate_quality(run, loop.gate_judge, (champion, challenger), round, loop.prompt, loop.screen)
    judge_id = loop.gate_judge.identity.judge_id if loop.gate_judge else ""
    mine, theirs = (results(run, policy_id, loop.prompt, judge_id) for policy_id in (champion, challenger))
    # SFT has no monitors: it may change length and likelihood at will, and there is no round before it.
    found = watch.monitor_round(run, round, champion, challenger) if round else []
    conditions = replace(checks(loop), guards=watch.guards(found, run.config))
    result = decide(mine, theirs, look=look, settings=settings, checks=conditions, seed=run.config.seed)
    rows = [
        {k: v for k, v in row_dict(row).items() if v is not None}
        | {"round": round, "look": look.number, "champion": champion, "challenger": challenger}
        for row in result.rows
    ]
    evidence = {"alpha": result.alpha, "items_needed": result.items_needed, "look": look.number}
    close_round(loop, round, champion, challenger, result.action, result.reason, evidence, gates=rows, monitors=found)


def checks(loop: Loop) -> Checks:
    """What was found out elsewhere: whether the labelling judge has a licence, and what the leak check found."""
    judge_id = loop.judge.identity.judge_id
    licensed = check_licence(loop.run, judge_id) is True
    detail = f"judge {judge_id} has passed the exam" if licensed else f"judge {judge_id} has no licence; judge.require_licence=false"
    exam = Check("exam", licensed or not loop.run.config.judge.require_licence, detail)
    return Checks(valid=(exam, gate_check(loop.run.done(0, "prepare") or {})))


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

    The controller acts after the rounds that have monitors, which are those of preferences.
    """
    run = loop.run
    winner = challenger if action == "PROMOTE" and challenger else champion
    next_steps: list[Decision] = []
    with run.stage(round, "gate") as stage:
        decisions = [*watch.reports(monitors, round, run.config), Decision(round, "gate", action, reason, {"policy_id": winner} | evidence)]
        if monitors:
            next_steps, winner = watch.control(run, round, monitors, action, winner, challenger)
        rows: dict[str, Sequence[Any]] = {
            "monitors": [m.row | {"round": round} for m in monitors],
            "gates": gates,
            "decisions": decisions + next_steps,
            "rounds": [{"round": round, "champion_in": champion, "challenger": challenger, "champion_out": winner, "decision": action}],
        }
        stage.rows = {table: members for table, members in rows.items() if members}
        stage.detail = {"action": action}
    for monitor in monitors:
        if monitor.red:
            loop.screen.line(f"  monitor                {monitor.name} is red: {monitor.detail}", style="yellow")
    style = {"PROMOTE": "bold green", "REJECT": "bold red"}.get(action, "bold yellow")
    loop.screen.line(f"  gate                   {action}: {reason}", style=style)
    for step in next_steps:
        if step.action != "continue":
            loop.screen.line(f"  controller             {step.action}: {step.reason}", style="bold yellow")
