"""One question to a chat model at one endpoint: structured output where there is any, budget, rate limit. Whether it is
asked again, and where, is decided in judges.pool.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from judges.budget import Meter
from judges.chat_models import with_old_limit
from judges.faults import ANSWERS, RAISE, REQUEST, Fault, Faulty, classify
from judges.reasoning import CUT
from judges.redact import redact, redact_known
from judges.settings import JudgeSettings
from judges.wire import plausible, too_slow
from rlaif.logs import LOG
from stores.cache import Answer, Usage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage


GRACE = 0.5  # seconds behind a time-out, for the library to say so itself
Messages = Sequence[tuple[str, str]]  # (role, text)


class Stopped(Exception):
    """Somebody else has stopped the judging: nothing more is sent."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `used` is what was used all the same."""

    fault: Fault
    used: Usage
    seconds: float


@dataclass(frozen=True, slots=True)
class Way:
    """How to ask: with the schema of the answer (`structured`), with the limit as `max_tokens` (`old_limit`), and with
    the system's words at the head of the user's (`joined`). Servers differ in what they take.
    """

    structured: bool = True
    old_limit: bool = False
    joined: bool = False


class Client:
    """Asks one chat model at one endpoint. Safe to share between threads; `stop` ends all waiting. A way of asking that
    is refused is given up for one that is answered, and that is remembered.
    """

    def __init__(self, chat: BaseChatModel, settings: JudgeSettings, meter: Meter, stop: threading.Event) -> None:
        from langchain_core.rate_limiters import InMemoryRateLimiter

        self._stop = stop
        self._chat, self._settings, self._meter = chat, settings, meter
        self._old_limit = with_old_limit(chat)
        self._structured: dict[tuple[str, bool], Any] = {}  # schema, old_limit -> runnable
        self._way, self._worked, self._refused = Way(), set[Way](), set[Way]()
        rate = settings.requests_per_second
        self._limiter = InMemoryRateLimiter(requests_per_second=rate) if rate else None

    def ask(self, messages: Messages, schema: Mapping[str, Any], empty: Answer) -> Answer | Failure:
        """`empty` filled with what the model answered to one try, or why it did not. A refusal is an answer, with
        finish "refusal"; an answer that has all the tokens it may and does not say why it ends has finish "length".

        Raises BudgetReached when the next call does not fit, Stopped when `stop` is set.
        """
        used, started = Usage(), time.monotonic()
        first = way = self._way
        refused: set[Way] = set()
        chars = sum(len(text) for _, text in messages)
        while True:
            reserved = self._reserve(chars)
            text, tokens = "", (0, 0)
            try:
                way, runnable = self._runnable(schema, way)
                text, finish, tokens = self._invoke(runnable, _joined(messages) if way.joined else messages)
                fault = self._empty(text, finish)
            except Exception as error:  # whatever a provider's library raises becomes a fault, never a score
                completion = getattr(error, "completion", None)  # openai's parser raises on answers that were cut off
                if completion is not None and getattr(completion, "choices", None):
                    text, finish, tokens = _of_completion(completion)
                    fault = self._empty(text, finish)
                elif "content filter" in str(error).lower():
                    finish, fault = "refusal", None
                else:
                    finish, fault = "", classify(error)
            finally:
                counted = _counted(tokens, chars, text) if text or any(tokens) else (0, 0)
                used += self._meter.settle(reserved, chars, *counted)
            seconds = time.monotonic() - started
            if fault is None or fault.kind == "refused":
                if fault is None:
                    self._remember(way, refused, plausible(tokens[1]) or 0)
                if not finish and (plausible(tokens[1]) or 0) >= self._settings.max_new_tokens:
                    finish = "length"
                return replace(
                    empty, raw=redact_known(text) or (fault.text if fault else ""),
                    finish="refusal" if fault else finish, seconds=seconds,
                    tokens_in=used.tokens_in, tokens_out=used.tokens_out, cost=used.cost, calls=used.calls,
                )  # fmt: skip
            if self._may_be_the_way(fault, way):
                refused.add(way)
                if other := self._other(first, refused, fault):
                    way = other
                    continue
            return Failure(fault, used, seconds)

    def _may_be_the_way(self, fault: Fault, way: Way) -> bool:
        """Whether the server may have refused how it was asked: it says so, or it broke on a schema it never took."""
        broke = fault.status in (500, 501) and way.structured and way not in self._worked
        return broke or (fault.kind == "request" and fault.advice == REQUEST)

    def _other(self, way: Way, refused: set[Way], fault: Fault) -> Way | None:
        """Another way than those that were refused; first the one that the server's words point to."""
        plain, limit = replace(way, structured=False), replace(way, old_limit=not way.old_limit)
        both = replace(limit, structured=False)
        ways = [plain, limit, both]
        if fault.status >= 500:
            ways = [plain]
        elif re.search(r"max(?:imum)?[_ ](?:\w+[_ ])?tokens", fault.text, re.IGNORECASE):
            ways = [limit, plain, both]
        elif re.search(r"\bsystem\b", fault.text, re.IGNORECASE):
            ways = [replace(each, joined=True) for each in (way, plain, limit, both)]
        gone = refused | self._refused
        return next((w for w in ways if w not in gone and (self._old_limit or not w.old_limit)), None)

    def _remember(self, way: Way, refused: set[Way], tokens_out: int) -> None:
        """`way` was answered, those in `refused` were not. A server that writes more than it may does not know the name
        of the limit: the older one is next.
        """
        self._worked.add(way)
        if refused:
            self._refused |= refused
            self._way = way
        older = replace(way, old_limit=True)
        if tokens_out > self._settings.max_new_tokens and self._old_limit and older not in self._refused:
            self._way = older

    def _empty(self, text: str, finish: str) -> Fault | None:
        if text.strip() or finish == "refusal":
            return None
        if finish in CUT:
            return Fault(
                "cut",
                "the answer was cut off before its first word: raise judge.max_new_tokens = "
                f"{self._settings.max_new_tokens}",
                advice=RAISE,
            )
        return Fault("retry", "the answer was empty", advice=ANSWERS)

    def _reserve(self, chars: int) -> Usage:
        while self._limiter and not self._limiter.acquire(blocking=False):
            self._stop.wait(min(0.1, 0.2 / self._settings.requests_per_second))
            if self._stop.is_set():
                break
        if self._stop.is_set():
            raise Stopped
        return self._meter.reserve(chars)

    def _runnable(self, schema: Mapping[str, Any], way: Way) -> tuple[Way, Any]:
        """The way that is gone, and what to invoke: a model without structured output is asked without."""
        chat = self._old_limit if way.old_limit and self._old_limit else self._chat
        if not way.structured:
            return way, chat
        key = (json.dumps(schema), way.old_limit)
        if key not in self._structured:
            try:
                self._structured[key] = chat.with_structured_output(dict(schema), include_raw=True)
            except (NotImplementedError, ValueError, TypeError, AttributeError):
                self._structured[key] = None
        if self._structured[key] is None:
            return replace(way, structured=False), chat
        return way, self._structured[key]

    def _invoke(self, runnable: Any, messages: Messages) -> tuple[str, str, tuple[Any, Any]]:
        """Text, reason for stopping, and tokens in and out of the answer, as the endpoint gives them."""
        answer = _in_time(lambda: runnable.invoke(list(messages)), self._settings.timeout)
        # Only the raw message counts: "parsed" may be None without an error, and is more lenient than judges.parse.
        message: AIMessage = answer["raw"] if isinstance(answer, dict) else answer
        text, finish = _text(message), _finish(message)
        LOG.debug("a judge's reply: %d characters, %s, %s", len(text), finish or "no reason", message.usage_metadata)
        usage: Any = message.usage_metadata or {}
        return text, finish, (usage.get("input_tokens"), usage.get("output_tokens"))


def _in_time(call: Callable[[], Any], timeout: float) -> Any:
    """What `call` returns or raises, if that is within `timeout` seconds. A library's own time-out is for each read,
    and a server that sends a byte per minute never meets it: such a call is left to itself, in a thread that holds
    nobody up.
    """
    done: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        from langsmith import tracing_context

        try:
            with tracing_context(enabled=False):  # a trace would send questions and answers to one more host
                done.append((call(), None))
        except BaseException as error:
            done.append((None, error))

    thread = threading.Thread(target=work, name="call to a judge", daemon=True)
    thread.start()
    thread.join(timeout + GRACE)
    if not done:
        raise Faulty(too_slow(timeout))
    answer, error = done[0]
    if error is not None:
        raise error
    return answer


def _counted(tokens: tuple[Any, Any], chars: int, text: str) -> tuple[int, int]:
    """Tokens in and out: the endpoint's figures where they can be true, else four characters each."""
    return plausible(tokens[0]) or chars // 4, plausible(tokens[1]) or len(text) // 4


def _joined(messages: Messages) -> Messages:
    """The same without a system turn: its words stand at the head of the user's first."""
    if messages[0][0] != "system":
        return messages
    (_, system), (role, user), *rest = messages
    return [(role, f"{system}\n\n{user}"), *rest]


def _text(message: AIMessage) -> str:
    """What the model said; with a tool call its arguments, which is how some providers give structured output."""
    calls = [json.dumps(call["args"]) for call in message.tool_calls] + [
        str(call["args"]) for call in message.invalid_tool_calls
    ]
    return "\n".join(calls) if calls else str(message.text)


def _finish(message: AIMessage) -> str:
    metadata = message.response_metadata
    reason = _word(metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason"))
    if message.additional_kwargs.get("refusal") or reason in (
        "content_filter",
        "refusal",
        "safety",
        "prohibited_content",
        "blocklist",
    ):
        return "refusal"
    return reason


def _of_completion(completion: Any) -> tuple[str, str, tuple[Any, Any]]:
    choice, usage = completion.choices[0], completion.usage
    tokens = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
    return choice.message.content or "", _word(choice.finish_reason), tokens


def _word(reason: Any) -> str:
    """Why a model stopped, as an endpoint says it: it is stored, so it is kept to a word."""
    return redact(str(reason or "").lower())[:40]
