"""The gateway over real HTTP on loopback, with a small server in place of `transformers serve`."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rlaif.run import Run
from rlaif.types import RlaifError

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serving")
KEY = "a-key-of-some-length"
SFT, BASE = "5f70000000000000", "base0"
JSON = {"Content-Type": "application/json"}


class Behind(ThreadingHTTPServer):
    """Remembers what it was asked; streams two pieces, the second only when `go_on` is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.go_on = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Behind

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body, dict(self.headers)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: one\n\n")
        self.wfile.flush()
        if body.get("stream"):
            assert self.server.go_on.wait(30)
        self.wfile.write(b"data: two\n\n")

    def log_message(self, *args: Any) -> None:
        return


class Door:
    def __init__(self, port: int, behind: Behind, prepared: list[str], said: list[str]) -> None:
        self.port, self.behind, self.prepared, self.said = port, behind, prepared, said

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = self.connect()
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, sent, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def chat(self, body: Any, **headers: str) -> tuple[int, Any]:
        return self.ask("POST", "/v1/chat/completions", body, **({"Content_Type": "application/json"} | headers))


@pytest.fixture
def door(paired_run: Run) -> Iterator[Callable[[str], Door]]:
    from rlaif.share.gateway import make_app

    behind = Behind()
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    started: list[Any] = []

    def opened(key: str = "") -> Door:
        prepared: list[str] = []
        said: list[str] = []

        def prepare(policy_id: str) -> None:
            if policy_id == BASE:
                raise RlaifError("/a/secret/place: no weights")
            prepared.append(policy_id)

        app = make_app(paired_run, f"http://127.0.0.1:{behind.server_port}", prepare, key, said.append)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        started.append((server, thread))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return Door(port, behind, prepared, said)

    yield opened
    behind.go_on.set()
    for server, thread in started:
        server.should_exit = True
        thread.join(30)
    behind.shutdown()
    behind.server_close()


def test_names_and_ids_reach_the_policy_and_nothing_else_does(door: Callable[..., Door]) -> None:
    one = door()
    status, listed = one.ask("GET", "/v1/models")
    assert status == 200 and [m["id"] for m in listed["data"]] == ["champion", "sft", "base", BASE, SFT]
    for name in ("champion", "sft", SFT):
        status, said = one.chat({"model": name, "messages": [], "seed": 3})
        assert (status, said) == (200, "data: one\n\ndata: two\n\n")
    asked = {"model": SFT, "messages": [], "seed": 3}
    assert [(path, body) for path, body, _ in one.behind.asked] == [("/v1/chat/completions", asked)] * 3
    assert one.prepared == [SFT] * 3
    for name in ("..", "../../etc", "/etc/passwd", f"../served/{SFT}", SFT[:8], SFT.upper(), "Qwen/Qwen2.5-0.5B", ""):
        status, said = one.chat({"model": name})
        assert status == 404 and said["error"]["code"] == "model_not_found", name
    for path in ("/v1/../load_model", "/load_model", "/reset", "/v1/audio/transcriptions", "/docs", "/%2e%2e/etc"):
        assert one.ask("POST", path, {"model": SFT}, **{"Content_Type": "application/json"})[0] == 404, path
    assert len(one.behind.asked) == 3


def test_what_is_wrong_is_said_and_goes_no_further(door: Callable[..., Door]) -> None:
    one = door()
    assert one.chat(b"{")[0] == one.chat([])[0] == one.chat({})[0] == one.chat({"model": 7})[0] == 400
    assert one.chat(b"[" * 100_000)[0] == 400
    assert one.chat({"model": "sft"}, Content_Type="text/plain")[0] == 415, "what a web page can send unasked"
    status, said = one.chat({"model": "base"})
    assert status == 503 and "secret" not in json.dumps(said) and one.said == ["/a/secret/place: no weights"]
    assert one.behind.asked == []


def test_a_body_that_is_too_large_is_refused_also_without_a_length(door: Callable[..., Door]) -> None:
    from rlaif.share.gateway import MAX_BODY

    one = door()
    most = json.dumps({"model": "sft", "x": ""}).encode()
    assert one.chat(most[:-2] + b"x" * (MAX_BODY - len(most)) + b'"}')[0] == 200
    assert one.chat(most[:-2] + b"x" * (MAX_BODY - len(most) + 1) + b'"}')[0] == 413
    connection = one.connect()
    connection.request("POST", "/v1/chat/completions", iter([b"x" * 2**16] * 17), JSON, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert len(one.behind.asked) == 1


def test_a_key_is_asked_for_and_goes_no_further(door: Callable[..., Door]) -> None:
    one = door(KEY)
    for headers in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": KEY}, {"Authorization": "Bearer "}):
        assert one.chat({"model": "sft"}, **headers)[0] == 401
        assert one.ask("GET", "/v1/models", **headers)[0] == 401
    assert one.behind.asked == [] and one.prepared == []
    assert one.chat({"model": "sft"}, Authorization=f"Bearer {KEY}", Host="anywhere.example")[0] == 200
    assert KEY not in json.dumps(one.behind.asked)


def test_no_web_page_gets_in(door: Callable[..., Door]) -> None:
    one = door()
    assert one.chat({"model": "sft"}, Host="evil.example")[0] == 400, "a name that was bent to this machine"
    connection = one.connect()
    asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    connection.request("OPTIONS", "/v1/chat/completions", headers=asks)
    answer = connection.getresponse()
    assert answer.status == 405 and "access-control" not in str(answer.headers).lower()
    connection.close()
    assert one.behind.asked == []


def test_pieces_come_as_they_are_made(door: Callable[..., Door]) -> None:
    one = door()
    connection = one.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "sft", "stream": True}), JSON)
    answer = connection.getresponse()
    assert answer.readline() == b"data: one\n" and not one.behind.go_on.is_set()
    one.behind.go_on.set()
    assert answer.read().endswith(b"data: two\n\n")
    connection.close()
