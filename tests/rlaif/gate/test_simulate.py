from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlaif.config import GateConfig
from rlaif.gate import simulate
from rlaif.gate.decide import Look
from rlaif.gate.levels import alpha_for_look
from rlaif.gate.simulate import could_be_promoted, is_promoted, looks_won, promotions
from rlaif.gate.streams import Answers, Pair, Stream, drawn_pairs

SETTINGS = GateConfig().model_copy(update={"resamples": 200})  # fewer than a run may have
FIRST = Look("dpo", 1)


def taken(stream: Stream, n: int, seed: int = 0) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [p for p, _ in zip(stream(rng), range(n), strict=False)]


def guessed(dealt: Pair) -> Pair:
    """The champion says yes to everything, the challenger to every other question."""
    yes, no = np.full_like(dealt.accuracy.targets, "yes"), np.full_like(dealt.accuracy.targets, "no")
    half = np.where(np.arange(len(yes)) % 2, yes, no)
    values = ((says == dealt.accuracy.targets).astype(float) for says in (yes, half))
    sides = dict(zip(("champion", "challenger"), values, strict=True))
    return replace(dealt, accuracy=replace(dealt.accuracy, champion_says=yes, challenger_says=half, **sides))


@pytest.mark.slow
def test_no_promotion_is_screened_out() -> None:
    """Of looks near the line, `could_be_promoted` lets every one through that the whole gate promotes."""
    stream = drawn_pairs(
        n_accuracy=250, discordance=0.12, gain_accuracy=0.04, gain_score=0.015, n_score=200, n_groups=100
    )
    outcomes = []
    for seed in range(30):
        (dealt,) = taken(stream, 1, seed)
        with_screen = is_promoted(dealt, FIRST, SETTINGS, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulate, "could_be_promoted", lambda *_: True)
            outcomes.append((with_screen, is_promoted(dealt, FIRST, SETTINGS, seed)))
    assert all(a == b for a, b in outcomes)
    assert 3 < sum(a for a, _ in outcomes) < 27


def test_a_look_far_from_a_promotion_is_not_worked_out() -> None:
    (dealt,) = taken(drawn_pairs(n_accuracy=250, discordance=0.1), 1)
    alpha = alpha_for_look("dpo", 1)
    flat = replace(dealt, score=replace(dealt.score, challenger=dealt.score.champion))
    assert not could_be_promoted(flat, alpha, SETTINGS, 0)
    sure: Answers = replace(dealt.score, challenger=dealt.score.champion + 0.01)
    assert could_be_promoted(replace(flat, score=sure), alpha, SETTINGS, 0)


@pytest.mark.parametrize("lost", ["accuracy", "score", "reading"])
def test_a_test_that_stands_alone_has_all_of_alpha(lost: str) -> None:
    """What is promoted with labels alone, free text alone or labels that nobody reads is what the whole gate promotes;
    none is screened out.
    """
    stream = drawn_pairs(
        n_accuracy=250, discordance=0.12, gain_accuracy=0.05, gain_score=0.02, n_score=100, n_groups=50
    )
    outcomes = []
    for seed in range(12):
        (dealt,) = taken(stream, 1, seed)
        without = {"order": None, "shuffled": None} if lost == "score" else {}
        alone = guessed(dealt) if lost == "reading" else replace(dealt, **{lost: None}, **without)
        with_screen = is_promoted(alone, FIRST, SETTINGS, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulate, "could_be_promoted", lambda *_: True)
            outcomes.append((with_screen, is_promoted(alone, FIRST, SETTINGS, seed)))
    assert all(a == b for a, b in outcomes)
    assert 2 < sum(a for a, _ in outcomes) < 12


def test_promotions_counts_loops_once_and_by_look() -> None:
    gain = drawn_pairs(n_accuracy=300, discordance=0.2, gain_accuracy=0.18, base_rate=0.5)
    steps: list[int] = []
    found = promotions(gain, 5, range(1, 4), SETTINGS, 0, lambda: steps.append(1))
    assert (found.loops, found.promoted, found.by_look, len(steps)) == (5, 5, (5, 0, 0), 5)
    assert found.share == 1.0 and found.interval[0] < 1
    assert promotions(gain, 5, range(1, 4), SETTINGS, 0) == found
    assert list(looks_won(gain, 5, range(1, 4), SETTINGS, 0)) == [[1]] * 5
    further = promotions(gain, 5, range(1, 4), SETTINGS, 0, go_on=True)
    assert (further.promoted, further.by_look[0], further.per_loop) == (5, 5, sum(further.by_look) / 5)


def test_a_look_that_promotes_hands_its_alpha_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks of a loop as `decide` sees them, in which the first, second and fourth promote."""
    seen: list[Look] = []

    def wins(dealt: Pair, look: Look, *_: object) -> bool:
        seen.append(look)
        return look.number in (1, 2, 4)

    monkeypatch.setattr(simulate, "is_promoted", wins)
    stream = drawn_pairs(n_accuracy=20, discordance=0.1, n_score=4, n_groups=2)
    (won,) = looks_won(stream, 1, range(1, 6), SETTINGS, 0, inherited=0.01, go_on=True)
    own = [alpha_for_look("dpo", k) for k in range(1, 6)]
    assert won == [1, 2, 4]
    inherited = [0.01, 0.01 + own[0], 0.01 + own[0] + own[1], 0.0, own[3]]
    assert [look.inherited for look in seen] == pytest.approx(inherited)


@pytest.mark.parametrize("seed", range(8))
def test_the_bound_that_ends_a_look_early_holds(seed: int) -> None:
    """A sum that is one standard deviation of the swapped sums has p of 6/64 or more: all swaps of 10 groups."""
    sizes = np.random.default_rng(seed).exponential(size=10) ** (seed % 4)
    signs = np.array(np.meshgrid(*[(-1, 1)] * 10)).reshape(10, -1)
    assert (sizes @ signs >= np.sqrt(np.sum(sizes**2))).mean() >= simulate.RADEMACHER


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
        outcomes.append((is_promoted(dealt, FIRST, SETTINGS, seed), is_promoted(dealt, FIRST, without, seed)))
    assert all(a == b for a, b in outcomes) and sum(a for a, _ in outcomes) > 15
