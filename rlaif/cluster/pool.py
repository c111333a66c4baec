"""Pieces of work given to workers that may come late, hang or die: each piece is done once, by whoever is there.

What starts workers and carries work to them is a `Backend`; the one for Ray is `rlaif.cluster.ray_backend`.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from rlaif.types import RlaifError

AT_ONCE = 2  # pieces that one worker has at a time, so that it never waits for the next one
TRIES = 3  # workers that one piece may be lost with
PATIENCE = 15 * 60.0  # seconds: for one piece, and for the first worker to be ready
TICK = 1.0  # seconds between two looks at who hangs
AGAIN = "what is stored stays: run the same command again"


class Gone(Exception):
    """A worker is lost: its process, its machine, or the way there. The message says how, in one line."""


class Ready(NamedTuple):
    """What a worker says once it can work."""

    host: str


class Task(NamedTuple):
    """One piece of work: a method of the worker, and its arguments."""

    method: str
    arguments: tuple[Any, ...]


class Done(NamedTuple):
    """What a worker gives back: the result, the tokens that it made, and the seconds that it worked."""

    result: Any
    tokens: int
    seconds: float


class Backend(Protocol):
    """What a pool needs of a cluster. Workers and futures are the backend's own, and can be keys of a dictionary."""

    size: int  # workers wanted

    def start(self) -> Any:
        """A worker. It may take long to get a place."""

    def greet(self, worker: Any) -> Any:
        """The future of the worker's `Ready`."""

    def give(self, worker: Any, task: Task) -> Any:
        """The future of a `Done`. A worker does what it is given one by one, in order."""

    def wait(self, futures: Sequence[Any], seconds: float) -> Sequence[Any]:
        """All futures that are settled, after at most `seconds` where none is."""

    def result(self, future: Any) -> Any:
        """What a settled future holds. Raises Gone where the worker is lost, and whatever its work raised."""

    def stop(self, worker: Any) -> None:
        """End a worker, whatever it does."""


@dataclass(eq=False)
class _Member:
    """A worker of the pool. `flying`: the pieces that it has, by their futures, the first of them under way."""

    worker: Any
    coming: Any  # the future of its being ready; None afterwards
    since: float  # when it was last heard of, or given something while it had nothing
    host: str = ""
    flying: dict[Any, int] = field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0


class Pool:
    """The workers of a session. They stay from one piece of work to the next; one that is lost is replaced.

    `tell` takes a line for a person. `clock` gives seconds.
    """

    def __init__(
        self,
        backend: Backend,
        tell: Callable[[str], None],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend, self._tell, self._patience, self._clock = backend, tell, patience, clock
        self._members: list[_Member] = []
        self._again = self._lost_in_row = 0
        self._heard = clock()

    def spread(self, numbers: Sequence[int], task: Callable[[int], Task]) -> Iterator[list[tuple[int, Any]]]:
        """(number, result) of each piece, those that are done together in one list, in the order in which they end.

        `task` makes a piece when it is given to a worker: at most `AT_ONCE` per worker are held at a time. What a
        worker had when it was lost is given to another one. Raises RlaifError where a piece is lost with `TRIES`
        workers, where workers are lost faster than they work, and where none starts; and what a piece's work raises.
        """
        left, tries = deque(numbers), Counter[int]()
        self._heard, self._lost_in_row = self._clock(), 0
        for member in self._members:  # who was lost since the last time is found before it is given anything
            member.coming = member.coming or self._backend.greet(member.worker)
            member.tokens, member.seconds = 0, 0.0
        try:
            while left or self.busy():
                self._hire(len(left))
                self._give(left, task)
                done = [one for member, future in self._settled() for one in self._taken(member, future, left, tries)]
                self._give_up_who_hangs(left, tries)
                self._give(left, task)  # before the caller is busy with what is done
                if done:
                    yield done
        finally:
            for member in [m for m in self._members if m.flying]:  # the caller wants no more of it
                self._dismiss(member)

    def close(self) -> None:
        for member in list(self._members):
            self._dismiss(member)

    def note(self) -> str:
        """Who works, for a progress line."""
        ready = [m for m in self._members if not m.coming]
        speeds = sorted(m.tokens / m.seconds for m in ready if m.tokens and m.seconds)
        parts = [f"{len(ready)} of {self._backend.size} workers"]
        if speeds:
            low, high = f"{speeds[0]:,.0f}", f"{speeds[-1]:,.0f}"
            parts.append(f"{low} tok/s each" if low == high else f"{low} to {high} tok/s each")
        if self._again:
            parts.append(f"{self._again} done again")
        return ", ".join(parts)

    def busy(self) -> int:
        """How many workers have something to do."""
        return sum(bool(member.flying) for member in self._members)

    def _hire(self, left: int) -> None:
        while len(self._members) < min(self._backend.size, left + self.busy()):
            worker = self._backend.start()
            self._members.append(_Member(worker, self._backend.greet(worker), self._clock()))

    def _give(self, left: deque[int], task: Callable[[int], Task]) -> None:
        for room in range(1, AT_ONCE + 1):  # one each, before anybody has two
            for member in self._members:
                if left and not member.coming and len(member.flying) < room:
                    if not member.flying:
                        member.since = self._clock()
                    number = left.popleft()
                    member.flying[self._backend.give(member.worker, task(number))] = number

    def _settled(self) -> list[tuple[_Member, Any]]:
        of = {member.coming: member for member in self._members if member.coming}
        of |= {future: member for member in self._members for future in member.flying}
        return [(of[future], future) for future in self._backend.wait(list(of), TICK)]

    def _taken(self, member: _Member, future: Any, left: deque[int], tries: Counter[int]) -> list[tuple[int, Any]]:
        """What a settled future brought: a piece that is done, or none."""
        if member not in self._members:
            return []  # lost a moment ago, by another of its futures
        try:
            found = self._backend.result(future)
        except Gone as gone:
            self._lose(member, str(gone), left, tries)
            return []
        self._heard = member.since = self._clock()
        if future is member.coming:
            member.coming, member.host = None, found.host
            return []
        number = member.flying.pop(future)
        member.tokens, member.seconds = member.tokens + found.tokens, member.seconds + found.seconds
        self._lost_in_row = 0
        return [(number, found.result)]

    def _give_up_who_hangs(self, left: deque[int], tries: Counter[int]) -> None:
        now = self._clock()
        for member in list(self._members):
            if member.flying and now - member.since > self._patience:
                self._lose(member, f"no answer for {now - member.since:,.0f} s", left, tries)
        if all(m.coming for m in self._members) and now - self._heard > self._patience:
            raise RlaifError(
                f"cluster: no worker was ready within {self._patience:,.0f} s; `ray status` shows what it waits for; "
                f"{AGAIN}"
            )

    def _lose(self, member: _Member, why: str, left: deque[int], tries: Counter[int]) -> None:
        self._dismiss(member)
        numbers = list(member.flying.values())
        left.extendleft(reversed(numbers))
        self._again += len(numbers)
        self._lost_in_row += 1
        where = f"on {member.host}" if member.host else "that was starting"
        if numbers:
            tries[numbers[0]] += 1
            if tries[numbers[0]] == TRIES:
                raise RlaifError(
                    f"cluster: batch {numbers[0]} was given to {TRIES} workers, and each was lost; the last one "
                    f"{where}: {why}; {AGAIN}"
                )
        if self._lost_in_row > self._backend.size + TRIES:
            raise RlaifError(
                f"cluster: {self._lost_in_row} workers were lost, and none did any work meanwhile; the last one "
                f"{where}: {why}; {AGAIN}"
            )
        self._tell(f"cluster: a worker {where} is lost: {why}" + ("; others do its batches" if numbers else ""))

    def _dismiss(self, member: _Member) -> None:
        self._members.remove(member)
        self._backend.stop(member.worker)
