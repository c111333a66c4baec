"""A greedy answer word by word: what :func:`rlaif.sample.sample` with `greedy` gives, shown while it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlaif.quiet import quiet

from rlaif.sample import end_ids
from rlaif.types import UsageError

with quiet():
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Said:
    """An answer so far: all of its text, its tokens (the end token counts), and why it ended, "" while it goes on."""

    text: str
    n_tokens: int
    finish_reason: Literal["", "stop", "length"]


@torch.inference_mode()
def stream(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, *, max_new_tokens: int) -> Iterator[Said]:
    """The likeliest continuation of `prompt` (chat template already applied), longer with each step; the last one says why it ended.

    A character whose bytes have not all come yet is held back. UsageError when the prompt alone fills what the model can read.
    """
    ends = end_ids(model, tokenizer)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)
    limit = getattr(model.config, "max_position_embeddings", None) or 10**9
    if ids.shape[1] >= limit:
        raise UsageError(f"question and context are {ids.shape[1]:,} tokens, and this model reads at most {limit:,}; shorten the context")
    room = min(max_new_tokens, limit - ids.shape[1])
    cache, tokens = DynamicCache(config=model.config), []
    for step in range(1, room + 1):
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        ids = out.logits[:, -1].float().argmax(-1, keepdim=True)
        token = int(ids)
        stopped = token in ends
        if not stopped:
            tokens.append(token)
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        if stopped or step == room:
            yield Said(text, step, "stop" if stopped else "length")
            return
        yield Said(text.rstrip("\N{REPLACEMENT CHARACTER}"), step, "")
