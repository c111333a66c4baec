"""Sample answers from a policy: one batch at a time, with the log-probability of what was sampled.

The decode loop is our own: rows that have stopped leave the batch, and log-probabilities come from the logits at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.quiet import quiet

from rlaif.render import encode
from rlaif.types import UsageError

with quiet():
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

    from rlaif.models.kv_cache import roomy_cache


NUCLEUS = 128  # candidates looked at before a full sort of the vocabulary is needed
KEPT = 0.9  # rows that are done leave the batch where at most this share goes on: leaving copies what the cache holds


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled continuation. `n_tokens` and `logprob` (nats, temperature 1, untruncated distribution) include the
    end token.
    """

    text: str
    n_tokens: int
    finish_reason: Literal["stop", "length"]
    logprob: float
    end: int | None = None  # the token that it stopped at


def plan_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of `lengths` in batches of at most `batch_size`, sorted by length (ties by index), longest first."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int,
    seed: int,
    greedy: bool = False,
    also_ends: Sequence[int] = (),
) -> list[Generation]:
    """One continuation a prompt (chat template already applied), all in one batch; the same arguments give the same
    texts.

    Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751) after temperature; `greedy` takes the likeliest token
    instead. A continuation stops at an end token or one of `also_ends`, which is not part of its text, after
    `max_new_tokens`, or where the model's window ends. UsageError when a prompt alone fills that window.
    """
    if not prompts:
        return []
    device = model.device
    ends = torch.tensor(sorted({*end_ids(model, tokenizer), *also_ends}))
    read = [encode(tokenizer, prompt) for prompt in prompts]
    limit = window(model)
    too_long = [len(row) for row in read if len(row) >= limit]
    if too_long:
        raise UsageError(
            f"{len(too_long)} of {len(read)} prompts leave no room for an answer: the longest has {max(too_long):,} "
            f"tokens, and this model reads {limit:,}; shorten the contexts"
        )
    room = torch.tensor([min(max_new_tokens, limit - len(row)) for row in read])
    n = len(prompts)
    # A prompt that stands there several times, as with k answers per question, is read once.
    once = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    ids, mask = _padded([encode(tokenizer, prompt) for prompt in once], tokenizer.pad_token_id or 0, device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    rng = torch.Generator().manual_seed(seed)
    cache = roomy_cache(model.config)
    tokens = torch.zeros((n, int(room.max())), dtype=torch.long, device=device)
    counts, stopped = torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.bool)
    logprob = torch.zeros(n, dtype=torch.float64)
    rows = torch.arange(n)  # which prompt each row of the shrinking batch belongs to
    going = torch.ones(n, dtype=torch.bool)  # which of these rows are not done: done ones leave a few at a time
    for step in range(max_new_tokens):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = out.logits[:, -1].float()
        if step == 0:
            copies = torch.tensor([once[prompt] for prompt in prompts], device=device)
            cache.batch_select_indices(copies)
            logits, mask, position = logits[copies], mask[copies], position[copies]
        # One draw per prompt and step, whichever rows are still there.
        draws = torch.rand(n, generator=rng)[rows].to(device)
        chosen = logits.argmax(-1) if greedy else _nucleus(logits / temperature, top_p, draws)
        here = rows[going]
        picked = (logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)).double().cpu()
        words = chosen.cpu()
        logprob[here] += picked[going]
        tokens[here.to(device), step] = chosen[going.to(device)]
        counts[here] += 1
        ended = torch.isin(words, ends) & going
        stopped[rows[ended]] = True
        going &= ~(ended | (counts[rows] >= room[rows]))
        if not going.any():
            break
        if int(going.sum()) <= len(rows) * KEPT:
            keep = going.nonzero()[:, 0]
            rows, going, keep = rows[keep], going[keep], keep.to(device)
            cache.batch_select_indices(keep)
            chosen, mask, position = chosen[keep], mask[keep], position[keep]
        ids, mask = chosen[:, None], torch.nn.functional.pad(mask, (0, 1), value=1)
        position = (position[:, -1:] + 1).clamp(max=limit - 1)  # of a row that is done, it may lie behind the window
    texts = [t[: int(c) - int(s)].tolist() for t, c, s in zip(tokens.cpu(), counts, stopped, strict=True)]
    return [
        Generation(
            tokenizer.decode(text, skip_special_tokens=True),
            int(c),
            "stop" if s else "length",
            float(lp),
            int(row[int(c) - 1]) if s else None,
        )
        for text, row, c, s, lp in zip(texts, tokens.cpu(), counts, stopped, logprob, strict=True)
    ]


def _padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask (rows, longest), filled up on the left; what `pad` is does not matter, it is masked."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def window(model: PreTrainedModel) -> int:
    """How many tokens the model reads at most, prompt and answer together; 10^9 where its config names no limit."""
    config = model.config
    part = config.get_text_config() if hasattr(config, "get_text_config") else config  # of a model that also sees
    return getattr(part, "max_position_embeddings", None) or 10**9


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The token ids at which an answer ends: the tokenizer's and those of the model's generation settings."""
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    return {i for i in (*several, tokenizer.eos_token_id) if i is not None}


def _nucleus(scores: torch.Tensor, top_p: float, draws: torch.Tensor) -> torch.Tensor:
    """Token ids (n,) from the smallest set of likeliest tokens whose mass reaches `top_p`; `draws` (n,) in [0, 1)."""
    probs = scores.softmax(-1)
    mass, ids = probs.topk(min(NUCLEUS, probs.shape[-1]), dim=-1)
    chosen = _pick(mass, ids, top_p, draws)
    short = mass.sum(-1) < top_p  # flat rows, whose nucleus may be larger than that
    if short.any():
        mass, ids = probs[short].sort(dim=-1, descending=True, stable=True)
        chosen[short] = _pick(mass, ids, top_p, draws[short])
    return chosen


def _pick(mass: torch.Tensor, ids: torch.Tensor, top_p: float, draws: torch.Tensor) -> torch.Tensor:
    """Invert the distribution function of the nucleus of `mass` (n, m), sorted downwards, at `draws`."""
    inside = mass.cumsum(-1) - mass < top_p  # the likeliest token always is
    total = (mass * inside).cumsum(-1)
    place = torch.searchsorted(total, (draws * total[:, -1])[:, None], right=True)[:, 0]
    place = torch.minimum(place, inside.sum(-1) - 1)  # a draw that rounds up to the whole mass
    return ids.gather(1, place[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class Said:
    """An answer so far: all of its text, its tokens (the end token counts), and why it ended, "" while it goes on."""

    text: str
    n_tokens: int
    finish_reason: Literal["", "stop", "length"]


@torch.inference_mode()
def stream(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, *, max_new_tokens: int
) -> Iterator[Said]:
    """The likeliest continuation of `prompt` (chat template already applied), longer with each step; the last one says
    why it ended.

    A character whose bytes have not all come yet is held back. UsageError when the prompt alone fills what the model
    can read.
    """
    ends = end_ids(model, tokenizer)
    ids = torch.tensor([encode(tokenizer, prompt)], device=model.device)
    limit = window(model)
    if ids.shape[1] >= limit:
        raise UsageError(
            f"question and context are {ids.shape[1]:,} tokens, and this model reads at most {limit:,}; "
            "shorten the context"
        )
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
