"""Every command that shows a table writes it in each format."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import call
from documents import ROOT
from rlaif.commands import output
from rlaif.commands.output import FORMATS
from stores.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has decided on SFT: base and SFT policy, the gate's rows, a finished stage."""
    folder = tmp_path_factory.mktemp("formats") / "run"
    store = Store.create(
        folder, {"run_id": "r", "profile": "embedded", "config": {"seed": 0}, "config_hash": "c", "seed": 0}
    )
    policies = [
        {"policy_id": "0aaaaaaaaaaaaaaa", "kind": "base", "round": 0},
        {"policy_id": "1bbbbbbbbbbbbbbb", "kind": "sft", "round": 0},
    ]
    gate = {
        "round": 0, "look": 1, "champion": "0aaaaaaaaaaaaaaa", "challenger": "1bbbbbbbbbbbbbbb", "condition": "better",
        "metric": "accuracy", "benchmark": "pubmedqa_style", "passed": True, "test": "t", "n": 40, "n_clusters": 40,
        "champion_mean": 0.5, "challenger_mean": 0.6, "delta": 0.1, "ci_low": 0.02, "ci_high": 0.18,
        "threshold": 0.005, "p_value": 0.004, "p_adjusted": 0.008, "alpha": 0.01, "detail": "a | b",
    }  # fmt: skip
    evidence = {"policy_id": "1bbbbbbbbbbbbbbb", "alpha": 0.01, "look": 1, "items_needed": None}
    store.write(
        {
            "policies": policies,
            "rounds": [
                {
                    "round": 0,
                    "champion_in": "0aaaaaaaaaaaaaaa",
                    "challenger": "1bbbbbbbbbbbbbbb",
                    "champion_out": "1bbbbbbbbbbbbbbb",
                    "decision": "PROMOTE",
                }
            ],
            "gates": [gate],
            "decisions": [{"round": 0, "kind": "gate", "action": "PROMOTE", "reason": "a | b", "evidence": evidence}],
            "stages": [{"round": 0, "stage": "sft", "status": "done", "seconds": 1.5, "model_seconds": 1.0}],
        }
    )
    return folder


def commands(folder: Path) -> dict[str, tuple[Any, ...]]:
    return {
        "sql": ("sql", "SELECT action, reason FROM decisions", "--run", folder),
        "status": ("status", "--run", folder),
        "runs": ("runs", folder.parent),
        "profiles": ("profiles",),
        "gate explain": ("gate", "explain", "--run", folder),
        "train --dry-run": ("train", "--dry-run"),
    }


@pytest.mark.parametrize("name", [*commands(Path())])
@pytest.mark.parametrize("format", FORMATS)
def test_each_command_in_each_format(folder: Path, name: str, format: str) -> None:
    code, out, err = call(*commands(folder)[name], "--format", format)
    assert code == 0, err
    if format == "json":
        assert json.loads(out)
    elif format == "jsonl":
        rows = [json.loads(line) for line in out.splitlines()]
        assert rows and all(isinstance(row, dict) for row in rows)
    elif format == "csv":
        widths = {len(row) for row in csv.reader(io.StringIO(out.split("\n\n")[0]))}
        assert len(widths) == 1 and widths.pop() > 1
    elif format == "markdown":
        (head, rule, *_) = [line for line in out.splitlines() if line.startswith("|")]
        assert head.count("|") == rule.count("|") and set(rule) <= set("| -")
    else:
        assert "━" in out or "─" in out  # a narrow screen has records


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert output.markdown(["a", "b"], [["x | y", "1\n2"]]).splitlines()[-1] == r"| x \| y | 1<br>2 |"


def test_status_as_json_has_every_figure_in_full(folder: Path) -> None:
    status = json.loads(call("status", "--run", folder, "--format", "json")[1])
    assert status["champion"]["policy_id"] == "1bbbbbbbbbbbbbbb" and status["gates"][0]["delta"] == 0.1
    assert status["decisions"][0]["evidence"]["look"] == 1
    assert status["time"] == [{"stage": "sft", "times": 1.0, "seconds": 1.5, "model seconds": 1.0}]


def test_two_tables_say_which_they_are(folder: Path) -> None:
    rows = [json.loads(line) for line in call("status", "--run", folder, "--format", "jsonl")[1].splitlines()]
    assert {"Rounds", "Time"} <= {row["table"] for row in rows}
    _, out, err = call("status", "--run", folder, "--format", "csv")
    assert len(out.split("\n\n")) == 3 and "champion: 1bbb" in err  # what is no table does not disturb the CSV


@pytest.mark.parametrize("name", [*commands(Path())])
def test_an_unknown_format_is_refused(folder: Path, name: str) -> None:
    code, _, err = call(*commands(folder)[name], "--format", "xml")
    assert code == 2 and "table, json, csv, markdown, jsonl" in err


def test_sql_from_stdin_and_from_a_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = "-- how many\nSELECT count(*) AS n\nFROM policies;\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(statement))
    assert call("sql", "-", "--run", folder, "--format", "jsonl")[1] == '{"n": 2}\n'
    (tmp_path / "q.sql").write_text(statement, "utf-8")
    assert call("sql", "--file", tmp_path / "q.sql", "--run", folder, "--format", "csv")[1] == "n\n2\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "one statement"),
        (("SELECT 1", "--file", "q.sql"), "one statement"),
        (("--file", "x"), "x: No such"),
    ],
)
def test_sql_wants_one_statement(folder: Path, arguments: tuple[str, ...], part: str) -> None:
    code, out, err = call("sql", *arguments, "--run", folder)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and part in err


def test_a_file_that_is_no_text_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_bytes(b"SELECT '\xff'")
    code, _, err = call("sql", "--file", tmp_path / "q.sql", "--run", folder)
    assert code == 2 and "UTF-8" in err


@pytest.mark.parametrize("words", [("-h",), ("sql", "-h"), ("judge", "-h"), ("judge", "exam", "-h")])
def test_h_is_help(words: tuple[str, ...]) -> None:
    assert call(*words)[1].startswith("Usage:")


def test_no_command_is_cut_off_in_the_list() -> None:
    assert "..." not in call("--help")[1].partition("Commands:")[2]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("sta", {"status"}), ("judge ex", {"exam"}), ("sql --fo", {"--format"}), ("", {"loop", "sql"})],
)
def test_the_shell_completes_commands_and_options(typed: str, offered: set[str]) -> None:
    """What the script of `rlaif --install-completion` asks for when the Tab key is pressed in bash."""
    words = f"rlaif {typed}"
    asked = {"_RLAIF_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "import sys; sys.argv = ['rlaif']; import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and offered <= set(done.stdout.split()), done.stderr
