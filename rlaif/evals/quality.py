"""The gate's own judge (`evaluation.judge`): its marks on the free-text answers are the metric `quality`.

It must not be the judge that labels: a policy that has learned to please that one would pass its own examination. With
such a judge the gate reads `quality` where it otherwise reads `token_f1`, which rewards the reference's words in any
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from judges import make_judge
from rlaif.config import Config
from rlaif.config_data import HEALTHBENCH
from rlaif.evals import healthbench
from rlaif.evals.benchmarks import BENCHMARKS, benchmark_of_dataset
from rlaif.evals.evaluate import free_text, marked_questions
from rlaif.evals.stored import stored
from rlaif.judging.announce import describe
from rlaif.judging.configured import chat_judges, gate_judge_config, judge_rows, judge_settings, members
from rlaif.prompts import Prompt
from rlaif.records import criteria_of
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import EvalItem, Judge, JudgeItem, Question, UsageError, Verdict
from stores.cache import AnswerCache

METRIC = "quality"
# The same by the judge that labels: for `evaluate` to show and the monitor judge_up, never for the gate's results.
BY_LABELLER = "labelling_quality"
CHUNK = 128  # answers between two steps of the progress bar


def make_gate_judge(config: Config, labelling: Judge | None, run: Run | None = None) -> Judge | None:
    """The gate's judge; None where none is configured. With `run`, what a language model answers is kept in its cache.

    Raises UsageError when it is the `labelling` judge itself (None: found out before), or shares a member with it, and
    for what `make_judge` refuses.
    """
    name = config.evaluation.judge
    if not name:
        if config.evaluation.judge_prompt or config.evaluation.judge_base_url:
            raise UsageError(
                "evaluation.judge_prompt and judge_base_url are of the gate's judge: name it with evaluation.judge"
            )
        return None
    judge = make_judge(name, judge_settings(gate_judge_config(config)), AnswerCache(run.store) if run else None)
    labels = {m.identity.judge_id for m in members(labelling)} if labelling else set()
    if labels & {m.identity.judge_id for m in members(judge)}:
        raise UsageError(
            f"evaluation.judge = {name!r} is the judge that labels (judge.model = "
            f"{config.judge.model!r}): a policy that games it would "
            "pass its own gate; name a judge that does not label, or leave it empty (--set "
            "evaluation.judge=) and the gate reads token_f1"
        )
    return judge


def with_cache(judge: Judge | None, config: Config, run: Run) -> Judge | None:
    """`judge`, keeping what a language model answers in the run's cache; other judges need no second load."""
    return make_gate_judge(config, None, run) if judge and chat_judges(judge) else judge


def measuring_judge(run: Run) -> tuple[Judge, str]:
    """Who marks answers for the command `evaluate`, and the metric.

    It is the gate's judge (`quality`), or where the run has none the one that labels (`labelling_quality`, so that
    nobody takes the marks for those of a judge that a policy was not trained to please).

    Raises UsageError for what `make_judge` refuses.
    """
    judge = make_gate_judge(run.config, None, run)
    if judge is not None:
        return judge, METRIC
    return make_judge(run.config.judge.model, judge_settings(run.config), AnswerCache(run.store)), BY_LABELLER


def gate_quality(
    run: Run, judge: Judge | None, policies: Sequence[str], round: int, prompt: Prompt, screen: Screen
) -> None:
    """Stages `quality:<judge>:<policy>` of a round, and for a benchmark beside the free text
    `quality:<benchmark>:<judge>:<policy>`: what the gate needs beside the evaluation.

    There is nothing to do without a gate's judge, or without answers that it marks.
    """
    if judge is None:
        return
    beside = run.config.evaluation.benchmarks
    for benchmark, questions in marked_questions(run).items():
        which = f"{benchmark}:" if benchmark in beside else ""
        for policy_id in policies:
            name = f"quality:{which}{judge.identity.judge_id}:{policy_id}"
            ensure_quality(run, judge, policy_id, questions, prompt, (round, name), screen)


def labelled_quality(
    run: Run, judge: Judge, policies: Sequence[str], round: int, prompt: Prompt, screen: Screen
) -> None:
    """Stages `labelled:<judge>:<policy>` of a round: what the labelling judge says of the policies' stored answers to
    the first `monitors.judge_items` free-text gate questions by id (ids are hashes, so that is a random draw).

    The monitor judge_up holds these marks against the independent ones. Raises JudgeStopped.
    """
    items, questions = run.config.monitors.judge_items, free_text(run)
    for policy_id in policies if items and questions else ():
        name = f"labelled:{judge.identity.judge_id}:{policy_id}"
        ensure_quality(run, judge, policy_id, questions, prompt, (round, name), screen, BY_LABELLER, items)


def ensure_quality(
    run: Run,
    judge: Judge,
    policy_id: str,
    questions: Sequence[Question],
    prompt: Prompt,
    stage: tuple[int, str],
    screen: Screen,
    metric: str = METRIC,
    first: int | None = None,
) -> None:
    """Stage `stage` (round, name): the policy's stored answers to `questions` marked by `judge`, each once.

    Of the answers in the order of their ids, only the `first` are marked, where that is given. Marks that are there
    stay, as those of a champion do; what had failed is asked again. Raises JudgeStopped when the judge cannot go on.
    """
    split, judge_id = questions[0].split, judge.identity.judge_id
    benchmark = benchmark_of_dataset(questions[0].dataset)

    def marks() -> list[EvalItem]:
        return stored(run, policy_id, benchmark, metric, questions, prompt, split, judge_id)

    settled = {i.item_id for i in marks() if i.status != "failed"}
    answers = stored(run, policy_id, benchmark, BENCHMARKS[benchmark].metric, questions, prompt, split)[:first]
    todo = [a for a in answers if a.item_id not in settled]
    begun = run.store.query("SELECT 1 FROM stages WHERE round = ? AND stage = ? AND status = 'running'", [*stage])
    if not todo and not begun:
        return
    with run.stage(*stage) as under_way:
        with under_way.model_time():
            if todo:  # else only the end of the stage was missing
                mark_answers(run, judge, metric, todo, questions, screen)
        given = {i.item_id for i in marks() if i.value is not None}
        unscored = sum(a.item_id not in given for a in answers)
        under_way.detail = {"judge_id": judge_id, "policy_id": policy_id, "n": len(answers), "unscored": unscored}


def mark_answers(
    run: Run, judge: Judge, metric: str, answers: Sequence[EvalItem], questions: Sequence[Question], screen: Screen
) -> list[EvalItem]:
    """A row `metric` for each of `answers` to `questions`, marked by `judge`. Raises JudgeStopped.

    Each chunk is stored as it comes.
    """
    by_id = {q.question_id: q for q in questions}
    by_rubric = bool(questions) and questions[0].dataset.startswith(HEALTHBENCH)
    made = rubric_mark if by_rubric else mark
    silent = [replace(a, metric=metric, judge_id=judge.identity.judge_id) for a in answers if a.status == "failed"]
    if by_rubric:
        silent = [replace(a, protocol_hash=healthbench.protocol_of_marks(a.protocol_hash)) for a in silent]
    if silent:  # no answer was given, so there is none to mark
        run.store.write({"eval_items": silent}, replace=["eval_items"])
        answers = [a for a in answers if a.status != "failed"]
    items = [_item(a, by_id[a.item_id]) for a in answers]
    for chat_judge in chat_judges(judge):
        screen.line(f"  to judge               {describe(chat_judge.forecast(items))}")
    for known_judge in (judge, *members(judge)):
        run.store.write(judge_rows(known_judge))
    bar, marks = screen.bar("quality", len(answers)), silent
    for start in range(0, len(answers), CHUNK):
        verdicts = judge.score(items[start : start + CHUNK])
        rows = [made(a, v, metric) for a, v in zip(answers[start : start + CHUNK], verdicts, strict=True)]
        tables: dict[str, Sequence[Any]] = {"eval_items": rows, **criteria_of(verdicts)}
        run.store.write(tables, replace=list(tables))
        bar.step(len(rows))
        marks += rows
    values = [row.value for row in marks if row.value is not None]
    summary = "no answer has a mark"
    if values:
        summary = f"{metric} {sum(values) / len(values):.4f}, {len(marks) - len(values)} unscored"
    bar.finish(f"{answers[0].policy_id[:8]} by {judge.identity.model}: {summary}" if answers else summary)
    return marks


def mark(answer: EvalItem, verdict: Verdict, metric: str = METRIC) -> EvalItem:
    """An answer's row with the judge's mark as `metric`.

    Without a verdict it has no value and says why; the value is never 0 then.
    """
    scored, unparsed = verdict.status == "scored", verdict.status == "unparsed"
    return replace(
        answer,
        metric=metric,
        value=verdict.score,
        status="scored" if scored else "unparsed" if unparsed else "failed",
        reason="" if scored else f"{verdict.status}: {verdict.reason}",
        judge_id=verdict.judge_id,
    )


def rubric_mark(answer: EvalItem, verdict: Verdict, metric: str = METRIC) -> EvalItem:
    """:func:`mark` for an answer to a question of HealthBench: its score there, which may be below 0."""
    row = mark(answer, verdict, metric)
    found = healthbench.mark_of(verdict)
    protocol = healthbench.protocol_of_marks(answer.protocol_hash)
    if not isinstance(found, str):
        return replace(row, value=found, status="scored", reason="", protocol_hash=protocol)
    status = "unparsed" if verdict.status == "scored" else row.status
    return replace(row, value=None, status=status, reason=found, protocol_hash=protocol)


def _item(answer: EvalItem, q: Question) -> JudgeItem:
    item_id = f"{answer.policy_id}/{q.question_id}"
    return JudgeItem(item_id, q.question, answer.prediction, q.reference, q.context, q.key_points, rubric=q.rubric)
