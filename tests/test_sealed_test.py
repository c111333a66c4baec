"""The command `test` on a run that a real loop made, with a gate that reads a judge's marks; killed in the middle,
forced, refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from rlaif.config_file import load_config
from rlaif.prompts import load_prompt
from rlaif.run import Run, now, open_or_create, open_run, session
from rlaif.screen import Screen
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

HERE = Path(__file__).parent
KILLED = -9
ITEMS = 8  # sealed ones that are left of a benchmark
METRICS = {"quality", "token_f1", "rouge_l", "consistency", "accuracy"}
COMPARED = {
    "eval_items": "*",
    "decisions": "* EXCLUDE (created_at)",
    "runs": "* EXCLUDE (created_at)",
    "stages": "round, stage, status, detail",
    "sealed_tests": "round, policies",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, torch_threads: None) -> Path:
    """A finished run of one round: labelled by a script, gated by the reference judge."""
    from rlaif.loop.rounds import Loop, run_loop
    from rlaif.models.base import load_base

    config = load_config(
        str(HERE / "tiny.toml"), ["evaluation.judge=reference", "judge.require_licence=false", "data.gate_pubmedqa=12"]
    )
    folder = tmp_path_factory.mktemp("sealed") / "run"
    labelling = ScriptedJudge(lambda item: int(hashlib.sha256(item.answer.encode()).hexdigest()[:4], 16) / 0xFFFF)
    run = open_or_create(folder, config)
    with session(run, now()):
        prompt = load_prompt(config.prompts.policy)
        run_loop(Loop(run, Screen(), prompt, labelling, load_base(config.model), gate_judge=ReferenceJudge()), 1)
    few = "row_number() OVER (PARTITION BY dataset ORDER BY question_id) > ?"
    many = f"SELECT question_id FROM questions WHERE split = 'sealed' QUALIFY {few}"
    run.store.execute([(f"DELETE FROM questions WHERE question_id IN ({many})", [ITEMS])])
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    return open_run(Path(shutil.copytree(made, tmp_path / "run")))


def call(run: Run, *arguments: str, kill: str = "") -> subprocess.CompletedProcess[str]:
    driver = [str(HERE / "killer.py"), kill] if kill else [str(HERE.parent / "cli.py")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, *driver, *arguments, "--run", str(run.folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def rows(run: Run) -> dict[str, list[dict[str, Any]]]:
    return {
        table: run.store.query(f"SELECT {columns} FROM {table} ORDER BY ALL") for table, columns in COMPARED.items()
    }


def test_the_loop_gated_by_the_marks_of_a_judge_that_does_not_label(made: Path) -> None:
    query = Store.open(made).query
    gate_judge = ReferenceJudge().identity.judge_id
    found = query(
        "SELECT round, split_part(stage, ':', 2) AS judge, count(*) AS n FROM stages WHERE stage LIKE "
        "'quality:%' GROUP BY ALL"
    )
    assert sorted((r["round"], r["judge"], r["n"]) for r in found) == [(0, gate_judge, 2), (1, gate_judge, 1)], (
        "a champion keeps its marks"
    )
    read = "condition IN ('better', 'not_read') AND metric <> 'macro_f1'"  # so small a model may not read abstracts
    compared = query(f"SELECT round, metric FROM gates WHERE {read} ORDER BY ALL")
    assert [(r["round"], r["metric"]) for r in compared] == [
        (0, "accuracy"),
        (0, "quality"),
        (1, "accuracy"),
        (1, "quality"),
    ]
    assert query("SELECT DISTINCT judge_id FROM eval_items WHERE metric = 'quality'") == [{"judge_id": gate_judge}]
    assert query("SELECT judge_id FROM judges WHERE model = 'reference'") == [{"judge_id": gate_judge}]
    assert gate_judge not in {r["judge_id"] for r in query("SELECT DISTINCT judge_id FROM verdicts")}


def test_a_killed_sealed_test_goes_on_and_ends_with_the_same_rows(run: Run, made: Path, tmp_path: Path) -> None:
    undisturbed = open_run(Path(shutil.copytree(made, tmp_path / "undisturbed")))
    done = call(undisturbed, "test", "--yes")
    assert done.returncode == 0, done.stderr
    for name in ("base", "SFT", "champion", "champion - base", "quality", "macro_f1", "token_f1"):
        assert name in done.stdout

    for place in ("1/sealed:begin", "1/sealed:torn", "1/sealed:end"):
        assert call(run, "test", "--yes", kill=place).returncode == KILLED, place
    assert call(run, "test", "--yes").returncode == 0
    assert rows(run) == rows(undisturbed), "one event, however often it was killed"
    (opened,) = run.store.query("SELECT * FROM sealed_tests")
    sealed = run.store.query(
        "SELECT policy_id, metric, count(*) AS n FROM eval_items WHERE split = 'sealed' GROUP BY ALL"
    )
    assert {(r["policy_id"], r["metric"], r["n"]) for r in sealed} == {
        (p, m, ITEMS) for p in opened["policies"] for m in METRICS
    }

    again = call(run, "test", "--yes")
    assert again.returncode == 2 and "--force" in again.stderr.splitlines()[-1] and rows(run) == rows(undisturbed)
    further = call(run, "loop", "--rounds", "2", "--profile", str(run.folder / "config.toml"))
    assert (
        further.returncode == 2
        and "--after-sealed-test" in further.stderr.splitlines()[-1]
        and rows(run) == rows(undisturbed)
    )
    assert call(run, "loop", "--rounds", "1", "--profile", str(run.folder / "config.toml")).returncode == 0, (
        "nothing to do is no going on"
    )

    before = run.store.query("FROM eval_items ORDER BY ALL")
    forced = call(run, "test", "--yes", "--force")
    assert forced.returncode == 0 and "opened 2 times" in forced.stdout, forced.stderr
    assert run.store.query("FROM eval_items ORDER BY ALL") == before, "what is known already is not made again"
    results = run.store.query("SELECT evidence FROM decisions WHERE kind = 'sealed' AND action = 'RESULT' ORDER BY seq")
    first, second = (json.loads(r["evidence"]) for r in results)
    assert first["rows"] == second["rows"] and (first["opening"], second["opening"]) == (1, 2)


def test_a_try_opens_nothing(run: Run, made: Path) -> None:
    before = rows(run)
    tried = call(run, "test", "--limit", "4")
    assert tried.returncode == 0, tried.stderr
    assert "4 gate items" in tried.stderr and "stays sealed" in tried.stderr and "token F1" in tried.stdout
    after = rows(run)
    assert {name for name in before if before[name] != after[name]} <= {"eval_items"}
    assert not [r for r in after["eval_items"] if r["split"] == "sealed"] and after["sealed_tests"] == []
