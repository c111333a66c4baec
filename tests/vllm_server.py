"""A small HTTP server on loopback that speaks the few addresses of vLLM that rlaif asks, for tests without vLLM."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any] | None]
# (adapter's path or "", the request) -> token ids, their log-probabilities and why it ended, for each of n
Draw = Callable[[str, dict[str, Any]], list[tuple[list[int], list[float], str]]]


def two_words(_: str, body: dict[str, Any]) -> list[tuple[list[int], list[float], str]]:
    return [([5, 6], [-0.5, -0.25], "length")] * body["n"]


class VllmServer:
    """`with VllmServer() as server:` serves at `server.url`. `dies_after`: so many completions, then it hangs up on all
    that ask. What was asked of it stands in `asked`.
    """

    def __init__(self, draw: Draw = two_words, **settings: Any) -> None:
        self.draw, self.adapters, self.asked = draw, dict[str, str](), list[dict[str, Any]]()
        self.window, self.runtime_lora, self.refuses, self.dies_after = 1024, True, "", 10**9
        self.__dict__ |= settings
        self._lock = threading.Lock()

    def __enter__(self) -> VllmServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.reply(outer.get(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(outer.post(self.path, body))

            def reply(self, answer: Answer) -> None:
                code, said = answer
                if said is None:  # dead: hang up without a word
                    self.close_connection = True
                    return
                data = json.dumps(said).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Nothing on the terminal."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def dead(self) -> bool:
        return len(self.asked) > self.dies_after

    def get(self, path: str) -> Answer:
        if self.dead:
            return 0, None
        if path == "/version":
            return 200, {"version": "0.32.0"}
        if path == "/v1/models":
            cards: list[dict[str, Any]] = [{"id": "base", "max_model_len": self.window, "parent": None}]
            return 200, {"data": cards + [{"id": n, "root": p, "parent": "base"} for n, p in self.adapters.items()]}
        if path == "/v1/load_lora_adapter" and self.runtime_lora:
            return 405, {"detail": "Method Not Allowed"}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/v1/completions":
            with self._lock:
                self.asked.append(body)
                if self.dead:
                    return 0, None
            if body["model"] != "base" and body["model"] not in self.adapters:
                return 404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
            drawn = self.draw(self.adapters.get(body["model"], ""), body)
            return 200, {
                "choices": [
                    {
                        "index": i,
                        "text": "not read",
                        "token_ids": ids,
                        "logprobs": {"token_logprobs": logprobs},
                        "finish_reason": why,
                    }
                    for i, (ids, logprobs, why) in enumerate(drawn)
                ]
            }
        if self.dead:
            return 0, None
        if path == "/v1/load_lora_adapter" and self.runtime_lora:
            if self.refuses:
                return 500, {"error": {"message": self.refuses, "code": 500}}
            if body["lora_name"] in self.adapters:
                return 400, {"error": {"message": "The lora adapter has already been loaded.", "code": 400}}
            self.adapters[body["lora_name"]] = body["lora_path"]
            return 200, {}
        if path == "/v1/unload_lora_adapter" and self.runtime_lora:
            self.adapters.pop(body["lora_name"])
            return 200, {}
        return 404, {"detail": "Not Found"}
