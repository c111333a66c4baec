"""When to stop a training that goes over its pairs several times: when those it does not see get worse.

transformers has callbacks for it, which write whole checkpoints. An adapter is small, so the best one stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlaif.quiet import quiet

with quiet():
    import torch
    from transformers import TrainerCallback


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
        if self.report:
            named = {"heldout/loss": loss, "heldout/accuracy": found.get("eval_rewards/accuracies")}
            self.report(state.global_step, {k: float(v) for k, v in named.items() if v is not None})
        if self.step is None or loss < self.loss:  # also the first of all, were it not a number: something must be kept
            self.loss, self.step = loss, state.global_step
            self.weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        else:
            control.should_training_stop = True

    def restore(self, model: Any) -> None:
        """Put the kept weights back into the model that was trained."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])
