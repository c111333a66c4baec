"""The top of the report: what was promoted, by how much, and what a reader has to know before believing it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rlaif import wording as words
from rlaif.evals import sealed
from rlaif.power import promoted_for
from rlaif.report import judges
from rlaif.report.data import Data
from rlaif.report.snapshot import champion, state
from rlaif.wording import Rows

MOST_TIMES = 100  # times the gate's items: a larger number of items says nothing that a person could act on
RESULTS = {"PROMOTE": "promoted", "REJECT": "rejected", "INCONCLUSIVE": "inconclusive"}


@dataclass(frozen=True, slots=True)
class Step:
    """One round's decision. `result` is promoted, rejected, inconclusive or undecided; it is also the CSS class."""

    round: int
    title: str
    result: str
    sentence: str
    reason: str  # the gate's own line


@dataclass(frozen=True, slots=True)
class Verdict:
    headline: str
    summary: str
    state: str
    finished: bool
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]


def verdict(data: Data) -> Verdict:
    """The same words for the same rows; works from a database without any result on."""
    snapshot = data.snapshot
    names = words.policy_names(data["policies"])
    steps = tuple(_step(r, data, names) for r in snapshot.rounds)
    run_state = words.hide_places(state(snapshot).split(": continue")[0])
    return Verdict(
        *_headline(data, names),
        f"{run_state[0].upper()}{run_state[1:]}.",
        run_state.startswith("finished"),
        steps,
        tuple(_warnings(data)),
    )


def _headline(data: Data, names: dict[str, str]) -> tuple[str, str]:
    snapshot = data.snapshot
    best = champion(snapshot)
    decided = [r for r in snapshot.rounds if r["decision"]]
    by_hand = [d for d in snapshot.decisions if d["kind"] == "manual" and d["action"] == "PROMOTE"]
    promoted = [r for r in decided if r["decision"] == "PROMOTE"]
    if best is None:
        return "Nothing has been measured yet", "The base model is not prepared, so there is no policy to speak of."
    who = names.get(best["policy_id"], best["policy_id"])
    champion_words = {"base": "the base model", "SFT": "the SFT policy"}.get(who, f"the policy of {who}")
    if by_hand and _promoted_id(by_hand[-1]) == best["policy_id"]:
        summary = f"A person made {champion_words} champion; the gate's own decisions are below."
        return "The champion was chosen by hand", summary
    if not decided:
        summary = "No policy has met the gate so far, so the base model is still the champion."
        return "The gate has not decided yet", summary
    looks = f"{len(decided)} {'policy has' if len(decided) == 1 else 'policies have'} met the gate"
    if not promoted:
        return "Nothing was promoted", f"{looks}, and none passed it: {champion_words} is the champion."
    winners = words.join([names.get(r["challenger"], f"round {r['round']}") for r in promoted])
    verb = "was" if len(promoted) == 1 else "were"
    text = f"{looks}. Champion: {champion_words}."
    if all(r["round"] == 0 for r in promoted) and len(decided) > 1:
        text += " No round of preference training was shown to be better than it."
    return f"{winners[0].upper()}{winners[1:]} {verb} promoted", text


def _promoted_id(decision: dict[str, Any]) -> str:
    return str(json.loads(decision["evidence"]).get("policy_id", ""))


def _step(row: dict[str, Any], data: Data, names: dict[str, str]) -> Step:
    round = row["round"]
    title = "SFT" if round == 0 else f"Round {round}"
    reasons = [d["reason"] for d in data.snapshot.decisions if d["round"] == round and d["kind"] == "gate"]
    reason = words.hide_places(reasons[-1]) if reasons else ""
    if not row["decision"]:
        return Step(round, title, "undecided", "No decision yet.", reason)
    met = names.get(row["champion_in"], "the champion")
    tests = [g for g in last_look(data["gates"], round) if g["condition"] == "better" and g["delta"] is not None]
    result = RESULTS.get(row["decision"], row["decision"].lower())
    if not row["challenger"]:
        sentence = f"No challenger was made, so {met} stayed the champion."
    elif not tests:
        sentence = f"Nothing comparable was measured against {met}."
    elif row["decision"] == "PROMOTE":
        sentence = f"Better than {met}: {_changes([g for g in tests if g['passed']] or tests)}."
        sentence += _selected(round, data, tests)
    else:
        sentence = _not_promoted(row["decision"], met, tests, last_look(data["gates"], round))
        if needed := _items_needed(round, data):
            sentence += f" {needed[0].upper()}{needed[1:]}."
    return Step(round, title, result, sentence, reason)


def _not_promoted(decision: str, met: str, tests: Rows, gates: Rows) -> str:
    """Why a challenger was not promoted: no gain was shown, or one was and something else held it up."""
    gains = [g for g in tests if g["passed"]]
    if not gains:
        how = "Not shown to be better than" if decision == "INCONCLUSIVE" else "Not better than"
        return f"{how} {met}: {_changes(tests)}."
    held_up = [g for g in gates if g["condition"] in ("not_worse", "ordered", "guard", "valid") and not g["passed"]]
    gained = {g["metric"] for g in gains}
    causes = words.join([words.metric(g["metric"]) for g in held_up if g["metric"] not in gained])
    return f"Better than {met} on {_changes(gains)}; held up by {causes or 'another condition'}."


def _changes(tests: Rows) -> str:
    return "; ".join(map(_change, tests))


def _change(g: dict[str, Any]) -> str:
    if g["b"] == 0 and g["c"] == 0:  # right and wrong on the same items
        return f"{words.metric(g['metric'])} {words.number(g['challenger_mean'])}, the same on each of {g['n']:,} items"
    means = f"{words.number(g['champion_mean'])} → {words.number(g['challenger_mean'])}, {words.signed(g['delta'])}"
    return (
        f"{words.metric(g['metric'])} {means} (95% interval "
        f"{words.interval(g['ci_low'], g['ci_high'])}, n = {g['n']:,})"
    )


def _selected(round: int, data: Data, tests: Rows) -> str:
    """What promoted gains may be worth, as only high ones are promoted; "" where that changes none of their digits."""
    evidence = [d["evidence"] for d in data.snapshot.decisions if d["round"] == round and d["kind"] == "gate"]
    found = promoted_for("PROMOTE", json.loads(evidence[-1]) if evidence else {}, tests)
    shown = [(f, words.signed(f.row["delta"]), words.signed(f.true)) for f in found]
    smaller = [f"{true} of {words.metric(f.row['metric'])}" for f, gain, true in shown if true != gain]
    return f" Only high gains are promoted; allowing for that, it is about {words.join(smaller)}." if smaller else ""


def _items_needed(round: int, data: Data) -> str:
    """In words; "" where none are recorded."""
    of_round = [d for d in data.snapshot.decisions if d["round"] == round and d["kind"] == "gate"]
    items = json.loads(of_round[-1]["evidence"]).get("items_needed") if of_round else None
    tests = [g for g in last_look(data["gates"], round) if g["condition"] == "better" and g["delta"] is not None]
    # Without a gain, or with answers right on the same items, more of them would settle nothing worth having.
    gained = any(g["delta"] > 0 and (g["b"], g["c"]) != (0, 0) for g in tests)
    most = MOST_TIMES * max((g["n"] or 0 for g in tests), default=0)
    meant = items and gained and not (isinstance(items, int) and items > most)  # one number: of an older gate
    return words.items_words(items) if meant else ""


def last_look(gates: Rows, round: int) -> Rows:
    """The gate's rows of a round; where it looked more than once, of the last look."""
    of_round = [g for g in gates if g["round"] == round]
    last = max((g["look"] for g in of_round), default=None)
    return [g for g in of_round if g["look"] == last]


def _warnings(data: Data) -> list[str]:
    snapshot, best = data.snapshot, champion(data.snapshot)
    marks = sealed.marks(snapshot.sealed, snapshot.decisions, snapshot.rounds, best["policy_id"] if best else "")
    warnings = [f"{mark[0].upper()}{mark[1:]}." for mark in marks]
    red = [m for m in data["monitors"] if m["red"]]
    if red:
        names = words.join(sorted({m["name"].replace("_", " ") for m in red}))
        rounds = words.join([str(round) for round in sorted({m["round"] for m in red})])
        warnings.append(f"Red monitors in round {rounds}: {names}.")
    for decision in data.snapshot.decisions:
        if decision["kind"] == "controller" and decision["action"] in ("roll_back", "stop"):
            action = "took the last promotion back" if decision["action"] == "roll_back" else "stopped the loop"
            reason = words.hide_places(decision["reason"])
            warnings.append(f"After round {decision['round']} the controller {action}: {reason}.")
    if data["leaks"]:
        n = sum(row["n"] for row in data["leaks"])
        matches = "match" if n == 1 else "matches"
        warnings.append(
            f"The leak check found {n:,} {matches} between training and evaluation questions, and left "
            "one side of each out."
        )
    if data.config.get("data.leaks") == "off":
        warnings.append(
            "This run does not look for evaluation questions in its training data (data.leaks = off): "
            "nothing is promoted."
        )
    warnings += judges.warnings(data)
    if not data.config.get("judge.require_licence", True):
        warnings.append("This run lets a judge label without a licence (judge.require_licence = false).")
    return warnings
