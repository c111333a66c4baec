"""`judge label --gate`: marks for champion's and challenger's answers to gate items, by a person or a careful judge.

A person sees both answers side by side, blind and in random order, with the reference, and gives each 1 (incorrect) to
4 (excellent), as in TREC LiveQA. A judge marks each answer by itself. Rows of `gate_labels` keep both; with
`gate.labels` they correct the gate's own judge (see `rlaif.gate.labels`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from judges import make_judge
from rlaif.evals.quality import make_gate_judge
from rlaif.exam.licence import ensure_licence
from rlaif.gate.labels import Asked, open_gate, to_label
from rlaif.judging.configured import judge_rows, judge_settings, members
from rlaif.prompts import load_prompt
from rlaif.review.label import person
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import JudgeItem, UsageError, content_id
from stores.cache import AnswerCache

QUESTION = "Marks for A and B, 1 (incorrect) to 4 (excellent), e.g. 3 2; s to skip, q to quit: "
CHUNK = 32


def label_by_person(
    run: Run, name: str, number: int, round: int | None, screen: Screen, ask: Callable[[], str]
) -> dict[str, int]:
    """Show up to `number` gate items that this person has not labelled, and store each answer at once.

    `ask` returns what the person typed, "" at the end of the input. What was skipped comes last. Returns how many were
    labelled, skipped, and are left. UsageError where there is nothing to label.
    """
    identity = person(name)
    _, champion, challenger, asked = _asked(run, round, identity.judge_id, number)
    row = {field: getattr(identity, field) for field in ("judge_id", "model", "prompt_name", "decoding")}
    run.store.write({"judges": [row]})
    counts = {"labelled": 0, "skipped": 0}
    for place, one in enumerate(asked[:number], start=1):
        key = {"champion": champion, "challenger": challenger, "item_id": one.question.question_id}
        first = int(content_id(identity.judge_id, *key.values()), 16) % 2 == 0
        _show(screen, one, first, f"Gate item {place} of {min(number, len(asked))}")
        marks = _marks(screen, ask)
        if marks is None:
            break
        key |= {"judge_id": identity.judge_id, "shown": "champion first" if first else "challenger first"}
        counts["labelled" if marks else "skipped"] += 1
        if marks:
            a, b = marks if first else marks[::-1]
            row = {"champion_mark": (a - 1) / 3, "challenger_mark": (b - 1) / 3, "status": "scored", "reason": ""}
        else:
            row = {"champion_mark": None, "challenger_mark": None, "status": "refused", "reason": "skipped"}
        run.store.write({"gate_labels": [key | row]}, replace=["gate_labels"])
    return counts | {"left": len(asked) - counts["labelled"]}


def label_by_judge(run: Run, model: str, number: int, round: int | None, screen: Screen) -> dict[str, int]:
    """The judge `model`, with the run's settings for judges, marks both answers to up to `number` gate items.

    UsageError where it is the gate's own judge, which would only repeat itself, the one that labels pairs, or unknown.
    Raises JudgeStopped; what was marked is stored.
    """
    config = run.config.model_copy(update={"judge": run.config.judge.model_copy(update={"model": model})})
    judge = make_judge(model, judge_settings(config), AnswerCache(run.store))
    labels = make_judge(run.config.judge.model, judge_settings(run.config))
    known = [labels, *filter(None, [make_gate_judge(run.config, None)])]
    if {m.identity.judge_id for m in members(judge)} & {m.identity.judge_id for k in known for m in members(k)}:
        raise UsageError(f"{model!r} is the gate's own judge, or the one that labels pairs: it cannot correct the gate")
    _, champion, challenger, asked = _asked(run, round, judge.identity.judge_id, number)
    # Its word decides promotions, so it sits the same exam as the others.
    ensure_licence(replace(run, config=config), judge, screen, hold_here=judge.local, work="labels for the gate")
    for one_judge in (judge, *members(judge)):
        run.store.write(judge_rows(one_judge))
    bar, counts = screen.bar("labels", len(asked[:number])), {"labelled": 0, "skipped": 0}
    for start in range(0, len(asked[:number]), CHUNK):
        chunk = asked[:number][start : start + CHUNK]
        items = [_item(one, side) for one in chunk for side in ("champion", "challenger")]
        verdicts = judge.score(items)
        rows: list[dict[str, Any]] = []
        for one, a, b in zip(chunk, verdicts[::2], verdicts[1::2], strict=True):
            scored = a.status == b.status == "scored"
            why = "; ".join(f"{v.status}: {v.reason}" for v in (a, b) if v.status != "scored")
            rows.append(
                {
                    "champion": champion,
                    "challenger": challenger,
                    "item_id": one.question.question_id,
                    "judge_id": judge.identity.judge_id,
                    "shown": "one at a time",
                    "champion_mark": a.score if scored else None,
                    "challenger_mark": b.score if scored else None,
                    "status": "scored" if scored else next(v.status for v in (a, b) if v.status != "scored"),
                    "reason": why,
                }
            )
            counts["labelled" if scored else "skipped"] += 1
        run.store.write({"gate_labels": rows}, replace=["gate_labels"])
        bar.step(len(chunk))
    bar.finish(f"{counts['labelled']} labelled by {model}")
    return counts | {"left": len(asked) - counts["labelled"]}


def _asked(run: Run, round: int | None, judge_id: str, number: int) -> tuple[int, str, str, list[Asked]]:
    """The round, its two policies, and what this judge has not labelled of the items that need a label."""
    found = open_gate(run, round)
    if found is None:
        raise UsageError(f"{run.folder}: no {'round' if round is None else f'round {round}'} has policies at the gate")
    at, champion, challenger = found
    prompt = load_prompt(run.config.prompts.policy)
    needed = to_label(run, champion, challenger, prompt, run.config.gate.labels or number)
    said = {
        row["item_id"]: row["status"]
        for row in run.store.query(
            "SELECT item_id, status FROM gate_labels WHERE champion = ? AND challenger = ? AND judge_id = ?",
            [champion, challenger, judge_id],
        )
    }
    asked = [one for one in needed if said.get(one.question.question_id) != "scored"]
    asked.sort(key=lambda one: one.question.question_id in said)
    if not asked:
        raise UsageError(f"round {at} has no gate item that still needs a label of this labeller")
    return at, champion, challenger, asked


def _item(one: Asked, side: str) -> JudgeItem:
    q, answer = one.question, one.champion if side == "champion" else one.challenger
    item_id = f"{answer.policy_id}/{q.question_id}"
    return JudgeItem(item_id, q.question, answer.prediction, q.reference, q.context, q.key_points)


def _show(screen: Screen, one: Asked, champion_first: bool, title: str) -> None:
    answers: Sequence[str] = (one.champion.prediction, one.challenger.prediction)
    screen.heading(title)
    screen.line(f"Question: {one.question.question}")
    if one.question.context:
        screen.line(f"Leaflet: {one.question.context}")
    if one.question.reference:
        screen.line(f"Reference: {one.question.reference}")
    for letter, text in zip("AB", answers if champion_first else answers[::-1], strict=True):
        screen.line(f"--- Answer {letter} ---", style="bold")
        # A bar before each line: an answer cannot draw the head of another one.
        screen.line("\n".join(f"| {line}" for line in (text or "(empty)").splitlines()))
    screen.line("---")


def _marks(screen: Screen, ask: Callable[[], str]) -> tuple[int, int] | tuple[()] | None:
    """The marks of A and B, () to skip, None to quit."""
    while True:
        screen.line(QUESTION)
        typed = ask()
        said = typed.strip().lower()
        if not typed or said in ("q", "quit"):
            return None
        if said in ("s", "skip"):
            return ()
        if found := re.fullmatch(r"([1-4])[ ,/]*([1-4])", said):
            return int(found[1]), int(found[2])
        screen.line(f"{typed.strip()!r} is not two marks from 1 to 4")
