"""Trackers (`train.report_to`): TensorBoard, W&B, trackio and MLflow get what a session of `loop` or `train` measures.

All values have one axis: the training steps of the run so far. A tracker that fails is said and left out, because no
training should end for it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rlaif.config import Config, flat
from rlaif.types import RlaifError, UsageError

# What a tracker needs: one of these modules, each installed by the package of the same name.
MODULES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "mlflow": ("mlflow",),
}
LOCAL = "tensorboard"  # writes into the run's own folder, and needs no artefacts: they lie beside it
GATE = ("champion_mean", "challenger_mean", "delta", "ci_low", "ci_high", "p_adjusted", "passed")
OnLog = Callable[[int, Mapping[str, float]], None]  # step from 1 within one training, {name: value}


def check_trackers(config: Config) -> None:
    """UsageError for a tracker of `train.report_to` that is unknown or not installed. Imports nothing."""
    for name in config.train.report_to:
        if name not in MODULES:
            raise UsageError(f"train.report_to: no tracker {name!r}; there are: {', '.join(MODULES)}")
        if not any(map(find_spec, MODULES[name])):
            raise UsageError(
                f"train.report_to: the tracker {name!r} is not installed; pip install {MODULES[name][0]}, or leave it "
                "out"
            )


class Tracker(Protocol):
    def log(self, values: Mapping[str, float], step: int) -> None: ...
    def artefact(self, path: Path) -> None: ...
    def finish(self) -> None: ...


class TensorBoard:
    """Event files in `folder`, which go on with each session."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            from tensorboardX import SummaryWriter
        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("settings", "\n\n".join(f"{key} = {value}" for key, value in settings.items()))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)
        self.writer.flush()

    def artefact(self, path: Path) -> None:
        """Nothing: the file lies beside the event files."""

    def finish(self) -> None:
        self.writer.close()


class Wandb:
    """W&B, and trackio, which has the same functions. The project is `rlaif` or that of the environment."""

    def __init__(self, module: str, name: str, settings: dict[str, Any]) -> None:
        project = os.environ.get(f"{module.upper()}_PROJECT", "rlaif")
        self.module = import_module(module)
        self.run = self.module.init(project=project, name=name, config=settings)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def artefact(self, path: Path) -> None:
        self.module.log_artifact(str(path), name=path.name, type="run")

    def finish(self) -> None:
        self.run.finish()


class MLflow:
    """MLflow at MLFLOW_TRACKING_URI. The experiment is `rlaif` or that of the environment."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self.module = import_module("mlflow")
        self.module.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "rlaif"))
        self.module.start_run(run_name=name)
        self.module.log_params(settings)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.module.log_metrics(dict(values), step=step)

    def artefact(self, path: Path) -> None:
        self.module.log_artifact(str(path))

    def finish(self) -> None:
        self.module.end_run()


class Trackers:
    """The trackers of one session, by name; a run that is only read, or has none configured, has an empty one."""

    def __init__(self, made: Mapping[str, Tracker] | None = None, step: int = 0, say: Callable[[str], None] = print):
        self.made, self.step, self.say = dict(made or {}), step, say

    def curve(self, name: str) -> OnLog:
        """What takes the numbers of a training that begins now, under `name`/..."""
        before = self.step

        def log(step: int, values: Mapping[str, float]) -> None:
            self.step = before + step
            self.log({f"{name}/{key}": value for key, value in values.items()})

        return log

    def stage(self, round: int, rows: Mapping[str, Sequence[Any]], detail: Mapping[str, Any]) -> None:
        """What a stage that is done tells: kept pairs, gate rows, monitors, what became of the round. No texts."""
        values: dict[str, Any] = {}
        if "preferences" in rows:
            values |= {f"round/{key}": detail.get(key) for key in ("kept", "questions", "questions_kept")}
        for row in rows.get("gates", ()):
            name = "/".join(str(row[key]) for key in ("benchmark", "metric", "condition") if row.get(key))
            values |= {f"gate/{name}/{key}": row.get(key) for key in GATE}
        for row in rows.get("monitors", ()):
            values |= {f"monitor/{row['name']}": row["value"], f"monitor/{row['name']}/red": row["red"]}
        for row in rows.get("rounds", ()):
            values |= {"round/number": round, "round/promoted": row["decision"] == "PROMOTE"}
        self.log(values)

    def log(self, values: Mapping[str, Any]) -> None:
        """Send numbers (truth values as 0 and 1) at the present step. What was not measured is not sent."""
        numbers = {key: float(v) for key, v in values.items() if v is not None and math.isfinite(v)}
        if numbers:
            self._each(lambda tracker: tracker.log(numbers, step=self.step))

    def artefact(self, path: Path) -> None:
        """Send a file, under its own name."""
        self._each(lambda tracker: tracker.artefact(path))

    def finish(self) -> None:
        self._each(lambda tracker: tracker.finish())
        self.made.clear()

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.made.items()):
            try:
                with redirect_stdout(sys.stderr):  # ours carries results
                    work(tracker)
            except Exception as error:  # a tracker is somebody else's program, and can raise anything
                del self.made[name]
                self.say(f"  tracker                {name} failed and gets nothing more: {_line(error)}")


@contextmanager
def tracking(config: Config, folder: Path, step: int, say: Callable[[str], None]) -> Iterator[Trackers]:
    """The trackers of `train.report_to` for a session on the run in `folder`, which has trained `step` steps so far.

    The run is called as its folder. Raises RlaifError for one that does not start (no login, no server).
    """
    made: dict[str, Tracker] = {}
    settings = {k: v if isinstance(v, int | float | str) else json.dumps(v) for k, v in flat(config).items()}
    for name in config.train.report_to:
        try:
            with redirect_stdout(sys.stderr):
                made[name] = _start(name, folder, settings)
        except Exception as error:
            raise RlaifError(f"train.report_to: the tracker {name!r} does not start: {_line(error)}") from error
        what = "settings, training curves, gate rows, monitors; at the end report.html, which quotes the data"
        say(f"  tracker                {name} gets {what if name != LOCAL else 'its files in the run: trackers/'}")
    trackers = Trackers(made, step, say)
    try:
        yield trackers
    finally:
        trackers.finish()


def _start(name: str, folder: Path, settings: dict[str, Any]) -> Tracker:
    if name == LOCAL:
        return TensorBoard(folder / "trackers", settings)
    return MLflow(folder.name, settings) if name == "mlflow" else Wandb(name, folder.name, settings)


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
