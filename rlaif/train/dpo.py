"""A DPO round (Rafailov et al. 2023, arXiv 2305.18290) on a LoRA adapter: a thin use of `trl.DPOTrainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.quiet import quiet

from rlaif.config import DpoConfig
from rlaif.models.base import Base
from rlaif.render import encode
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
) -> TrainResult:
    """Train adapter "default" of `model`, the champion, on `pairs`, with the champion as it is now as the reference;
    save it to `out`.

    The loss is the DPO loss plus `sft_weight` times the mean NLL of the chosen answers. TRL clones the loaded adapter
    into a frozen one called `ref`, which is not saved. `on_log` gets loss,
    rewards/{chosen,rejected,margins,accuracies}, logps/{chosen,rejected} (sums in nats), entropy, grad_norm and
    learning_rate after each step. `name` is the section of the configuration that messages point to, `more` further
    arguments of `trl.DPOConfig`. Raises RlaifError when nothing can be learned or training diverges.
    """
    if not pairs:
        raise RlaifError(
            f"{name}: no pairs to train on; lower pairs.min_margin or draw more questions (sampling.questions)"
        )
    both = config.sft_weight > 0
    loss = {
        "loss_type": ["sigmoid", "sft"] if both else ["sigmoid"],
        "loss_weights": [1.0, config.sft_weight] if both else [1.0],
    }
    settings: dict[str, Any] = {"beta": config.beta, "remove_unused_columns": False} | loss | dict(more or {})
    lengths = [len(p.prompt) + max(len(p.chosen), len(p.rejected)) for p in pairs]  # in characters: enough to sort by

    def make(scratch: str) -> trl.DPOTrainer:
        rows = [
            {"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected, "length": n}
            for p, n in zip(pairs, lengths, strict=True)
        ]
        args = trl.DPOConfig(**arguments(config, base, seed, scratch) | settings)
        trainer = trl.DPOTrainer(
            model=model, args=args, train_dataset=Dataset.from_list(rows), processing_class=base.tokenizer
        )
        # TRL takes no ids for DPO, and tokenizes texts with what the tokenizer adds to them, which sampling does not
        # read. So it trains on ours. As there, a pair without room for an answer behind its prompt is left out.
        made = [(ids_of(base, pair), n) for pair, n in zip(pairs, lengths, strict=True)]
        fit = [ids | {"length": n} for ids, n in made if len(ids["prompt_ids"]) < args.max_length]
        trainer.train_dataset = Dataset.from_list(fit)
        return trainer

    return train(make, name=name, given=len(pairs), out=out, on_log=on_log, on_progress=on_progress)
