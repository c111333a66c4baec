"""A judge at several real servers on the loopback: one dies in the middle, one asks for pauses, and no verdict is lost
or given twice.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from odd_server import Place, completion, reply

from judges import make_judge
from judges.settings import Budget, JudgeSettings, JudgeStopped
from rlaif.config import Config
from rlaif.judging.stage import judge_round
from rlaif.records import load_verdicts
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import Candidate, Question, RlaifError
from stores.cache import AnswerCache

pytestmark = pytest.mark.slow

MARKS = ("factual_accuracy", "completeness", "key_point_coverage")
TOKENS_OUT = 30
QUESTIONS = [
    Question(f"q{n}", "medquad_style", "train", "s", f"g{n}", f"What helps against ailment {n}?", reference="Rest.")
    for n in range(20)
]
CANDIDATES = [
    Candidate(f"k{n}", 1, f"q{n // 4}", "p", "s", n % 4, 0, 0, f"Answer number {n}.", 4, "stop", -1.0, {})
    for n in range(80)
]


class Server:
    """Marks that depend on what is asked alone. `before` may do something else with the nth request: True if so."""

    def __init__(self, before: Callable[[Server, BaseHTTPRequestHandler, int], bool] = lambda *_: False) -> None:
        self.answered: Counter[str] = Counter()
        self.lock, self.number, self.dead = threading.Lock(), 0, False
        self._before = before
        self.place = Place(self._handle)
        self.url = self.place.url

    @property
    def asked(self) -> int:
        return len(self.place.bodies)

    def _handle(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        prompt = body["messages"][-1]["content"]
        with self.lock:
            self.number += 1
            nth = self.number
        if self._before(self, handler, nth):
            return
        digest = hashlib.sha256(prompt.encode()).digest()
        marks = json.dumps({"rationale": "because"} | {name: 1 + digest[i] % 5 for i, name in enumerate(MARKS)})
        with self.lock:
            self.answered[prompt] += 1
        reply(handler, completion(marks, usage={"prompt_tokens": 300, "completion_tokens": TOKENS_OUT}))


def dies_after(answers: int) -> Callable[[Server, BaseHTTPRequestHandler, int], bool]:
    """Answers so many requests; then it drops its connections and nobody listens there any more."""

    def before(server: Server, handler: BaseHTTPRequestHandler, nth: int) -> bool:
        if nth <= answers:
            return False
        with server.lock:
            first, server.dead = not server.dead, True
        if first:
            server.place.close()
        handler.close_connection = True
        return True

    return before


def busy(server: Server, handler: BaseHTTPRequestHandler, nth: int) -> bool:
    """Of three requests, refuses one and asks for a pause."""
    if nth % 3:
        return False
    reply(handler, {"error": {"message": "slow down"}}, 429, Retry_After="0.2")
    return True


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    servers: list[Server] = []

    def start(*args: Any) -> Server:
        servers.append(Server(*args))
        return servers[-1]

    yield start
    for server in servers:
        if not server.dead:
            server.place.close()


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[str], Run]:
    def make(name: str) -> Run:
        run = open_or_create(tmp_path / name, Config())
        run.store.write({"questions": QUESTIONS, "candidates": CANDIDATES})
        return run

    return make


def settings(*servers: Server | str, **more: Any) -> JudgeSettings:
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    return JudgeSettings(**{"urls": urls, "backoff": 0.005, "timeout": 20.0, "retries": 3, "concurrency": 2} | more)


def nobody() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def judged(run: Run, where: JudgeSettings) -> str:
    """Judge the round; the judge_id."""
    judge = make_judge("stub", where, AnswerCache(run.store))
    judge_round(run, judge, 1, QUESTIONS, CANDIDATES, Screen())
    return judge.identity.judge_id


def rows(run: Run) -> list[dict[str, Any]]:
    """What is stored of the verdicts, without what it took to get them."""
    took = "attempts, tokens_in, tokens_out, cost, seconds, created_at"
    return run.store.query(f"SELECT * EXCLUDE ({took}) FROM verdicts ORDER BY candidate_id")


def test_one_dies_and_one_is_busy_and_each_candidate_has_one_verdict(
    serve: Callable[..., Server], new_run: Callable[[str], Run], caplog: pytest.LogCaptureFixture
) -> None:
    one = new_run("one")
    judge_id = judged(one, settings(serve()))
    dying, slow, well = serve(dies_after(10)), serve(busy), serve()
    run = new_run("three")
    assert judged(run, settings(dying, slow, well)) == judge_id, "where it is asked is not what is asked"
    assert rows(run) == rows(one), "who answered makes no difference"
    assert len(rows(run)) == len(CANDIDATES) and {row["status"] for row in rows(run)} == {"scored"}

    answered = dying.answered + slow.answered + well.answered
    assert len(answered) == len(CANDIDATES) and set(answered.values()) == {1}, "a call was lost, or answered twice"
    assert dying.answered.total() == 10 and slow.answered and well.answered
    assert slow.asked > slow.answered.total(), "the busy server was not busy enough"
    used = AnswerCache(run.store).used()
    (sums,) = run.store.query("SELECT sum(attempts)::BIGINT AS calls, sum(tokens_out)::BIGINT AS out FROM verdicts")
    assert (used.calls, used.tokens_out) == (sums["calls"], sums["out"])
    assert used.tokens_out == TOKENS_OUT * len(CANDIDATES)
    assert used.calls >= dying.asked + slow.asked + well.asked, "what reached a server is counted"
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said and all(text.startswith(f"judge.urls: no answer from {dying.url[7:-3]}: ") for text in said), said


def test_a_run_goes_on_with_other_servers_where_it_stopped(
    serve: Callable[..., Server], new_run: Callable[[str], Run]
) -> None:
    first, second, third = serve(), serve(), serve()
    run = new_run("moved")
    with pytest.raises(JudgeStopped, match="judge.max_calls = 33"):
        judged(run, settings(first, second, budget=Budget(calls=33)))
    assert first.asked + second.asked == 33, "the limit is the run's, not each server's"
    judged(run, settings(third, second, budget=Budget(calls=80)))
    answered = first.answered + second.answered + third.answered
    assert len(answered) == len(CANDIDATES) and set(answered.values()) == {1}
    assert AnswerCache(run.store).used().calls == 80 and third.asked


def test_none_is_there(serve: Callable[..., Server], new_run: Callable[[str], Run]) -> None:
    run, where = new_run("none"), settings(nobody(), nobody(), nobody())
    hosts = [url[7:-3] for url in where.urls]
    with pytest.raises(RlaifError) as caught:
        judged(run, where)
    assert f"no answer from the judge at {hosts[0]}, {hosts[1]} and {hosts[2]}: " in str(caught.value)
    assert "correct judge.urls, then run the same command again" in str(caught.value)
    assert "\n" not in str(caught.value) and "base_url" not in str(caught.value)
    assert run.done(1, "judge") is None
    verdicts = load_verdicts(run, 1, make_judge("stub", where).identity.judge_id)
    assert all(v.status == "failed" and v.score is None and v.reason for v in verdicts)


def test_all_die_in_the_middle_and_the_same_command_goes_on(
    serve: Callable[..., Server], new_run: Callable[[str], Run]
) -> None:
    run, dying = new_run("all"), [serve(dies_after(8)), serve(dies_after(12))]
    with pytest.raises(RlaifError, match="no answer from the judge at .* and .*run the same command again"):
        judged(run, settings(*dying))
    verdicts = load_verdicts(run, 1, make_judge("stub", settings(*dying)).identity.judge_id)
    assert sum(v.status == "scored" for v in verdicts) == 20
    assert all(v.score is None and v.reason for v in verdicts if v.status != "scored")
    well = serve()
    judged(run, settings(well))
    answered = dying[0].answered + dying[1].answered + well.answered
    assert len(answered) == len(CANDIDATES) and set(answered.values()) == {1}
    assert len(rows(run)) == len(CANDIDATES) and {row["status"] for row in rows(run)} == {"scored"}
