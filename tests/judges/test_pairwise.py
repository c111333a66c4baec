import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.pairwise import PairwiseJudge, PairwiseStopped, PairwiseVerdict, outcome
from judges.settings import Budget, JudgeSettings
from rlaif.prompts import load_judge_prompt
from rlaif.types import JudgeItem, RlaifError, UsageError

PROMPT = load_judge_prompt("prompts/judge/pairwise.md")
GOOD, BAD, OTHER = (
    JudgeItem(name, "What helps?", text)
    for name, text in (("g", "rest and water"), ("b", "poison"), ("o", "who knows"))
)


def settings(**changes):
    return JudgeSettings(prompt=PROMPT, **{"backoff": 0, "retries": 1, "concurrency": 2} | changes)


def says(winner):
    return f'{{"rationale": "because", "winner": "{winner}"}}'


def prefers_rest(prompt):
    shown = prompt.index("rest and water"), prompt.index("poison")
    return says("A" if shown[0] < shown[1] else "B")


def ab(winner, order="ab", status="scored", judge_id="j"):
    return PairwiseVerdict(judge_id, "g", "b", order, winner, status, "" if winner else "why")


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [("a", "a", "a"), ("b", "b", "b"), ("a", "b", "tie"), ("a", "tie", "tie"), ("tie", "tie", "tie")],
)
def test_a_win_needs_both_orders(first, second, together):
    one, two = ab(first), ab(second, "ba")
    assert outcome(one, two) == outcome(two, one) == together
    assert outcome(one.swap(), two) == {"a": "b", "b": "a", "tie": "tie"}[together]


def test_without_a_winner_there_is_no_outcome():
    assert outcome(ab("a"), ab(None, "ba", "failed")) is None
    for wrong in (ab("a"), ab("a", "ba", judge_id="k"), PairwiseVerdict("j", "g", "x", "ba", "a", "scored")):
        with pytest.raises(RlaifError, match="not one pair"):
            outcome(ab("a"), wrong)


@given(st.sampled_from(["a", "b", "tie", None]), st.sampled_from(["ab", "ba"]))
def test_swap_twice_is_the_identity_and_a_tie_stays_a_tie(winner, order):
    verdict = ab(winner, order, "scored" if winner else "failed")
    assert verdict.swap().swap() == verdict and verdict.swap() != verdict
    assert (verdict.swap().winner == winner) == (winner in ("tie", None))


def test_the_better_answer_wins_wherever_it_stands(fake_chat_model):
    chat = fake_chat_model(prefers_rest)
    judge = PairwiseJudge("fake", settings(), chat_model=chat)
    verdicts = judge.compare([(BAD, GOOD), (GOOD, BAD)])
    assert [(v.candidate_a, v.order, v.winner, v.status) for v in verdicts] == [
        ("b", "ab", "b", "scored"), ("b", "ba", "b", "scored"), ("g", "ab", "a", "scored"), ("g", "ba", "a", "scored"),
    ]  # fmt: skip
    assert len(chat.prompts) == 2  # (b, g) in one order is (g, b) in the other


def test_a_judge_that_likes_the_first_place_says_nothing(fake_chat_model):
    one, two = PairwiseJudge("fake", settings(), chat_model=fake_chat_model([says("A")])).compare([(GOOD, BAD)])
    assert (one.winner, two.winner, outcome(one, two)) == ("a", "b", "tie")


def test_a_failure_has_no_winner_and_a_dead_endpoint_keeps_what_was_answered(fake_chat_model):
    one, two = PairwiseJudge("fake", settings(), chat_model=fake_chat_model(["no idea"])).compare([(GOOD, BAD)])
    assert {(v.winner, v.status) for v in (one, two)} == {(None, "unparsed")} and one.reason
    judge = PairwiseJudge(
        "fake", settings(budget=Budget(calls=2), concurrency=1), chat_model=fake_chat_model([says("tie")])
    )
    with pytest.raises(PairwiseStopped, match="budget") as stopped:
        judge.compare([(GOOD, BAD), (GOOD, OTHER)])
    assert [(v.candidate_b, v.winner) for v in stopped.value.verdicts] == [("b", "tie"), ("b", "tie")]


def test_only_a_pairwise_prompt():
    with pytest.raises(UsageError, match="mode: pairwise.*default"):
        PairwiseJudge("fake", JudgeSettings(prompt=load_judge_prompt("prompts/judge/default.md")), chat_model=object())
