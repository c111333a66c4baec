"""Workers as actors of a Ray cluster. Only this module imports Ray, and only when a cluster is configured."""

from __future__ import annotations

import importlib
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlaif.cluster.pool import Gone, Pool, Task
from rlaif.cluster.worker import Wanted, Worker, wanted
from rlaif.config import ClusterConfig, Config
from rlaif.run import installed
from rlaif.types import RlaifError, UsageError

if TYPE_CHECKING:
    from rlaif.models.base import Base

INSTALL = "install it with `pip install rlaif[ray]`, or `pip install ray`"
OBJECT_STORE = 256 * 2**20  # bytes, of a Ray that is started here: what passes through it is text
REACH = 5.0  # seconds for the head node to take a connection


def check_cluster(config: ClusterConfig) -> None:
    """What can be known of the cluster before a model is loaded: Ray is installed, and somebody listens at the
    address. RlaifError in one line.
    """
    if not config.address:
        return
    if not installed("ray"):
        raise UsageError(f'cluster.address is "{config.address}", and Ray is not installed here; {INSTALL}')
    if config.address in ("local", "auto"):
        return
    host, _, port = config.address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH).close()
    except OSError as error:
        raise RlaifError(
            f"cluster.address: nobody answers at {config.address} ({error}); give the address that `ray start --head` "
            'printed on the head node, or set cluster.address = ""'
        ) from error


@contextmanager
def cluster(config: Config, base: Base, tell: Callable[[str], None]) -> Iterator[Pool | None]:
    """The workers of the configured cluster while inside; None where there is none.

    They are started when they are first needed, and ended on the way out, whatever the reason. So is a Ray that was
    started here; a cluster of others is only left. RlaifError where it cannot be reached or has no room for a worker.
    """
    settings = config.cluster
    if not settings.address:
        yield None
        return
    check_cluster(settings)
    held = wanted(base, config.model)
    with connected(settings.address) as ray:
        need = {"num_gpus": 1} if held.model.device == "cuda" else {"num_cpus": max(held.model.threads, 1)}
        size = settings.workers or _room(ray, need, settings.address)
        pool = Pool(RayBackend(ray, Worker, held, need, size), tell)
        try:
            yield pool
        finally:
            pool.close()


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ray, connected to the cluster at `address`. Where this process is connected already, it stays so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to Ray's makers
    ray = importlib.import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE} if address == "local" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, log_to_driver=False, logging_level="error", **local)
    except (OSError, RuntimeError, ValueError) as error:
        raise RlaifError(
            f'cluster.address "{address}" cannot be used: {_line(error)}; start a cluster with `ray start --head`, '
            'or set cluster.address = "local"'
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _room(ray: Any, need: dict[str, int], address: str) -> int:
    """How many workers fit on the machines that are there now, one beside the other."""
    kind, each = ("GPU", need["num_gpus"]) if "num_gpus" in need else ("CPU", need["num_cpus"])
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(int(resources.get(kind, 0) // each) for resources in nodes)
    if not room:
        raise RlaifError(
            f'cluster.address "{address}": no machine there has {each} {kind}{"s" * (each > 1)} for a worker'
            + ("; lower model.threads" if kind == "CPU" and each > 1 else "")
            + "; where machines are added on demand, say how many workers there are to be: cluster.workers"
        )
    return room


class RayBackend:
    """See `rlaif.cluster.pool.Backend`. A worker is an actor, a future an object reference."""

    def __init__(self, ray: Any, worker: type, held: Wanted, need: dict[str, int], size: int) -> None:
        self._ray, self._held, self.size = ray, held, size
        # Ray would start a lost actor again by itself, without its batches: the pool does both
        self._actor = ray.remote(worker).options(
            max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD", **{"num_cpus": 0, **need}
        )

    def start(self) -> Any:
        return self._actor.remote()

    def greet(self, worker: Any) -> Any:
        return worker.greet.remote(self._held)

    def give(self, worker: Any, task: Task) -> Any:
        return getattr(worker, task.method).remote(*task.arguments)

    def wait(self, futures: Sequence[Any], seconds: float) -> Sequence[Any]:
        futures = list(futures)
        self._ray.wait(futures, timeout=seconds)
        ready, _ = self._ray.wait(futures, num_returns=len(futures), timeout=0)
        return list(ready)

    def result(self, future: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(future)
        except errors.RayTaskError as error:  # the work itself went wrong, as it would here
            cause = error.cause
            if isinstance(cause, RlaifError):
                raise type(cause)(f"cluster: {cause}") from error
            raise RlaifError(f"cluster: a worker failed: {type(cause).__name__}: {_line(cause)}") from error
        except errors.RayError as error:
            raise Gone(_line(error)) from error

    def stop(self, worker: Any) -> None:
        self._ray.kill(worker, no_restart=True)


def _line(error: BaseException) -> str:
    """The first line of a message, without the lines that Ray writes below it."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
