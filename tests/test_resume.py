"""A run killed anywhere and started again with the same command ends with the same rows as one that was never killed.

    python -m pytest -m stress tests/test_resume.py

RLAIF_STRESS_KILLS (12): how many random moments; RLAIF_STRESS_SEED (0): which.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stores.store import DATABASE, Store

pytestmark = [pytest.mark.stress, pytest.mark.timeout(3 * 3600)]

HERE = Path(__file__).parent
CLI, KILLER = HERE.parent / "cli.py", HERE / "killer.py"
KILLS = int(os.environ.get("RLAIF_STRESS_KILLS", 12))
SEED = int(os.environ.get("RLAIF_STRESS_SEED", 0))
LIMIT = 1200  # seconds for one process, however busy the machine is
KILLED = -9
# Each table with what may differ between two runs: times, and what a session was.
COMPARED = {
    "runs": {"created_at"},
    "rounds": set(),
    "stages": {"started_at", "finished_at", "seconds", "model_seconds", "peak_memory_mb"},
    "policies": {"created_at"},
    "policy_items": set(),
    "questions": set(),
    "prompts": set(),
    "candidates": set(),
    "judges": set(),
    "verdicts": {"created_at", "seconds"},
    "preferences": set(),
    "eval_items": set(),
    "gates": set(),
    "monitors": set(),
    "decisions": {"created_at"},
    "train_log": set(),
}
# In the order in which a run comes to them: each process is killed at its place, and the next one goes on to the next
# place. A place that an earlier kill already left behind would never be reached, and the test says so.
PLACES = """
    0/create:rename
    0/prepare:begin 0/prepare:torn
    0/exam:begin 0/exam:end
    0/sft:begin 0/sft:step3 0/sft:rename 0/sft:end
    0/evaluate:begin 0/evaluate:end
    0/gate:begin 0/gate:torn
    1/sample:begin 1/sample:write1 1/sample:end
    1/judge:begin 1/judge:write2 1/judge:end
    1/pairs:begin 1/pairs:torn
    1/dpo:begin 1/dpo:step1 1/dpo:rename 1/dpo:torn
    2/sample:write2 2/drift:end 2/judge:write3 2/gate:end
""".split()


def command(folder: Path, *driver: str, more: Sequence[str] = ()) -> list[str]:
    program = driver or (str(CLI),)
    return [
        sys.executable,
        *program,
        "loop",
        "--rounds",
        "2",
        "--run",
        str(folder),
        "--profile",
        str(HERE / "tiny.toml"),
        *more,
    ]


def environment(folder: Path) -> dict[str, str]:
    # TMPDIR, because what a killed process leaves there nobody else clears away.
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TMPDIR": str(folder.parent)}


def run(folder: Path, *driver: str, more: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *driver, more=more), env=environment(folder), capture_output=True, text=True, timeout=LIMIT
    )


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every compared table in all its columns but those that may differ, in an order of its own."""
    store = Store.open(folder)
    found = {}
    for table, left_out in COMPARED.items():
        columns = [
            r["column_name"]
            for r in store.query("SELECT column_name FROM duckdb_columns() WHERE table_name = ?", [table])
        ]
        assert left_out < set(columns), f"{table}: {left_out} are not all columns of it"
        names = ", ".join(f'"{c}"' for c in columns if c not in left_out)
        found[table] = [tuple(r.values()) for r in store.query(f'SELECT {names} FROM "{table}" ORDER BY ALL')]
    return found


def files(folder: Path) -> dict[str, str]:
    """What lies in the run's folder; of weights and settings the hash too."""

    def content(path: Path) -> str:
        if (
            path.name == "adapter_config.json"
        ):  # peft keeps target_modules as a set, so their order changes from process to process
            settings = json.loads(path.read_text("utf-8"))
            return json.dumps(settings | {"target_modules": sorted(settings["target_modules"])}, sort_keys=True)
        if path.is_dir() or path.name in (DATABASE, "loop.lock"):
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*")}


def sessions(folder: Path) -> list[dict[str, Any]]:
    return Store.open(folder).query("SELECT * FROM sessions ORDER BY started_at")


@dataclass(frozen=True)
class Undisturbed:
    rows: dict[str, list[tuple[Any, ...]]]
    files: dict[str, str]
    startup: float  # seconds until the session began
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    began, clock = time.time(), time.monotonic()
    done = run(folder)
    seconds = time.monotonic() - clock
    assert done.returncode == 0, done.stderr
    (session,) = sessions(folder)
    startup = (session["started_at"] - datetime.fromtimestamp(began, UTC).replace(tzinfo=None)).total_seconds()
    return Undisturbed(rows(folder), files(folder), startup, seconds)


def assert_same(folder: Path, expected: Undisturbed) -> None:
    found = rows(folder)
    for table, wanted in expected.rows.items():
        assert len(found[table]) == len(wanted), table
        for mine, theirs in zip(found[table], wanted, strict=True):
            assert mine == theirs, table
    assert files(folder) == expected.files


def test_the_undisturbed_run_has_what_there_is_to_compare(undisturbed: Undisturbed) -> None:
    empty = {table for table, found in undisturbed.rows.items() if not found}
    assert empty == set()
    stages = {str(row[1]).split(":")[0] for row in undisturbed.rows["stages"]}
    assert stages == {
        "drift",
        "exam",
        "prepare",
        "sft",
        "evaluate",
        "gate",
        "sample",
        "judge",
        "pairs",
        "dpo",
        "labelled",
    }
    assert len(undisturbed.rows["policies"]) == 4, "a base, an SFT policy and a DPO policy of each round"
    decisions = [row[3] for row in undisturbed.rows["decisions"]]
    assert "PROMOTE" in decisions, "no champion changed, so that is not compared: take other settings in tiny.toml"


def test_killed_inside_every_stage(undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for place in PLACES:
        killed = run(folder, str(KILLER), place)
        assert killed.returncode == KILLED, f"{place} was not reached: {killed.stderr}"
        if (folder / DATABASE).exists():  # what a killed process leaves can be read at once
            round, stage = place.split(":")[0].split("/")
            states = Store.open(folder).query(
                "SELECT count(*) FILTER (status = 'running') AS running, count(*) FILTER (status NOT IN "
                "('running', 'done')) AS other "
                "FROM stages WHERE round = ? AND starts_with(stage, ?)",
                [int(round), stage],
            )
            assert states == [{"running": 1, "other": 0}], place
        else:
            assert place == "0/create:rename"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert_same(folder, undisturbed)
    # one session fewer than processes: the first was killed before there was a database
    assert [s["exit_code"] for s in sessions(folder)] == [None] * (len(PLACES) - 1) + [0]


def test_killed_between_the_checkpoints_of_trainings(undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder, often = tmp_path / "run", ("--set", "train.checkpoint_minutes=1e-9")  # one at each step
    assert run(folder, str(KILLER), "0/prepare:torn").returncode == KILLED
    # each process counts its own steps: those of the one before are not done again; `rename` leaves half a checkpoint
    for place in "0/sft:step9 0/sft:rename 0/sft:step5 0/sft:end 1/dpo:step3 1/dpo:torn 2/dpo:rename".split():
        killed = run(folder, str(KILLER), place, more=often)
        assert killed.returncode == KILLED, f"{place} was not reached: {killed.stderr}"
    done = run(folder, more=often)
    assert done.returncode == 0, done.stderr
    assert_same(folder, undisturbed)


def test_killed_at_random_moments(undisturbed: Undisturbed, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    kills, runs = 0, 0
    while kills < KILLS:
        folder = tmp_path / f"run{runs}"
        runs += 1
        finished = False
        while not finished:
            # After the last kill the run is left alone.
            patience = rng.uniform(undisturbed.startup, undisturbed.seconds) if kills < KILLS else LIMIT
            with (tmp_path / "stderr").open("w+") as stderr:
                process = subprocess.Popen(command(folder), env=environment(folder), stdout=stderr, stderr=stderr)
                try:
                    code = process.wait(patience)
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
                    kills += code == KILLED
                stderr.seek(0)
                said = stderr.read()
            assert code in (0, KILLED), f"seed {SEED}, after {kills} kills: {said}"
            finished = code == 0
            assert finished or kills <= KILLS, f"not done within {LIMIT} s: {said}"
        assert_same(folder, undisturbed)
