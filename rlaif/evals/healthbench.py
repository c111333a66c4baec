"""The score of answers by their questions' rubrics, with HealthBench's arithmetic (Arora et al. 2025, arXiv 2505.08775;
simple-evals, healthbench_eval.py).

An answer's score is the points of its criteria that are met over the possible ones, not clipped; a theme's are the
scores of its questions, an axis' those of the criteria of that axis alone, where some have points above 0. A figure is
the mean of such scores, clipped to 0-1, and its bootstrap standard deviation over 1,000 resamples of the clipped mean.

Such a score is as good as its grader: :func:`graded` always says who that was, how far it agrees with physicians (the
exam healthbench_meta), and what the score is once its known errors are taken out.

At the gate and in the sealed test an answer's mark is its score, and the marks' means are compared as they are: a mean
that is clipped to 0 could get no worse. The judge of the gate gives them, and it has to judge by rubrics.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from judges import kind_of
from rlaif.config import Config
from rlaif.config_data import HEALTHBENCH
from rlaif.judging.configured import gate_judge_config, judge_settings
from rlaif.rubric import MET, MIN_JUDGED, clipped, judged_share, points
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Judge, Question, UsageError, Verdict, content_id

SCORING = 1  # of an answer's mark; a change of how it follows from the verdicts gets a new number
EXAM = "healthbench_meta"  # the exam whose result says how far a judge agrees with physicians
RESAMPLES = 1000
LEAST_TOLD_APART = 0.05  # a judge whose rates of yes are closer cannot be calibrated


@dataclass(frozen=True, slots=True)
class Checked:
    """A criterion of one answer: its points, category, and what was said of it (None: nothing)."""

    weight: float
    category: str
    value: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """All criteria of one answer, and the theme of its question."""

    theme: str
    criteria: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """Of the criteria that physicians call met, and of those they call not met, the share that a judge calls met."""

    met: float
    unmet: float


def example_scores(answer: Answer) -> dict[tuple[str, str], float]:
    """(kind, name) -> score of one answer: ("score", ""), ("theme", its theme), and ("axis", each axis with points).

    Empty where less than MIN_JUDGED of the rubric was judged, or nothing has points above 0.
    """
    if judged_share([c.weight for c in answer.criteria], [c.value is not None for c in answer.criteria]) < MIN_JUDGED:
        return {}
    overall = _score(answer.criteria)
    if overall is None:
        return {}
    scores = {("score", ""): overall} | ({("theme", answer.theme): overall} if answer.theme else {})
    for axis in dict.fromkeys(c.category for c in answer.criteria if c.category):
        of_axis = _score([c for c in answer.criteria if c.category == axis])
        if of_axis is not None:
            scores["axis", axis] = of_axis
    return scores


def _score(criteria: Sequence[Checked]) -> float | None:
    known = [c for c in criteria if c.value is not None]
    return points([c.weight for c in known], [float((c.value or 0.0) >= MET) for c in known])


def mark_of(verdict: Verdict) -> float | str:
    """The score of one answer by a verdict on its criteria, those of the judge's prompt left out; or why it has none.

    A judge that does not judge by rubrics gives its own score.
    """
    own = tuple(Checked(c.weight, c.category, c.value) for c in verdict.criteria if c.source != "prompt")
    score = example_scores(Answer("", own)).get(("score", ""))
    if score is None and not own:
        score = verdict.score
    if score is not None:
        return score
    return (
        "too little of the question's own rubric was judged"
        if verdict.score is not None
        else (f"{verdict.status}: {verdict.reason}")
    )


def protocol_of_marks(answers: str) -> str:
    """The protocol of marks on answers of the protocol `answers`."""
    return content_id(HEALTHBENCH, SCORING, answers)


def clipped_mean(values: Sequence[float]) -> float:
    return clipped(float(np.mean(values)))


def bootstrap_std(values: Sequence[float], seed: int = 0) -> float:
    """Standard deviation (0-1) of the clipped mean over RESAMPLES resamples of the answers."""
    drawn = np.random.default_rng(seed).choice(np.asarray(values, float), (RESAMPLES, len(values)))
    return float(np.std(np.clip(drawn.mean(axis=1), 0, 1)))


def figures(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """One row per figure: kind ("score", "theme", "axis"), name, mean, bootstrap_std and n; the whole first, then
    themes and axes by name.
    """
    by_name: dict[tuple[str, str], list[float]] = defaultdict(list)
    for answer in answers:
        for name, value in example_scores(answer).items():
            by_name[name].append(value)
    order = sorted(by_name, key=lambda key: (("score", "theme", "axis").index(key[0]), key[1]))
    return [
        {
            "kind": kind,
            "name": name,
            "mean": clipped_mean(by_name[kind, name]),
            "bootstrap_std": bootstrap_std(by_name[kind, name]),
            "n": len(by_name[kind, name]),
        }
        for kind, name in order
    ]


def calibrated(answers: Sequence[Answer], wanted: Rates, faults: Rates) -> float | None:
    """The clipped mean score with the judge's errors taken out: each criterion's verdict m becomes (m - u) / (s - u),
    an unbiased estimate of whether it is met (Rogan and Gladen 1978, American Journal of Epidemiology 107(1)), where s
    and u are the rates at which the judge says yes to what physicians call met and not met.

    `wanted` are the rates for criteria with points above 0, `faults` for the others. None where they hardly differ, so
    that yes says little, and without an answer that has a score.
    """
    if min(wanted.met - wanted.unmet, faults.met - faults.unmet) < LEAST_TOLD_APART:
        return None
    scores = []
    for answer in answers:
        if not example_scores(answer):
            continue
        known = [c for c in answer.criteria if c.value is not None]
        rates = [wanted if c.weight > 0 else faults for c in known]
        values = [
            (float((c.value or 0.0) >= MET) - r.unmet) / (r.met - r.unmet) for c, r in zip(known, rates, strict=True)
        ]
        scores.append(points([c.weight for c in known], values) or 0.0)
    return clipped_mean(scores) if scores else None


def graded(run: Run, judge: Judge, policy_id: str, questions: Sequence[Question]) -> dict[str, Any] | None:
    """The figures of a policy's answers to `questions` that have a rubric, as `judge` has checked them, with what is
    known of it: `judge`, `figures`, `agreement` (None: not examined), `calibrated`, `unscored` answers.

    None where no question has a rubric, or the judge has checked none of them.
    """
    by_id = {q.question_id: q for q in questions if q.rubric}
    rows = run.store.query(
        "SELECT candidate_id, weight, category, value FROM criterion_verdicts WHERE judge_id = ? AND replicate = 0 "
        "AND source <> 'prompt' AND starts_with(candidate_id, ?) ORDER BY candidate_id, place",
        [judge.identity.judge_id, f"{policy_id}/"],
    )
    found: dict[str, list[Checked]] = defaultdict(list)
    for row in rows:
        question_id = row["candidate_id"].removeprefix(f"{policy_id}/")
        if question_id in by_id:
            found[question_id].append(Checked(row["weight"], row["category"], row["value"]))
    if not found:
        return None
    answers = [Answer(by_id[q].qtype, tuple(criteria)) for q, criteria in found.items()]
    agreement = known_agreement(run, judge.identity.judge_id)
    sides = [agreement[side] for side in ("wanted", "faults")] if agreement else []
    rates = [Rates(**side) for side in sides if None not in side.values()]
    identity = judge.identity
    return {
        "judge": {"model": identity.model, "judge_id": identity.judge_id, "prompt": identity.prompt_name},
        "figures": figures(answers),
        "agreement": agreement,
        "calibrated": calibrated(answers, *rates) if len(rates) == 2 else None,
        "answers": len(answers),
        "unscored": sum(not example_scores(answer) for answer in answers) + len(by_id) - len(found),
    }


def known_agreement(run: Run, judge_id: str) -> dict[str, Any] | None:
    """What the exam by physicians says of a judge: balanced_accuracy, n (labels), and for `wanted` and `faults` the
    rates of :class:`Rates`. None where it has not sat it.
    """
    rows = run.store.query("SELECT bounds FROM licences WHERE judge_id = ? AND exam = ?", [judge_id, EXAM])
    return json.loads(rows[0]["bounds"])["agreement"] if rows else None


def grader(run: Run, judge_id: str) -> str:
    """Who graded, in words: model, prompt and id of a judge of the run."""
    rows = run.store.query("SELECT model, prompt_name FROM judges WHERE judge_id = ?", [judge_id])
    return f"graded by {rows[0]['model']}, prompt {rows[0]['prompt_name']} ({judge_id})" if rows else ""


def check_grader(config: Config, questions: Sequence[Question]) -> None:
    """UsageError where HealthBench is at the gate or sealed in a new run with these `questions`, and nobody could grade
    it; where it is named in `evaluation.benchmarks`, and is not there or trained on.
    """
    beside = HEALTHBENCH in config.evaluation.benchmarks
    splits = {q.split for q in questions if q.dataset.startswith(HEALTHBENCH)}
    if beside and "gate" not in splits:
        raise UsageError(
            "evaluation.benchmarks has healthbench, and there are no gate questions of it; name its file with "
            "--set data.healthbench=FILE"
        )
    if beside and "train" in splits:
        raise UsageError(
            "evaluation.benchmarks has healthbench, and data.sets would train on a part of it; name the file in "
            "data.healthbench instead, or set the fractions of its entry to [0.0, 0.5, 0.5]"
        )
    if (beside or config.data.healthbench) and not _judges_by_rubric(config):
        raise UsageError(
            "healthbench is graded by the gate's judge, which has to judge by rubrics and must not label: set "
            "evaluation.judge to a chat model or local:FOLDER, and evaluation.judge_prompt=prompts/judge/rubric.md"
        )


def _judges_by_rubric(config: Config) -> bool:
    gate = gate_judge_config(config)
    if kind_of(gate.judge.model, gate.judge.addresses) not in ("chat", "local"):
        return False
    prompt = judge_settings(gate).prompt
    return prompt is not None and prompt.mode == "rubric"


def show(result: Mapping[str, Any], screen: Screen) -> None:
    """The figures, behind who graded and what is known of that grader."""
    judge, agreement = result["judge"], result["agreement"]
    known = "how far it agrees with physicians is not known (judge exam --healthbench-meta FILE measures it)"
    if agreement:
        known = (
            f"balanced accuracy against {agreement['n']:,} labels of physicians {agreement['balanced_accuracy']:.3f}"
        )
    screen.line(f"rubrics graded by {judge['model']} ({judge['judge_id']}), prompt {judge['prompt']}; {known}")
    rows = [
        [
            f["kind"] + (f" {f['name']}" if f["name"] else ""),
            f"{f['mean']:.4f}",
            f"{f['bootstrap_std']:.4f}",
            str(f["n"]),
        ]
        for f in result["figures"]
    ]
    if result["calibrated"] is not None:
        rows.insert(1, ["score, calibrated", f"{result['calibrated']:.4f}", "", rows[0][3]])
    screen.table("", ["rubric", "mean", "bootstrap std", "n"], rows)
    if not agreement:
        screen.line("  no calibrated score: it needs the judge's exam by physicians")
    elif result["calibrated"] is None:
        screen.line("  no calibrated score: the judge hardly tells met from not met")
    if result["unscored"]:
        screen.line(f"  {result['unscored']} answers have no score: too little of their rubric was judged")
