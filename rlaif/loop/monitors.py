"""What could be going wrong in a round, as numbers with thresholds: each function measures one thing. Pure.

A red monitor is a row in `decisions`; the controller acts on it (rlaif.loop.controller), and those in
`monitors.blocking` hold up a promotion. What cannot be measured from what there is has the value None and says why; it
is never red.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded when they are used

from rlaif.config import MonitorConfig


@dataclass(frozen=True, slots=True)
class Monitor:
    """`value` in the unit that `threshold` names; `detail` says in words what was found, or why nothing was.

    `cause`: what it is put down to, as one word for the controller; "" where the monitor names none.
    """

    name: str
    value: float | None
    threshold: str
    red: bool
    detail: str
    cause: str = ""

    @property
    def row(self) -> dict[str, str | float | bool | None]:
        """Its columns in the table `monitors`, the round left out."""
        threshold = self.threshold if self.value is not None else f"{self.threshold}; not measured: {self.detail}"
        return {"name": self.name, "value": self.value, "threshold": threshold, "red": self.red}


def unmeasured(name: str, threshold: str, why: str) -> Monitor:
    return Monitor(name, None, threshold, False, why)


def logps_falling(
    chosen: Sequence[float], rejected: Sequence[float], beta: float, tokens: float, limit: MonitorConfig
) -> Monitor:
    """Do the log-probabilities of chosen and rejected answers fall together?

    That is "likelihood displacement" (arXiv 2410.08847). `chosen`, `rejected`: the rewards of each training step, beta
    times the change of an answer's log-probability against the reference (Rafailov et al. 2023, eq. 5); `tokens`: mean
    length of the chosen answers. The value is the change of the chosen ones in nats per token, mean of the last third
    of the steps; it is red only where the rejected ones fall too.
    """
    name, threshold = "logps_falling", f"< {limit.logps_chosen:g} nat/token, and the rejected answers fall too"
    if not chosen or tokens <= 0:
        return unmeasured(name, threshold, "no training steps on pairs were logged")
    last = max(1, len(chosen) // 3)
    up, down = (float(np.mean(rewards[-last:])) / beta / tokens for rewards in (chosen, rejected))
    detail = f"chosen answers {up:+.3f} nat/token against the reference, rejected ones {down:+.3f}"
    return Monitor(name, up, threshold, up < limit.logps_chosen and down < 0, detail)


def overfit(accuracy: Sequence[float], epoch: Sequence[float], limit: MonitorConfig) -> Monitor:
    """Are the pairs learned by heart? Accuracy on pairs seen before against that on pairs that were new.

    A step's accuracy is measured before the step learns from its pairs, so within the first epoch it is accuracy on
    unseen pairs (prequential validation, Dawid 1984); its second half counts, when training has taken hold. In training
    of one epoch no pair is seen twice and this cannot be red. The value is the accuracy of the last epoch (of one
    epoch: of its second half).
    """
    name = "overfit"
    threshold = f"> {limit.train_accuracy:g} on pairs seen before, and < {limit.heldout_accuracy:g} on new ones"
    epochs = np.asarray(epoch, dtype=float)
    values = np.asarray(accuracy, dtype=float)
    first = epochs <= 1 + 1e-6
    if not values.size or not first.any():  # fine-tuning on answers has epochs, and no accuracy on pairs
        return unmeasured(name, threshold, "no training steps on pairs were logged")
    new = values[first][first.sum() // 2 :].mean()
    repeated = values[epochs > epochs.max() - 1 + 1e-6] if not first.all() else values[:0]
    if not repeated.size:
        return Monitor(name, float(new), threshold, False, f"each pair was seen once; accuracy on new pairs {new:.2f}")
    seen = float(repeated.mean())
    detail = f"accuracy {seen:.2f} on pairs seen before, {new:.2f} on new ones"
    return Monitor(name, seen, threshold, seen > limit.train_accuracy and bool(new < limit.heldout_accuracy), detail)


def length_ratio(champion: Sequence[str], challenger: Sequence[str], limit: MonitorConfig) -> Monitor:
    """Median over items of the challenger's number of words by the champion's.

    `champion`, `challenger`: their answers to the same questions in the same order.
    """
    name, threshold = "length_ratio", f"outside {limit.length_low:g}..{limit.length_high:g}"
    if not champion:
        return unmeasured(name, threshold, "no answers of both policies")
    ratios = [len(b.split()) / max(1, len(a.split())) for a, b in zip(champion, challenger, strict=True)]
    value = float(np.median(ratios))
    red = not limit.length_low <= value <= limit.length_high
    detail = f"the challenger's answers have {value:.2f} times the champion's words (median)"
    return Monitor(name, value, threshold, red, detail)


def distinct_2(champion: Sequence[str], challenger: Sequence[str], limit: MonitorConfig) -> Monitor:
    """Distinct pairs of neighbouring words in the challenger's answers, as a share of those in the champion's.

    The measure is distinct-2 of Li et al. 2016. Longer text always has a smaller share of distinct pairs, so both are
    counted at the same number of pairs, that of the side with fewer: the expected number of kinds in a random draw
    without replacement (rarefaction, Hurlbert 1971).
    """
    name, threshold = "distinct_2", f"< {limit.distinct_2:g} of the champion's"
    pair_counts = [_word_pairs(champion), _word_pairs(challenger)]
    size = min(sum(counts.values()) for counts in pair_counts)
    if not size:
        return unmeasured(name, threshold, "a policy's answers have no two words")
    before, after = (_kinds(np.array(list(counts.values()), dtype=float), size) for counts in pair_counts)
    value = after / before
    detail = f"{after:.0f} kinds of word pairs in {size}, the champion has {before:.0f}"
    return Monitor(name, value, threshold, value < limit.distinct_2, detail)


def _word_pairs(answers: Sequence[str]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbouring words stands in the answers."""
    split = [answer.split() for answer in answers]
    return Counter(pair for words in split for pair in zip(words, words[1:], strict=False))


def _kinds(counts: np.ndarray, size: int) -> float:
    """Expected number of kinds in `size` items drawn without replacement from kinds of these `counts`.

    It is the sum over the kinds of 1 - C(N - n, size) / C(N, size).
    """
    counts = np.sort(counts)  # the same sum whatever order the words came in
    remaining = counts.sum() - counts
    possible = remaining >= size
    missing = np.zeros_like(counts)
    total = counts.sum()
    log_factorial = scipy.special.gammaln
    rest = remaining[possible] + 1
    missing[possible] = np.exp(
        log_factorial(rest) - log_factorial(rest - size) - log_factorial(total + 1) + log_factorial(total - size + 1)
    )
    return float((1 - missing).sum())


def pair_yield(kept: int, questions: int, first_kept: int, first_questions: int, limit: MonitorConfig) -> Monitor:
    """Kept pairs by questions, as a share of round 1's."""
    name, threshold = "pair_yield", f"< {limit.pair_yield:g} of round 1's"
    if not questions or not first_kept:
        return unmeasured(name, threshold, "no questions were paired" if not questions else "round 1 kept no pair")
    now, first = kept / questions, first_kept / first_questions
    detail = f"yield {now:.0%}, in round 1 {first:.0%}"
    return Monitor(name, now / first, threshold, now / first < limit.pair_yield, detail)


def score_spread(scores: Sequence[Sequence[float]], first: Sequence[Sequence[float]], limit: MonitorConfig) -> Monitor:
    """Mean standard deviation of the judge's scores within a question, as a share of round 1's.

    `scores`, `first`: one list per question, of this round and of round 1.
    """
    name, threshold = "score_spread", f"< {limit.score_spread:g} of round 1's"
    spreads, first_spreads = _spreads(scores), _spreads(first)
    if not spreads or not first_spreads or not np.mean(first_spreads):
        return unmeasured(name, threshold, "no two scores of a question that differ, in this round or in round 1")
    value = float(np.mean(spreads) / np.mean(first_spreads))
    detail = f"scores within a question spread by {np.mean(spreads):.3f}, in round 1 by {np.mean(first_spreads):.3f}"
    return Monitor(name, value, threshold, value < limit.score_spread, detail)


def _spreads(questions: Sequence[Sequence[float]]) -> list[float]:
    """The standard deviation within each question; questions with one score tell nothing."""
    return [float(np.std(scores, ddof=1)) for scores in questions if len(scores) > 1]


def yield_low(kept: int, questions: int, first_kept: int, first_questions: int, limit: MonitorConfig) -> Monitor:
    """Share of questions with a kept pair; red where it is too small, and was in round 1 too.

    Settings that do not suit the policy show in round 1. A run that began with enough pairs is watched by
    :func:`pair_yield`: the answers of a better champion differ less, and give fewer pairs for a good reason.
    """
    name, threshold = "yield_low", f"< {limit.yield_low:g}, in round 1 too"
    if not questions:
        return unmeasured(name, threshold, "no questions were paired")
    now, first = kept / questions, first_kept / max(first_questions, 1)
    red = now < limit.yield_low and first < limit.yield_low
    return Monitor(name, now, threshold, red, f"{kept} of {questions} questions gave a pair, {now:.0%}")


def lost_to(lost: Mapping[str, int], questions: int, low: bool, limit: MonitorConfig) -> Monitor:
    """Share of the questions that are lost to the most frequent drop reason, which is the monitor's `cause`.

    `lost`: reason -> questions that have no pair for it; `low`: whether `yield_low` is red. Where it is not, enough
    questions give a pair, and whatever the others are lost to may stay.
    """
    name, threshold = "lost_to", f"> {limit.lost_to:g} to one reason, and the yield is low"
    if not questions:
        return unmeasured(name, threshold, "no questions were paired")
    if not lost:
        return Monitor(name, 0.0, threshold, False, "every question gave a pair")
    reason, count = max(lost.items(), key=lambda item: (item[1], item[0]))
    share = count / questions
    detail = f"{reason}: {count} of {questions} questions, {share:.0%}"
    return Monitor(name, share, threshold, share > limit.lost_to and low, detail, reason)


def steps_low(steps: int, pairs: int, limit: MonitorConfig) -> Monitor:
    """Optimiser steps of the challenger's training, on so many `pairs`."""
    name, threshold = "steps_low", f"< {limit.steps_low} steps"
    if not steps:
        return unmeasured(name, threshold, "no training steps were logged")
    return Monitor(name, float(steps), threshold, steps < limit.steps_low, f"{steps} steps on {pairs} pairs")


def judge_up(
    judge: tuple[float, float], measures: Mapping[str, tuple[float, float]], items: int, limit: MonitorConfig
) -> Monitor:
    """Does the challenger please the judge that labels, and nobody else?

    `judge`: the labelling judge's mean on the champion's and on the challenger's answers to the same gate questions,
    `items` in number; `measures`: what other judges and metrics say of the same answers, by name. The value is the
    labelling judge's gain. A gain that only this judge sees is the sign of one that is being gamed (Gao et al. 2023,
    arXiv 2210.10760).
    """
    gain = judge[1] - judge[0]
    threshold = f"> {limit.judge_gain:g}, and no independent measure higher"
    others = "".join(f", {name} {before:.3f} -> {now:.3f}" for name, (before, now) in measures.items())
    detail = f"the labelling judge's mean {judge[0]:.3f} -> {judge[1]:.3f}{others}, on {items} gate questions"
    red = gain > limit.judge_gain and bool(measures) and all(now <= before for before, now in measures.values())
    return Monitor("judge_up", gain, threshold, red, detail)


def kl_to_sft(logratios: Sequence[float], tokens: int, limit: MonitorConfig) -> Monitor:
    """KL divergence of the policy that the round started from, mostly the champion, from the SFT policy in nats per
    token, by Monte Carlo over its own answers.

    `logratios`: log p(answer; policy) - log p(answer; SFT) of each; `tokens`: of all answers together. Answers
    sampled from a nucleus make it an estimate for what the policy really writes, a little below the divergence of the
    whole distributions.
    """
    name, threshold = "kl_to_sft", f"> {limit.kl_to_sft:g} nat/token"
    if tokens <= 0:
        return unmeasured(name, threshold, "no answers to measure it on")
    value = float(np.sum(logratios)) / tokens
    detail = f"{value:.3f} nat/token on {len(logratios)} answers"
    return Monitor(name, value, threshold, value > limit.kl_to_sft, detail)


def truncated(cut: int, answers: int, limit: MonitorConfig) -> Monitor:
    """Share of the round's sampled answers that end at the token limit."""
    threshold = f"> {limit.truncated:g}"
    if not answers:
        return unmeasured("truncated", threshold, "no answers were sampled")
    share = cut / answers
    detail = f"{cut} of {answers} answers are cut at the token limit"
    return Monitor("truncated", share, threshold, share > limit.truncated, detail)
