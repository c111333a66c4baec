"""Many texts that begin alike, read as trees: what several of them begin with, the model reads once.

Sorted, texts that begin alike stand side by side. A tree holds a run of them in one row, each token before those that
follow it. A mask lets a token see the tokens on its way from the root and itself alone, and its position is its depth,
so the logits behind a text are those of the text on its own, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rlaif.quiet import quiet

with quiet():
    import torch
    from transformers import PreTrainedModel

LONGEST = 2048  # tokens of a text, and
WIDEST = 4096  # of a tree: its mask has the square of that
TOKENS = 1024  # read in one pass on a CPU, padding included, unless a tree is wider; elsewhere WIDEST
# A token's products of matrices take as long as this many times the hidden size of pairs of tokens in the attention.
# Measured on a CPU; by the count of operations it were 6.
PAIRS = 4


@dataclass(frozen=True, slots=True)
class Tree:
    """`depth` of each token counts from 0; `ends` has the numbers of the texts that end at a place."""

    ids: list[int] = field(default_factory=list)
    depth: list[int] = field(default_factory=list)
    ends: dict[int, list[int]] = field(default_factory=dict)


def can_plant(model: PreTrainedModel, longest: int) -> bool:
    """Whether texts of up to `longest` tokens may be read in trees by this model."""
    return longest <= LONGEST and can_share(model)


def can_share(model: PreTrainedModel) -> bool:
    """Whether this model takes a mask of our own and positions that do not count on: attention by torch's own kernel
    over all that came before, in every layer, and positions by rotation. A mixture of experts is left out, as it counts
    the tokens that each expert gets.
    """
    config = model.config.get_text_config()
    return (
        config._attn_implementation == "sdpa"
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and not hasattr(config, "output_router_logits")
        and hasattr(model.base_model, "rotary_emb")
    )


def trees(texts: Sequence[Sequence[int]], pairs: int) -> list[Tree]:
    """The texts in trees of at most WIDEST tokens (or one text), where a token costs as much as `pairs` pairs of tokens
    in the attention.

    With s tokens shared and m in each of k texts, a text costs (s pairs + (s + k m)^2) / k + m pairs. That is least
    at (k m)^2 = s (pairs + s), so there a tree is full.
    """
    made: list[Tree] = []
    path: list[int] = []  # the places of the text before
    before: Sequence[int] = []
    for number in sorted(range(len(texts)), key=lambda n: list(texts[n])):
        text = texts[number]
        shared = next((n for n, pair in enumerate(zip(before, text, strict=False)) if pair[0] != pair[1]), len(before))
        size = (len(made[-1].ids) if made else 0) + len(text) - shared
        full = size > WIDEST or (size - shared) ** 2 > shared * (pairs + shared)
        if not made or (full and before != text):
            made.append(Tree())
            path, shared = [], 0
        tree, path = made[-1], path[:shared]
        for token in text[shared:]:
            tree.depth.append(len(path))
            path.append(len(tree.ids))
            tree.ids.append(token)
        tree.ends.setdefault(path[-1], []).append(number)
        before = text
    return made


def sees(tree: Tree) -> torch.Tensor:
    """(tokens, tokens): True where the token of the row may see the token of the column."""
    n = len(tree.ids)
    until = [n] * n  # the place behind all that follows a token
    path: list[int] = []
    for place, depth in enumerate(tree.depth):
        while len(path) > depth:
            until[path.pop()] = place
        path.append(place)
    places = torch.arange(n)
    return (places[None] <= places[:, None]) & (places[:, None] < torch.tensor(until)[None])


@torch.inference_mode()
def next_logits(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], torch.Tensor]]:
    """The numbers of some texts and the logits behind them, (numbers, vocabulary), until each text had its turn.

    Each text has a token at least, and :func:`can_plant` must say yes of the model and the longest one.
    """
    planted = trees(texts, PAIRS * model.config.get_text_config().hidden_size)
    planted.sort(key=lambda tree: -len(tree.ids))
    tokens = TOKENS if model.device.type == "cpu" else WIDEST
    while planted:
        width = len(planted[0].ids)
        count = max(1, tokens // width)
        batch, planted = planted[:count], planted[count:]
        keep = max(len(tree.ends) for tree in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        positions = torch.zeros_like(ids)
        mask = torch.eye(width, dtype=torch.bool).repeat(len(batch), 1, 1)  # padding sees itself: nothing is no number
        for row, tree in enumerate(batch):
            # The mask says what comes before what, so ends may stand last: there the logits are.
            order = torch.tensor([n for n in range(len(tree.ids)) if n not in tree.ends] + list(tree.ends))
            here = slice(width - len(order), width)
            ids[row, here] = torch.tensor(tree.ids)[order]
            positions[row, here] = torch.tensor(tree.depth)[order]
            mask[row, here, here] = sees(tree)[order][:, order]
        logits = model(
            input_ids=ids.to(model.device),
            attention_mask=mask[:, None].to(model.device),
            position_ids=positions.to(model.device),
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        places = [
            (number, row, keep - len(tree.ends) + nth)
            for row, tree in enumerate(batch)
            for nth, numbers in enumerate(tree.ends.values())
            for number in numbers
        ]
        which, rows, columns = (list(part) for part in zip(*places, strict=True))
        yield which, logits[rows, columns]
