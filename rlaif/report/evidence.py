"""What the gate rests on, made ready for the page. Pure.

That is its conditions, the scores by round, and the confusion matrices.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rlaif import wording as words
from rlaif.report import charts
from rlaif.report.charts import Chart
from rlaif.report.data import Data, Score
from rlaif.report.verdict import RESULTS, last_look
from rlaif.wording import Rows

DECIDING = ("quality", "accuracy")  # what the gate looks for a gain in stands first

CONDITIONS = {
    "better": "Better",
    "not_worse": "Not worse",
    "ordered": "Words in order",
    "gain_possible": "Gain possible",
    "not_read": "Labels read?",
    "guard": "Guard",
    "valid": "Valid",
}


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    measure: str
    change: str
    difference: str
    needed: str
    detail: str
    passed: bool | None
    enough: bool = False  # not passed, and not needed: another measure's gain was enough

    @property
    def result(self) -> str:
        if self.name == CONDITIONS["not_read"]:
            return "decides nothing"
        return "✓ passed" if self.passed else "not shown" if self.enough else "✗ failed"


@dataclass(frozen=True, slots=True)
class GateRound:
    title: str
    result: str
    reason: str
    conditions: tuple[Condition, ...]  # what was measured
    validity: tuple[Condition, ...]  # whether it may be compared at all
    guards: tuple[Condition, ...]  # what the monitors said

    @property
    def valid(self) -> bool:
        return all(c.passed for c in self.validity)

    @property
    def guarded(self) -> bool:
        return all(c.passed for c in self.guards)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows are targets, columns predictions; a cell is (count, share of its row).

    `score`: accuracy and macro-F1 in words.
    """

    title: str
    score: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


def gate_rounds(data: Data) -> list[GateRound]:
    """The gate's evidence of every round, the newest first."""
    names = words.policy_names(data["policies"])
    order = list(CONDITIONS)
    out = []
    for row in reversed(data.snapshot.rounds):
        gates = last_look(data["gates"], row["round"])
        if not gates:
            continue
        gates.sort(key=lambda g: order.index(g["condition"]) if g["condition"] in order else len(order))
        challenger, met = names.get(row["challenger"], "the challenger"), names.get(row["champion_in"], "the champion")
        result = RESULTS.get(row["decision"] or "", "undecided")
        one_gain = any(g["condition"] == "better" and g["passed"] for g in gates)
        measured = tuple(_condition(g, one_gain) for g in gates if g["condition"] not in ("valid", "guard"))
        validity = tuple(_condition(g) for g in gates if g["condition"] == "valid")
        guards = tuple(_condition(g) for g in gates if g["condition"] == "guard")
        out.append(GateRound(f"{challenger} against {met}", result, _look(gates), measured, validity, guards))
    return out


def _look(gates: Rows) -> str:
    """Which look it was, and what a gain needs at it."""
    tests = [g for g in gates if g["condition"] == "better" and g["alpha"] is not None]
    if not tests:
        return ""
    kind = "SFT" if tests[0]["round"] == 0 else "the preference rounds"
    level = words.p_value(tests[0]["alpha"])
    enough = ", and on one measure is enough" if len(tests) > 1 else ""
    return f"Look {tests[0]['look']} of {kind}: a gain counts with p at or below {level}{enough}."


def _condition(g: dict[str, Any], one_gain: bool = False) -> Condition:
    needed = ""
    if g["condition"] == "better":
        needed = f"≥ {words.signed(g['threshold'])}, p ≤ {words.p_value(g['alpha'])}"
    elif g["condition"] == "not_worse":
        needed = f"lower bound > {words.signed(g['threshold'])}"
    elif g["condition"] == "gain_possible":
        needed = f"upper bound ≥ {words.signed(g['threshold'])}"
    elif g["condition"] == "ordered":
        needed = "lower bound > 0"
    change = ""
    if g["challenger_mean"] is not None:
        change = f"{words.number(g['champion_mean'])} → {words.number(g['challenger_mean'])}"
    difference = ""
    if g["delta"] is not None:
        kind = "95%" if g["condition"] in ("better", "not_read") else "one-sided 95%"
        difference = f"{words.signed(g['delta'])} ({kind}: {words.interval(g['ci_low'], g['ci_high'])})"
    detail = [words.hide_places(g["detail"])] if g["detail"] else []
    if g["p_adjusted"] is not None:
        detail.insert(0, f"p {words.p_value(g['p_value'])}, adjusted {words.p_value(g['p_adjusted'])}")
    if g["b"] is not None and g["c"] is not None:
        detail.insert(1, f"{g['b']:,} items won, {g['c']:,} lost")
    name, _, check = g["metric"].partition(": ")
    name = name.removeprefix(f"{g['benchmark']} ")  # of a further benchmark
    measure = " ".join(part for part in (g["benchmark"], words.metric(name)) if part)
    if check:
        measure += f", {check.replace('_', ' ')}"
    condition = CONDITIONS.get(g["condition"], g["condition"].replace("_", " "))
    enough = one_gain and g["condition"] in ("better", "gain_possible") and not g["passed"]
    told = words.thousands("; ".join(detail))
    return Condition(condition, measure, change, difference, needed, told, g["passed"], enough)


def compared(data: Data) -> dict[tuple[str, str, str], list[Score]]:
    """(benchmark, split, metric) -> scores in the order of the rounds.

    Where protocols or files differ, they are those of most policies. Scores of different judges, protocols or files are
    never put side by side.
    """
    order = {p["policy_id"]: i for i, p in enumerate(data["policies"])}
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for s in data.scores:
        if s.policy_id in order:
            groups.setdefault((s.benchmark, s.split, s.metric), []).append(s)
    chosen = {}
    for key, scores in groups.items():
        sizes = Counter(s.protocol for s in scores)
        items = {s.protocol: s.n for s in scores}
        best = max(sizes, key=lambda protocol: (sizes[protocol], items[protocol], protocol))
        chosen[key] = sorted((s for s in scores if s.protocol == best), key=lambda s: order[s.policy_id])
    return chosen


def promoted_ids(data: Data) -> set[str]:
    """Policies that were champion at some time, the base included."""
    promotions = [d for d in data.snapshot.decisions if d["action"] == "PROMOTE"]
    promoted = {str(json.loads(d["evidence"]).get("policy_id", "")) for d in promotions}
    return promoted | {p["policy_id"] for p in data["policies"] if p["kind"] == "base"}


def score_charts(data: Data, split: str) -> list[Chart]:
    """A panel for each metric on the items of `split`, accuracy and the gate's score first.

    There is none for what other metrics are made of.
    """
    names, promoted = words.policy_names(data["policies"]), promoted_ids(data)
    first = [*DECIDING, *words.METRICS]
    shown = {key: scores for key, scores in compared(data).items() if key[1] == split and key[2] not in words.PARTS}
    panels = []
    for i, key in enumerate(sorted(shown, key=lambda k: (first.index(k[2]) if k[2] in first else len(first), k))):
        points = [(names[s.policy_id], s, s.policy_id in promoted) for s in shown[key]]
        panels.append(charts.scores(f"{key[0]}: {words.metric(key[2])}", points, f"{split}{i}"))
    return panels


def decided_chart(data: Data) -> Chart | None:
    """Everything that the gate tested for a gain, SFT included; None before it has."""
    panels: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row in data.snapshot.rounds:
        for g in last_look(data["gates"], row["round"]):
            tested = g["condition"] == "better" or (g["condition"] == "not_read" and g["metric"].endswith("accuracy"))
            if tested and g["delta"] is not None and g["ci_low"] is not None:
                name = words.metric(g["metric"].removeprefix(f"{g['benchmark']} "))
                label = "SFT" if row["round"] == 0 else f"round {row['round']}"
                panels.setdefault(f"{name}, {g['benchmark']}", []).append((label, g))
    return charts.decided([*panels.items()], "decided") if panels else None


def gain_charts(data: Data) -> list[Chart]:
    """Paired gains of the preference rounds.

    SFT's gain, mostly many times larger, would flatten them: it stands in the verdict.
    """
    gains: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for row in data.snapshot.rounds:
        for g in last_look(data["gates"], row["round"]) if row["round"] > 0 else ():
            if g["condition"] == "better" and g["delta"] is not None:
                gains.setdefault((g["benchmark"], g["metric"]), []).append((f"round {row['round']}", g))
    return [
        charts.gains(f"{benchmark}: gain in {words.metric(metric)}", rows, f"gain{i}")
        for i, ((benchmark, metric), rows) in enumerate(sorted(gains.items()))
    ]


Key = tuple[str, str, str, str, str, str]


def _protocol(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["judge_id"], row["protocol_hash"], row["data_sha256"]


def matrices(data: Data) -> list[Matrix]:
    """Target by prediction for each policy on the benchmarks whose answers are a few labels.

    On pubmedqa those are yes, no and maybe.
    """
    names = words.policy_names(data["policies"])
    scores = {(s.policy_id, s.benchmark, s.split, *s.protocol): s.mean for s in data.scores if s.metric == "accuracy"}
    f1 = {(r["policy_id"], r["benchmark"], r["split"], *_protocol(r)): r["mean"] for r in data["macro_f1"]}
    accuracies = [s for key, compared_scores in compared(data).items() for s in compared_scores if key[2] == "accuracy"]
    shown = {(s.benchmark, s.split, *s.protocol) for s in accuracies}
    cells: dict[Key, dict[tuple[str, str], int]] = {}
    for r in data["confusion"]:
        if (r["benchmark"], r["split"], *_protocol(r)) in shown and r["policy_id"] in names:
            key = (r["policy_id"], r["benchmark"], r["split"], *_protocol(r))
            cells.setdefault(key, {})[r["target"], r["predicted"]] = r["n"]
    order = list(names)
    label_order = ["yes", "no", "maybe"]

    def place(label: str) -> tuple[int, str]:
        return (label_order.index(label) if label in label_order else len(label_order)), label

    out = []
    for key in sorted(cells, key=lambda k: (k[1], k[2] != "gate", k[2], order.index(k[0]))):
        policy_id, benchmark, split = key[:3]
        counts = cells[key]
        targets = sorted({target for target, _ in counts}, key=place)
        columns = targets + ([""] if any(p not in targets for _, p in counts) else [])
        rows = []
        for target in targets:
            total = sum(n for (t, _), n in counts.items() if t == target)
            row = [
                sum(n for (t, p), n in counts.items() if t == target and (p == c or (not c and p not in targets)))
                for c in columns
            ]
            rows.append((target, tuple((n, n / total) for n in row)))
        score = f"accuracy {words.number(scores.get(key))}"
        if key in f1:
            score += f", macro-F1 {words.number(f1[key])}"
        title = f"{names[policy_id]}, {benchmark}" + ("" if split == "gate" else f", {split} items")
        out.append(Matrix(title, score, tuple(c or "other" for c in columns), tuple(rows)))
    return out
