"""What the gate would do in simulated loops without any gain, and in loops with true gains. Pure.

The loops go through the real :func:`rlaif.gate.decide.decide`. A simulated loop is a stream of pairs, one per look (see
`streams`). A look that promotes hands its alpha on to the next, as in a run.

Speed. Most looks fall far short of a promotion, and :func:`could_be_promoted` ends them early. What may be promoted
goes to `decide` whole: all conditions, all resamples. All looks resample with one seed, as those of a run do, so that
what is drawn can be kept from look to look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy

from rlaif import stats
from rlaif.config import GateConfig
from rlaif.gate.decide import Check, Checks, Look, MetricResults, PolicyResults, decide, own_alpha, resamples_of
from rlaif.gate.levels import Arm, least_p, shared
from rlaif.gate.reading import reading
from rlaif.gate.streams import Answers, Pair, Stream

TRIES = (200, 2_000)
UNLIKELY = 1e-6
RADEMACHER = 6 / 64
GREEN = Checks(valid=(Check("exam", True, "simulated"), Check("leaks", True, "simulated")))


@dataclass(frozen=True, slots=True)
class Promotions:
    """Of `loops` simulated loops, `promoted` promoted at least once; `by_look`: promotions at look 1, 2, ..."""

    loops: int
    promoted: int
    by_look: tuple[int, ...]

    @property
    def share(self) -> float:
        return self.promoted / self.loops

    @property
    def per_loop(self) -> float:
        return sum(self.by_look) / self.loops

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the share."""
        return stats.wilson_interval(self.promoted, self.loops)


def promotions(
    stream: Stream,
    loops: int,
    looks: Sequence[int],
    settings: GateConfig,
    seed: int,
    step: Callable[[], None] = lambda: None,
    *,
    inherited: float = 0.0,
    go_on: bool = False,
    share: float = 1.0,
) -> Promotions:
    """Run `loops` loops of DPO looks with the numbers `looks`.

    For ten rounds these are range(1, 11), for the power of the first look [1]. The first of them inherits the alpha
    `inherited`; after SFT was promoted that is `settings.alpha_sft`. A loop ends with its first promotion, or goes on
    with the promoted policy where `go_on`. `share`: of the alpha, see `Look`. `step` is called after each loop.
    """
    by_look, promoted = dict.fromkeys(looks, 0), 0
    for won in looks_won(stream, loops, looks, settings, seed, inherited=inherited, go_on=go_on, share=share):
        for look in won:
            by_look[look] += 1
        promoted += bool(won)
        step()
    return Promotions(loops, promoted, tuple(by_look.values()))


def looks_won(
    stream: Stream,
    loops: int,
    looks: Sequence[int],
    settings: GateConfig,
    seed: int,
    *,
    inherited: float = 0.0,
    go_on: bool = False,
    share: float = 1.0,
) -> Iterator[list[int]]:
    """The looks of each loop that promoted; see `promotions`. `share`: of the alpha, see `Look`."""
    for loop in range(loops):
        deals, alpha, won = stream(np.random.default_rng([seed, loop])), inherited, []
        dealt = next(deals)
        for number in looks:
            look = Look("dpo", number, alpha, share)
            promoted = is_promoted(dealt, look, settings, seed)
            alpha = 0.0
            if promoted:
                won.append(number)
                alpha = alpha_of(look, settings)
                if not go_on:
                    break
            dealt = deals.send(promoted)
        yield won


def alpha_of(look: Look, settings: GateConfig) -> float:
    return own_alpha(look, settings) + look.inherited


def is_promoted(dealt: Pair, look: Look, settings: GateConfig, seed: int) -> bool:
    """Would the gate promote at this look?"""
    if not could_be_promoted(dealt, alpha_of(look, settings), settings, seed):
        return False
    champion, challenger = _results(dealt, "champion"), _results(dealt, "challenger")
    return decide(champion, challenger, look=look, settings=settings, checks=GREEN, seed=seed).action == "PROMOTE"


def could_be_promoted(dealt: Pair, alpha: float, settings: GateConfig, seed: int) -> bool:
    """False only where a promotion is as good as impossible.

    A promotion needs a gain worth having on a metric that has a share of alpha, with its p at or below that share.
    McNemar's p bounds that of accuracy. A score whose sum of differences is no more than one standard deviation of the
    sum under swaps of whole groups has p of at least 6/64 (Dvorak, van Hintum and Tiba 2021, arXiv 2104.10005). The
    others are tried with 200 and then with 2,000 resamples, and end where so many extreme ones would come up less than
    once in a million times if p were at the share; the last try is that of `decide` itself, with the same p.
    """
    a, s = dealt.accuracy, dealt.score
    if a and s and not reading(a.targets, a.champion_says, a.challenger_says, a.groups).shown:
        a = None  # as in `decide`
    level_accuracy, level_score = _levels(a, s, alpha)
    gained = a and (a.challenger - a.champion).mean() >= settings.gain_accuracy - 1e-9
    if a and gained and level_accuracy and stats.mcnemar_exact(a.champion, a.challenger).p_value <= level_accuracy:
        return True
    if s is None:
        return False
    change = s.challenger - s.champion
    if change.mean() < settings.gain_score - 1e-9 or not level_score:
        return False
    of_groups = np.bincount(s.groups, weights=change)
    if level_score < RADEMACHER and of_groups.sum() <= np.sqrt(np.sum(of_groups**2)):
        return False
    groups = _texts(s.groups)
    for resamples in TRIES:
        p = stats.bootstrap_mean(s.champion, s.challenger, groups, seed=seed, resamples=resamples).p_value
        if p * (resamples + 1) - 1 > _most_extreme(resamples, level_score):
            return False
    needed = resamples_of(alpha, settings)
    return stats.bootstrap_mean(s.champion, s.challenger, groups, seed=seed, resamples=needed).p_value <= level_score


def _levels(accuracy: Answers | None, score: Answers | None, alpha: float) -> tuple[float, float]:
    """The share of alpha that each test has, in p-values; a test that stands alone has all of it."""
    if accuracy is None or score is None:
        return (0.0, alpha) if accuracy is None else (alpha, 0.0)
    one, other = (Arm(1.0, least_p(x.champion, x.challenger, x.groups)) for x in (accuracy, score))
    first, second = shared(one, other, alpha)
    return alpha * first.share, alpha * second.share


@lru_cache(maxsize=64)
def _most_extreme(resamples: int, level: float) -> float:
    return float(scipy.stats.binom.isf(UNLIKELY, resamples, level))


def _results(dealt: Pair, side: str) -> PolicyResults:
    def metric(name: str, answers: Answers) -> MetricResults:
        values = answers.champion if side == "champion" else answers.challenger
        says = answers.champion_says if side == "champion" else answers.challenger_says
        n = len(values)
        numbers, scored = _numbered(n)
        return MetricResults(
            benchmark="simulated",
            metric=name,
            item_ids=numbers,
            values=tuple(values.tolist()),
            predictions=tuple(says.tolist()),
            targets=tuple(answers.targets.tolist()),
            groups=_texts(answers.groups),
            statuses=scored,
            protocol_hash="simulated",
            data_sha256="simulated",
        )

    order, shuffled = (metric("rouge_l", answers) if answers else None for answers in (dealt.order, dealt.shuffled))
    consistency = metric("consistency", dealt.consistency) if dealt.consistency else None
    accuracy = metric("accuracy", dealt.accuracy) if dealt.accuracy else None
    score = metric("score", dealt.score) if dealt.score else None
    return PolicyResults(side, accuracy, score, order, shuffled, consistency=consistency)


@lru_cache(maxsize=16)
def _numbered(n: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids and statuses of n items."""
    return tuple(map(str, range(n))), ("scored",) * n


def _texts(groups: npt.NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(map(str, groups.tolist()))
