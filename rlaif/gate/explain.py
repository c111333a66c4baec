"""A round's gate in plain English, from the table `gates`: every condition, what was found, what it needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rlaif.gate import ledger
from rlaif.power import promoted_for
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import RlaifError, UsageError
from rlaif.wording import items_words

Row = dict[str, Any]

QUESTIONS = {
    "valid": "may the two be compared?",
    "guard": "did a monitor object?",
    "better": "is it better?",
    "not_read": "are the questions with a label read?",
    "judge_alone": "what does the judge say without the labels?",
    "not_worse": "is it not much worse?",
    "ordered": "does the order of its words matter?",
    "gain_possible": "may there still be a gain worth having?",
}
NOT_NEEDED = {  # once a gain is shown on one measure
    "better": "is it better here too? (not needed)",
    "gain_possible": "may it be better here too? (not needed)",
}
ALIKE = {
    "same_items": "the same items",
    "same_protocol": "the same prompt and decoding",
    "same_data": "the same references and labels",
}
NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "token_f1": "token F1",
    "rouge_l": "ROUGE-L (word order)",
    "quality": "judged quality",
    "consistency": "consistency with the references",
}


def explain(run: Run, round: int | None = None) -> dict[str, Any]:
    """What the gate of a round saw, JSON-ready.

    It has `verdict` (one line), `conditions` (rows of `gates`, each with `question` and `words`), `alpha_words` (which
    alpha was used, and why), `power`, `selection` (what a promoted gain may be worth) and `ledger` (looks at the same
    gate items over all runs, in words; "" where none is known). `round` None is the latest that was decided.
    `conditions` is empty where a round ended without a challenger. UsageError for a round that is not decided.
    """
    decisions = run.store.query(
        "SELECT round, action, reason, evidence FROM decisions WHERE kind = 'gate' ORDER BY seq"
    )
    decided = {row["round"]: row for row in decisions}
    if round is None and decided:
        round = max(decided)
    if round not in decided:
        rounds = ", ".join(str(r) for r in sorted(decided)) or "none yet"
        which = "round" if round is None else f"round {round}"
        raise UsageError(f"{which} has no gate decision in {run.folder}; decided rounds: {rounds}")
    decision, evidence = decided[round], json.loads(decided[round]["evidence"])
    rows = run.store.query("SELECT * FROM gates WHERE round = ?", [round])
    places = {name: i for i, name in enumerate(QUESTIONS)}
    rows.sort(key=lambda r: (places.get(r["condition"], len(places)), r["metric"]))
    conditions = [
        row | {"question": QUESTIONS.get(row["condition"], row["condition"]), "words": words(row)} for row in rows
    ]
    first = rows[0] if rows else {}
    return {
        "round": round,
        "look": first.get("look"),
        "alpha": evidence.get("alpha"),
        "alpha_inherited": evidence.get("alpha_inherited"),
        "alpha_shares": evidence.get("alpha_shares"),
        "alpha_words": alpha_words(evidence, rows),
        "champion": first.get("champion"),
        "challenger": first.get("challenger"),
        "action": decision["action"],
        "verdict": verdict(decision["action"], rows, evidence.get("items_needed"), decision["reason"]),
        "reason": decision["reason"],
        "items_needed": evidence.get("items_needed"),
        "power": [power(row) for row in rows if row["condition"] == "better"],
        "conditions": conditions,
        "ledger": ledger_words(run),
        "selection": selection_words(decision["action"], evidence, rows),
    }


def selection_words(action: str, evidence: dict[str, Any], rows: list[Row]) -> list[str]:
    """What the gains that a look promoted on may be worth, since only high ones are promoted."""
    return [
        f"{_name(found.row)}: a promoted gain is too high on average, because only gains of about {found.least:+.4f} "
        f"and more are promoted; allowing for that, {found.row['delta']:+.4f} stands for about {found.true:+.4f}. The "
        "sealed test estimates it anew"
        for found in promoted_for(action, evidence, rows)
    ]


def ledger_words(run: Run) -> str:
    """What the ledger knows of looks at this run's gate items; "" where it knows none."""
    try:
        found = ledger.counts().get(ledger.run_key(run.store.query("SELECT run_id, created_at FROM runs")[0]))
    except RlaifError as error:
        return str(error)
    return ledger.words(found) if found else ""


def alpha_words(evidence: dict[str, Any], rows: list[Row]) -> str:
    """Where a look's alpha came from, and which metric had which part of it; "" where nothing was tested."""
    tests = {row["metric"]: row for row in rows if row["condition"] == "better"}
    if not tests:
        return ""
    if "alpha_shares" not in evidence:
        return "decided by an older rule: each metric had half of alpha, and no promotion handed its alpha on"
    alpha, inherited, shares = evidence["alpha"], evidence["alpha_inherited"], evidence["alpha_shares"]
    origin = f"alpha {alpha:.4f} is this look's own"
    if inherited:
        origin = (
            f"alpha {alpha:.4f}: {alpha - inherited:.4f} is this look's own, {inherited:.4f} comes from the promotion "
        )
        origin += "before"
    if share := evidence.get("ledger_share"):
        origin += f", and other runs on these items leave this run {share:.1%} of its alpha (gate.ledger=spend)"
    whole = [_name(tests[metric]) for metric, share in shares.items() if share == 1]
    if not whole:
        return f"{origin}; the two metrics share it (Holm)"
    other = next((tests[metric] for metric, share in shares.items() if share == 0), None)
    why = f"{_name(other)} {other['detail'].split('; ')[-1]}" if other else "there is no other test"
    return f"{origin}; {whole[0]} has all of it: {why}"


def verdict(action: str, rows: list[Row], items: Any, reason: str) -> str:
    """The decision in one line for somebody who does not know the gate."""
    failed = [row for row in rows if not row["passed"]]
    better = [_name(row) for row in rows if row["condition"] == "better" and row["passed"]]
    if not rows:
        return f"{action}: {reason}"
    if action == "PROMOTE":
        return f"PROMOTE: better on {' and '.join(better)} beyond chance, and not worse than allowed on the rest."
    invalid = [row["metric"] for row in failed if row["condition"] == "valid"]
    if invalid:
        return f"{action}: the two results may not be compared ({', '.join(invalid)}), so they say nothing either way."
    worse = [_name(row) for row in failed if row["condition"] == "not_worse" and row["ci_high"] < 0]
    if action == "REJECT":
        if any(row["condition"] == "ordered" for row in failed):
            also = f", and it is worse on {' and '.join(worse)}" if worse else ""
            return f"REJECT: its answers are words without order{also}."
        why = f"worse on {' and '.join(worse)}" if worse else "any gain is smaller than one worth having"
        return f"REJECT: {why}."
    red = [row["metric"] for row in failed if row["condition"] == "guard"]
    if red and better:
        return f"INCONCLUSIVE: better on {' and '.join(better)}, but held up by a red monitor ({', '.join(red)})."
    tail = f"; {items_words(items)}"
    open_bounds = sorted({_name(row) for row in failed if row["condition"] == "not_worse"})
    if better:
        losses = " and ".join(open_bounds)
        return f"INCONCLUSIVE: better on {' and '.join(better)}, but a loss on {losses} is not ruled out{tail}."
    return f"INCONCLUSIVE: these items cannot tell a gain from chance{tail}."


def power(row: Row) -> str:
    """The smallest gain that a `better` row could have seen."""
    if row["mde"] is None and "takes no share" in row["detail"]:
        sensitivity = "no gain could have been found"
    elif row["mde"] is None:
        sensitivity = "answers too much alike for any gain to be found"
    else:
        sensitivity = f"a true gain of {row['mde']:.4f} or more would have been found in 80% of cases"
    detail = "" if row["b"] is None else f" ({row['detail']})"
    return f"{_name(row)}: at this look, with {row['n']:,} items: {sensitivity}{detail}"


def words(row: Row) -> str:
    """One condition in plain English."""
    condition, metric, detail = row["condition"], row["metric"], row["detail"]
    if condition == "valid":
        measure, _, check = metric.partition(": ")
        if check in ALIKE:
            return f"{NAMES.get(measure, measure)}: {'' if row['passed'] else 'not '}{ALIKE[check]} for both ({detail})"
        return f"{metric}: {detail}" if detail else metric
    if condition == "guard":
        return f"monitor {metric}: {detail}"
    if condition == "ordered":
        return detail
    change = f"{_name(row)} {row['champion_mean']:.4f} -> {row['challenger_mean']:.4f} ({row['delta']:+.4f})"
    groups = "" if row["n"] == row["n_clusters"] else f" in {row['n_clusters']:,} groups"
    if condition == "better":
        flips = "" if row["b"] is None else f"; {row['b']} items won, {row['c']} lost"
        return (
            f"{change}, 95% interval {row['ci_low']:+.4f} to {row['ci_high']:+.4f} on {row['n']:,} items{groups}"
            f"{flips}; chance alone: adjusted p {row['p_adjusted']:.4f}, needs {row['alpha']:.4f} or less, and a "
            f"gain of {row['threshold']:.4f}"
            + (f"; {detail.split('; ')[0]}" if "PPI++" in detail else "")
            + grader_words(detail)
        )
    if condition == "judge_alone":
        return (
            f"{change}, 95% interval {row['ci_low']:+.4f} to {row['ci_high']:+.4f}, p {row['p_value']:.4f}; the labels "
            "correct it, and this decides nothing"
        )
    if condition == "not_read":
        return f"{detail}. So {change} decides nothing"
    if condition == "not_worse":
        return (
            f"{change}; surely no worse than {row['ci_low']:+.4f} (95%, one-sided), allowed down to "
            f"{row['threshold']:+.4f}" + "".join(f"; {part}" for part in detail.split("; ")[1:])
        )
    if condition == "gain_possible":
        return (
            f"{change}; surely no better than {row['ci_high']:+.4f} (95%, one-sided), worth having from "
            f"{row['threshold']:+.4f}"
        ) + grader_words(detail)
    return f"{metric}: {detail}"


def grader_words(detail: str) -> str:
    """Who graded a figure, behind a semicolon, where a row's detail names somebody."""
    return "".join(f"; {part}" for part in detail.split("; ") if part.startswith("graded by "))


def show(result: dict[str, Any], screen: Screen) -> None:
    """As a table, the verdict first.

    What is as it should be is one line where it says no more than that; `explain` has all of it.
    """
    kind = "SFT" if result["round"] == 0 else "DPO"
    screen.line(result["verdict"], style="bold")
    if not result["conditions"]:
        return
    level = "" if result["alpha"] is None else f", alpha {result['alpha']:.4f}"
    screen.line(
        f"round {result['round']}, {kind} look {result['look']}{level}: {result['challenger']} against "
        f"{result['champion']}"
    )
    table: list[list[str]] = []
    settled = {"valid": "same items, prompt and data for both, and no answer without a score", "guard": "green"}
    for name, text in settled.items():
        fine = [c for c in result["conditions"] if c["condition"] == name and _says_no_more(c)]
        notable = [c for c in result["conditions"] if c["condition"] == name and c not in fine]
        if fine:
            metrics = [c["metric"].split(":")[0] for c in fine]
            shown = ", ".join(dict.fromkeys(NAMES.get(metric, metric) for metric in metrics))
            table.append(["yes", QUESTIONS[name], f"{shown}: {text}"])
        table += [_line(c) for c in notable]
    enough = any(c["condition"] == "better" and c["passed"] for c in result["conditions"])
    table += [_line(c, enough) for c in result["conditions"] if c["condition"] not in settled]
    screen.table("", ["met", "condition", "found"], table)
    for line in (result["alpha_words"], *result["selection"], *result["power"], result["ledger"]):
        if line:
            screen.line(line)


def _says_no_more(condition: Row) -> bool:
    """That results are of the same thing, that no item lacks a score, that a monitor is green."""
    _, _, check = condition["metric"].partition(": ")
    if condition["condition"] == "guard":
        return condition["passed"] and condition["detail"].startswith("green")
    all_scored = check.endswith("unscored") and condition["detail"].startswith("0 of")
    return condition["passed"] and (check in ALIKE or all_scored)


def _line(condition: Row, enough: bool = False) -> list[str]:
    """`enough`: a gain was shown on one measure, and no other is needed."""
    if condition["condition"] == "not_read":
        return ["–", condition["question"], condition["words"]]
    if enough and condition["condition"] in NOT_NEEDED and not condition["passed"]:
        return ["–", NOT_NEEDED[condition["condition"]], condition["words"]]
    return ["yes" if condition["passed"] else "NO", condition["question"], condition["words"]]


def _name(row: Mapping[str, Any]) -> str:
    metric = str(row["metric"])
    return NAMES.get(metric, metric)
