"""The command `judge exam`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from judges import check_model, make_judge
from rlaif.config import Config
from rlaif.config_file import apply_override, load_config, validate
from rlaif.exam.hold import Held, hold, rows, rule_dicts, word
from rlaif.exam.human import human_exam
from rlaif.exam.items import Exam
from rlaif.exam.licence import forget, lapse
from rlaif.exam.medquad import medquad_exam
from rlaif.exam.rules import POOLED_BOUND
from rlaif.exam.sittings import counted, sitting
from rlaif.exam.sources import EMBEDDED, WORTH, licensing_exam, names
from rlaif.judging.announce import announce
from rlaif.judging.configured import judge_rows, judge_settings
from rlaif.judging.server import record_servers, servers_now
from rlaif.run import Run, open_or_create, open_run, unflat
from rlaif.screen import Screen
from rlaif.types import Judge, UsageError
from stores.cache import AnswerCache
from stores.lock import run_lock
from stores.store import DATABASE

DATA = {"embedded": "the embedded questions", "medquad": "MedQuAD", "own": "your data"}
COLUMNS = ["item type", "measure", "n", "value", "bound, needed", "", "length F1 TF-IDF"]


def exam_from_command_line(
    folder: Path, profile: str, overrides: Sequence[str], medquad: str, human: str, limit: int, screen: Screen
) -> tuple[Judge, list[Held]]:
    """Examine the configured judge and keep the results in the run at `folder`, which is made if it is new.

    Without `medquad` and `human` it is the exam that licenses for the configured data (`sources.licensing_exam`); with
    one or both of them those. An existing run's own configuration counts where no `profile` is given. Raises UsageError
    and DataError before a run folder is made.
    """
    config = configuration(folder, profile, overrides)
    check_model(config.judge.model, judge_settings(config))  # before the data are read, which may take long
    exams = _exams(config, medquad, human, limit)
    if exams[0].name == EMBEDDED != names(config)[0] and not medquad and not human:
        screen.line(f"warning: if it passes, the judge labels {WORTH}", style="yellow")
    exists = (folder / DATABASE).is_file()
    if exists and not medquad and not human and names(config) != (own := names(open_run(folder).config)):
        raise UsageError(
            f"{folder} takes its licence from the {own[0]} exam, and these settings are of the {names(config)[0]} one: "
            "give neither --profile nor --set data..., or another --run"
        )
    if not exists:
        configured_judge(config, None)  # a judge that cannot be made leaves no folder behind
        with run_lock(folder):
            run = open_or_create(folder, config)
    else:
        run = open_run(folder)
    judge = configured_judge(config, run)
    announce_exams(judge, exams, screen)
    lapse(run, judge, screen)
    # Before the exam, which may be dear: two servers with two models cannot have one licence.
    servers = servers_now(judge) if any(exam.name in names(config) for exam in exams) else []
    held = []
    with screen.live():
        for exam in exams:
            held.append(hold(exam, judge, screen))
            _keep(run, held[-1], judge, screen)
        record_servers(run, servers)
    return judge, held


def _keep(run: Run, held: Held, judge: Judge, screen: Screen) -> None:
    judge_id, name = judge.identity.judge_id, held.exam.name
    run.store.write(judge_rows(judge) | {"exam_sittings": [sitting(run, held, judge)]})
    screen.line(f"  {counted(run, held, judge)}")
    recorded = run.store.query(
        "SELECT n FROM licences WHERE judge_id = ? AND exam = ? AND data_sha256 = ?",
        [judge_id, name, held.exam.data_sha256],
    )
    if recorded and recorded[0]["n"] > held.result.n:
        sizes = f"the {name} exam on record had {recorded[0]['n']} pairs, this one {held.result.n}"
        screen.line(f"  {sizes}: it is shown, and the record stays")
        return
    forget(run, judge_id, name)
    run.store.write(rows(held, judge))


def configuration(folder: Path, profile: str, overrides: Sequence[str]) -> Config:
    """`profile` with `overrides`; without one the configuration of the run at `folder`, else the embedded profile."""
    if profile or not (folder / DATABASE).is_file():
        return load_config(profile or "embedded", list(overrides))
    stored = open_run(folder).store.query("SELECT config FROM runs")[0]["config"]
    tree = unflat(json.loads(stored))
    for text in overrides:
        apply_override(tree, text)
    return validate(tree, where=f"{folder}/{DATABASE}" + (" with --set" if overrides else ""))


def configured_judge(config: Config, run: Run | None) -> Judge:
    """The judge of `config`, with the run's cache of answers where there is a run.

    Raises UsageError when it cannot be made.
    """
    settings = judge_settings(config)
    check_model(config.judge.model, settings)
    with Screen().busy("loading the judge"):
        return make_judge(config.judge.model, settings, AnswerCache(run.store) if run else None)


def announce_exams(judge: Judge, exams: Sequence[Exam], screen: Screen) -> None:
    """What will be asked, before anything is."""
    answers = [a for exam in exams for a in exam.answers]
    names = " and ".join(exam.name for exam in exams)
    who = f"{judge.identity.model} ({judge.identity.judge_id})"
    screen.line(f"{names} exam of {who}: {len(answers):,} answers to score")
    announce(screen, judge, lambda chat_judge: chat_judge.forecast(answers))


def _exams(config: Config, medquad: str, human: str, limit: int) -> list[Exam]:
    if limit < 0:
        raise UsageError(f"--limit {limit}: give a positive number, or 0 for the exam's own size")
    if not medquad and not human:
        return [licensing_exam(config, limit)]
    return [*([medquad_exam(medquad, limit)] if medquad else []), *([human_exam(human, limit)] if human else [])]


def as_json(judge: Judge, held: Sequence[Held]) -> dict[str, Any]:
    """The results as one JSON object. `licensed` is null when no exam that can license was held."""
    identity = judge.identity
    return {
        "judge_id": identity.judge_id,
        "model": identity.model,
        "prompt": identity.prompt_name,
        "licensed": next((h.result.passed for h in held if h.exam.name != "human"), None),
        "exams": [
            {
                "exam": h.exam.name,
                "result": word(h.result),
                "passed": h.result.passed,
                "n": h.result.n,
                "pair_accuracy": h.result.pair_accuracy,
                "lower_bound": h.result.lower_bound,
                "kappa": h.result.kappa,
                "reasons": list(h.result.refusals),
                "limits": list(h.result.limits),
                "rules": rule_dicts(h.result),
                "baselines": [dataclasses.asdict(b) for b in h.result.baselines],
                "about": dict(h.exam.about),
            }
            for h in held
        ],
    }


def show(judge: Judge, held: Held, screen: Screen) -> None:
    """The table with the baselines beside the judge, and LICENSED, RESTRICTED or REFUSED with the reasons."""
    result, name = held.result, f"{judge.identity.model} ({judge.identity.judge_id})"
    table = []
    for r in result.rules:
        beside = [f"{b.by_type[r.rule.item_type]:.2f}" for b in result.baselines if r.rule.item_type in b.by_type]
        needed = f"{'>=' if r.rule.at_least else '<='} {r.rule.threshold:.2f}"
        row = [
            r.rule.item_type,
            r.rule.measure,
            f"{r.n} ({r.unscored} no score)" if r.unscored else str(r.n),
            "" if r.value is None else f"{r.value:.3f}",
            needed if r.bound is None else f"{r.bound:.3f} {needed}",
            "pass" if r.passed else "FAIL" if r.rule.core else "limit",
            " ".join(beside),
        ]
        table.append(row)
    screen.table(f"{held.exam.name} exam of {name}", COLUMNS, table)
    screen.line("  bound: one-sided 95%; it has to keep to the rule. Last column: what counting reaches on the pairs")
    if result.pair_accuracy is not None and result.lower_bound is not None:
        pooled = f"{result.pair_accuracy:.3f} of {result.n} pairs, bound {result.lower_bound:.3f}"
        screen.line(f"  pooled pair accuracy {pooled} (needed {POOLED_BOUND:.2f})")
    for b in result.baselines:
        bound = "not known" if b.gain_lower is None else f"{b.gain_lower:+.3f}"
        beats = "beaten" if b.beaten else "NOT BEATEN"
        screen.line(f"  {b.name} orders {b.accuracy:.3f}: the judge {b.gain:+.3f}, bound {bound}, {beats}")
    if result.kappa is not None:
        screen.line(f"  quadratic weighted kappa with people {result.kappa:.3f} on {len(held.exam.graded)} answers")
    decision = word(result)
    styles = {"LICENSED": "bold green", "PASSED": "bold green", "RESTRICTED": "bold yellow"}
    if decision in ("PASSED", "NOT PASSED"):
        words = f"{name}, the {held.exam.name} exam"
    else:
        words = {"REFUSED": name, "LICENSED": f"{name} may label", "RESTRICTED": f"{name} may label"}[decision]
        words += "" if decision == "REFUSED" else f" {DATA[held.exam.name]}"
        words += "; its marks say nothing of what it failed:" if decision == "RESTRICTED" else ""
    screen.line(f"{decision}: {words}", style=styles.get(decision, "bold red"))
    for reason in (*result.refusals, *result.limits):
        screen.line(f"  {reason}")
    if held.exam.name == "human":
        screen.line("  this exam licenses nobody: judge exam without --medquad and --human does")
