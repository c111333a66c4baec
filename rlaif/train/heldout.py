"""When to stop a training that goes over its pairs several times: when those it does not see get worse.

transformers has callbacks for it, which write whole checkpoints. An adapter is small, so the best one stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

with quiet():
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    from transformers import TrainerCallback

FILE = "best.safetensors"  # in a checkpoint


class Best(TrainerCallback):
    """Keeps the trained weights of the lowest loss on the held-out examples, measured after each epoch, and stops at
    the first epoch whose loss is not lower. `step` is the step that the kept weights are of; None before the first
    measurement. What is measured goes to `report` as heldout/loss and heldout/accuracy (share of pairs ordered right).
    """

    def __init__(self, report: Callable[[int, dict[str, float]], None] | None = None) -> None:
        self.report = report
        self.loss = float("inf")
        self.step: int | None = None
        self.weights: dict[str, torch.Tensor] = {}

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        found = metrics or {}
        loss = found["eval_loss"]
        self._tell(state.global_step, found)
        if self.step is None or loss < self.loss:  # also the first of all, were it not a number: something must be kept
            self.loss, self.step = loss, state.global_step
            self.weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        else:
            control.should_training_stop = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for logs in state.log_history:  # of the steps before the checkpoint that the training goes on from
            if "eval_loss" in logs:
                self._tell(logs["step"], logs)

    def _tell(self, step: int, found: dict[str, float]) -> None:
        if self.report:
            named = {"heldout/loss": found["eval_loss"], "heldout/accuracy": found.get("eval_rewards/accuracies")}
            self.report(step, {k: float(v) for k, v in named.items() if v is not None})

    def write(self, checkpoint: Path) -> None:
        """Put what is kept so far into a checkpoint."""
        if self.step is not None:
            about = {"loss": repr(self.loss), "step": str(self.step)}
            save_file({n: w.cpu().contiguous() for n, w in self.weights.items()}, checkpoint / FILE, about)

    def read(self, checkpoint: Path) -> None:
        """Take it up again."""
        if (checkpoint / FILE).is_file():
            with safe_open(checkpoint / FILE, framework="pt") as file:
                about = file.metadata()
            self.loss, self.step = float(about["loss"]), int(about["step"])
            self.weights = load_file(checkpoint / FILE)

    def restore(self, model: Any) -> None:
        """Put the kept weights back into the model that was trained."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])
