"""A judge, a gating benchmark and a reader that come from an installed plugin: one tiny loop with all three."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import call
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[1]
SET = """
[[data.sets]]
format = "cards"
path = {path}
name = "plain_cards"
fractions = [0.0, 0.5, 0.5]
"""
PLUGIN = ("--set", "judge.model=careful", "--set", "evaluation.benchmarks={plain = 0.5}")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed the plugin into, and nothing else."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(ROOT / "examples" / "plugin", folder / "source")  # pip builds in the folder that it gets
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", folder / "site", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def cli(site: Path | None, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`python cli.py ARGUMENTS`, with the plugin where `site` is given."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if site:
        environment["PYTHONPATH"] = str(site)
    command = [sys.executable, ROOT / "cli.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def run(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    cards = "\n\n".join(f"How long does illness {n} last?\nIllness {n} lasts for {n} days." for n in range(2, 42))
    (folder / "cards.txt").write_text(cards)
    text = (ROOT / "tests" / "tiny.toml").read_text("utf-8")
    (folder / "mine.toml").write_text(text + SET.format(path=f'"{folder / "cards.txt"}"'))
    options = ("--run", folder / "run", "--profile", folder / "mine.toml", *PLUGIN)
    refused = cli(installed, "loop", "--rounds", 1, *options)
    assert refused.returncode == 2 and "has sat no exam, and a judge labels only with a licence" in refused.stderr
    for words in (("judge", "exam"), ("loop", "--rounds", 1)):
        done = cli(installed, *words, *options)
        assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def query(run: Path) -> Any:
    return Store.open(run).query


def test_its_judge_labels_with_a_licence(query: Any) -> None:
    (judge,) = query(
        "SELECT DISTINCT j.* FROM judges j JOIN verdicts v USING (judge_id) JOIN preferences USING (judge_id)"
    )
    assert judge["model"] == "rlaif_careful:careful"
    assert all(part in judge["decoding"] for part in ("source_sha256", "rlaif-careful 1.0.0", '"identity"'))
    (licence,) = query("SELECT passed FROM licences WHERE judge_id = ?", [judge["judge_id"]])
    assert licence["passed"]
    assert query("SELECT count(*) AS n FROM preferences WHERE judge_id = ?", [judge["judge_id"]])[0]["n"] == 32


def test_its_benchmark_gates_on_the_questions_of_its_reader(query: Any) -> None:
    (questions,) = query(
        "SELECT count(*) AS n, any_value(reference) AS reference FROM questions "
        "WHERE dataset = 'plain_cards' AND split = 'gate'"
    )
    assert questions["n"] >= 10 and re.fullmatch(r"Illness (\d+) lasts for \1 days\.", questions["reference"])
    rows = query("SELECT * FROM eval_items WHERE benchmark = 'plain_cards'")
    policies = query("SELECT count(*) AS n FROM policies")[0]["n"]
    assert len(rows) == questions["n"] * policies and {r["metric"] for r in rows} == {"score"}
    assert all(0 <= r["value"] <= 1 for r in rows if r["value"] is not None)
    gates = query("SELECT * FROM gates WHERE metric = 'plain_cards score' AND condition = 'not_worse' ORDER BY round")
    assert [g["round"] for g in gates] == [0, 1] and {(g["benchmark"], g["threshold"]) for g in gates} == {
        ("plain_cards", -0.5)
    }
    assert query("SELECT DISTINCT detail FROM gates WHERE metric = 'leaks'") and all(
        g["passed"] is not None for g in gates
    )


def test_a_run_is_read_without_the_plugin(run: Path, tmp_path: Path) -> None:
    for arguments in (
        ("status",),
        ("gate", "explain"),
        ("gate", "simulate", "--loops", 5, "--rounds", 1),
        ("sql", "SELECT model FROM judges"),
        ("report",),
        ("export", "preferences", "--to", "jsonl", "--out", tmp_path / "pairs.jsonl"),
    ):
        code, _, err = call(*arguments, "--run", run)
        assert code == 0, err


def test_what_needs_it_says_what_is_missing(run: Path) -> None:
    profile = run.parent / "mine.toml"
    for arguments, said in (
        (("loop", "--rounds", 2, "--profile", profile, *PLUGIN), "judge.model = 'careful' names no judge"),
        (("evaluate", "--benchmark", "plain"), "evaluation.benchmarks = 'plain' names no benchmark"),
        (("judge", "exam"), "judge.model = 'careful' names no judge"),
    ):
        done = cli(None, *arguments, "--run", run)
        assert (done.returncode, done.stdout) == (2, "") and said in done.stderr.splitlines()[-1], done.stderr


def test_the_benchmark_is_evaluated_alone(installed: Path, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    done = cli(installed, "evaluate", "--benchmark", "plain", "--policy", "base", "--run", copy, "--format", "json")
    assert done.returncode == 0 and '"benchmark": "plain_cards"' in done.stdout, done.stderr


def test_a_changed_plugin_is_another_judge_and_another_measure(installed: Path, run: Path, tmp_path: Path) -> None:
    site, copy = shutil.copytree(installed, tmp_path / "site"), shutil.copytree(run, tmp_path / "run")
    code = site / "rlaif_careful.py"
    code.write_text(code.read_text("utf-8").replace("LONG = 12", "LONG = 13"))
    done = cli(site, "loop", "--rounds", 2, "--run", copy, "--profile", run.parent / "mine.toml", *PLUGIN)
    assert done.returncode == 2 and "has sat no exam" in done.stderr
