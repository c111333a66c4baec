"""The balance of lengths among the kept pairs of a round, so that they do not teach "longer is better". Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rlaif.config import PairsConfig
from rlaif.loop.pair_rules import ROUNDING
from rlaif.types import Preference

Fits = Callable[[str, str], bool]  # whether a pair will do, by its chosen and rejected candidate_id
# A question's pairs that pass every rule, as kept ones, widest margin first: those that fit. Asks nobody.
Others = Callable[[str, Fits], Iterator[Preference]]


def balance_lengths(
    preferences: list[Preference], lengths: Mapping[str, int], settings: PairsConfig, others: Others | None = None
) -> list[Preference]:
    """Take the difference in length between chosen and rejected answers out of the kept pairs, as a whole.

    Two things are brought into bounds. P(chosen is longer) comes to within 0.5 +- length_tolerance; equal lengths count
    one half. And chosen answers are at most `length_drift` longer or shorter than rejected ones, all kept pairs
    together: a few pairs of long rejected answers teach a policy to be short, however many others are the other way
    round.

    Dropped are the pairs of the smallest margin (for the second bound: margin per token too many), ties by question_id,
    of the side that has too much, and no more than needed; the first bound has the last word. Where the other side has
    no pair at all, that is every one of them: such a round teaches length and nothing that can be told from it.

    With `others` (settings.length_by_choice), pairs of that side are first exchanged for a pair of the same question
    that is not on it, the widest that there is; those that lose least margin come first, and no more than needed. An
    exchange keeps the question, so it costs less than dropping one. The new pair says so in `reason`.
    """
    if sum(p.status == "kept" for p in preferences) < settings.length_min_pairs:
        return preferences
    sides, tokens = _Sides(settings.length_tolerance), _Tokens(settings.length_drift)
    preferences = _bounded(preferences, lengths, sides, others)
    if settings.length_drift >= 1:
        return preferences
    preferences = _bounded(preferences, lengths, tokens, others)
    return _bounded(preferences, lengths, sides, None)  # what was balanced by tokens may have too many of one side


@dataclass(frozen=True, slots=True)
class _Sides:
    """How many pairs have the longer answer chosen."""

    tolerance: float

    def excess(self, chosen: int, rejected: int, side: int) -> float:
        """What a pair adds to a sum that must not be above 0; `side`: 1 against longer chosen answers, -1 shorter."""
        longer = 0.5 if chosen == rejected else float(chosen > rejected)
        return (longer if side > 0 else 1 - longer) - 0.5 - self.tolerance

    def words(self, pairs: Sequence[tuple[int, int]], side: int) -> str:
        share = fmean(self.excess(*pair, side) for pair in pairs) + 0.5 + self.tolerance
        word = "longer" if side > 0 else "shorter"
        return f"chosen is {word} in {share:.0%} of {len(pairs)} pairs, at most {0.5 + self.tolerance:.0%} wanted"


@dataclass(frozen=True, slots=True)
class _Tokens:
    """How many more tokens the chosen answers have, all together."""

    tolerance: float

    def excess(self, chosen: int, rejected: int, side: int) -> float:
        """As for :class:`_Sides`."""
        return side * (chosen - rejected) - self.tolerance * rejected

    def words(self, pairs: Sequence[tuple[int, int]], side: int) -> str:
        drift = side * (sum(chosen for chosen, _ in pairs) / sum(rejected for _, rejected in pairs) - 1)
        word = "longer" if side > 0 else "shorter"
        return f"chosen answers are {drift:.1%} {word} in all {len(pairs)} pairs, at most {self.tolerance:.1%} wanted"


def _bounded(
    preferences: list[Preference], lengths: Mapping[str, int], bound: _Sides | _Tokens, others: Others | None
) -> list[Preference]:
    def excess(chosen_id: str | None, rejected_id: str | None, side: int) -> float:
        return bound.excess(lengths[str(chosen_id)], lengths[str(rejected_id)], side)

    def of(pair: Preference, side: int) -> float:
        return excess(pair.chosen_id, pair.rejected_id, side)

    kept = [p for p in preferences if p.status == "kept"]
    total, side = max((math.fsum(of(p, side) for p in kept), side) for side in (1, -1))
    if total <= ROUNDING:
        return preferences
    other_total = math.fsum(of(p, -side) for p in kept)
    pairs = [(lengths[str(p.chosen_id)], lengths[str(p.rejected_id)]) for p in kept]
    reason = f"length_balance: {bound.words(pairs, side)}"
    left = sorted(
        (p for p in kept if of(p, side) > ROUNDING), key=lambda p: (_margin(p) / of(p, side), p.question_id, p.pair_id)
    )
    new: dict[str, Preference] = {}
    if others:
        taken = {p.pair_id for p in preferences}
        for old, other in _exchanges(left, lambda c, r: excess(c, r, side) <= ROUNDING, others):
            back = of(other, -side) - of(old, -side)
            if other.pair_id in taken or other_total + back > ROUNDING:
                continue  # made already, or too much of the other side then
            new[old.pair_id] = replace(other, reason=f"fallback: {reason}")
            taken.add(other.pair_id)
            total, other_total = total + of(other, side) - of(old, side), other_total + back
            if total <= ROUNDING:
                break
    for pair in left:
        if total <= ROUNDING:
            break
        if pair.pair_id not in new:
            new[pair.pair_id] = replace(pair, status="dropped", reason=reason)
            total -= of(pair, side)
    return [new.get(p.pair_id, p) for p in preferences]


def _exchanges(pairs: list[Preference], fits: Fits, others: Others) -> list[tuple[Preference, Preference]]:
    """(pair, what may take its place), the smallest loss of margin first; pairs without such another are left out."""
    found = [(pair, other) for pair in pairs if (other := next(others(pair.question_id, fits), None))]
    return sorted(found, key=lambda e: (round(_margin(e[0]) - _margin(e[1]), 9), e[0].question_id, e[0].pair_id))


def _margin(pair: Preference) -> float:
    return round(pair.margin or 0.0, 9)
