"""Verdicts to preferences: one pair per question, kept for training or dropped with a reason. Pure.

A reason is a fixed code, a colon, and the numbers: too_few_scored, tie, all_bad, below_margin, truncated,
jury_disagreement, length_ratio, near_duplicate, less_factual, pairwise, length_balance. A kept pair that is not its
question's best against worst says why in `reason`, after "fallback: ".
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from typing import Any

from rlaif.config import PairsConfig
from rlaif.types import Candidate, Preference, RlaifError, Verdict, content_id

ROUNDING = 1e-9  # 0.6 - 0.5 is a margin of 0.10
# The rules that another pair of the question may pass.
RETRIED = ("jury_disagreement", "length_ratio", "near_duplicate", "less_factual")
# Asks a pairwise judge about pairs of narrow margin: pair_id -> why the pair falls. What is confirmed is not in it.
Confirm = Callable[[Sequence[Preference]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Scored:
    """A candidate with the mean of its scored verdicts; `factual` is None where the judge gives no such criterion.

    `members`: the mean score of each member of the jury, in one order for all candidates; empty for a single judge.
    """

    candidate: Candidate
    score: float
    factual: float | None
    members: tuple[float, ...]


def prefer(
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    *,
    judge_id: str,
    round: int,
    sem: float,
    settings: PairsConfig,
    members: Mapping[str, Sequence[Verdict]] | None = None,
    confirm: Confirm | None = None,
) -> list[Preference]:
    """Exactly one Preference per question, in the order in which the questions first appear among the candidates.

    A candidate's score is the mean over the scored verdicts of judge `judge_id`; verdicts on other candidates are left
    aside. Best against worst is kept if its margin is at least max(min_margin, 1.645 * sqrt(2) * sem) and it passes
    every rule; `sem` is the standard error of one score under re-judging (0.0 for a deterministic judge): below that
    margin the order of two scores is not certain at 95%. Where it fails on one of
    `RETRIED`, the question's other pairs are tried in order of margin (ties by sample_index, then candidate_id, of
    the chosen, then of the rejected), and the first that passes every rule is kept; if none does, the question is
    dropped with best-against-worst's ids and reason. Last, :func:`_balance_lengths` over the whole round.

    `members`: where `judge_id` is a jury, the verdicts of each member by its judge_id; a pair that one of them orders
    the other way round is dropped (a member that sees no difference does not disagree). `confirm` is called once, with
    the kept pairs whose margin is below `settings.confirm_below`, if there are any.

    Raises RlaifError on a candidate of another round, a verdict of another judge, a scored verdict without a finite
    score, a `sem` that is negative or not finite, a jury member without a score where the jury has one, and pairs to be
    confirmed without `confirm`.
    """
    if not (math.isfinite(sem) and sem >= 0):
        raise RlaifError(f"the standard error of the judge's scores is {sem}: pass 0.0 for a deterministic judge")
    means: dict[str, _Means] = {key: (*mean, ()) for key, mean in _mean_verdicts(verdicts, judge_id).items()}
    if members:
        means = _with_members(means, members)
    questions: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.round != round:
            raise RlaifError(f"candidate {candidate.candidate_id} is of round {candidate.round}, not of round {round}")
        questions[candidate.question_id].append(candidate)
    margin = max(settings.min_margin, 1.645 * math.sqrt(2) * sem)
    lengths = {candidate.candidate_id: candidate.n_tokens for candidate in candidates}
    preferences = [
        _prefer_one(question_id, answers, means, judge_id, round, margin, settings)
        for question_id, answers in questions.items()
    ]
    return _balance_lengths(_confirmed(preferences, confirm, settings), lengths, settings)


def _confirmed(preferences: list[Preference], confirm: Confirm | None, settings: PairsConfig) -> list[Preference]:
    narrow = [p for p in preferences if p.status == "kept" and (p.margin or 0.0) < settings.confirm_below - ROUNDING]
    if not narrow:
        return preferences
    if confirm is None:
        raise RlaifError(
            f"{len(narrow)} pairs have a margin below {settings.confirm_below}, and no pairwise judge "
            "was given to confirm them"
        )
    fallen = confirm(narrow)
    return [
        replace(p, status="dropped", reason=f"pairwise: {fallen[p.pair_id]}") if p.pair_id in fallen else p
        for p in preferences
    ]


_Means = tuple[float, float | None, tuple[float, ...]]  # score, factual accuracy, each jury member's score


def _with_members(means: Mapping[str, _Means], members: Mapping[str, Sequence[Verdict]]) -> dict[str, _Means]:
    by_member = {judge_id: _mean_verdicts(verdicts, judge_id) for judge_id, verdicts in members.items()}
    for judge_id, member_means in by_member.items():
        if missing := sorted(means.keys() - member_means.keys()):
            raise RlaifError(
                f"the jury scored candidate {missing[0]}, its member {judge_id} did not; judge the round again"
            )
    return {
        key: (score, factual, tuple(m[key][0] for m in by_member.values()))
        for key, (score, factual, _) in means.items()
    }


def _mean_verdicts(verdicts: Sequence[Verdict], judge_id: str) -> dict[str, tuple[float, float | None]]:
    """candidate_id -> mean score and mean factual accuracy over the scored replicates."""
    scores: dict[str, list[float]] = defaultdict(list)
    facts: dict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        where = f"verdict of judge {verdict.judge_id} on candidate {verdict.candidate_id}"
        if verdict.judge_id != judge_id:
            raise RlaifError(f"{where}: pairs are made from one judge at a time, here {judge_id}")
        if verdict.status != "scored":
            continue
        if verdict.score is None or not math.isfinite(verdict.score):
            raise RlaifError(f"{where}: it is scored, but its score is {verdict.score}")
        scores[verdict.candidate_id].append(verdict.score)
        if verdict.factual_accuracy is not None:
            if not math.isfinite(verdict.factual_accuracy):
                raise RlaifError(f"{where}: its factual accuracy is {verdict.factual_accuracy}")
            facts[verdict.candidate_id].append(verdict.factual_accuracy)
    return {
        key: (math.fsum(s) / len(s), math.fsum(facts[key]) / len(facts[key]) if key in facts else None)
        for key, s in scores.items()
    }


def _prefer_one(
    question_id: str,
    answers: Sequence[Candidate],
    means: Mapping[str, _Means],
    judge_id: str,
    round: int,
    margin: float,
    settings: PairsConfig,
) -> Preference:
    scored = [_Scored(a, *means[a.candidate_id]) for a in answers if a.candidate_id in means]
    if len(scored) < 2:
        pair_id = content_id(judge_id, question_id, None, None, round)
        reason = f"too_few_scored: {len(scored)} of {len(answers)}"
        return Preference(pair_id, round, question_id, judge_id, "dropped", reason)

    def preference(pair: tuple[_Scored, _Scored], dropped: bool, reason: str) -> Preference:
        chosen, rejected = pair
        ids = chosen.candidate.candidate_id, rejected.candidate.candidate_id
        pair_id = content_id(judge_id, question_id, *ids, round)
        scores = chosen.score, rejected.score, chosen.score - rejected.score
        status = "dropped" if dropped else "kept"
        return Preference(pair_id, round, question_id, judge_id, status, reason, *ids, *scores)  # type: ignore[arg-type]

    ordered = sorted((p for p in permutations(scored, 2) if p[0].score >= p[1].score), key=_order)
    reason = _fault(*ordered[0], margin, settings)
    if reason.partition(":")[0] in RETRIED:
        for pair in ordered[1:]:
            if not _fault(*pair, margin, settings):
                return preference(pair, False, f"fallback: {reason}")
    return preference(ordered[0], bool(reason), reason)


def _order(pair: tuple[_Scored, _Scored]) -> tuple[float, int, str, int, str]:
    """Widest margin first (rounded, so that equal margins are equal), then the fixed tie-break."""
    a, b = pair[0].candidate, pair[1].candidate
    margin = round(pair[0].score - pair[1].score, 9)
    return (-margin, a.sample_index, a.candidate_id, b.sample_index, b.candidate_id)


def _fault(chosen: _Scored, rejected: _Scored, margin: float, settings: PairsConfig) -> str:
    """The first rule that the pair breaks, with its numbers; empty when it passes them all."""
    difference = chosen.score - rejected.score
    if difference <= ROUNDING:
        return f"tie: both {_show(chosen.score)}"
    if chosen.score < settings.min_best - ROUNDING:
        return f"all_bad: best {_show(chosen.score, settings.min_best)} < {_show(settings.min_best)}"
    if difference < margin - ROUNDING:
        return f"below_margin: {_show(difference, margin)} < {_show(margin)}"
    disagreeing = sum(c < r - ROUNDING for c, r in zip(chosen.members, rejected.members, strict=True))
    if disagreeing:
        return f"jury_disagreement: {disagreeing} of {len(chosen.members)} members prefer the rejected answer"
    a, b = chosen.candidate, rejected.candidate
    if a.finish_reason == "length":
        return "truncated: chosen ends at the token limit"
    high = settings.max_length_ratio
    ratio = max(1, a.n_tokens) / max(1, b.n_tokens)
    if not 1 / high - ROUNDING <= ratio <= high + ROUNDING:
        near = high if ratio > high else 1 / high
        return f"length_ratio: {_show(ratio, near)} outside {1 / high:.2f}-{high:.2f}"
    # Facts before wording: it is the cheaper test, and the graver fault.
    if chosen.factual is not None and rejected.factual is not None and chosen.factual < rejected.factual - ROUNDING:
        return f"less_factual: chosen {_show(chosen.factual, rejected.factual)} < rejected {_show(rejected.factual)}"
    overlap = _rouge_l(a.text, b.text)
    if overlap > settings.max_rouge_l:
        return f"near_duplicate: ROUGE-L {_show(overlap, settings.max_rouge_l)} > {_show(settings.max_rouge_l)}"
    return ""


def _show(value: float, beside: float | None = None) -> str:
    """Two decimals, or four where two would not tell `value` from the number `beside` it."""
    same = beside is not None and f"{value:.2f}" == f"{beside:.2f}"
    return f"{value:.4f}" if same else f"{value:.2f}"


def _rouge_l(a: str, b: str) -> float:
    """ROUGE-L F-measure (Lin 2004), symmetric; 1 for equal texts, also where they hold no word."""
    return 1.0 if a == b else float(_scorer().score(a, b)["rougeL"].fmeasure)


@cache
def _scorer() -> Any:
    logging.getLogger("absl").setLevel(logging.WARNING)  # it announces its tokenizer on stderr
    from rouge_score.rouge_scorer import RougeScorer  # brings nltk: a second of start-up

    return RougeScorer(["rougeL"])


def _balance_lengths(
    preferences: list[Preference], lengths: Mapping[str, int], settings: PairsConfig
) -> list[Preference]:
    """Drop pairs of the side in surplus until P(chosen is longer) is within 0.5 +- length_tolerance.

    Equal lengths count one half. Dropped are the pairs of the smallest margin (ties by question_id) whose chosen answer
    is longer (or shorter, whichever is too many), and no more than needed. Where the other side has no pair at all,
    that is every one of them: such a round teaches length and nothing that can be told from it.
    """
    side = {p.question_id: _longer(p, lengths) for p in preferences if p.status == "kept"}
    if len(side) < settings.length_min_pairs:
        return preferences
    share = sum(side.values()) / len(side)
    surplus = 1.0 if share > 0.5 else 0.0
    word = "longer" if surplus else "shorter"
    surplus_pairs = [p for p in preferences if side.get(p.question_id) == surplus]
    surplus_pairs.sort(key=lambda p: (round(p.margin or 0.0, 9), p.question_id))
    total, kept = (share if surplus else 1 - share) * len(side), len(side)
    limit = 0.5 + settings.length_tolerance
    dropped: set[str] = set()
    while surplus_pairs[len(dropped) :] and total > limit * kept + ROUNDING:
        dropped.add(surplus_pairs[len(dropped)].question_id)
        total, kept = total - 1, kept - 1
    excess = share if surplus else 1 - share
    reason = f"length_balance: chosen is {word} in {excess:.0%} of {len(side)} pairs, at most {limit:.0%} wanted"
    return [replace(p, status="dropped", reason=reason) if p.question_id in dropped else p for p in preferences]


def _longer(pair: Preference, lengths: Mapping[str, int]) -> float:
    """1 if the chosen answer has more tokens than the rejected one, 0 if fewer, 0.5 if as many."""
    chosen, rejected = lengths[str(pair.chosen_id)], lengths[str(pair.rejected_id)]
    return 0.5 if chosen == rejected else float(chosen > rejected)
