"""Workers of a cluster that are objects of this process: what they do is real, and done at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlaif.cluster.pool import Task
from rlaif.cluster.worker import Wanted, Worker


class Here:
    """See `rlaif.cluster.pool.Backend`. Each keeps what it was asked in `asked`."""

    def __init__(self, held: Wanted, size: int = 2) -> None:
        self.held, self.size, self.asked = held, size, list[str]()

    def start(self) -> Worker:
        return Worker()

    def greet(self, worker: Worker) -> Callable[[], Any]:
        return lambda: worker.greet(self.held)

    def give(self, worker: Worker, task: Task) -> Callable[[], Any]:
        self.asked.append(task.method)
        return lambda: getattr(worker, task.method)(*task.arguments)

    def wait(self, futures: Sequence[Any], seconds: float) -> Sequence[Any]:
        return futures[::-1]  # the last one first: nothing may hang on their order

    def result(self, future: Callable[[], Any]) -> Any:
        return future()

    def stop(self, worker: Worker) -> None:
        pass
