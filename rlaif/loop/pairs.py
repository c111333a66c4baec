"""Verdicts to preferences: the pairs of each question, kept for training or dropped with a reason. Pure.

A reason is a fixed code, a colon, and the numbers: too_few_scored, no_greedy, greedy_best, tie, all_bad, below_margin,
against_judge, jury_disagreement, truncated, length_ratio, near_duplicate, less_factual, pairwise, length_balance. A
kept pair that is not its question's first choice says why in `reason`, after "fallback: " or, where it is not the only
one, "further: ".
The rules are in `pair_rules`, the balance of lengths in `lengths`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlaif.config import PairsConfig
from rlaif.loop.consensus import consensus
from rlaif.loop.lengths import Fits, balance_lengths
from rlaif.loop.pair_rules import ROUNDING, Bars, Pair, Scored, bars, fault, in_order, retried
from rlaif.types import Candidate, Preference, RlaifError, Verdict, content_id

NO_GREEDY = "no_greedy: the greedy answer has no score"

# Asks a pairwise judge about pairs of narrow margin: pair_id -> why the pair falls. What is confirmed is not in it.
Confirm = Callable[[Sequence[Preference]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Round:
    """What the pairs of one round are made by."""

    number: int
    judge_id: str
    bars: Bars
    settings: PairsConfig


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
    """The round's pairs by question, in the order in which the questions first appear among the candidates. A question
    has up to `settings.per_question` kept pairs, its first choice first, or exactly one dropped one.

    A candidate's score is the mean over the scored verdicts of judge `judge_id`; verdicts on other candidates are left
    aside. With `settings.consensus` w it is (1 - w) times that plus w times the answer's `consensus.consensus`. A
    question's first choice is its best answer over its worst, or over its greedy one (`pair_rules.in_order`). It is
    kept if it passes every rule (`pair_rules.fault`, with the bars of `pair_rules.bars`); `sem` is the standard error
    of one verdict under re-judging (0.0 for a deterministic judge). Where it fails on a rule that another pair may pass
    (`pair_rules.retried`), the question's other pairs are tried in that order, and the first that passes every rule is
    kept; if none does, the question is dropped with the ids and the reason of its first choice. Last,
    `lengths.balance_lengths` over the whole round.

    Of a question with a pair, :func:`_varied` adds further ones. Where some of a question's pairs are kept, those that
    the pairwise judge or the balance took away stand beside them with their reasons.

    `members`: where `judge_id` is a jury, the verdicts of each member by its judge_id; a pair that one of them orders
    the other way round is dropped (a member that sees no difference does not disagree). `confirm` is called once, with
    the kept pairs whose margin is below `settings.confirm_below`, if there are any.

    Raises RlaifError on a candidate of another round, a verdict of another judge, a scored verdict without a finite
    score, a `sem` that is negative or not finite, a jury member without a score where the jury has one, and pairs to be
    confirmed without `confirm`.
    """
    for candidate in candidates:
        if candidate.round != round:
            raise RlaifError(f"candidate {candidate.candidate_id} is of round {candidate.round}, not of round {round}")
    scores, means = _scores(candidates, verdicts, judge_id, settings), _mean_verdicts(verdicts, judge_id)
    rules = Round(round, judge_id, _bars(candidates, scores, sem, settings), settings)
    voted = _votes(scores, members or {})
    sampled = _by_question(candidates)
    questions = {
        key: [Scored(a, scores[i], *means[i], voted[i]) for a in answers if (i := a.candidate_id) in scores]
        for key, answers in sampled.items()
    }
    preferences = [p for key, scored in questions.items() for p in _of_question(key, scored, len(sampled[key]), rules)]
    preferences = _confirmed(preferences, confirm, settings)

    def others(question_id: str, fits: Fits) -> Iterator[Preference]:
        """Nobody is asked about these any more, so those of a margin that would have to be confirmed are left out."""
        for pair in in_order(questions[question_id], settings):
            a, b = pair
            sure = a.score - b.score >= settings.confirm_below - ROUNDING
            wanted = sure and fits(a.candidate.candidate_id, b.candidate.candidate_id)
            if wanted and _apart(pair, made[question_id]) and not fault(a, b, rules.bars, settings):
                yield _preference(question_id, pair, "kept", "", rules)

    made: dict[str, list[Pair]] = defaultdict(list)
    if settings.length_by_choice:
        by_id = {s.candidate.candidate_id: s for scored in questions.values() for s in scored}
        for p in preferences:
            if p.chosen_id and p.rejected_id:
                made[p.question_id].append((by_id[p.chosen_id], by_id[p.rejected_id]))
    lengths = {candidate.candidate_id: candidate.n_tokens for candidate in candidates}
    balanced = balance_lengths(preferences, lengths, settings, others if settings.length_by_choice else None)
    return _dropped_once(balanced)


def bars_of(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict], judge_id: str, sem: float, settings: PairsConfig
) -> Bars:
    """What :func:`prefer` asks of the round's pairs, from the same arguments; raises the same errors."""
    return _bars(candidates, _scores(candidates, verdicts, judge_id, settings), sem, settings)


def _bars(candidates: Sequence[Candidate], scores: Mapping[str, float], sem: float, settings: PairsConfig) -> Bars:
    if not (math.isfinite(sem) and sem >= 0):
        raise RlaifError(f"the standard error of the judge's scores is {sem}: pass 0.0 for a deterministic judge")
    questions = _by_question(candidates).values()
    of_each = [[scores[a.candidate_id] for a in answers if a.candidate_id in scores] for answers in questions]
    return bars(of_each, (1 - settings.consensus) * sem, settings)


def _by_question(candidates: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    questions: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        questions[candidate.question_id].append(candidate)
    return questions


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


def _votes(scored: Iterable[str], members: Mapping[str, Sequence[Verdict]]) -> dict[str, tuple[float, ...]]:
    """candidate_id -> the score of each member of the jury; empty for a single judge."""
    by_member = {judge_id: _mean_verdicts(verdicts, judge_id) for judge_id, verdicts in members.items()}
    for judge_id, member_means in by_member.items():
        if missing := sorted(set(scored) - member_means.keys()):
            raise RlaifError(
                f"the jury scored candidate {missing[0]}, its member {judge_id} did not; judge the round again"
            )
    return {key: tuple(m[key][0] for m in by_member.values()) for key in scored}


def _scores(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict], judge_id: str, settings: PairsConfig
) -> dict[str, float]:
    """candidate_id -> what orders the answers: the judge's mean score, and with `settings.consensus` what the answers
    agree on. An answer without a verdict has none, but the consensus of the others counts it.
    """
    judged = {key: score for key, (score, _) in _mean_verdicts(verdicts, judge_id).items()}
    weight = settings.consensus
    agreed = consensus(candidates) if weight else {}
    return {k: (1 - weight) * s + weight * agreed[k] for k, s in judged.items() if k in agreed} if weight else judged


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


def _of_question(question_id: str, scored: Sequence[Scored], sampled: int, rules: Round) -> list[Preference]:
    """The pairs of one question, `sampled` answers of which `scored` have a score."""
    if len(scored) < 2:
        pair_id = content_id(rules.judge_id, question_id, None, None, rules.number)
        reason = f"too_few_scored: {len(scored)} of {sampled}"
        return [Preference(pair_id, rules.number, question_id, rules.judge_id, "dropped", reason)]
    ordered = in_order(scored, rules.settings)
    if not ordered:
        pair_id = content_id(rules.judge_id, question_id, None, None, rules.number)
        mine = next((s.score for s in scored if s.candidate.greedy), None)
        reason = f"greedy_best: no sampled answer has its {mine:.4f}" if mine is not None else NO_GREEDY
        return [Preference(pair_id, rules.number, question_id, rules.judge_id, "dropped", reason)]

    def passes(pair: Pair) -> bool:
        return not fault(*pair, rules.bars, rules.settings)

    reason = fault(*ordered[0], rules.bars, rules.settings)
    first: Pair | None = ordered[0]
    if reason:
        first = next(filter(passes, ordered[1:]), None) if retried(reason, rules.settings) else None
    if first is None:
        return [_preference(question_id, ordered[0], "dropped", reason, rules)]
    pairs = _varied(first, ordered, passes, rules.settings.per_question)
    whys = [f"fallback: {reason}" if reason else ""]
    whys += [f"further: pair {n} of the question" for n in range(2, len(pairs) + 1)]
    return [_preference(question_id, pair, "kept", why, rules) for pair, why in zip(pairs, whys, strict=True)]


def _varied(first: Pair, ordered: Sequence[Pair], passes: Callable[[Pair], bool], number: int) -> list[Pair]:
    """`first`, and up to `number` pairs with it, each the widest that `passes`: those first whose two texts are both
    new in their roles, then any whose two texts are not a pair already.

    Ten pairs with one chosen answer say mostly that this answer is good. A second pair of two other answers says
    something new at the cost of a narrower margin, which the rules still hold to be enough.
    """
    pairs = [first]

    def new(pair: Pair) -> bool:
        return all(pair[role].candidate.text != p[role].candidate.text for p in pairs for role in (0, 1))

    for wanted in (new, lambda pair: _apart(pair, pairs)):
        for pair in ordered:
            if len(pairs) == number:
                return pairs
            if wanted(pair) and passes(pair):
                pairs.append(pair)
    return pairs


def _apart(pair: Pair, pairs: Sequence[Pair]) -> bool:
    """Whether its two texts are not those of one of `pairs`."""
    return _texts(pair) not in map(_texts, pairs)


def _texts(pair: Pair) -> tuple[str, str]:
    return pair[0].candidate.text, pair[1].candidate.text


def _preference(
    question_id: str, pair: Pair, status: Literal["kept", "dropped"], reason: str, rules: Round
) -> Preference:
    chosen, rejected = pair
    ids = chosen.candidate.candidate_id, rejected.candidate.candidate_id
    pair_id = content_id(rules.judge_id, question_id, *ids, rules.number)
    scores = chosen.score, rejected.score, chosen.score - rejected.score
    return Preference(pair_id, rules.number, question_id, rules.judge_id, status, reason, *ids, *scores)


def _dropped_once(preferences: list[Preference]) -> list[Preference]:
    """Of a question without a kept pair, the first pair alone: a question that is lost is lost for one reason."""
    kept = {p.question_id for p in preferences if p.status == "kept"}
    first = {p.question_id: p.pair_id for p in reversed(preferences)}
    return [p for p in preferences if p.question_id in kept or first[p.question_id] == p.pair_id]
