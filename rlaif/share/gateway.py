"""What `serve` shows to the network: a small proxy of a few routes in front of `transformers serve`.

That server asks for no key, loads whatever model or path a request names and takes bodies of any size, so it listens on
loopback only, on a port of its own, and gets only what this one lets through.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rlaif.run import Run
from rlaif.types import RlaifError, UsageError

FORWARDED = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
NAMES = ("champion", "sft", "base")
MAX_BODY = 2**20  # bytes; a context of 100,000 tokens is half of it
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def make_app(
    run: Run, upstream: str, prepare: Callable[[str], object], key: str, on_error: Callable[[str], None]
) -> Starlette:
    """The application for an ASGI server.

    `upstream`: the address of `transformers serve`, without a path. `prepare` gets the id of a policy and makes the
    model of that name there to be loaded; one call at a time. `key`: what a client has to send as its bearer token; ""
    for none, and then only requests that name this machine itself are answered, so that no web page gets here by a name
    of its own. `on_error` is told what the client is not: messages with places on this machine.
    """
    client = httpx.AsyncClient(base_url=upstream, trust_env=False, timeout=httpx.Timeout(None, connect=5))
    busy = threading.Lock()

    def resolve(name: str) -> str:
        """The id of a policy that may be asked. UsageError for any other text, which never becomes a path."""
        policy_id = models(run).get(name)
        if policy_id is None:
            raise UsageError(f"there is no model {name!r}; GET /v1/models lists them")
        with busy:
            prepare(policy_id)
        return policy_id

    async def forward(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return refusal(415, "send JSON, with Content-Type: application/json")
        body = await read_body(request)
        if body is None:
            return refusal(413, f"the request is larger than {MAX_BODY} bytes")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return refusal(400, "the body is not valid JSON")
        if not isinstance(asked, dict) or not isinstance(asked.get("model"), str):
            return refusal(400, "the body has to be a JSON object whose model is a text")
        try:
            asked["model"] = await run_in_threadpool(resolve, asked["model"])
        except UsageError as error:
            return refusal(404, str(error), "model_not_found")
        except RlaifError as error:
            on_error(str(error))
            return refusal(503, "this policy cannot be served; the server's own messages say why")
        question = client.build_request("POST", request.url.path, json=asked)
        try:
            answer = await client.send(question, stream=True)
        except httpx.HTTPError as error:
            on_error(f"transformers serve did not answer: {type(error).__name__}")
            return refusal(502, "the model's server did not answer")
        headers = {"content-type": answer.headers.get("content-type", "application/json")}
        return StreamingResponse(pieces(answer), answer.status_code, headers)

    async def listed(request: Request) -> Response:
        found = await run_in_threadpool(models, run)
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "rlaif"} for name in found]
        return JSONResponse({"object": "list", "data": data})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    routes = [Route(path, guarded(forward, key), methods=["POST"]) for path in FORWARDED]
    routes += [Route("/v1/models", guarded(listed, key), methods=["GET"]), Route("/health", health, methods=["GET"])]
    guards = [] if key else [Middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK), www_redirect=False)]
    return Starlette(routes=routes, middleware=guards)


def models(run: Run) -> dict[str, str]:
    """What a client may name, with the policy's id: `champion`, `sft` and `base` where there is one, and every id whose
    weights are there.
    """
    rows = run.store.query("SELECT policy_id, kind FROM policies WHERE kind = 'base' OR path <> '' ORDER BY created_at")
    ids = {str(row["policy_id"]): str(row["policy_id"]) for row in rows}
    names: dict[str, str] = {}
    for name in NAMES:
        of_kind = [run.champion()] if name == "champion" else [str(r["policy_id"]) for r in rows if r["kind"] == name]
        if len(of_kind) == 1 and of_kind[0] in ids:
            names[name] = of_kind[0]
    return names | ids


def guarded(endpoint: Callable[[Request], Any], key: str) -> Callable[[Request], Any]:
    async def checked(request: Request) -> Response:
        if key and not has_key(request.headers, key):
            return refusal(401, "send the server's key as Authorization: Bearer KEY", "invalid_api_key")
        answer: Response = await endpoint(request)
        return answer

    return checked


def has_key(headers: Mapping[str, str], key: str) -> bool:
    kind, _, sent = headers.get("authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), key.encode())


async def read_body(request: Request) -> bytes | None:
    """The whole body; None as soon as it is larger than `MAX_BODY`, whatever its header says."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


async def pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def refusal(status: int, message: str, code: str = "") -> JSONResponse:
    """An error in the form that OpenAI's clients read."""
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": code or None}}, status)
