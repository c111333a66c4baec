"""The answers of language-model judges, kept in a run's database: nothing is asked twice, and what was used adds up
over sessions.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stores.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a model, as it came: a row of `judge_cache`. `calls` counts the requests it took, failed ones
    included.
    """

    key: str
    judge_id: str
    attempt: str
    raw: str
    finish: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    calls: int = 1

    @property
    def used(self) -> Usage:
        return Usage(self.calls, self.tokens_in, self.tokens_out, self.cost)


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls used. Adds up and subtracts; `tokens` are those in and out together."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.cost + other.cost,
        )

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(-other.calls, -other.tokens_in, -other.tokens_out, -other.cost)


class AnswerCache:
    """The tables `judge_cache` and `judge_usage` of one run. Each call opens the database once: call it for batches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers there are, by key."""
        wanted = "SELECT DISTINCT unnest(?::VARCHAR[]) AS key"
        rows = self._store.query(
            f"SELECT * EXCLUDE (created_at) FROM judge_cache JOIN ({wanted}) USING (key)", [list(keys)]
        )
        return {row["key"]: Answer(**row) for row in rows}

    def put(self, answers: Sequence[Answer], used: Usage, judge_id: str) -> None:
        """Keep the answers, and add what judge `judge_id` used since the last time; together or not at all."""
        usage = {
            "usage_id": uuid.uuid4().hex,
            "judge_id": judge_id,
            "calls": used.calls,
            "tokens_in": used.tokens_in,
            "tokens_out": used.tokens_out,
            "cost": used.cost,
        }
        once = {answer.key: answer for answer in answers}  # a key may stand only once in one write
        rows = {"judge_cache": list(once.values())} if once else {}
        self._store.write({**rows, "judge_usage": [usage]})

    def forget(self, judge_id: str) -> int:
        """Drop the answers of a judge, because another model gave them; what they cost stays. Returns how many."""
        return self._store.execute([("DELETE FROM judge_cache WHERE judge_id = ?", [judge_id])])[0]

    def used(self) -> Usage:
        """What all judges of the run have used so far."""
        sums = "sum(calls)::BIGINT, sum(tokens_in)::BIGINT, sum(tokens_out)::BIGINT, sum(cost)"
        row = self._store.query(f"SELECT {sums} FROM judge_usage")[0]
        return Usage(*(value or 0 for value in row.values()))

    def seconds_per_call(self, judge_id: str) -> float | None:
        """The mean time of the judge's calls that were answered; None before there is one."""
        row = self._store.query(
            "SELECT sum(seconds) / sum(calls) AS mean FROM judge_cache WHERE judge_id = ?", [judge_id]
        )[0]
        return row["mean"]
