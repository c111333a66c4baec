"""What SFT and DPO share: settings for TRL, a callback that reports to the caller, and an adapter as the only file
written.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from rlaif.quiet import quiet

from rlaif import checkpoints
from rlaif.checkpoints import Keep
from rlaif.config import TrainerConfig
from rlaif.models.adapter import save_adapter
from rlaif.models.base import Base
from rlaif.models.generate import window
from rlaif.train import distributed
from rlaif.train.heldout import Best
from rlaif.train.resume import Checkpoints
from rlaif.types import RlaifError

with quiet():
    import torch
    import trl.trainer.utils
    from transformers import Trainer, TrainerCallback


OnLog = Callable[[int, dict[str, float]], None]  # step, {name: value}
OnProgress = Callable[[int, int], None]  # step, number of steps
Save = Callable[[Any, Path], str]  # writes what was trained and returns its sha256


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training stage did. `tokens` are those of prompts and answers that it saw, padding left out; `sha256` is
    the saved adapter's.

    `skipped` examples had no room for an answer within `max_length`. `kept_step`: the step whose weights were saved,
    where examples were held out to choose it; None where it is the last. A training that went on from a checkpoint has
    all steps and tokens, `tokens_before` of them seen before, and the seconds since.
    """

    steps: int
    tokens: int
    seconds: float
    examples: int
    skipped: int
    sha256: str
    kept_step: int | None = None
    tokens_before: int = 0


class Report(TrainerCallback):
    """Hands every step's numbers to the caller and stops a run that has diverged.

    A training that goes on from a checkpoint hands over those of the steps before it first.
    """

    def __init__(self, name: str, log: OnLog | None, progress: OnProgress | None) -> None:
        self.name, self.log, self.progress = name, log, progress
        self.tokens = self.before = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for logs in state.log_history:
            self._tell(logs["step"], {name: value for name, value in logs.items() if name != "step"})
        self.before = self.tokens
        if state.global_step and self.progress:
            self.progress(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = dict(logs or {})
        if "num_tokens" in logs:  # TRL counts those since the checkpoint
            logs["num_tokens"] += self.before
            state.log_history[-1]["num_tokens"] = logs["num_tokens"]
        self._tell(state.global_step, logs)

    def _tell(self, step: int, logs: dict[str, Any]) -> None:
        values = {k: float(v) for k, v in logs.items() if isinstance(v, int | float)}
        if "loss" not in values:  # the summary after the last step, or what was measured on held-out examples
            return
        self.tokens = int(values.get("num_tokens", self.tokens))
        if not math.isfinite(values["loss"]):
            raise RlaifError(
                f"{self.name} diverged: the loss is {values['loss']} at step {step}; lower {self.name}.learning_rate"
            )
        if self.log:
            self.log(step, values)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress:
            self.progress(state.global_step, state.max_steps)


def arguments(config: TrainerConfig, base: Base, seed: int, folder: str) -> dict[str, Any]:
    """Keyword arguments common to TRL's SFTConfig and DPOConfig.

    The batch is that of all processes together: each takes its share, so the recipe is the same however many there are.
    """
    cuda = base.device == "cuda"
    batch_size, accumulation = distributed.share_of(config.batch_size, config.gradient_accumulation)
    return {
        "output_dir": folder,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not cuda,
        "bf16": base.autocast is torch.bfloat16,
        "fp16": cuda and base.autocast is torch.float16,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup_steps,
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulation,
        "gradient_checkpointing": config.gradient_checkpointing,
        "ddp_find_unused_parameters": False,  # a frozen base has many, and looking for them at every step is slow
        "max_length": min(config.max_length, window(base.model)),
        "train_sampling_strategy": "group_by_length",  # neighbours in length share a batch: less padding
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": cuda,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # rlaif.train.resume says when
        "save_total_limit": 2,  # one that is whole while the next is written
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def with_end(base: Base, completion: str) -> str:
    """The completion and the end token, once."""
    end = str(base.tokenizer.eos_token)
    return completion if completion.endswith(end) else completion + end


def shared(prompt: Sequence[int], whole: Sequence[int]) -> int:
    """How many leading ids both have: all of the prompt's, where no token spans its end and the completion's
    beginning.
    """
    length = min(len(prompt), len(whole))
    return next((n for n in range(length) if prompt[n] != whole[n]), length)


@contextlib.contextmanager
def _score_answers_only(vocabulary: int) -> Iterator[None]:
    """Project only the labelled positions onto the vocabulary, as TRL itself does on CUDA, into a buffer as wide as the
    vocabulary.

    Without Triton TRL projects every position, prompts and padding too, and drops them afterwards; for a small model
    that is half the work. Its buffer has room for a vocabulary of 32,768, and each step pays for all of it. The names
    are private: without them training is slower and the same.
    """
    utils = trl.trainer.utils
    with contextlib.ExitStack() as changed:
        if hasattr(utils, "_use_triton"):
            changed.enter_context(mock.patch.object(utils, "_use_triton", lambda device: True))
        if getattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 0) > vocabulary:
            changed.enter_context(mock.patch.object(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", vocabulary))
        yield


@contextlib.contextmanager
def scratch_folder(out: Path) -> Iterator[str]:
    """A folder beside `out` for what TRL insists on writing. One that a killed training left is cleared first."""
    scratch = out.with_name(".scratch" if distributed.world() == 1 else f".scratch{distributed.rank()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield str(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def train(
    make: Callable[[str], Trainer],
    *,
    name: str,
    given: int,
    out: Path,
    on_log: OnLog | None,
    on_progress: OnProgress | None,
    save: Save = save_adapter,
    best: Best | None = None,
    keep: Keep | None = None,
    share: float = 1.0,
) -> TrainResult:
    """Build the trainer with `make(scratch folder)`, run it and `save` what it trained, by default adapter "default",
    to `out`.

    With `best`, which watches held-out examples, the weights that it kept are saved. With `keep` the training goes on
    from the newest checkpoint there that is whole, and writes others; they stay there, and the caller deletes them.
    `share` in (0, 1]: how far what is saved lies from the weights before the training to those after it.

    Of several processes rank 0 saves, and `sha256` is "" in the others. Raises RlaifError when no example fits
    `max_length`, the loss is no longer finite, or processes end with different weights.
    """
    report = Report(name, on_log, on_progress)
    started = time.perf_counter()
    with contextlib.ExitStack() as inside:
        folder = str(keep.folder) if keep else inside.enter_context(scratch_folder(out))
        inside.enter_context(quiet())
        try:
            trainer = make(folder)
            used = len(trainer.train_dataset)
        except StopIteration:
            used = 0
        if used == 0:
            raise RlaifError(f"{name}: no room for an answer in any of {given} examples; raise {name}.max_length")
        for callback in ("PrinterCallback", "ProgressCallback"):
            for one in [c for c in trainer.callback_handler.callbacks if type(c).__name__ == callback]:
                trainer.remove_callback(one)
        trainer.add_callback(report)
        if best:
            trainer.add_callback(best)
        before = trained(trainer.model) if share < 1 else {}
        start = begin(trainer, keep, best) if keep else None
        with _score_answers_only(len(trainer.model.get_output_embeddings().weight)):
            trainer.train(resume_from_checkpoint=str(start) if start else None)
        if best:
            best.restore(trainer.model)
        go_back(trainer.model, before, share)
        seconds = time.perf_counter() - started
    distributed.check_same(trainer.model)
    digest = save(trainer.model, out) if distributed.rank() == 0 else ""
    kept_step = best.step if best else None
    return TrainResult(
        trainer.state.global_step, report.tokens, seconds, used, given - used, digest, kept_step, report.before
    )


def trained(model: Any) -> dict[str, torch.Tensor]:
    """Name -> a copy of each weight that is trained."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def go_back(model: Any, before: Mapping[str, torch.Tensor], share: float) -> None:
    """Put each weight of `before` at `share` of the way from there to where it is now."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in before:
                parameter.copy_(before[name].lerp(parameter, share))


def begin(trainer: Trainer, keep: Keep, best: Best | None) -> Path | None:
    """Make the trainer write checkpoints; returns the one to go on from, the same in all processes."""
    device = str(trainer.args.device.type)
    found = checkpoints.newest(keep, checkpoints.made_by(device)) if distributed.rank() == 0 else None
    start: Path | None = distributed.tell(found)
    if start:
        keep.say(f"goes on from step {checkpoints.step_of(start)}")
        if best:
            best.read(start)
    trainer.add_callback(Checkpoints(keep, start, device, best))
    return start
