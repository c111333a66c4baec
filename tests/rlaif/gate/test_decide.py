import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.config import GateConfig
from rlaif.gate.decide import Check, Checks, GateRow, Guard, Look, MetricResults, PolicyResults, decide
from rlaif.types import EvalItem, RlaifError, UsageError

FAST = GateConfig().model_copy(update={"resamples": 200})  # fewer than a run may have
LOOK = Look("dpo", 1)
TARGETS = ["yes", "no", "maybe", "yes", "no"]


def metric(name, values, predictions=None, **changes):
    n = len(values)
    column = {
        "benchmark": "pubmedqa" if name == "accuracy" else "medquad",
        "metric": name,
        "item_ids": tuple(f"{name}{i}" for i in range(n)),
        "values": tuple(values),
        "predictions": tuple(predictions or [""] * n),
        "targets": tuple(TARGETS[i % 5] for i in range(n)),
        "groups": tuple(f"g{i // 2}" for i in range(n)),
        "statuses": ("scored",) * n,
        "protocol_hash": "h",
        "data_sha256": "d",
    }
    return MetricResults(**(column | changes))


def policy(right, score, name="p", order=None):
    """From a list of booleans and a list of scores; ROUGE-L is as the score unless it is given, [] for none at all."""
    wrong = {"yes": "no", "no": "yes", "maybe": "yes"}
    predictions = [TARGETS[i % 5] if ok else wrong[TARGETS[i % 5]] for i, ok in enumerate(right)]
    rouge_l = metric("rouge_l", score if order is None else order) if order != [] else None
    return PolicyResults(
        name, metric("accuracy", [float(ok) for ok in right], predictions), metric("token_f1", score), rouge_l
    )


def judged(champion, challenger, look=LOOK, checks=Checks(), labels=None, **changes):  # noqa: B008
    used = FAST.model_copy(update=changes)
    return decide(champion, challenger, look=look, settings=used, checks=checks, seed=0, labels=labels)


def row(result, condition, name):
    (found,) = [r for r in result.rows if (r.condition, r.metric) == (condition, name)]
    return found


RNG = np.random.default_rng(4)
RIGHT = [i % 10 < 6 for i in range(300)]
BETTER = [i % 10 < 6 or i % 20 == 7 for i in range(300)]  # 15 more right, none lost: + 0.05
SCORE = RNG.random(200).clip(0.2, 0.8).tolist()
NOISE = RNG.normal(0, 0.02, 200)
UP = (np.array(SCORE) + 0.01 + NOISE - NOISE.mean()).tolist()
DOWN = (np.array(SCORE) - 0.03 + NOISE - NOISE.mean()).tolist()
LEVEL = (np.array(SCORE) + NOISE - NOISE.mean()).tolist()
CHAMPION = policy(RIGHT, SCORE)


def with_other(who, values, margin=0.04):
    return replace(who, others=(metric("safety accuracy", values, benchmark="safety", margin=margin),))


def test_a_further_benchmark_may_not_get_worse_and_cannot_win():
    good = [float(i % 10 < 8) for i in range(400)]
    worse = [value * (i % 4 > 0) for i, value in enumerate(good)]
    champion = with_other(CHAMPION, good)
    same = judged(champion, with_other(policy(RIGHT, UP), good))
    assert same.action == "PROMOTE" and row(same, "not_worse", "safety accuracy").benchmark == "safety"
    lost = judged(champion, with_other(policy(RIGHT, UP), worse))
    assert lost.action == "REJECT" and "safety accuracy" in lost.reason
    tolerated = judged(champion, with_other(policy(RIGHT, UP), worse, margin=0.5), look=LOOK)
    assert row(tolerated, "not_worse", "safety accuracy").threshold == -0.04, "the champion's margin counts"
    gained = judged(with_other(CHAMPION, worse), with_other(policy(RIGHT, SCORE), good))
    assert gained.action != "PROMOTE"
    unscored = judged(champion, with_other(policy(RIGHT, UP), [None] * 40 + good[40:]))
    assert unscored.action == "INCONCLUSIVE" and "safety accuracy" in unscored.reason
    assert judged(champion, policy(RIGHT, UP)).action == "INCONCLUSIVE", "the challenger was not measured on it"


def test_a_graded_figure_never_stands_without_its_grader():
    def graded(values):
        beside = metric("healthbench quality", values, benchmark="healthbench", margin=0.05, grader="graded by a judge")
        return replace(policy(RIGHT, UP), others=(beside,))

    held = judged(replace(CHAMPION, others=graded(SCORE).others), graded(LEVEL))
    assert held.action == "PROMOTE" and held.reason.endswith("; healthbench graded by a judge")
    shown = [r for r in held.rows if r.benchmark == "healthbench" and r.delta is not None]
    assert [r.condition for r in shown] == ["not_worse"] and shown[0].detail.endswith("; graded by a judge")
    assert "graded by" not in "".join(r.detail for r in held.rows if r.benchmark != "healthbench")
    below_0 = judged(replace(CHAMPION, others=graded([-0.2] * 200).others), graded([-0.5] * 200))
    assert below_0.action == "REJECT" and "healthbench quality -0.2000 -> -0.5000" in below_0.reason


def test_promoted_on_accuracy_with_the_other_metrics_level():
    result = judged(CHAMPION, policy(BETTER, LEVEL))
    assert result.action == "PROMOTE"
    assert result.reason.startswith(
        "DPO look 1, alpha 0.0243: accuracy 0.6000 -> 0.6500 (+0.0500, n=300, adjusted p 0.0024)"
    )
    found = row(result, "better", "accuracy")
    assert (found.b, found.c, found.n, found.n_clusters, found.test) == (15, 0, 300, 150, "clustered_bootstrap")
    assert found.p_value > 2**-15, "McNemar's, which the one over groups exceeds"
    assert found.p_adjusted == pytest.approx(2 * found.p_value)
    assert (found.threshold, found.delta) == pytest.approx((0.01, 0.05))
    assert "McNemar's p 0.0000, over groups 0.0012: the larger decides" in found.detail
    assert not row(result, "better", "token_f1").passed
    assert {r.metric for r in result.rows if r.condition == "not_worse" and r.passed} == {
        "accuracy",
        "macro_f1",
        "token_f1",
        "rouge_l",
    }


def test_promoted_on_the_score():
    result = judged(CHAMPION, policy(RIGHT, UP))
    assert result.action == "PROMOTE"
    assert row(result, "better", "token_f1").passed and not row(result, "better", "accuracy").passed


def test_a_sure_gain_that_is_too_small_is_not_enough():
    tiny = [value + 0.004 for value in SCORE]
    result = judged(CHAMPION, policy(RIGHT, tiny))
    found = row(result, "better", "token_f1")
    assert found.p_adjusted <= result.alpha and not found.passed
    assert result.action == "REJECT" and "no gain worth having" in result.reason


def test_a_gain_of_exactly_the_least_worth_having_counts():
    right = [i < 600 for i in range(1000)]
    groups = {"groups": tuple(f"g{i}" for i in range(1000))}
    champion, challenger = policy(right, SCORE), policy([i < 610 for i in range(1000)], SCORE)
    result = judged(*(replace(p, accuracy=replace(p.accuracy, **groups)) for p in (champion, challenger)))
    assert row(result, "better", "accuracy").delta == pytest.approx(0.01)
    assert row(result, "better", "accuracy").passed


def test_the_same_policy_is_rejected_for_want_of_a_gain():
    result = judged(CHAMPION, CHAMPION)
    assert result.action == "REJECT" and "no gain worth having" in result.reason
    assert row(result, "better", "accuracy").p_value == 1.0
    assert row(result, "better", "accuracy").mde is None


def test_rejected_when_worse_even_with_a_gain_elsewhere():
    result = judged(CHAMPION, policy(BETTER, DOWN))
    assert row(result, "better", "accuracy").passed
    assert result.action == "REJECT" and result.reason.split(": ")[1] == "worse"
    worse = row(result, "not_worse", "token_f1")
    assert not worse.passed and worse.ci_low < -0.02 and worse.ci_high < 0


def test_a_loss_shown_but_within_the_margin_is_tolerated():
    slightly = [value - 0.005 for value in SCORE]
    assert judged(CHAMPION, policy(BETTER, slightly)).action == "PROMOTE"


def test_words_that_lost_their_order_are_rejected_whatever_token_f1_says():
    shuffled = judged(CHAMPION, policy(RIGHT, UP, order=[value - 0.3 for value in SCORE]))
    assert row(shuffled, "better", "token_f1").passed
    assert shuffled.action == "REJECT" and ": worse: rouge_l 0." in shuffled.reason
    found = row(shuffled, "not_worse", "rouge_l")
    assert not found.passed and found.ci_high < 0 and found.threshold == -0.05
    assert all(r.passed for r in shuffled.rows if r.condition == "not_worse" and r.metric != "rouge_l"), (
        "nothing else would have seen it"
    )


def test_the_margin_of_word_order_decides_when_nothing_else_does():
    """A loss of 0.03 is more than token F1 may lose, and less than ROUGE-L may."""
    assert judged(CHAMPION, policy(BETTER, LEVEL, order=DOWN)).action == "PROMOTE"
    open_ = judged(CHAMPION, policy(BETTER, LEVEL, order=DOWN), margin_rouge_l=0.031)
    assert open_.action == "REJECT" and not row(open_, "not_worse", "rouge_l").passed


def test_word_order_is_no_way_to_a_promotion():
    result = judged(CHAMPION, policy(RIGHT, SCORE, order=[value + 0.2 for value in SCORE]))
    assert result.action == "REJECT" and {r.metric for r in result.rows if r.condition == "better"} == {
        "accuracy",
        "token_f1",
    }


def with_shuffled(results, order, shuffled):
    return replace(results, order=metric("rouge_l", order), shuffled=metric("rouge_l", shuffled))


def test_answers_whose_order_does_not_matter_are_rejected_whatever_the_champion_was():
    """ROUGE-L is not worse here: the champion's answers are no better ordered."""
    promoted = judged(CHAMPION, with_shuffled(policy(RIGHT, UP), SCORE, [value - 0.01 for value in SCORE]))
    assert promoted.action == "PROMOTE" and row(promoted, "ordered", "rouge_l").passed
    bag = judged(CHAMPION, with_shuffled(policy(RIGHT, UP), SCORE, LEVEL))
    found = row(bag, "ordered", "rouge_l")
    assert row(bag, "not_worse", "rouge_l").passed and row(bag, "better", "token_f1").passed
    assert bag.action == "REJECT" and "the order of its words does not matter: ROUGE-L 0." in bag.reason
    assert not found.passed and found.ci_low <= 0 < found.ci_high and found.champion_mean is None


def with_consistency(results, values, **changes):
    return replace(results, consistency=metric("consistency", values, **changes))


CONSISTENT = [1.0, 1.0, 0.5, 1.0] * 50


def test_denials_are_rejected_whatever_the_score_says():
    champion = with_consistency(CHAMPION, CONSISTENT)
    promoted = judged(champion, with_consistency(policy(RIGHT, UP), CONSISTENT))
    assert promoted.action == "PROMOTE" and row(promoted, "not_worse", "consistency").passed
    assert row(promoted, "not_worse", "consistency").threshold == -FAST.margin_consistency
    denied = judged(champion, with_consistency(policy(RIGHT, UP), [1.0, 0.7, 0.5, 1.0] * 50))
    assert row(denied, "better", "token_f1").passed
    assert denied.action == "REJECT" and ": worse: consistency 0.8750 -> 0.8000" in denied.reason
    lenient = judged(champion, with_consistency(policy(RIGHT, UP), [1.0, 0.7, 0.5, 1.0] * 50), margin_consistency=0.1)
    assert lenient.action == "PROMOTE"


def test_consistency_is_no_way_to_a_promotion():
    result = judged(with_consistency(CHAMPION, CONSISTENT), with_consistency(CHAMPION, [1.0] * 200))
    assert result.action == "REJECT" and "no gain worth having" in result.reason


def test_a_loss_of_consistency_that_is_not_ruled_out_holds_a_gain_up():
    """Where groups are few and differ, the bound is wide: it is drawn by group."""
    noise = np.random.default_rng(2).choice([-0.25, 0.0, 0.25], 200)
    noise = (0.5 + np.repeat(noise[:50], 4) - noise[:50].mean()).tolist()
    groups = {"groups": tuple(f"g{i // 4}" for i in range(200))}
    level = [0.5] * 200
    result = judged(with_consistency(CHAMPION, level, **groups), with_consistency(policy(RIGHT, UP), noise, **groups))
    found = row(result, "not_worse", "consistency")
    assert found.n_clusters == 50 and found.ci_low < -0.03 < 0 < found.ci_high
    assert result.action == "INCONCLUSIVE" and "consistency not shown to be not worse" in result.reason


def test_consistency_of_one_side_alone_compares_nothing():
    for pair in (
        (CHAMPION, with_consistency(policy(RIGHT, UP), CONSISTENT)),
        (with_consistency(CHAMPION, CONSISTENT), policy(RIGHT, UP)),
    ):
        result = judged(*pair)
        assert result.action == "INCONCLUSIVE" and not row(result, "valid", "consistency: both_have_it").passed
    other = with_consistency(policy(RIGHT, UP), CONSISTENT, protocol_hash="other")
    found = judged(with_consistency(CHAMPION, CONSISTENT), other)
    assert not row(found, "valid", "consistency: same_protocol").passed


def test_answers_too_short_for_an_order_pass():
    short = with_shuffled(policy(RIGHT, UP), SCORE, [None] * len(SCORE))
    found = row(judged(CHAMPION, short), "ordered", "rouge_l")
    assert found.passed and "too short" in found.detail and found.delta is None


def test_without_word_order_there_is_no_such_condition():
    champion, challenger = policy(RIGHT, SCORE, order=[]), policy(BETTER, LEVEL, order=[])
    result = judged(champion, challenger)
    assert result.action == "PROMOTE" and not any("rouge_l" in r.metric for r in result.rows)
    for pair in ((CHAMPION, challenger), (champion, policy(BETTER, LEVEL))):
        one_side = judged(*pair)
        assert one_side.action == "INCONCLUSIVE" and not row(one_side, "valid", "rouge_l: both_have_it").passed


def few(gained, lost, n=100):
    """A champion right on the first half; the challenger gains and loses some items."""
    champion = [i < n // 2 for i in range(n)]
    return champion, [ok != (n // 2 <= i < n // 2 + gained or i < lost) for i, ok in enumerate(champion)]


def singly(right):
    """A policy whose accuracy items are groups of their own."""
    made = policy(right, SCORE)
    return replace(made, accuracy=replace(made.accuracy, groups=made.accuracy.item_ids))


def test_inconclusive_says_how_many_items_would_tell():
    champion, challenger = few(9, 3, 300)
    result = judged(singly(champion), singly(challenger), resamples=5000)
    assert result.action == "INCONCLUSIVE"
    low, high = result.items_needed
    assert 300 < low < high and f"between {low:,} and {high:,} items would settle it" in result.reason
    # for the normal approximation: z of the next look's 0.0061 + z(0.2), over 2 points and 1.28 errors more or less
    error = 12**0.5 / 300
    for items, effect in ((low, 0.02 + 1.28 * error), (high, max(0.02 - 1.28 * error, 0.01))):
        assert items == pytest.approx(300 * ((2.507 + 0.8416) * error / effect) ** 2, rel=0.1)


def test_inconclusive_while_a_bound_is_open():
    wide = np.random.default_rng(1).normal(0, 0.3, 200)
    unsure = (np.array(SCORE) + wide - wide.mean()).tolist()
    result = judged(CHAMPION, policy(BETTER, unsure))
    assert result.action == "INCONCLUSIVE"
    assert "token_f1 not shown to be not worse" in result.reason
    assert result.items_needed is None and "these items do not say how many would settle it" in result.reason


def test_no_number_of_items_helps_where_the_loss_seen_is_beyond_the_margin():
    wide = np.random.default_rng(1).normal(0, 0.3, 200)
    unsure = (np.array(SCORE) + wide - wide.mean() - 0.021).tolist()
    result = judged(CHAMPION, policy(BETTER, unsure))
    assert (result.action, result.items_needed) == ("INCONCLUSIVE", None)


def test_no_number_of_items_is_given_without_a_gain():
    champion, challenger = few(2, 3, 300)
    result = judged(policy(champion, SCORE), policy(challenger, LEVEL), gain_score=0.0)
    assert (result.action, result.items_needed) == ("INCONCLUSIVE", None)


def guessed(says):
    """CHAMPION's free text, and labels that are `says(i)` of item i."""
    labels = [says(i) for i in range(300)]
    right = [float(label == TARGETS[i % 5]) for i, label in enumerate(labels)]
    return replace(CHAMPION, accuracy=metric("accuracy", right, labels))


def test_labels_that_are_not_read_do_not_count():
    """More of the commonest label is more accuracy, and no gain; less of it is no loss."""
    always, half = guessed(lambda i: "yes"), guessed(lambda i: "yes" if i % 7 < 4 else "maybe")
    for champion, challenger in ((half, always), (always, half)):
        result = judged(champion, replace(challenger, score=metric("token_f1", UP), order=metric("rouge_l", UP)))
        assert result.action == "PROMOTE" and result.shares == {"token_f1": 1.0}
        assert "accuracy" in result.reason and "does not count: not shown to read" in result.reason
        found = row(result, "not_read", "accuracy")
        means = [np.mean(side.accuracy.values) for side in (champion, challenger)]
        assert found.delta == pytest.approx(means[1] - means[0]) and abs(found.delta) > 0.05 and found.passed
        assert [r.condition for r in result.rows if r.metric == "macro_f1"] == ["not_read"]
    swapped = row(judged(half, always), "not_read", "accuracy"), row(judged(always, half), "not_read", "accuracy")
    assert swapped[0].detail == swapped[1].detail and swapped[0].delta == pytest.approx(-swapped[1].delta)


def test_a_challenger_that_stops_reading_is_rejected():
    result = judged(CHAMPION, replace(guessed(lambda i: "yes"), score=metric("token_f1", UP)))
    assert result.action == "REJECT" and "worse: accuracy" in result.reason


def test_a_challenger_that_turns_every_label_is_rejected():
    """Together the two agree with nothing, but the champion reads."""
    two = [("yes", "no")[i % 2] for i in range(300)]
    turned = {"yes": "no", "no": "yes"}

    def labels(right):
        says = [two[i] if ok else turned[two[i]] for i, ok in enumerate(right)]
        return metric("accuracy", [float(ok) for ok in right], says, targets=tuple(two))

    champion = replace(CHAMPION, accuracy=labels([i % 10 < 9 for i in range(300)]))
    better = policy(RIGHT, UP)
    result = judged(champion, replace(better, accuracy=labels([(i * 7) % 10 < 1 for i in range(300)])))
    assert result.action == "REJECT" and "worse: accuracy" in result.reason


def test_labels_alone_count_whether_read_or_not():
    alone = replace(guessed(lambda i: "yes"), score=None, order=None)
    assert row(judged(alone, alone), "better", "accuracy").delta == 0


def test_a_look_that_inherits_alpha_finds_more_and_says_why():
    champion, challenger = (singly(p) for p in few(7, 0, 200))
    alone, after = (judged(champion, challenger, look=Look("dpo", 2, inherited)) for inherited in (0.0, 0.0243))
    assert (alone.action, after.action) == ("INCONCLUSIVE", "PROMOTE")
    assert (
        after.alpha == pytest.approx(alone.alpha + 0.0243)
        and "(0.0243 of it from the promotion before)" in after.reason
    )
    assert after.evidence["alpha_inherited"] == 0.0243 and alone.evidence["alpha_inherited"] == 0
    assert "inherit" not in alone.reason and "promotion before" not in alone.reason


@pytest.mark.parametrize("inherited", [0.99, 0.9999, 5.0])
def test_alpha_is_a_probability_whatever_was_handed_on(inherited):
    """Settings may give a run more than 1 in all. A gain that would be found has no size at such a level."""
    same = policy([1, 0] * 30, [0.5, 0.6] * 30)
    result = judged(same, policy([1, 0] * 30, [0.6, 0.6] * 30), look=Look("dpo", 1, inherited), alpha_dpo=0.9)
    assert result.alpha == 1.0
    assert all(r.mde is None or math.isfinite(r.mde) for r in result.rows)


def test_the_score_has_the_whole_alpha_where_accuracy_cannot_reach_its_half():
    """A gain in the score with a p-value between half of alpha and alpha, beside 1 and 40 discordant items."""
    noise = np.random.default_rng(0).normal(0, 0.04, 200)
    score = (np.array(SCORE) + noise - noise.mean() + 0.0051).tolist()
    shares = {}
    for won, lost in ((1, 0), (0, 1), (20, 20)):
        champion, challenger = few(won, lost, 400)
        before, after = singly(champion), replace(singly(challenger), score=metric("token_f1", score))
        p = row(judged(before, after), "better", "token_f1").p_value
        result = judged(before, after, look=Look("dpo", 40, 1.5 * p))
        shares[won, lost] = (*result.shares.values(), row(result, "better", "token_f1").passed)
    assert shares == {(1, 0): (0.0, 1.0, True), (0, 1): (0.0, 1.0, True), (20, 20): (0.5, 0.5, False)}


def test_the_larger_of_the_two_p_values_decides_on_accuracy():
    """12 won in a single topic are one draw of luck, however small McNemar's p."""
    champion = [i >= 100 for i in range(400)]
    topics = tuple(f"t{i // 12}" for i in range(400))
    challenger = [ok or i < 12 for i, ok in enumerate(champion)]
    before, after = policy(champion, SCORE), policy(challenger, LEVEL)
    result = judged(*(replace(p, accuracy=replace(p.accuracy, groups=topics)) for p in (before, after)))
    found = row(result, "better", "accuracy")
    assert (found.b, found.c, found.test) == (12, 0, "clustered_bootstrap")
    assert found.p_value > 0.3 and not found.passed and result.shares["accuracy"] == 0
    alone = row(judged(singly(champion), singly(challenger)), "better", "accuracy")
    assert alone.passed and alone.p_value == pytest.approx(2**-12) and alone.test == "mcnemar_exact"


def test_later_looks_ask_for_more():
    champion, challenger = (singly(p) for p in few(7, 0, 200))
    results = [judged(champion, challenger, look=Look("dpo", k)) for k in (1, 2)]
    assert [r.action for r in results] == ["PROMOTE", "INCONCLUSIVE"]
    assert judged(champion, challenger, look=Look("sft", 1)).alpha == 0.01
    with pytest.raises(UsageError):
        judged(CHAMPION, CHAMPION, look=Look("sft", 2))


def test_only_a_red_guard_that_blocks_holds_up_a_promotion():
    challenger = policy(BETTER, LEVEL)
    warn = Checks(guards=(Guard("length", True, False), Guard("distinct2", False, True)))
    assert judged(CHAMPION, challenger, checks=warn).action == "PROMOTE"
    result = judged(CHAMPION, challenger, checks=Checks(guards=(Guard("kl", True, True, "0.3 > 0.1"),)))
    assert result.action == "INCONCLUSIVE" and "held up by kl" in result.reason and result.items_needed is None
    assert not row(result, "guard", "kl").passed


def test_a_failed_check_holds_up_even_a_clear_gain():
    checks = Checks(valid=(Check("leaks", False, "3 items"), Check("exam", True)))
    result = judged(CHAMPION, policy(BETTER, LEVEL), checks=checks)
    assert result.action == "INCONCLUSIVE" and "not valid: leaks (3 items)" in result.reason
    assert row(result, "better", "accuracy").passed


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"protocol_hash": "other"}, "accuracy: same_protocol"),
        ({"protocol_hash": ""}, "accuracy: same_protocol"),
        ({"data_sha256": "other"}, "accuracy: same_data"),
        ({"item_ids": tuple(f"other{i}" for i in range(300))}, "accuracy: same_items"),
        ({"targets": ("yes",) * 300}, "accuracy: same_items"),
        ({"groups": ("g",) * 300}, "accuracy: same_items"),
    ],
)
def test_results_of_different_things_are_not_compared(change, failed):
    challenger = policy(BETTER, LEVEL)
    challenger = replace(challenger, accuracy=replace(challenger.accuracy, **change))
    result = judged(CHAMPION, challenger)
    assert result.action == "INCONCLUSIVE" and not row(result, "valid", failed).passed
    assert {r.condition for r in result.rows} == {"valid"}


def test_items_are_aligned_by_id():
    challenger = policy(BETTER, LEVEL)
    order = np.random.default_rng(0).permutation(300)
    columns = ("item_ids", "values", "predictions", "targets", "groups", "statuses")
    shuffled = {c: tuple(getattr(challenger.accuracy, c)[i] for i in order) for c in columns}
    moved = replace(challenger, accuracy=replace(challenger.accuracy, **shuffled))
    assert judged(CHAMPION, moved) == judged(CHAMPION, challenger)


@pytest.mark.parametrize(("missing", "action"), [(4, "PROMOTE"), (5, "INCONCLUSIVE")])
def test_two_percent_may_be_unscored_and_they_are_left_out(missing, action):
    scores = [None] * missing + UP[missing:]
    result = judged(CHAMPION, policy(RIGHT, scores))
    assert result.action == action
    assert row(result, "better", "token_f1").n == 200 - missing
    assert row(result, "valid", "token_f1: challenger_unscored").passed == (missing == 4)


def test_unparsed_answers_that_count_as_wrong_still_count_as_unparsed():
    challenger = policy(BETTER, LEVEL)
    statuses = ("unparsed",) * 7 + ("scored",) * 293
    result = judged(CHAMPION, replace(challenger, accuracy=replace(challenger.accuracy, statuses=statuses)))
    assert result.action == "INCONCLUSIVE" and "7 of 300 items of the challenger" in result.reason
    assert row(result, "better", "accuracy").n == 300


def test_no_items_and_one_group_are_not_valid():
    assert judged(policy([], []), policy([], [])).action == "INCONCLUSIVE"
    one = replace(CHAMPION, score=replace(CHAMPION.score, groups=("g",) * 200))
    assert "under two groups" in judged(one, one).reason


def test_malformed_results_are_refused():
    with pytest.raises(RlaifError, match="no item twice"):
        metric("quality", [0.5, 0.6], item_ids=("a", "a"))
    with pytest.raises(RlaifError, match="no item twice"):
        metric("quality", [0.5, 0.6], groups=("a",))
    with pytest.raises(RlaifError, match="not finite"):
        metric("quality", [math.nan])


def test_metric_results_from_evaluation_rows():
    items = [
        EvalItem("p", "medquad", "gate", i, "token_f1", "a", "b", v, "scored", "", "", "h", "d")
        for i, v in (("x", 0.5), ("y", None))
    ]
    results = MetricResults.of(items, {"x": "g1", "y": "g2"})
    assert (results.item_ids, results.values, results.groups) == (("x", "y"), (0.5, None), ("g1", "g2"))
    assert (results.metric, results.protocol_hash, results.data_sha256) == ("token_f1", "h", "d")
    with pytest.raises(RlaifError, match="item y has no group"):
        MetricResults.of(items, {"x": "g1"})
    with pytest.raises(RlaifError, match="got 2"):
        MetricResults.of([items[0], replace(items[1], protocol_hash="other")], {"x": "g", "y": "g"})


def test_rows_have_the_columns_of_the_contract_and_plain_values():
    columns = """condition benchmark metric test n n_clusters b c champion_mean challenger_mean delta ci_low ci_high
    p_value p_adjusted alpha threshold mde passed detail"""
    assert {f.name for f in fields(GateRow)} == set(columns.split())
    result = judged(CHAMPION, policy(BETTER, UP), checks=Checks((Check("exam", True),), (Guard("kl", False, True),)))
    for found in result.rows:
        for value in asdict(found).values():
            assert value is None or type(value) in (str, bool, int, float)
            assert not isinstance(value, float) or math.isfinite(value)
    assert type(result.alpha) is float and "\n" not in result.reason


flips = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=20, max_size=60)


@settings(max_examples=25)
@given(flips, st.floats(-0.1, 0.1), st.integers(0, 99))
def test_a_promotion_never_goes_both_ways(rights, shift, seed):
    rng = np.random.default_rng(seed)
    before = rng.random(40)
    after = before + shift + rng.normal(0, 0.02, 40)
    a = policy([x for x, _ in rights], before.tolist())
    b = policy([y for _, y in rights], after.tolist())
    there, back = judged(a, b), judged(b, a)
    assert "PROMOTE" not in (there.action, back.action) or there.action != back.action
    tests = [
        [r for r in result.rows if r.condition in ("better", "not_read") and r.metric != "macro_f1"]
        for result in (there, back)
    ]
    assert [r.metric for r in tests[0]] == [r.metric for r in tests[1]]
    for one, other in zip(*tests, strict=True):
        assert not (one.condition == "better" and one.passed and other.passed)
        assert one.delta == pytest.approx(-other.delta, abs=1e-12)
        if one.condition == other.condition:  # not so where one of the two reads: its labels count where it is champion
            assert (one.b, one.c) == (other.c, other.b)


def test_the_same_seed_gives_the_same_result():
    assert judged(CHAMPION, policy(BETTER, UP)) == judged(CHAMPION, policy(BETTER, UP))


FREE_TEXT = replace(CHAMPION, accuracy=None)
LABELS_ALONE = replace(CHAMPION, score=None, order=None)
SWAPPED = [ok ^ (i % 30 in (0, 7)) for i, ok in enumerate(RIGHT)]  # 10 won, 10 lost: accuracy has its half of alpha


def test_free_text_alone_has_all_of_alpha_and_no_row_about_labels():
    both = judged(CHAMPION, policy(SWAPPED, UP))
    alone = judged(FREE_TEXT, replace(policy(SWAPPED, UP), accuracy=None))
    assert alone.shares == {"token_f1": 1.0} and both.shares == {"accuracy": 0.5, "token_f1": 0.5}
    assert alone.action == "PROMOTE" and "accuracy" not in alone.reason
    found, shared = row(alone, "better", "token_f1"), row(both, "better", "token_f1")
    assert found.p_adjusted == found.p_value == shared.p_value
    assert shared.p_adjusted == pytest.approx(2 * shared.p_value)
    assert found.mde < shared.mde, "more is seen where no other test takes its share"
    assert {r.metric for r in alone.rows if r.condition != "valid"} == {"token_f1", "rouge_l"}


def test_labels_alone_have_all_of_alpha_and_no_row_about_free_text():
    alone = judged(LABELS_ALONE, replace(policy(BETTER, LEVEL), score=None, order=None))
    found, shared = row(alone, "better", "accuracy"), row(judged(CHAMPION, policy(BETTER, LEVEL)), "better", "accuracy")
    assert alone.action == "PROMOTE" and alone.shares == {"accuracy": 1.0}
    assert found.p_adjusted == found.p_value == shared.p_value == pytest.approx(shared.p_adjusted / 2)
    assert found.mde < shared.mde and "there is no other test" in found.detail
    assert {r.metric for r in alone.rows if r.condition != "valid"} == {"accuracy", "macro_f1"}
    level = judged(LABELS_ALONE, LABELS_ALONE)
    assert level.action == "REJECT" and "no gain worth having" in level.reason


def test_what_would_settle_free_text_alone_needs_fewer_items_than_with_labels_beside_it():
    slightly = (np.array(SCORE) + 0.0005 + NOISE - NOISE.mean()).tolist()
    alone = judged(FREE_TEXT, replace(policy(RIGHT, slightly), accuracy=None), gain_score=0.003)
    both = judged(CHAMPION, policy(SWAPPED, slightly), gain_score=0.003)
    assert alone.action == both.action == "INCONCLUSIVE"
    assert alone.items_needed < both.items_needed


@pytest.mark.parametrize("champion, challenger, why", [
    (CHAMPION, FREE_TEXT, "accuracy: both_have_it"),
    (LABELS_ALONE, CHAMPION, "token_f1: both_have_it"),
    (replace(LABELS_ALONE, accuracy=None), replace(LABELS_ALONE, accuracy=None), "neither labels nor free text"),
])  # fmt: skip
def test_two_policies_without_a_benchmark_in_common_are_not_compared(champion, challenger, why):
    result = judged(champion, challenger)
    assert result.action == "INCONCLUSIVE" and why in result.reason


def judged_text(values, says, name):
    ids = tuple(f"q{i}" for i in range(len(values)))
    groups = tuple(f"g{i // 4}" for i in range(len(values)))
    score = MetricResults("medquad", "quality", ids, tuple(values), tuple(says), ("",) * len(ids), groups,
                          ("scored",) * len(ids), "h", "d")  # fmt: skip
    return PolicyResults(name, None, score)


def test_labels_overrule_a_judge_that_is_deceived_and_support_one_that_is_blind():
    rng = np.random.default_rng(3)
    before, answers = rng.uniform(0.4, 0.5, 240), [f"answer {i}" for i in range(240)]
    other = [a if i % 3 == 0 else f"{a}, better" for i, a in enumerate(answers)]
    differ = np.arange(240) % 3 > 0
    noise = rng.normal(0, 0.03, 240) * differ
    asked = sorted(f"q{i}" for i in np.flatnonzero(differ))[:100]
    champion = judged_text(before, answers, "champ")
    fooled, blind = (judged_text(before + gain * differ + noise, other, "chall") for gain in (0.1, 0.0))
    worse = {item: (0.67, 0.67 - (k % 2) / 3) for k, item in enumerate(asked)}
    better = {item: (0.33, 0.33 + (k % 2) / 3) for k, item in enumerate(asked)}
    alone, overruled = judged(champion, fooled), judged(champion, fooled, labels=worse)
    assert (alone.action, overruled.action) == ("PROMOTE", "REJECT")
    found = row(overruled, "better", "quality")
    assert found.test == "ppi_clustered_bootstrap" and found.delta == pytest.approx(-1 / 9, abs=0.02)
    assert "corrected by 100 labels (PPI++, lambda" in found.detail and "the labels alone say" in found.detail
    beside = row(overruled, "judge_alone", "quality")
    assert beside.delta == row(alone, "better", "quality").delta and beside.passed
    found = judged(champion, blind).action, judged(champion, blind, labels=better).action
    assert found == ("REJECT", "PROMOTE")


def test_too_few_labels_decide_nothing():
    before, answers = np.linspace(0.4, 0.6, 120), [f"answer {i}" for i in range(120)]
    champion = judged_text(before, answers, "champ")
    challenger = judged_text(before + 0.1, [f"{a}, better" for a in answers], "chall")
    few = judged(champion, challenger, labels={f"q{i}": (0.0, 1.0) for i in range(29)})
    assert few.action == "INCONCLUSIVE" and "29 labels on 120 items" in few.reason
