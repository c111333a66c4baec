"""What the controller knows, as data: which red monitor, for which cause, asks for which lever, and how far each lever
goes. Pure; `rlaif.loop.controller` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlaif.config import Config

Setting = float | bool | str
NO_PAIRS = "no_pairs"  # a signal beside the monitors: too few pairs to train on
NO_HELP = "no_help"  # another: a change of two rounds ago made nothing better
FEW_ANSWERS = "few_answers"  # a cause beside the reasons for which pairs are dropped
ENOUGH_ANSWERS = 4  # per question; two are one pair, three are three, four are six


@dataclass(frozen=True, slots=True)
class Found:
    """What a lever may look at in the round that is over.

    `cut`: share of the sampled answers that end at the token limit; `room`: tokens that the base's window leaves behind
    the longest prompt, None where not recorded; `best`, `margin`: what three quarters of the round's questions reach,
    as the score of their best answer and as the margin of best against worst, None without scores; `noise`: the margin
    below which the judge's order is not certain; `questions`: how many there are to draw from, None where not counted.
    """

    cut: float = 0.0
    room: int | None = None
    best: float | None = None
    margin: float | None = None
    noise: float = 0.0
    questions: int | None = None


def reached(questions: Iterable[Sequence[float]]) -> tuple[float | None, float | None]:
    """`best` and `margin` of :class:`Found`, from the scores of each question's answers; ties have the margin 0."""
    scored = [scores for scores in questions if scores]
    best, margins = [max(s) for s in scored], [max(s) - min(s) for s in scored if len(s) > 1]
    best_quarter, margin_quarter = (float(np.quantile(v, 0.25)) if v else None for v in (best, margins))
    return best_quarter, margin_quarter


@dataclass(frozen=True, slots=True)
class Rule:
    """`causes`: the rule holds only where one of them is the round's; empty: whatever the cause."""

    red: str  # the monitor that has to be red
    action: str
    why: str
    causes: tuple[str, ...] = ()


# The first rule whose monitor is red, and whose action is still possible, is the next action. What does harm comes
# before NO_HELP, what is wanting after it.
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
    Rule(NO_HELP, "undo", "the setting goes back, and the next lever has its turn"),
    Rule("yield_low", "more_candidates", "so few answers per question leave no choice of pairs", (FEW_ANSWERS,)),
    Rule("yield_low", "longer_answers", "answers do not end in time: more room for them", ("truncated",)),
    Rule("yield_low", "retry_truncated", "another pair of the question may end in time", ("truncated",)),
    Rule("yield_low", "lower_bar", "the bar is too high for this policy and judge", ("all_bad",)),
    Rule("yield_low", "lower_bar_quantile", "the bar is too high for this policy and judge", ("all_bad",)),
    Rule("yield_low", "lower_margin", "this judge's marks lie closer together", ("below_margin",)),
    Rule("yield_low", "lower_margin_quantile", "this judge's marks lie closer together", ("below_margin",)),
    Rule(
        "yield_low", "wider_lengths", "answers to a question differ in length more than is allowed", ("length_ratio",)
    ),
    Rule("yield_low", "lengths_by_choice", "other pairs of a question may balance the lengths", ("length_balance",)),
    Rule("yield_low", "higher_temperature", "answers to a question are too much alike", ("near_duplicate",)),
    Rule("yield_low", "more_candidates", "too few questions give a pair: more answers per question"),
    Rule("yield_low", "higher_temperature", "answers to a question get the same score", ("tie",)),
    # After the yield: both cost pairs.
    Rule("length_ratio", "even_lengths", "chosen answers get as many tokens as rejected ones, all pairs together"),
    Rule("length_ratio", "higher_margin", "length changes: pairs that differ clearly teach content rather than length"),
    Rule("truncated", "longer_answers", "answers do not end in time: more room for them"),
    Rule(NO_PAIRS, "more_candidates", "too few pairs to train on: more answers per question"),
    Rule("pair_yield", "more_candidates", "fewer questions give a pair: more answers per question"),
    Rule("steps_low", "more_questions", "training has hardly begun when it ends: more questions"),
    Rule("steps_low", "more_epochs", "training has hardly begun when it ends: the same pairs once more"),
    Rule("score_spread", "more_candidates", "answers to a question are too much alike: more of them"),
    Rule("score_spread", "higher_temperature", "answers to a question are too much alike: more variety"),
    Rule(NO_PAIRS, "more_questions", "too few pairs to train on: more questions"),
    Rule("truncated", "add_nll_weight", "answers do not end in time: learn more from chosen ones, which all do"),
)
HARM = tuple(rule.red for rule in RULES[: [rule.red for rule in RULES].index(NO_HELP)])
# How bad a value of a monitor is: only what is wanting can be seen to be no better for a change. What does harm is not
# in here: its lever makes a safer policy, and going back on it because the harm goes on would add to the harm.
BADNESS: dict[str, Callable[[float], float]] = {
    "yield_low": lambda share: -share,
    "pair_yield": lambda share: -share,
    "score_spread": lambda share: -share,
    "steps_low": lambda steps: -steps,
    "truncated": lambda share: share,
    "length_ratio": lambda ratio: abs(math.log(max(ratio, 1e-9))),
}
MEASURED_BY = {NO_PAIRS: "yield_low"}  # the monitor whose value tells how a signal fares


@dataclass(frozen=True, slots=True)
class Lever:
    key: str
    step: Callable[[Any, Found], Any]  # from the setting of the last round to the next
    limit: Callable[[Any, Found], Any]  # from the configured setting to the farthest it may go
    possible: Callable[[Config], bool] = lambda config: True


def _least(step: float, reached: float | None) -> float:
    return step if reached is None else min(step, reached)


LEVERS = {
    # Each candidate costs sampling and judging, hence the limit.
    "more_candidates": Lever("sampling.k", lambda k, _: max(k + 2, 6), lambda k, _: max(2 * k, 8)),
    "higher_margin": Lever("pairs.min_margin", lambda m, _: m + 0.05, lambda m, _: min(m + 0.15, 1.0)),
    "lower_learning_rate": Lever("dpo.learning_rate", lambda r, _: r / 2, lambda r, _: r / 8),
    "add_nll_weight": Lever("dpo.sft_weight", lambda w, _: w + 0.5, lambda w, _: w + 2),
    # The same pairs would lead there again, so the margin rises too.
    "roll_back": Lever("pairs.min_margin", lambda m, _: m + 0.05, lambda m, _: min(m + 0.15, 1.0)),
    # Where most answers are cut, the limit is far from what they need: all the way at once.
    "longer_answers": Lever(
        "sampling.max_new_tokens",
        lambda n, found: int(n * (4 if found.cut > 0.5 else 1.5)),
        lambda n, found: min(4 * n, 4 * n if found.room is None else found.room),
    ),
    "retry_truncated": Lever("pairs.truncated", lambda now, _: "retry" if now == "drop" else now, lambda *_: "retry"),
    # Half of it, or at once what three quarters of the questions reach: scores have another scale with each judge.
    "lower_bar": Lever(
        "pairs.min_best",
        lambda bar, found: _least(bar / 2, found.best),
        lambda bar, _: bar / 10,
        lambda config: config.pairs.min_best_quantile == 0,
    ),
    "lower_bar_quantile": Lever(
        "pairs.min_best_quantile",
        lambda q, _: q / 2,
        lambda q, _: q / 8,
        lambda config: config.pairs.min_best_quantile > 0,
    ),
    "lower_margin": Lever(
        "pairs.min_margin",
        lambda m, found: _least(m / 2, found.margin),
        lambda m, found: max(m / 10, found.noise),
    ),
    "lower_margin_quantile": Lever(
        "pairs.margin_quantile",
        lambda q, _: q / 2,
        lambda q, _: q / 8,
        lambda config: config.pairs.margin_quantile > 0,
    ),
    "wider_lengths": Lever("pairs.max_length_ratio", lambda r, _: r + 0.5, lambda r, _: max(r, 3.0)),
    "lengths_by_choice": Lever("pairs.length_by_choice", lambda *_: True, lambda *_: True),
    "even_lengths": Lever("pairs.length_drift", lambda *_: 0.0, lambda *_: 0.0),
    "higher_temperature": Lever("sampling.temperature", lambda t, _: t + 0.1, lambda t, _: min(t + 0.4, 10.0)),
    "more_questions": Lever(
        "sampling.questions",
        lambda n, _: math.ceil(n * 1.5),
        lambda n, found: max(n, min(4 * n, 4 * n if found.questions is None else found.questions)),
    ),
    "more_epochs": Lever("dpo.epochs", lambda n, _: n + 1, lambda n, _: n + 2),
}


def moved(lever: Lever, old: Any, configured: Any, found: Found) -> Any:
    """One step from `old`, not past the limit; `old` where that leads nowhere, or the other way.

    Whole numbers stay whole, and 0.1 + 0.05 is 0.15.
    """
    step, limit = lever.step(old, found), lever.limit(configured, found)
    if isinstance(old, bool | str):
        return step
    new = min(step, limit) if step > old else max(step, limit)
    if (new - old) * (step - old) <= 0:
        return old
    return new if isinstance(new, int) else round(new, 12)
