from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from judges.llm import LangChainJudge
from judges.settings import Budget, JudgeSettings, JudgeStopped
from rlaif.prompts import load_judge_prompt
from rlaif.types import JudgeItem, UsageError
from stores.cache import Answer, Usage

FAST = JudgeSettings(backoff=0.001, concurrency=1)
ITEM = JudgeItem(
    "c1", "What helps against gout?", "Rest and ice.", "Rest, ice and tablets.", key_points=("rest", "ice")
)


def item(name: str, answer: str = "", **more: Any) -> JudgeItem:
    return JudgeItem(name, "What helps against gout?", answer or f"answer {name}", "Rest.", **more)


class DictCache:
    """A cache in memory, as stores.cache.AnswerCache keeps one in the database."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.total = Usage()

    def get(self, keys: Any) -> dict[str, Answer]:
        return {key: self.answers[key] for key in keys if key in self.answers}

    def put(self, answers: Any, used: Usage, judge_id: str) -> None:
        self.answers |= {answer.key: answer for answer in answers}
        self.total += used

    def used(self) -> Usage:
        return self.total

    def seconds_per_call(self, judge_id: str) -> float | None:
        return 0.5 if self.answers else None


Make = Callable[..., Any]


def test_a_verdict_from_a_clean_answer(fake_chat_model: Make, verdict: Make) -> None:
    message = AIMessage(
        verdict(4, 3, 5), usage_metadata={"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    )
    settings = JudgeSettings(price_in=1.0, price_out=10.0)
    judge = LangChainJudge("fake", settings, chat_model=fake_chat_model([message]))
    (got,) = judge.score([ITEM])
    assert (got.status, got.score, got.factual_accuracy, got.completeness, got.key_point_coverage) == (
        "scored",
        0.75,
        0.75,
        0.5,
        1.0,
    )
    assert (got.candidate_id, got.judge_id, got.rationale, got.attempts) == (
        "c1",
        judge.identity.judge_id,
        "because",
        1,
    )
    assert (got.tokens_in, got.tokens_out, round(got.cost, 9)) == (100, 20, 0.0003)


def test_order_and_duplicates(fake_chat_model: Make, verdict: Make) -> None:
    chat = fake_chat_model(lambda prompt: verdict(5 if "ice" in prompt.split("<answer")[1] else 1))
    items = [item(str(i), "ice" if i % 2 else "fire") for i in range(20)]
    verdicts = LangChainJudge("fake", JudgeSettings(concurrency=4), chat_model=chat).score(items)
    assert [(v.candidate_id, v.score) for v in verdicts] == [(str(i), float(i % 2)) for i in range(20)]
    assert len(chat.prompts) == 2
    again = LangChainJudge("fake", FAST, chat_model=chat).score([item("a", "ice"), item("a", "ice", replicate=1)])
    assert len(chat.prompts) == 4 and [v.replicate for v in again] == [0, 1]


def test_one_repair_prompt_that_says_what_was_wrong(fake_chat_model: Make, verdict: Make) -> None:
    chat = fake_chat_model([verdict(7), verdict(4)])
    (got,) = LangChainJudge("fake", FAST, chat_model=chat).score([ITEM])
    assert (got.status, got.score, got.attempts) == ("scored", 0.75, 2)
    assert (
        "'factual_accuracy' is 7, outside 1 to 5" in chat.prompts[1] and verdict(7) in got.raw and verdict(4) in got.raw
    )


def test_then_names_and_numbers_then_unparsed(fake_chat_model: Make) -> None:
    loose = "Factual accuracy: 4\nCompleteness: 3\nKey point coverage: 5"
    (got,) = LangChainJudge("fake", FAST, chat_model=fake_chat_model(["Good.", loose])).score([ITEM])
    assert (got.status, got.score) == ("scored", 0.75)
    chat = fake_chat_model(["Good.", "Very good."])
    (got,) = LangChainJudge("fake", FAST, chat_model=chat).score([ITEM])
    assert (got.status, got.score, got.factual_accuracy, len(chat.prompts)) == ("unparsed", None, None, 2)
    assert "no JSON object" in got.reason and "Very good." in got.raw
    two = loose.replace("4", "2")
    (got,) = LangChainJudge("fake", FAST, chat_model=fake_chat_model([loose, two])).score([ITEM])
    assert got.status == "unparsed"  # the two texts disagree


def test_usage_counts_when_nothing_could_be_parsed(fake_chat_model: Make) -> None:
    message = AIMessage("Good.", usage_metadata={"input_tokens": 100, "output_tokens": 20, "total_tokens": 120})
    (got,) = LangChainJudge("fake", FAST, chat_model=fake_chat_model([message])).score([ITEM])
    assert (got.status, got.tokens_in, got.tokens_out) == ("unparsed", 200, 40)


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("", additional_kwargs={"refusal": "I do not judge."}),
        AIMessage("", response_metadata={"finish_reason": "content_filter"}),
        "I'm sorry, but I cannot assess medical advice.",
    ],
)
def test_a_refusal_is_no_score(fake_chat_model: Make, reply: Any) -> None:
    (got,) = LangChainJudge("fake", FAST, chat_model=fake_chat_model([reply])).score([ITEM])
    assert (got.status, got.score) == ("refused", None) and "the model refused" in got.reason


def test_errors_and_empty_text_are_tried_again(fake_chat_model: Make, verdict: Make) -> None:
    chat = fake_chat_model([TimeoutError("slow"), "", ConnectionError("reset"), verdict(5)])
    (got,) = LangChainJudge("fake", FAST, chat_model=chat).score([ITEM])
    assert (got.status, got.score, got.attempts) == ("scored", 1.0, 4)


def test_what_never_answers_is_failed_with_a_reason(fake_chat_model: Make, verdict: Make) -> None:
    chat = fake_chat_model(lambda prompt: TimeoutError("too slow") if "answer bad" in prompt else verdict(5))
    verdicts = LangChainJudge("fake", FAST, chat_model=chat).score([item("1"), item("bad"), item("2")])
    assert [(v.status, v.score) for v in verdicts] == [("scored", 1.0), ("failed", None), ("scored", 1.0)]
    assert "TimeoutError: too slow" in verdicts[1].reason and verdicts[1].attempts == 5


def test_a_dead_endpoint_stops_the_judging_early(fake_chat_model: Make) -> None:
    chat = fake_chat_model([TimeoutError("too slow")])
    with pytest.raises(
        JudgeStopped, match="no answer from the judge at .*too slow.*run the same command again"
    ) as caught:
        LangChainJudge("fake", FAST, chat_model=chat).score([item(str(i)) for i in range(1000)])
    assert len(chat.prompts) == 3 * 5 and "\n" not in str(caught.value)
    assert [v.status for v in caught.value.verdicts] == ["failed"] * 3


def test_a_refused_key_is_not_tried_a_thousand_times(fake_chat_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class AuthenticationError(Exception):
        status_code = 401

    monkeypatch.setenv("OPENAI_API_KEY", "a-very-secret-thing")
    chat = fake_chat_model([AuthenticationError("wrong key a-very-secret-thing, Bearer sk-abcdef123456")])
    with pytest.raises(JudgeStopped, match="check judge.model, judge.base_url and the key") as caught:
        LangChainJudge("fake", FAST, chat_model=chat).score([item(str(i)) for i in range(100)])
    assert len(chat.prompts) == 1
    assert "secret-thing" not in str(caught.value) and "abcdef" not in str(caught.value.verdicts)


def test_the_cache_answers_what_was_asked_before(fake_chat_model: Make, verdict: Make) -> None:
    cache, items = DictCache(), [item("1"), item("2")]
    first = LangChainJudge("fake", FAST, cache, chat_model=fake_chat_model([verdict(4), "Good.", verdict(2)])).score(
        items
    )
    dead = fake_chat_model([ConnectionError("nobody should ask")])
    again = LangChainJudge("fake", FAST, cache, chat_model=dead).score([*items, item("3", "answer 1")])
    assert again[:2] == first and (again[2].candidate_id, again[2].score) == ("3", again[0].score)
    assert dead.prompts == []


@pytest.mark.parametrize(("budget", "key"), [(Budget(calls=3), "max_calls"), (Budget(tokens=2500), "max_tokens")])
def test_a_budget_stops_cleanly_and_goes_on_later(
    fake_chat_model: Make, verdict: Make, budget: Budget, key: str
) -> None:
    message = AIMessage(verdict(4), usage_metadata={"input_tokens": 500, "output_tokens": 50, "total_tokens": 550})
    cache, items, chat = DictCache(), [item(str(i)) for i in range(6)], fake_chat_model([message])
    with pytest.raises(JudgeStopped, match=f"budget is used up.*judge.{key}.*without asking anything twice") as caught:
        LangChainJudge("fake", JudgeSettings(concurrency=2, budget=budget), cache, chat_model=chat).score(items)
    asked = len(chat.prompts)
    assert asked == len(caught.value.verdicts) == cache.total.calls and 0 < asked < 6
    assert not budget.tokens or cache.total.tokens <= budget.tokens
    verdicts = LangChainJudge("fake", FAST, cache, chat_model=chat).score(items)
    assert [v.status for v in verdicts] == ["scored"] * 6 and len(chat.prompts) == len(set(chat.prompts)) == 6


def test_a_limit_on_cost_needs_prices_and_counts_earlier_sessions(fake_chat_model: Make, verdict: Make) -> None:
    with pytest.raises(UsageError, match="judge.price_in"):
        LangChainJudge("fake", JudgeSettings(budget=Budget(cost=1.0)), chat_model=fake_chat_model([verdict(1)]))
    cache, chat = DictCache(), fake_chat_model([verdict(1)])
    cache.total = Usage(10, 0, 0, 0.999)
    settings = JudgeSettings(budget=Budget(cost=1.0), price_in=1.0, price_out=100.0)
    with pytest.raises(JudgeStopped, match="judge.max_cost = 1"):
        LangChainJudge("fake", settings, cache, chat_model=chat).score([ITEM])
    assert chat.prompts == []


def test_tool_calls_are_structured_output(fake_chat_model: Make) -> None:
    args = {"factual_accuracy": 5, "completeness": 5, "key_point_coverage": 5}
    one = AIMessage("", tool_calls=[{"name": "verdict", "args": args, "id": "1"}])
    (got,) = LangChainJudge("fake", FAST, chat_model=fake_chat_model([one])).score([ITEM])
    assert got.score == 1.0
    calls = [{"name": "verdict", "args": args | {"completeness": n}, "id": str(n)} for n in (1, 5)]
    (got,) = LangChainJudge("fake", FAST, chat_model=fake_chat_model([AIMessage("", tool_calls=calls)])).score([ITEM])
    assert got.status == "unparsed"


def test_the_identity_holds_what_can_change_a_score(fake_chat_model: Make) -> None:
    chat = fake_chat_model(["x"])

    def judge_id(**changes: Any) -> str:
        return LangChainJudge("fake", JudgeSettings(**changes), chat_model=chat).identity.judge_id

    same = judge_id()
    for changes in (
        {"concurrency": 1},
        {"retries": 0},
        {"timeout": 1.0},
        {"price_in": 1.0},
        {"budget": Budget(1)},
        {"base_url": "http://h"},
    ):
        assert judge_id(**changes) == same
    others = [{"temperature": 0.5}, {"max_new_tokens": 10}, {"prompt": load_judge_prompt("prompts/judge/strict.md")}]
    assert len({same, *(judge_id(**changes) for changes in others)}) == 4


def test_key_points_need_key_points(fake_chat_model: Make) -> None:
    settings = JudgeSettings(prompt=load_judge_prompt("prompts/judge/key_points.md"))
    judge = LangChainJudge("fake", settings, chat_model=fake_chat_model(['{"points": [1, 0], "errors": 1}']))
    with_points, without = judge.score([ITEM, item("2")])
    assert (with_points.factual_accuracy, with_points.key_point_coverage) == (0.5, 0.5)
    assert (without.status, without.attempts) == ("failed", 0) and "no key points" in without.reason


def test_a_pairwise_prompt_gives_no_scores(fake_chat_model: Make) -> None:
    with pytest.raises(UsageError, match="'pairwise' is pairwise"):
        LangChainJudge(
            "fake",
            JudgeSettings(prompt=load_judge_prompt("prompts/judge/pairwise.md")),
            chat_model=fake_chat_model(["x"]),
        )


def test_a_forecast_counts_what_is_not_answered_yet(fake_chat_model: Make, verdict: Make) -> None:
    cache, items = DictCache(), [item(str(i)) for i in range(10)]
    judge = LangChainJudge(
        "fake", JudgeSettings(price_in=1.0, concurrency=2), cache, chat_model=fake_chat_model([verdict(3)])
    )
    before = judge.forecast(items)
    assert (before.calls, before.seconds) == (10, None) and before.cost and 400 < before.tokens_in / 10 < 1500
    judge.score(items[:4])
    after = judge.forecast(items)
    assert (after.calls, after.seconds) == (6, 1.5)


def test_the_rate_is_limited(fake_chat_model: Make, verdict: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.rate_limiters import InMemoryRateLimiter

    asked: list[bool] = []
    monkeypatch.setattr(
        InMemoryRateLimiter,
        "acquire",
        lambda self, blocking=True: asked.append(blocking) is None and len(asked) % 2 == 0,
    )
    judge = LangChainJudge(
        "fake", JudgeSettings(requests_per_second=1000.0, concurrency=1), chat_model=fake_chat_model([verdict(3)])
    )
    judge.score([item("1"), item("2")])
    assert asked == [False] * 4  # never blocking, so that a stop is heard


def test_no_thread_is_left(fake_chat_model: Make, verdict: Make) -> None:
    LangChainJudge("fake", FAST, chat_model=fake_chat_model([verdict(3)])).score([ITEM])
    assert not [t for t in threading.enumerate() if t.name.startswith("judge")]
