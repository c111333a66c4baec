from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cli
from rlaif.loop import command as start
from stores.store import Store

ROOT = Path(cli.__file__).parent
COMMANDS = (
    "loop", "sql", "status", "evaluate", "test", "profiles", "doctor", "runs", "promote", "exclude", "quantize",
    "compare", "export",
    "import", "train", "chat", "serve",
)  # fmt: skip


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """call("sql", "SELECT 1") is what `python cli.py sql "SELECT 1"` does, in this process."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(exit.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two policies and a decision whose reason looks like markup."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    store = Store.create(
        folder, {"run_id": "r", "profile": "embedded", "config": {"seed": 0}, "config_hash": "c", "seed": 0}
    )
    policies = [{"policy_id": "aaaa", "kind": "base", "round": 0}, {"policy_id": "bbbb", "kind": "sft", "round": 0}]
    decisions = [{"round": 0, "kind": "gate", "action": "REJECT", "reason": '[red]no[/red], "worse" é', "evidence": {}}]
    store.write(
        {
            "policies": policies,
            "decisions": decisions,
            "train_log": [{"policy_id": "bbbb", "step": 1, "name": "loss", "value": 0.123456}],
        }
    )
    return folder


def one_line_error(result: Result, code: int, *parts: str) -> None:
    assert (result.code, result.out) == (code, "")
    assert len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("error: ") and "Traceback" not in result.err and "(a bug" not in result.err
    for part in parts:
        assert part in result.err


def test_help_lists_the_commands(call: Any) -> None:
    result = call("--help")
    assert result.code == 0
    assert all(f"  {command} " in result.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(call: Any, command: str) -> None:
    result = call(command, "--help")
    assert result.code == 0 and "Usage" in result.out and result.err == ""


def test_version(call: Any) -> None:
    result = call("--version")
    assert result.code == 0 and result.out.startswith("rlaif ")


def test_an_unknown_command_is_wrong_usage(call: Any) -> None:
    result = call("lop")
    assert result.code == 2 and "lop" in result.err and "Traceback" not in result.err


def test_an_unknown_option_is_wrong_usage(call: Any) -> None:
    assert call("sql", "SELECT 1", "--fromat", "json").code == 2


@pytest.mark.parametrize(("rounds", "code"), [("0", 2), ("-1", 2), ("two", 2)])
def test_rounds_must_be_a_positive_number(call: Any, tmp_path: Path, rounds: str, code: int) -> None:
    result = call("loop", "--rounds", rounds, "--run", tmp_path / "run")
    assert result.code == code and "rounds" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--profile", "embeded"), "did you mean 'embedded'"),
        (("--set", "sed=1"), "did you mean 'seed'"),
        (("--set", "seed=x"), "seed = 'x'"),
        (("--set", "seed"), "key.sub=value"),
        (("--profile", "no/such.toml"), "no/such.toml"),
    ],
)
def test_a_wrong_configuration_makes_no_run(call: Any, tmp_path: Path, arguments: tuple[str, ...], part: str) -> None:
    one_line_error(call("loop", "--run", tmp_path / "run", *arguments), 2, part)
    assert not (tmp_path / "run").exists()


def test_profiles_are_listed(call: Any) -> None:
    result = call("profiles")
    assert result.code == 0 and "embedded" in result.out and "real-small" in result.out


@pytest.mark.parametrize(
    "make", [lambda p: p / "nowhere", lambda p: p, lambda p: Path(__file__)], ids=["absent", "empty", "file"]
)
@pytest.mark.parametrize(
    "command", [("sql", "SELECT 1"), ("status",), ("promote", "x", "--why", "y"), ("exclude", "x", "--why", "y")]
)
def test_a_folder_that_is_no_run_is_one_line(call: Any, tmp_path: Path, command: tuple[str, ...], make: Any) -> None:
    one_line_error(call(*command, "--run", make(tmp_path)), 2, "not a run folder", "loop")
    assert list(tmp_path.iterdir()) == []


def test_evaluate_looks_for_the_run_before_it_loads_a_model(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rlaif.models.base", None)  # importing it (and torch) now fails
    one_line_error(call("evaluate", "--benchmark", "medquad", "--run", tmp_path), 2, "not a run folder")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--benchmark", "medqad"), "did you mean 'medquad'"),
        (("--benchmark", "medquad", "--format", "yaml"), "table, json"),
        (("--benchmark", "medquad", "--split", "test"), "train, gate, sealed"),
        (("--benchmark", "medquad", "--limit", "-1"), "--limit -1"),
        (("--benchmark", "pubmedqa", "--mode", "generation"), "did you mean 'generate'"),
        (("--benchmark", "pubmedqa", "--template", "chatml"), "did you mean 'chat'"),
        (
            ("--benchmark", "medquad", "--mode", "generate"),
            "--mode and --template are of the benchmarks pubmedqa and own_labels",
        ),
        (("--benchmark", "medqa", "--template", "chat", "--data", "x"), "leave them out for medqa"),
        (("--benchmark", "pubmedqa", "--bertscore", "x"), "--bertscore is of the benchmarks medquad and own_text"),
        (
            ("--benchmark", "pubmedqa", "--no-quality"),
            "--quality and --no-quality are of the benchmarks medquad and own_text",
        ),
        (("--benchmark", "medqa"), "give the file with --data FILE"),
        (("--benchmark", "mmlu", "--data", "x", "--split", "gate"), "test, dev, val"),
    ],
)
def test_evaluate_checks_its_options(call: Any, tmp_path: Path, arguments: tuple[str, ...], part: str) -> None:
    one_line_error(call("evaluate", *arguments, "--run", tmp_path), 2, part)


def test_evaluate_on_an_unknown_policy_lists_those_there_are(
    call: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(config: object) -> None:
        raise AssertionError("a model was loaded")

    policy = ModuleType("rlaif.models.base")
    policy.load_base = never  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlaif.models.base", policy)
    one_line_error(
        call("evaluate", "--benchmark", "medquad", "--policy", "zzz", "--run", folder), 2, "'zzz'", "aaaa", "bbbb"
    )


def test_sql_json_is_a_list_of_objects(call: Any, folder: Path) -> None:
    result = call(
        "sql", "SELECT policy_id, kind, parent_id, round FROM policies ORDER BY 1", "--run", folder, "--format", "json"
    )
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == [
        {"policy_id": "aaaa", "kind": "base", "parent_id": None, "round": 0},
        {"policy_id": "bbbb", "kind": "sft", "parent_id": None, "round": 0},
    ]


def test_sql_json_of_no_rows_is_an_empty_list(call: Any, folder: Path) -> None:
    assert json.loads(call("sql", "SELECT * FROM candidates", "--run", folder, "--format", "json").out) == []


def test_sql_json_keeps_texts_as_they_are_and_times_as_text(call: Any, folder: Path) -> None:
    (row,) = json.loads(
        call("sql", "SELECT reason, created_at FROM decisions", "--run", folder, "--format", "json").out
    )
    assert row["reason"] == '[red]no[/red], "worse" é'
    assert row["created_at"].startswith("20")


def test_sql_json_numbers_are_numbers(call: Any, folder: Path) -> None:
    (row,) = json.loads(
        call(
            "sql",
            "SELECT 0.5 AS x, 1::HUGEINT AS y, avg(value) AS z FROM train_log",
            "--run",
            folder,
            "--format",
            "json",
        ).out
    )
    assert row == {"x": 0.5, "y": 1, "z": 0.123456}


def test_sql_json_is_strict_json(call: Any, folder: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    out = call("sql", "SELECT 'nan'::DOUBLE AS x, ['inf'::DOUBLE] AS y", "--run", folder, "--format", "json").out
    json.loads(out, parse_constant=refuse)


def test_sql_csv_reads_back(call: Any, folder: Path) -> None:
    result = call(
        "sql", "SELECT reason, round, evidence, NULL AS nothing FROM decisions", "--run", folder, "--format", "csv"
    )
    assert list(csv.reader(io.StringIO(result.out))) == [
        ["reason", "round", "evidence", "nothing"],
        ['[red]no[/red], "worse" é', "0", "{}", ""],
    ]


def test_sql_table_shows_texts_without_markup(call: Any, folder: Path) -> None:
    result = call("sql", "SELECT reason FROM decisions", "--run", folder)
    assert result.code == 0 and '[red]no[/red], "worse" é' in result.out and "reason" in result.out
    assert "0.1235" in call("sql", "SELECT value FROM train_log", "--run", folder).out


def test_sql_knows_its_tables_and_views(call: Any, folder: Path) -> None:
    names = [row["name"] for row in json.loads(call("sql", "SHOW TABLES", "--run", folder, "--format", "json").out)]
    assert {"runs", "preference_pairs", "round_summary", "leaderboard", "judge_agreement"} <= set(names)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM policies",
        "UPDATE runs SET seed = 1",
        "CREATE TABLE x (a INTEGER)",
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY policies TO 'stolen.csv'",
        "ATTACH 'other.duckdb'",
        "SELEC 1",
        "SELECT nothing FROM policies",
        "",
    ],
)
def test_sql_refuses_all_but_reading_the_run(
    call: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.chdir(tmp_path)
    one_line_error(call("sql", statement, "--run", folder), 2)
    assert list(tmp_path.iterdir()) == []
    assert len(Store.open(folder).query("SELECT * FROM policies")) == 2


def test_sql_formats_are_named(call: Any, folder: Path) -> None:
    one_line_error(call("sql", "SELECT 1", "--run", folder, "--format", "jsn"), 2, "did you mean 'json'")


def test_an_interrupted_loop_says_that_it_can_go_on(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "run_from_command_line", interrupted)
    result = call("loop", "--run", tmp_path / "run")
    assert result.code == 130 and "goes on" in result.err and "Traceback" not in result.err


@pytest.mark.parametrize("program", [["cli.py"], ["-m", "rlaif"]], ids=["cli.py", "rlaif"])
def test_ctrl_c_while_modules_load_is_one_line(tmp_path: Path, program: list[str]) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt  # the user's, at the first module that takes long")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, *program, "status"], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "error: stopped; the same command goes on from here\n"


def test_a_bug_says_that_it_is_one(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(start, "run_from_command_line", broken)
    result = call("loop", "--run", tmp_path / "run")
    assert result.code == 1 and "KeyError" in result.err and "--debug" in result.err and "Traceback" not in result.err


def test_the_loop_leaves_a_foreign_folder_as_it_is(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = ModuleType("rlaif.models.base")
    policy.load_base = lambda config, **_: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlaif.models.base", policy)
    (tmp_path / "thesis.tex").write_text("text")
    result = call("loop", "--run", tmp_path)
    assert result.code == 2 and "no run" in result.err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_the_script_itself_runs(folder: Path) -> None:
    done = python(
        "", str(ROOT / "cli.py"), "sql", "SELECT count(*) AS n FROM policies", "--run", str(folder), "--format", "json"
    )
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [{"n": 2}], "")
    done = python("", str(ROOT / "cli.py"), "status", "--run", str(folder / "no"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


@pytest.mark.parametrize("arguments", ["['--help']", "['sql', 'SELECT 1']", "['status']", "['profiles']"])
def test_what_needs_no_model_does_not_load_torch(folder: Path, arguments: str) -> None:
    code = (
        f"import sys, cli\nsys.argv = ['cli.py', *{arguments}]\n"
        f"if sys.argv[1] in ('sql', 'status'): sys.argv += ['--run', {str(folder)!r}]\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print({'torch', 'transformers', 'trl', 'peft', 'datasets', 'pandas', 'scipy'} & "
        "set(sys.modules), file=sys.stderr)"
    )
    assert python(code).stderr.splitlines()[-1] == "set()"
