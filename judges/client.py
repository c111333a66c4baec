"""One question to a chat model until it is answered: structured output where there is any, retries with backoff,
budget, rate limit.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from judges.budget import Meter
from judges.faults import Fault, classify
from judges.settings import JudgeSettings
from stores.cache import Answer, Usage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage


MAX_WAIT = 120.0  # seconds, the longest wait between two tries, whatever the endpoint asks for
Messages = Sequence[tuple[str, str]]  # (role, text)


class Stopped(Exception):
    """Somebody else has stopped the judging: nothing more is sent."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, after all tries. `used` is what the tries used all the same."""

    fault: Fault
    used: Usage
    seconds: float


class Client:
    """Asks one chat model. Safe to share between threads; `stop` ends all waiting."""

    def __init__(self, chat: BaseChatModel, settings: JudgeSettings, meter: Meter) -> None:
        from langchain_core.rate_limiters import InMemoryRateLimiter

        self.stop = threading.Event()
        self._chat, self._settings, self._meter = chat, settings, meter
        self._structured: dict[str, Any] = {}  # schema -> runnable
        self._plain = False  # the model or its endpoint has no structured output
        self._random = random.Random()  # its own: the loop's random numbers are part of its result
        rate = settings.requests_per_second
        self._limiter = InMemoryRateLimiter(requests_per_second=rate) if rate else None

    def ask(self, messages: Messages, schema: Mapping[str, Any], empty: Answer) -> Answer | Failure:
        """`empty` filled with what the model answered, or why it did not. A refusal is an answer, with finish
        "refusal".

        Raises BudgetReached when the next call does not fit, Stopped when `stop` is set.
        """
        used, started, tries, plain = Usage(), time.monotonic(), 0, False
        chars = sum(len(text) for _, text in messages)
        while True:
            runnable = self._chat if plain else self._runnable(schema)
            reserved = self._reserve(chars)
            text, tokens = "", (0, 0)
            try:
                text, finish, tokens = self._invoke(runnable, messages)
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
                if text and tokens == (0, 0):  # an endpoint that reports no usage does not make the budget blind
                    tokens = (chars // 4, len(text) // 4)
                used += self._meter.settle(reserved, chars, *tokens)
            seconds = time.monotonic() - started
            if fault is None or fault.kind == "refused":
                self._plain = self._plain or plain
                return replace(
                    empty, raw=text or (fault.text if fault else ""), finish="refusal" if fault else finish,
                    seconds=seconds,
                    tokens_in=used.tokens_in, tokens_out=used.tokens_out, cost=used.cost, calls=used.calls,
                )  # fmt: skip
            if fault.kind == "request" and runnable is not self._chat:
                plain = True  # perhaps it knows no structured output: ask the same without
                continue
            tries += 1
            if fault.kind != "retry" or tries > self._settings.retries:
                return Failure(fault, used, seconds)
            wait = self._settings.backoff * 2 ** (tries - 1) * self._random.uniform(0.5, 1.0)
            if self.stop.wait(min(MAX_WAIT, max(wait, fault.wait))):
                raise Stopped

    def _empty(self, text: str, finish: str) -> Fault | None:
        if text.strip() or finish == "refusal":
            return None
        if finish == "length":
            return Fault(
                "cut",
                "the answer was cut off before its first word: raise judge.max_new_tokens = "
                f"{self._settings.max_new_tokens}",
            )
        return Fault("retry", "the answer was empty")

    def _reserve(self, chars: int) -> Usage:
        while self._limiter and not self._limiter.acquire(blocking=False):
            self.stop.wait(min(0.1, 0.2 / self._settings.requests_per_second))
            if self.stop.is_set():
                break
        if self.stop.is_set():
            raise Stopped
        return self._meter.reserve(chars)

    def _runnable(self, schema: Mapping[str, Any]) -> Any:
        if self._plain:
            return self._chat
        key = json.dumps(schema)
        if key not in self._structured:
            try:
                self._structured[key] = self._chat.with_structured_output(dict(schema), include_raw=True)
            except (NotImplementedError, ValueError, TypeError, AttributeError):
                self._plain = True
                return self._chat
        return self._structured[key]

    def _invoke(self, runnable: Any, messages: Messages) -> tuple[str, str, tuple[int, int]]:
        """Text, reason for stopping, and tokens in and out of the answer."""
        from langsmith import tracing_context

        with tracing_context(enabled=False):  # a trace would send questions and answers to one more host
            answer = runnable.invoke(list(messages))
        # Only the raw message counts: "parsed" may be None without an error, and is more lenient than judges.parse.
        message: AIMessage = answer["raw"] if isinstance(answer, dict) else answer
        text, finish = _text(message), _finish(message)
        usage: Any = message.usage_metadata or {}
        return text, finish, (usage.get("input_tokens") or 0, usage.get("output_tokens") or 0)


def _text(message: AIMessage) -> str:
    """What the model said; with a tool call its arguments, which is how some providers give structured output."""
    calls = [json.dumps(call["args"]) for call in message.tool_calls] + [
        str(call["args"]) for call in message.invalid_tool_calls
    ]
    return "\n".join(calls) if calls else str(message.text)


def _finish(message: AIMessage) -> str:
    metadata = message.response_metadata
    reason = str(
        metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason") or ""
    ).lower()
    if message.additional_kwargs.get("refusal") or reason in (
        "content_filter",
        "refusal",
        "safety",
        "prohibited_content",
        "blocklist",
    ):
        return "refusal"
    return reason


def _of_completion(completion: Any) -> tuple[str, str, tuple[int, int]]:
    choice, usage = completion.choices[0], completion.usage
    tokens = (getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0)
    return choice.message.content or "", choice.finish_reason or "", tokens
