"""A judge whose name stays and whose server does not: real servers, a real database."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from odd_server import Handle, Place, completion, reply

from judges import make_judge
from judges.settings import Budget, JudgeSettings, JudgeStopped
from rlaif.config import Config, JudgeConfig
from rlaif.exam.command import exam_from_command_line
from rlaif.exam.licence import check_licence, ensure_licence
from rlaif.judging.server import changed_servers, moved_servers, record_servers, servers_now
from rlaif.judging.stage import chunk_size
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import Judge, JudgeItem, RlaifError, UsageError
from stores import migrations
from stores.cache import AnswerCache
from stores.store import Store

pytestmark = pytest.mark.slow

ITEM = JudgeItem("c1", "What helps?", "Ice.", "Rest.", key_points=("rest",))


def marking(mark: int) -> Handle:
    marks = {"factual_accuracy": mark, "completeness": mark, "key_point_coverage": mark}
    return lambda handler, asked: reply(handler, completion(json.dumps(marks)))


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    places: list[Place] = []

    def start(handle: Handle, port: int = 0) -> Place:
        places.append(Place(handle, port))
        return places[-1]

    yield start
    for each in places:
        each.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_or_create(tmp_path / "run", Config())


def judge(run: Run, server: Place, model: str = "m", **more: Any) -> Judge:
    settings = JudgeSettings(base_url=server.url, backoff=0.001, retries=0, timeout=10.0, concurrency=1, **more)
    return make_judge(model, settings, AnswerCache(run.store))


def at_several(run: Run, *servers: Place, **more: Any) -> Judge:
    urls = tuple(server.url for server in servers)
    settings = JudgeSettings(urls=urls, backoff=0.001, retries=0, timeout=10.0, concurrency=1, **more)
    return make_judge("m", settings, AnswerCache(run.store))


def hosts(run: Run) -> set[str]:
    """Those of the servers that were recorded together last."""
    newest = "QUALIFY created_at = max(created_at) OVER ()"
    return {row["host"] for row in run.store.query(f"SELECT host FROM judge_servers {newest}")}


def give_licence(run: Run, judge: Judge) -> None:
    """As the command `judge exam` leaves it, without the exam."""
    row = {"exam": "embedded", "judge_id": judge.identity.judge_id, "passed": True, "n": 100}
    run.store.write({"licences": [row]})
    record_servers(run, servers_now(judge))


def score(judge: Judge) -> float | None:
    return judge.score([ITEM])[0].score


def test_the_same_server_is_the_same_judge(run: Run, place: Callable[..., Place]) -> None:
    server = place(marking(4))
    one = judge(run, server)
    give_licence(run, one)
    ensure_licence(run, judge(run, server), Screen(), hold_here=False)
    assert changed_servers(run, judge(run, server)) == [] and check_licence(run, one.identity.judge_id) is True
    (row,) = run.store.query("SELECT judge_id, host, probe FROM judge_servers")
    assert (row["judge_id"], row["host"]) == (one.identity.judge_id, server.url[7:-3])
    assert json.loads(row["probe"]) == [0.75, 0.75, 0.75]


def test_neither_licence_nor_answers_go_to_another_address(
    run: Run, place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = judge(run, place(marking(4))), judge(run, place(marking(4)))
    assert first.identity == second.identity
    give_licence(run, first)
    assert score(first) == 0.75
    other = place(marking(1))
    assert score(judge(run, other)) == 0.0 and other.bodies, "another server's answer was taken"
    with pytest.raises(UsageError, match="has sat no exam"):
        ensure_licence(run, second, Screen(), hold_here=False)
    said = capsys.readouterr()
    assert "was asked at 127.0.0.1:" in " ".join((said.out + said.err).split())
    (decision,) = run.store.query("SELECT action, reason FROM decisions WHERE kind = 'licence'")
    assert decision["action"] == "LAPSED" and "is now asked at 127.0.0.1:" in decision["reason"]
    lenient = dataclasses.replace(run, config=Config(judge=JudgeConfig(require_licence=False)))
    ensure_licence(lenient, second, Screen(), hold_here=False)
    assert check_licence(run, second.identity.judge_id) is None


def test_another_model_at_the_same_address_is_found_by_its_marks(run: Run, place: Callable[..., Place]) -> None:
    server = place(marking(4))
    port = server.http.server_address[1]
    one = judge(run, server)
    give_licence(run, one)
    assert score(one) == 0.75
    server.close()
    place(marking(2), port)
    (line,) = changed_servers(run, judge(run, server))
    assert "is not the model that was examined: it marks fixed answers [0.25, 0.25, 0.25]" in line
    assert score(judge(run, server)) == 0.25, "the other model's answer was kept"


def marking_but(mark: int, odd: Callable[[BaseHTTPRequestHandler], None]) -> Handle:
    """Marks two of the three fixed answers; the third one gets `odd`."""

    def handle(handler: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        third = "cold drink" in asked["messages"][1]["content"]
        odd(handler) if third else marking(mark)(handler, asked)

    return handle


BREAKS = partial(reply, body={"error": {"message": "oops"}}, status=500)
RAMBLES = partial(reply, body=completion("It is a nice answer."))


def test_a_call_that_failed_shows_no_other_model(run: Run, place: Callable[..., Place]) -> None:
    server = place(marking(4))
    port = server.http.server_address[1]
    one = judge(run, server)
    give_licence(run, one)
    server.close()
    place(marking_but(4, BREAKS), port)
    assert changed_servers(run, judge(run, server)) == []
    assert json.loads(servers_now(judge(run, server))[0]["probe"]) == [0.75, None, 0.75]


@pytest.mark.parametrize("after", [marking_but(4, RAMBLES), marking_but(2, BREAKS)])
def test_a_model_that_cannot_be_read_is_another_one(run: Run, place: Callable[..., Place], after: Handle) -> None:
    server = place(marking(4))
    port = server.http.server_address[1]
    give_licence(run, judge(run, server))
    server.close()
    place(after, port)
    (line,) = changed_servers(run, judge(run, server))
    assert "is not the model that was examined: it marks fixed answers" in line


def test_of_several_servers_one_call_may_fail(run: Run, place: Callable[..., Place]) -> None:
    one, two, other = place(marking(4)), place(marking_but(4, BREAKS)), place(marking_but(4, RAMBLES))
    assert len(servers_now(at_several(run, one, two))) == 2
    with pytest.raises(RlaifError, match=r"\[0.75, 0.75, 0.75\] and \[0.75, .unparsed., 0.75\]"):
        servers_now(at_several(run, one, other))


def test_a_budget_that_ends_while_servers_are_looked_at_is_said(
    run: Run, place: Callable[..., Place], caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three = place(marking(4)), place(marking(4)), place(marking(4))
    with pytest.raises(JudgeStopped, match=r"judge.max_calls = 4\. .*raise it with --set judge.max_calls=..."):
        servers_now(at_several(run, one, two, three, budget=Budget(calls=4)))
    assert (len(one.bodies), len(two.bodies), len(three.bodies)) == (3, 1, 0)
    assert not caplog.records, "a server that was not asked is not away"


def test_two_models_are_found_before_the_exam(run: Run, place: Callable[..., Place]) -> None:
    one, two, before = place(marking(4)), place(marking(2)), place(marking(4))
    moved = at_several(run, before)
    moved_servers(run, moved)  # known by its address alone, as a judge is that gave second scores
    urls = [one.url, two.url]
    with pytest.raises(RlaifError, match="do not serve the same openai:m"):
        exam_from_command_line(run.folder, "", ["judge.model=m", f"judge.urls={urls}"], "", "", 0, Screen())
    assert len(one.bodies) == len(two.bodies) == 3
    assert run.store.query("SELECT * FROM licences") == run.store.query("SELECT * FROM exam_items") == []


@pytest.mark.parametrize(
    ("concurrency", "n", "size"), [(1, 1, 8), (8, 1, 64), (256, 1, 256), (8, 3, 192), (64, 3, 256), (64, 8, 512)]
)
def test_a_batch_of_answers_keeps_all_servers_at_work(concurrency: int, n: int, size: int) -> None:
    urls = tuple(f"http://127.0.0.1:{port}/v1" for port in range(1, n + 1))
    assert chunk_size(make_judge("m", JudgeSettings(urls=urls, concurrency=concurrency))) == size


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({"root": "a"}, {"root": "b"}, False),
        ({"max_model_len": 4096}, {"max_model_len": 8192}, False),
        ({"meta": {"n_params": 7}}, {"meta": {"n_params": 8}}, False),
        ({"created": 1}, {"created": 2}, True),
        ({"permission": [1]}, {"permission": [2]}, True),
        ({"root": "a"}, None, True),
    ],
)
def test_the_list_of_models_tells_them_apart(
    run: Run, place: Callable[..., Place], before: Any, after: Any, same: bool
) -> None:
    server = place(marking(4))
    server.models = {"data": [{"id": "m"} | before, {"id": "other", "root": "x"}]}
    record_servers(run, servers_now(judge(run, server)))
    server.models = None if after is None else {"data": [{"id": "m"} | after, {"id": "new"}]}
    assert (changed_servers(run, judge(run, server)) == []) is same


def test_drawn_marks_are_not_compared(run: Run, place: Callable[..., Place]) -> None:
    server = place(marking(4))
    record_servers(run, servers_now(judge(run, server, temperature=1.0)))
    assert server.bodies == [] and run.store.query("SELECT probe FROM judge_servers") == [{"probe": ""}]


def test_a_licence_from_before_servers_were_kept_holds(run: Run, place: Callable[..., Place]) -> None:
    one = judge(run, place(marking(4)))
    give_licence(run, one)
    run.store.execute([("DELETE FROM judge_servers", [])])
    ensure_licence(run, one, Screen(), hold_here=False)
    assert len(run.store.query("SELECT * FROM judge_servers")) == 1


def test_each_member_of_a_jury_has_its_server(run: Run, place: Callable[..., Place]) -> None:
    one, two = place(marking(4)), place(marking(5))
    record_servers(run, servers_now(judge(run, one, "a,b")))
    assert len(run.store.query("SELECT * FROM judge_servers")) == 2
    assert len(changed_servers(run, judge(run, two, "a,b"))) == 2
    assert changed_servers(run, judge(run, one, "a,b")) == []


def test_servers_of_one_judge_must_serve_one_model(run: Run, place: Callable[..., Place]) -> None:
    one, two, three = place(marking(4)), place(marking(2)), place(marking(4))
    with pytest.raises(
        RlaifError, match=r"judge.urls: .* do not serve the same openai:m: fixed answers are marked"
    ) as e:
        record_servers(run, servers_now(at_several(run, one, two)))
    assert "\n" not in str(e.value) and one.url[7:-3] in str(e.value) and two.url[7:-3] in str(e.value)
    one.models, three.models = ({"data": [{"id": "m", "max_model_len": length}]} for length in (4096, 8192))
    with pytest.raises(RlaifError, match="their lists of models describe it otherwise"):
        changed_servers(run, at_several(run, one, three))
    assert run.store.query("SELECT * FROM judge_servers") == []


def test_a_licence_holds_at_servers_that_show_the_model_that_was_examined(
    run: Run, place: Callable[..., Place]
) -> None:
    one, two, three, four = (place(marking(4)) for _ in range(4))
    examined = at_several(run, one, two)
    give_licence(run, examined)
    assert hosts(run) == {one.url[7:-3], two.url[7:-3]}
    for servers in ([two], [two, three], [four, three]):
        now = at_several(run, *servers)
        assert now.identity == examined.identity
        ensure_licence(run, now, Screen(), hold_here=False)
        assert check_licence(run, now.identity.judge_id) is True
    assert hosts(run) == {three.url[7:-3], four.url[7:-3]}
    assert run.store.query("SELECT * FROM decisions WHERE kind = 'licence'") == []


def test_no_licence_holds_at_servers_that_show_another_model(run: Run, place: Callable[..., Place]) -> None:
    one, other, again = place(marking(4)), place(marking(2)), place(marking(2))
    give_licence(run, at_several(run, one))
    (line,) = changed_servers(run, at_several(run, other, again))
    assert "is not the model that was examined: it marks fixed answers [0.25, 0.25, 0.25]" in line
    assert f"{other.url[7:-3]} and {again.url[7:-3]}" in line


def test_a_server_that_joins_is_known_by_its_marks_and_by_nothing_else(run: Run, place: Callable[..., Place]) -> None:
    one, two = place(marking(4)), place(marking(4))
    record_servers(run, servers_now(at_several(run, one, temperature=1.0)))
    (line,) = changed_servers(run, at_several(run, one, two, temperature=1.0))
    assert line == f"openai:m was asked at {one.url[7:-3]} before, and is now asked at {two.url[7:-3]}"
    (line,) = moved_servers(run, at_several(run, one, two, temperature=1.0))
    assert "is now asked at" in line and one.bodies == two.bodies == []


def test_of_several_servers_one_may_be_away(
    run: Run, place: Callable[..., Place], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = place(marking(4)), place(marking(4))
    give_licence(run, at_several(run, one, two))
    two.close()
    assert changed_servers(run, at_several(run, one, two)) == []
    (record,) = caplog.records
    assert record.getMessage().startswith(f"judge.urls: no answer from the judge at {two.url[7:-3]}: ")
    assert hosts(run) == {one.url[7:-3], two.url[7:-3]}
    one.close()
    with pytest.raises(JudgeStopped, match="start the endpoint or correct judge.urls, then run the same command"):
        changed_servers(run, at_several(run, one, two))


def test_a_server_that_is_not_there_is_said_and_loses_nothing(
    run: Run, place: Callable[..., Place], capsys: pytest.CaptureFixture[str]
) -> None:
    server = place(marking(4))
    record_servers(run, servers_now(judge(run, server)))
    server.close()
    licence = {"exam": "embedded", "judge_id": judge(run, server).identity.judge_id, "passed": True, "n": 1}
    run.store.write({"licences": [licence]})
    ensure_licence(run, judge(run, server), Screen(), hold_here=False)
    said = capsys.readouterr()
    assert "is the model that was examined is not known: no answer" in " ".join((said.out + said.err).split())
    with pytest.raises(JudgeStopped, match="start the endpoint or correct judge.base_url, then run the same command"):
        changed_servers(run, judge(run, server))
    assert len(run.store.query("SELECT * FROM judge_servers")) == 1


def test_another_address_is_seen_without_asking(run: Run, place: Callable[..., Place]) -> None:
    one, two = place(marking(4)), place(marking(4))
    assert moved_servers(run, judge(run, one)) == [] == moved_servers(run, judge(run, one))
    (line,) = moved_servers(run, judge(run, two))
    assert "is now asked at" in line and one.bodies == two.bodies == []
    assert changed_servers(run, judge(run, one)) == [], "an address alone is no other model"
    assert json.loads(run.store.query("SELECT probe FROM judge_servers")[0]["probe"]) == [0.75] * 3


def test_a_database_of_before_gets_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations.available()
    before = [migration for migration in known if migration.name < "0008"]
    monkeypatch.setattr(migrations, "available", lambda: before)
    Store.create(tmp_path, {"run_id": "r", "profile": "p", "config": {}, "config_hash": "h", "seed": 0})
    monkeypatch.setattr(migrations, "available", lambda: known)
    store = Store.open(tmp_path)
    assert store.query("SELECT run_id FROM runs") == [{"run_id": "r"}]
    assert store.query("SELECT count(*) AS n FROM judge_servers") == [{"n": 0}]
