from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlaif.gate.decide import MetricResults, PolicyResults
from rlaif.gate.streams import Pair, Stream, drawn_pairs, redealt_pairs

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


def taken(stream: Stream, n: int, seed: int = 0) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [p for p, _ in zip(stream(rng), range(n), strict=False)]


def sent(stream: Stream, promoted: list[bool], seed: int = 0) -> list[Pair]:
    """The pairs of a loop whose looks are answered so."""
    deals = stream(np.random.default_rng(seed))
    return [next(deals), *(deals.send(answer) for answer in promoted)]


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


@pytest.mark.parametrize(("there", "lost"), [("score", "accuracy"), ("accuracy", "score")])
def test_labels_alone_or_free_text_alone_are_dealt_alone(there: str, lost: str) -> None:
    sides = [replace(who, **{lost: None}) for who in (CHAMPION, CHALLENGER)]
    pairs = taken(redealt_pairs(*sides, 0.05, 0.02), 400)
    assert all(getattr(pair, lost) is None for pair in pairs)
    assert all((pair.order is None) == (there == "accuracy") for pair in pairs)
    gains = [float((getattr(p, there).challenger - getattr(p, there).champion).mean()) for p in pairs]
    assert np.mean(gains) == pytest.approx({"accuracy": 0.05, "score": 0.02}[there], abs=0.006)


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


def test_a_promoted_challenger_is_the_next_champion() -> None:
    stream = drawn_pairs(n_accuracy=100, discordance=0.2, n_score=40, n_groups=20)
    first, second, third = sent(stream, [True, False])
    for name in ("accuracy", "score", "order"):
        before, after, later = (getattr(p, name) for p in (first, second, third))
        assert (after.champion == before.challenger).all() and (later.champion == after.champion).all()


def test_topics_that_favour_a_policy_widen_the_difference_and_give_no_gain() -> None:
    """Design effect 1 + 9 * discordance * favour^2, with the same discordance."""
    stream = drawn_pairs(n_accuracy=500, discordance=0.2, topic=10, favour=0.9, n_score=2, n_groups=2)
    pairs = [p.accuracy for seed in range(300) for p in taken(stream, 2, seed)]
    changes = np.array([p.challenger - p.champion for p in pairs])
    assert len(set(pairs[0].groups.tolist())) == 50
    assert changes.mean() == pytest.approx(0, abs=0.003) and np.abs(changes).mean() == pytest.approx(0.2, abs=0.004)
    effect = changes.mean(axis=1).var() * 500 / changes.var()
    assert effect == pytest.approx(1 + 9 * 0.2 * 0.81, rel=0.2)


def test_ties_leave_items_alone_and_keep_the_gain() -> None:
    stream = drawn_pairs(n_accuracy=2, discordance=0.1, n_score=4000, n_groups=4000, ties=0.9, gain_score=0.02)
    changes = np.concatenate([p.score.challenger - p.score.champion for p in taken(stream, 10)])
    assert (changes == 0).mean() == pytest.approx(0.9, abs=0.01) and changes.mean() == pytest.approx(0.02, abs=0.002)


def test_gains_come_in_their_rounds() -> None:
    stream = drawn_pairs(n_accuracy=2, discordance=0.1, n_score=9000, n_groups=9000, gain_score=(0.03, 0.01))
    means = [float((p.score.challenger - p.score.champion).mean()) for p in sent(stream, [True, False])]
    assert means == pytest.approx([0.03, 0.01, 0.0], abs=0.004)


def test_inherited_luck_has_the_spread_asked_for_and_stays_with_the_winner() -> None:
    """Of luck L with share r inherited, the next challenger differs from it by -(1 - r) L, and noise."""
    kept, spread = 0.5, 0.1
    stream = drawn_pairs(n_accuracy=2, discordance=0.1, n_score=20_000, n_groups=20_000, spread=spread, inherited=kept)
    first, second = sent(stream, [True])
    one, two = (p.score.challenger - p.score.champion for p in (first, second))
    assert one.std() == pytest.approx(spread, rel=0.03) and two.std() == pytest.approx(spread, rel=0.03)
    # cov((k - 1) L0 + e1, (k - 1) (k L0 + e1)) over s^2 = var(L) * 2 (1 - k): -(1 - k) / 2
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(-(1 - kept) / 2, abs=0.03)
    same = sent(stream, [False])
    one, two = (p.score.challenger - p.score.champion for p in same)
    assert np.corrcoef(one, two)[0, 1] == pytest.approx((1 - kept) / 2, abs=0.03), "against the same champion's luck"
