"""The labels that correct the gate's judge (`gate.labels`): which items need one, and what is there.

Labels are rows of `gate_labels`, given by people or by a careful judge with the command `judge label --gate` while the
round waits for them. Which items need one follows from the answers alone: those on which champion and challenger
differ, the first by their ids, which are hashes. So nobody chooses what is labelled, and neither does what was labelled
before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.evals.benchmarks import BENCHMARKS, benchmark_of_dataset
from rlaif.evals.evaluate import free_text
from rlaif.evals.stored import stored
from rlaif.gate.ppi import Labels
from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.types import EvalItem, Question, RlaifError


@dataclass(frozen=True, slots=True)
class Asked:
    """One gate item to label: the two policies' stored answers to the question."""

    question: Question
    champion: EvalItem
    challenger: EvalItem


def to_label(run: Run, champion: str, challenger: str, prompt: Prompt, number: int) -> list[Asked]:
    """The first `number` free-text gate items, by id, on which the answers of the two policies differ."""
    questions = free_text(run)
    if not questions:
        return []
    benchmark = benchmark_of_dataset(questions[0].dataset)
    metric, by_id = BENCHMARKS[benchmark].metric, {q.question_id: q for q in questions}
    sides = [
        {row.item_id: row for row in stored(run, policy, benchmark, metric, questions, prompt)}
        for policy in (champion, challenger)
    ]
    both = sorted(sides[0].keys() & sides[1].keys())
    asked = [Asked(by_id[item], sides[0][item], sides[1][item]) for item in both]
    return [one for one in asked if one.champion.prediction != one.challenger.prediction][:number]


def given(run: Run, champion: str, challenger: str, asked: Sequence[Asked]) -> Labels:
    """Item -> the two marks, of the items asked that have any: means over all who labelled it."""
    rows = run.store.query(
        "SELECT item_id, avg(champion_mark) AS a, avg(challenger_mark) AS b FROM gate_labels "
        "WHERE champion = ? AND challenger = ? AND status = 'scored' GROUP BY item_id ORDER BY item_id",
        [champion, challenger],
    )
    items = {one.question.question_id for one in asked}
    return {row["item_id"]: (row["a"], row["b"]) for row in rows if row["item_id"] in items}


def labels_at(run: Run, round: int, champion: str, challenger: str, prompt: Prompt) -> Labels | None:
    """The labels with which the round is decided; None where the run asks for none, has no free text, or where under
    two answers differ and there is nothing to correct.

    RlaifError while labels are missing. Items that somebody skipped may be missing, up to `gate.max_unscored` of those
    asked: more would be a choice of items. Where too few are left the look is not valid, and the judge alone does not
    decide it.
    """
    settings = run.config.gate
    if not settings.labels or not free_text(run):
        return None
    asked = to_label(run, champion, challenger, prompt, settings.labels)
    found = given(run, champion, challenger, asked)
    skipped = run.store.query(
        "SELECT DISTINCT item_id FROM gate_labels WHERE champion = ? AND challenger = ? AND status <> 'scored'",
        [champion, challenger],
    )
    missing = [one for one in asked if one.question.question_id not in found]
    excused = {row["item_id"] for row in skipped}
    waits = [one for one in missing if one.question.question_id not in excused]
    if waits or len(missing) > settings.max_unscored * len(asked):
        raise RlaifError(
            f"round {round} waits for labels: {len(found)} of {len(asked)} gate items have one (gate.labels); give "
            f"them with judge label --gate --name NAME --run {run.folder}, then run the same command again"
        )
    return found if len(asked) > 1 else None


def open_gate(run: Run, round: int | None) -> tuple[int, str, str] | None:
    """The round whose policies may be labelled, its champion and its challenger: the one that waits, else the latest
    that was decided. `round` asks for one. None where there is none.
    """
    waiting = run.store.query(
        "SELECT r.round, r.champion_in AS champion, s.detail->>'policy_id' AS challenger FROM rounds r "
        "JOIN stages s ON s.round = r.round AND starts_with(s.stage, 'evaluate:') AND s.status = 'done' "
        "WHERE r.decision IS NULL AND s.detail->>'policy_id' <> r.champion_in"
    )
    decided = run.store.query(
        "SELECT DISTINCT round, champion, challenger FROM gates WHERE challenger IS NOT NULL ORDER BY round DESC"
    )
    found = next((row for row in [*waiting, *decided] if round is None or row["round"] == round), None)
    return None if found is None else (found["round"], found["champion"], found["challenger"])
