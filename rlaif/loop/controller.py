"""What the loop does next: one action after each round, by written rules. Pure.

The rules read the red monitors and the gate's verdict. They are `RULES` and `LEVERS` of `rlaif.loop.rules` and the
three lines of `next_action` that stop. One thing is changed at a time, so that the next round shows what it did, and
what has not helped after two rounds goes back. The settings that hold from then on stand in the decision's evidence,
and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.config import Config, flat
from rlaif.config_file import validate
from rlaif.loop.monitors import Monitor
from rlaif.loop.rules import (
    BADNESS,
    ENOUGH_ANSWERS,
    FEW_ANSWERS,
    HARM,
    LEVERS,
    MEASURED_BY,
    NO_HELP,
    NO_PAIRS,
    RULES,
    Found,
    Rule,
    Setting,
    moved,
)
from rlaif.wording import setting_words

WAIT = 2  # rounds after which a change is held against what it was made for


@dataclass(frozen=True, slots=True)
class Action:
    """`settings`: all that differ from the configuration in the rounds to come, by dotted key.

    `record`: what the decision's evidence says beside them. `change`: the setting that was changed, with `key`, `from`,
    `to`, the monitor (`because`) and the drop reason (`cause`, "" where none) that it was changed for, and the
    monitor's `value`. `undone`: such a change, with its `round`, its `action` and the value `now`.
    """

    name: str
    reason: str
    settings: dict[str, Setting]
    record: dict[str, Any] = field(default_factory=dict)


def next_action(
    monitors: Sequence[Monitor],
    verdicts: Sequence[str],
    config: Config,
    settings: Mapping[str, Setting],
    *,
    trained: bool = True,
    may_roll_back: bool = False,
    found: Found = Found(),  # noqa: B008  # frozen
    decisions: Sequence[Mapping[str, Any]] = (),
) -> Action:
    """The action after a round: the one of the first rule that applies, else to continue or to stop.

    The actions are the levers' names, undo, continue and stop. `verdicts`: the gate's in all DPO rounds so far, this
    one last; `settings`: what holds beside `config` already; `trained`: whether there were pairs enough for a
    challenger; `may_roll_back`: the gate has just promoted the challenger; `found`: what levers may look at;
    `decisions`: the rows of earlier rounds in order, their evidence as a mapping. Stops after `monitors.patience`
    rejections in a row, and where nothing is left to try against a red monitor that blocks promotion or against a want
    of pairs.
    """
    values = {m.name: m.value for m in monitors}
    details = {m.name: m.detail for m in monitors}
    red = [m.name for m in monitors if m.red] + ([] if trained else [NO_PAIRS])
    configured = flat(config)
    fruitless = _fruitless(decisions, len(verdicts), values, settings, configured)
    signals = [*red, *([NO_HELP] if fruitless else [])]
    causes = {m.cause for m in monitors if m.red and m.cause}
    if settings.get("sampling.k", config.sampling.k) < ENOUGH_ANSWERS:  # type: ignore[operator]  # k is a number
        causes.add(FEW_ANSWERS)
    tried = {tuple(d["evidence"]["undone"][k] for k in TRIAL) for d in decisions if "undone" in d["evidence"]}
    patience = config.monitors.patience
    if len(verdicts) >= patience and set(verdicts[-patience:]) == {"REJECT"}:
        reason = f"{patience} rejections in a row: this recipe makes nothing better from here"
        return Action("stop", reason, dict(settings))
    for rule in RULES:
        if rule.red not in signals or (rule.action == "roll_back" and not may_roll_back):
            continue
        if fruitless and rule.red == NO_HELP:
            return _undo(fruitless, rule, settings, configured)
        cause = next((c for c in rule.causes if c in causes), "")
        lever = LEVERS[rule.action]
        if (rule.causes and not cause) or (rule.red, cause, rule.action) in tried or not lever.possible(config):
            continue
        old = settings.get(lever.key, configured[lever.key])
        new = moved(lever, old, configured[lever.key], found)
        if new == old and rule.action != "roll_back":
            continue
        change = "" if new == old else f"; {lever.key} {setting_words(old)} -> {setting_words(new)}"
        trigger = f"{rule.red} is red ({details[rule.red]})" if rule.red in details else "no challenger was trained"
        if cause and cause != FEW_ANSWERS:
            trigger += f", lost most often to {details['lost_to']}"
        value = values.get(MEASURED_BY.get(rule.red, rule.red))
        made = {"key": lever.key, "from": old, "to": new, "because": rule.red, "cause": cause, "value": value}
        record = {"change": made} if new != old else {}
        return Action(rule.action, f"{trigger}: {rule.why}{change}", dict(settings) | {lever.key: new}, record)
    stuck = [name for name in red if name in (*config.monitors.blocking, NO_PAIRS)]
    if stuck:
        reason = f"{', '.join(stuck)}: red, and every setting that could help is at its limit"
        return Action("stop", reason, dict(settings))
    reason = f"red, but their settings are at the limit: {', '.join(red)}" if red else "no monitor is red"
    return Action("continue", reason, dict(settings))


TRIAL = ("because", "cause", "action")  # what is not tried again once it was undone


def _fruitless(
    decisions: Sequence[Mapping[str, Any]],
    round: int,
    values: Mapping[str, float | None],
    settings: Mapping[str, Setting],
    configured: Mapping[str, Any],
) -> dict[str, Any] | None:
    """The oldest change that is held against its monitor after `round` and has not made it better; None without any.

    A change is due WAIT rounds after it was made, or where something that does harm had its turn then, in the first
    round after that without any. A change is left alone where its setting was moved again for another cause, or has
    gone back already, and where the monitor was not measured before or now. More answers than a question had too few
    of stay: of two answers there is one pair to take or leave.
    """
    made = [d for d in decisions if _acted(d) and d["round"] < round]
    changes = [(d, d["evidence"]["change"]) for d in made if "change" in d["evidence"]]
    for decision, change in changes:
        due = decision["round"] + WAIT
        judged = any(d["round"] >= due and not _against_harm(d) for d in made)
        if due > round or judged or change["because"] in HARM or change["cause"] == FEW_ANSWERS:
            continue
        moves = [c for d, c in changes if c["key"] == change["key"] and d["round"] >= decision["round"]]
        same = all((c["because"], c["cause"]) == (change["because"], change["cause"]) for c in moves)
        back = settings.get(change["key"], configured[change["key"]]) != moves[-1]["to"]
        measure = MEASURED_BY.get(change["because"], change["because"])
        before, now = change["value"], values.get(measure)
        if not same or back or before is None or now is None:
            continue
        if BADNESS[measure](now) >= BADNESS[measure](before):
            return change | {"round": decision["round"], "action": decision["action"], "now": now, "measure": measure}
    return None


def _against_harm(decision: Mapping[str, Any]) -> bool:
    return decision["evidence"].get("change", {}).get("because") in HARM


def _undo(change: dict[str, Any], rule: Rule, settings: Mapping[str, Setting], configured: Mapping[str, Any]) -> Action:
    key = change["key"]
    now = settings.get(key, configured[key])
    held = {k: v for k, v in settings.items() if k != key}
    if change["from"] != configured[key]:
        held[key] = change["from"]
    reason = (
        f"{change['action']} after round {change['round']} has not helped: {change['measure']} was "
        f"{change['value']:.3g} then and is {change['now']:.3g} now: {rule.why}; "
        f"{key} {setting_words(now)} -> {setting_words(change['from'])}"
    )
    return Action("undo", reason, held, {"undone": change})


def settings_for(decisions: Sequence[Mapping[str, Any]], round: int) -> dict[str, Setting]:
    """What the controller's decisions before `round` set, beside the configuration.

    `decisions`: the rows in order, their evidence as a mapping.
    """
    recorded = [d["evidence"]["settings"] for d in decisions if _acted(d) and d["round"] < round]
    return dict(recorded[-1]) if recorded else {}


def tuned(config: Config, settings: Mapping[str, Setting]) -> Config:
    """`config` with the controller's settings; the very same where there are none."""
    if not settings:
        return config
    tree: dict[str, Any] = config.model_dump()
    for key, value in settings.items():
        section, leaf = key.split(".")
        tree[section][leaf] = value
    return validate(tree, where="the controller's settings")


def stopped(decisions: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the controller stopped the loop; None if it did not, or if a person has promoted a policy since."""
    last = [d for d in decisions if _acted(d) or (d["kind"], d["action"]) == ("manual", "PROMOTE")][-1:]
    return f"after round {last[0]['round']}: {last[0]['reason']}" if last and last[0]["action"] == "stop" else None


def _acted(decision: Mapping[str, Any]) -> bool:
    return decision["kind"] == "controller" and "settings" in decision["evidence"]
