"""The pool's own rules, with workers that a script moves: no process is started and no time passes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from rlaif.cluster.pool import AT_ONCE, TRIES, Done, Gone, Pool, Ready, Task
from rlaif.types import RlaifError

OK, LOST, STUCK = "ok", "lost", "stuck"


class Fake:
    """Workers w0, w1, ...; `fate(worker, piece)` says what becomes of a piece, -1 being the greeting. Each look at them
    is a second of the fake clock, in which each worker ends one thing.
    """

    def __init__(self, size: int, fate: Callable[[int, int], str] = lambda worker, piece: OK) -> None:
        self.size, self.fate, self.now = size, fate, 0.0
        self.names = itertools.count()
        self.queues: dict[int, list[tuple[int, int]]] = {}
        self.done: dict[int, Any] = {}
        self.futures = itertools.count(1)
        self.given: list[tuple[int, int]] = []
        self.most = 0

    def start(self) -> int:
        worker = next(self.names)
        self.queues[worker] = []
        return worker

    def greet(self, worker: int) -> int:
        return self._queued(worker, -1)

    def give(self, worker: int, task: Task) -> int:
        self.given.append((worker, task.arguments[0]))
        future = self._queued(worker, task.arguments[0])
        self.most = max(self.most, sum(map(len, self.queues.values())))
        return future

    def _queued(self, worker: int, piece: int) -> int:
        future = next(self.futures)
        if worker in self.queues:
            self.queues[worker].append((future, piece))
        else:
            self.done[future] = Gone("its process ended")
        return future

    def wait(self, futures: Sequence[int], seconds: float) -> list[int]:
        self.now += seconds
        for worker, queue in list(self.queues.items()):
            if not queue:
                continue
            fate = self.fate(worker, queue[0][1])
            if fate == LOST:
                self.done |= {future: Gone("its process ended") for future, _ in self.queues.pop(worker)}
            elif fate == OK:
                future, piece = queue.pop(0)
                self.done[future] = Ready(f"h{worker}") if piece < 0 else Done(piece * 10, 20, 2.0)
            elif fate != STUCK:
                future, piece = queue.pop(0)
                self.done[future] = RlaifError(fate)
        return [future for future in futures if future in self.done]

    def result(self, future: int) -> Any:
        found = self.done.pop(future)
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self, worker: int) -> None:
        self.queues.pop(worker, None)


def pooled(fake: Fake, said: list[str] | None = None) -> Pool:
    said = [] if said is None else said
    return Pool(fake, said.append, patience=100.0, clock=lambda: fake.now)


def task(number: int) -> Task:
    return Task("answers", (number,))


def spread(pool: Pool, n: int) -> list[tuple[int, Any]]:
    return [one for done in pool.spread(range(n), task) for one in done]


def test_each_piece_is_done_once_and_carries_its_number() -> None:
    fake = Fake(3)
    found = spread(pooled(fake), 20)
    assert sorted(found) == [(n, n * 10) for n in range(20)]
    assert sorted(piece for _, piece in fake.given) == list(range(20))
    assert {worker for worker, _ in fake.given} == {0, 1, 2}


def test_no_more_is_held_than_the_workers_have_at_once() -> None:
    fake = Fake(4)
    assert len(spread(pooled(fake), 1000)) == 1000
    assert fake.most <= 4 * AT_ONCE
    made: list[int] = []

    def counted(number: int) -> Task:
        made.append(number)
        return task(number)

    pool = pooled(Fake(2))
    for done, part in enumerate(pool.spread(range(1000), counted)):
        assert len(made) <= 2 * AT_ONCE + 2 * (done + 1) + len(part), "pieces are made when they are given"


def test_a_lost_worker_loses_only_what_it_had_and_is_replaced() -> None:
    said: list[str] = []
    fake = Fake(2, lambda worker, piece: LOST if (worker, piece) == (1, 3) else OK)
    pool = pooled(fake, said)
    assert sorted(spread(pool, 10)) == [(n, n * 10) for n in range(10)]
    twice = sorted(piece for _, piece in fake.given)
    assert len(twice) - 10 <= AT_ONCE and twice.count(3) == 2
    assert said == ["cluster: a worker on h1 is lost: its process ended; others do its batches"]
    assert "2 of 2 workers" in pool.note() and "done again" in pool.note()


def test_a_piece_that_takes_its_worker_along_each_time_ends_in_one_line() -> None:
    fake = Fake(2, lambda worker, piece: LOST if piece == 3 else OK)
    with pytest.raises(RlaifError, match=f"batch 3 was given to {TRIES} workers, and each was lost") as caught:
        spread(pooled(fake), 10)
    assert "\n" not in str(caught.value) and "run the same command again" in str(caught.value)


def test_a_worker_that_hangs_is_given_up() -> None:
    said: list[str] = []
    fake = Fake(2, lambda worker, piece: STUCK if worker == 0 and piece >= 0 else OK)
    assert sorted(spread(pooled(fake, said), 6)) == [(n, n * 10) for n in range(6)]
    assert len(said) == 1 and "on h0 is lost: no answer for 101 s" in said[0] and 0 not in fake.queues


def test_work_begins_with_the_workers_that_are_there() -> None:
    fake = Fake(3, lambda worker, piece: STUCK if worker == 2 else OK)  # one that never gets a place
    assert len(spread(pooled(fake), 500)) == 500
    assert fake.now > 100, "for longer than the patience"


def test_no_worker_at_all_is_one_line() -> None:
    fake = Fake(2, lambda worker, piece: STUCK)
    with pytest.raises(RlaifError, match="no worker was ready within 100 s"):
        spread(pooled(fake), 5)


def test_workers_that_die_while_they_start_end_in_one_line() -> None:
    fake = Fake(2, lambda worker, piece: LOST)
    with pytest.raises(RlaifError, match="6 workers were lost, and none did any work"):
        spread(pooled(fake), 5)


def test_what_the_work_itself_raises_is_raised_and_nothing_goes_on() -> None:
    fake = Fake(2, lambda worker, piece: "another base" if piece == -1 else OK)
    with pytest.raises(RlaifError, match="another base"):
        spread(pooled(fake), 5)
    fake = Fake(2, lambda worker, piece: "no weights there" if piece == 4 else OK)
    with pytest.raises(RlaifError, match="no weights there"):
        spread(pooled(fake), 50)
    assert not any(queue for queue in fake.queues.values()), "workers with work left are ended"


def test_workers_stay_from_one_work_to_the_next_and_the_dead_are_found_first() -> None:
    fake = Fake(3)
    pool = pooled(fake)
    spread(pool, 6)
    assert sorted(fake.queues) == [0, 1, 2]
    for worker in (0, 1, 2):
        del fake.queues[worker]  # their machines went away while nothing was asked of them
    assert sorted(spread(pool, 6)) == [(n, n * 10) for n in range(6)]
    assert all(worker > 2 for worker, _ in fake.given[6:]), "nobody dead is given a piece"
    pool.close()
    assert not fake.queues


def test_a_few_pieces_start_a_few_workers() -> None:
    fake = Fake(64)
    spread(pooled(fake), 2)
    assert next(fake.names) == 2
    assert spread(pooled(fake), 0) == []


def test_a_caller_that_stops_leaves_no_work_behind() -> None:
    fake = Fake(2)
    pool = pooled(fake)
    doing: Iterator[Any] = pool.spread(range(100), task)
    next(doing)
    doing.close()  # type: ignore[attr-defined]
    assert not any(fake.queues.values())


def test_the_note_says_how_fast_each_is() -> None:
    fake = Fake(2)
    pool = pooled(fake)
    assert pool.note() == "0 of 2 workers"
    spread(pool, 8)
    assert pool.note() == "2 of 2 workers, 10 tok/s each"
