"""A training that was killed goes on from its last checkpoint, and ends with the bits of one that was left alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from training import OFTEN, SFT, opened, train

from rlaif.checkpoints import FOLDER, MARK, Keep, under_way
from rlaif.report.snapshot import state, take
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from stores.store import Store

pytestmark = pytest.mark.slow  # trains

DRIVER = Path(__file__).parents[2] / "training.py"
KILLED = -9
KINDS = ["sft", "dpo", "heldout"]


@dataclass(frozen=True)
class Trained:
    """What a stage left: the policy's row, its steps in `train_log`, and the stage's detail."""

    policy: dict[str, Any]
    log: list[dict[str, Any]]
    detail: dict[str, Any]


def trained(run: Run, kind: str) -> Trained:
    round, name = (0, "sft") if kind == "sft" else (1, "dpo")
    detail = run.done(round, name)
    assert detail is not None
    policy = run.policy(detail["policy_id"])
    del policy["created_at"]
    log = run.store.query(
        "SELECT step, name, value FROM train_log WHERE policy_id = ? ORDER BY ALL", [policy["policy_id"]]
    )
    return Trained(policy, log, detail)


def copied(trained_run: Run, folder: Path) -> Path:
    return Path(shutil.copytree(trained_run.folder, folder))


@pytest.fixture(scope="module")
def undisturbed(trained_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Without a checkpoint."""
    found = {}
    for kind in KINDS:
        run = opened(copied(trained_run, tmp_path_factory.mktemp("undisturbed") / kind), kind)
        train(run, kind)
        found[kind] = trained(run, kind)
        assert not (run.folder / FOLDER).exists()
    return found


def kill(folder: Path, kind: str, step: int) -> None:
    done = subprocess.run(
        [sys.executable, str(DRIVER), kind, str(folder), str(step)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == KILLED, done.stderr


def go_on(folder: Path, kind: str, *overrides: str) -> tuple[Run, str]:
    """The same stage to its end; returns also what a person saw."""
    run, shown = opened(folder, kind, OFTEN, *overrides), StringIO()
    train(run, kind, Screen(Console(file=shown, width=200)))
    assert not (folder / FOLDER).exists()
    return run, shown.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_twice_it_ends_with_the_same_bits_and_rows(
    kind: str, undisturbed: dict[str, Trained], trained_run: Run, tmp_path: Path
) -> None:
    folder, expected = copied(trained_run, tmp_path / "run"), undisturbed[kind]
    kill(folder, kind, 3)
    assert under_way(folder) == 2
    assert state(take(Store.open(folder))).endswith(", and the training goes on from step 2")
    kill(folder, kind, 4)  # the sixth
    assert under_way(folder) == 5
    run, shown = go_on(folder, kind)
    assert f"train {'sft' if kind == 'sft' else 'dpo'}" in shown and "goes on from step 5\n" in shown
    assert trained(run, kind) == expected
    steps = [row["step"] for row in expected.log if row["name"] == "loss"]
    assert steps == list(range(1, expected.detail["steps"] + 1)) and len(steps) >= 6


def test_a_training_that_held_out_pairs_stopped_stays_stopped(
    undisturbed: dict[str, Trained], trained_run: Run, tmp_path: Path
) -> None:
    detail = undisturbed["heldout"].detail
    assert detail["kept_step"] < detail["steps"] < 12, "another dpo.learning_rate shows more"
    folder = copied(trained_run, tmp_path / "run")
    kill(folder, "heldout", 0)
    assert under_way(folder) == detail["steps"] - 1, "from a checkpoint of the last step it would train on"
    run, _ = go_on(folder, "heldout")
    assert trained(run, "heldout") == undisturbed["heldout"]


@pytest.fixture(scope="module")
def killed(trained_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DPO stage that was killed in its seventh step, with the checkpoints of steps 5 and 6."""
    folder = copied(trained_run, tmp_path_factory.mktemp("killed") / "run")
    kill(folder, "dpo", 7)
    assert sorted(path.name for path in folder.glob(f"{FOLDER}/*/checkpoint-*")) == ["checkpoint-5", "checkpoint-6"]
    return folder


def newest_of(folder: Path) -> Path:
    return next(folder.glob(f"{FOLDER}/*/checkpoint-6"))


@pytest.mark.parametrize("harm", ["cut", "half-written"])
def test_a_damaged_checkpoint_is_passed_over(
    harm: str, killed: Path, undisturbed: dict[str, Trained], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    if harm == "cut":
        file = newest_of(folder) / "optimizer.pt"
        file.write_bytes(file.read_bytes()[:-100])
    else:
        (newest_of(folder) / MARK).unlink()
    run, shown = go_on(folder, "dpo")
    why = "optimizer.pt is damaged" if harm == "cut" else "it was not finished"
    assert f"the checkpoint of step 6 is not taken: {why};" in shown and "goes on from step 5\n" in shown
    assert trained(run, "dpo") == undisturbed["dpo"]


def test_where_all_are_damaged_it_starts_from_the_first_step(
    killed: Path, undisturbed: dict[str, Trained], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    for file in folder.glob(f"{FOLDER}/*/*/trainer_state.json"):
        file.write_bytes(b"{}")
    run, shown = go_on(folder, "dpo")
    assert shown.count("trainer_state.json is damaged") == 2 and "goes on" not in shown
    assert trained(run, "dpo") == undisturbed["dpo"]


@pytest.mark.parametrize("change", ["seed", "pairs", "setting"])
def test_a_checkpoint_of_something_else_is_not_taken(change: str, killed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    policy = newest_of(folder).parent.name
    overrides = {"seed": ["seed=1"], "pairs": [], "setting": ["dpo.beta=0.2"]}[change]
    if change == "pairs":
        drop = "UPDATE preferences SET status = 'dropped', reason = 'excluded: by hand' WHERE pair_id = 'p3'"
        open_run(folder).store.execute([(drop, [])])
    alone = opened(Path(shutil.copytree(folder, tmp_path / "alone")), "dpo", *overrides)
    shutil.rmtree(alone.folder / FOLDER)
    train(alone, "dpo")
    run, shown = go_on(folder, "dpo", *overrides)
    assert f"the checkpoint of {policy[:8]} at step 6 is of other data or settings: deleted" in shown
    assert "goes on" not in shown
    assert trained(run, "dpo") == trained(alone, "dpo")
    assert trained(run, "dpo").policy["policy_id"] != policy


def test_without_minutes_none_is_written_and_one_that_is_there_is_taken(
    killed: Path, undisturbed: dict[str, Trained], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    run, shown = go_on(folder, "dpo", "train.checkpoint_minutes=0")
    assert "goes on from step 6\n" in shown and trained(run, "dpo") == undisturbed["dpo"]


def test_sessions_delete_what_a_finished_training_left(killed: Path, tmp_path: Path) -> None:
    from rlaif.run import now, session

    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    with session(open_run(folder), now()):
        assert under_way(folder) == 6, "it is of a training that is not done"
    newest_of(folder).parent.rename(folder / FOLDER / SFT)
    with session(open_run(folder), now()):
        assert under_way(folder) == 0


@dataclass
class Control:
    should_save: bool = False
    should_training_stop: bool = False


def watched(tmp_path: Path, minutes: float, said: list[str]) -> Any:
    from rlaif.train.resume import Checkpoints

    return Checkpoints(Keep(tmp_path, minutes, said.append), None, "cpu", None)


def at(epoch: float) -> SimpleNamespace:
    return SimpleNamespace(global_step=7, epoch=epoch)


def test_when_a_checkpoint_is_asked_for(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    for minutes, expected in ((1e-9, True), (0.0, False), (10.0, False)):
        control = Control()
        watched(tmp_path, minutes, []).on_step_end(None, at(1.5), control, model=model)
        assert control.should_save is expected, minutes
    behind = watched(tmp_path, 1e-9, [])
    control = Control()
    behind.on_step_end(None, at(2.0), control, model=model)
    assert not control.should_save, "what is measured behind the epoch comes first"
    behind.on_epoch_end(None, at(2.0), control)
    assert control.should_save
    behind.on_evaluate(None, at(2.0), control)
    assert control.should_save
    control.should_training_stop = True
    behind.on_evaluate(None, at(2.0), control)
    assert not control.should_save, "a training that goes on from its stop would train on"
    for epoch in (1.5, 2.0):
        last = Control(should_training_stop=True)
        behind.on_step_end(None, at(epoch), last, model=model)
        behind.on_epoch_end(None, at(epoch), last)
        assert not last.should_save, "the policy itself follows"


def test_without_room_the_training_goes_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=40 << 20))
    control = Control()
    watched(tmp_path, 1e-9, said).on_step_end(None, at(1.5), control, model=torch.nn.Linear(2, 2))
    assert not control.should_save and said == ["no checkpoint: 40 MB are free, and 50 MB are needed"]
