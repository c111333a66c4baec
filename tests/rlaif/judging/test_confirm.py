"""Narrow pairs shown to the pairwise judge."""

import pytest

from judges.pairwise import PairwiseJudge, PairwiseStopped
from judges.settings import Budget, JudgeSettings
from rlaif.judging.confirm import confirm
from rlaif.prompts import load_judge_prompt
from rlaif.types import JudgeItem, Preference
from stores.cache import AnswerCache

PROMPT = load_judge_prompt("prompts/judge/pairwise.md")
ITEMS = {name: JudgeItem(name, "Why?", f"answer-{name}") for name in "abcdef"}
PAIRS = [
    Preference("p1", 1, "q1", "j1", "kept", "", "a", "b", 0.9, 0.2, 0.12),
    Preference("p2", 1, "q2", "j1", "kept", "", "c", "d", 0.7, 0.3, 0.11),
    Preference("p3", 1, "q3", "j1", "kept", "", "e", "f", 0.7, 0.3, 0.11),
]


def reply(prompt):
    """a beats b, d beats c, and of e and f the first one shown."""
    first = next(n for n in prompt.split("answer-")[1:])[0]
    winner = {"a": "A", "b": "B", "c": "B", "d": "A"}.get(first, "A")
    return f'{{"rationale": "r", "winner": "{winner}"}}'


def judge(judged_run, chat, **changes):
    settings = JudgeSettings(prompt=PROMPT, **{"backoff": 0, "retries": 0, "concurrency": 1} | changes)
    return PairwiseJudge("fake", settings, AnswerCache(judged_run.store), chat_model=chat)


def test_what_both_orders_confirm_stays(judged_run, fake_chat_model):
    chat = fake_chat_model(reply)
    fallen = confirm(judged_run, judge(judged_run, chat), PAIRS, ITEMS)
    assert fallen == {
        "p2": "the rejected answer wins in both orders, margin 0.11",
        "p3": "the winner turns with the order, margin 0.11",
    }
    rows = judged_run.store.query(
        'SELECT candidate_a, candidate_b, "order", winner, status FROM pairwise_verdicts ORDER BY ALL'
    )
    assert [tuple(r.values()) for r in rows][:2] == [("a", "b", "ab", "a", "scored"), ("a", "b", "ba", "a", "scored")]
    assert len(rows) == len(chat.prompts) == 6
    assert confirm(judged_run, judge(judged_run, chat), PAIRS, ITEMS) == fallen and len(chat.prompts) == 6


def test_a_tie_and_no_winner_drop_the_pair(judged_run, fake_chat_model):
    replies = ['{"rationale": "", "winner": "tie"}'] * 2 + ["what?"]
    fallen = confirm(judged_run, judge(judged_run, fake_chat_model(replies)), PAIRS[:2], ITEMS)
    assert fallen["p1"] == "a tie, margin 0.12" and fallen["p2"].startswith("no winner, unparsed: ")


def test_a_stop_keeps_what_was_answered_and_goes_on_later(judged_run, fake_chat_model):
    with pytest.raises(PairwiseStopped, match="budget"):
        confirm(judged_run, judge(judged_run, fake_chat_model(reply), budget=Budget(calls=3)), PAIRS, ITEMS)
    assert len(judged_run.store.query("SELECT * FROM pairwise_verdicts")) == 2
    chat = fake_chat_model(reply)
    assert set(confirm(judged_run, judge(judged_run, chat), PAIRS, ITEMS)) == {"p2", "p3"}
    assert len(chat.prompts) == 3  # the third answer was in the cache
