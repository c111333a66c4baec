"""Log-probabilities of given texts: choices after a context (lm-eval's rule) and completions (loss, perplexity)."""

from __future__ import annotations

from collections.abc import Sequence

from rlaif.quiet import quiet

import numpy as np

from rlaif.models.generate import plan_batches, window
from rlaif.models.trees import can_plant, next_logits
from rlaif.render import encode
from rlaif.types import RlaifError

with quiet():
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


def continuation_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[str],
    choices: Sequence[str],
    batch_size: int,
    max_length: int,
) -> np.ndarray:
    """Summed log-probability (nats, float64, shape (contexts, choices)) of " " + choice after each context: see
    `choice_logprobs`.
    """
    rows = [[f" {choice}" for choice in choices]] * len(contexts)
    return choice_logprobs(model, tokenizer, contexts, rows, batch_size, max_length).reshape(
        len(contexts), len(choices)
    )


def choice_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[str],
    choices: Sequence[Sequence[str]],
    batch_size: int,
    max_length: int,
) -> np.ndarray:
    """Summed log-probability (nats, float64, shape (contexts, choices)) of each context's own choices, blanks before
    them included.

    Every context has the same number of choices. lm-evaluation-harness' rule for multiple choice: c = encode(context),
    t = encode(context + choice)[len(c):], the model reads (c + t)[-(max_length + 1):][:-1], cut on the left;
    log-softmax in float32; no length normalisation. Blanks and line breaks at a context's end (a chat template's) are
    scored with the choice, as there.
    """
    pieces: list[
        tuple[list[int], list[int]]
    ] = []  # row i * len(choices) + j: what the model reads, and the tokens of the choice
    for context, own in zip(contexts, choices, strict=True):
        start = encode(tokenizer, type(context)(context.rstrip()))
        for choice in own:
            target = encode(tokenizer, context, choice)[len(start) :]
            if not target:
                raise RlaifError(
                    f"the choice {choice.strip()!r} has no tokens of its own after {context[-20:]!r}; "
                    "give another choice"
                )
            pieces.append(((start + target)[-(max_length + 1) :][:-1], target))
    width = len(choices[0]) if choices else 0
    shape = (len(contexts), width)
    if can_plant(model, max((len(read) for read, _ in pieces), default=0)):
        return _by_trees(model, pieces).reshape(shape)
    if all(
        len(target) == 1 for _, target in pieces
    ):  # then all choices of a context follow the same text: one pass scores them
        reads = [pieces[i * width][0] for i in range(len(contexts))]
        targets = [[pieces[i * width + j][1][0] for j in range(width)] for i in range(len(contexts))]
        return np.array(_next_token_logprobs(model, tokenizer, reads, targets, batch_size), dtype=np.float64).reshape(
            shape
        )
    groups = [pieces[i : i + width] for i in range(0, len(pieces), width)]
    out = np.zeros(shape, dtype=np.float64)
    uncut = [
        i for i, group in enumerate(groups) if all(len(target) <= len(read) < max_length for read, target in group)
    ]
    if uncut:
        starts = [groups[i][0][0][: len(groups[i][0][0]) + 1 - len(groups[i][0][1])] for i in uncut]
        out[uncut] = _read_once(model, starts, [[target for _, target in groups[i]] for i in uncut], batch_size)
    cut = sorted(set(range(len(groups))) - set(uncut))  # what is read differs from choice to choice
    if cut:
        sums = _target_logprobs(model, [piece for i in cut for piece in groups[i]], batch_size)
        out[cut] = np.reshape(sums, (len(cut), width))
    return out


def completion_loss(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    completions: Sequence[str],
    *,
    batch_size: int = 32,
    max_length: int | None = None,
) -> list[tuple[float, int]]:
    """(negative log-likelihood in nats, number of tokens) of each completion after its prompt; perplexity is exp(sum /
    count).

    Every token of the completion counts, the end token only when the text names it. A completion is cut at its end
    where it does not fit behind its prompt into `max_length` tokens (None: into the model's window), as a reader would
    meet it. Where nothing of it is left, (0.0, 0).
    """
    pieces = []
    max_length = min(max_length or window(model), window(model))
    for prompt, completion in zip(prompts, completions, strict=True):
        start, whole = encode(tokenizer, prompt), encode(tokenizer, prompt, completion)
        whole = whole[: max_length + 1]
        pieces.append((whole[:-1], whole[len(start) :]))
    sums = _target_logprobs(model, pieces, batch_size)
    return [(-value, len(target)) for value, (_, target) in zip(sums, pieces, strict=True)]


def ids_logprobs(
    model: PreTrainedModel, rows: Sequence[tuple[Sequence[int], Sequence[int]]], batch_size: int = 32
) -> list[float]:
    """Summed log-probability (nats, temperature 1) of the second token ids of each row behind its first ones."""
    pieces = [([*start, *then[:-1]], list(then)) for start, then in rows]
    return _target_logprobs(model, pieces, batch_size)


def _pad(rows: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and mask. A causal model never sees padding on the right, so its value does not matter."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids, mask


@torch.inference_mode()
def _next_token_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reads: list[list[int]],
    targets: list[list[int]],
    batch_size: int,
) -> list[list[float]]:
    """log p(target | read) for every target token of every row, from the last position's logits alone."""
    out: list[list[float]] = [[] for _ in reads]
    for batch in plan_batches([len(r) for r in reads], batch_size):
        ids, mask = _pad([reads[i] for i in batch], model.device)
        last = mask.sum(-1) - 1
        positions, where = last.unique(return_inverse=True)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=positions).logits
        logp = logits[torch.arange(len(batch), device=ids.device), where].float().log_softmax(-1)
        picked = logp.gather(1, torch.tensor([targets[i] for i in batch], device=ids.device))
        for i, values in zip(batch, picked.tolist(), strict=True):
            out[i] = values
    return out


def _by_trees(model: PreTrainedModel, pieces: list[tuple[list[int], list[int]]]) -> np.ndarray:
    """Sum of log p over the target tokens, which the last len(target) positions of what is read predict; what the
    pieces begin with is read once.
    """
    texts, owners, tokens = [], [], []  # one a token: what stands before it, whose it is, and itself
    for number, (read, target) in enumerate(pieces):
        own = target[-len(read) :] if read else []
        for nth, token in enumerate(own, start=len(read) - len(own) + 1):
            texts.append(read[:nth])
            owners.append(number)
            tokens.append(token)
    sums = np.zeros(len(pieces), dtype=np.float64)
    for which, logits in next_logits(model, texts):
        targets = torch.tensor([tokens[n] for n in which], device=logits.device)
        logp = logits.float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
        np.add.at(sums, [owners[n] for n in which], logp.double().cpu().numpy())
    return sums


def read_on(
    model: PreTrainedModel, pieces: Sequence[Sequence[int]], mask: torch.Tensor, cache: DynamicCache, keep: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let the model read the next piece of each row, padded on the left, after what `cache` holds and `mask` (rows, so
    far) is over.

    Returns the logits at the last `keep` positions and the mask over all that was read by now.
    """
    width = max(map(len, pieces))
    ids = torch.tensor([[0] * (width - len(piece)) + list(piece) for piece in pieces], device=mask.device)
    here = torch.tensor([[0] * (width - len(piece)) + [1] * len(piece) for piece in pieces], device=mask.device)
    whole = torch.cat([mask, here], 1)
    position = (whole.cumsum(-1) - 1).clamp(min=0)[:, -width:]
    out = model(
        input_ids=ids,
        attention_mask=whole,
        position_ids=position,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
    )
    return out.logits, whole


@torch.inference_mode()
def _read_once(
    model: PreTrainedModel, starts: list[list[int]], rows: list[list[list[int]]], batch_size: int
) -> list[list[float]]:
    """Sum of log p over the tokens of every choice of every row; each row's start is read once, whatever the number of
    choices.
    """
    out: list[list[float]] = [[] for _ in starts]
    for batch in plan_batches([len(s) for s in starts], batch_size):
        cache = DynamicCache(config=model.config)
        nothing = torch.zeros((len(batch), 0), dtype=torch.long, device=model.device)
        logits, mask = read_on(model, [starts[i] for i in batch], nothing, cache)
        first = logits[:, -1].float().log_softmax(-1)
        for choice in range(len(rows[0])):
            targets = [rows[i][choice] for i in batch]
            sums = [float(first[n, target[0]]) for n, target in enumerate(targets)]
            longest = max(map(len, targets)) - 1
            if longest:
                fed = [
                    target[:-1] or target for target in targets
                ]  # of one token: nothing to feed, and nothing of it is used
                logits, _ = read_on(model, fed, mask, cache, keep=longest)
                cache.crop(-longest)
                logp = logits.float().log_softmax(-1)
                for n, target in enumerate(targets):
                    rest = target[1:]
                    if rest:
                        at = logp[n, longest - len(rest) :]
                        sums[n] += float(at.gather(1, torch.tensor(rest, device=at.device)[:, None]).double().sum())
            for i, value in zip(batch, sums, strict=True):
                out[i].append(value)
    return out


@torch.inference_mode()
def _target_logprobs(model: PreTrainedModel, pieces: list[tuple[list[int], list[int]]], batch_size: int) -> list[float]:
    """Sum of log p over the target tokens, which the last len(target) positions of what is read predict."""
    out = [0.0] * len(pieces)
    some = [i for i, (read, target) in enumerate(pieces) if read and target]
    for batch in plan_batches([len(pieces[i][0]) for i in some], batch_size):
        rows = [some[i] for i in batch]
        ids, mask = _pad([pieces[i][0] for i in rows], model.device)
        keep = max(ids.shape[1] - len(pieces[i][0]) + len(pieces[i][1]) for i in rows)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
        first = ids.shape[1] - logits.shape[1]
        for row, i in enumerate(rows):
            read, target = pieces[i]
            target = target[-len(read) :]
            at = logits[row, len(read) - len(target) - first : len(read) - first].float().log_softmax(-1)
            out[i] = float(at.gather(1, torch.tensor(target, device=ids.device)[:, None]).double().sum())
    return out
