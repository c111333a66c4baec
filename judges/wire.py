"""What is asked of every HTTP reply before a library reads it: that it comes from the endpoint itself, ends in time, is
no larger than a reply can be, and is a chat completion whose figures can be true.

    openai.DefaultHttpxClient(event_hooks=hooks(timeout=60.0))

Hooks, so that proxies, certificates and connections stay the library's own.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

from judges.faults import (
    ANSWERS,
    NO_COMPLETION,
    SLOW,
    Fault,
    Faulty,
    from_status,
    one_line,
)

MAX_BYTES = 8 * 2**20  # of a reply, decompressed; a verdict has a few hundred bytes
MOST_TOKENS = 10_000_000  # read or written in one call: no model does more
Hooks = dict[str, list[Callable[..., Any]]]


def hooks(timeout: float) -> Hooks:
    """Event hooks of an httpx client. They raise Faulty for a reply that is redirected to another server, takes longer
    than `timeout` seconds, is larger than 8 MiB, is compressed in a way that was not asked for, or is no completion.
    """
    started = "judge_started"

    def before(request: Any) -> None:
        request.headers["Accept-Encoding"] = "gzip, deflate"
        request.extensions = {**request.extensions, started: time.monotonic()}

    def after(response: Any) -> None:
        refuse_elsewhere(response)
        body = b"".join(_bounded(response, response.request.extensions[started] + timeout, timeout))
        if response.status_code == 200 and response.request.url.path.endswith("/chat/completions"):
            body = checked(body)
        response.headers.pop("Content-Encoding", None)
        response.headers.pop("Transfer-Encoding", None)
        response.headers["Content-Length"] = str(len(body))
        library = import_module(type(response).__module__.partition(".")[0])  # httpx, or what openai ships of it
        response.stream = library.ByteStream(body)

    return {"request": [before], "response": [after]}


def refuse_elsewhere(response: Any) -> None:
    """Raises Faulty for a redirect to another scheme, host or port: only the endpoint that was announced is asked."""
    if not response.has_redirect_location:
        return
    here = response.request.url
    there = here.join(response.headers["Location"])
    if (there.scheme, there.host, _port(there)) != (here.scheme, here.host, _port(here)):
        where = one_line(f"{there.scheme}://{there.host}" + (f":{there.port}" if there.port else ""))
        raise Faulty(
            Fault(
                "client",
                f"the endpoint sends questions on to another server, {where}, and they were not sent there",
                status=response.status_code,
                advice="write that address into judge.base_url if you trust it",
            )
        )


def checked(body: bytes) -> bytes:
    """The body of a completion, without usage figures that cannot be true. Raises Faulty for one that is none."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        shown = one_line(body[:120].decode("utf-8", "replace"))
        raise Faulty(
            Fault("retry", f"the reply is no chat completion, it begins with {shown!r}", advice=NO_COMPLETION)
        ) from None
    if not isinstance(reply, dict):
        raise Faulty(
            Fault("retry", f"the reply is no chat completion but a {type(reply).__name__}", advice=NO_COMPLETION)
        )
    choices = reply.get("choices")
    if error := reply.get("error"):
        if not choices or _failed(choices):
            raise Faulty(_of_error(error))
        del reply["error"]  # beside an answer it is a remark
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        said = next((str(reply[key]) for key in ("message", "detail", "msg") if reply.get(key)), "")
        text = "the reply is no chat completion: it has no choices" + (f", but says {said}" if said else "")
        raise Faulty(Fault("retry", one_line(text), advice=ANSWERS if said else NO_COMPLETION))
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise Faulty(Fault("retry", "the reply is no chat completion: its choice has no message", advice=NO_COMPLETION))
    _only_thought(message, choices[0].get("finish_reason"))
    reply["choices"] = choices[:1]
    if not isinstance(choices[0].get("finish_reason"), str | None):
        choices[0]["finish_reason"] = None
    reply["usage"] = _usage(reply.get("usage"))
    return json.dumps(reply).encode()


def plausible(tokens: Any) -> int | None:
    """A figure of an endpoint's usage as a number; None where it says nothing that can be true."""
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 < tokens <= MOST_TOKENS:
        return None
    return tokens


def _usage(usage: Any) -> dict[str, int] | None:
    if not isinstance(usage, dict):
        return None
    tokens_in, tokens_out = plausible(usage.get("prompt_tokens")) or 0, plausible(usage.get("completion_tokens")) or 0
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}


def _only_thought(message: dict[str, Any], finish: Any) -> None:
    """Raises Faulty for a message with thoughts and no word of an answer: thoughts are no verdict. (One that was cut is
    left to the client, which knows the limit.)"""
    if message.get("content") or message.get("tool_calls") or message.get("refusal") or finish == "length":
        return
    if finish != "content_filter" and any(message.get(key) for key in ("reasoning_content", "reasoning", "thinking")):
        raise Faulty(
            Fault(
                "request",
                f"the model thought but gave no answer (finish_reason {one_line(str(finish))[:40]})",
                advice="switch off the model's thinking at the endpoint",
            )
        )


def _failed(choices: Any) -> bool:
    """Whether the first choice of a reply with an error beside it has nothing that can be read."""
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = first.get("message")
    return not (isinstance(message, dict) and message.get("content")) or first.get("finish_reason") == "error"


def _of_error(error: Any) -> Fault:
    """The fault behind an error that came with the status 200, in the provider's own words."""
    parts = error if isinstance(error, dict) else {"message": error}
    said = str(parts.get("message") or parts.get("detail") or json.dumps(parts, default=str))
    code = parts.get("code") if parts.get("code") is not None else parts.get("status")
    text = one_line(f"the endpoint answered with an error: {said}" + (f" (code {code})" if code is not None else ""))
    status = int(code) if isinstance(code, int | str) and str(code).isdecimal() and 400 <= int(code) < 600 else 0
    details = f"{text} {json.dumps(parts, default=str)[:5000]}"
    fault = from_status(status or 500, text, details)
    return fault if status or fault.kind != "retry" else Fault("retry", text, advice=ANSWERS)


def _port(url: Any) -> int:
    return url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


def _bounded(response: Any, deadline: float, timeout: float) -> Iterator[bytes]:
    """The body, decompressed, while it lasts: never past the deadline, nor past MAX_BYTES in memory."""
    names = [name.strip().lower() for name in response.headers.get("Content-Encoding", "").split(",")]
    coded = [name for name in names if name not in ("", "identity")]
    if coded and coded not in (["gzip"], ["x-gzip"], ["deflate"]):
        raise Faulty(Fault("retry", f"the reply is compressed as {one_line(', '.join(coded))}", advice=NO_COMPLETION))
    size = 0
    raw = _in_time(response.stream, deadline, timeout)
    for chunk in _inflated(raw) if coded else raw:
        size += len(chunk)
        if size > MAX_BYTES:
            raise Faulty(Fault("client", f"the reply is larger than {MAX_BYTES // 2**20} MB", advice=NO_COMPLETION))
        yield chunk


def _in_time(stream: Iterable[bytes], deadline: float, timeout: float) -> Iterator[bytes]:
    for chunk in stream:
        if time.monotonic() > deadline:
            raise Faulty(too_slow(timeout))
        yield chunk


def too_slow(timeout: float) -> Fault:
    return Fault("retry", f"the reply was not there after judge.timeout = {timeout:g} s", advice=SLOW)


def _inflated(raw: Iterable[bytes]) -> Iterator[bytes]:
    """gzip or zlib, in pieces of a MiB at most, so that a small body cannot fill the memory."""
    inflate = zlib.decompressobj(47)  # either header
    try:
        for chunk in raw:
            while chunk and not inflate.eof:
                yield inflate.decompress(chunk, 2**20)
                chunk = inflate.unconsumed_tail
    except zlib.error as error:
        raise Faulty(Fault("retry", f"the reply is not compressed as it says: {error}", advice=ANSWERS)) from None
