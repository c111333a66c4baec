"""What is asked of a vLLM server, over real HTTP, and what each wrong server is answered with: one line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from vllm_server import VllmServer

from rlaif.models import vllm_client as vllm
from rlaif.models.vllm_client import Drawn, Server, ServerGone
from rlaif.types import RlaifError


def ask(url: str, what: Callable[[Any, Server], Coroutine[Any, Any, Any]]) -> Any:
    async def asked() -> Any:
        async with vllm.connect() as client:
            return await what(client, await vllm.look(client, url))

    return asyncio.run(asked())


async def looked(_: Any, server: Server) -> Server:
    return server


def test_a_server_says_what_it_serves() -> None:
    with VllmServer(window=512) as there:
        there.adapters["abc"] = "/runs/abc"
        server = ask(there.url, looked)
    assert server == Server(there.url, "0.32.0", "base", 512, frozenset({"abc"}))
    assert server.engine == "vllm 0.32.0"


def test_answers_come_with_their_ids_and_log_probabilities() -> None:
    def draw(path: str, body: dict[str, Any]) -> list[Any]:
        return [([7, 2], [-1.0, -0.5], "stop"), ([7, 8, 9], [-1.0, -2.0, -3.0], "length")]

    with VllmServer(draw) as there:
        how = {"n": 2, "seed": 3, "max_tokens": 3, "temperature": 0.8, "top_p": 0.9, "ends": [2]}
        made = ask(there.url, lambda client, server: vllm.complete(client, server, "base", [4, 5], **how))
    assert made == [Drawn((7, 2), (-1.0, -0.5), "stop"), Drawn((7, 8, 9), (-1.0, -2.0, -3.0), "length")]
    (body,) = there.asked
    assert body["prompt"] == [4, 5], "token ids, so that no other tokenizer has a say"
    assert (body["n"], body["seed"], body["max_tokens"], body["stop_token_ids"]) == (2, 3, 3, [2])
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0), "nothing of the server's own"


def test_an_adapter_is_loaded_once_and_never_in_place(tmp_path: Path) -> None:
    async def twice(client: Any, server: Server) -> None:
        await vllm.load_adapter(client, server, "p1", tmp_path)
        await vllm.load_adapter(client, server, "p1", tmp_path)  # as another loop does, which looked before

    with VllmServer() as there:
        ask(there.url, twice)
        assert there.adapters == {"p1": str(tmp_path)}
        there.refuses = "nobody may ask again"
        ask(there.url, lambda client, server: vllm.load_adapter(client, server, "p1", tmp_path))
        ask(there.url, lambda client, server: vllm.unload_adapter(client, server, "p1"))
    assert there.adapters == {}


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Call to add_lora method failed: LoRA rank 64 is greater than max_lora_rank 16.", "--max-lora-rank"),
        ("LoRA is not enabled. Use --enable-lora to enable LoRA.", "--enable-lora"),
        ("Loading lora p1 failed: No adapter found for /runs/p1", "same path"),
        ("something new", "must fit"),
    ],
)
def test_what_a_server_has_against_an_adapter_is_one_line_with_advice(said: str, advice: str, tmp_path: Path) -> None:
    with VllmServer(refuses=said) as there, pytest.raises(RlaifError) as caught:
        ask(there.url, lambda client, server: vllm.load_adapter(client, server, "p1", tmp_path))
    message = str(caught.value)
    assert said in message and advice in message and there.url in message and "\n" not in message
    assert not isinstance(caught.value, ServerGone), "another server would say the same"


@pytest.mark.parametrize("check", [vllm.check_runtime_lora, lambda c, s: vllm.load_adapter(c, s, "p1", Path("/p1"))])
def test_a_server_that_takes_no_adapters_names_the_variable(check: Any) -> None:
    with VllmServer() as there:
        ask(there.url, vllm.check_runtime_lora)
    with VllmServer(runtime_lora=False) as there, pytest.raises(RlaifError) as caught:
        ask(there.url, check)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in str(caught.value) and "--enable-lora" in str(caught.value)


def test_nobody_at_the_address_is_a_server_gone() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ServerGone, match="cannot be reached"):
            ask(url, looked)


def test_an_address_of_something_else_says_how_to_write_one() -> None:
    with VllmServer() as there, pytest.raises(RlaifError, match="with its /v1") as caught:
        ask(there.url.removesuffix("/v1"), looked)
    assert not isinstance(caught.value, ServerGone)


def test_a_server_that_hangs_up_or_was_started_again_is_gone() -> None:
    async def asked(client: Any, server: Server) -> Any:
        return await vllm.complete(client, server, "p1", [4], seed=0, max_tokens=2)

    with VllmServer(dies_after=0) as there, pytest.raises(ServerGone, match="cannot be reached"):
        ask(there.url, asked)
    with VllmServer() as there, pytest.raises(ServerGone, match="started again"):
        ask(there.url, asked)


@pytest.mark.parametrize("ids, logprobs, why", [([], [], "stop"), ([1], [], "stop"), ([1], [-1.0], "abort")])
def test_an_answer_that_is_none_is_refused(ids: list[int], logprobs: list[float], why: str) -> None:
    with VllmServer(lambda *_: [(ids, logprobs, why)]) as there, pytest.raises(RlaifError, match="without token ids"):
        ask(there.url, lambda client, server: vllm.complete(client, server, "base", [4], seed=0, max_tokens=2))
