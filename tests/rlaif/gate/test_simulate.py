from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlaif.config import GateConfig
from rlaif.gate import simulate
from rlaif.gate.decide import MetricResults, PolicyResults
from rlaif.gate.simulate import Answers, Pair, could_be_promoted, drawn_pairs, promoted, promotions, redealt_pairs
from rlaif.stats import alpha_for_look

SETTINGS = GateConfig().model_copy(update={"resamples": 200})  # fewer than a run may have
TARGETS = ["yes", "no", "maybe", "yes", "no"]


def policy(name: str, right: list[bool], score: list[float]) -> PolicyResults:
    def metric(kind: str, values: list[float], says: list[str], targets: list[str]) -> MetricResults:
        n = len(values)
        groups = tuple(f"g{i // 4}" for i in range(n))
        ids = tuple(f"{kind}{i}" for i in range(n))
        return MetricResults(
            "b", kind, ids, tuple(values), tuple(says), tuple(targets), groups, ("scored",) * n, "h", "d"
        )

    targets = [TARGETS[i % 5] for i in range(len(right))]
    says = [t if ok else "unparsed" for t, ok in zip(targets, right, strict=True)]
    empty = [""] * len(score)
    accuracy = metric("accuracy", [float(ok) for ok in right], says, targets)
    rouge_l = metric("rouge_l", [value / 2 for value in score], empty, empty)
    return PolicyResults(name, accuracy, metric("token_f1", score, empty, empty), rouge_l)


RNG = np.random.default_rng(0)
CHAMPION = policy("a", (RNG.random(400) < 0.6).tolist(), RNG.random(200).tolist())
CHALLENGER = policy("b", (RNG.random(400) < 0.7).tolist(), RNG.random(200).tolist())


def mean_gain(pairs: list[Pair]) -> tuple[float, float]:
    gains = [[float((a.challenger - a.champion).mean()) for a in (p.accuracy, p.score)] for p in pairs]
    accuracy, score = np.mean(gains, axis=0)
    return float(accuracy), float(score)


def taken(stream: simulate.Stream, n: int, seed: int = 0) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [p for p, _ in zip(stream(rng), range(n), strict=False)]


def test_redealt_pairs_have_no_gain_whatever_the_run_had() -> None:
    pairs = taken(redealt_pairs(CHAMPION, CHALLENGER), 400)
    assert mean_gain(pairs) == pytest.approx((0, 0), abs=0.006)
    own = np.mean(np.array(CHAMPION.accuracy.values) != np.array(CHALLENGER.accuracy.values))
    assert np.mean([(p.accuracy.champion != p.accuracy.challenger).mean() for p in pairs]) == pytest.approx(
        own, abs=0.01
    )
    one = pairs[0].accuracy
    assert len(set(one.groups.tolist())) == 100 and len(one.champion) == 400
    for says, values in ((one.champion_says, one.champion), (one.challenger_says, one.challenger)):
        assert ((says == one.targets) == (values == 1)).all()  # what a policy said moves with whether it was right


def test_order_and_consistency_are_dealt_with_the_score_they_belong_to() -> None:
    for dealt in taken(redealt_pairs(CHAMPION, CHALLENGER, 0.0, 0.25), 20):
        assert dealt.order is not None
        assert dealt.order.champion == pytest.approx(dealt.score.champion / 2)
        assert dealt.order.challenger == pytest.approx((dealt.score.challenger - 0.25) / 2), (
            "the same answers, without the gain added"
        )
    shuffled = replace(CHAMPION.order, values=(0.125, None, *CHAMPION.order.values[2:]))
    mine = replace(CHAMPION, shuffled=shuffled)
    dealt = next(redealt_pairs(mine, mine)(np.random.default_rng(0)))
    assert ((dealt.shuffled.champion == 0.125) | (dealt.shuffled.champion == dealt.order.champion)).all(), (
        "too short: nothing is seen"
    )
    consistent = [replace(who, consistency=replace(who.order, metric="consistency")) for who in (CHAMPION, CHALLENGER)]
    dealt = next(redealt_pairs(*consistent)(np.random.default_rng(0)))
    assert dealt.consistency.challenger.tolist() == dealt.order.challenger.tolist()
    without = replace(CHAMPION, order=None)
    assert next(redealt_pairs(without, without)(np.random.default_rng(0))).order is None


def test_redealt_pairs_have_the_gain_asked_for() -> None:
    assert mean_gain(taken(redealt_pairs(CHAMPION, CHALLENGER, 0.05, 0.02), 400)) == pytest.approx(
        (0.05, 0.02), abs=0.006
    )


def test_drawn_pairs_have_the_rates_asked_for_and_keep_their_champion() -> None:
    stream = drawn_pairs(
        n_accuracy=2000, discordance=0.12, gain_accuracy=0.04, gain_score=0.01, base_rate=0.7, spread=0.1
    )
    pairs = [p for seed in range(40) for p in taken(stream, 2, seed)]
    assert mean_gain(pairs) == pytest.approx((0.04, 0.01), abs=0.004)
    assert np.mean([(p.accuracy.champion != p.accuracy.challenger).mean() for p in pairs]) == pytest.approx(
        0.12, abs=0.004
    )
    assert np.mean([p.accuracy.champion.mean() for p in pairs]) == pytest.approx(0.7, abs=0.01)
    moved = [
        np.concatenate([m.challenger - m.champion for m in metrics])
        for metrics in zip(*((p.score, p.order) for p in pairs), strict=True)
    ]
    assert [float(np.std(m)) for m in moved] == pytest.approx([0.1, 0.1], abs=0.005)
    assert np.mean(moved[1]) == pytest.approx(0, abs=0.004) and np.corrcoef(*moved)[0, 1] == pytest.approx(
        0.95, abs=0.01
    )
    first, second = pairs[:2]
    assert (first.accuracy.champion == second.accuracy.champion).all() and (
        first.score.champion == second.score.champion
    ).all()
    assert not (first.accuracy.challenger == second.accuracy.challenger).all()
    assert ((first.accuracy.champion_says == first.accuracy.targets) == (first.accuracy.champion == 1)).all()


@pytest.mark.slow
def test_no_promotion_is_screened_out() -> None:
    """Of looks near the line, `could_be_promoted` lets every one through that the whole gate promotes."""
    stream = drawn_pairs(
        n_accuracy=250, discordance=0.12, gain_accuracy=0.04, gain_score=0.015, n_score=200, n_groups=100
    )
    outcomes = []
    for seed in range(30):
        (dealt,) = taken(stream, 1, seed)
        with_screen = promoted(dealt, 1, SETTINGS, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulate, "could_be_promoted", lambda *_: True)
            outcomes.append((with_screen, promoted(dealt, 1, SETTINGS, seed)))
    assert all(a == b for a, b in outcomes)
    assert 3 < sum(a for a, _ in outcomes) < 27


def test_a_look_far_from_a_promotion_is_not_worked_out() -> None:
    (dealt,) = taken(drawn_pairs(n_accuracy=250, discordance=0.1), 1)
    alpha = alpha_for_look("dpo", 1)
    flat = replace(dealt, score=replace(dealt.score, challenger=dealt.score.champion))
    assert not could_be_promoted(flat, alpha, SETTINGS, 0)
    sure: Answers = replace(dealt.score, challenger=dealt.score.champion + 0.01)
    assert could_be_promoted(replace(flat, score=sure), alpha, SETTINGS, 0)


def test_promotions_counts_loops_once_and_by_look() -> None:
    gain = drawn_pairs(n_accuracy=300, discordance=0.2, gain_accuracy=0.18, base_rate=0.5)
    steps: list[int] = []
    found = promotions(gain, 5, range(1, 4), SETTINGS, 0, lambda: steps.append(1))
    assert (found.loops, found.promoted, found.by_look, len(steps)) == (5, 5, (5, 0, 0), 5)
    assert found.share == 1.0 and found.interval[0] < 1
    assert promotions(gain, 5, range(1, 4), SETTINGS, 0) == found


def test_few_loops_without_gain_promote() -> None:
    found = promotions(
        drawn_pairs(n_accuracy=250, discordance=0.15, n_score=100, n_groups=50), 60, range(1, 6), SETTINGS, 3
    )
    assert found.promoted <= 8  # 4% of 60 is 2.4; more than 8 would be one in a thousand at 5%
    assert sum(found.by_look) == found.promoted


@pytest.mark.slow
def test_word_order_does_not_hold_up_honest_policies() -> None:
    """What is promoted with that condition is what would be promoted without it, on draws with true gains in accuracy
    or token F1.
    """
    without, outcomes = SETTINGS.model_copy(update={"margin_rouge_l": 1.0}), []
    for seed in range(40):
        gain = {"gain_accuracy": 0.06} if seed % 2 else {"gain_score": 0.02}
        (dealt,) = taken(drawn_pairs(n_accuracy=300, discordance=0.12, **gain), 1, seed)
        outcomes.append((promoted(dealt, 1, SETTINGS, seed), promoted(dealt, 1, without, seed)))
    assert all(a == b for a, b in outcomes) and sum(a for a, _ in outcomes) > 15
