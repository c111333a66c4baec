"""Supervised fine-tuning of a LoRA adapter: a thin use of `trl.SFTTrainer`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.checkpoints import Keep
from rlaif.config import SftConfig
from rlaif.models.adapter import save_adapter
from rlaif.models.base import Base
from rlaif.render import encode
from rlaif.train import distributed
from rlaif.train.mix import mixed
from rlaif.train.trainer import OnLog, OnProgress, Save, TrainResult, arguments, shared, train, with_end
from rlaif.types import RlaifError

with quiet():
    import torch
    import trl
    from datasets import Dataset
    from peft import PeftModel
    from torch.utils.data import Sampler
    from transformers import PreTrainedModel
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt as the model reads it (chat template already applied, or raw text) and the completion to learn; the end
    token is added.
    """

    prompt: str
    completion: str
    kind: str = ""  # of task: "answer" or "label"; each batch has every kind in its share


def ids_of(base: Base, example: Example) -> dict[str, list[int]]:
    """The ids of prompt, completion and end token, and 1 for those that carry the loss. TRL takes them as they are: its
    own way of tokenizing adds what the tokenizer adds, which sampling and scoring do not read.
    """
    prompt = encode(base.tokenizer, example.prompt)
    whole = encode(base.tokenizer, example.prompt, with_end(base, example.completion))
    start = shared(prompt, whole)
    return {"input_ids": whole, "completion_mask": [0] * start + [1] * (len(whole) - start)}


class _Batches(Sampler[int]):
    """The examples in the order of :func:`rlaif.train.mix.mixed`, another one in each epoch.

    `epoch` tells which one is under way: a training that goes on from a checkpoint does not begin with the first.
    """

    def __init__(
        self, kinds: Sequence[str], lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self.kinds, self.lengths, self.batch_size, self.seed, self.epoch = kinds, lengths, batch_size, seed, epoch

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"batches/{self.seed}/{self.epoch()}")
        return iter(mixed(self.kinds, self.lengths, self.batch_size, rng))


class _Collator(DataCollatorForLanguageModeling):
    """TRL's, and of which kind each example is."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        return super().torch_call(examples) | {"kind": torch.tensor([e["kind"] for e in examples])}


class _Trainer(trl.SFTTrainer):
    """TRL's, with batches that mix the kinds, and the loss of each kind logged as `loss/<kind>` where there are two."""

    kinds: Sequence[str] = ()

    def _get_train_sampler(self, *args: Any) -> Any:
        if self.args.train_sampling_strategy != "sequential":
            return super()._get_train_sampler(*args)
        data = self.train_dataset
        lengths = [len(ids) for ids in data["input_ids"]]
        world = distributed.world()
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * world
        kinds = [self.kinds[n] for n in data["kind"]]
        return _Batches(kinds, lengths, batch_size, self.args.seed, lambda: int(self.state.epoch or 0))

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        kinds = inputs.pop("kind")
        if len(self.kinds) < 2:
            return super().compute_loss(model, inputs, *args, **kwargs)
        seen: list[Any] = []  # TRL hands out what the model gave only with a second forward pass
        hook = model.register_forward_hook(lambda module, given, out: seen.append(out))
        try:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        finally:
            hook.remove()
        self._log_by_kind(kinds, seen[0].log_probs.detach(), seen[0].label_mask)
        return loss

    def _log_by_kind(self, kinds: torch.Tensor, log_probs: torch.Tensor, mask: torch.Tensor) -> None:
        for number, name in enumerate(self.kinds):
            of_kind = mask & (kinds == number)[:, None]
            if of_kind.any():  # TRL averages what is under a name, and logs it with its own figures
                self._metrics["train"][f"loss/{name}"].append(float(-log_probs[of_kind].mean()))


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
    keep: Keep | None = None,
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
    # "sequential" is the sampler of this module; the kind of an example is a column that TRL would take away
    mixing = {"train_sampling_strategy": "sequential", "remove_unused_columns": False}
    settings: dict[str, Any] = {"completion_only_loss": True} | mixing | dict(more or {})
    kinds = sorted({example.kind for example in examples})

    def make(scratch: str) -> trl.SFTTrainer:
        rows = [ids_of(base, example) | {"kind": kinds.index(example.kind)} for example in examples]
        trainer = _Trainer(
            model=model,
            args=trl.SFTConfig(**arguments(config, base, seed, scratch) | settings),
            data_collator=_Collator(pad_token_id=base.tokenizer.pad_token_id),
            train_dataset=Dataset.from_list(rows),
            processing_class=base.tokenizer,
        )
        trainer.kinds = kinds
        return trainer

    return train(
        make, name=name, given=len(examples), out=out, on_log=on_log, on_progress=on_progress, save=save, keep=keep
    )
