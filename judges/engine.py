"""Many questions to one chat model: cache, threads, the ladder from an answer to a value, and when to give up.

Structured output -> one repair prompt -> "name: number" in the text -> unparsed. No answer, after retries -> failed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from judges.budget import BudgetReached, Meter
from judges.chat_models import Served
from judges.client import Failure, Stopped
from judges.fill import Asked
from judges.pool import Pool
from judges.reasoning import unfinished
from judges.settings import Cache, JudgeSettings
from rlaif.types import VerdictStatus, content_id
from stores.cache import Answer, Usage

FLUSH_SECONDS, FLUSH_ANSWERS = 5.0, 200  # opening and closing the database costs 0.1 s, so answers are kept in batches
GIVE_UP = 3  # items in a row without an answer, while nothing else is answered either: the endpoint is dead
_APOLOGY = re.compile(
    r"\A\W*(?:i(?:['\u2019]?m| am) (?:very )?sorry|sorry|i (?:can(?:no|['\u2019])t|won['\u2019]t|am "
    r"(?:unable|not able)))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to ask. `content` hashes all that is asked about; `read` and `scrape` give a value, or a str that says
    why not.
    """

    content: str
    asked: Asked
    schema: Mapping[str, Any]
    wanted: str
    read: Callable[[str], Any]
    scrape: Callable[[str], Any] = lambda text: "not scraped"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job. `value` is None unless `status` is "scored"."""

    status: VerdictStatus
    value: Any = None
    raw: str = ""
    reason: str = ""
    used: Usage = Usage()
    seconds: float = 0.0


class Engine:
    """Asks one chat model many things."""

    def __init__(self, served: Served, judge_id: str, settings: JudgeSettings, cache: Cache | None) -> None:
        self._settings, self._cache, self._judge_id = settings, cache, judge_id
        self._where, server = served.endpoint.host, served.endpoint.server
        self._server = (server,) if server else ()  # an answer is one server's, or that of servers of one model
        self._workers = settings.concurrency * len(served.each)
        self._meter = Meter(settings)
        self._pool = Pool(served, settings, self._meter)
        self._lock = threading.Lock()
        self._new: list[Answer] = []
        self._alive, self._failed_in_row, self._why, self._limit = False, 0, "", ""

    def run(self, jobs: Sequence[Job], again: bool = False) -> tuple[list[Result | None], str]:
        """One result a job, in order, and why the engine had to stop ("" if it did not; then no result is None).
        `again` asks what was answered before, too.

        Jobs of the same content are asked once. What was answered is in the cache when this returns or raises.
        """
        unique = {job.content: job for job in jobs}
        keys = [] if again else [key for job in unique.values() for key in self._keys(job)]
        known = self._cache.get(keys) if self._cache and keys else {}
        if self._cache:
            self._meter.start(self._cache.used())
        self._pool.stop.clear()
        self._failed_in_row, self._why, self._limit = 0, "", ""
        results: dict[str, Result | None] = {}
        threads = ThreadPoolExecutor(max_workers=self._workers, thread_name_prefix="judge")
        try:
            futures = {threads.submit(self._work, job, known): content for content, job in unique.items()}
            for future in self._finished(futures):
                results[futures[future]] = future.result()
        finally:
            if len(results) < len(unique):  # an error or Ctrl-C: end what waits, keep what is being answered
                self._pool.stop.set()
            threads.shutdown(wait=True, cancel_futures=True)
            self._flush()
        return [results[job.content] for job in jobs], self._meter.message(self._limit) if self._limit else self._why

    @property
    def limited(self) -> bool:
        """Whether the last `run` stopped because the budget is used up."""
        return bool(self._limit)

    def to_ask(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of the jobs, once each, that are not answered in the cache."""
        unique = {job.content: job for job in jobs}
        known = self._cache.get([self._keys(job)[0] for job in unique.values()]) if self._cache else {}
        return [job for job in unique.values() if self._keys(job)[0] not in known]

    def _keys(self, job: Job) -> tuple[str, str]:
        who = (self._judge_id, *self._server, job.content)
        return content_id(*who, "first"), content_id(*who, "repair")

    def _finished(self, futures: Iterable[Future[Result | None]]) -> Iterable[Future[Result | None]]:
        """The futures as they finish; answers are written to the cache in between."""
        left, flushed = set(futures), time.monotonic()
        while left:
            done, left = wait(left, timeout=FLUSH_SECONDS, return_when=FIRST_COMPLETED)
            yield from done
            if len(self._new) >= FLUSH_ANSWERS or time.monotonic() - flushed >= FLUSH_SECONDS:
                self._flush()
                flushed = time.monotonic()

    def _flush(self) -> None:
        with self._lock:
            answers, self._new = self._new, []
        used = self._meter.take()
        if self._cache and (answers or used.calls):
            self._cache.put(answers, used, self._judge_id)

    def _work(self, job: Job, known: Mapping[str, Answer]) -> Result | None:
        """The ladder for one job. None when the judging was stopped before it was through."""
        try:
            return self._climb(job, known)
        except Stopped:
            return None
        except BudgetReached as error:
            self._limit = str(error)
            self._pool.stop.set()
            return None

    def _climb(self, job: Job, known: Mapping[str, Answer]) -> Result | None:
        messages = [("system", job.asked.system), ("user", job.asked.user)]
        messages = [(role, text) for role, text in messages if text.strip()]  # some servers refuse an empty turn
        first_key, repair_key = self._keys(job)
        first = self._answer(messages, job, Answer(first_key, self._judge_id, "first", ""), known)
        if isinstance(first, Failure):
            return self._failed(first, Usage(), 0.0)
        used = first.used
        if first.finish == "refusal":
            return Result(
                "refused",
                raw=first.raw,
                reason=f"the model refused: {first.raw[:200] or 'content filter'}",
                used=used,
                seconds=first.seconds,
            )
        value = self._read(job, first)
        if not isinstance(value, str):
            return Result("scored", value, first.raw, used=used, seconds=first.seconds)
        why = value
        messages += [("assistant", first.raw[:4000]), ("user", _repair(why, job.wanted))]
        repair = self._answer(messages, job, Answer(repair_key, self._judge_id, "repair", ""), known)
        if isinstance(repair, Failure):
            return self._failed(repair, used, first.seconds, f"the answer was not accepted ({why}), and then ")
        raw, used, seconds = (
            f"{first.raw}\n--- repair ---\n{repair.raw}",
            used + repair.used,
            first.seconds + repair.seconds,
        )
        value = self._read(job, repair)
        if not isinstance(value, str):
            return Result("scored", value, raw, used=used, seconds=seconds)
        finished = [answer.raw for answer in (repair, first) if not self._unfinished(answer)]
        scraped = [found for text in finished if not isinstance(found := job.scrape(text), str)]
        if scraped and all(found == scraped[0] for found in scraped):
            return Result("scored", scraped[0], raw, used=used, seconds=seconds)
        if repair.finish == "refusal" or _APOLOGY.match(first.raw) or _APOLOGY.match(repair.raw):
            return Result(
                "refused",
                raw=raw,
                reason=f"the model refused: {' '.join(first.raw.split())[:200]}",
                used=used,
                seconds=seconds,
            )
        return Result(
            "unparsed",
            raw=raw,
            reason=f"not accepted: {why}; after the repair prompt: {value}",
            used=used,
            seconds=seconds,
        )

    def _read(self, job: Job, answer: Answer) -> Any:
        """The value in an answer, or a str that says why there is none: a draft that was cut off has none."""
        return self._unfinished(answer) or job.read(answer.raw)

    def _unfinished(self, answer: Answer) -> str:
        return unfinished(answer.raw, answer.finish, self._settings.max_new_tokens)

    def _answer(
        self, messages: list[tuple[str, str]], job: Job, empty: Answer, known: Mapping[str, Answer]
    ) -> Answer | Failure:
        if empty.key in known:
            return known[empty.key]
        answer = self._pool.ask(messages, job.schema, empty)
        if isinstance(answer, Answer):
            with self._lock:
                self._new.append(answer)
                self._alive, self._failed_in_row = True, 0
        return answer

    def _failed(self, failure: Failure, used: Usage, seconds: float, before: str = "") -> Result:
        fault = failure.fault
        with self._lock:
            self._failed_in_row += 1
            dead = self._failed_in_row >= GIVE_UP or (not self._alive and (fault.kind == "client" or fault.unreachable))
        if dead:
            self._stop(
                f"no answer from the judge at {self._where}: {fault.text}; what was answered is stored: "
                f"{fault.advice}, then run the same command again"
            )
        return Result("failed", reason=before + fault.text, used=used + failure.used, seconds=seconds + failure.seconds)

    def _stop(self, why: str) -> None:
        with self._lock:
            self._why = self._why or why
        self._pool.stop.set()


def _repair(why: str, wanted: str) -> str:
    return (
        f"That reply could not be read: {why}. Give the same verdict again as one JSON object and nothing else, "
        f"without code fences or comments, exactly in this form:\n{wanted}"
    )
