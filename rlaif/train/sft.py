"""Supervised fine-tuning of a LoRA adapter: a thin use of `trl.SFTTrainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.config import SftConfig
from rlaif.models.adapter import save_adapter
from rlaif.models.base import Base
from rlaif.render import encode
from rlaif.train.trainer import OnLog, OnProgress, Save, TrainResult, arguments, shared, train, with_end
from rlaif.types import RlaifError

with quiet():
    import trl
    from datasets import Dataset
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt as the model reads it (chat template already applied, or raw text) and the completion to learn; the end
    token is added.
    """

    prompt: str
    completion: str


def ids_of(base: Base, example: Example) -> dict[str, list[int]]:
    """The ids of prompt, completion and end token, and 1 for those that carry the loss. TRL takes them as they are: its
    own way of tokenizing adds what the tokenizer adds, which sampling and scoring do not read.
    """
    prompt = encode(base.tokenizer, example.prompt)
    whole = encode(base.tokenizer, example.prompt, with_end(base, example.completion))
    start = shared(prompt, whole)
    return {"input_ids": whole, "completion_mask": [0] * start + [1] * (len(whole) - start)}


def train_sft(
    base: Base,
    model: PeftModel | PreTrainedModel,
    examples: Sequence[Example],
    config: SftConfig,
    out: Path,
    seed: int,
    on_log: OnLog | None = None,
    on_progress: OnProgress | None = None,
    *,
    name: str = "sft",
    save: Save = save_adapter,
    more: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Train adapter "default" of `model` on the completions (the prompts carry no loss) and save it to `out`.

    `name` is the section of the configuration that messages point to, `more` further arguments of `trl.SFTConfig`, and
    `save` writes what was trained where that is no adapter.

    The same base, examples, seed and thread count give the same weights on a CPU. `on_log` gets loss, learning_rate,
    grad_norm, entropy, mean_token_accuracy and num_tokens after each step. Raises RlaifError when nothing can be
    learned or training diverges.
    """
    if not examples:
        raise RlaifError(f"{name}: no examples to train on; check data.sft_medquad and data.sft_pubmedqa")
    settings: dict[str, Any] = {"completion_only_loss": True} | dict(more or {})

    def make(scratch: str) -> trl.SFTTrainer:
        return trl.SFTTrainer(
            model=model,
            args=trl.SFTConfig(**arguments(config, base, seed, scratch) | settings),
            train_dataset=Dataset.from_list([ids_of(base, example) for example in examples]),
            processing_class=base.tokenizer,
        )

    return train(make, name=name, given=len(examples), out=out, on_log=on_log, on_progress=on_progress, save=save)
