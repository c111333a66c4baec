"""A tiny run whose judge is a chat model on loopback: endpoint dead, then alive; no licence; what the database holds
afterwards.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "tiny.toml"


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python cli.py ARGUMENTS`."""
    done = subprocess.run(
        [sys.executable, "cli.py", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def marks(prompt: str) -> str:
    """A clean verdict: as many marks as key points stand in the answer word for word."""
    points = re.findall(r"^\d+\. (.+)$", prompt, re.MULTILINE)
    answer = re.search(r"^<answer (\w+)>\n(.*)\n</answer \1>$", prompt, re.DOTALL | re.MULTILINE)
    assert points and answer, prompt
    mark = 1 + round(4 * sum(p in answer[2] for p in points) / len(points))
    return json.dumps(
        {"rationale": "word for word", "factual_accuracy": mark, "completeness": mark, "key_point_coverage": mark}
    )


def winner(prompt: str) -> str:
    """A clean comparison: the answer in which more key points stand word for word."""
    points = re.findall(r"^\d+\. (.+)$", prompt, re.MULTILINE)
    a, b = (
        re.search(rf"^<answer {x} (\w+)>\n(.*?)\n</answer {x} \1>$", prompt, re.DOTALL | re.MULTILINE) for x in "AB"
    )
    assert points and a and b, prompt
    one, two = (sum(p in found[2] for p in points) for found in (a, b))
    return json.dumps({"rationale": "counted", "winner": "A" if one > two else "B" if two > one else "tie"})


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        text = winner(prompt) if "<answer A" in prompt else marks(prompt)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 300, "completion_tokens": 30, "total_tokens": 330}
        data = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice], "usage": usage}
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data.encode())

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def listening(port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def port() -> int:
    """A port that nobody listens on; the test starts a server on it."""
    return free_port()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_run_judged_by_a_chat_model(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    run = tmp_path / "run"
    judge = [
        "judge.model=stub",
        f"judge.base_url=http://127.0.0.1:{port}/v1",
        "judge.retries=0",
        "judge.price_in=1",
        "pairs.confirm_below=1",
    ]
    command = [
        "loop",
        "--rounds",
        1,
        "--run",
        run,
        "--profile",
        TINY,
        *(part for key in judge for part in ("--set", key)),
    ]

    code, _, err = call(*command)
    assert code == 2, "a judge labels only with a licence"
    assert "has sat no exam" in err and "judge exam --run" in err
    command += ["--set", "judge.require_licence=false"]

    code, _, err = call(*command)
    assert code == 1, err
    assert f"127.0.0.1:{port}" in err and "same command" in err
    store = Store.open(run)
    candidates = store.query("SELECT candidate_id FROM candidates")
    assert candidates, "what was sampled is kept"
    assert not store.query("SELECT 1 FROM verdicts WHERE score IS NOT NULL")

    # it goes on with two servers, of which one is away
    away = free_port()
    servers = f'judge.urls=["http://127.0.0.1:{away}/v1", "http://127.0.0.1:{port}/v1"]'
    with listening(port):
        code, _, err = call(*command, "--set", "judge.base_url=", "--set", servers)
    assert code == 0, err
    assert f"judge.urls: no answer from 127.0.0.1:{away}: " in err and "its calls go to the others" in err
    assert "calls, about" in err and "cost about" in err and "labels without a licence" in err
    assert "HTTP Request" not in err, "no library's log of each call between our lines"
    verdicts = store.query("SELECT * FROM verdicts")
    assert len(verdicts) == len(candidates) and {v["status"] for v in verdicts} == {"scored"}
    assert {v["rationale"] for v in verdicts} == {"word for word"}
    judges = {
        row["prompt_name"]: row
        for row in store.query("SELECT j.*, p.text FROM judges j JOIN prompts p USING (prompt_sha256)")
    }
    assert set(judges) == {"default", "pairwise"} and {j["model"] for j in judges.values()} == {"openai:stub"}
    who = judges["default"]
    assert "How to mark" in who["text"]
    assert (
        store.query("SELECT count(*) AS n FROM decisions WHERE kind = 'licence' AND action = 'OVERRIDE'")[0]["n"] == 1
    )
    used = store.query(
        "SELECT sum(calls) AS calls, sum(tokens_in) AS tokens FROM judge_usage WHERE judge_id = ?", [who["judge_id"]]
    )[0]
    marked = store.query("SELECT count(*) AS n FROM eval_items WHERE metric = 'labelling_quality'")[0]["n"]
    assert marked == 2 * 24, "the answers of champion and challenger to the gate's questions"
    assert 0 < used["calls"] <= len(candidates) + marked + 32, "one call an answer, and those that found nobody"
    assert used["tokens"] > 0 and used["tokens"] % 300 == 0  # the same answer twice is asked once
    assert store.query("SELECT passed, detail FROM gates WHERE condition = 'valid' AND (detail LIKE '%no licence%')")

    # every pair with a margin below 1 was asked about in both orders, and only those whose chosen answer won both were
    # kept
    asked = store.query("SELECT candidate_a, candidate_b, count(*) AS n FROM pairwise_verdicts GROUP BY ALL")
    assert asked and {row["n"] for row in asked} == {2}
    kept = {
        (p["chosen_id"], p["rejected_id"])
        for p in store.query("SELECT * FROM preferences WHERE status = 'kept' AND margin < 1")
    }
    won = store.query(
        "SELECT candidate_a, candidate_b FROM pairwise_verdicts GROUP BY ALL HAVING "
        "bool_and(coalesce(winner, '') = 'a') AND count(*) = 2"
    )
    assert kept and kept <= {(row["candidate_a"], row["candidate_b"]) for row in won}


def test_a_run_judged_by_a_jury(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    run = tmp_path / "run"
    keys = ["judge.model=reference,stub", f"judge.base_url=http://127.0.0.1:{port}/v1", "judge.require_licence=false"]
    with listening(port):
        code, _, err = call(
            "loop", "--rounds", 1, "--run", run, "--profile", TINY, *(part for key in keys for part in ("--set", key))
        )
    assert code == 0, err
    store = Store.open(run)
    models = {row["judge_id"]: row["model"] for row in store.query("SELECT judge_id, model FROM judges")}
    jury, *members = sorted(models.values())  # a jury names its members in the order of their judge_ids
    assert members == ["openai:stub", "reference"] == sorted(jury.removeprefix("jury: ").split(" + "))
    by_answer = store.query(
        "SELECT candidate_id, max(score) FILTER (j.model LIKE 'jury%') AS joint, avg(score) FILTER "
        "(j.model NOT LIKE 'jury%') AS mean, "
        "count(*) AS n FROM verdicts JOIN judges j USING (judge_id) GROUP BY candidate_id"
    )
    assert {row["n"] for row in by_answer} == {3}
    assert all(abs(row["joint"] - row["mean"]) < 1e-6 for row in by_answer)
    (labeller,) = {
        row["judge_id"] for row in store.query("SELECT DISTINCT judge_id FROM preferences WHERE status = 'kept'")
    }
    assert models[labeller].startswith("jury")
    turned = store.query(
        "SELECT count(*) AS n FROM preferences p JOIN verdicts c ON c.candidate_id = p.chosen_id JOIN verdicts r ON "
        "r.candidate_id = p.rejected_id AND r.judge_id = c.judge_id WHERE p.status = 'kept' AND c.score < r.score"
    )
    assert turned[0]["n"] == 0, "no kept pair that a member would turn round"
