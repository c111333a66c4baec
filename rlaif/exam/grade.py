"""Marks an exam: verdicts in, one result a rule and a licence or a refusal out. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from rlaif.exam.baselines import ROUNDING, Baseline, compare
from rlaif.exam.items import Exam, ExamItem
from rlaif.exam.rules import (
    MAX_UNSCORED,
    MEANING,
    MEANING_BOUND,
    MIN_ITEMS,
    POOLED,
    POOLED_BOUND,
    RAISED,
    RULES,
    TYPES,
    Rule,
)
from rlaif.stats import wilson_lower, wilson_upper
from rlaif.types import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a judge made of one item. `result` is "scored" or "unscored"; scores are None where there is none, and
    `reason` says why.
    """

    item: ExamItem
    good: Verdict
    bad: Verdict

    @property
    def scored(self) -> bool:
        return self.good.score is not None and self.bad.score is not None

    @property
    def ordered(self) -> bool:
        """Whether the good answer scores higher. A difference in the rounding of floating point is a tie."""
        return self.scored and self.rise < -ROUNDING

    @property
    def rise(self) -> float:
        """Score of the bad answer minus that of the good one."""
        assert self.good.score is not None and self.bad.score is not None
        return self.bad.score - self.good.score

    @property
    def reason(self) -> str:
        """Why there is no score, or ""."""
        return "; ".join(f"{v.status}: {v.reason}" for v in (self.good, self.bad) if v.score is None)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule over its items: `value` of its measure (None without a scored item), how many items are as they should
    be on their own (`ok`), the one-sided 95% `bound` of the measure that the rule reads (None where it has none), and
    why it failed ("" when it passed)."""

    rule: Rule
    n: int
    unscored: int
    value: float | None
    ok: int
    bound: float | None
    why: str

    @property
    def passed(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class ExamResult:
    """The whole exam. `pair_accuracy` pools the item types whose rule is pair accuracy; `kappa` is the quadratic
    weighted kappa with people, None where none scored. `refusals` is empty for a judge that may label, and `limits`,
    the rules outside the core that it failed, for one that may do so without restriction."""

    exam: str
    rules: tuple[RuleResult, ...]
    n: int
    pair_accuracy: float | None
    lower_bound: float | None
    kappa: float | None
    baselines: tuple[Baseline, ...]
    refusals: tuple[str, ...]
    limits: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.refusals


def outcomes(exam: Exam, verdicts: Mapping[str, Verdict]) -> list[Outcome]:
    """One outcome an item of `exam`, in order; `verdicts` by candidate_id."""
    return [Outcome(i, verdicts[i.good.candidate_id], verdicts[i.bad.candidate_id]) for i in exam.items]


def grade(exam: Exam, marked: Sequence[Outcome], graded: Sequence[tuple[Verdict, int]] = ()) -> ExamResult:
    """The result of `exam`. A pair with a verdict that was not scored counts as wrong in every share.

    Refused: a judge that fails a core rule of the exam's item types, does not order more pairs than each baseline (by
    the one-sided 95% bound of the paired difference), or whose bound over the types in MEANING stays under
    MEANING_BOUND. Limited: one that fails another rule, or whose pooled bound (Wilson 1927, one-sided 95%) stays under
    POOLED_BOUND. In the exam of people's scores, which licenses nobody, every failure counts as a refusal.
    """
    asked = [rule for rule in RULES if rule.item_type in TYPES[exam.name]]
    results = tuple(_rule(rule, [o for o in marked if o.item.item_type == rule.item_type]) for rule in asked)
    refusals = [f"{r.rule.item_type}: {r.why}" for r in results if r.why and r.rule.core]
    limits = [f"{r.rule.item_type}: {r.why}; blind to {r.rule.blind}" for r in results if r.why and not r.rule.core]
    pairs = [o for o in marked if o.item.item_type in POOLED]
    ordered = [o.ordered for o in pairs]
    baselines = compare([o.item for o in pairs], ordered)
    refusals += [f"no better than {b.name}: {_gain(b)}" for b in baselines if not b.beaten]
    if any(t in TYPES[exam.name] for t in MEANING):
        meant = [ok for o, ok in zip(pairs, ordered, strict=True) if o.item.item_type in MEANING]
        known = wilson_lower(sum(meant), len(meant)) if meant else None
        if known is None or known < MEANING_BOUND:
            share = "no pairs" if known is None else f"{sum(meant) / len(meant):.3f} of {len(meant)}, bound {known:.3f}"
            refusals.append(f"pairs with the same counts on both sides: {share}; needed {MEANING_BOUND:.2f}")
    n, right = len(pairs), sum(ordered)
    bound = wilson_lower(right, n) if n else None
    if bound is None or bound < POOLED_BOUND:
        found = "no pairs" if bound is None else f"{right / n:.3f} of {n} pairs, lower bound {bound:.3f}"
        limits.append(f"pooled pair accuracy: {found}; the bound must reach {POOLED_BOUND:.2f}")
    if exam.name == "human":
        refusals, limits = [*refusals, *limits], []
    accuracy = right / n if n else None
    return ExamResult(
        exam.name, results, n, accuracy, bound, agreement(graded), baselines, tuple(refusals), tuple(limits)
    )


def _gain(baseline: Baseline) -> str:
    bound = "of one question alone" if baseline.gain_lower is None else f"bound {baseline.gain_lower:+.3f}"
    return f"{baseline.gain:+.3f} pairs ordered, {bound}"


def agreement(graded: Sequence[tuple[Verdict, int]]) -> float | None:
    """Quadratic weighted kappa between people's scores (1-4) and the judge's, put on the same scale as 1 + round(3 *
    score).

    Cohen 1968: 1 - observed / expected mean squared difference. Answers without a score are left out. None where
    nothing was scored or neither side varies.
    """
    pairs = [(1 + round(3 * v.score), human) for v, human in graded if v.score is not None]
    if not pairs:
        return None
    observed = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    expected = sum((a - b) ** 2 for a, _ in pairs for _, b in pairs) / len(pairs) ** 2
    return 1 - observed / expected if expected else None


def fine(rule: Rule, outcome: Outcome) -> bool:
    """Whether this one item is as the rule wants it."""
    if not outcome.scored:
        return False
    number = _number(rule, outcome)
    if rule.measure == "score raised":
        return number <= RAISED
    return number > ROUNDING if rule.at_least else number <= rule.threshold


def _number(rule: Rule, outcome: Outcome) -> float:
    """What the rule's measure is made of: for shares positive when it holds, else the amount itself."""
    good, bad = outcome.good, outcome.bad
    match rule.measure:
        case "pair accuracy":
            return -outcome.rise
        case "completeness falls":
            return (good.completeness or 0.0) - (bad.completeness or 0.0)
        case "factual moves":
            return abs((good.factual_accuracy or 0.0) - (bad.factual_accuracy or 0.0))
        case "score moves":
            return abs(outcome.rise)
        case "highest score":
            return bad.score or 0.0
        case _:
            return outcome.rise


def _rule(rule: Rule, marked: Sequence[Outcome]) -> RuleResult:
    n, ok = len(marked), sum(fine(rule, o) for o in marked)
    numbers = [_number(rule, o) for o in marked if o.scored]
    unscored = n - len(numbers)
    value: float | None = None
    bound: float | None = None
    if rule.at_least and n:
        value, bound = ok / n, wilson_lower(ok, n)
    elif rule.measure == "score raised" and n:
        value, bound = (n - ok) / n, wilson_upper(n - ok, n)
    elif rule.measure == "highest score" and numbers:
        value = max(numbers)
    elif numbers:
        value, bound = sum(numbers) / len(numbers), mean_upper(numbers)
    return RuleResult(rule, n, unscored, value, ok, bound, _why(rule, n, unscored, value, bound))


def mean_upper(numbers: Sequence[float]) -> float:
    """The one-sided 95% upper bound of a mean, by Student's t; infinite for one number."""
    if len(numbers) < 2:
        return math.inf
    error = float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))
    return sum(numbers) / len(numbers) + float(student.ppf(0.95, len(numbers) - 1)) * error


def _why(rule: Rule, n: int, unscored: int, value: float | None, bound: float | None) -> str:
    if n < MIN_ITEMS:
        return f"{n} items; {MIN_ITEMS} are needed"
    missing = f" ({unscored} of {n} without a score)" if unscored else ""
    if value is None:
        return f"none of {n} items was scored"
    found, read = f"{rule.measure} {value:.3f}", value
    if bound is not None:
        found, read = f"{found}, bound {bound:.3f}", bound
    if rule.at_least:
        return "" if read >= rule.threshold else f"{found} < {rule.threshold:.2f}{missing}"
    if read > rule.threshold:
        return f"{found} > {rule.threshold:.2f}{missing}"
    allowed = 0.0 if rule.measure == "highest score" else MAX_UNSCORED
    if rule.measure != "score raised" and unscored > allowed * n:
        return f"{unscored} of {n} items without a score"
    return ""
