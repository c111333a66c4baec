"""Pairs of results for simulated loops: re-dealt from two policies of a run, or drawn from stated rates. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rlaif.evals.results import MetricResults, PolicyResults, pair
from rlaif.types import LABELS, RlaifError

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Answers:
    """One metric of two policies on the same items: arrays (n,). Predictions and targets are those of accuracy, else
    "".
    """

    champion: Floats
    challenger: Floats
    groups: npt.NDArray[np.intp]
    champion_says: Texts
    challenger_says: Texts
    targets: Texts


@dataclass(frozen=True, slots=True)
class Pair:
    """Two policies' results on accuracy and on the score, and on the order of words where the score is token F1.

    One of accuracy and score is None where a run has no such benchmark. `order` is ROUGE-L on the same items as
    `score`, `shuffled` that of the same answers with their words shuffled. `consistency` is of the same answers too.
    """

    accuracy: Answers | None
    score: Answers | None
    order: Answers | None = None
    shuffled: Answers | None = None
    consistency: Answers | None = None


Stream = Callable[[np.random.Generator], Generator[Pair, bool, None]]


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
    item, and nothing to its ROUGE-L or consistency. Of policies with labels alone or free text alone, that is dealt.
    """
    accuracy = _answers(champion.accuracy, challenger.accuracy)
    score = _answers(champion.score, challenger.score)
    sides = {
        "order": (champion.order, challenger.order),
        "shuffled": (_shuffled(champion), _shuffled(challenger)),
        "consistency": (champion.consistency, challenger.consistency),
    }
    dealt_too = {name: _answers(a, b) for name, (a, b) in sides.items()} if score else {}
    beside = {name: answers for name, answers in dealt_too.items() if answers}
    for name, answers in beside.items():
        if score and len(answers.groups) != len(score.groups):
            problem = f"the score and {name} are not of the same items"
            raise RlaifError(f"{problem}; evaluate both policies again")

    def stream(rng: np.random.Generator) -> Generator[Pair, bool, None]:
        while True:
            labels: Answers | None = None
            text: Answers | None = None
            others: dict[str, Answers] = {}
            if accuracy:
                (labels,) = _dealt(rng, accuracy)
                labels = _turned(labels, gain_accuracy, rng) if gain_accuracy else labels
            if score:
                dealt, *dealt_beside = _dealt(rng, score, *beside.values())
                text = replace(dealt, challenger=dealt.challenger + gain_score)
                others = dict(zip(beside, dealt_beside, strict=True))
            yield Pair(labels, text, **others)

    return stream


def drawn_pairs(
    *,
    n_accuracy: int,
    discordance: float,
    gain_accuracy: float = 0.0,
    gain_score: float | Sequence[float] = 0.0,
    base_rate: float = 0.65,
    topic: int = 1,
    favour: float = 0.0,
    n_score: int = 400,
    n_groups: int = 200,
    spread: float = 0.10,
    likeness: float = 0.2,
    together: float = 0.95,
    ties: float = 0.0,
    inherited: float | None = None,
) -> Stream:
    """Pairs drawn from rates. A loop keeps its champion until a look promotes, which the caller sends in.

    Accuracy: labels 55% yes, 34% no, 11% maybe; the first champion is right with probability `base_rate`; challengers
    turn wrong items right and right ones wrong with probabilities that give `discordance` and `gain_accuracy` (in the
    population of items, not on these). Items come in groups of `topic`, each of which favours one policy, drawn anew at
    each look: its items turn that way (1 + favour) / (1 - favour) times as readily, which makes the variance of the
    difference 1 + (topic - 1) * discordance * favour^2 times that of independent items.

    Score: differences are normal with standard deviation `spread` per item, of which the share `likeness` of the
    variance is common to a group, around `gain_score` (one for each look, then 0, or the same for all); the share
    `ties` of the items does not change. ROUGE-L: differences of the same spread and likeness around 0, whose
    correlation with those of the score is `together` (0.95 to 0.97 in the runs of the embedded profile); half of it is
    left when words are shuffled. With `inherited`, a policy has luck on these items, which its challengers have that
    correlation with: what won by luck keeps it, and all challengers of one champion compete with the same luck. Without
    it, differences are independent from look to look.
    """
    lost, won = (discordance - gain_accuracy) / 2 / base_rate, (discordance + gain_accuracy) / 2 / (1 - base_rate)
    labels, groups = np.array(LABELS), np.arange(n_score) % n_groups
    topics, no_text = np.arange(n_accuracy) // topic, np.full(n_score, "")
    kept = inherited or 0.0
    unit = spread if inherited is None else spread / (2 * (1 - kept)) ** 0.5  # so that differences have the spread

    def luck(rng: np.random.Generator) -> Floats:
        common = rng.normal(0, unit * likeness**0.5, n_groups)[groups]
        return common + rng.normal(0, unit * (1 - likeness) ** 0.5, n_score)

    def stream(rng: np.random.Generator) -> Generator[Pair, bool, None]:
        target = rng.choice(3, n_accuracy, p=(0.55, 0.34, 0.11))
        mistake = (target + rng.integers(1, 3, n_accuracy)) % 3  # what either says when wrong
        right = rng.random(n_accuracy) < base_rate
        score, rouge_l = rng.random(n_score), rng.random(n_score)
        lucky = np.zeros(n_score) if inherited is None else luck(rng)

        def says(correct: npt.NDArray[np.bool_]) -> Texts:
            return labels[np.where(correct, target, mistake)]

        for look in itertools.count():
            side = favour * rng.choice((-1, 1), topics[-1] + 1)[topics]
            challenger = right ^ (rng.random(n_accuracy) < np.where(right, lost * (1 - side), won * (1 + side)))
            accuracy = Answers(
                right.astype(float), challenger.astype(float), topics, says(right), says(challenger), labels[target]
            )
            luckier = kept * lucky + (1 - kept**2) ** 0.5 * luck(rng) if inherited is not None else luck(rng)
            gain = gain_score if isinstance(gain_score, float) else (*gain_score, *(0.0,) * (look + 1))[look]
            moved = (luckier - lucky + gain / (1 - ties)) * (rng.random(n_score) >= ties)
            order_moved = together * (luckier - lucky) + (1 - together**2) ** 0.5 * spread / unit * luck(rng)
            after, ordered = score + moved, rouge_l + order_moved
            promoted = yield Pair(
                accuracy,
                Answers(score, after, groups, no_text, no_text, no_text),
                Answers(rouge_l, ordered, groups, no_text, no_text, no_text),
                Answers(rouge_l / 2, ordered / 2, groups, no_text, no_text, no_text),
            )
            if promoted:
                right, score, rouge_l = challenger, after, ordered
                lucky = lucky if inherited is None else luckier

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


def _answers(a: MetricResults | None, b: MetricResults | None) -> Answers | None:
    """None where one of the two lacks the metric."""
    if a is None or b is None:
        return None
    paired = pair(a, b)
    _, groups = np.unique(np.array(paired.groups), return_inverse=True)
    texts = (paired.champion_predictions, paired.challenger_predictions, paired.targets)
    if a.metric != "accuracy":  # long, and nobody reads them
        texts = ([""] * len(groups),) * 3
    return Answers(np.array(paired.champion), np.array(paired.challenger), groups, *map(np.array, texts))


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
