"""The report's plain tables. Pure.

They show pairs by round, lineage, monitors, leaks, licences, sealed tests, sessions and configuration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rlaif import wording as words
from rlaif.evals import sealed
from rlaif.report import judges
from rlaif.report.data import Data, Score
from rlaif.report.snapshot import champion, duration
from rlaif.report.status import stage_times
from rlaif.report.table import Table
from rlaif.report.verdict import verdict

REASONS = {
    "kept": "kept",
    "fallback": "kept, second choice",
    "further": "kept, further pair",
    "all_bad": "all bad",
    "below_margin": "below margin",
    "against_judge": "against the judge",
    "length_ratio": "length ratio",
    "length_balance": "length balance",
    "less_factual": "less factual",
    "near_duplicate": "near duplicate",
    "too_few_scored": "too few scored",
    "jury_disagreement": "jury disagreement",
}


@dataclass(frozen=True, slots=True)
class Ancestor:
    name: str
    policy_id: str
    facts: tuple[str, ...]


def pair_counts(data: Data) -> dict[int, dict[str, int]]:
    """{round: {what became of the question: number of questions}}.

    What was kept comes first, then the reasons for drops by frequency over all rounds.
    """
    total: dict[str, int] = {}
    counts: dict[int, dict[str, int]] = {}
    for r in data.snapshot.outcomes:
        name = REASONS.get(r["outcome"], r["outcome"].replace("_", " "))
        counts.setdefault(r["round"], {}).setdefault(name, 0)
        counts[r["round"]][name] += r["n"]
        total[name] = total.get(name, 0) + r["n"]
    order = sorted(total, key=lambda name: (not name.startswith("kept"), name != "kept", -total[name], name))
    return {
        round: {name: of_round[name] for name in order if name in of_round}
        for round, of_round in sorted(counts.items())
    }


def answers(data: Data) -> Table | None:
    """One row per round: answers, scores, pairs, lengths."""
    judged = {r["round"]: r for r in data["judged"]}
    longer = {r["round"]: r for r in data["chosen_longer"]}
    cut = {r["round"]: r["cut"] for r in data["lengths"]}
    questions = {n: sum(of_round.values()) for n, of_round in pair_counts(data).items()}
    rows = []
    for r in data.snapshot.summary:
        n = r["round"]
        if not r["candidates"] and r["pair_yield"] is None:
            continue
        kept, scored = longer.get(n, {}), judged.get(n, {})
        paired = r["pair_yield"] is not None
        rows.append(
            (
                str(n),
                f"{r['candidates']:,}",
                f"{scored.get('unscored', 0):,}",
                words.number(scored.get("mean")),
                f"{r['pairs_kept']:,} from {questions[n]:,} questions" if paired else words.NONE,
                words.percent(r["pair_yield"]),
                words.number(kept.get("margin")),
                words.percent(kept.get("share")),
                words.percent(cut.get(n), 1),
            )
        )
    columns = (
        "round",
        "answers",
        "unscored",
        "mean score",
        "pairs kept",
        "yield",
        "mean margin",
        "chosen is longer",
        "cut at limit",
    )
    return Table("Answers and pairs by round", columns, tuple(rows)) if rows else None


def drop_reasons(counts: dict[int, dict[str, int]]) -> Table | None:
    """The share of each round's questions that ended as what, with their number."""
    names = list(dict.fromkeys(name for of_round in counts.values() for name in of_round))
    total = {name: sum(of_round.get(name, 0) for of_round in counts.values()) for name in names}
    names.sort(key=lambda name: (not name.startswith("kept"), name != "kept", -total[name]))
    rows = tuple(
        (name, *(f"{words.percent(c.get(name, 0) / sum(c.values()))} ({c.get(name, 0):,})" for c in counts.values()))
        for name in names
    )
    return Table("What became of the questions", ("", *(f"round {r}" for r in counts)), rows) if rows else None


def criteria(data: Data) -> Table | None:
    """The share of the sampled answers that meet each criterion, by round, the ones that moved most first."""
    rounds = sorted({row["round"] for row in data["criteria"]})
    met: dict[tuple[str, bool], dict[int, float]] = {}
    for row in data["criteria"]:
        met.setdefault((row["name"], row["fault"]), {})[row["round"]] = row["met"]
    moved = {key: of[max(of)] - of[min(of)] for key, of in met.items()}
    rows = tuple(
        (
            f"{name.replace('_', ' ')}{' (fault)' if fault else ''}",
            *(words.percent(of[r]) if r in of else "" for r in rounds),
            f"{100 * moved[name, fault]:+.1f} points" if len(of) > 1 else "",
        )
        for (name, fault), of in sorted(met.items(), key=lambda entry: (-abs(moved[entry[0]]), entry[0]))
    )
    note = (
        "By the judge that labels, on the answers that the champion of each round sampled; the last column is the "
        "change from the first round to the last. For a fault, less is better. A judge that a policy is trained to "
        "please may see gains that another judge does not: the gate's judge is the one to believe."
    )
    columns = ("", *(f"round {r}" for r in rounds), "moved")
    return Table("Criteria met", columns, rows, note=note) if rows else None


def lineage(data: Data) -> list[Ancestor]:
    """The champion's ancestors, the base first."""
    names = words.policy_names(data["policies"])
    policies = {p["policy_id"]: p for p in data["policies"]}
    best = champion(data.snapshot)
    policy = policies.get(best["policy_id"]) if best else None
    chain: list[Ancestor] = []
    while policy is not None and len(chain) <= len(policies):  # a parent that leads back to itself ends, too
        chain.insert(0, Ancestor(names[policy["policy_id"]], policy["policy_id"], tuple(_facts(policy, data, names))))
        policy = policies.get(policy["parent_id"])
    return chain


def _facts(policy: dict[str, Any], data: Data, names: dict[str, str]) -> list[str]:
    recipe = json.loads(policy["recipe"])
    roles = [r for r in data["trained_on"] if r["policy_id"] == policy["policy_id"]]
    trained = [f"{r['n']:,} {r['role'].replace('_', ' ')}" for r in roles if r["role"] != "dpo:heldout"]
    facts = [f"trained on {words.join(trained)} items"] if trained else []
    facts += [f"{r['n']:,} pairs held out" for r in roles if r["role"] == "dpo:heldout"]
    if policy["reference_id"]:
        facts.append(f"reference: {names.get(policy['reference_id'], policy['reference_id'])}")
    keys = "quantization dtype learning_rate epochs batch_size beta sft_weight loss references".split()
    facts += [f"{k.replace('_', ' ')} {words.hide_places(str(recipe[k]))}" for k in keys if k in recipe]
    return facts + ([f"weights {policy['sha256'][:12]}"] if policy["sha256"] else [])


def leak_reports(data: Data) -> dict[str, dict[str, Any]]:
    """Data set -> what the leak check said of it (see `rlaif.data.leaks.check_leaks`).

    The mapping is empty before the run is prepared.
    """
    detail = json.loads(data["prepared"][0]["detail"]) if data["prepared"] else {}
    return {name: source["leaks"] for name, source in detail.items() if isinstance(source, dict) and "leaks" in source}


def checks(data: Data) -> list[Table]:
    """Monitors, leaks, licences, sealed tests: whatever the run has."""
    tables = []
    if data["monitors"]:
        monitors = [
            (
                m["name"].replace("_", " "),
                str(m["round"]),
                words.number(m["value"]),
                words.hide_places(m["threshold"]),
                _color(m["red"]),
            )
            for m in data["monitors"]
        ]
        tables.append(Table("Monitors", ("monitor", "round", "value", "threshold", "state"), monitors))
    if checked := leak_reports(data):
        sides = ("checked", "found", "eval_dropped", "train_dropped")
        counts = tuple((name, *(f"{r.get(side, 0):,}" for side in sides)) for name, r in checked.items())
        columns = ("data set", "items checked", "leaked", "items dropped", "training questions dropped")
        tables.append(Table("Leak check", columns, counts))
    if data["leaks"]:
        kinds = [
            (r["kind"], f"{r['n']:,}", f"{r['questions']:,}", words.number(r["similarity"], 2)) for r in data["leaks"]
        ]
        tables.append(Table("Leaks found", ("kind", "matches", "questions", "highest similarity"), kinds))
        nearest = [
            (r["question"], r["matched"], r["kind"], words.number(r["similarity"], 2)) for r in data["leak_examples"]
        ]
        tables.append(Table("The nearest of them", ("question", "matches", "kind", "similarity"), nearest, "words"))
    tables += [table for table in (judges.exams(data), judges.together(data)) if table]
    if data["sealed"]:
        names = words.policy_names(data["policies"])
        openings = []
        for r in data["sealed"]:
            policies = words.join([names.get(p, p[:8]) for p in r["policies"]])
            openings.append((f"{r['opened_at']:%Y-%m-%d %H:%M} UTC", str(r["round"]), policies))
        tables.append(Table("Sealed test opened", ("when", "round", "policies"), openings, "words"))
    return tables


def sealed_result(data: Data) -> Table | None:
    """Base, SFT and champion on the sealed items, and their paired differences.

    None before the sealed test is finished.
    """
    opening = sealed.latest(data.snapshot.sealed, data.snapshot.decisions)
    if opening is None or not opening.rows:
        return None
    rows = [(name, *(words.number(r["means"][name]) for r in opening.rows)) for name in opening.policies or {}]
    for pair in opening.rows[0]["differences"]:
        rows.append((pair, *(_difference(r["differences"][pair]) for r in opening.rows)))
    measures = [
        f"{r['benchmark']} {words.metric(r['metric'])} (n = {r['n']:,}, {r['groups']:,} groups"
        + (f", {words.hide_places(r['grader'])}" if r.get("grader") else "")
        + ")"
        for r in opening.rows
    ]
    note = "paired differences with two-sided 95% intervals, bootstrap clustered by group"
    return Table("Base, SFT and champion side by side", ("", *measures), rows, note=note)


def _difference(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "the same policy"
    return f"{words.signed(estimate['delta'])} ({words.interval(estimate['ci_low'], estimate['ci_high'])})"


def _color(red: bool) -> str:
    return "red" if red else "green"


def measurements(data: Data) -> Table | None:
    """Every mean that was measured, sealed items and other protocols included."""
    names = words.policy_names(data["policies"])
    order = {policy_id: i for i, policy_id in enumerate(names)}

    def place(s: Score) -> tuple[Any, ...]:
        return s.benchmark, s.split, s.metric, s.protocol, order.get(s.policy_id, -1), s.policy_id

    rows = []
    for s in sorted(data.scores, key=place):
        keys = (f"{s.benchmark} {words.metric(s.metric)}", s.split, names.get(s.policy_id, s.policy_id[:8]))
        span = words.interval(s.low, s.high, plus=False)
        rows.append((*keys, words.number(s.mean), span, f"{s.n:,}", f"{s.unscored:,}", s.protocol[1][:8]))
    columns = ("measure", "items", "policy", "mean", "95% interval", "n", "unscored", "protocol")
    return Table("All measurements", columns, tuple(rows)) if rows else None


def decisions(data: Data) -> Table | None:
    """Everything that was decided, in order: the gate's, the controller's and what a person did by hand."""
    sentences = {step.round: step.sentence for step in verdict(data).steps}
    rows = tuple(
        (
            str(d["round"]),
            d["kind"],
            d["action"].replace("_", " ").lower(),
            sentences.get(d["round"], "") if d["kind"] == "gate" else words.thousands(words.hide_places(d["reason"])),
        )
        for d in data.snapshot.decisions
    )
    return Table("All decisions", ("round", "by", "action", "reason"), rows, "words") if rows else None


def provenance(data: Data) -> list[Table]:
    """Data, judges, sessions with their versions, time, configuration.

    No table shows a folder or an address of the machine.
    """
    sets: dict[str, dict[str, int]] = {}
    for r in data["questions"]:
        sets.setdefault(r["dataset"], {})[r["split"]] = r["n"]
    splits = ("train", "gate", "sealed")
    questions = tuple((name, *(f"{n.get(s, 0):,}" for s in splits)) for name, n in sets.items())
    tables = [Table("Questions", ("data set", *splits), questions)]
    known = [(words.hide_places(j["model"]), j["prompt_name"] or words.NONE, j["judge_id"]) for j in data["judges"]]
    tables.append(Table("Judges", ("model", "prompt", "id"), known, "words"))
    sessions = []
    for s in data["sessions"]:
        began = f"{s['started_at']:%Y-%m-%d %H:%M}"
        lasted = duration((s["ended_at"] - s["started_at"]).total_seconds()) if s["ended_at"] else words.NONE
        code = words.NONE if s["exit_code"] is None else str(s["exit_code"])
        sessions.append((began, lasted, code, s["commit"] or words.NONE, words.command(s["argv"])))
    session_columns = ("began (UTC)", "lasted", "exit code", "commit", "command")
    tables.append(Table("Sessions", session_columns, tuple(sessions), "words"))
    columns, times = stage_times(data.snapshot)
    tables.append(Table("Time", tuple(columns), tuple(tuple(row) for row in times)))
    if data["sessions"]:
        versions = json.loads(data["sessions"][-1]["versions"])
        packages = tuple((package, str(version)) for package, version in versions.items())
        tables.append(Table("Versions in the last session", ("package", "version"), packages))
    settings = [(key, words.setting(key, value)) for key, value in data.config.items()]
    tables.append(Table("Configuration", ("key", "value"), settings, "keys", note=f"hash {data.config_hash[:16]}"))
    return [table for table in tables if table.rows]
