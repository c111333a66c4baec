"""The judge over real HTTP: a local server in the shape of OpenAI's chat completions, clean or misbehaving as a test
tells it to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from judges import make_judge
from judges.llm import LangChainJudge
from judges.settings import Budget, JudgeSettings, JudgeStopped
from rlaif.config_file import load_config
from rlaif.judging.stage import judge_round
from rlaif.prompts import load_judge_prompt
from rlaif.records import load_verdicts
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import Candidate, JudgeItem, Question, RlaifError
from stores.cache import AnswerCache

pytestmark = pytest.mark.slow

MARKS = ("factual_accuracy", "completeness", "key_point_coverage")
Reply = tuple[int, str | None, dict[str, str]]  # status, text of the answer (None: no body), headers


def clean(prompt: str) -> str:
    """What a clean model says: marks that depend on the prompt's words and on the answer."""
    digest = hashlib.sha256(prompt.split("\n\nHow to")[0].encode()).digest()
    return json.dumps({"rationale": "because"} | {name: 1 + digest[i] % 5 for i, name in enumerate(MARKS)})


class Server:
    """Counts what it was asked and what it answered, by content. `fault(prompt, time)` may give another reply than the
    clean one.
    """

    def __init__(self, fault: Callable[[str, int], Reply | None] = lambda prompt, time: None, port: int = 0) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()
        self.fault = fault
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = "\n".join(message["content"] for message in body["messages"])
                with server.lock:
                    server.asked[prompt] += 1
                    server.bodies.append(body)
                    server.keys.add(self.headers["Authorization"])
                    nth = server.asked[prompt]
                status, text, headers = server.fault(prompt, nth) or (200, clean(prompt), {})
                if status == 200 and text:
                    with server.lock:
                        server.answered[prompt] += 1
                message = {"role": "assistant", "content": text}
                usage = {
                    "prompt_tokens": len(prompt) // 4,
                    "completion_tokens": 30,
                    "total_tokens": len(prompt) // 4 + 30,
                }
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                answer = {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "stub",
                    "choices": [choice],
                    "usage": usage,
                }
                data = json.dumps(
                    answer if status == 200 else {"error": {"message": text or "no", "code": status}}
                ).encode()
                if headers.get("X-Garbled"):
                    data = data[: len(data) // 2]
                self.send_response(status)
                for name, value in (
                    headers | {"Content-Type": "application/json", "Content-Length": str(len(data))}
                ).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *args: Any) -> None:  # a client that gave up waiting
                pass

        self.http = Quiet(("127.0.0.1", port), Handler)
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    servers: list[Server] = []

    def start(*args: Any, **kwargs: Any) -> Server:
        servers.append(Server(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def item(index: int) -> JudgeItem:
    return JudgeItem(
        f"c{index}",
        f"What helps against ailment {index // 4}?",
        f"Answer number {index}.",
        "Rest.",
        key_points=("rest",),
    )


ITEMS = [item(index) for index in range(60)]


def settings(server: Server | None, **more: Any) -> JudgeSettings:
    url = server.url if server else f"http://127.0.0.1:{free_port()}/v1"
    return JudgeSettings(**{"base_url": url, "backoff": 0.005, "timeout": 20.0, "retries": 6} | more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_or_create(tmp_path / "run", load_config("embedded"))


def in_trouble(prompt: str, nth: int) -> Reply | None:
    """For 3 prompts of 10, the first answers are of a bad kind, then it is clean; one prompt never gets better."""
    digest = hashlib.sha256(prompt.encode()).digest()
    good = clean(prompt)
    if "could not be read" in prompt:
        return None if "number 7." not in prompt else (200, "I would say it is good.", {})
    if "number 7." in prompt:
        return 200, "A fine answer.", {}
    if digest[30] % 10 >= 3:
        return None
    if nth == 1 and digest[31] % 11 == 10:
        time.sleep(2.5)  # longer than the client waits
        return None
    if nth > 2:
        return None
    mark = json.loads(good)["factual_accuracy"]
    other = json.dumps(json.loads(good) | {"factual_accuracy": mark % 5 + 1})
    kinds: list[Reply] = [
        (500, "internal", {}),
        (503, "busy", {"Retry-After": "0.01"}),
        (429, "slow down", {"Retry-After": "0.02"}),
        (200, "", {}),
        (200, f"Sure! Here it is:\n```json\n{good}\n```\nAnything else?", {}),
        (200, json.dumps(json.loads(good) | {"factual_accuracy": True}), {}),
        (200, json.dumps(json.loads(good) | {"completeness": 17}), {}),
        (200, f"{good}\n{other}", {}),
        (200, good[:-9], {}),
        (200, good, {"X-Garbled": "1"}),
    ]
    return kinds[digest[31] % len(kinds)]


def test_a_misbehaving_server_changes_no_score(serve: Callable[..., Server], run: Run) -> None:
    truth = make_judge("stub", settings(serve())).score(ITEMS)
    assert {v.status for v in truth} == {"scored"} and len({v.score for v in truth}) > 10
    server = serve(in_trouble)
    cache = AnswerCache(run.store)
    verdicts = make_judge("stub", settings(server, timeout=1.5), cache).score(ITEMS)
    assert [v.candidate_id for v in verdicts] == [i.candidate_id for i in ITEMS]
    for got, wanted in zip(verdicts, truth, strict=True):
        if got.status == "scored":
            assert (got.score, got.factual_accuracy, got.completeness, got.key_point_coverage) == (
                wanted.score, wanted.factual_accuracy, wanted.completeness, wanted.key_point_coverage,
            )  # fmt: skip
        else:
            assert got.score is None and got.reason
    assert [(v.candidate_id, v.status) for v in verdicts if v.status != "scored"] == [("c7", "unparsed")]
    assert sum(v.attempts for v in verdicts) > len(ITEMS) + 5, "the server was not bad enough"
    run.store.write({"verdicts": verdicts})

    calls = len(server.bodies)
    again = make_judge("stub", settings(server), cache).score(ITEMS)
    assert again == verdicts and len(server.bodies) == calls, "what was answered was asked again"
    assert cache.used().calls == sum(v.attempts for v in verdicts) == calls


def test_a_budget_stops_and_a_larger_one_goes_on_without_loss(serve: Callable[..., Server], run: Run) -> None:
    server, cache = serve(), AnswerCache(run.store)
    with pytest.raises(JudgeStopped, match=r"25 calls.*judge.max_calls = 25.*--set judge.max_calls=") as caught:
        make_judge("stub", settings(server, budget=Budget(calls=25)), cache).score(ITEMS)
    assert len(server.bodies) == len(caught.value.verdicts) == cache.used().calls == 25
    with pytest.raises(JudgeStopped):
        make_judge("stub", settings(server, budget=Budget(calls=25)), cache).score(ITEMS)
    assert len(server.bodies) == 25
    verdicts = make_judge("stub", settings(server, budget=Budget(calls=60)), cache).score(ITEMS)
    assert {v.status for v in verdicts} == {"scored"} and max(server.asked.values()) == 1 and len(server.asked) == 60


def test_a_server_without_structured_output_is_asked_without(serve: Callable[..., Server]) -> None:
    server = serve()
    server.fault = lambda prompt, nth: (
        (400, "response_format is not supported", {}) if "response_format" in server.bodies[-1] else None
    )
    verdicts = make_judge("stub", settings(server, concurrency=1)).score(ITEMS[:5])
    assert {v.status for v in verdicts} == {"scored"} and [v.attempts for v in verdicts] == [2, 1, 1, 1, 1]


def test_what_is_sent(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(
            name, f"http://127.0.0.1:{free_port()}"
        )  # what is meant for this machine goes through no proxy
    make_judge("stub", settings(server, temperature=0.25, max_new_tokens=77)).score(ITEMS[:1])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    make_judge("openai:stub", settings(server)).score(ITEMS[1:2])
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("stub", 0.25, 77)
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["rationale", *MARKS]
    assert server.keys == {"Bearer none", "Bearer sk-from-the-environment"}
    assert make_judge("stub", settings(server)).identity == make_judge("openai:stub", settings(serve())).identity


# The loop's part: a round of candidates in a store, without models.


@pytest.fixture
def round_(run: Run) -> tuple[list[Question], list[Candidate]]:
    questions = [
        Question(
            f"q{n}",
            "medquad_style",
            "train",
            "s",
            f"g{n}",
            f"What helps against ailment {n}?",
            reference="Rest.",
            key_points=("rest",),
        )
        for n in range(10)
    ]
    candidates = [
        Candidate(f"k{n}", 1, f"q{n // 4}", "p", "s", n % 4, 0, 0, f"Answer number {n}.", 4, "stop", -1.0, {})
        for n in range(40)
    ]
    run.store.write({"questions": questions, "candidates": candidates})
    return questions, candidates


def judged(run: Run, judge: Any, round_: tuple[list[Question], list[Candidate]]) -> Any:
    return judge_round(run, judge, 1, *round_, Screen())


def test_a_dead_endpoint_stops_the_round_and_the_same_command_goes_on(
    serve: Callable[..., Server], run: Run, round_: Any
) -> None:
    port = free_port()
    where = JudgeSettings(base_url=f"http://127.0.0.1:{port}/v1", backoff=0.005, retries=2, concurrency=2, timeout=20.0)
    cache = AnswerCache(run.store)
    with pytest.raises(
        RlaifError, match=rf"no answer from the judge at 127.0.0.1:{port}.*refused.*run the same command again"
    ) as caught:
        judged(run, make_judge("stub", where, cache), round_)
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)
    assert cache.used().calls < 20 and run.done(1, "judge") is None

    def dies(prompt: str, nth: int) -> Reply | None:
        return (500, "dying", {}) if len(server.answered) >= 20 else None

    server = serve(dies, port=port)
    with pytest.raises(RlaifError, match="no answer from the judge.*dying"):
        judged(run, make_judge("stub", where, cache), round_)
    stored = load_verdicts(run, 1, make_judge("stub", where).identity.judge_id)
    assert len([v for v in stored if v.status == "scored"]) == 20
    assert all(v.score is None and v.reason for v in stored if v.status != "scored")

    server.fault = lambda prompt, nth: None
    verdicts = judged(run, make_judge("stub", where, cache), round_)
    assert len(verdicts) == 40 and {v.status for v in verdicts} == {"scored"}
    assert max(server.answered.values()) == 1 and len(server.answered) == 40
    assert run.done(1, "judge")["unscored"] == 0  # type: ignore[index]


def test_another_prompt_is_another_judge_and_the_old_scores_stay(
    serve: Callable[..., Server], run: Run, round_: Any, tmp_path: Path
) -> None:
    server, cache, path = serve(), AnswerCache(run.store), tmp_path / "mine.md"
    path.write_text(load_judge_prompt("prompts/judge/default.md").text, "utf-8")
    ids, scores = [], []
    for _ in range(2):
        judge = make_judge("stub", settings(server, prompt=load_judge_prompt(path)), cache)
        verdicts = judged(run, judge, round_)
        ids.append(judge.identity.judge_id)
        scores.append([v.score for v in verdicts])
        run.store.execute([("DELETE FROM stages", [])])
        path.write_text(path.read_text("utf-8").replace("an experienced clinician", "a strict pharmacist"), "utf-8")
    assert ids[0] != ids[1] and scores[0] != scores[1]
    assert [v.score for v in load_verdicts(run, 1, ids[0])] == scores[0]
    rows = run.store.query(
        "SELECT judge_id, model, text FROM judges JOIN prompts USING (prompt_sha256) WHERE kind = 'judge' ORDER BY text"
    )
    assert [row["judge_id"] for row in rows] == [ids[1], ids[0]] and "strict pharmacist" in rows[0]["text"]
    (agreement,) = run.store.query("SELECT n, judge_a, judge_b FROM judge_agreement")
    assert agreement["n"] == 40 and {agreement["judge_a"], agreement["judge_b"]} == set(ids)


def test_too_many_without_a_score_stop_the_round(serve: Callable[..., Server], run: Run, round_: Any) -> None:
    server = serve(lambda prompt, nth: (200, "A fine answer.", {}) if "number 1" in prompt else None)
    cache = AnswerCache(run.store)
    with pytest.raises(RlaifError, match="11 of 40 verdicts have no score.*judge.failure_limit"):
        judged(run, make_judge("stub", settings(server), cache), round_)
    lenient = dataclasses.replace(run, config=load_config("embedded", ["judge.failure_limit=0.5"]))
    assert len(judged(lenient, make_judge("stub", settings(server), cache), round_)) == 40
    assert max(server.answered.values()) == 1


def test_a_judge_of_a_real_endpoint_knows_where_it_is(serve: Callable[..., Server]) -> None:
    judge = make_judge("stub", settings(serve()))
    assert isinstance(judge, LangChainJudge) and judge.endpoint.local and judge.endpoint.host.startswith("127.0.0.1:")
