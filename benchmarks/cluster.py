"""Does one controller keep up with many workers? Model time is simulated: a worker sleeps for as long as a batch would
take it. All else is real: the pool, what it sends and takes, and the rows of `candidates` in a real database.

    python benchmarks/cluster.py [--workers 1 2 8 64] [--seconds 2] [--batches 20] [--candidates N] [--threads]

For each number of workers it prints the throughput beside what as many workers would make that never wait, the CPU time
that this process needed per batch of 64, and how much memory it took more at the end than after the first tenth. On a
machine that is busy with something else the CPU time is the figure to read: a batch that costs 10 ms of it lets one
controller serve 100 batches per second.

`--batches` is per worker; `--candidates` is a number for all workers together instead. Workers are actors of a Ray that
is started here; with `--threads` they are threads of this process, and Ray is not needed.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from rlaif.cluster.pool import Backend, Done, Pool, Ready, Task
from rlaif.cluster.ray_backend import RayBackend, connected
from rlaif.types import Candidate
from stores.store import Store

SIZE = 64  # answers in a batch
PROMPT = "A question with a leaflet of some length, as a policy reads it. " * 12
ANSWER = "Rest, plenty of fluids and paracetamol help; see a doctor if the fever lasts for more than three days. " * 4


class Simulated:
    """A worker whose model is a pause."""

    def greet(self, held: Any) -> Ready:
        return Ready("here")

    def answers(self, seconds: float, prompts: Sequence[str]) -> Done:
        time.sleep(seconds)
        return Done([(ANSWER, 96, -40.0)] * len(prompts), 96 * len(prompts), seconds)


class Threads:
    """Simulated workers as threads of this process; see `rlaif.cluster.pool.Backend`."""

    def __init__(self, size: int) -> None:
        self.size, self._worker = size, Simulated()

    def start(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    def greet(self, worker: ThreadPoolExecutor) -> Future[Ready]:
        return worker.submit(self._worker.greet, None)

    def give(self, worker: ThreadPoolExecutor, task: Task) -> Future[Done]:
        return worker.submit(getattr(self._worker, task.method), *task.arguments)

    def wait(self, futures: Sequence[Future[Any]], seconds: float) -> Sequence[Future[Any]]:
        return list(wait(futures, seconds, FIRST_COMPLETED).done)

    def result(self, future: Future[Any]) -> Any:
        return future.result()

    def stop(self, worker: ThreadPoolExecutor) -> None:
        worker.shutdown(wait=False)


@contextmanager
def backend(workers: int, threads: bool) -> Iterator[Backend]:
    if threads:
        yield Threads(workers)
        return
    with connected("local") as ray:
        yield RayBackend(ray, Simulated, None, {"num_cpus": 0}, workers)  # type: ignore[arg-type]  # it holds nothing


def ident(kind: str, i: int) -> str:
    """Like a content hash: 16 hex digits in no order."""
    return hashlib.sha256(f"{kind}{i}".encode()).hexdigest()[:16]


def rows(number: int, replies: Sequence[tuple[str, int, float]]) -> list[Candidate]:
    return [
        Candidate(
            ident("c", number * SIZE + i), 1, ident("q", (number * SIZE + i) // 4), "p", "s", i % 4, number, number,
            text, tokens, "stop", logprob, {"temperature": 0.8, "top_p": 0.95, "max_new_tokens": 96},
        )
        for i, (text, tokens, logprob) in enumerate(replies)
    ]  # fmt: skip


def memory_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(workers: int, batches: int, seconds: float, threads: bool, folder: Path) -> None:
    run: dict[str, Any] = {"run_id": "r", "profile": "p", "config": {}, "config_hash": "c", "seed": 0}
    store = Store.create(folder / str(workers), run)
    prompts = [PROMPT] * SIZE
    with backend(workers, threads) as made:
        pool = Pool(made, print)
        for _ in pool.spread(range(2 * workers), lambda number: Task("answers", (0.0, prompts))):
            pass  # all are there before the clock starts
        started, cpu, done, early, most = time.monotonic(), time.process_time(), 0, 0.0, 0
        for finished in pool.spread(range(batches), lambda number: Task("answers", (seconds, prompts))):
            store.write({"candidates": [row for number, replies in finished for row in rows(number, replies)]})
            done, most = done + len(finished), max(most, len(finished))
            if not early and done * 10 >= batches:
                early = memory_mb()
        elapsed, cpu = time.monotonic() - started, time.process_time() - cpu
        pool.close()
    (stored,) = store.query("SELECT count(*) AS n FROM candidates")
    assert stored["n"] == batches * SIZE, "each row once"
    ideal = workers / seconds
    print(
        f"{workers:3} workers  {stored['n']:9,} candidates  {elapsed:7.1f} s  {batches / elapsed:6.2f} batches/s, "
        f"{batches / elapsed / ideal:.2f} of {ideal:.2f}  {1000 * cpu / batches:5.1f} ms CPU per batch  "
        f"at most {most} written at once  memory {memory_mb():.0f} MB, {memory_mb() - early:+.0f} since a tenth",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8, 64])
    parser.add_argument("--seconds", type=float, default=2.0, help="that a batch takes a worker")
    parser.add_argument("--batches", type=int, default=20, help="for each worker")
    parser.add_argument("--candidates", type=int, default=0, help="for all workers together")
    parser.add_argument("--threads", action="store_true", help="workers are threads, not actors")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for workers in args.workers:
            batches = -(-args.candidates // SIZE) or args.batches * workers
            measure(workers, batches, args.seconds, args.threads, Path(folder))
