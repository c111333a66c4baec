"""`judge label`: a person says which of two answers is better, blind and in random order.

A person is a judge with the model "person:NAME". What they say goes into `pairwise_verdicts` as it is: they gave an
order, so no score is made up for them, and the view judge_agreement counts the orders.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from judges.pairwise import Order, PairwiseVerdict, Winner
from rlaif.run import Run
from rlaif.screen import CONTROL, Screen
from rlaif.types import JudgeIdentity, UsageError, content_id

ANSWERS = {
    "a": "a",
    "b": "b",
    "t": "tie",
    "tie": "tie",
    "=": "tie",
    "s": "skip",
    "skip": "skip",
    "q": "quit",
    "quit": "quit",
}
QUESTION = "Which answer is better? a, b, tie, skip or quit: "


def person(name: str) -> JudgeIdentity:
    """Who `name` is as a judge. UsageError for a name that says nothing or would not show in a terminal."""
    name = re.sub(r"\s+", " ", name).strip()
    if not name or CONTROL.search(name) or len(name) > 80:
        raise UsageError("--name: say who labels, in up to 80 plain characters; the name stands in the table judges")
    return JudgeIdentity(
        f"person:{name}", "", "label", "", {"kind": "person", "shown": "question, context and two answers, blind"}
    )


def label(
    run: Run, name: str, number: int, round: int | None, screen: Screen, ask: Callable[[], str]
) -> dict[str, int]:
    """Show up to `number` pairs that this person has not labelled, kept ones first, and store each answer at once.

    `ask` returns what the person typed, "" at the end of the input. A skipped pair comes again after all others.
    Returns how often each answer was given. UsageError where there is nothing to label.
    """
    identity = person(name)
    pairs = _pairs(run, identity.judge_id, round)
    if not pairs:
        where = "this run" if round is None else f"round {round}"
        raise UsageError(f"{where} has no pair that {identity.model} has not labelled yet")
    row = {field: getattr(identity, field) for field in ("judge_id", "model", "prompt_name", "decoding")}
    run.store.write({"judges": [row]})
    counts = {"a": 0, "b": 0, "tie": 0, "skip": 0}
    for place, pair in enumerate(pairs[:number], start=1):
        order: Order = "ab" if int(content_id(identity.judge_id, pair["one"], pair["two"]), 16) % 2 else "ba"
        _show(screen, pair, order, f"Pair {place} of {min(number, len(pairs))}")
        answer = _answer(screen, ask)
        if answer == "quit":
            break
        counts[answer] += 1
        verdict = _verdict(identity.judge_id, pair, order, answer)
        run.store.write({"pairwise_verdicts": [verdict]}, replace=["pairwise_verdicts"])
    return counts


def _pairs(run: Run, judge_id: str, round: int | None) -> list[dict[str, Any]]:
    """Pairs of two sampled answers that are not labelled yet, each once: kept before dropped, skipped ones last.

    The texts are those that were judged; the candidate `one` has the smaller id.
    """
    return run.store.query(
        "WITH p AS (SELECT least(chosen_id, rejected_id) AS one, greatest(chosen_id, rejected_id) AS two, "
        "any_value(question_id) AS question_id, bool_or(status = 'kept') AS kept, min(pair_id) AS "
        "pair_id FROM preferences "
        "WHERE kind = 'judged' AND chosen_id IS NOT NULL AND rejected_id IS NOT NULL AND round = coalesce(?, round) "
        "GROUP BY one, two), "
        "labels AS (SELECT candidate_a, candidate_b, bool_or(status = 'scored') AS labelled FROM "
        "pairwise_verdicts WHERE judge_id = ? "
        "GROUP BY candidate_a, candidate_b) "
        "SELECT p.one, p.two, q.question, q.context, x.text AS text_one, y.text AS text_two FROM p "
        "JOIN answers x ON x.candidate_id = p.one JOIN answers y ON y.candidate_id = p.two "
        "LEFT JOIN questions q ON q.question_id = p.question_id LEFT JOIN labels l ON l.candidate_a = "
        "p.one AND l.candidate_b = p.two "
        "WHERE NOT coalesce(l.labelled, false) ORDER BY l.labelled IS NOT NULL, NOT p.kept, p.pair_id",
        [round, judge_id],
    )


def _show(screen: Screen, pair: dict[str, Any], order: Order, title: str) -> None:
    first, second = ("text_one", "text_two") if order == "ab" else ("text_two", "text_one")
    screen.heading(title)
    screen.line(f"Question: {pair['question'] or '(not in this run)'}")
    if pair["context"]:
        screen.line(f"Leaflet: {pair['context']}")
    for letter, column in (("A", first), ("B", second)):
        screen.line(f"--- Answer {letter} ---", style="bold")
        # A bar before each line: an answer cannot draw the head of another one.
        screen.line("\n".join(f"| {line}" for line in (pair[column] or "(empty)").splitlines()))
    screen.line("---")


def _answer(screen: Screen, ask: Callable[[], str]) -> str:
    while True:
        screen.line(QUESTION)
        typed = ask()
        if not typed:  # the input has ended
            return "quit"
        answer = ANSWERS.get(typed.strip().lower())
        if answer:
            return answer
        screen.line(f"{typed.strip()!r} is none of them")


def _verdict(judge_id: str, pair: dict[str, Any], order: Order, answer: str) -> PairwiseVerdict:
    if answer == "skip":
        return PairwiseVerdict(judge_id, pair["one"], pair["two"], order, None, "refused", "skipped")
    winner: Winner = "tie" if answer == "tie" else "a" if (answer == "a") == (order == "ab") else "b"
    return PairwiseVerdict(judge_id, pair["one"], pair["two"], order, winner, "scored")
