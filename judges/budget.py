"""The budget of a language-model judge: a call is made only if it fits, counting those under way at the most they can
use.
"""

from __future__ import annotations

import threading

from judges.settings import JudgeSettings
from stores.cache import Usage

TOKENS_PER_CHAR = 1 / 3  # reserved for a prompt; English needs about 1/4, and where more is seen, more is reserved


class BudgetReached(Exception):
    """The next call could pass the limit of this name (its key in [judge])."""


class Meter:
    """Counts what calls use, over all threads. Each call reserves before it is sent, and settles when it is over."""

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._used = Usage()  # settled, earlier sessions included
        self._reserved = Usage()
        self._new = Usage()  # settled since the last take()
        self._per_char = TOKENS_PER_CHAR

    def start(self, used: Usage) -> None:
        """What was used before: nothing may be under way."""
        self._used = used

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self._settings.price_in + tokens_out * self._settings.price_out) / 1e6

    def reserve(self, chars: int) -> Usage:
        """Room for one call with a prompt of `chars` characters. Waits while calls under way may leave room.

        Raises BudgetReached when there is none.
        """
        with self._changed:
            while True:
                tokens_in = int(chars * self._per_char) + 1
                tokens_out = self._settings.max_new_tokens
                call = Usage(1, tokens_in, tokens_out, self.cost(tokens_in, tokens_out))
                if not self._over(self._used + self._reserved + call):
                    self._reserved += call
                    return call
                least = self._used + Usage(self._reserved.calls) + call  # if all that is under way should use nothing
                if over := self._over(least):
                    raise BudgetReached(over)
                self._changed.wait(0.5)

    def settle(self, reserved: Usage, chars: int, tokens_in: int, tokens_out: int) -> Usage:
        """Replace a reservation by what the call has used (0 tokens where it failed); returns that."""
        used = Usage(1, tokens_in, tokens_out, self.cost(tokens_in, tokens_out))
        with self._changed:
            self._reserved -= reserved
            self._used += used
            self._new += used
            self._per_char = max(self._per_char, tokens_in / max(chars, 200))
            self._changed.notify_all()
        return used

    def take(self) -> Usage:
        """What was used since this was called last."""
        with self._changed:
            new, self._new = self._new, Usage()
            return new

    def _over(self, usage: Usage) -> str:
        """The key of the limit that `usage` would pass, or ""."""
        budget = self._settings.budget
        for key, limit, value in (
            ("max_calls", budget.calls, usage.calls),
            ("max_tokens", budget.tokens, usage.tokens),
            ("max_cost", budget.cost, usage.cost),
        ):
            if limit and value > limit:
                return key
        return ""

    def message(self, key: str) -> str:
        """What a person should know when the limit `key` is reached; asked when nothing is under way any more."""
        used, budget = self._used, self._settings.budget
        limit = {"max_calls": budget.calls, "max_tokens": budget.tokens, "max_cost": budget.cost}[key]
        return (
            f"the judge's budget is used up: {used.calls:,} calls, {used.tokens_in:,} tokens in, "
            f"{used.tokens_out:,} out, cost "
            f"{used.cost:.4g}; the next call could pass judge.{key} = {limit:,}. What was answered is "
            "stored: raise it with "
            f"--set judge.{key}=..., and the same command continues without asking anything twice"
        )
