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
from rlaif.gate.decide import Guard
from rlaif.loop import controller, drift, monitors
from rlaif.loop.monitors import Monitor, unmeasured
from rlaif.run import Run
from rlaif.types import Decision

ANSWERS = (
    "quality",
    "token_f1",
)  # metrics of the free-text benchmark that no labelling judge gives, the better one first


def monitor_round(run: Run, round: int, champion: str, challenger: str | None) -> list[Monitor]:
    """All monitors of a DPO round, after its evaluation. Without a challenger those that look at it are not
    measured.
    """
    limit = run.config.monitors
    answers = run.store.query(
        "SELECT count(*) AS n, count_if(finish_reason = 'length') AS cut FROM candidates WHERE round = ?", [round]
    )[0]
    first, now = _paired(run, 1), _paired(run, round)
    return [
        *_training(run, challenger),
        *_texts(run, champion, challenger),
        monitors.pair_yield(*now, *first, limit),
        monitors.score_spread(_scores(run, round), _scores(run, 1), limit),
        _judge_up(run, round, champion),
        _kl(run, champion),
        monitors.truncated(answers["cut"], answers["n"], limit),
    ]


def guards(found: Sequence[Monitor], config: Config) -> tuple[Guard, ...]:
    """The measured monitors as the gate's guards; only those of `monitors.blocking` hold up a promotion."""
    blocking = config.monitors.blocking
    return tuple(
        Guard(m.name, m.red, m.name in blocking, _guard_words(m, m.name in blocking))
        for m in found
        if m.value is not None
    )


def _guard_words(monitor: Monitor, blocks: bool) -> str:
    return ("red" if monitor.red else "green") + ("" if blocks else ", only warns") + f": {monitor.detail}"


def reports(found: Sequence[Monitor], round: int, config: Config) -> list[Decision]:
    """A decision for each red monitor."""
    return [
        Decision(
            round,
            "monitor",
            m.name,
            f"red: {m.detail}",
            {"value": m.value, "threshold": m.threshold, "blocking": m.name in config.monitors.blocking},
        )
        for m in found
        if m.red
    ]


def control(
    run: Run, round: int, found: Sequence[Monitor], verdict: str, winner: str, challenger: str | None
) -> tuple[list[Decision], str]:
    """The controller's decisions after a round whose gate said `verdict` and left `winner` champion; and who is
    champion after them.

    Rolling back is recorded like a promotion, as a second decision: whoever asks for the champion finds the one before
    it.
    """
    made = decisions(run)
    settings = controller.settings_for(made, round)
    earlier = run.store.query("SELECT decision FROM rounds WHERE round BETWEEN 1 AND ? ORDER BY round", [round - 1])
    before = None if winner == challenger else _before(run, made, winner)
    action = controller.next_action(
        found,
        [*(r["decision"] for r in earlier), verdict],
        run.config,
        settings,
        trained=challenger is not None,
        may_roll_back=before is not None,
    )
    measured = {m.name: m.value for m in found if m.red}
    evidence = {"red": measured, "gate": verdict, "before": settings, "settings": action.settings}
    chosen = [Decision(round, "controller", action.name, action.reason, evidence)]
    if action.name == "roll_back" and before is not None:
        why = f"rolled back from {winner}, by the rule for judge_up"
        chosen.append(Decision(round, "controller", "PROMOTE", why, {"policy_id": before, "previous": winner}))
        winner = before
    return chosen, winner


def decisions(run: Run) -> list[dict[str, Any]]:
    """The rows of `decisions` in order, their evidence as a mapping."""
    return [
        row | {"evidence": json.loads(row["evidence"])}
        for row in run.store.query("SELECT * FROM decisions ORDER BY seq")
    ]


def halted(run: Run) -> str | None:
    """Why no further round is to begin, by the controller's last word; None where one may, or is under way."""
    return (
        controller.stopped(decisions(run))
        if not run.store.query("SELECT 1 FROM rounds WHERE decision IS NULL")
        else None
    )


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
        "JOIN candidates c ON c.candidate_id = p.chosen_id WHERE i.policy_id = ?",
        [challenger or ""],
    )[0]["mean"]
    beta = run.config.dpo.beta
    chosen, rejected = log.get("rewards/chosen", []), log.get("rewards/rejected", [])
    return [
        monitors.logps_falling(chosen, rejected, beta, tokens or 0.0, limit),
        monitors.overfit(log.get("rewards/accuracies", []), log.get("epoch", []), limit),
    ]


def _texts(run: Run, champion: str, challenger: str | None) -> list[Monitor]:
    rows = _both(run, champion, challenger)[1] if challenger else []
    mine, theirs = [r["mine"] for r in rows], [r["theirs"] for r in rows]
    return [f(mine, theirs, run.config.monitors) for f in (monitors.length_ratio, monitors.distinct_2)]


def _both(run: Run, a: str, b: str) -> tuple[str, list[dict[str, Any]]]:
    """Two policies' results on the free-text gate items: the metric, and rows (item_id, mine, theirs, mine_value,
    theirs_value).

    Only results of one protocol, judge and data set are compared: where there are several, those with the most items.
    """
    rows = run.store.query(
        "SELECT a.metric, a.item_id, a.prediction AS mine, b.prediction AS theirs, a.value AS "
        "mine_value, b.value AS theirs_value, "
        "count(*) OVER (PARTITION BY metric, judge_id, protocol_hash, data_sha256) AS n, "
        "concat_ws('/', judge_id, protocol_hash, data_sha256) AS kind "
        "FROM eval_items a JOIN eval_items b USING (benchmark, split, item_id, metric, judge_id, "
        "protocol_hash, data_sha256) "
        "WHERE a.policy_id = ? AND b.policy_id = ? AND split = 'gate' AND starts_with(benchmark, 'medquad') "
        "AND metric IN (SELECT unnest(?)) AND a.value IS NOT NULL AND b.value IS NOT NULL ORDER BY item_id",
        [a, b, list(ANSWERS)],
    )
    if not rows:
        return "", []
    best = max(rows, key=lambda r: (-ANSWERS.index(r["metric"]), r["n"], r["kind"]))
    return best["metric"], [r for r in rows if (r["metric"], r["kind"]) == (best["metric"], best["kind"])]


def _paired(run: Run, round: int) -> tuple[int, int]:
    """Kept pairs (those that a person excluded later too) and questions of a round."""
    row = run.store.query(
        "SELECT count_if(status = 'kept' OR starts_with(reason, 'excluded by hand')) AS kept, count(*) AS n "
        "FROM preferences WHERE round = ?",
        [round],
    )[0]
    return row["kept"], row["n"]


def _scores(run: Run, round: int) -> list[list[float]]:
    """The labelling judge's scores of a round's answers, one list a question."""
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


def _judge_up(run: Run, round: int, champion: str) -> Monitor:
    """This round's champion against the last one that was another."""
    name, limit = "judge_up", run.config.monitors
    threshold = f"> {limit.judge_gain:g}, and the independent measure no higher"
    last = run.store.query(
        "SELECT round, champion_in FROM rounds WHERE round BETWEEN 1 AND ? AND champion_in <> ? ORDER BY "
        "round DESC LIMIT 1",
        [round - 1, champion],
    )
    if not last:
        return unmeasured(name, threshold, "no other champion has answered yet")
    metric, rows = _both(run, last[0]["champion_in"], champion)
    before, now = (_mean([s for q in _scores(run, r) for s in q]) for r in (last[0]["round"], round))
    if before is None or now is None or not rows:
        return unmeasured(name, threshold, "no scores or results of both champions")
    measure = _mean([r["mine_value"] for r in rows]), _mean([r["theirs_value"] for r in rows])
    return monitors.judge_up((before, now), measure, metric, limit)  # type: ignore[arg-type]  # rows are not empty


def _kl(run: Run, champion: str) -> Monitor:
    limit = run.config.monitors
    threshold = f"> {limit.kl_to_sft:g} nat/token"
    sft = drift.sft_policy(run, champion)
    if sft == champion:
        return Monitor("kl_to_sft", 0.0, threshold, False, "the champion is the SFT policy")
    found = drift.measured(run, champion)
    if found is None:
        return unmeasured(
            "kl_to_sft", threshold, "no stage drift" if sft else "the champion does not come from an SFT policy"
        )
    return monitors.kl_to_sft(found["logratios"], found["tokens"], limit)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _before(run: Run, made: Sequence[dict[str, Any]], champion: str) -> str | None:
    """The policy that the gate promoted `champion` over; None where a person or the controller chose it, or its weights
    are gone.
    """
    promoted = [d for d in made if d["action"] == "PROMOTE"][-1:]
    policy = run.policy(champion)
    if not promoted or promoted[0]["kind"] != "gate" or policy["kind"] != "dpo" or not policy["parent_id"]:
        return None
    parent = run.policy(policy["parent_id"])
    return str(parent["policy_id"]) if parent["kind"] == "base" or parent["path"] else None
