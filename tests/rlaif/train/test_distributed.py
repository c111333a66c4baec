"""Several processes: what each takes of a batch and of the threads, and that they notice when they differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlaif.train import distributed
from rlaif.types import UsageError

ROOT = Path(__file__).parents[3]
DIFFERENT = """
import sys, torch
from rlaif.train import distributed
with distributed.connected(cpu=True):
    assert distributed.world() == 2 == torch.distributed.get_world_size()
    model = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(model.weight, 1.0)
    torch.nn.init.zeros_(model.bias)
    distributed.check_same(model)
    assert distributed.tell("hello" if distributed.rank() == 0 else None) == "hello"
    torch.nn.init.constant_(model.weight, 1.0 + distributed.rank() / 1e6)
    try:
        distributed.check_same(model)
    except Exception as error:
        print(f"rank {distributed.rank()}: {error}", flush=True)
"""


def test_one_process_takes_everything() -> None:
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert distributed.share_of(5, 3) == (5, 3)
    assert distributed.threads_of(2) == 2
    assert distributed.tell("x") == "x"


def test_processes_share_the_batch_or_else_the_accumulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert distributed.share_of(8, 3) == (4, 3)
    assert distributed.share_of(1, 16) == (1, 8)
    with pytest.raises(UsageError, match="2 processes cannot share a batch of 1 with 3 accumulation steps"):
        distributed.share_of(1, 3)


def test_processes_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert [distributed.threads_of(n) for n in (0, 2, 16)] == [0, 1, 4]


@pytest.mark.parametrize(
    ("found", "alone"),
    [
        ({}, False),
        ({"MASTER_PORT": "29500"}, False),  # a cluster's own
        ({"MASTER_PORT": "29500", "ACCELERATE_MIXED_PRECISION": "no"}, True),
        ({"MASTER_PORT": "29500", "ACCELERATE_MIXED_PRECISION": "no", "WORLD_SIZE": "2"}, False),
    ],
)
def test_a_launcher_that_started_no_others_is_noticed(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], alone: bool
) -> None:
    for name in ("MASTER_PORT", "ACCELERATE_MIXED_PRECISION", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert distributed.started_alone() is alone


@pytest.mark.slow
def test_different_weights_are_noticed_in_both_processes(tmp_path: Path) -> None:
    script = tmp_path / "different.py"
    script.write_text(DIFFERENT)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        assert f"rank {rank}: the 2 processes ended with different weights" in done.stdout
