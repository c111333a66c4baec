"""A running loop and other processes: queries all the time, a second loop, and somebody who holds the database for
long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from stores.store import DATABASE, Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
ROOT = HERE.parent
LIMIT = 600  # seconds for one process, however busy the machine is
HELD = 30  # seconds; more than the patience of a reader
QUERIES = [
    "SELECT * FROM round_summary",
    "SELECT * FROM preference_pairs LIMIT 5",
    "SELECT * FROM leaderboard",
    "SELECT count(*) FROM train_log",
]

# Asks five times a second until the file `stop` appears; prints how many were answered, the slowest answer and the
# first error.
READER = """
import json, pathlib, sys, time
from stores.store import DATABASE, Store
folder, stop, queries = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
while not (folder / DATABASE).exists() and not stop.exists():
    time.sleep(0.05)
answered, slowest, error = 0, 0.0, ""
while not stop.exists() and not error:
    began = time.monotonic()
    try:
        Store.open(folder).query_user(queries[answered % len(queries)])
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    taken = time.monotonic() - began
    answered, slowest = answered + (not error), max(slowest, taken)
    time.sleep(max(0.0, 0.2 - taken))
print(json.dumps({"answered": answered, "slowest": slowest, "error": error}))
"""
# Holds the database open for writing for so many seconds, as soon as it gets it.
HOLDER = """
import sys, time, duckdb
while True:
    try:
        connection = duckdb.connect(sys.argv[1])
        break
    except duckdb.IOException:
        time.sleep(0.002)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def start(*arguments: object, stderr: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    with stderr.open("w") as sink:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=sink, text=True
        )


def loop(folder: Path, rounds: int, stderr: Path) -> subprocess.Popen[str]:
    return start(
        ROOT / "cli.py", "loop", "--rounds", rounds, "--run", folder, "--profile", HERE / "tiny.toml", stderr=stderr
    )


def sql(folder: Path, statement: str, stderr: Path) -> tuple[int, str, str]:
    process = start(ROOT / "cli.py", "sql", statement, "--run", folder, "--format", "json", stderr=stderr)
    out, _ = process.communicate(timeout=LIMIT)
    return process.returncode, out, stderr.read_text()


def finished_rounds(folder: Path) -> list[int]:
    return [
        r["round"]
        for r in Store.open(folder).query("SELECT round FROM rounds WHERE decision IS NOT NULL ORDER BY round")
    ]


@dataclass(frozen=True)
class Busy:
    """A run of one round that two loops were started on, while another process asked its database."""

    folder: Path
    pids: list[int]
    codes: list[int]
    said: list[str]
    reader: dict[str, float | str]
    sql: list[tuple[int, str, str]]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Busy:
    tmp = tmp_path_factory.mktemp("busy")
    folder, stop, errors = tmp / "run", tmp / "stop", [tmp / "first", tmp / "second"]
    reader = start("-c", READER, folder, stop, *QUERIES, stderr=tmp / "reader")
    loops = [loop(folder, 1, error) for error in errors]
    try:
        while not (folder / DATABASE).exists() and any(p.poll() is None for p in loops):
            time.sleep(0.05)
        asked = [sql(folder, f"SELECT round, stage, status FROM stages WHERE {n} = {n}", tmp / "sql") for n in range(3)]
        codes = [p.wait(LIMIT) for p in loops]
        stop.touch()
        out, _ = reader.communicate(timeout=LIMIT)
    finally:
        for process in (*loops, reader):
            process.kill()
    assert out, (tmp / "reader").read_text()
    return Busy(folder, [p.pid for p in loops], codes, [e.read_text() for e in errors], json.loads(out), asked)


def test_two_loops_on_one_run(busy: Busy) -> None:
    assert sorted(busy.codes) == [0, 1], busy.said
    winner, loser = busy.codes.index(0), busy.codes.index(1)
    (error,) = [line for line in busy.said[loser].splitlines() if line.startswith("error: ")]
    assert f"pid {busy.pids[winner]}" in error and str(busy.folder) in error
    assert "Traceback" not in busy.said[loser] and busy.said[loser].splitlines()[-1] == error
    assert finished_rounds(busy.folder) == [0, 1]
    (session,) = Store.open(busy.folder).query("SELECT pid, exit_code FROM sessions")
    assert session == {"pid": busy.pids[winner], "exit_code": 0}, "the second never wrote to the run"


def test_every_query_is_answered_while_the_loop_writes(busy: Busy) -> None:
    assert busy.reader["error"] == ""
    assert int(busy.reader["answered"]) > 10
    assert float(busy.reader["slowest"]) < 5


def test_the_command_sql_answers_while_the_loop_writes(busy: Busy) -> None:
    for code, out, error in busy.sql:
        assert (code, error) == (0, "")
        assert all(row.keys() == {"round", "stage", "status"} for row in json.loads(out))


def test_the_loop_waits_while_somebody_holds_the_database(busy: Busy, tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    process = loop(busy.folder, 2, errors)
    holder = None
    try:
        while "Round 2" not in errors.read_text() and process.poll() is None:  # it is at work
            time.sleep(0.05)
        holder = start("-c", HOLDER, busy.folder / DATABASE, HELD, stderr=tmp_path / "holder")
        assert holder.stdout is not None and holder.stdout.readline() == "held\n", (tmp_path / "holder").read_text()
        code = process.wait(LIMIT)
        assert holder.wait(LIMIT) == 0
    finally:
        for one in (process, holder):
            if one is not None:
                one.kill()
    said = errors.read_text()
    assert code == 0, said
    waiting = [line for line in said.splitlines() if "waiting" in line]
    assert any(f"held by pid {holder.pid}" in line for line in waiting), said
    assert finished_rounds(busy.folder) == [0, 1, 2]
