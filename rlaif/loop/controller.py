"""What the loop does next: one action after each round, by written rules. Pure.

The rules read the red monitors and the gate's verdict. They are `RULES`, `LEVERS` and the three lines of `next_action`
that stop. One thing is changed at a time, so that the next round shows what it did. The settings that hold from then on
stand in the decision's evidence, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.config import Config, flat
from rlaif.config_file import validate
from rlaif.loop.monitors import Monitor

NO_PAIRS = "no_pairs"  # a signal beside the monitors: too few pairs to train on


@dataclass(frozen=True, slots=True)
class Rule:
    red: str  # the monitor that has to be red
    action: str
    why: str


# The first rule whose monitor is red, and whose action is still possible, is the next action.
RULES = (
    Rule(
        "judge_up",
        "roll_back",
        "the champion pleases the judge and is no better: back to the one before, and clearer pairs",
    ),
    Rule("judge_up", "higher_margin", "the judge's small differences are not what we want: train on clear ones only"),
    Rule("logps_falling", "add_nll_weight", "good answers become less likely too: hold on to them"),
    Rule("kl_to_sft", "lower_learning_rate", "the policy moves too far from the SFT policy: smaller steps"),
    Rule("overfit", "lower_learning_rate", "pairs are learned by heart: smaller steps"),
    Rule("distinct_2", "lower_learning_rate", "answers become monotonous: smaller steps"),
    Rule("length_ratio", "higher_margin", "length changes: pairs that differ clearly teach content rather than length"),
    Rule("truncated", "add_nll_weight", "answers do not end in time: learn more from chosen ones, which all do"),
    Rule(NO_PAIRS, "more_candidates", "too few pairs to train on: more answers per question"),
    Rule("pair_yield", "more_candidates", "fewer questions give a pair: more answers per question"),
    Rule("score_spread", "more_candidates", "answers to a question are too much alike: more of them"),
)


@dataclass(frozen=True, slots=True)
class Lever:
    key: str
    step: Callable[[float], float]  # from the setting of the last round to the next
    limit: Callable[[float], float]  # from the configured setting to the farthest it may go


LEVERS = {
    # Each candidate costs sampling and judging, hence the limit.
    "more_candidates": Lever("sampling.k", lambda k: k + 2, lambda k: 2 * k),
    "higher_margin": Lever("pairs.min_margin", lambda m: m + 0.05, lambda m: min(m + 0.15, 1.0)),
    "lower_learning_rate": Lever("dpo.learning_rate", lambda r: r / 2, lambda r: r / 8),
    "add_nll_weight": Lever("dpo.sft_weight", lambda w: w + 0.5, lambda w: w + 2),
    # The same pairs would lead there again, so the margin rises too.
    "roll_back": Lever("pairs.min_margin", lambda m: m + 0.05, lambda m: min(m + 0.15, 1.0)),
}


@dataclass(frozen=True, slots=True)
class Action:
    """`settings`: all that differ from the configuration in the rounds to come, by dotted key."""

    name: str
    reason: str
    settings: dict[str, float]


def next_action(
    monitors: Sequence[Monitor],
    verdicts: Sequence[str],
    config: Config,
    settings: Mapping[str, float],
    *,
    trained: bool = True,
    may_roll_back: bool = False,
) -> Action:
    """The action after a round: the one of the first rule that applies, else to continue or to stop.

    The actions are continue, more_candidates, higher_margin, lower_learning_rate, add_nll_weight, roll_back and stop.
    `verdicts`: the gate's in all DPO rounds so far, this one last; `settings`: what holds beside `config` already;
    `trained`: whether there were pairs enough for a challenger; `may_roll_back`: the champion has a predecessor and the
    gate made it champion. Stops after `monitors.patience` rejections in a row, and where nothing is left to try against
    a red monitor that blocks promotion or against a want of pairs.
    """
    red = [m.name for m in monitors if m.red] + ([] if trained else [NO_PAIRS])
    details = {m.name: m.detail for m in monitors}
    patience = config.monitors.patience
    if len(verdicts) >= patience and set(verdicts[-patience:]) == {"REJECT"}:
        reason = f"{patience} rejections in a row: this recipe makes nothing better from here"
        return Action("stop", reason, dict(settings))
    configured = flat(config)
    for rule in RULES:
        if rule.red not in red or (rule.action == "roll_back" and not may_roll_back):
            continue
        lever = LEVERS[rule.action]
        old = settings.get(lever.key, configured[lever.key])
        new = _moved(lever, old, configured[lever.key])
        if new == old and rule.action != "roll_back":
            continue
        change = "" if new == old else f"; {lever.key} {old:g} -> {new:g}"
        trigger = f"{rule.red} is red ({details[rule.red]})" if rule.red in details else "no challenger was trained"
        return Action(rule.action, f"{trigger}: {rule.why}{change}", dict(settings) | {lever.key: new})
    stuck = [name for name in red if name in (*config.monitors.blocking, NO_PAIRS)]
    if stuck:
        reason = f"{', '.join(stuck)}: red, and every setting that could help is at its limit"
        return Action("stop", reason, dict(settings))
    reason = f"red, but their settings are at the limit: {', '.join(red)}" if red else "no monitor is red"
    return Action("continue", reason, dict(settings))


def _moved(lever: Lever, old: float, configured: float) -> float:
    """One step from `old`, not past the limit; whole numbers stay whole, and 0.1 + 0.05 is 0.15."""
    step, limit = lever.step(old), lever.limit(configured)
    new = min(step, limit) if step > old else max(step, limit)
    return new if isinstance(new, int) else round(new, 12)


def settings_for(decisions: Sequence[Mapping[str, Any]], round: int) -> dict[str, float]:
    """What the controller's decisions before `round` set, beside the configuration.

    `decisions`: the rows in order, their evidence as a mapping.
    """
    recorded = [d["evidence"]["settings"] for d in decisions if _acted(d) and d["round"] < round]
    return dict(recorded[-1]) if recorded else {}


def tuned(config: Config, settings: Mapping[str, float]) -> Config:
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
