"""What is said where Ray, a cluster or room in it is missing. Ray itself is a stand-in here; the real one is in
tests/rlaif/loop/test_clustered.py.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.cluster import ray_backend
from rlaif.cluster.pool import Gone
from rlaif.cluster.ray_backend import RayBackend, check_cluster, cluster
from rlaif.config import ClusterConfig, Config
from rlaif.types import DataError, RlaifError, UsageError


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_backend, "installed", lambda package: "2.60.0")


def test_without_a_cluster_nothing_is_loaded() -> None:
    check_cluster(ClusterConfig())
    nothing: Any = None
    with cluster(Config(), nothing, print) as workers:
        assert workers is None


@pytest.mark.parametrize("address", ["local", "auto", "127.0.0.1:6379"])
def test_a_cluster_without_ray_says_what_to_install(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_backend, "installed", lambda package: "")
    with pytest.raises(UsageError, match=r"Ray is not installed here; install it with `pip install rlaif\[ray\]`"):
        check_cluster(ClusterConfig(address=address))


def test_an_address_where_nobody_answers_is_one_line(with_ray: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, and nobody listens
        with pytest.raises(RlaifError, match=f"nobody answers at {address}") as caught:
            check_cluster(ClusterConfig(address=address))
    assert "\n" not in str(caught.value) and "ray start --head" in str(caught.value)


def test_an_address_where_somebody_listens_passes(with_ray: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_cluster(ClusterConfig(address=f"127.0.0.1:{server.getsockname()[1]}"))


def nodes(*resources: dict[str, float]) -> Any:
    alive = [{"Alive": True, "Resources": each} for each in resources]
    return SimpleNamespace(nodes=lambda: [*alive, {"Alive": False, "Resources": {"CPU": 64.0}}])


def test_as_many_workers_as_fit_on_the_machines_that_are_alive() -> None:
    three = nodes({"CPU": 4.0}, {"CPU": 3.0, "GPU": 2.0}, {"memory": 1e9})
    assert ray_backend._room(three, {"num_cpus": 1}, "auto") == 7
    assert ray_backend._room(three, {"num_cpus": 2}, "auto") == 3, "a worker lies on one machine"
    assert ray_backend._room(three, {"num_gpus": 1}, "auto") == 2


def test_no_room_is_one_line_that_says_what_to_lower() -> None:
    with pytest.raises(RlaifError, match="no machine there has 4 CPUs for a worker; lower model.threads"):
        ray_backend._room(nodes({"CPU": 2.0}), {"num_cpus": 4}, "auto")
    with pytest.raises(RlaifError, match="no machine there has 1 GPU for a worker; where machines are added"):
        ray_backend._room(nodes({"CPU": 2.0}), {"num_gpus": 1}, "auto")


class Failed(Exception):
    """As ray.exceptions.RayTaskError, which keeps what a worker raised."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def backend(error: Exception) -> RayBackend:
    def get(future: Any) -> Any:
        raise error

    made = RayBackend.__new__(RayBackend)
    made._ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayTaskError=Failed, RayError=ConnectionError))
    return made


def test_what_a_worker_raises_keeps_its_kind_and_a_lost_worker_is_gone() -> None:
    with pytest.raises(DataError, match="cluster: the machine a has no base"):
        backend(Failed(DataError("the machine a has no base"))).result(None)
    with pytest.raises(RlaifError, match="cluster: a worker failed: MemoryError: too little$"):
        backend(Failed(MemoryError("too little\n  at line 3"))).result(None)
    with pytest.raises(Gone, match="^The actor died unexpectedly$"):
        backend(ConnectionError("The actor died unexpectedly.\n\tclass_name: Worker")).result(None)
