"""The monitors of a round from the run's database, and what the controller makes of them. Needs no torch.

Everything here is a function of rows that are there before the round's last stage, so a round that is done again ends
with the same rows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from rlaif.config import Config
from rlaif.evals.benchmarks import BEGINS_WITH_ONE, free_text_at_the_gate
from rlaif.evals.quality import BY_LABELLER
from rlaif.gate.decide import Guard
from rlaif.loop import controller, drift, monitors
from rlaif.loop.draw import POOL
from rlaif.loop.monitors import Monitor, unmeasured
from rlaif.loop.pair_rules import sure_margin
from rlaif.loop.rules import Found, reached
from rlaif.run import Run
from rlaif.types import Decision

# Metrics of the free-text benchmark that no labelling judge gives, the better one first.
ANSWERS = ("quality", "token_f1")


def monitor_round(run: Run, round: int, champion: str, challenger: str | None) -> list[Monitor]:
    """All monitors of a DPO round, after its evaluation.

    Without a challenger those that look at it are not measured.
    """
    limit = run.config.monitors
    answers = run.store.query(
        "SELECT count(*) AS n, count_if(finish_reason IN ('length', 'thought')) AS cut FROM candidates WHERE round = ?",
        [round],
    )[0]
    first, now = _pair_counts(run, 1), _pair_counts(run, round)
    low = monitors.yield_low(*now, *first, limit)
    return [
        *_training(run, challenger),
        *_texts(run, champion, challenger),
        monitors.pair_yield(*now, *first, limit),
        monitors.score_spread(_scores(run, round), _scores(run, 1), limit),
        _judge_up(run, champion, challenger),
        _kl(run, run.starts_from(round, champion)),
        monitors.truncated(answers["cut"], answers["n"], limit),
        low,
        monitors.lost_to(_lost(run, round), now[1], low.red, limit),
        _steps(run, challenger),
    ]


def guards(round_monitors: Sequence[Monitor], config: Config) -> tuple[Guard, ...]:
    """The measured monitors as the gate's guards; only those of `monitors.blocking` hold up a promotion."""
    blocking = config.monitors.blocking
    return tuple(
        Guard(m.name, m.red, m.name in blocking, _guard_words(m, m.name in blocking))
        for m in round_monitors
        if m.value is not None
    )


def _guard_words(monitor: Monitor, blocks: bool) -> str:
    return ("red" if monitor.red else "green") + ("" if blocks else ", only warns") + f": {monitor.detail}"


def reports(round_monitors: Sequence[Monitor], round: int, config: Config) -> list[Decision]:
    """A decision for each red monitor."""
    return [
        Decision(
            round,
            "monitor",
            m.name,
            f"red: {m.detail}",
            {"value": m.value, "threshold": m.threshold, "blocking": m.name in config.monitors.blocking},
        )
        for m in round_monitors
        if m.red
    ]


def control(
    run: Run, round: int, round_monitors: Sequence[Monitor], verdict: str, winner: str, challenger: str | None
) -> tuple[list[Decision], str]:
    """The controller's decisions after a round, and who is champion after them.

    The round's gate said `verdict` and left `winner` champion. Rolling back is recorded like a promotion, as a second
    decision: whoever asks for the champion finds the one before it. It is possible where the gate has just promoted
    the challenger, which takes a monitor that does not block.
    """
    earlier_decisions = [d for d in decisions(run) if d["round"] < round]
    settings = controller.settings_for(earlier_decisions, round)
    earlier_rounds = run.store.query(
        "SELECT round, champion_in, decision FROM rounds WHERE round BETWEEN 1 AND ? ORDER BY round", [round]
    )
    predecessor = next((r["champion_in"] for r in earlier_rounds if r["round"] == round), None)
    action = controller.next_action(
        round_monitors,
        [*(r["decision"] for r in earlier_rounds if r["round"] < round), verdict],
        run.config,
        settings,
        trained=challenger is not None,
        may_roll_back=winner == challenger and predecessor is not None,
        found=found(run, round),
        decisions=earlier_decisions,
    )
    red = {m.name: m.value for m in round_monitors if m.red}
    evidence = {"red": red, "gate": verdict, "before": settings, "settings": action.settings} | action.record
    next_decisions = [Decision(round, "controller", action.name, action.reason, evidence)]
    if action.name == "roll_back" and predecessor is not None:
        why = f"rolled back from {winner}, by the rule for judge_up"
        evidence = {"policy_id": predecessor, "previous": winner}
        next_decisions.append(Decision(round, "controller", "PROMOTE", why, evidence))
        winner = predecessor
    return next_decisions, winner


def found(run: Run, round: int) -> Found:
    """What the controller's levers may look at in the round."""
    answers = run.store.query(
        "SELECT count(*) AS n, count_if(finish_reason IN ('length', 'thought')) AS cut FROM candidates WHERE round = ?",
        [round],
    )[0]
    pool = run.store.query(f"SELECT count(*) AS n FROM questions WHERE {POOL}")[0]["n"]
    best, margin = reached(_scores(run, round))
    sem = (run.done(round, "pairs") or {}).get("sem") or 0.0  # None: not measured
    return Found(
        cut=answers["cut"] / answers["n"] if answers["n"] else 0.0,
        room=(run.done(round, "sample") or {}).get("room"),
        best=best,
        margin=margin,
        noise=sure_margin(sem),
        questions=pool or None,
    )


def decisions(run: Run) -> list[dict[str, Any]]:
    """The rows of `decisions` in order, their evidence as a mapping."""
    rows = run.store.query("SELECT * FROM decisions ORDER BY seq")
    return [row | {"evidence": json.loads(row["evidence"])} for row in rows]


def halted(run: Run) -> str | None:
    """Why no further round is to begin, by the controller's last word; None where one may, or is under way."""
    if run.store.query("SELECT 1 FROM rounds WHERE decision IS NULL"):
        return None
    return controller.stopped(decisions(run))


def stop_words(why: str) -> str:
    return (
        f"the controller stopped the loop {why}; `promote POLICY --why TEXT` lets it go on, also with the same champion"
    )


def tuned(run: Run, round: int) -> Run:
    """The run with the settings that the controller's earlier decisions give this round."""
    return dataclasses.replace(run, config=controller.tuned(run.config, controller.settings_for(decisions(run), round)))


def _training(run: Run, challenger: str | None) -> list[Monitor]:
    limit = run.config.monitors
    log: dict[str, list[float]] = {}
    if challenger:
        rows = run.store.query(
            "SELECT name, value FROM train_log WHERE policy_id = ? ORDER BY name, step", [challenger]
        )
        for row in rows:
            log.setdefault(row["name"], []).append(row["value"])
    tokens = run.store.query(
        "SELECT avg(c.n_tokens) AS mean FROM policy_items i JOIN preferences p ON p.pair_id = i.item_id "
        "JOIN answers c ON c.candidate_id = p.chosen_id WHERE i.policy_id = ?",
        [challenger or ""],
    )[0]["mean"]
    beta = run.config.dpo.beta
    chosen, rejected = log.get("rewards/chosen", []), log.get("rewards/rejected", [])
    return [
        monitors.logps_falling(chosen, rejected, beta, tokens or 0.0, limit),
        monitors.overfit(log.get("rewards/accuracies", []), log.get("epoch", []), limit),
    ]


def _steps(run: Run, challenger: str | None) -> Monitor:
    """Optimiser steps and pairs of the challenger."""
    row = run.store.query(
        "SELECT (SELECT max(step) FROM train_log WHERE policy_id = $1) AS steps, "
        "(SELECT count(*) FROM policy_items WHERE policy_id = $1 AND role = 'dpo') AS pairs",
        [challenger or ""],
    )[0]
    return monitors.steps_low(row["steps"] or 0, row["pairs"], run.config.monitors)


def _texts(run: Run, champion: str, challenger: str | None) -> list[Monitor]:
    rows = _on_same_items(run, champion, challenger)[1] if challenger else []
    before, after = [r["first_answer"] for r in rows], [r["second_answer"] for r in rows]
    return [monitor(before, after, run.config.monitors) for monitor in (monitors.length_ratio, monitors.distinct_2)]


def _on_same_items(
    run: Run, first: str, second: str, metrics: Sequence[str] = ANSWERS
) -> tuple[str, list[dict[str, Any]]]:
    """The metric and the rows of two policies' results on the free-text gate items: of the first of `metrics` that both
    have.

    A row has item_id, first_answer, second_answer, first_value and second_value, and what identifies its protocol. Only
    results of one protocol, judge and data set are compared: where there are several, those with the most items.
    """
    rows = run.store.query(
        "SELECT a.metric, a.item_id, a.prediction AS first_answer, b.prediction AS second_answer, "
        "a.value AS first_value, b.value AS second_value, "
        "count(*) OVER (PARTITION BY metric, judge_id, protocol_hash, data_sha256) AS n, "
        "concat_ws('/', judge_id, protocol_hash, data_sha256) AS kind "
        "FROM eval_items a JOIN eval_items b USING (benchmark, split, item_id, metric, judge_id, "
        "protocol_hash, data_sha256) "
        "WHERE a.policy_id = ? AND b.policy_id = ? AND split = 'gate' "
        f"AND {BEGINS_WITH_ONE} AND metric IN (SELECT unnest(?)) AND a.value IS NOT NULL AND b.value IS NOT NULL "
        "ORDER BY item_id",
        [first, second, list(free_text_at_the_gate(run.config.evaluation)), list(metrics)],
    )
    if not rows:
        return "", []
    best = max(rows, key=lambda r: (-metrics.index(r["metric"]), r["n"], r["kind"]))
    return best["metric"], [r for r in rows if (r["metric"], r["kind"]) == (best["metric"], best["kind"])]


def _pair_counts(run: Run, round: int) -> tuple[int, int]:
    """Questions with a kept pair (or one that a person excluded later), and all questions of a round.

    As far as the judge's marks on two answers made the pairs: references are better than any answer, and say nothing of
    the yield.
    """
    row = run.store.query(
        "SELECT count(DISTINCT question_id) FILTER (status = 'kept' OR starts_with(reason, 'excluded by hand')) AS "
        "kept, count(DISTINCT question_id) AS n FROM preferences WHERE round = ? AND kind <> 'reference'",
        [round],
    )[0]
    return row["kept"], row["n"]


def _scores(run: Run, round: int) -> list[list[float]]:
    """The labelling judge's scores of a round's answers, one list per question."""
    rows = run.store.query(
        "SELECT c.question_id, v.score FROM candidates c JOIN verdicts v USING (candidate_id) "
        "WHERE c.round = ? AND v.replicate = 0 AND v.status = 'scored' "
        "AND v.judge_id IN (SELECT judge_id FROM preferences p WHERE p.round = c.round) ORDER BY "
        "c.question_id, c.sample_index",
        [round],
    )
    questions: dict[str, list[float]] = {}
    for row in rows:
        questions.setdefault(row["question_id"], []).append(row["score"])
    return list(questions.values())


def _lost(run: Run, round: int) -> dict[str, int]:
    """Drop reason -> questions of the round that have no pair for it."""
    rows = run.store.query(
        "SELECT reason, count(*) AS n FROM (SELECT split_part(min(reason), ':', 1) AS reason FROM preferences "
        "WHERE round = ? GROUP BY question_id "
        "HAVING NOT bool_or(status = 'kept' OR starts_with(reason, 'excluded by hand'))) GROUP BY reason",
        [round],
    )
    return {row["reason"]: row["n"] for row in rows}


def _judge_up(run: Run, champion: str, challenger: str | None) -> Monitor:
    """The challenger against the champion on the gate questions that the labelling judge marked for both."""
    name, limit = "judge_up", run.config.monitors
    threshold = f"> {limit.judge_gain:g}, and no independent measure higher"
    marks = _on_same_items(run, champion, challenger, (BY_LABELLER,))[1] if challenger else []
    if not marks or not challenger:
        return unmeasured(name, threshold, "the labelling judge has not marked answers of both policies")
    marked, measures = {row["item_id"] for row in marks}, {}
    for metric in ANSWERS:
        rows = [r for r in _on_same_items(run, champion, challenger, (metric,))[1] if r["item_id"] in marked]
        if rows:
            measures[metric] = _means(rows)
    return monitors.judge_up(_means(marks), measures, len(marks), limit)


def _kl(run: Run, policy: str) -> Monitor:
    """Of the policy that the round started from, mostly the champion."""
    limit = run.config.monitors
    threshold = f"> {limit.kl_to_sft:g} nat/token"
    sft = drift.sft_policy(run, policy)
    if sft == policy:
        return Monitor("kl_to_sft", 0.0, threshold, False, "the round started from the SFT policy")
    measured = drift.measured(run, policy)
    if measured is None:
        why = "no stage drift" if sft else "its start does not come from an SFT policy"
        return unmeasured("kl_to_sft", threshold, why)
    return monitors.kl_to_sft(measured["logratios"], measured["tokens"], limit)


def _means(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The means of rows of :func:`_on_same_items`, which are not empty."""
    first, second = (sum(row[f"{which}_value"] for row in rows) / len(rows) for which in ("first", "second"))
    return first, second
