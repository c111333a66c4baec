"""A chat model on loopback that judges by rubrics, without a model."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def verdicts(prompt: str, silent: str = "", drawn: bool = False) -> str:
    """Met is what the answer has more than half of the longer words of; or, `drawn`, by a hash of answer and criterion.
    Criteria with the words `silent` get no verdict.
    """
    answer = re.search(r"^<answer (\w+)>\n(.*?)\n</answer \1>$", prompt, re.DOTALL | re.MULTILINE)
    assert answer, prompt
    said = set(re.findall(r"[a-z]{4,}", answer[2].lower()))
    found = []
    for number, text in re.findall(r"^(\d+)\. (.+)$", prompt, re.MULTILINE):
        if silent and silent in text:
            continue
        wanted = set(re.findall(r"[a-z]{4,}", text.lower()))
        is_met = 2 * len(wanted & said) > len(wanted)
        if drawn:
            is_met = sha256(f"{answer[2]}/{text}".encode()).digest()[0] % 2 == 0
        met = "yes" if is_met else "no"
        found.append({"criterion": int(number), "reason": f"{len(wanted & said)} words", "met": met})
    return json.dumps({"verdicts": found})


class Handler(BaseHTTPRequestHandler):
    silent, drawn = "", False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = next(m["content"] for m in body["messages"] if "<answer " in m["content"])  # a repair comes behind it
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": verdicts(asked, self.silent, self.drawn)},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 300, "completion_tokens": 30, "total_tokens": 330}
        data = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice], "usage": usage}
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data.encode())

    def log_message(self, *args: Any) -> None:
        """A test's output stays its own."""


@contextmanager
def served(silent: str = "", drawn: bool = False) -> Iterator[str]:
    """Its address, as `judge.base_url` wants it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Silent", (Handler,), {"silent": silent, "drawn": drawn}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
