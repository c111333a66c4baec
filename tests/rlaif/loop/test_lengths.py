"""Lengths balanced by another pair of the question, before any question is dropped."""

from rlaif.config import PairsConfig
from rlaif.loop.lengths import balance_lengths
from rlaif.types import Preference


def pair(question, chosen, rejected, margin):
    name = f"{question}-{chosen}-{rejected}"
    return Preference(name, 1, question, "j", "kept", "", chosen, rejected, 0.5 + margin, 0.5, margin)


# Candidates by length: l has 25 tokens, m 20, n 20, s 15.
LENGTHS = {"l": 25, "m": 20, "n": 20, "s": 15}


def longer(number, start=0):
    return [pair(f"q{q:02}", "l", "m", 0.2 + q / 1000) for q in range(start, start + number)]


def balanced(pairs, others, **changes):
    def offer(question_id, fits):
        return (p for p in others if p.question_id == question_id and fits(p.chosen_id, p.rejected_id))

    return balance_lengths(pairs, LENGTHS, PairsConfig(length_min_pairs=10, **changes), offer)


def counts(pairs):
    return [sum(p.status == "kept" for p in pairs), sum(p.reason.startswith("fallback: length_balance") for p in pairs)]


def test_questions_are_exchanged_rather_than_dropped_and_no_more_than_needed():
    pairs = longer(10)
    others = [pair(f"q{q:02}", "s", "m", 0.15) for q in range(10)]
    assert counts(balance_lengths(pairs, LENGTHS, PairsConfig(length_min_pairs=10))) == [
        0,
        0,
    ]  # nothing to tell it from
    found = balanced(pairs, others)
    assert counts(found) == [10, 4]  # 6 of 10 are longer
    # those that lose least margin: q00 loses 0.05, q09 0.059
    exchanged = [p for p in found if p.reason]
    assert [p.question_id for p in exchanged] == ["q00", "q01", "q02", "q03"]
    assert exchanged[0].chosen_id == "s" and exchanged[0].pair_id == "q00-s-m"
    assert exchanged[0].reason == ("fallback: length_balance: chosen is longer in 100% of 10 pairs, at most 60% wanted")


def test_an_answer_of_equal_length_counts_half_and_a_question_without_another_pair_is_dropped():
    equal = [pair(f"q{q:02}", "n", "m", 0.15) for q in range(4)]
    found = balanced(longer(10), equal)
    # four halves: 8 of 10; each drop takes one of the longer ones: 3 of 5
    assert counts(found) == [5, 4]
    assert all(p.reason.startswith("length_balance") for p in found if p.status == "dropped")


def test_no_exchange_makes_too_many_of_the_other_side():
    pairs = [*longer(5), *(pair(f"q{q:02}", "s", "m", 0.2) for q in range(5, 9)), pair("q09", "n", "m", 0.2)]
    others = [pair(f"q{q:02}", "s", "m", 0.15) for q in range(5)]
    # 5.5 of 10 are longer; an exchange would leave 4.5, and dropping one leaves 4.5 of 9
    assert counts(balanced(pairs, others, length_tolerance=0.0)) == [9, 0]


def test_the_other_way_round_and_a_pair_that_there_is_already():
    shorter = [pair(f"q{q:02}", "s", "m", 0.2) for q in range(10)]
    others = [pair(f"q{q:02}", "l", "m", 0.1) for q in range(10)]
    assert counts(balanced(shorter, others)) == [10, 4]
    there = [*shorter, pair("q00", "l", "m", 0.1)]
    found = balanced(there, others[:1], length_tolerance=0.4)
    assert [p.pair_id for p in found].count("q00-l-m") == 1


def test_what_is_balanced_already_stays():
    pairs = [*longer(6), *(pair(f"q{q:02}", "s", "m", 0.2) for q in range(6, 10))]
    assert balanced(pairs, []) == pairs


def test_a_few_long_rejected_answers_outweigh_many_pairs_of_the_other_side():
    lengths = LENGTHS | {"x": 100}
    pairs = [*longer(8), *(pair(f"q{q:02}", "m", "x", 0.1 + q / 1000) for q in range(8, 12))]
    pairs += [pair(f"q{q:02}", "s", "m", 0.2) for q in range(12, 18)]
    settings = PairsConfig(length_min_pairs=10)
    assert balance_lengths(pairs, lengths, settings) == pairs, "8 of 18 are longer, which is in bounds"
    found = balance_lengths(pairs, lengths, settings.model_copy(update={"length_drift": 0.02}))
    # 370 tokens over 680. Without the four it is 290 over 280: more, but on the other side, which has its turn no more.
    dropped = [p for p in found if p.status == "dropped"]
    assert [p.question_id for p in dropped] == ["q08", "q09", "q10", "q11"]
    assert {p.reason for p in dropped} == {
        "length_balance: chosen answers are 45.6% shorter in all 18 pairs, at most 2.0% wanted"
    }


def test_drift_drops_first_where_a_token_costs_least_margin_and_no_further_than_needed():
    lengths = {"c": 50, "far": 90, "up": 70, "high": 90}
    pairs = [pair(f"f{n}", "c", "far", 0.2) for n in range(6)]
    pairs += [pair(f"u{n}", "up", "c", 0.1) for n in range(5)]  # 0.005 per token
    pairs += [pair(f"h{n}", "high", "c", 0.15) for n in range(4)]  # 0.00375 per token, though the margin is wider
    settings = PairsConfig(length_min_pairs=10, length_drift=0.0)
    # 260 tokens more beside 240 fewer: one pair is enough
    found = balance_lengths(pairs, lengths, settings)
    assert [p.question_id for p in found if p.status == "dropped"] == ["h0"]
    loose = settings.model_copy(update={"length_drift": 0.03})
    assert balance_lengths(pairs, lengths, loose) == pairs, "20 of 990 tokens"


def test_drift_is_exchanged_for_another_pair_of_the_question_too():
    lengths = {"c": 50, "long": 80, "even": 50}
    pairs = [pair(f"q{q:02}", "c", "long", 0.2 + q / 1000) for q in range(5)]
    pairs += [pair(f"p{q:02}", "long", "c", 0.2) for q in range(3)] + [
        pair(f"r{q}", "c", "even", 0.2) for q in range(2)
    ]
    others = [pair(f"q{q:02}", "c", "even", 0.15) for q in range(5)]

    def offer(question_id, fits):
        return (p for p in others if p.question_id == question_id and fits(p.chosen_id, p.rejected_id))

    settings = PairsConfig(length_min_pairs=10, length_drift=0.0)
    found = balance_lengths(pairs, lengths, settings, offer)
    assert counts(found) == [10, 2], "two of five: 150 tokens too few are 90 then, as many as on the other side"
