"""Where a run stands, for a person: who works on it, its rounds, what the gate said, where the time went."""

from __future__ import annotations

import json
from typing import Any

from rlaif.evals import sealed
from rlaif.report.snapshot import Snapshot, champion, state, take, time_spent
from rlaif.report.spread import Interval, bare, interval_of
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.wording import Rows, setting_words

# The gate's metrics in the order of the summary's columns.
METRICS = ("quality", "token_f1", "accuracy", "macro_f1")
LEGEND = (
    "  in a cell: mean (items); difference to the champion it met; its 95% interval, or its one-sided lower "
    "95% bound (>)\n  where there is no difference: mean (items); 95% interval of the mean"
)
KEPT = ("kept", "fallback", "further")  # outcomes of questions that gave a pair
Table = tuple[list[str], list[list[str]]]
Cells = dict[str, dict[tuple[str, str], str]]  # policy -> (benchmark, metric) -> text


def show(run: Run, screen: Screen) -> None:
    """Everything about an unfinished, finished or failed run."""
    snapshot = take(run.store)
    row = snapshot.run
    screen.line(f"run {run.folder}", style="bold")
    screen.line(
        f"  profile {row['profile']}, seed {row['seed']}, id {row['run_id']}, made "
        f"{row['created_at']:%Y-%m-%d %H:%M} UTC"
    )
    screen.line(f"  champion: {champion_words(snapshot)}")
    screen.line(f"  {state(snapshot)}")
    for row in snapshot.engines:
        what = "1 answer was" if row["n"] == 1 else f"{row['n']:,} answers were"
        screen.line(f"  {what} sampled by {row['engine']}")
    if words := watch_words(snapshot):
        screen.line(f"  {words}", style="yellow" if snapshot.red else "")
    columns, rows = round_table(snapshot)
    if rows:
        screen.line("")
        screen.table("Rounds", columns, rows)
        for line in yield_lines(snapshot):
            screen.line(f"  {line}")
    _print_summary(snapshot, screen)
    _print_sealed(snapshot, screen)


def as_json(run: Run) -> dict[str, Any]:
    """What `show` tells, JSON-ready and with every figure in full: rows of the tables and views that it reads."""
    snapshot = take(run.store)
    columns, times = stage_times(snapshot)
    return {
        "run": str(run.folder),
        **{key: snapshot.run[key] for key in ("profile", "seed", "run_id", "created_at")},
        "champion": champion(snapshot),
        "state": state(snapshot),
        "rounds": [bare(row, "mean_score") for row in snapshot.summary],
        "outcomes": snapshot.outcomes,
        "policies": snapshot.policies,
        "means": [bare(row) for row in snapshot.means],
        "gates": snapshot.gates,
        "graders": snapshot.graders,
        "red_monitors": snapshot.red,
        "engines": snapshot.engines,
        "decisions": [d | {"evidence": json.loads(d["evidence"])} for d in snapshot.decisions],
        "sealed_tests": snapshot.sealed,
        "time": [dict(zip(columns, [row[0], *map(float, row[1:])], strict=True)) for row in times],
    }


def print_sealed(run: Run, screen: Screen) -> None:
    """What the latest opening of the sealed test showed, and what marks it. Nothing while it is sealed."""
    _print_sealed(take(run.store), screen)


def _print_sealed(snapshot: Snapshot, screen: Screen) -> None:
    opening = sealed.latest(snapshot.sealed, snapshot.decisions)
    if opening and opening.rows:
        screen.line("")
        screen.table(f"Sealed test, opened after round {opening.round}", *sealed.result_table(opening))
        screen.line(sealed.LEGEND)
    best = champion(snapshot)
    for mark in sealed.marks(snapshot.sealed, snapshot.decisions, snapshot.rounds, best["policy_id"] if best else ""):
        screen.line(f"  {mark}", style="yellow")


def print_summary(run: Run, screen: Screen) -> None:
    """What came out so far.

    That is the policies side by side, why each was decided on, where the time went, and the champion.
    """
    snapshot = take(run.store)
    _print_summary(snapshot, screen)
    _print_sealed(snapshot, screen)
    screen.line(f"champion: {champion_words(snapshot)}", style="bold")


def summary_table(run: Run) -> Table:
    """Base, SFT and each round's challenger as the gate saw them: (columns, rows of text), for `Screen.table`.

    A cell has up to three lines: mean (items), difference to the champion it met, 95% interval; macro-F1 has only the
    lower one-sided bound that decides. The base, and a policy that no gate has seen yet, show the mean over their items
    of the split `gate` and its own interval (where several protocols or files were measured: of the one with the most
    items).
    """
    return _summary_table(take(run.store))


def _print_summary(snapshot: Snapshot, screen: Screen) -> None:
    columns, rows = _summary_table(snapshot)
    if rows:
        screen.line("")
        screen.table("Policies on the gate's items", columns, rows)
        screen.line(LEGEND)
        for row in snapshot.graders:
            who = f"{row['model']}, prompt {row['prompt_name']} ({row['judge_id']})"
            screen.line(f"  {row['benchmark']} quality: graded by {who}, means before clipping")
    if snapshot.decisions:
        screen.heading("Decisions")
    for d in snapshot.decisions:
        if (d["kind"], d["action"]) == ("controller", "continue"):
            continue  # nothing was changed
        screen.line(f"  round {d['round']}, {d['kind']}: {d['action']}: {d['reason']}")
    columns, rows = stage_times(snapshot)
    if rows:
        screen.line("")
        screen.table("Time", columns, rows)
        spent = time_spent(snapshot)
        share = "" if spent.share is None else f", {spent.share:.0%} of it model work"
        sessions = "1 session" if spent.sessions == 1 else f"{spent.sessions} sessions"
        screen.line(
            f"  {spent.wall:.0f} s in {sessions} (imports not counted){share}; peak memory "
            f"{spent.peak_memory_mb:,.0f} MB"
        )


def champion_words(snapshot: Snapshot) -> str:
    """The champion with its kind and round."""
    policy = champion(snapshot)
    if policy is None:
        return "none yet: the base is not prepared"
    return f"{policy['policy_id']} ({policy['kind']}, round {policy['round']})"


def watch_words(snapshot: Snapshot) -> str:
    """The red monitors of the last round that the controller decided after, and what it chose.

    The text is empty before there is such a round.
    """
    chosen = [d for d in snapshot.decisions if d["kind"] == "controller" and d["action"] != "PROMOTE"]
    if not chosen:
        return ""
    last = chosen[-1]
    red = ", ".join(m["name"] for m in snapshot.red if m["round"] == last["round"])
    settings = json.loads(last["evidence"]).get("settings", {})
    text = f"after round {last['round']}: red monitors: {red or 'none'}; next: {last['action']}"
    if settings:
        text += "; in force: " + ", ".join(f"{key} = {setting_words(value)}" for key, value in settings.items())
    return text


def round_table(snapshot: Snapshot) -> Table:
    """The view `round_summary` as text. Round 0 draws no candidates: its cells stay empty."""
    rows = []
    for r in snapshot.summary:
        paired = r["pair_yield"] is not None
        rows.append(
            [
                str(r["round"]),
                str(r["candidates"]) if r["candidates"] else "",
                "" if r["mean_score"] is None else f"{r['mean_score']:.4f}{_within(interval_of(r, 'mean_score'))}",
                str(r["pairs_kept"]) if paired else "",
                str(r["pairs_dropped"]) if paired else "",
                f"{r['pair_yield']:.0%}" if paired else "",
                r["decision"] or "under way",
            ]
        )
    return ["round", "candidates", "mean score", "kept", "dropped", "yield", "decision"], rows


def yield_lines(snapshot: Snapshot) -> list[str]:
    """What became of each round's questions, one line per round: the share that gave a pair, then the reasons of the
    others, most frequent first.
    """
    lines = []
    for round in dict.fromkeys(r["round"] for r in snapshot.outcomes):
        counts = {r["outcome"]: r["n"] for r in snapshot.outcomes if r["round"] == round}
        total = sum(counts.values())
        kept = sum(counts.pop(code, 0) for code in KEPT)
        parts = [f"kept {kept / total:.0%}", *(f"{code} {n / total:.0%}" for code, n in counts.items())]
        lines.append(f"round {round}, {total} questions: {', '.join(parts)}")
    return lines


def _summary_table(snapshot: Snapshot) -> Table:
    measured = _measured(snapshot.means)
    by_policy: Cells = measured | _gate_cells(snapshot, measured)
    all_keys = {key for cells in by_policy.values() for key in cells}
    keys = sorted(all_keys, key=lambda key: (METRICS.index(key[1]) if key[1] in METRICS else len(METRICS), key))
    best = champion(snapshot)
    base = [p["policy_id"] for p in snapshot.policies if p["kind"] == "base"]
    contenders: list[tuple[str, str, str, str]] = [("base", policy_id, "", "") for policy_id in base]
    for r in snapshot.rounds:
        name = "SFT" if r["round"] == 0 else f"round {r['round']}"
        trained = [p["policy_id"] for p in snapshot.policies if p["round"] == r["round"] and p["kind"] != "base"]
        undecided = trained[-1] if trained and not r["decision"] else ""
        contenders.append((name, r["challenger"] or undecided, r["champion_in"] or "", r["decision"] or "under way"))
    names = {policy_id: name for name, policy_id, _, _ in contenders}
    rows = []
    for name, policy_id, met, decision in contenders:
        title = [name, policy_id[:8] or "none made"] + (["champion"] if best and policy_id == best["policy_id"] else [])
        verdict = f"{decision}\nvs {names.get(met, met[:8])}" if policy_id and met else decision
        cells = by_policy.get(policy_id, {})
        rows.append(["\n".join(title), *(cells.get(key, "") for key in keys), verdict])
    return ["policy", *(f"{benchmark} {metric}" for benchmark, metric in keys), "decision"], rows


def _gate_cells(snapshot: Snapshot, measured: Cells) -> Cells:
    """From the gate's estimates: `better` and `not_read` before `not_worse`, whose bounds are one-sided. The base met
    nobody: its own interval is that of `measured`, where that has the same items.
    """
    cells: Cells = {}
    base = {p["policy_id"] for p in snapshot.policies if p["kind"] == "base"}
    for condition in ("better", "not_read", "not_worse"):
        for r in snapshot.gates:
            metric = r["metric"].removeprefix(f"{r['benchmark']} ")  # a further benchmark's begins with its name
            if r["condition"] != condition or (metric == r["metric"] and metric not in METRICS):
                continue
            key = (r["benchmark"], metric)
            interval = (
                f"{r['ci_low']:+.3f}..{r['ci_high']:+.3f}" if condition != "not_worse" else f"> {r['ci_low']:+.3f}"
            )
            cell = f"{r['challenger_mean']:.4f} (n={r['n']})\n{r['delta']:+.4f}\n{interval}"
            cells.setdefault(r["challenger"], {}).setdefault(key, cell)
            if r["champion"] in base:
                mean = f"{r['champion_mean']:.4f} (n={r['n']})"
                own = measured.get(r["champion"], {}).get(key, "")
                cells.setdefault(r["champion"], {}).setdefault(key, own if own.startswith(f"{mean}\n") else mean)
    return cells


def _measured(means: Rows) -> Cells:
    cells: Cells = {}
    for r in means:
        if r["metric"] in METRICS:
            cell = f"{r['mean']:.4f} (n={r['n']}){_within(interval_of(r), lead=chr(10))}"
            cells.setdefault(r["policy_id"], {}).setdefault((r["benchmark"], r["metric"]), cell)
    return cells


def _within(interval: Interval, lead: str = " ") -> str:
    return f"{lead}{interval[0]:.3f}..{interval[1]:.3f}" if interval else ""


def stage_times(snapshot: Snapshot) -> Table:
    """Kinds of finished stages (what stands before the colon), the longest first, as text."""
    kinds: dict[str, list[float]] = {}
    for stage in snapshot.stages:
        if stage["status"] == "done":
            sums = kinds.setdefault(stage["stage"].split(":")[0], [0, 0.0, 0.0])
            sums[0] += 1
            sums[1] += stage["seconds"] or 0.0
            sums[2] += stage["model_seconds"] or 0.0
    rows = [[kind, f"{n:.0f}", f"{seconds:.1f}", f"{model:.1f}"] for kind, (n, seconds, model) in kinds.items()]
    return ["stage", "times", "seconds", "model seconds"], sorted(rows, key=lambda row: -float(row[2]))
