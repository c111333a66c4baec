"""What a pair of answers has to pass, and the order in which a question's pairs are tried. Pure."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np

from rlaif.config import PairsConfig
from rlaif.types import Candidate

ROUNDING = 1e-9  # 0.6 - 0.5 is a margin of 0.10
# The rules that another pair of the question may pass; `truncated` joins them unless pairs.truncated is "drop".
RETRIED = ("against_judge", "jury_disagreement", "length_ratio", "near_duplicate", "less_factual")


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with its score: `judged`, the mean of its scored verdicts, unless `pairs.consensus` has a part in it.

    `factual` is None where the judge gives no such criterion. `members`: the mean score of each member of the jury, in
    one order for all candidates; empty for a single judge.
    """

    candidate: Candidate
    score: float
    judged: float
    factual: float | None
    members: tuple[float, ...]


Pair = tuple[Scored, Scored]  # chosen, rejected


@dataclass(frozen=True, slots=True)
class Bars:
    """What a round asks of each pair: the least `margin`, and the least score (`best`) of its chosen answer, both 0-1.

    `quantile`: the margin at `margin_quantile`; None where that rule is off.
    """

    margin: float
    best: float
    quantile: float | None = None


def bars(questions: Iterable[Sequence[float]], sem: float, settings: PairsConfig) -> Bars:
    """The bars of a round. `questions`: the scores of each question's answers; `sem` as for `rlaif.loop.pairs.prefer`.

    An absolute margin presumes a judge that spreads its scores. A flat judge, whose best and worst answers lie 0.05
    apart, gives no pair at a margin of 0.10, though it orders them as surely as another: where nothing is noise, the
    order is what teaches. With `margin_quantile` q > 0 the margin asked for is min(min_margin, the q-quantile of the
    best-against-worst margins), so at most a share q of the questions falls for its margin (more only where more of
    them are ties), and a judge with a wide spread is not held to more than min_margin. Under both lies the noise:
    1.645 * sqrt(2) * sem, below which the order of two scores is not certain at 95%. Questions with under two scores
    have no margin; ties count as 0.

    With `min_best_quantile` q > 0 a chosen answer needs the q-quantile of all the round's scores instead of min_best:
    the scale of scores differs from judge to judge, and "better than what the policy says at q" does not.
    Quantiles interpolate linearly.
    """
    scored = [scores for scores in questions if scores]
    quantile, best = None, settings.min_best
    spreads = [max(scores) - min(scores) for scores in scored if len(scores) > 1]
    if settings.margin_quantile > 0 and spreads:
        quantile = float(np.quantile(spreads, settings.margin_quantile))
    if settings.min_best_quantile > 0 and scored:
        best = float(np.quantile([s for scores in scored for s in scores], settings.min_best_quantile))
    wanted = settings.min_margin if quantile is None else min(settings.min_margin, quantile)
    return Bars(max(wanted, sure_margin(sem)), best, quantile)


def sure_margin(sem: float) -> float:
    """The margin from which on the order of two scores is certain at 95%; `sem` as for :func:`bars`."""
    return 1.645 * math.sqrt(2) * sem


def in_order(scored: Sequence[Scored], settings: PairsConfig) -> list[Pair]:
    """All pairs of a question, chosen not below rejected: widest margin first (rounded, so that equal margins are
    equal), ties by sample_index, then candidate_id, of the chosen, then of the rejected.

    With `settings.against` "greedy", those alone in which an answer that is no worse is chosen over the greedy one. Two
    sampled answers differ mostly in what chance put into them, and a policy that is read greedily has nothing to learn
    from that. The greedy answer as the baseline: ReMax (Li et al. 2023, arXiv 2310.10505). With "greedy_anchored", a
    question of which no sampled answer is better has the pairs of its greedy answer over a sampled one.
    """
    pairs = [p for p in permutations(scored, 2) if p[0].score >= p[1].score]
    if settings.against != "worst":
        over = [p for p in pairs if p[1].candidate.greedy and not p[0].candidate.greedy]
        best = all(p[0].score - p[1].score <= ROUNDING for p in over)
        if settings.against == "greedy_anchored" and best:
            pairs = [p for p in pairs if p[0].candidate.greedy and not p[1].candidate.greedy]
        else:
            pairs = over
    return sorted(pairs, key=_order)


def _order(pair: Pair) -> tuple[float, int, str, int, str]:
    a, b = pair[0].candidate, pair[1].candidate
    margin = round(pair[0].score - pair[1].score, 9)
    return (-margin, a.sample_index, a.candidate_id, b.sample_index, b.candidate_id)


def retried(reason: str, settings: PairsConfig) -> bool:
    """Whether another pair of the question may take the place of one that fell for `reason`."""
    code = reason.partition(":")[0]
    return code in RETRIED or (code == "truncated" and settings.truncated != "drop")


def fault(chosen: Scored, rejected: Scored, bars: Bars, settings: PairsConfig) -> str:
    """The first rule that the pair breaks, with its numbers; empty when it passes them all."""
    difference = chosen.score - rejected.score
    if difference <= ROUNDING:
        return f"tie: both {_show(chosen.score)}"
    if chosen.score < bars.best - ROUNDING:
        return f"all_bad: best {_show(chosen.score, bars.best)} < {_show(bars.best)}"
    if difference < bars.margin - ROUNDING:
        return f"below_margin: {_show(difference, bars.margin)} < {_show(bars.margin)}"
    if chosen.judged < rejected.judged - ROUNDING:
        return (
            f"against_judge: it gives chosen {_show(chosen.judged, rejected.judged)}, rejected {_show(rejected.judged)}"
        )
    disagreeing = sum(c < r - ROUNDING for c, r in zip(chosen.members, rejected.members, strict=True))
    if disagreeing:
        return f"jury_disagreement: {disagreeing} of {len(chosen.members)} members prefer the rejected answer"
    a, b = chosen.candidate, rejected.candidate
    if a.finish_reason == "length":
        return "truncated: chosen ends at the token limit"
    if a.finish_reason == "thought":
        return "truncated: the thoughts of the chosen one did not end, so it has no answer"
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
