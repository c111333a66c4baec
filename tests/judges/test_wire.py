"""Servers on this machine that answer as no server should, byte by byte, asked over real HTTP."""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from odd_server import CLEAN, MARKS, Handle, Place, completion, reply

from judges import make_judge
from judges.settings import Budget, JudgeSettings, JudgeStopped
from judges.wire import MAX_BYTES, MOST_TOKENS, plausible
from rlaif.prompts import load_judge_prompt
from rlaif.types import JudgeItem, UsageError, Verdict

pytestmark = pytest.mark.slow

ITEMS = [JudgeItem(f"c{n}", "What helps?", f"Answer {n}.", "Rest.", key_points=("rest",)) for n in range(4)]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Handle], Place]]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    places: list[Place] = []

    def start(handle: Handle) -> Place:
        places.append(Place(handle))
        return places[-1]

    yield start
    for each in places:
        each.close()


def judge(where: Place, **more: Any) -> Any:
    chosen: dict[str, Any] = {
        "base_url": where.url, "backoff": 0.001, "timeout": 10.0, "retries": 1, "concurrency": 1
    }  # fmt: skip
    return make_judge("m", JudgeSettings(**chosen | more))


def score(where: Place, n: int = 1, **more: Any) -> tuple[list[Verdict], str]:
    """Verdicts of the first `n` items, and why the judging stopped."""
    try:
        return judge(where, **more).score(ITEMS[:n]), ""
    except JudgeStopped as error:
        return list(error.verdicts), str(error)


# What is read of a reply.


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (completion("Marks: factual_accuracy: 2, completeness: 1, key_point_coverage: 1. But", "length"), "cut"),
        (completion('{"factual_accuracy": 1, "completeness": 1, "key_point_coverage": 1} But', "max_tokens"), "cut"),
        (completion("factual_accuracy: 2, completeness: 1, key_point_coverage: 1. But", None,
                    {"prompt_tokens": 9, "completion_tokens": 400}), "cut"),
        (completion("factual_accuracy: 2, completeness: 1, key_point_coverage: 1. But", "abort"), "broke off"),
        (completion(f"<think>{CLEAN}", "stop"), "no JSON object"),
        (completion(None, "stop", reasoning_content=CLEAN), "thought but gave no answer"),
        (completion("", "stop", reasoning=CLEAN), "thought but gave no answer"),
        (completion(None, "length", reasoning_content=CLEAN), "before its first word"),
    ],
)  # fmt: skip
def test_a_draft_has_no_marks(place: Callable[[Handle], Place], body: Any, why: str) -> None:
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, body)))
    assert verdict.score is None and verdict.factual_accuracy is None and why in verdict.reason


@pytest.mark.parametrize(
    "body",
    [
        completion(reasoning_content="factual_accuracy: 1"),
        completion(f"{CLEAN}\n\n", "length"),
        completion(f"factual_accuracy: 1, so far</think>{CLEAN}"),
        completion("**Factual Accuracy:** 4\n**Completeness:** 4\n**Key Point Coverage:** 5"),
        completion(json.dumps({name: {"score": mark, "reason": "ok"} for name, mark in MARKS.items()})),
        completion() | {"error": None},
        completion() | {"error": {"message": "a warning beside an answer"}},
    ],
)
def test_a_finished_reply_has(place: Callable[[Handle], Place], body: Any) -> None:
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, body)))
    assert verdict.score == 0.8125


# How a server wants to be asked.


def refusing(word: str, status: int, message: str) -> Handle:
    def handle(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        if word in json.dumps(asked):
            reply(handler, {"error": {"message": message}}, status)
        else:
            reply(handler, completion())

    return handle


@pytest.mark.parametrize(
    ("word", "status", "message"),
    [
        ("max_completion_tokens", 422, "field max_completion_tokens is not known here"),
        ("max_completion_tokens", 400, "Unrecognized request argument supplied: max_completion_tokens"),
        ("max_completion_tokens", 400, "bad request"),
        ("response_format", 400, "response_format is not supported"),
        ("response_format", 500, "Internal Server Error"),
        ("response_format", 501, "not implemented"),
        ('"system"', 400, "System role not supported"),
    ],
)
def test_one_fall_back_each_and_it_is_remembered(
    place: Callable[[Handle], Place], word: str, status: int, message: str
) -> None:
    server = place(refusing(word, status, message))
    verdicts, _ = score(server, 4)
    assert [v.score for v in verdicts] == [0.8125] * 4
    assert [v.attempts for v in verdicts] == [2 if "bad" not in message else 3, 1, 1, 1]
    last = server.bodies[-1]
    assert 400 in (last.get("max_tokens"), last.get("max_completion_tokens")) and word not in json.dumps(last)
    told = [" ".join(m["content"] for m in body["messages"]).split() for body in (server.bodies[0], server.bodies[1])]
    assert told[0] == told[1]  # the same words, whatever turn they stand in


def test_both_fall_backs_together(place: Callable[[Handle], Place]) -> None:
    def handle(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        wrong = [name for name in ("response_format", "max_completion_tokens") if name in asked]
        reply(handler, {"detail": wrong} if wrong else completion(), 422 if wrong else 200)

    verdicts, _ = score(place(handle), 3)
    assert [v.score for v in verdicts] == [0.8125] * 3 and [v.attempts for v in verdicts][1:] == [1, 1]


def test_a_server_that_overlooks_the_limit_gets_the_older_name(place: Callable[[Handle], Place]) -> None:
    server = place(lambda handler, asked: reply(
        handler, completion(usage={"prompt_tokens": 9, "completion_tokens": 400 if "max_tokens" in asked else 5000})
    ))  # fmt: skip
    verdicts, _ = score(server, 3)
    assert [v.tokens_out for v in verdicts] == [5000, 400, 400] and [v.attempts for v in verdicts] == [1, 1, 1]
    assert [("max_tokens" in b, "max_completion_tokens" in b) for b in server.bodies] == [
        (False, True), (True, False), (True, False),
    ]  # fmt: skip


def test_a_server_error_is_no_word_on_the_schema_once_it_was_taken(place: Callable[[Handle], Place]) -> None:
    server = place(lambda handler, asked: reply(handler, *((completion(),) if len(server.bodies) != 2 else ({}, 500))))
    verdicts, _ = score(server, 3)
    assert [v.score for v in verdicts] == [0.8125] * 3 and all("response_format" in body for body in server.bodies)


def test_no_turn_is_empty(place: Callable[[Handle], Place], tmp_path: Path) -> None:
    head, _, rest = load_judge_prompt("prompts/judge/default.md").text.partition("# system")
    path = tmp_path / "mine.md"
    path.write_text(f"{head}# system\n\n{{context}}\n\n# user{rest.partition('# user')[2]}", "utf-8")
    server = place(lambda handler, asked: reply(handler, completion()))
    assert score(server, prompt=load_judge_prompt(path))[0][0].score == 0.8125
    assert [message["role"] for message in server.bodies[0]["messages"]] == ["user"]


# What is said about a fault.


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (400, {"message": "temperature 0 is not taken by this model", "param": "temperature"}, "judge.temperature"),
        (400, {"message": "Unsupported value: 'temperature' does not support 0.0 here."}, "judge.temperature"),
        (422, {"message": "temperature must be strictly positive"}, "judge.temperature"),
        (400, {"message": "This model's maximum context length is 512 tokens. However, you requested 900 tokens"},
         "longer context"),
        (400, {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"},
         "longer context"),
        (413, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, "longer context"),
        (429, {"message": "see your plan", "code": "insufficient_quota"}, "top up the account"),
        (402, {"message": "no"}, "top up the account"),
        (400, {"message": "Your credit balance is too low"}, "top up the account"),
        (404, {"message": "The model `m` does not exist"}, "check judge.model"),
        (400, {"message": "model 'm' not found, try pulling it first"}, "check judge.model"),
        (400, {"message": "max_tokens is too large: 400. It supports at most 64"}, "lower judge.max_new_tokens"),
        (429, {"message": "slow down"}, "judge.requests_per_second"),
        (503, {"message": "loading"}, "lower judge.concurrency"),
        (500, {"message": "boom"}, "the endpoint answers, but with errors"),
        (200, {"message": "the provider behind this router failed", "code": 502}, "the endpoint answers, but"),
        (200, {"message": "This model's maximum context length is 512 tokens", "code": 400}, "longer context"),
        (200, {"message": "Insufficient credits", "code": 402}, "top up the account"),
    ],
)  # fmt: skip
def test_each_fault_has_its_own_advice(
    place: Callable[[Handle], Place], status: int, error: dict[str, Any], advice: str
) -> None:
    verdicts, why = score(place(lambda handler, asked: reply(handler, {"error": error}, status)), 4)
    assert advice in why and "start the endpoint" not in why and "\n" not in why
    assert error["message"] in verdicts[0].reason and all(v.score is None for v in verdicts)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>login</html>", "begins with '<html>login</html>'"),
        ([1, 2], "but a list"),
        ({"detail": "Not a model"}, "says Not a model"),
        ({"choices": []}, "no choices"),
        ({"choices": None}, "no choices"),
        ({"choices": [{"message": None}]}, "no message"),
        ({"error": "overloaded"}, "an error: overloaded"),
        (b"[" * 100_000, "no chat completion"),
    ],
)
def test_what_is_no_completion_is_called_so(place: Callable[[Handle], Place], body: Any, why: str) -> None:
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, body)))
    assert verdict.status == "failed" and why in verdict.reason and "Error:" not in verdict.reason


# Usage.


@pytest.mark.parametrize(
    "figure", [-5, -(10**9), 2**70, "a", "12", None, 1.5, [], {}, True, 0, float("nan"), MOST_TOKENS + 1]
)
def test_a_figure_that_cannot_be_true_is_not_reported(place: Callable[[Handle], Place], figure: Any) -> None:
    assert plausible(figure) is None
    usage = {"prompt_tokens": figure, "completion_tokens": figure, "total_tokens": figure}
    (honest,), _ = score(place(lambda handler, asked: reply(handler, completion())))
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, completion(usage=usage))))
    assert (verdict.status, verdict.tokens_in, verdict.tokens_out) == ("scored", honest.tokens_in, len(CLEAN) // 4)
    assert honest.tokens_in > 100


def test_negative_figures_do_not_undo_the_budget(place: Callable[[Handle], Place]) -> None:
    usage = {"prompt_tokens": -(10**9), "completion_tokens": -5, "total_tokens": -1}
    server = place(lambda handler, asked: reply(handler, completion(usage=usage)))
    verdicts, why = score(server, 4, budget=Budget(tokens=2500))
    assert "judge.max_tokens" in why and len(server.bodies) == len(verdicts) < 4


@pytest.mark.parametrize("usage", ["a lot", [1], 7, {"prompt_tokens_details": "x", "completion_tokens_details": 3}])
def test_usage_of_another_shape(place: Callable[[Handle], Place], usage: Any) -> None:
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, completion(usage=usage))))
    assert verdict.score == 0.8125 and verdict.tokens_in > 100


# Time and size.


def stream(handler: BaseHTTPRequestHandler, piece: bytes, pause: float, head: bytes = b"") -> None:
    handler.wfile.write(
        head or b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    )
    for _ in range(2_000):
        handler.wfile.write(piece)
        handler.wfile.flush()
        time.sleep(pause)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_reply_that_drips_ends_with_the_time_out(place: Callable[[Handle], Place], head: bytes) -> None:
    piece = head if head.startswith(b"HTTP/1.1 100") else b" "
    started = time.monotonic()
    (verdict,), _ = score(place(lambda handler, asked: stream(handler, piece, 0.05, head)), timeout=0.6, retries=0)
    assert "not there after judge.timeout = 0.6 s" in verdict.reason
    assert time.monotonic() - started < 30  # it would take 100 s


def bomb(coding: str) -> bytes:
    plain = b" " * (200 * 2**20)
    return gzip.compress(plain, 9) if coding == "gzip" else zlib.compress(plain, 9)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_small_reply_that_is_large_inside(place: Callable[[Handle], Place], coding: str) -> None:
    data = bomb(coding)
    assert len(data) < MAX_BYTES
    _, why = score(place(lambda handler, asked: reply(handler, data, Content_Encoding=coding)))
    assert "larger than 8 MB" in why


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_reply_without_an_end(place: Callable[[Handle], Place], head: bytes) -> None:
    _, why = score(place(lambda handler, asked: stream(handler, b" " * 2**20, 0, head)))
    assert "larger than 8 MB" in why


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
def test_a_compressed_reply_is_read(
    place: Callable[[Handle], Place], coding: str, pack: Callable[[bytes], bytes]
) -> None:
    data = pack(json.dumps(completion()).encode())
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, data, Content_Encoding=coding)))
    assert verdict.score == 0.8125


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_a_compression_that_was_not_asked_for(place: Callable[[Handle], Place], coding: str) -> None:
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, b"x", Content_Encoding=coding)))
    assert f"compressed as {coding}" in verdict.reason


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_is_sent_on_to_another_server(place: Callable[[Handle], Place], status: int) -> None:
    other = place(lambda handler, asked: reply(handler, completion()))
    server = place(lambda handler, asked: reply(handler, b"", status, Location=f"{other.url}/chat/completions"))
    (verdict,), why = score(server)
    assert verdict.status == "failed" and other.bodies == []
    assert "sends questions on to another server" in why and "judge.base_url if you trust it" in why


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1/v1/chat/completions", "file:///etc/passwd", "//example.invalid/x"]
)
def test_another_scheme_is_another_server(place: Callable[[Handle], Place], target: str) -> None:
    _, why = score(place(lambda handler, asked: reply(handler, b"", 307, Location=target)))
    assert "sends questions on to another server" in why


def test_a_redirect_within_the_server_is_followed(place: Callable[[Handle], Place]) -> None:
    def handle(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        if handler.path.startswith("/v1"):
            reply(handler, b"", 307, Location="/v2/chat/completions")
        else:
            reply(handler, completion())

    (verdict,), _ = score(place(handle))
    assert verdict.score == 0.8125


# Keys.

KEY = "sk-proj-a1B2c3D4e5F6g7H8i9J0"


@pytest.mark.parametrize(
    "disguise",
    [
        lambda key: key,
        lambda key: f"Bearer {key}",
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.urlsafe_b64encode(f"user:{key}".encode()).decode().rstrip("="),
        lambda key: key.encode().hex(),
        lambda key: key[:16] + "...",
        lambda key: "".join(f"%{ord(char):02x}" for char in key),
        lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    ],
)
def test_a_key_that_is_sent_back_is_not_kept(
    place: Callable[[Handle], Place], monkeypatch: pytest.MonkeyPatch, disguise: Callable[[str], str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    shown = disguise(KEY)
    said = json.dumps({"rationale": f"your key is {shown}"} | MARKS)
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, completion(said, finish="stop"))))
    assert verdict.score == 0.8125 and shown[:14] not in repr(verdict) and "[redacted]" in verdict.rationale
    for status in (200, 400, 401, 500):
        error = {"error": {"message": f"wrong key {shown}"}}
        verdicts, why = score(place(lambda handler, asked, s=status, e=error: reply(handler, e, s)))
        assert shown[:14] not in why + repr(verdicts) and "[redacted]" in repr(verdicts)
    (verdict,), _ = score(place(lambda handler, asked: reply(handler, completion("no marks", finish=shown))))
    assert shown[:14] not in repr(verdict)


@pytest.mark.parametrize(
    ("model", "url"),
    [
        (f"openai:{KEY}", "http://127.0.0.1:1/v1"),
        (KEY, "http://127.0.0.1:1/v1"),
        ("m", f"http://127.0.0.1:1/{KEY}/v1"),
        ("m", "http://127.0.0.1:1/the-value-of-a-token/v1"),
        ("m", f"http://{KEY}.example.org/v1"),
        ("m", f"http://user:{KEY}@127.0.0.1:1/v1"),
        ("m", f"http://127.0.0.1:1/v1?key={KEY}"),
        ("m", f"ftp://127.0.0.1/{KEY}"),
    ],
)
def test_a_key_in_a_name_or_an_address_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, model: str, url: str) -> None:
    monkeypatch.setenv("SOME_TOKEN", "the-value-of-a-token")
    with pytest.raises(UsageError, match="would be recorded; put the key into the environment") as caught:
        make_judge(model, JudgeSettings(base_url=url))
    assert KEY not in str(caught.value) and "the-value" not in str(caught.value)


@pytest.mark.parametrize(
    "model",
    ["qwen3:8b", "meta-llama/Llama-3.1-8B-Instruct", "sk-coder", "hf.co/org/model-GGUF:Q4_K_M", "gpt-4o-2024-08-06"],
)
def test_a_name_is_no_key(model: str) -> None:
    assert make_judge(model, JudgeSettings(base_url="http://127.0.0.1:1/v1")).identity.model
