"""One training by the method of the configuration, the same in every process: what is trained, with which arguments,
how it is saved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlaif.quiet import quiet

from rlaif.checkpoints import Keep
from rlaif.config import Config, ModelConfig, SftConfig
from rlaif.models.adapter import attach_adapter, load_adapter, save_adapter
from rlaif.models.base import Base
from rlaif.models.full import save_whole, trainable_copy
from rlaif.train.dpo import PairExample, train_dpo
from rlaif.train.methods import GALORE_LAYERS, WHOLE
from rlaif.train.sft import Example, train_sft
from rlaif.train.stages import ADAPTER_KEYS
from rlaif.train.trainer import OnLog, OnProgress, TrainResult

with quiet():
    import torch


@dataclass(frozen=True)
class Job:
    """What is to be trained into `out`. Kind dpo goes on from the adapter in `start`. The checkpoints are kept in
    `checkpoints`; None: there are none.
    """

    kind: Literal["sft", "dpo"]
    examples: Sequence[Example] | Sequence[PairExample]
    out: Path
    start: Path | None = None
    start_sha256: str = ""
    checkpoints: Path | None = None


def run_job(
    base: Base,
    config: Config,
    job: Job,
    on_log: OnLog | None = None,
    on_progress: OnProgress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainResult:
    """Train what `job` says by `config.train`; `say` gets what is to be said of checkpoints. Raises UsageError for what
    the method cannot train, RlaifError as the trainers do.
    """
    base, _ = with_precision(base, config.train.precision)
    whole = config.train.method in WHOLE
    more: dict[str, Any] = {}
    keep = Keep(job.checkpoints, config.train.checkpoint_minutes, say) if job.checkpoints else None
    if job.kind == "dpo":
        assert job.start is not None
        adapter = load_adapter(base, job.start, trainable=True, expected_sha256=job.start_sha256)
        pairs = [pair for pair in job.examples if isinstance(pair, PairExample)]
        smoothing = float(config.dpo.label_smoothing)  # "judge" is refused with the method that makes such a job
        return train_dpo(
            base, adapter, pairs, config.dpo, job.out, config.seed, on_log, on_progress, more=more,
            label_smoothing=smoothing, keep=keep,
        )  # fmt: skip
    more |= {
        "completion_only_loss": config.train.mask_prompt,
        "train_sampling_strategy": "random",
    }  # as the published recipes draw
    if config.train.method == "galore":
        more |= {"optim": "galore_adamw", "optim_target_modules": GALORE_LAYERS}
    examples = [example for example in job.examples if isinstance(example, Example)]

    def save_all(model: Any, out: Path) -> str:
        return save_whole(model, base.tokenizer, base.dtype, out)

    model = trainable_copy(base) if whole else attach_adapter(base, lora_settings(config), config.seed)
    with torch.serialization.safe_globals(_objects(config.train.method)):
        return train_sft(
            base, model, examples, sft_settings(config), job.out, config.seed, on_log, on_progress, name="train",
            save=save_all if whole else save_adapter, more=more, keep=keep,
        )  # fmt: skip


def _objects(method: str) -> list[Any]:
    """What the optimizer of a method has in its state beside tensors and numbers. torch reads no other class."""
    if method != "galore":
        return []
    from galore_torch.galore_projector import GaLoreProjector

    return [GaLoreProjector]


def with_precision(base: Base, asked: str) -> tuple[Base, str]:
    """The base that computes in the asked precision while it trains, and what that is called.

    float16 needs a GPU (accelerate refuses it elsewhere): on a CPU that recipe computes in float32, and its record says
    so.
    """
    if asked == "auto":
        return base, str(base.autocast or torch.float32).removeprefix("torch.")
    if asked == "fp16" and base.device != "cuda":
        return dataclasses.replace(base, autocast=None), "float32 (fp16 asked, which needs a GPU)"
    autocast = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]
    return dataclasses.replace(base, autocast=autocast), str(autocast or torch.float32).removeprefix("torch.")


def lora_settings(config: Config) -> ModelConfig:
    """The model's section with the LoRA of `train`."""
    return config.model.model_copy(update=config.train.model_dump(include=ADAPTER_KEYS))


def sft_settings(config: Config) -> SftConfig:
    """The settings of `train` as the trainers take them."""
    return SftConfig.model_validate(config.train.model_dump(include=set(SftConfig.model_fields)))
