"""Work spread over servers, of which some die."""

from __future__ import annotations

from typing import Any

import pytest
from vllm_server import VllmServer

from rlaif.models import vllm_client as vllm
from rlaif.models.vllm_client import Server
from rlaif.models.vllm_pool import Pool, pool
from rlaif.types import RlaifError


def spread(servers: Pool, count: int) -> list[tuple[int, str]]:
    async def do(server: Server, number: int) -> Any:
        return await vllm.complete(servers.client, server, "base", [number], seed=0, max_tokens=2)

    return [(number, server.url) for number, server, _ in servers.spread(range(count), do)]


def test_all_servers_have_work_and_each_piece_is_done_once() -> None:
    with VllmServer() as one, VllmServer() as two, pool([one.url, two.url], pytest.fail) as servers:
        done = spread(servers, 12)
    assert sorted(number for number, _ in done) == list(range(12))
    assert {url for _, url in done} == {one.url, two.url}


def test_the_work_of_a_server_that_dies_goes_to_another() -> None:
    said: list[str] = []
    with VllmServer(dies_after=3) as one, VllmServer() as two, pool([one.url, two.url], said.append) as servers:
        done = spread(servers, 12)
    assert sorted(number for number, _ in done) == list(range(12))
    assert sum(url == one.url for _, url in done) == 3
    assert len(said) == 1 and one.url in said[0] and "go to the others" in said[0]


def test_without_a_server_left_the_work_stops_with_one_line() -> None:
    said: list[str] = []
    with VllmServer(dies_after=3) as one, VllmServer(dies_after=2) as two:
        done: list[int] = []
        with pool([one.url, two.url], said.append) as servers, pytest.raises(RlaifError) as caught:

            async def do(server: Server, number: int) -> Any:
                return await vllm.complete(servers.client, server, "base", [number], seed=0, max_tokens=2)

            for number, _, _ in servers.spread(range(12), do):
                done.append(number)
    assert len(done) == len(set(done)) == 5
    assert "no server is left, and 7 batches are" in str(caught.value) and "same command" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_away_is_left_out_and_all_away_is_an_error() -> None:
    said: list[str] = []
    with VllmServer() as one, VllmServer(dies_after=-1) as two:
        with pool([one.url, two.url], said.append) as servers:
            assert [server.url for server in servers.servers] == [one.url]
        assert len(said) == 1 and two.url in said[0]
        with pytest.raises(RlaifError, match="no server is left"), pool([two.url], said.append):
            pass


def test_an_error_that_every_server_would_give_is_raised_at_once() -> None:
    async def refused(server: Server, number: int) -> Any:
        raise RlaifError("this batch cannot be asked")

    with VllmServer() as one, pool([one.url], pytest.fail) as servers, pytest.raises(RlaifError, match="cannot be"):
        list(servers.spread(range(3), refused))
