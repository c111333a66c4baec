"""`judge exam --rubric` and `--healthbench-meta FILE`: a judge by rubrics sits an exam of single criteria."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlaif.exam.command import configuration, configured_judge
from rlaif.exam.criteria import CriterionExam, CriterionResult, Measured, agreement, grade, said
from rlaif.exam.licence import forget
from rlaif.exam.physicians import physicians_exam
from rlaif.exam.rubric import rubric_exam
from rlaif.judging.announce import announce
from rlaif.judging.configured import judge_rows
from rlaif.rubric import MET
from rlaif.run import open_or_create, open_run
from rlaif.screen import Screen
from rlaif.types import Judge, RlaifError, UsageError, content_id
from stores.lock import run_lock
from stores.store import DATABASE

CHUNK = 64
Sat = tuple[CriterionExam, CriterionResult]


def sit_from_command_line(
    folder: Path, profile: str, overrides: Sequence[str], meta: str, rubric: bool, limit: int, screen: Screen
) -> tuple[Judge, list[Sat]]:
    """Examine the configured judge and keep the results in the run at `folder`, which is made if it is new.

    Raises UsageError for a judge whose prompt is not of mode rubric, and DataError for the file, before a run folder is
    made; RlaifError when most criteria got no verdict at all.
    """
    if limit < 0:
        raise UsageError(f"--limit {limit}: give a positive number, or 0 for the exam's own size")
    config = configuration(folder, profile, overrides)
    exams = [*([physicians_exam(meta, limit)] if meta else []), *([rubric_exam(limit)] if rubric else [])]
    judge = configured_judge(config, None)
    prompt = getattr(judge, "prompt", None)
    if prompt is None or prompt.mode != "rubric":
        raise UsageError(
            f"the judge {judge.identity.model} does not judge by rubrics: --rubric and --healthbench-meta need one "
            "with a prompt of mode rubric, such as --set judge.prompt=prompts/judge/rubric.md"
        )
    if (folder / DATABASE).is_file():
        run = open_run(folder)
    else:
        with run_lock(folder):
            run = open_or_create(folder, config)
    judge = configured_judge(config, run) if judge.chat else judge
    screen.line(
        f"{' and '.join(exam.name for exam in exams)} exam of {judge.identity.model} ({judge.identity.judge_id}): "
        f"{sum(len(exam.items) for exam in exams):,} criteria"
    )
    announce(screen, judge, lambda chat: chat.forecast([one.item for exam in exams for one in exam.items]))
    sat = []
    with screen.live():
        for exam in exams:
            values = _ask(exam, judge, screen)
            result = grade(exam, values)
            forget(run, judge.identity.judge_id, exam.name)
            run.store.write(rows(exam, result, values, judge))
            sat.append((exam, result))
    return judge, sat


def _ask(exam: CriterionExam, judge: Judge, screen: Screen) -> list[float | None]:
    bar = screen.bar(f"exam ({exam.name})", len(exam.items))
    values: list[float | None] = []
    for start in range(0, len(exam.items), CHUNK):
        chunk = [one.item for one in exam.items[start : start + CHUNK]]
        verdicts = judge.score(chunk)
        values += [said(verdict) for verdict in verdicts]
        bar.step(len(chunk))
        if all(v is None for v in values) and len(values) == len(exam.items):
            raise RlaifError(
                f"{exam.name} exam: not one of {len(values)} criteria got yes or no (e.g. {verdicts[0].reason}); mend "
                "the judge and give the same command again"
            )
    bar.finish(f"{len(values)} criteria by {judge.identity.model}")
    return values


def rows(
    exam: CriterionExam, result: CriterionResult, values: Sequence[float | None], judge: Judge
) -> dict[str, Sequence[Any]]:
    """What the tables `judges`, `prompts`, `exam_items` and `licences` keep of it. In `exam_items` good_score is the
    share of the labels that say met and bad_score what the judge says; good is the answer, bad the criterion.
    """
    judge_id = judge.identity.judge_id
    items: dict[str, dict[str, Any]] = {}
    for one, value in zip(exam.items, values, strict=True):
        share = sum(one.labels) / len(one.labels)
        outcome = "unscored" if value is None else "agreed" if (value >= MET) == (share >= MET) else "disagreed"
        items[content_id(one.kind, one.item.candidate_id)] = {
            "exam": exam.name,
            "judge_id": judge_id,
            "item_type": one.kind,
            "pair": content_id(one.kind, one.item.candidate_id),
            "outcome": outcome,
            "good_score": share,
            "bad_score": value,
            "reason": "the judge said neither yes nor no" if value is None else "",
            "question": one.item.question,
            "good": one.item.answer,
            "bad": one.item.rubric[0].text,
        }
    licence = {
        "exam": exam.name,
        "judge_id": judge_id,
        "passed": result.passed,
        "n": result.whole.n,
        "pair_accuracy": result.whole.balanced_accuracy,
        "kappa": result.whole.kappa,
        "reasons": list(result.refusals),
        "bounds": {"about": dict(exam.about), "agreement": agreement(result), "result": as_dict(result)},
        "exam_sha256": content_id(exam.name, sorted(items)),
    }
    return {**judge_rows(judge), "exam_items": list(items.values()), "licences": [licence]}


def as_dict(result: CriterionResult) -> dict[str, Any]:
    return asdict(result) | {"passed": result.passed, "kinds": {k: asdict(m) for k, m in result.kinds.items()}}


def as_json(judge: Judge, sat: Sequence[Sat]) -> dict[str, Any]:
    """The results as one JSON object."""
    identity = judge.identity
    exams = [{**as_dict(result), "about": dict(exam.about)} for exam, result in sat]
    return {"judge_id": identity.judge_id, "model": identity.model, "prompt": identity.prompt_name, "exams": exams}


def show(judge: Judge, result: CriterionResult, screen: Screen) -> None:
    """The table, and whether the judge has passed."""
    name = f"{judge.identity.model} ({judge.identity.judge_id})"
    parts = {"all": result.whole, "wanted": result.wanted, "faults": result.faults, **result.kinds}
    table = [[part, *_cells(measured)] for part, measured in parts.items() if measured.n]
    columns = ["criteria", "labels", "right", "balanced accuracy", "kappa", "generosity"]
    screen.table(f"{result.exam} exam of {name}", columns, table)
    screen.line("  generosity: how much more often than the labels the judge says met, in percentage points")
    if result.length_alone is not None:
        screen.line(f"  the length of an answer alone: balanced accuracy {result.length_alone:.3f}")
    if result.unscored:
        screen.line(f"  {result.unscored} criteria got neither yes nor no")
    if result.passed:
        screen.line(f"PASSED: {name}, the {result.exam} exam", style="bold green")
        return
    screen.line(f"NOT PASSED: {name}, the {result.exam} exam", style="bold red")
    for reason in result.refusals:
        screen.line(f"  {reason}")


def _cells(measured: Measured) -> list[str]:
    shares = (measured.right, measured.balanced_accuracy, measured.kappa)
    cells = ["" if value is None else f"{value:.3f}" for value in shares]
    generosity = "" if measured.generosity is None else f"{measured.generosity:+.1f}"
    return [f"{measured.n:,}", *cells, generosity]
