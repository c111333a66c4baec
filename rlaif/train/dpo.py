"""A DPO round (Rafailov et al. 2023, arXiv 2305.18290) on a LoRA adapter: a thin use of `trl.DPOTrainer`, with TRL's
other losses for pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.checkpoints import Keep
from rlaif.config import DpoConfig
from rlaif.models.base import Base
from rlaif.render import encode
from rlaif.train.heldout import Best
from rlaif.train.one_row import in_one_row
from rlaif.train.trainer import OnLog, OnProgress, TrainResult, arguments, shared, train, with_end
from rlaif.types import RlaifError

with quiet():
    import trl
    from datasets import Dataset
    from peft import PeftModel


@dataclass(frozen=True, slots=True)
class PairExample:
    """A prompt as the model reads it (chat template already applied) and two answers to it; the end token is added to
    both.
    """

    prompt: str
    chosen: str
    rejected: str


def ids_of(base: Base, pair: PairExample) -> dict[str, list[int]]:
    """The ids of the prompt as far as both answers share it, and of both answers with their end token."""
    prompt = encode(base.tokenizer, pair.prompt)
    chosen = encode(base.tokenizer, pair.prompt, with_end(base, pair.chosen))
    rejected = encode(base.tokenizer, pair.prompt, with_end(base, pair.rejected))
    start = min(shared(prompt, chosen), shared(prompt, rejected))
    return {"prompt_ids": prompt[:start], "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]}


def train_dpo(
    base: Base,
    model: PeftModel,
    pairs: Sequence[PairExample],
    config: DpoConfig,
    out: Path,
    seed: int,
    on_log: OnLog | None = None,
    on_progress: OnProgress | None = None,
    *,
    name: str = "dpo",
    more: Mapping[str, Any] | None = None,
    heldout: Sequence[PairExample] = (),
    label_smoothing: float = 0.0,
    keep: Keep | None = None,
) -> TrainResult:
    """Train adapter "default" of `model`, the policy that the round starts from, on `pairs`, with that policy as it is
    now as the reference; save it to `out`.

    The loss is `config.loss` plus `sft_weight` times the mean NLL of the chosen answers. `label_smoothing` in [0, 0.5)
    is the share of labels taken to be wrong (Chowdhury et al. 2024, arXiv 2403.00409), read by the losses robust and
    exo_pair alone; `config.ld_alpha` as in LD-DPO (Liu et al. 2024, arXiv 2409.06411). What is saved lies
    `config.interpolation` of the way from the reference's weights to the trained ones (WiSE-FT, Wortsman et al. 2022,
    arXiv 2109.01903; for policies Ramé et al. 2024, arXiv 2406.16768). TRL clones the loaded adapter into a frozen one
    called `ref`, which is not saved. `on_log` gets loss, rewards/{chosen,rejected,margins,accuracies},
    logps/{chosen,rejected} (sums in nats), entropy, grad_norm and learning_rate after each step. With `heldout` pairs,
    which are not trained on, their loss is measured after each epoch, training stops when it has risen, and the weights
    of the lowest are saved: see `rlaif.train.heldout`. `name` is the section of the configuration that messages point
    to, `more` further arguments of `trl.DPOConfig`. Raises RlaifError when nothing can be learned or training diverges.
    """
    if not pairs:
        raise RlaifError(
            f"{name}: no pairs to train on; lower pairs.min_margin or draw more questions (sampling.questions)"
        )
    settings: dict[str, Any] = {"beta": config.beta, "remove_unused_columns": False} | losses(config) | dict(more or {})
    settings["label_smoothing"] = label_smoothing
    if heldout:  # the same memory as a training step
        settings |= {"eval_strategy": "epoch", "per_device_eval_batch_size": config.batch_size}

    def make(scratch: str) -> trl.DPOTrainer:
        args = trl.DPOConfig(**arguments(config, base, seed, scratch) | settings)
        trainer = trl.DPOTrainer(
            model=model,
            args=args,
            train_dataset=as_texts(pairs),
            eval_dataset=as_texts(heldout) if heldout else None,
            processing_class=base.tokenizer,
        )
        # TRL takes no ids for DPO, and tokenizes texts with what the tokenizer adds to them, which sampling does not
        # read. So it trains on ours. As there, a pair without room for an answer behind its prompt is left out.
        trainer.train_dataset = as_ids(base, pairs, args.max_length)
        if heldout:
            trainer.eval_dataset = as_ids(base, heldout, args.max_length)
            if not len(trainer.eval_dataset):
                raise RlaifError(f"{name}: no room for an answer in any held-out pair; raise {name}.max_length")
        return trainer

    best = Best(on_log) if heldout else None
    with in_one_row(model.get_base_model()):
        return train(
            make, name=name, given=len(pairs), out=out, on_log=on_log, on_progress=on_progress, best=best, keep=keep,
            share=config.interpolation,
        )  # fmt: skip


def losses(config: DpoConfig) -> dict[str, Any]:
    """Which loss, as arguments of `trl.DPOConfig`. What is at its default is not said, as TRL has the same."""
    both = config.sft_weight > 0
    out: dict[str, Any] = {
        "loss_type": [config.loss, "sft"] if both else [config.loss],
        "loss_weights": [1.0, config.sft_weight] if both else [1.0],
    }
    return out | ({} if config.ld_alpha == 1 else {"ld_alpha": config.ld_alpha})


def size(pair: PairExample) -> int:
    """Length in characters, which is enough to sort by."""
    return len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))


def as_texts(pairs: Sequence[PairExample]) -> Dataset:
    return Dataset.from_list(
        [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected, "length": size(p)} for p in pairs]
    )


def as_ids(base: Base, pairs: Sequence[PairExample], max_length: int) -> Dataset:
    """The pairs whose prompt leaves room for an answer, as ids."""
    made = [(ids_of(base, pair), size(pair)) for pair in pairs]
    return Dataset.from_list([ids | {"length": n} for ids, n in made if len(ids["prompt_ids"]) < max_length])
