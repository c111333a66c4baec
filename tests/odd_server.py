"""A small server in the shape of OpenAI's chat completions that a test tells what to answer, byte by byte."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MARKS = {"factual_accuracy": 4, "completeness": 4, "key_point_coverage": 5}
CLEAN = json.dumps({"rationale": "because"} | MARKS)
Handle = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


def completion(content: Any = CLEAN, finish: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content} | message, "finish_reason": finish}
    whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return whole | ({} if usage is None else {"usage": usage})


def reply(handler: BaseHTTPRequestHandler, body: Any, status: int = 200, **headers: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(data))} | names).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


class Place:
    """A server that hands each request to `handle`, and keeps what it was asked."""

    def __init__(self, handle: Handle, port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.models: Any = None  # what GET /v1/models says; None: there is no such list
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                place.bodies.append(body)
                handle(self, body)

            def do_GET(self) -> None:
                reply(self, place.models if place.models is not None else {}, 200 if place.models is not None else 404)

            def log_message(self, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:  # a client that hung up
                pass

        self.http = Quiet(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
