"""The balance of lengths among the kept pairs of a round, so that they do not teach "longer is better". Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from rlaif.config import PairsConfig
from rlaif.loop.pair_rules import ROUNDING
from rlaif.types import Preference

Fits = Callable[[str, str], bool]  # whether a pair will do, by its chosen and rejected candidate_id
# A question's pairs that pass every rule, as kept ones, widest margin first: those that fit. Asks nobody.
Others = Callable[[str, Fits], Iterator[Preference]]


def balance_lengths(
    preferences: list[Preference], lengths: Mapping[str, int], settings: PairsConfig, others: Others | None = None
) -> list[Preference]:
    """Bring P(chosen is longer) among the kept pairs to within 0.5 +- length_tolerance; equal lengths count one half.

    Dropped are the pairs of the smallest margin (ties by question_id) whose chosen answer is longer (or shorter,
    whichever is too many), and no more than needed. Where the other side has no pair at all, that is every one of them:
    such a round teaches length and nothing that can be told from it.

    With `others` (settings.length_by_choice), pairs of that side are first exchanged for a pair of the same question
    whose chosen answer is not on it, the widest that there is; those that lose least margin come first, and no more
    than needed. An exchange keeps the question, so it costs less than dropping one. The new pair says so in `reason`.
    """
    kept = [p for p in preferences if p.status == "kept"]
    if len(kept) < settings.length_min_pairs:
        return preferences
    side = {p.pair_id: _longer(p, lengths) for p in kept}
    share = sum(side.values()) / len(kept)
    surplus = 1.0 if share > 0.5 else 0.0
    excess = share if surplus else 1 - share
    limit = 0.5 + settings.length_tolerance
    word = "longer" if surplus else "shorter"
    reason = f"length_balance: chosen is {word} in {excess:.0%} of {len(kept)} pairs, at most {limit:.0%} wanted"
    left = sorted((p for p in kept if side[p.pair_id] == surplus), key=lambda p: (_margin(p), p.question_id, p.pair_id))
    total, number = excess * len(kept), len(kept)
    new: dict[str, Preference] = {}
    if others and total > limit * number + ROUNDING:
        taken = {p.pair_id for p in preferences}
        for old, other in _exchanges(left, surplus, lengths, others):
            gain = 1 - abs(_longer(other, lengths) - (1 - surplus))
            if other.pair_id in taken or total - gain < (1 - limit) * number - ROUNDING:
                continue  # made already, or too few on the other side then
            new[old.pair_id] = replace(other, reason=f"fallback: {reason}")
            taken.add(other.pair_id)
            total -= gain
            if total <= limit * number + ROUNDING:
                break
    for pair in left:
        if total <= limit * number + ROUNDING:
            break
        if pair.pair_id not in new:
            new[pair.pair_id] = replace(pair, status="dropped", reason=reason)
            total, number = total - 1, number - 1
    return [new.get(p.pair_id, p) for p in preferences]


def _exchanges(
    pairs: list[Preference], surplus: float, lengths: Mapping[str, int], others: Others
) -> list[tuple[Preference, Preference]]:
    """(pair, what may take its place), the smallest loss of margin first; pairs without such another are left out."""

    def fits(chosen_id: str, rejected_id: str) -> bool:
        return _side(lengths[chosen_id], lengths[rejected_id]) != surplus

    found = [(pair, other) for pair in pairs if (other := next(others(pair.question_id, fits), None))]
    return sorted(found, key=lambda e: (round(_margin(e[0]) - _margin(e[1]), 9), e[0].question_id, e[0].pair_id))


def _margin(pair: Preference) -> float:
    return round(pair.margin or 0.0, 9)


def _longer(pair: Preference, lengths: Mapping[str, int]) -> float:
    return _side(lengths[str(pair.chosen_id)], lengths[str(pair.rejected_id)])


def _side(chosen: int, rejected: int) -> float:
    """1 if the chosen answer has more tokens than the rejected one, 0 if fewer, 0.5 if as many."""
    return 0.5 if chosen == rejected else float(chosen > rejected)
