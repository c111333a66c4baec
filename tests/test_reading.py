"""A run from elsewhere is only read: no module that its configuration names is imported, though it lies ready."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import rlaif
from command_line import call
from rlaif.config import Config, DataConfig, DataSet, EvalConfig, JudgeConfig
from rlaif.testing import make_finished_run

NAME = "aa_trap"


@dataclass
class Trap:
    """A run that names a module for all that can be named, and who looked for that module."""

    run: Path
    sought: list[str] = field(default_factory=list)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """As a finder of modules that finds none."""
        if name == NAME:
            self.sought.append(name)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trap:
    config = Config(
        judge=JudgeConfig(model=f"{NAME}:judge"),
        evaluation=EvalConfig(judge=f"{NAME}:gate_judge", benchmarks={f"{NAME}:plain": 0.1}),
        data=DataConfig(sets=(DataSet(format=f"{NAME}:read", path="x", name="plain_words"),)),
    )
    made = Trap(make_finished_run(tmp_path / "run", config))
    (tmp_path / f"{NAME}.py").write_text("raise RuntimeError('the trap has closed')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", [made, *sys.meta_path])
    return made


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--run", "run"),
        ("report", "--run", "run"),
        ("sql", "SELECT config FROM runs", "--run", "run"),
        ("gate", "explain", "--run", "run"),
        ("export", "preferences", "--to", "jsonl", "--out", "pairs.jsonl", "--run", "run"),
        ("runs", "."),
    ],
    ids=" ".join,
)
def test_reading_imports_nothing_that_the_run_names(trap: Trap, words: tuple[str, ...]) -> None:
    code, out, err = call(*words)
    assert code == 0, err
    assert trap.sought == [] and "the trap has closed" not in out + err


def test_nor_does_python(trap: Trap) -> None:
    run = rlaif.open(trap.run)
    assert rlaif.query(run, "SELECT * FROM round_summary").num_rows == 2
    assert trap.sought == []


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("judge", "exam", "--run", "run"), "data.sets.0.format = 'aa_trap:read'"),  # it is made of the run's data
        (("judge", "rescore", "--dry-run", "--run", "run"), "judge.model = 'aa_trap:judge'"),
    ],
)
def test_asking_its_judge_does(trap: Trap, words: tuple[str, ...], setting: str) -> None:
    code, _, err = call(*words)
    assert code == 2 and trap.sought == [NAME]
    assert err.startswith(f"error: {setting}: {NAME} cannot be imported: RuntimeError: the trap has closed (")
    assert len(err.splitlines()) == 1
