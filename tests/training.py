"""One training stage of a run, in a process that kills itself: `python tests/training.py KIND FOLDER STEP`.

KIND is sft, dpo or heldout (DPO with held-out pairs). SIGKILL comes at the end of this process's STEP-th training step,
before its checkpoint is written; with 0 after the last step, before the policy is saved. The run is that of the fixture
`trained_run`; every step writes a checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlaif.config_file import apply_override, validate
from rlaif.policies import run_base, run_prompt
from rlaif.run import Run, open_run
from rlaif.screen import Screen

SFT = "5f70000000000000"  # of the fixture
OFTEN = "train.checkpoint_minutes=1e-9"
QUICK = [
    "model.lora_dropout=0.2",  # so that random numbers matter
    "sft.epochs=3",
    "sft.batch_size=2",
    "dpo.epochs=4",
    "dpo.batch_size=1",
    "sft.max_length=384",
    "dpo.max_length=384",
]
MORE = {"sft": [], "dpo": ["dpo.interpolation=0.5"], "heldout": ["dpo.heldout=0.25", "dpo.learning_rate=5e-2"]}


def opened(folder: Path, kind: str, *overrides: str) -> Run:
    """The run with quick settings."""
    run = open_run(folder)
    tree = run.config.model_dump(mode="json")
    for override in [*QUICK, *MORE[kind], *overrides]:
        apply_override(tree, override)
    return Run(folder, run.store, validate(tree, where="these settings"))


def train(run: Run, kind: str, screen: Screen | None = None) -> str:
    """The stage; returns the id of its policy."""
    from rlaif.train import stages

    base, prompt, screen = run_base(run), run_prompt(run), screen or Screen()
    if kind == "sft":
        return stages.sft(run, base, prompt, screen)
    return stages.dpo(run, base, SFT, 1, prompt, screen)


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    kind, folder, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    import rlaif.train.trainer

    report = rlaif.train.trainer.Report
    original, steps = report.on_step_end, 0

    def on_step_end(*arguments: Any, **options: Any) -> None:
        nonlocal steps
        original(*arguments, **options)
        steps += 1
        if steps == last:
            die()

    report.on_step_end = on_step_end  # type: ignore[method-assign,assignment]
    if not last:
        report.on_train_end = die  # type: ignore[method-assign,assignment]
    train(opened(folder, kind, OFTEN), kind)


if __name__ == "__main__":
    main()
