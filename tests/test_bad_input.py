"""What a person can get wrong: each gives one clear line on stderr and the right exit code, and leaves the disk as it
was.

Most cases never get as far as a model: `no_model` fails the test that loads one. Those that need one are marked slow.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

import cli
from rlaif.config_file import load_config
from rlaif.models.weights import weights_sha256
from rlaif.prompts import load_prompt
from rlaif.run import open_or_create
from rlaif.types import Decision, Preference, Question, RlaifError
from stores.lock import run_lock
from stores.store import DATABASE, Store

ROOT = Path(cli.__file__).parent
PROMPT = ROOT / "prompts" / "policy" / "answer.md"
COMMAND = typer.main.get_command(cli.app)  # built once: typer would do it for every call
EMBEDDED = ROOT / "rlaif" / "embedded" / "base"
QUICK = ("judge.model=reference", "evaluation.judge=")  # a judge that needs no torch
SFT = "b" * 16
SET_QUICK = ("--set", QUICK[0], "--set", QUICK[1])


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def refuses(self, code: int, *words: str) -> None:
        """One line of error, and before it nothing but the line with which the loop introduces itself."""
        *before, last = self.err.splitlines() or [""]
        assert last.startswith("error: ") and all(line.startswith("rlaif: profile ") for line in before), self.err
        self.says(code, *words)

    def says(self, code: int, *words: str) -> None:
        assert (self.code, self.out) == (code, ""), self.err
        assert sum(line.startswith("error: ") for line in self.err.splitlines()) == 1, self.err
        assert "Traceback" not in self.err and "(a bug" not in self.err, self.err
        last = self.err.splitlines()[-1]
        for word in words:
            assert word in last, f"{word!r} not in {last}"


Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """call("sql", "SELECT 1") is what `python cli.py sql "SELECT 1"` does, in this process."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, arguments)])
        monkeypatch.setattr(cli, "app", COMMAND)
        with pytest.raises(SystemExit) as exit:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(exit.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Without torch: whoever loads a base fails the test."""
    policy = ModuleType("rlaif.models.base")
    policy.load_base = lambda config, **_: pytest.fail("a base was loaded")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlaif.models.base", policy)
    adapters = ModuleType("rlaif.models.adapter")
    adapters.check_targets = lambda base, config: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlaif.models.adapter", adapters)
    return policy


@pytest.fixture
def any_model(no_model: ModuleType) -> None:
    """Without torch: a base that is loaded and never used."""
    no_model.load_base = lambda config, **_: SimpleNamespace()  # type: ignore[attr-defined]


def disk(folder: Path) -> dict[str, bytes | None]:
    """All that lies in and below `folder`: files with their content, folders with None. Not the lock, which only says
    who held it last.
    """
    found = [p for p in folder.rglob("*") if p.name != "loop.lock"]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    before = disk(folder)
    yield
    assert disk(folder) == before


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    with duckdb.connect(folder / DATABASE, read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: rows(connection.execute(f'SELECT * FROM "{name}" ORDER BY ALL')) for name in names}


def rows(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    columns = [column[0] for column in result.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: what a full disk does to a writer, for root too (who may write in a
    read-only folder).
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# A run that has promoted its SFT policy, made by hand -----------------------------------------------------------------


def write_adapter(folder: Path) -> str:
    """A safetensors file of one small tensor; returns its hash."""
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    return weights_sha256(folder)


def make_run(
    folder: Path, *settings: str, base_sha256: str = "0" * 64, adapter: Callable[[Path], str] = write_adapter
) -> Path:
    config = load_config("embedded", [*QUICK, *settings])
    store = open_or_create(folder, config).store
    prompt = load_prompt(config.prompts.policy)
    questions = [
        Question(
            f"{split}{i}",
            "medquad-style",
            split,
            f"s{i}",
            f"{split}{i}",
            f"What is {split} {i}?",
            reference="rest and much water",
        )
        for split in ("train", "gate")
        for i in range(3)
    ]
    recorded = adapter(folder / "policies" / "bbbbbbbbbbbbbbbb")
    policies = [
        {
            "policy_id": "aaaa",
            "kind": "base",
            "round": 0,
            "path": "embedded",
            "sha256": base_sha256,
            "base_sha256": base_sha256,
        },
        {
            "policy_id": "bbbbbbbbbbbbbbbb",
            "kind": "sft",
            "round": 0,
            "parent_id": "aaaa",
            "path": "policies/bbbbbbbbbbbbbbbb",
            "sha256": recorded,
        },
    ]
    store.write(
        {
            "questions": questions,
            "prompts": [{"prompt_sha256": prompt.sha256, "kind": "policy", "name": prompt.name, "text": prompt.text}],
            "policies": policies,
            "preferences": [Preference("pppp", 1, "train0", "j", "kept", "", "c1", "c2", 0.9, 0.1, 0.8)],
            "rounds": [
                {
                    "round": 0,
                    "champion_in": "aaaa",
                    "challenger": "bbbbbbbbbbbbbbbb",
                    "champion_out": "bbbbbbbbbbbbbbbb",
                    "decision": "PROMOTE",
                }
            ],
            "decisions": [Decision(0, "gate", "PROMOTE", "better", {"policy_id": "bbbbbbbbbbbbbbbb"})],
            "stages": [{"round": 0, "stage": stage, "status": "done"} for stage in ("prepare", "gate")],
        }
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, for a test that may damage it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


# Data -----------------------------------------------------------------------------------------------------------------

QA = {"question": "What helps against a cough?", "answer": "Rest and plenty of water are enough."}
PQA = {
    "pubid": 1,
    "question": "Does it help?",
    "context": {"contexts": ["We looked."]},
    "long_answer": "It does.",
    "final_decision": "yes",
}


def lines(*rows: object) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != key}


BAD_DATA = {
    "missing": ("medquad", "m.parquet", None, ["m.parquet: no such file", ".parquet", "hub id"]),
    "empty": ("medquad", "m.jsonl", b"", ["m.jsonl: is empty"]),
    "blank": ("medquad", "m.jsonl", b" \n\n", ["is empty", "all blank"]),
    "no rows": ("medquad", "m.csv", b"question,answer\n", ["holds no rows"]),
    "unknown kind": ("medquad", "m.xlsx", b"PK", ["'.xlsx'", ".jsonl"]),
    "broken parquet": (
        "medquad",
        "m.parquet",
        b"PAR1 and then nothing that could be Parquet PAR1",
        ["m.parquet: not a readable Parquet"],
    ),
    "broken json": ("pubmedqa", "p.json", b'{"1": {', ["p.json line 1 column 8: not JSON"]),
    "line 3 broken": ("medquad", "m.jsonl", lines(QA, QA, '{"question": "x'), ["m.jsonl line 3: not JSON"]),
    "line 2 no object": ("medquad", "m.jsonl", lines(QA, "[1]"), ["line 2", "list", "one JSON object a line"]),
    "line 2 too deep": ("medquad", "m.jsonl", lines(QA, "[" * 100_000), ["line 2", "not JSON"]),
    "line 2 too long a number": (
        "medquad",
        "m.jsonl",
        lines(QA, '{"question": ' + "1" * 5000 + "}"),
        ["line 2", "not JSON"],
    ),
    "csv fields": ("medquad", "m.csv", b"question,answer\na,b\nc,d,e\n", ["line 3: 3 fields; the header has 2"]),
    "csv quote": ("medquad", "m.csv", b'question,answer\na,"b\n', ["line 2: broken CSV"]),
    "column missing": (
        "medquad",
        "m.jsonl",
        lines({"question": "a", "reply": "b"}),
        ["answer missing", "found question, reply", "needed question, answer"],
    ),
    "columns missing": (
        "pubmedqa",
        "p.jsonl",
        lines({"id": 1, "text": "b"}),
        ["columns pubid, question", "found id, text", "needed pubid"],
    ),
    "the other data set": ("pubmedqa", "p.jsonl", lines(QA), ["pubid, context", "found question, answer"]),
    "column twice": ("medquad", "m.csv", b"question,answer,Answer\na,b,c\n", ["column name stands more than once"]),
    "not UTF-8": (
        "medquad",
        "m.csv",
        "question,answer\nWas ist Föhn?,Wind\n".encode("latin-1"),
        ["m.csv line 2: not UTF-8: byte 0xf6", "as UTF-8"],
    ),
    "half a character": (
        "medquad",
        "m.jsonl",
        lines(QA, QA | {"answer": "\ud83d"}),
        ["line 2", "ud83d", "half a character"],
    ),
    "no question": (
        "medquad",
        "m.jsonl",
        lines(QA, QA | {"question": ""}),
        ["line 2: question is empty; needed text"],
    ),
    "blank answer": (
        "medquad",
        "m.jsonl",
        lines(QA | {"answer": " "}),
        ["no usable row of 1; dropped {'no_answer': 1}"],
    ),
    "null answer": (
        "medquad",
        "m.jsonl",
        lines(QA | {"answer": None}),
        ["no usable row of 1; dropped {'no_answer': 1}"],
    ),
    "key twice": (
        "medquad",
        "m.jsonl",
        b'{"question": "q", "answer": "a", "answer": "b"}',
        ["line 1: key 'answer' stands"],
    ),
    "number for an answer": ("medquad", "m.jsonl", lines(QA | {"answer": 7}), ["line 1: answer is int 7; needed text"]),
    "empty question": ("pubmedqa", "p.jsonl", lines(PQA | {"question": ""}), ["line 1: question is empty"]),
    "empty context": (
        "pubmedqa",
        "p.jsonl",
        lines(PQA | {"context": {"contexts": []}}),
        ["line 1: context", "contexts: list of texts"],
    ),
    "uid twice": (
        "medquad",
        "m.jsonl",
        lines(QA | {"uid": "u1"}, QA | {"uid": "u2"}, QA | {"uid": "u1"}),
        ["line 3: uid u1 stands 2 times"],
    ),
    "pubid twice": ("pubmedqa", "p.jsonl", lines(PQA, PQA), ["line 2: pubid 1 stands 2 times"]),
    "label": (
        "pubmedqa",
        "p.jsonl",
        lines(PQA, PQA | {"pubid": 2, "final_decision": "perhaps"}),
        ["line 2", "'perhaps'", "yes, no or maybe"],
    ),
    "no label": (
        "pubmedqa",
        "p.jsonl",
        lines(PQA | {"final_decision": None}),
        ["line 1: final_decision is None", "yes, no or maybe"],
    ),
    "split": (
        "pubmedqa",
        "p.jsonl",
        lines(PQA | {"split": "training"}),
        ["line 1: split is 'training'; needed test or dev"],
    ),
    "only one split": (
        "pubmedqa",
        "p.jsonl",
        lines(PQA | {"split": "test"}),
        ["no train questions among its 1", "train and gate"],
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of two small data sets that a loop can use: the embedded ones take half a second to make."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "p.jsonl").write_bytes(lines(*(PQA | {"pubid": i} for i in range(4))))
    (folder / "m.jsonl").write_bytes(
        lines(*({"question": f"What is {i}?", "answer": f"Number {i} is good for health."} for i in range(40)))
    )
    # Their questions are alike on purpose, so the leak check would drop them.
    data = [f"data.pubmedqa={folder / 'p.jsonl'}", f"data.medquad={folder / 'm.jsonl'}", "data.leaks=off"]
    return [*SET_QUICK, *(part for setting in data for part in ("--set", setting))]


@pytest.fixture
def bad_file(tmp_path: Path) -> Callable[[str, bytes | None], Path]:
    def make(name: str, content: bytes | None) -> Path:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


@pytest.mark.parametrize(("benchmark", "name", "content", "words"), BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_the_loop_cannot_use(
    call: Call,
    no_model: ModuleType,
    tmp_path: Path,
    small: list[str],
    bad_file: Any,
    benchmark: str,
    name: str,
    content: bytes | None,
    words: list[str],
) -> None:
    path = bad_file(name, content)
    with untouched(tmp_path):
        result = call("loop", "--run", tmp_path / "run", *small, "--set", f"data.{benchmark}={path}")
    result.refuses(2, name, *words)


@pytest.mark.parametrize(
    "case", ["missing", "line 3 broken", "broken parquet", "columns missing", "label", "not UTF-8", "no question"]
)
def test_data_that_evaluate_cannot_use(call: Call, no_model: ModuleType, made: Path, bad_file: Any, case: str) -> None:
    benchmark, name, content, words = BAD_DATA[case]
    with untouched(made):
        result = call("evaluate", "--run", made, "--benchmark", benchmark, "--data", bad_file(name, content))
    result.refuses(2, name, *words)


def parquet(path: Path, column: pa.Array) -> Path:
    pq.write_table(pa.table({"question": ["What helps?"], "answer": column}), path)
    return path


def test_a_parquet_file_cut_short(call: Call, no_model: ModuleType, tmp_path: Path, small: list[str]) -> None:
    path = parquet(tmp_path / "m.parquet", pa.array(["Rest helps."]))
    path.write_bytes(path.read_bytes()[:-20])
    call("loop", "--run", tmp_path / "run", *small, "--set", f"data.medquad={path}").refuses(
        2, "m.parquet: not a readable Parquet file"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_parquet_text_that_is_not_utf8(call: Call, no_model: ModuleType, tmp_path: Path, small: list[str]) -> None:
    text = pa.StringArray.from_buffers(1, pa.py_buffer(bytes([0, 0, 0, 0, 4, 0, 0, 0])), pa.py_buffer(b"F\xf6hn"))
    path = parquet(tmp_path / "m.parquet", text)
    call("loop", "--run", tmp_path / "run", *small, "--set", f"data.medquad={path}").refuses(
        2, "m.parquet", "not UTF-8", "0xf6"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_bytes_are_no_text(call: Call, no_model: ModuleType, tmp_path: Path, small: list[str]) -> None:
    path = parquet(tmp_path / "m.parquet", pa.array([b"Rest helps."]))
    call("loop", "--run", tmp_path / "run", *small, "--set", f"data.medquad={path}").refuses(
        2, "row 1: answer is bytes", "needed text"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_data(call: Call, no_model: ModuleType, tmp_path: Path, small: list[str]) -> None:
    (tmp_path / "xml").mkdir()
    with untouched(tmp_path):
        for benchmark, words in (("medquad", "xml"), ("pubmedqa", "is a folder")):
            call("loop", "--run", tmp_path / "run", *small, "--set", f"data.{benchmark}={tmp_path / 'xml'}").refuses(
                2, str(tmp_path / "xml"), words
            )


# Configuration --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "0"], ["--rounds 0", "at least 1"]),
        (["--rounds", "-2"], ["--rounds -2", "at least 1"]),
        (["--profile", "embeded"], ["'embeded'", "did you mean 'embedded'"]),
        (["--profile", "xyz"], ["'xyz'", "embedded, llama-3.2-3b-galore", "real-small", "TOML"]),
        (["--profile", "no/such.toml"], ["no profile file no/such.toml"]),
        (["--set", "dpo.betta=0.2"], ["'dpo.betta'", "did you mean 'dpo.beta'"]),
        (["--set", "sed=3"], ["'sed'", "did you mean 'seed'"]),
        (["--set", "seed"], ["key.sub=value", "'seed'"]),
        (["--set", "=3"], ["key.sub=value"]),
        (["--set", "seed=three"], ["seed = 'three'", "integer"]),
        (["--set", "seed=-1"], ["seed = -1", "greater than or equal to 0"]),
        (["--set", "seed=1.5"], ["seed = 1.5", "integer"]),
        (["--set", "dpo.beta=0"], ["dpo.beta = 0", "greater than 0"]),
        (["--set", "dpo.learning_rate=nan"], ["dpo.learning_rate = nan", "finite"]),
        (["--set", "model.device=gpu"], ["model.device = 'gpu'", "'cuda'"]),
        (["--set", "model.target_modules=q_proj"], ["model.target_modules = 'q_proj'", "a list, like"]),
        (["--set", "judge.model=gpt"], ["judge.model = 'gpt'", "'reference'", "judge.base_url"]),
        (["--set", "judge.model=opnai:gpt"], ["judge.model = 'opnai:gpt'", "no provider is called so"]),
        (
            ["--set", "judge.model=openai:x", "--set", "judge.prompt=no/such.md"],
            ["no/such.md", "cannot read the prompt file"],
        ),
        (
            ["--set", "judge.model=x", "--set", "judge.base_url=localhost:1"],
            ["judge.base_url = 'localhost:1'", "is no URL"],
        ),
        (
            [*SET_QUICK, "--set", "judge.prompt=prompts/judge/strict.md"],
            ["judge.prompt is set", "is no language model"],
        ),
        (["--set", "judge.retries=-1"], ["judge.retries = -1", "greater than or equal to 0"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_configuration_that_cannot_be(
    call: Call, no_model: ModuleType, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    call("loop", "--run", tmp_path / "run", *arguments).refuses(2, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = 3\nfoo = 1\n", ["unknown key 'foo'"]),
        ("[dpo]\nbetta = 0.2\n", ["unknown key 'dpo.betta'", "did you mean 'dpo.beta'"]),
        ("[samplin]\nk = 4\n", ["unknown key 'samplin'", "did you mean 'sampling"]),
        ("[sampling]\nk = 'four'\n", ["sampling.k = 'four'", "integer"]),
        ("sampling = 3\n", ["sampling = 3"]),
        ("seed = \n", ["not a TOML file", "line 1"]),
        ("# F\xf6hn", ["not a TOML file", "utf-8"]),
    ],
)
def test_a_profile_that_cannot_be(
    call: Call, no_model: ModuleType, tmp_path: Path, text: str, words: list[str]
) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(text, "latin-1")
    call("loop", "--run", tmp_path / "run", "--profile", profile).refuses(2, str(profile), *words)
    assert list(tmp_path.iterdir()) == [profile]


@pytest.mark.parametrize(
    "arguments",
    [["loop", "--rounds", "x"], ["loop", "--round", "3"], ["lop"], ["evaluate"], ["promote", "aaaa"], ["sql"]],
)
def test_typer_refuses_what_is_no_command_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert (result.code, result.out) == (2, "") and "Traceback" not in result.err and result.err.strip()
    assert list(tmp_path.iterdir()) == []


# Prompts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", None, ["prompt.md", "cannot read the prompt file", "No such file"]),
        ("{context}", "{leaflet}", ["unknown placeholder {leaflet}", "# user", "{context}, {qtype}, {question}"]),
        ("{question}", "it", ["no {question}"]),
        ("# user", "# human", ["'# user'"]),
        ("kind: policy", "kind: question", ["kind is 'question'", "policy"]),
        ("name: answer\n", "", ["no 'name'"]),
        ("---", "", ["prompt.md", "---"]),
        ("Question:", "Fr\xe4ge:", ["not UTF-8"]),
    ],
)
def test_a_prompt_that_cannot_be_used(
    call: Call, no_model: ModuleType, tmp_path: Path, old: str, new: str | None, words: list[str]
) -> None:
    prompt = tmp_path / "prompt.md"
    if new is not None:
        assert old in PROMPT.read_text()
        prompt.write_text(PROMPT.read_text().replace(old, new), "latin-1")
    with untouched(tmp_path):
        call("loop", "--run", tmp_path / "run", "--set", f"prompts.policy={prompt}").refuses(2, str(prompt), *words)


def test_a_prompt_edited_or_gone_after_the_run_began(call: Call, no_model: ModuleType, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.md"
    shutil.copy(PROMPT, prompt)
    setting = f"prompts.policy={prompt}"
    run = make_run(tmp_path / "run", setting)
    with untouched(run):
        prompt.write_text(prompt.read_text().replace("health", "medical"))
        result = call("loop", "--run", run, *SET_QUICK, "--set", setting)
        result.refuses(
            2, str(prompt), "has changed since this run began", "put the old text back", "start a new run with --run"
        )
        prompt.unlink()
        call("loop", "--run", run, *SET_QUICK, "--set", setting).refuses(2, str(prompt), "cannot read the prompt file")
        call("evaluate", "--run", run, "--benchmark", "medquad").refuses(2, str(prompt), "cannot read the prompt file")


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_run_of_another_configuration(call: Call, no_model: ModuleType, made: Path) -> None:
    was = load_config("embedded").dpo.beta
    with untouched(made):
        result = call("loop", "--run", made, *SET_QUICK, "--set", "seed=3", "--set", "dpo.beta=0.21")
    result.refuses(
        2, str(made), "seed: 0 there, 3 now", f"dpo.beta: {was} there, 0.21 now", "start a new run with --run"
    )


def test_a_folder_of_somebody_else(call: Call, no_model: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with untouched(tmp_path):
        call("loop", "--run", tmp_path).refuses(2, "is no run", "thesis.tex", "another --run")
        call("loop", "--run", tmp_path / "thesis.tex").refuses(2, "is no run", "is a file")


COMMANDS = {
    "sql": ["sql", "SELECT 1"],
    "status": ["status"],
    "evaluate": ["evaluate", "--benchmark", "medquad"],
    "promote": ["promote", "aaaa", "--why", "better"],
    "exclude": ["exclude", "pppp", "--why", "wrong"],
    "prune": ["runs", "--prune"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_without_a_database(call: Call, no_model: ModuleType, tmp_path: Path, command: list[str]) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        call(*command, "--run", folder).refuses(2, f"{folder} is not a run folder", "start one with the command loop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["loop"], *COMMANDS.values()], ids=["loop", *COMMANDS])
@pytest.mark.parametrize("kind", ["newer", "foreign", "text", "cut"])
def test_a_database_that_is_not_for_this_version(
    call: Call, no_model: ModuleType, folder: Path, command: list[str], kind: str
) -> None:
    path = folder / DATABASE
    if kind == "newer":
        with duckdb.connect(path) as connection:
            connection.execute("INSERT INTO migrations (name) VALUES ('9999_from_the_future')")
        words = ["newer version of rlaif", "9999_from_the_future", "update rlaif"]
    elif kind == "foreign":
        path.unlink()
        with duckdb.connect(path) as connection:
            connection.execute("CREATE TABLE mine (a INTEGER)")
        words = ["not one of rlaif"]
    else:
        path.write_bytes(b"no database" if kind == "text" else path.read_bytes()[:5000])
        words = ["cannot be read as a DuckDB database"]
    with untouched(folder):
        call(*command, "--run", folder).refuses(2, str(path), *words)


def test_two_loops_on_one_run(call: Call, any_model: None, folder: Path) -> None:
    with run_lock(folder), untouched(folder):
        call("loop", "--run", folder, *SET_QUICK).refuses(
            1, f"another loop (pid {os.getpid()}) is running on {folder}", "wait for it or stop it"
        )
        call("promote", "base", "--why", "x", "--run", folder).refuses(1, f"another loop (pid {os.getpid()})")
        call("runs", "--prune", "--run", folder).refuses(1, f"another loop (pid {os.getpid()})")


# The disk -------------------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_a_loop_before_it_makes_anything(
    call: Call, no_model: ModuleType, made: Path, tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=2**40, used=2**40, free=7 * 2**20))
    call("loop", "--run", tmp_path / "a" / "run", *small).refuses(
        1, str(tmp_path), "only 7 MB free", "200 MB needed", "free some space"
    )
    assert list(tmp_path.iterdir()) == []
    with untouched(made):
        call("loop", "--run", made, *SET_QUICK).refuses(1, str(made), "only 7 MB free")


@pytest.mark.parametrize("size", [0, 1000, 20_000])  # the lock, config.toml, the database
def test_a_new_run_that_cannot_be_written_can_be_started_again(
    call: Call, any_model: None, tmp_path: Path, small: list[str], size: int
) -> None:
    run = tmp_path / "run"
    with file_limit(size):
        result = call("loop", "--run", run, *small)
    result.refuses(1, str(run))
    assert "large" in result.err
    assert set(disk(run)) <= {"config.toml", "policies"}
    assert open_or_create(run, load_config("embedded", small[1::2])).store.query("SELECT count(*) AS n FROM runs") == [
        {"n": 1}
    ]


@pytest.mark.parametrize(
    "command",
    [["loop", *SET_QUICK], ["promote", "base", "--why", "x"], ["exclude", "pppp", "--why", "x"]],
    ids=["loop", "promote", "exclude"],
)
def test_an_existing_run_that_cannot_be_written_stays_as_it_is(
    call: Call, any_model: None, folder: Path, command: list[str]
) -> None:
    before = tables(folder)
    with file_limit(100):
        call(*command, "--run", folder).refuses(1, str(folder), DATABASE)
    assert tables(folder) == before


def test_a_run_below_a_file_cannot_be_made(call: Call, any_model: None, tmp_path: Path, small: list[str]) -> None:
    (tmp_path / "file").write_text("text")
    with untouched(tmp_path):
        call("loop", "--run", tmp_path / "file" / "run", *small).refuses(
            1, str(tmp_path / "file" / "run"), "ot a directory"
        )


# evaluate, promote, exclude, sql --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--benchmark", "medqad"], ["'medqad'", "did you mean 'medquad'", "medquad, pubmedqa"]),
        (["evaluate", "--benchmark", "medquad", "--split", "test"], ["--split 'test'", "train, gate, sealed"]),
        (["evaluate", "--benchmark", "medquad", "--limit", "-1"], ["--limit -1", "positive"]),
        (["evaluate", "--benchmark", "medquad", "--format", "jsn"], ["did you mean 'json'"]),
        (
            ["evaluate", "--benchmark", "medquad", "--policy", "zzzz"],
            ["'zzzz' is no policy", "base, sft, champion, aaaa, bbbbbbbbbbbbbbbb"],
        ),
        (["evaluate", "--benchmark", "medquad", "--policy", ""], ["name a policy"]),
        (["evaluate", "--benchmark", "medquad", "--split", "sealed"], ["by the command test alone", "on record"]),
        (["evaluate", "--benchmark", "pubmedqa"], ["no gate items of pubmedqa"]),
        (
            ["promote", "zzzz", "--why", "better"],
            ["'zzzz' is no policy of this run", "base, sft, champion, aaaa, bbbbbbbbbbbbbbbb"],
        ),
        (["promote", "", "--why", "better"], ["name the policy"]),
        (["promote", "aaaa", "--why", " "], ["say why"]),
        (
            ["exclude", "zzzz", "--why", "wrong"],
            ["'zzzz' is no pair of this run", "SELECT pair_id FROM preference_pairs"],
        ),
        (["exclude", "", "--why", "wrong"], ["name the pair"]),
        (["sql", "SELEC * FROM runs"], ["syntax error", "SELEC"]),
        (["sql", "SELECT * FROM run"], ["run does not exist", "runs"]),
        (["sql", "SELECT sed FROM runs"], ["sed", "seed"]),
        (["sql", "SELECT 'a"], ["unterminated"]),
        (["sql", " "], ["empty"]),
        (["sql", "DELETE FROM preferences"], ["read-only", "cannot run"]),
        (["sql", "SELECT 1; DROP TABLE runs"], ["read-only"]),
        (["sql", "COPY runs TO 'out.csv'"], ["only the run's own tables"]),
        (["sql", "SELECT 1/0", "--format", "xml"], ["--format 'xml'", "table, json, csv, markdown, jsonl"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in ("evaluate", "promote", "exclude", "sql") else "",
)
def test_a_question_to_a_run_that_it_cannot_answer(
    call: Call,
    no_model: ModuleType,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with untouched(made):
        call(*arguments, "--run", made).refuses(2, *words)
    assert list(tmp_path.iterdir()) == []


def lose(folder: Path) -> None:
    shutil.rmtree(folder)


def cut(folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-3])


def change(folder: Path) -> None:
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


DAMAGE = [(lose, "no weights"), (cut, "a damaged safetensors file"), (change, "the adapter's weights have changed")]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_the_adapter_is_looked_at_before_the_base_is_loaded_or_the_sealed_test_opened(
    call: Call, no_model: ModuleType, folder: Path, damage: Callable[[Path], None], words: str
) -> None:
    sealed = [
        Question(f"s{i}", "medquad-style", "sealed", "s", f"s{i}", "What is it?", reference="a cold and a cough")
        for i in range(2)
    ]
    Store.open(folder).write({"questions": sealed})
    damage(folder / "policies" / "bbbbbbbbbbbbbbbb")
    for command in (["evaluate", "--benchmark", "medquad"], ["test", "--yes"]):
        with untouched(folder):
            call(*command, "--run", folder).refuses(1, str(folder / "policies" / "bbbbbbbbbbbbbbbb"), words, "restore")


def to_outside(folder: Path) -> None:
    change = "UPDATE policies SET path = '../precious' WHERE kind = 'sft'"
    Store.open(folder).execute([(change, [])])


def to_all_policies(folder: Path) -> None:
    """An id of which a path would be made that is all of policies/."""
    rename = [("UPDATE policies SET policy_id = '.', path = 'policies/.' WHERE kind = 'sft'", [])]
    rename += [('UPDATE decisions SET evidence = \'{"policy_id": "."}\'', [])]
    rename += [(f"UPDATE rounds SET {c} = '.' WHERE {c} = '{SFT}'", []) for c in ("challenger", "champion_out")]
    Store.open(folder).execute(rename)


def to_parent(folder: Path) -> None:
    rename = [
        ("UPDATE policies SET policy_id = '../../precious', path = 'policies/../../precious' WHERE kind = 'sft'", [])
    ]
    rename += [('UPDATE decisions SET evidence = \'{"policy_id": "../../precious"}\'', [])]
    rename += [
        (f"UPDATE rounds SET {c} = '../../precious' WHERE {c} = '{SFT}'", []) for c in ("challenger", "champion_out")
    ]
    Store.open(folder).execute(rename)


def by_link(folder: Path) -> None:
    shutil.rmtree(folder / "policies" / SFT)
    (folder / "policies" / SFT).symlink_to(folder.parent / "precious")


def by_link_of_a_file(folder: Path) -> None:
    path = folder / "policies" / SFT / "adapter_model.safetensors"
    path.rename(folder.parent / "precious" / path.name)
    path.symlink_to(folder.parent / "precious" / path.name)


ATTACKS = {
    "path outside": (to_outside, "leads to '../precious' instead of"),
    "id of all policies": (to_all_policies, "'.' is not 16 hex digits"),
    "id outside": (to_parent, "'../../precious' is not 16 hex digits"),
    "link": (by_link, "is a link"),
    "link of a file": (by_link_of_a_file, "is a link"),
}
READERS = {
    "export": ["export", "--format", "adapter", "--policy", "sft", "--out", "{out}"],
    "merged": ["export", "--format", "merged", "--policy", "sft", "--out", "{out}"],
    "serve": ["serve", "--policy", "sft", "--port", "0"],
    "chat": ["chat", "What is it?", "--policy", "sft"],
    "evaluate": ["evaluate", "--benchmark", "medquad", "--policy", "sft"],
    "prune": ["runs", "--prune"],
}


@pytest.mark.slow  # torch is imported
@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("reader", READERS)
def test_no_path_is_made_of_what_an_altered_database_says(
    call: Call, folder: Path, tmp_path: Path, attack: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlaif import policies
    from rlaif.models import base as bases
    from rlaif.share import serve

    loaded = SimpleNamespace(quantization="none", dtype="torch.float32", path="x", sha256="0" * 64)
    monkeypatch.setattr(bases, "load_base", lambda *_, **__: loaded)
    monkeypatch.setattr(policies, "check_base", lambda *_: None)
    monkeypatch.setattr(serve, "check_port", lambda *_: None)
    precious = tmp_path / "precious"
    precious.mkdir()
    write_adapter(precious / "adapter")
    change, words = ATTACKS[attack]
    change(folder)
    if reader == "prune":  # it deletes only what a gate did not promote
        rejected = [("UPDATE rounds SET decision = 'REJECT', champion_out = champion_in", [])]
        rejected += [("DELETE FROM decisions", []), ("INSERT INTO sealed_tests VALUES ('s', 0, now(), [])", [])]
        Store.open(folder).execute(rejected)
    arguments = [a.replace("{out}", str(tmp_path / "out")) for a in READERS[reader]]
    if "--port" in arguments:
        arguments[-1] = "8123"
    with untouched(tmp_path):
        result = call(*arguments, "--run", folder)
    assert result.code == 1 and result.out == "" and words in result.err.splitlines()[-1], result.err
    assert "(a bug" not in result.err and "Traceback" not in result.err


def test_the_sealed_test_is_not_opened_without_being_asked(
    call: Call, no_model: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = [Question(f"s{i}", "medquad-style", "sealed", "s", f"s{i}", "What?", reference="rest") for i in range(2)]
    Store.open(folder).write({"questions": sealed})
    with untouched(folder):
        call("test", "--run", folder).refuses(2, "2 medquad items", "--yes", "--limit")
        call("test", "--force", "--run", folder).refuses(2, "--yes")
        monkeypatch.setattr(sys, "stdin", terminal := io.StringIO("n\n"))
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        assert call("test", "--run", folder).code == 2


def test_a_pruned_policy_cannot_be_evaluated_or_promoted(call: Call, no_model: ModuleType, folder: Path) -> None:
    Store.open(folder).execute(
        [
            ("UPDATE policies SET path = '' WHERE policy_id = 'bbbbbbbbbbbbbbbb'", []),
            ('UPDATE decisions SET evidence = \'{"policy_id": "aaaa"}\'', []),
        ]
    )
    with untouched(folder):
        call("evaluate", "--run", folder, "--benchmark", "medquad", "--policy", "bbbbbbbbbbbbbbbb").refuses(
            1, "bbbbbbbbbbbbbbbb was pruned"
        )
        call("promote", "bbbbbbbbbbbbbbbb", "--why", "x", "--run", folder).refuses(2, "bbbbbbbbbbbbbbbb was pruned")


# What needs the libraries of models -----------------------------------------------------------------------------------


def copy_base(to: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED, to))


def no_config(base: Path) -> None:
    (base / "config.json").unlink()


def broken_config(base: Path) -> None:
    (base / "config.json").write_text("{")


def list_for_config(base: Path) -> None:
    (base / "config.json").write_text("[]")


def pickled(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")


def no_tokenizer(base: Path) -> None:
    for path in base.glob("tokenizer*"):
        path.unlink()


def cut_tokenizer(base: Path) -> None:
    path = base / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.slow
@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (lose, 2, ["no folder", "--set model.path="]),
        (no_config, 2, ["no config.json"]),
        (broken_config, 2, ["config.json is not JSON"]),
        (list_for_config, 2, ["config.json holds no JSON object"]),
        (pickled, 2, ["only pytorch_model.bin", "convert them to safetensors"]),
        (no_tokenizer, 2, ["no usable tokenizer", "tokenizer.json"]),
        (cut_tokenizer, 1, ["cannot load"]),
        (cut, 1, ["cannot load"]),
    ],
)
def test_a_base_that_cannot_be_used(
    call: Call, tmp_path: Path, small: list[str], damage: Callable[[Path], None], code: int, words: list[str]
) -> None:
    base = copy_base(tmp_path / "base")
    damage(base)
    with untouched(tmp_path):
        call("loop", "--run", tmp_path / "run", *small, "--set", f"model.path={base}").refuses(
            code, "model.path", str(base), *words
        )


@pytest.mark.slow
@pytest.mark.usefixtures("torch_threads")
def test_a_base_that_is_not_the_runs_own(call: Call, folder: Path) -> None:
    before = tables(folder)
    call("evaluate", "--run", folder, "--benchmark", "medquad").refuses(
        1, "the base's weights have changed", "restore them", "--run"
    )
    assert tables(folder) == before
    call("loop", "--run", folder, *SET_QUICK).says(1, "the base's weights have changed", "restore them", "--run")
    assert tables(folder) | {"sessions": []} == before, "only the session is recorded"
    assert [s["exit_code"] for s in tables(folder)["sessions"]] == [1]


@pytest.mark.slow
def test_no_gpu(call: Call, tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = call("loop", "--run", tmp_path / "run", *small, "--set", "model.device=cuda")
    result.refuses(2, "model.device=cuda", "no CUDA device", "--set model.device=cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("torch_threads")
def test_the_loop_stops_at_a_damaged_adapter(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rlaif.models import adapter as adapters
    from rlaif.models import base as bases

    config = load_config("embedded", ["model.threads=1"])
    base = bases.load_base(config.model)
    adapter = adapters.attach_adapter(base, config.model, 0)
    with file_limit(10_000), pytest.raises(RlaifError, match="cannot write the adapter .*make room"):
        adapters.save_adapter(adapter, tmp_path / "run" / "bbbbbbbbbbbbbbbb")
    assert list((tmp_path / "run").iterdir()) == []
    run = make_run(
        tmp_path / "run",
        "model.threads=1",
        base_sha256=base.sha256,
        adapter=lambda out: adapters.save_adapter(adapter, out),
    )
    other = Question("abstract", "pubmedqa-style", "gate", "s9", "g9", "Does it?", context="It did.", label="yes")
    Store.open(run).write({"questions": [other]})  # the gate wants both benchmarks
    monkeypatch.setattr(bases, "load_base", lambda config, **_: base)
    kept = tmp_path / "kept"
    shutil.copytree(run / "policies" / "bbbbbbbbbbbbbbbb", kept)
    before = tables(run)
    for damage, words in DAMAGE:
        damage(run / "policies" / "bbbbbbbbbbbbbbbb")
        with untouched(run / "policies"):
            call("loop", "--run", run, "--rounds", "1", *SET_QUICK, "--set", "model.threads=1").says(
                1, str(run / "policies" / "bbbbbbbbbbbbbbbb"), words, "restore"
            )
        after = tables(run)
        changed = {name for name in before if after[name] != before[name]}
        begun = {"sessions", "stages", "rounds"} | {"judges", "exam_items", "exam_sittings", "licences"}
        begun |= {"policies"}  # the settings of those that it has, which this run had not recorded
        assert changed == begun, "what was begun, and by whom, and the judge's exam; nothing that was made"
        assert [s["status"] for s in after["stages"] if s["round"] == 1] == ["running"]
        shutil.rmtree(run / "policies" / "bbbbbbbbbbbbbbbb", ignore_errors=True)
        shutil.copytree(kept, run / "policies" / "bbbbbbbbbbbbbbbb")


@pytest.mark.slow
def test_quantize_refuses_what_it_cannot_do(call: Call, tmp_path: Path) -> None:
    out, new = tmp_path / "out", tmp_path / "new"
    out.mkdir()
    (out / "mine").write_text("text")
    with untouched(tmp_path):
        call("quantize", "--model", EMBEDDED, "--out", out).refuses(2, f"--out {out} exists already", "new folder")
        call("quantize", "--model", EMBEDDED, "--out", new).refuses(2, str(EMBEDDED), "quantized already")
        call("quantize", "--model", tmp_path / "nowhere", "--out", new).refuses(
            2, str(tmp_path / "nowhere"), "no folder"
        )


# Several calls in one process: importing torch is most of the time.
CALLS = """
import contextlib, io, json, sys
import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv, out, err = ["cli.py", *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as exit:
            code = exit.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


@pytest.mark.slow
def test_the_hub_out_of_reach(tmp_path: Path, small: list[str]) -> None:
    """In a process of its own: the libraries read HF_HUB_OFFLINE and the place of their cache when they are
    imported.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    loop = ["loop", "--profile", "real-small", "--run", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps([loop, loop + small])],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    data, base = (Result(*json.loads(line)) for line in done.stdout.splitlines())
    data.refuses(2, "qiaojin/PubMedQA", "hub cannot be reached", "give a local file", "--set data.pubmedqa=FILE")
    base.refuses(1, "Qwen/Qwen2.5-0.5B-Instruct", "could not be fetched from the hub", "--set model.path=")
    assert not (tmp_path / "run").exists()
