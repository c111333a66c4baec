"""What a tracker gets, and what is refused: real TensorBoard files, and modules of the others that write down calls."""

from __future__ import annotations

import math
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlaif.config_file import load_config
from rlaif.run import open_run
from rlaif.trackers import MODULES, Trackers, check_trackers, tracking
from rlaif.types import Preference, RlaifError, UsageError

GATE = {"condition": "better", "benchmark": "medquad", "metric": "token_f1", "delta": 0.25, "passed": True, "n": 9}
ROWS: dict[str, Any] = {
    "preferences": [Preference("p", 1, "q", "j", "kept")],
    "gates": [GATE, {"condition": "valid", "passed": True, "detail": "all is well"}],
    "monitors": [{"name": "truncated", "value": None, "red": False}, {"name": "kl", "value": 2.5, "red": True}],
    "rounds": [{"round": 1, "decision": "PROMOTE"}],
}
SENT = {
    "round/kept": 1.0, "round/questions": 4.0, "round/questions_kept": 1.0,
    "gate/medquad/token_f1/better/delta": 0.25, "gate/medquad/token_f1/better/passed": 1.0, "gate/valid/passed": 1.0,
    "monitor/truncated/red": 0.0, "monitor/kl": 2.5, "monitor/kl/red": 1.0, "round/number": 1.0, "round/promoted": 1.0,
}  # fmt: skip
DETAIL = {"kept": 1, "questions": 4, "questions_kept": 1, "dropped": {"tie": 3}}


class Stub(ModuleType):
    """Stands in for wandb, trackio and mlflow. `calls` has the name and the arguments of each call."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.calls: list[tuple[str, Any]] = []

    def init(self, project: str, name: str, config: dict[str, Any]) -> Stub:
        self.calls += [("start", (project, name)), ("settings", config)]
        return self

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        self.calls.append(("log", (values, step)))

    log_metrics = log

    def finish(self) -> None:
        self.calls.append(("finish", None))

    end_run = finish

    def log_artifact(self, path: str, **about: Any) -> None:
        self.calls.append(("artefact", Path(path).name))

    def set_experiment(self, name: str) -> None:
        self.experiment = name

    def start_run(self, run_name: str) -> None:
        self.calls.append(("start", (self.experiment, run_name)))

    def log_params(self, values: dict[str, Any]) -> None:
        self.calls.append(("settings", values))


@pytest.fixture
def stub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub(request.param)
    monkeypatch.setitem(sys.modules, request.param, made)
    for variable in ("WANDB_PROJECT", "TRACKIO_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    return made


def configured(*names: str) -> Any:
    return load_config(overrides=[f"train.report_to={list(names)}".replace("'", '"')])


def test_one_that_is_unknown_or_not_installed_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(configured())
    with pytest.raises(UsageError, match="no tracker 'tensorbord'; there are: tensorboard, wandb, trackio, mlflow"):
        check_trackers(configured("tensorbord"))
    monkeypatch.setattr("rlaif.trackers.find_spec", lambda module: None)
    for name in MODULES:
        with pytest.raises(UsageError, match=f"tracker '{name}' is not installed; pip install {name}, or leave it out"):
            check_trackers(configured(name))
    monkeypatch.setattr("rlaif.trackers.find_spec", lambda module: module == "tensorboardX" or None)
    check_trackers(configured("tensorboard"))


class Kept:
    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((values, step))

    def artefact(self, path: Path) -> None:
        self.logged.append(({path.name: 0}, -1))

    def finish(self) -> None:
        self.logged.append(({}, -1))


def test_curves_go_on_from_one_training_to_the_next_and_stages_stand_at_their_end() -> None:
    kept = Kept()
    trackers = Trackers({"x": kept}, step=100)
    first = trackers.curve("sft")
    first(1, {"loss": 2.0})
    first(2, {"loss": math.nan, "lr": 0.5})
    second = trackers.curve("dpo")
    second(1, {"loss": 0.5})
    second(1, {"heldout/loss": 0.75})
    trackers.stage(1, ROWS, DETAIL)
    trackers.stage(1, {"candidates": [object()]}, {})
    assert kept.logged == [
        ({"sft/loss": 2.0}, 101), ({"sft/lr": 0.5}, 102), ({"dpo/loss": 0.5}, 103), ({"dpo/heldout/loss": 0.75}, 103),
        (SENT, 103),
    ]  # fmt: skip


def test_one_that_fails_is_left_out_and_the_others_go_on() -> None:
    class Failing(Kept):
        def log(self, values: Any, step: int) -> None:
            raise OSError("no\nnetwork")

    kept, said = Kept(), []
    trackers = Trackers({"bad": Failing(), "good": kept}, 0, said.append)
    trackers.log({"a": 1})
    trackers.log({"a": 2})
    trackers.finish()
    assert said == ["  tracker                bad failed and gets nothing more: no network"]
    assert kept.logged == [({"a": 1.0}, 0), ({"a": 2.0}, 0), ({}, -1)]


@pytest.mark.parametrize("stub", ["wandb", "trackio", "mlflow"], indirect=True)
def test_a_session_reaches_the_tracker_by_its_own_functions(stub: Stub, tmp_path: Path, capsys: Any) -> None:
    said: list[str] = []
    config = configured(stub.__name__)
    check_trackers(config)
    with tracking(config, tmp_path / "my-run", 7, said.append) as trackers:
        trackers.stage(1, ROWS, DETAIL)
        trackers.artefact(tmp_path / "report.html")
    about = dict(stub.calls)
    assert about["start"] == ("rlaif", "my-run") and about["log"] == (SENT, 7) and about["artefact"] == "report.html"
    assert stub.calls[-1] == ("finish", None) and [name for name, _ in stub.calls].count("log") == 1
    settings = {k: v for name, values in stub.calls if name == "settings" for k, v in values.items()}
    assert settings["seed"] == config.seed and settings["train.report_to"] == f'["{stub.__name__}"]'
    assert "report.html, which quotes the data" in said[0] and capsys.readouterr().out == ""


@pytest.mark.parametrize("stub", ["wandb"], indirect=True)
def test_one_that_does_not_start_is_one_line(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**about: Any) -> None:
        raise ValueError("no API key\nconfigured")

    monkeypatch.setattr(stub, "init", refuse)
    with (
        pytest.raises(RlaifError, match="the tracker 'wandb' does not start: no API key configured"),
        tracking(configured("wandb"), tmp_path, 0, print),
    ):
        raise AssertionError("never begins")


@pytest.mark.slow
def test_tensorboard_files_hold_the_numbers_of_a_run_and_go_on_in_the_next_session(paired_run: Any) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, said = open_run(paired_run.folder), []
    for session in (1, 2):
        trackers = tracking(configured("tensorboard"), run.folder, run.trained_steps(), said.append)
        with trackers as run.trackers:
            log = run.trackers.curve("dpo")
            for step in (1, 2):
                log(step, {"loss": 1.0 / (session * step)})
            with run.stage(session, "gate") as stage:
                stage.rows = {"monitors": [{"round": session, "name": "kl", "value": 0.5 * session, "red": False}]}
            policy = {"policy_id": f"{session:016x}", "kind": "dpo", "round": session, "path": ""}
            trained = {"policy_id": policy["policy_id"], "step": 2, "name": "loss", "value": 1.0}
            run.store.write({"policies": [policy], "train_log": [trained]})
        assert not run.trackers.made
    events = accumulator.EventAccumulator(str(run.folder / "trackers"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("dpo/loss")] == [(1, 1.0), (2, 0.5), (3, 0.5), (4, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("monitor/kl")] == [(2, 0.5), (4, 1.0)]
    assert said[0] == "  tracker                tensorboard gets its files in the run: trackers/"
