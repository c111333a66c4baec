"""A round's gate in plain English, from the table `gates`: every condition, what was found, what it needed."""

from __future__ import annotations

import json
from typing import Any

from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import UsageError

Row = dict[str, Any]

QUESTIONS = {
    "valid": "may the two be compared?",
    "guard": "did a monitor object?",
    "better": "is it better?",
    "not_worse": "is it not much worse?",
    "ordered": "does the order of its words matter?",
    "gain_possible": "may there still be a gain worth having?",
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
}


def explain(run: Run, round: int | None = None) -> dict[str, Any]:
    """What the gate of a round saw: `verdict` (one line), `conditions` (rows of `gates`, each with `question` and
    `words`), `power`.

    `round` None is the latest that was decided. JSON-ready. `conditions` is empty where a round ended without a
    challenger. UsageError for a round that is not decided.
    """
    decisions = run.store.query(
        "SELECT round, action, reason, evidence FROM decisions WHERE kind = 'gate' ORDER BY seq"
    )
    decided = {row["round"]: row for row in decisions}
    if round is None and decided:
        round = max(decided)
    if round not in decided:
        known = ", ".join(str(r) for r in sorted(decided)) or "none yet"
        raise UsageError(
            f"round {'' if round is None else f'{round} '}has no gate decision in {run.folder}; decided rounds: {known}"
        )
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
        "champion": first.get("champion"),
        "challenger": first.get("challenger"),
        "action": decision["action"],
        "verdict": verdict(decision["action"], rows, evidence.get("items_needed"), decision["reason"]),
        "reason": decision["reason"],
        "items_needed": evidence.get("items_needed"),
        "power": [power(row) for row in rows if row["condition"] == "better"],
        "conditions": conditions,
    }


def verdict(action: str, rows: list[Row], items: int | None, reason: str) -> str:
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
        return (
            f"REJECT: worse on {' and '.join(worse)}."
            if worse
            else "REJECT: any gain is smaller than one worth having."
        )
    red = [row["metric"] for row in failed if row["condition"] == "guard"]
    if red and better:
        return f"INCONCLUSIVE: better on {' and '.join(better)}, but held up by a red monitor ({', '.join(red)})."
    tail = f"; about {items:,} items would settle it" if items else "; more items of this kind would not settle it"
    open_bounds = sorted({_name(row) for row in failed if row["condition"] == "not_worse"})
    if better:
        return (
            f"INCONCLUSIVE: better on {' and '.join(better)}, but a loss on {' and '.join(open_bounds)} is "
            f"not ruled out{tail}."
        )
    return f"INCONCLUSIVE: these items cannot tell a gain from chance{tail}."


def power(row: Row) -> str:
    """The smallest gain that a `better` row could have seen."""
    if row["mde"] is None:
        seen = "answers too much alike for any gain to be found"
    else:
        seen = f"a true gain of {row['mde']:.4f} or more would have been found in 80% of cases"
    about = "" if row["b"] is None else f" ({row['detail']})"
    return f"{_name(row)}: at this look, with {row['n']:,} items: {seen}{about}"


def words(row: Row) -> str:
    """One condition in plain English."""
    condition, metric, detail = row["condition"], row["metric"], row["detail"]
    if condition == "valid":
        what, _, check = metric.partition(": ")
        if check in ALIKE:
            return f"{NAMES.get(what, what)}: {'' if row['passed'] else 'not '}{ALIKE[check]} for both ({detail})"
        return f"{metric}: {detail}" if detail else metric
    if condition == "guard":
        return f"monitor {metric}: {detail}"
    if condition == "ordered":
        return detail
    found = f"{_name(row)} {row['champion_mean']:.4f} -> {row['challenger_mean']:.4f} ({row['delta']:+.4f})"
    items = (
        f"{row['n']:,} items"
        if row["n"] == row["n_clusters"]
        else f"{row['n']:,} items in {row['n_clusters']:,} groups"
    )
    if condition == "better":
        flips = "" if row["b"] is None else f"; {row['b']} items won, {row['c']} lost"
        return (
            f"{found}, 95% interval {row['ci_low']:+.4f} to {row['ci_high']:+.4f} on {items}{flips}; "
            f"chance alone: adjusted p {row['p_adjusted']:.4f}, needs {row['alpha']:.4f} or less, and a "
            f"gain of {row['threshold']:.4f}"
        )
    if condition == "not_worse":
        return (
            f"{found}; surely no worse than {row['ci_low']:+.4f} (95%, one-sided), allowed down to "
            f"{row['threshold']:+.4f}" + "".join(f"; {part}" for part in detail.split("; ")[1:])
        )
    if condition == "gain_possible":
        return (
            f"{found}; surely no better than {row['ci_high']:+.4f} (95%, one-sided), worth having from "
            f"{row['threshold']:+.4f}"
        )
    return f"{metric}: {detail}"


def show(result: dict[str, Any], screen: Screen) -> None:
    """As a table, the verdict first. What is as it should be is one line where it says no more than that; `explain` has
    all of it.
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
        others = [c for c in result["conditions"] if c["condition"] == name and c not in fine]
        if fine:
            about = ", ".join(dict.fromkeys(NAMES.get(m, m) for c in fine for m in [c["metric"].split(":")[0]]))
            table.append(["yes", QUESTIONS[name], f"{about}: {text}"])
        table += [_line(c) for c in others]
    table += [_line(c) for c in result["conditions"] if c["condition"] not in settled]
    screen.table("", ["met", "condition", "found"], table)
    for line in result["power"]:
        screen.line(line)
    if result["action"] == "INCONCLUSIVE" and result["items_needed"]:
        screen.line(f"about {result['items_needed']:,} items would settle it")


def _says_no_more(condition: Row) -> bool:
    """That results are of the same thing, that no item lacks a score, that a monitor is green."""
    _, _, check = condition["metric"].partition(": ")
    if condition["condition"] == "guard":
        return condition["passed"] and condition["detail"].startswith("green")
    return condition["passed"] and (
        check in ALIKE or (check.endswith("unscored") and condition["detail"].startswith("0 of"))
    )


def _line(condition: Row) -> list[str]:
    return ["yes" if condition["passed"] else "NO", condition["question"], condition["words"]]


def _name(row: Row) -> str:
    metric = str(row["metric"])
    return NAMES.get(metric, metric)
