"""What a judge that is a language model needs to know beside its name, and what it says when it has to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlaif.prompts import JudgePrompt
from rlaif.types import RlaifError, Verdict
from stores.cache import Answer, Usage


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits over a whole run, sessions added up; 0 means no limit. `cost` is in the currency of the prices."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How to ask a language model. Only `prompt`, `temperature` and `max_new_tokens` can change a score, so only they
    go into `judge_id`.

    Prices are per million tokens; `timeout` is seconds a call; `requests_per_second` 0 means no limit; `backoff` is the
    longest first wait between retries, in seconds, and doubles with each. `urls` are several endpoints of one model, in
    the place of `base_url`: the concurrency and the rate are those of each.
    """

    prompt: JudgePrompt | None = None
    base_url: str = ""
    temperature: float = 0.0
    max_new_tokens: int = 400
    concurrency: int = 8
    retries: int = 4
    timeout: float = 60.0
    requests_per_second: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0
    budget: Budget = Budget()
    backoff: float = 1.0
    urls: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the model is served; () where its name says that."""
        return self.urls or ((self.base_url,) if self.base_url else ())

    @property
    def at_once(self) -> int:
        """How many calls may be under way."""
        return self.concurrency * max(len(self.urls), 1)


DEFAULT_SETTINGS = JudgeSettings()


class Cache(Protocol):
    """Where a judge keeps what was answered; stores.cache.AnswerCache is the one of a run."""

    def get(self, keys: Sequence[str]) -> dict[str, Answer]: ...

    def put(self, answers: Sequence[Answer], used: Usage, judge_id: str) -> None: ...

    def used(self) -> Usage: ...

    def seconds_per_call(self, judge_id: str) -> float | None: ...


class JudgeStopped(RlaifError):
    """The judge cannot go on: budget used up, endpoint dead, key refused. `verdicts` are those of the items it had
    finished.
    """

    def __init__(self, message: str, verdicts: Sequence[Verdict] = ()) -> None:
        super().__init__(message)
        self.verdicts = tuple(verdicts)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What judging a list of items will take. `cost` is None without prices, `seconds` None before a call was timed."""

    calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    seconds: float | None
