"""A hub on loopback that keeps what is uploaded: as much of the real one as an upload of small files asks for."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """`repos`: name -> {"private", "files", "message"}; `tokens`: those that were sent."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        self.url = ""


@contextmanager
def served() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            name = "/".join(self.path.split("?")[0].split("/")[3:5])  # /api/models/owner/name
            repo = hub.repos.get(name)
            if repo is None:
                return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            self.answer(200, {"id": name, "private": repo["private"], "tags": [], "siblings": []})

        def do_POST(self) -> None:  # noqa: N802
            hub.tokens.add(self.headers.get("authorization", ""))
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.split("?")[0]
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                private = asked.get("private") or asked.get("visibility") == "private"
                hub.repos[name] = {"private": bool(private), "files": {}, "message": ""}
                self.answer(200, {"url": f"{hub.url}/{name}", "name": name})
            elif path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in path:
                files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                         for f in json.loads(body)["files"]]  # fmt: skip
                self.answer(200, {"files": files})
            elif "/commit/" in path:
                repo = hub.repos["/".join(path.split("/")[3:5])]
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "header":
                        repo["message"] = line["value"]["summary"]
                    else:
                        repo["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer(200, {"commitUrl": f"{hub.url}/x/y/commit/1", "commitOid": "1" * 40, "success": True})
            else:
                self.answer(404, {"error": f"no {path} here"})

        def answer(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(value).encode()
            self.send_response(code)
            for key, text in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **(headers or {}),
            }.items():
                self.send_header(key, text)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Nothing: the test says what it found."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
