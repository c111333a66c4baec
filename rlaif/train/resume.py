"""When a training writes a checkpoint, and what goes into it beside what transformers restores.

transformers restores weights, optimizer, scheduler, the random numbers and the place in the epoch. Three things are
left to do for a training that goes on to end with the same bits:

- The order of an epoch is drawn when the epoch begins, and transformers draws it again with the random numbers of the
  moment: the state that it was drawn from is kept (:data:`ORDER`).
- A step that ends an epoch is followed by what is measured on held-out examples, which transformers would leave out.
  The checkpoint is then written after that.
- The best weights so far on held-out examples are in memory alone: see :class:`rlaif.train.heldout.Best`.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif import checkpoints
from rlaif.checkpoints import Keep
from rlaif.train import distributed
from rlaif.train.heldout import Best

with quiet():
    import torch
    from transformers import TrainerCallback

ORDER = "order{}.pt"  # of process 0, 1, ...
STEADY = 16  # bytes for each trained weight: itself, two moments of AdamW in float32, and a reference
SPARE = 50 * 2**20  # tokenizer, log, and room for others


class Checkpoints(TrainerCallback):
    """Asks for a checkpoint every `keep.minutes`, at the end of a step, and makes it whole.

    `start` is the checkpoint that the training goes on from. The last step writes none: the policy itself follows.
    """

    def __init__(self, keep: Keep, start: Path | None, device: str, best: Best | None) -> None:
        self.keep, self.best = keep, best
        self.by = checkpoints.made_by(device)
        mine = ORDER.format(distributed.rank())
        self.started_from: torch.Tensor | None = torch.load(start / mine, weights_only=True) if start else None
        self.order = torch.get_rng_state()
        self.asked, self.written = False, time.monotonic()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.started_from is not None:
            torch.set_rng_state(self.started_from)
            self.started_from = None
        self.order = torch.get_rng_state()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        control.should_save = False
        self.asked = self.asked or (self._is_time() and self._has_room(model))
        if self.asked and not _ends_epoch(state) and not control.should_training_stop:
            control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_save = self.asked and not control.should_training_stop

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_training_stop:
            control.should_save = False

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = self.keep.folder / f"checkpoint-{state.global_step}"
        # behind an epoch, the next one draws its order from the random numbers as they are now
        order = torch.get_rng_state() if _ends_epoch(state) else self.order
        torch.save(order, folder / ORDER.format(distributed.rank()))
        if self.best and distributed.rank() == 0:
            self.best.write(folder)
        distributed.wait()
        if distributed.rank() == 0:
            checkpoints.seal(folder, self.by)
        self.asked, self.written = False, time.monotonic()

    def _is_time(self) -> bool:
        """The first process decides: clocks differ, and all write at the same step."""
        due = 0 < self.keep.minutes <= (time.monotonic() - self.written) / 60
        return bool(distributed.tell(due))

    def _has_room(self, model: Any) -> bool:
        needed = STEADY * sum(p.numel() for p in model.parameters() if p.requires_grad) + SPARE
        free = distributed.tell(shutil.disk_usage(self.keep.folder).free)
        if free > needed:
            return True
        self.written = time.monotonic()
        self.keep.say(f"no checkpoint: {free >> 20:,} MB are free, and {needed >> 20:,} MB are needed")
        return False


def _ends_epoch(state: Any) -> bool:
    return float(state.epoch).is_integer()
