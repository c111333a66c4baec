"""What the gate would do in simulated loops without any gain, and in loops with true gains. Pure.

The loops go through the real :func:`rlaif.gate.decide.decide`. A simulated loop is a stream of :class:`Pair`, one per
look. There are two kinds of stream: :func:`redealt_pairs` re-deals the results of two policies of a run,
:func:`drawn_pairs` draws results from stated rates.

Speed. A promotion needs the smaller of the two p-values at or below alpha / 2 (Holm), and a gain worth having. Most
looks fall far short, so each is first tried with 200 and then with 2,000 resamples, and ends there where so many
extreme ones would come up less than once in a million times if p were alpha / 2. What may be promoted goes to `decide`
whole: all conditions, and the resamples that the look needs (20 / alpha), but RESAMPLES at an early look where the
settings ask for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from rlaif import stats
from rlaif.config import GateConfig
from rlaif.evals.results import pair
from rlaif.gate.decide import Check, Checks, Look, MetricResults, PolicyResults, decide
from rlaif.types import LABELS, RlaifError

RESAMPLES = 1_000
TRIES = (200, 2_000)
UNLIKELY = 1e-6
GREEN = Checks(valid=(Check("exam", True, "simulated"), Check("leaks", True, "simulated")))
Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Answers:
    """One metric of two policies on the same items: arrays (n,). Predictions and targets matter for accuracy only."""

    champion: Floats
    challenger: Floats
    groups: npt.NDArray[np.intp]
    champion_says: Texts
    challenger_says: Texts
    targets: Texts


@dataclass(frozen=True, slots=True)
class Pair:
    """Two policies' results on accuracy and on the score, and on the order of words where the score is token F1.

    `order` is ROUGE-L on the same items as `score`, `shuffled` that of the same answers with their words shuffled.
    `consistency` is of the same answers too.
    """

    accuracy: Answers
    score: Answers
    order: Answers | None = None
    shuffled: Answers | None = None
    consistency: Answers | None = None


Stream = Callable[[np.random.Generator], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class Promotions:
    """Of `loops` simulated loops, `promoted` promoted at least once; `by_look`: first promotions at look 1, 2, ..."""

    loops: int
    promoted: int
    by_look: tuple[int, ...]

    @property
    def share(self) -> float:
        return self.promoted / self.loops

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
) -> Promotions:
    """Run `loops` loops of DPO looks with the numbers `looks`.

    For ten rounds these are range(1, 11), for the power of the first look [1]. A loop ends with its first promotion.
    `step` is called after each loop.
    """
    settings = settings.model_copy(update={"resamples": min(settings.resamples, RESAMPLES)})
    by_look = dict.fromkeys(looks, 0)
    for loop in range(loops):
        rng = np.random.default_rng([seed, loop])
        for look, dealt in zip(looks, stream(rng), strict=False):
            if promoted(dealt, look, settings, int(rng.integers(2**31))):
                by_look[look] += 1
                break
        step()
    return Promotions(loops, sum(by_look.values()), tuple(by_look.values()))


def promoted(dealt: Pair, look: int, settings: GateConfig, seed: int) -> bool:
    """Would the gate promote at this DPO look?"""
    alpha = stats.alpha_for_look("dpo", look, sft=settings.alpha_sft, dpo=settings.alpha_dpo)
    if not could_be_promoted(dealt, alpha, settings, seed):
        return False
    champion, challenger = _results(dealt, "champion"), _results(dealt, "challenger")
    result = decide(champion, challenger, look=Look("dpo", look), settings=settings, checks=GREEN, seed=seed)
    return result.action == "PROMOTE"


def could_be_promoted(dealt: Pair, alpha: float, settings: GateConfig, seed: int) -> bool:
    """False only where a promotion is as good as impossible: see the top of this module."""
    a, s = dealt.accuracy, dealt.score
    gained = (a.challenger - a.champion).mean() >= settings.gain_accuracy - 1e-9
    if gained and stats.mcnemar_exact(a.champion, a.challenger).p_value <= alpha / 2:
        return True
    if (s.challenger - s.champion).mean() < settings.gain_score - 1e-9:
        return False
    groups = s.groups.astype(str).tolist()
    for resamples in TRIES:
        p = stats.bootstrap_mean(s.champion, s.challenger, groups, seed=seed, resamples=resamples).p_value
        if p * (resamples + 1) - 1 > scipy.stats.binom.isf(UNLIKELY, resamples, alpha / 2):
            return False
    return True


def redealt_pairs(
    champion: PolicyResults, challenger: PolicyResults, gain_accuracy: float = 0.0, gain_score: float = 0.0
) -> Stream:
    """Pairs that are like the results of two policies of a run, with a true gain of our choice.

    They have the run's items, groups, base rates, discordance and spread. Each pair is dealt anew: groups are drawn
    with replacement, and within a group the two policies change places with probability 1/2. So neither is better,
    whatever the run's own difference was, and items of a group stay as alike as they are. ROUGE-L and consistency are
    dealt with the score of the same answers. No two looks share a champion; sharing one would make looks alike and "at
    least once" rarer. A gain in accuracy turns discordant items in the challenger's favour, each with the probability
    that makes the expected gain right (at most the run's discordance can be gained); a gain in score is added to every
    item, and nothing to its ROUGE-L or consistency.
    """
    accuracy = _answers(champion.accuracy, challenger.accuracy)
    score = _answers(champion.score, challenger.score)
    sides = {
        "order": (champion.order, challenger.order),
        "shuffled": (_shuffled(champion), _shuffled(challenger)),
        "consistency": (champion.consistency, challenger.consistency),
    }
    beside = {name: _answers(a, b) for name, (a, b) in sides.items() if a and b}
    for name, answers in beside.items():
        if len(answers.groups) != len(score.groups):
            problem = f"{champion.score.metric} and {name} are not of the same items"
            raise RlaifError(f"{problem}; evaluate both policies again")

    def stream(rng: np.random.Generator) -> Iterator[Pair]:
        while True:
            (dealt_accuracy,) = _dealt(rng, accuracy)
            if gain_accuracy:
                dealt_accuracy = _turned(dealt_accuracy, gain_accuracy, rng)
            dealt_score, *dealt_beside = _dealt(rng, score, *beside.values())
            gained = replace(dealt_score, challenger=dealt_score.challenger + gain_score)
            yield Pair(dealt_accuracy, gained, **dict(zip(beside, dealt_beside, strict=True)))

    return stream


def drawn_pairs(
    *,
    n_accuracy: int,
    discordance: float,
    gain_accuracy: float = 0.0,
    gain_score: float = 0.0,
    base_rate: float = 0.65,
    n_score: int = 400,
    n_groups: int = 200,
    spread: float = 0.10,
    likeness: float = 0.2,
    together: float = 0.95,
) -> Stream:
    """Pairs drawn from rates.

    A loop keeps its champion: what it happens to get right on these items it gets right at every look. Accuracy: labels
    55% yes, 34% no, 11% maybe; the champion is right with probability `base_rate`; challengers turn wrong items right
    and right ones wrong with probabilities that give `discordance` and `gain_accuracy` (in the population of items, not
    on these). Score: differences are normal with standard deviation `spread` per item, of which the share `likeness` of
    the variance is common to a group, around `gain_score`. ROUGE-L: differences of the same spread and likeness around
    0, whose correlation with those of the score is `together` (0.95 to 0.97 in the runs of the embedded profile); half
    of it is left when words are shuffled.
    """
    lost, won = (discordance - gain_accuracy) / 2 / base_rate, (discordance + gain_accuracy) / 2 / (1 - base_rate)
    labels = np.array(LABELS)

    def stream(rng: np.random.Generator) -> Iterator[Pair]:
        target = rng.choice(3, n_accuracy, p=(0.55, 0.34, 0.11))
        mistake = (target + rng.integers(1, 3, n_accuracy)) % 3  # what either says when wrong
        right = rng.random(n_accuracy) < base_rate
        groups = np.arange(n_score) % n_groups
        score, rouge_l = rng.random(n_score), rng.random(n_score)

        def says(correct: npt.NDArray[np.bool_]) -> Texts:
            return labels[np.where(correct, target, mistake)]

        while True:
            turn = rng.random(n_accuracy) < np.where(right, lost, won)
            accuracy = Answers(
                right.astype(float),
                (right ^ turn).astype(float),
                np.arange(n_accuracy),
                says(right),
                says(right ^ turn),
                labels[target],
            )
            score_change, independent = (
                rng.normal(0, spread * likeness**0.5, n_groups)[groups]
                + rng.normal(0, spread * (1 - likeness) ** 0.5, n_score)
                for _ in range(2)
            )
            order_change = together * score_change + (1 - together**2) ** 0.5 * independent
            no_text = np.full(n_score, "")
            yield Pair(
                accuracy,
                Answers(score, score + gain_score + score_change, groups, no_text, no_text, no_text),
                Answers(rouge_l, rouge_l + order_change, groups, no_text, no_text, no_text),
                Answers(rouge_l / 2, (rouge_l + order_change) / 2, groups, no_text, no_text, no_text),
            )

    return stream


def _shuffled(policy: PolicyResults) -> MetricResults | None:
    """ROUGE-L of the shuffled answers, with a value for each item.

    Answers that are too short to shuffle have that of the answers themselves: no difference is seen there.
    """
    if policy.order is None or policy.shuffled is None:
        return None
    pairs = zip(policy.shuffled.values, policy.order.values, strict=True)
    values = tuple(in_order if shuffled is None else shuffled for shuffled, in_order in pairs)
    return replace(policy.shuffled, values=values)


def _answers(a: MetricResults, b: MetricResults) -> Answers:
    paired = pair(a, b)
    _, groups = np.unique(np.array(paired.groups), return_inverse=True)
    says = np.array(paired.champion_predictions), np.array(paired.challenger_predictions)
    return Answers(np.array(paired.champion), np.array(paired.challenger), groups, *says, np.array(paired.targets))


def _dealt(rng: np.random.Generator, *metrics: Answers) -> list[Answers]:
    """Groups drawn with replacement, the two policies swapped in half of them.

    The draw is the same in all `metrics`, which are of the same items.
    """
    group_of = metrics[0].groups
    n_groups = int(group_of.max()) + 1
    sizes = np.bincount(group_of, minlength=n_groups)
    members = np.split(np.argsort(group_of, kind="stable"), np.cumsum(sizes)[:-1])
    drawn = rng.integers(0, n_groups, n_groups)
    items = np.concatenate([members[g] for g in drawn])
    groups = np.repeat(np.arange(n_groups), [len(members[g]) for g in drawn])
    swap = (rng.random(n_groups) < 0.5)[groups]
    dealt = []
    for metric in metrics:
        sides = ((metric.champion, metric.challenger), (metric.champion_says, metric.challenger_says))
        (champion, challenger), (champion_says, challenger_says) = (
            (np.where(swap, b[items], a[items]), np.where(swap, a[items], b[items])) for a, b in sides
        )
        targets = metric.targets[items]
        dealt.append(Answers(champion, challenger, groups, champion_says, challenger_says, targets))
    return dealt


def _turned(dealt: Answers, gain: float, rng: np.random.Generator) -> Answers:
    """Discordant items go to the challenger with the probability that gives the gain on average."""
    discordant = dealt.champion != dealt.challenger
    rate = discordant.mean()
    wins = rng.random(len(discordant)) < (rate + gain) / 2 / rate if rate else discordant
    swap = discordant & (wins != (dealt.challenger > dealt.champion))
    sides = ((dealt.champion, dealt.challenger), (dealt.champion_says, dealt.challenger_says))
    (champion, challenger), (champion_says, challenger_says) = (
        (np.where(swap, b, a), np.where(swap, a, b)) for a, b in sides
    )
    return Answers(champion, challenger, dealt.groups, champion_says, challenger_says, dealt.targets)


def _results(dealt: Pair, side: str) -> PolicyResults:
    def metric(name: str, answers: Answers) -> MetricResults:
        values = answers.champion if side == "champion" else answers.challenger
        says = answers.champion_says if side == "champion" else answers.challenger_says
        n = len(values)
        return MetricResults(
            benchmark="simulated",
            metric=name,
            item_ids=tuple(str(i) for i in range(n)),
            values=tuple(values.tolist()),
            predictions=tuple(says.tolist()),
            targets=tuple(answers.targets.tolist()),
            groups=tuple(str(g) for g in answers.groups.tolist()),
            statuses=("scored",) * n,
            protocol_hash="simulated",
            data_sha256="simulated",
        )

    order, shuffled = (metric("rouge_l", answers) if answers else None for answers in (dealt.order, dealt.shuffled))
    consistency = metric("consistency", dealt.consistency) if dealt.consistency else None
    score = metric("score", dealt.score)
    return PolicyResults(side, metric("accuracy", dealt.accuracy), score, order, shuffled, consistency=consistency)
