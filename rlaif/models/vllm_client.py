"""What is asked of a vLLM server: what it serves, an adapter, and answers to token ids that are encoded here.

    async with connect() as client:
        server = await look(client, "http://127.0.0.1:8000/v1")
        drawn = await complete(client, server, server.base, ids, n=4, seed=0, max_tokens=96, temperature=0.8)

vLLM itself is never imported: it lives in an environment of its own, behind HTTP. No torch here either.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlaif.types import RlaifError

if TYPE_CHECKING:
    import httpx


CONNECT = 10.0  # seconds to reach a server
PATIENCE = 900.0  # seconds without a word from a server that has work
KEY = "VLLM_API_KEY"  # the environment variable that vLLM itself reads its key from; it is kept nowhere
RUNTIME_LORA = "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and with --enable-lora"


class ServerGone(RlaifError):
    """The server cannot be reached, says nothing in time, or answers with an error of its own (5xx)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was looked at. `url` ends before "/models"; `window` in tokens, prompt and answer together."""

    url: str
    version: str
    base: str  # what it calls its base
    window: int
    adapters: frozenset[str]  # the names it lists beside the base

    @property
    def engine(self) -> str:
        return f"vllm {self.version}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One continuation: its token ids, the end token among them, and the log-probability (nats) of each."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]


def connect() -> httpx.AsyncClient:
    """A client for all servers. No proxy, no limit on connections: vLLM queues what comes."""
    import httpx

    key = os.environ.get(KEY)
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(PATIENCE, connect=CONNECT),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        trust_env=False,
    )


async def look(client: httpx.AsyncClient, url: str) -> Server:
    """What is served at `url`. ServerGone when nobody answers; RlaifError when what answers is no vLLM server."""
    cards = (await _ask(client, "GET", f"{url}/models", url, missing=f"{url} has no list of models; {_WRITE}"))["data"]
    version = await _ask(client, "GET", f"{_root(url)}/version", url, missing=f"{url} is no vLLM server; {_WRITE}")
    try:
        base = next(card for card in cards if not card.get("parent"))
        adapters = frozenset(str(card["id"]) for card in cards if card.get("parent"))
        return Server(url, str(version["version"]), str(base["id"]), int(base["max_model_len"]), adapters)
    except (KeyError, TypeError, ValueError, StopIteration, AttributeError) as error:
        raise RlaifError(f"{url} lists its models as no vLLM server does; {_WRITE}") from error


async def check_runtime_lora(client: httpx.AsyncClient, server: Server) -> None:
    """RlaifError when the server does not take adapters while it runs. Asks for a page that only exists then."""
    answer = await _send(client, "GET", f"{server.url}/load_lora_adapter", server.url)
    if answer.status_code != 405:  # the address is there, and is asked by POST
        raise RlaifError(f"{server.url} takes no adapters while it runs; {RUNTIME_LORA}")


async def load_adapter(client: httpx.AsyncClient, server: Server, name: str, folder: Path) -> None:
    """Let the server load the adapter in `folder`, a path that both machines see, unless it has one of that name.

    Never in place: the prefix cache would keep what the old weights made. So a name stands for one set of weights.
    RlaifError says what the server has against it.
    """
    if name in server.adapters:
        return
    body = {"lora_name": name, "lora_path": str(folder.resolve())}
    answer = await _send(client, "POST", f"{server.url}/load_lora_adapter", server.url, body)
    said = _said(answer)
    if answer.status_code == 200 or "already been loaded" in said:  # by another loop that runs the same policy
        return
    if answer.status_code == 404 and "adapter" not in said.lower():
        raise RlaifError(f"{server.url} takes no adapters while it runs; {RUNTIME_LORA}")
    raise RlaifError(f"{server.url} refuses the adapter {folder}: {said}; {_advice(said)}")


async def unload_adapter(client: httpx.AsyncClient, server: Server, name: str) -> None:
    await _send(client, "POST", f"{server.url}/unload_lora_adapter", server.url, {"lora_name": name})


async def complete(
    client: httpx.AsyncClient,
    server: Server,
    model: str,
    ids: Sequence[int],
    *,
    n: int = 1,
    seed: int,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    ends: Sequence[int] = (),
) -> list[Drawn]:
    """`n` continuations of the prompt `ids` by `model`: the server's base, or an adapter by its name.

    Temperature 0 takes the likeliest tokens, and then `n` must be 1. What the server would add by itself (penalties,
    top-k, from its generation config) is set to nothing. vLLM gives continuation i the seed `seed` + i.
    Raises ServerGone, and RlaifError for what the server refuses or for an answer that is none.
    """
    body = {
        "model": model,
        "prompt": list(ids),
        "n": n,
        "seed": seed,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop_token_ids": sorted(ends),
        "logprobs": 0,  # of the sampled token alone
        "return_token_ids": True,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    missing = f"{server.url} no longer has {model}: it was started again"
    said = await _ask(client, "POST", f"{server.url}/completions", server.url, body, missing=missing)
    try:
        drawn = [_drawn(choice) for choice in sorted(said["choices"], key=lambda choice: choice["index"])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RlaifError(
            f"{server.url} answers without token ids or log-probabilities: is it a vLLM server?"
        ) from error
    if len(drawn) != n:
        raise RlaifError(f"{server.url} gave {len(drawn)} answers where {n} were asked for")
    return drawn


_WRITE = "write the address of a vLLM server with its /v1, like http://127.0.0.1:8000/v1"


def _drawn(choice: dict[str, Any]) -> Drawn:
    ids = tuple(int(i) for i in choice["token_ids"])
    logprobs = tuple(float(value) for value in choice["logprobs"]["token_logprobs"])
    if not ids or len(ids) != len(logprobs) or not all(map(math.isfinite, logprobs)):
        raise ValueError("token ids and log-probabilities do not belong together")
    if choice["finish_reason"] not in ("stop", "length"):
        raise ValueError(choice["finish_reason"])
    return Drawn(ids, logprobs, choice["finish_reason"])


def _advice(said: str) -> str:
    low = said.lower()
    if "rank" in low:
        return "start it with a larger --max-lora-rank"
    if "not enabled" in low or "enable_lora" in low or "enable-lora" in low:
        return RUNTIME_LORA
    if "no adapter found" in low or "no such file" in low or "not found" in low or "does not exist" in low:
        return "the run's folder must lie at the same path on the server's machine"
    return "an adapter of this run must fit the server's base and options"


async def _ask(
    client: httpx.AsyncClient, method: str, url: str, server: str, body: Any = None, *, missing: str
) -> dict[str, Any]:
    """The JSON object that comes back. `missing`: what a 404 means, which for work under way is a server gone."""
    answer = await _send(client, method, url, server, body)
    if answer.status_code == 404:
        raise ServerGone(missing) if body else RlaifError(missing)
    if answer.status_code in (401, 403):
        raise RlaifError(f"{server} asks for a key; put it into the environment variable {KEY}")
    if answer.status_code >= 500:
        raise ServerGone(f"{server} answers with an error of its own ({answer.status_code}: {_said(answer)})")
    if answer.status_code != 200:
        raise RlaifError(f"{server} refuses a request ({answer.status_code}: {_said(answer)})")
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise RlaifError(f"{server} answers with something else than JSON; {_WRITE}")
    return said


async def _send(client: httpx.AsyncClient, method: str, url: str, server: str, body: Any = None) -> httpx.Response:
    import httpx

    try:
        return await client.request(method, url, json=body)
    except httpx.TimeoutException as error:
        raise ServerGone(f"{server} does not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ServerGone(f"{server} cannot be reached ({why})") from error


def _said(answer: httpx.Response) -> str:
    """The server's own words about what went wrong, in one line."""
    try:
        said = answer.json()
        error = said.get("error", said)
        text = error["message"] if isinstance(error, dict) and "message" in error else str(error)
    except (ValueError, AttributeError):
        text = answer.text
    return " ".join(str(text).split())[:300] or "no word of why"


def _root(url: str) -> str:
    return url.removesuffix("/v1")
