"""Which endpoint a call goes to, when one is set aside and when it is tried again: without a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from judges import pool
from judges.budget import BudgetReached, Meter
from judges.chat_models import Endpoint, Served
from judges.client import Failure, Stopped
from judges.faults import Fault
from judges.pool import Pool
from judges.settings import Budget, JudgeSettings
from rlaif.testing.chat_model import FakeChatModel
from stores.cache import Answer

SCHEMA: dict[str, Any] = {"title": "verdict", "type": "object", "properties": {}}
EMPTY = Answer("key", "judge", "first", "")
Make = Callable[..., Any]


class Refused(ConnectionError):
    """Nobody listens."""


class Busy(Exception):
    status_code = 429

    def __init__(self, seconds: str) -> None:
        super().__init__("slow down")
        self.response = type("Response", (), {"headers": {"retry-after": seconds}, "status_code": 429})()


class Broken(Exception):
    status_code = 503


class WrongKey(Exception):
    status_code = 401


class TooLong(Exception):
    status_code = 400

    def __init__(self) -> None:
        super().__init__("maximum context length exceeded")


class Together(FakeChatModel):
    """Answers several threads at the same time, by a function of the prompt."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        with self._lock:
            self.prompts.append(messages[-1].content)
        reply = self.replies(messages[-1].content)
        if isinstance(reply, BaseException):
            raise reply
        return ChatResult(generations=[ChatGeneration(message=AIMessage(reply))])


def places(*chats: Any, budget: Budget | None = None, **more: Any) -> Pool:
    urls = tuple(f"http://host{n}/v1" for n in range(len(chats)))
    few = {"backoff": 0.001, "retries": 2, "concurrency": 4, "budget": budget or Budget(), "urls": urls}
    settings = JudgeSettings(**few | more)
    each = tuple((Endpoint(f"host{n}", True, f"s{n}"), chat) for n, chat in enumerate(chats))
    return Pool(Served("m", Endpoint("hosts", True, "s"), each), settings, Meter(settings))


def ask(at: Pool, text: str = "x") -> Answer | Failure:
    return at.ask([("user", text)], SCHEMA, EMPTY)


def answered(at: Pool, text: str = "x") -> Answer:
    got = ask(at, text)
    assert isinstance(got, Answer), got
    return got


def failed(at: Pool) -> Failure:
    got = ask(at)
    assert isinstance(got, Failure), got
    return got


def stopped(at: Pool) -> None:
    with pytest.raises(Stopped):
        ask(at)


@pytest.fixture
def stopping() -> Iterator[Callable[[Pool], None]]:
    """Stops a pool after 20 s, so that a call that waits for a pause of 100 s fails and does not hang."""
    timers: list[threading.Timer] = []

    def start(at: Pool) -> None:
        timers.append(threading.Timer(20, at.stop.set))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.cancel()


def test_the_one_with_the_fewest_calls_is_asked() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def held(prompt: str) -> str:
        if prompt == "held":
            reached.set()
            go_on.wait(20)
        return "a"

    one, two = Together(replies=held), Together(replies=held)
    at = places(one, two)
    thread = threading.Thread(target=ask, args=(at, "held"))
    thread.start()
    assert reached.wait(20)
    for _ in range(4):
        ask(at)
    assert (one.prompts, two.prompts) == (["held"], ["x"] * 4), "by the calls under way"
    go_on.set()
    thread.join()
    for _ in range(5):
        ask(at)
    assert (len(one.prompts), len(two.prompts)) == (5, 5), "and where these are as many, by those there were"


def test_no_endpoint_has_more_calls_than_it_may(fake_chat_model: Make) -> None:
    now, most, lock = [0], [0], threading.Lock()

    def counting(prompt: str) -> str:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        return "a"

    at = places(fake_chat_model([Refused("no")]), Together(replies=counting), concurrency=2)
    threads = [threading.Thread(target=ask, args=(at,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2


@pytest.mark.parametrize(
    ("error", "tries"), [(Refused("no"), 1), (TimeoutError("slow"), 1), (WrongKey("no"), 1), (Broken("down"), 3)]
)
def test_one_that_fails_is_set_aside_and_its_call_goes_to_another(
    fake_chat_model: Make, caplog: pytest.LogCaptureFixture, error: Exception, tries: int
) -> None:
    bad, good = fake_chat_model([error]), fake_chat_model(["fine"])
    at = places(bad, good)
    got = answered(at)
    assert (got.raw, got.calls) == ("fine", tries + 1), "all its tries are counted, once each"
    assert len(bad.prompts) == tries, "retries, where these are worth something"
    for _ in range(10):
        assert answered(at).raw == "fine"
    assert len(bad.prompts) == tries
    (record,) = caplog.records
    assert "judge.urls: no answer from host0: " in record.getMessage() and "30 s" in record.getMessage()


@pytest.mark.parametrize(("error", "tries"), [(Refused("no"), 1), (Broken("down"), 3)])
def test_it_is_tried_again_by_one_call_and_comes_back(
    fake_chat_model: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    tries: int,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(pool.time, "monotonic", lambda: clock[0])
    bad, good = fake_chat_model([error] * (tries + 1) + ["back"]), fake_chat_model(["fine"])
    at = places(bad, good)
    answered(at)
    clock[0] += pool.AGAIN + 1
    assert answered(at).raw == "fine" and len(bad.prompts) == tries + 1, "with one try"
    clock[0] += pool.AGAIN + 1
    assert answered(at).raw == "fine" and len(bad.prompts) == tries + 1, "the second time it is left alone for longer"
    clock[0] += pool.AGAIN
    answers = {answered(at).raw for _ in range(4)}
    assert answers == {"fine", "back"} and len(bad.prompts) > tries + 1
    assert caplog.records[-1].getMessage() == "judge.urls: host0 answers again"


def test_an_answer_from_before_it_was_set_aside_brings_none_back(caplog: pytest.LogCaptureFixture) -> None:
    def last(_: str) -> str:
        at._set_aside(at._places[0], Fault("retry", "another call found nobody"), time.monotonic())
        return "the last one"

    dying, good = Together(replies=last), Together(replies=lambda _: "fine")
    at = places(dying, good)
    assert [answered(at).raw for _ in range(4)] == ["the last one", "fine", "fine", "fine"]
    (record,) = caplog.records
    assert "no answer from host0: another call found nobody" in record.getMessage()


@pytest.mark.parametrize("backoff", [0.001, 1000.0])
def test_calls_go_to_the_others_while_one_asks_for_a_pause(
    fake_chat_model: Make, monkeypatch: pytest.MonkeyPatch, backoff: float
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(pool.time, "monotonic", lambda: clock[0])
    busy, good = fake_chat_model([Busy("60"), "rested"]), fake_chat_model(["fine"])
    at = places(busy, good, backoff=backoff)
    assert [answered(at).raw for _ in range(6)] == ["fine"] * 6 and len(busy.prompts) == 1
    clock[0] += 61
    assert "rested" in {answered(at).raw for _ in range(2)}, "the pause is what it asked for, whatever the back-off"


def test_a_call_that_is_tried_again_leaves_a_place_that_asks_for_a_pause(stopping: Any) -> None:
    def first(_: str) -> Exception:
        at._rest(at._places[0], 100.0)  # another call was told so meanwhile
        return Broken("once more")

    one, two = Together(replies=first), Together(replies=lambda _: "fine")
    at = places(one, two)
    stopping(at)
    assert answered(at).raw == "fine" and len(one.prompts) == len(two.prompts) == 1


@pytest.mark.parametrize("n", [1, 2])
def test_a_pause_that_all_ask_for_holds_up_no_call_that_was_not_refused(stopping: Any, n: int) -> None:
    refused = threading.Semaphore(0)

    def some(prompt: str) -> str | Exception:
        if prompt == "fine":
            return "fine"
        refused.release()
        return Busy("100")

    at = places(*(Together(replies=some) for _ in range(n)))
    stopping(at)
    thread = threading.Thread(target=stopped, args=(at,))
    thread.start()
    for _ in range(n):
        assert refused.acquire(timeout=20)
    assert [answered(at, "fine").raw for _ in range(3)] == ["fine"] * 3
    assert thread.is_alive(), "the one that was refused waits"
    at.stop.set()
    thread.join()


def test_a_pause_of_all_is_waited_for_and_costs_a_retry(fake_chat_model: Make) -> None:
    chats = [fake_chat_model([Busy("0.01"), "fine"]) for _ in range(2)]
    assert answered(places(*chats)).calls == 3
    chats = [fake_chat_model([Busy("0.01")]) for _ in range(2)]
    failure = failed(places(*chats))
    assert failure.fault.status == 429 and failure.used.calls == 2 + 2, "one try each, and the retries"


def test_without_any_a_call_has_its_retries_and_then_no_answer(
    fake_chat_model: Make, caplog: pytest.LogCaptureFixture
) -> None:
    chats = [fake_chat_model([Refused("no")]) for _ in range(3)]
    failure = failed(places(*chats))
    assert failure.fault.unreachable and failure.fault.advice == "start the endpoint or correct judge.urls"
    assert sum(len(chat.prompts) for chat in chats) == failure.used.calls == 3 + 2
    assert len(caplog.records) == 2, "the last one is never set aside"


def test_one_alone_has_its_retries_and_the_advice_of_one(fake_chat_model: Make) -> None:
    chat = fake_chat_model([Refused("no")])
    failure = failed(places(chat, urls=()))
    assert failure.used.calls == len(chat.prompts) == 1 + 2
    assert failure.fault.advice == "start the endpoint or correct judge.base_url"


def test_a_request_that_is_refused_is_refused_everywhere(fake_chat_model: Make) -> None:
    one, two = fake_chat_model([TooLong()]), fake_chat_model([TooLong()])
    assert failed(places(one, two)).fault.kind == "request"
    assert len(one.prompts) + len(two.prompts) == 1


def test_a_call_that_no_endpoint_can_answer_sets_none_aside_that_answers_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at: Pool
    together = threading.Barrier(3)

    def poisoned(prompt: str) -> str | Exception:
        if prompt != "poison":
            together.wait(20)
            return "fine"
        threads = [threading.Thread(target=answered, args=(at,)) for _ in range(3)]
        for thread in threads:  # meanwhile others are answered, at both
            thread.start()
        for thread in threads:
            thread.join()
        return Broken("this one breaks it")

    one, two = Together(replies=poisoned), Together(replies=poisoned)
    at = places(one, two)
    assert isinstance(ask(at, "poison"), Failure)
    assert not caplog.records


def test_the_budget_is_shared(fake_chat_model: Make) -> None:
    one, two = fake_chat_model(["a"]), fake_chat_model(["b"])
    at = places(one, two, budget=Budget(calls=3))
    for _ in range(3):
        answered(at)
    with pytest.raises(BudgetReached, match="max_calls"):
        ask(at)
    assert len(one.prompts) + len(two.prompts) == 3


def test_each_endpoint_has_its_own_rate(fake_chat_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.rate_limiters import InMemoryRateLimiter

    limiters: list[Any] = []
    monkeypatch.setattr(InMemoryRateLimiter, "acquire", lambda self, blocking=True: limiters.append(self) is None)
    at = places(fake_chat_model(["a"]), fake_chat_model(["b"]), requests_per_second=5.0)
    for _ in range(4):
        answered(at)
    assert len(limiters) == 4 and len({id(one) for one in limiters}) == 2


def test_a_stop_ends_the_wait_for_a_pause(fake_chat_model: Make) -> None:
    at = places(fake_chat_model([Busy("100")]), fake_chat_model([Busy("100")]))
    threading.Timer(0.05, at.stop.set).start()
    with pytest.raises(Stopped):
        ask(at)
