"""Chosen and rejected in one row, so that the model reads what both begin with once. That is the prompt, and it is most
of a pair: of the default's tokens about four fifths.

TRL gives the model 2n rows, the chosen ones first. Here row i and row n + i become one: the whole chosen row, and
behind it what the rejected one does not share with it. A mask lets each answer see the prompt and itself alone, and the
positions of the second answer count on from the prompt. What the model says is put back into TRL's rows, so losses and
figures are TRL's, up to rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlaif.quiet import quiet

from rlaif.models.trees import can_share

with quiet():
    import torch
    from torch import nn
    from transformers import PreTrainedModel


# How DPO puts pairs into rows: part of what it trains, so a change gets a new number.
ROWS = "shared-1"


@dataclass(frozen=True, slots=True)
class Packed:
    """n pairs, each in one row of `width` tokens, padded on the right.

    `ids` and `positions` are (n, width); `mask` is (n, 1, width, width) and True where a token may be seen; `back` is
    (2n, length): the place in its pair's row of each token of TRL's rows (of padding, any place).
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    back: torch.Tensor


def pack(ids: torch.Tensor, attention_mask: torch.Tensor) -> Packed:
    """The pairs of (2n, length) ids, chosen rows first, with 1 in the mask for tokens and 0 for padding on the
    right.
    """
    n, length = len(ids) // 2, ids.shape[1]
    there = attention_mask.bool()
    chosen, rejected = ids[:n], ids[n:]
    same = (chosen == rejected) & there[:n] & there[n:]
    shared = same.long().cumprod(1).sum(1, keepdim=True)
    first, second = (half.sum(1, keepdim=True) for half in (there[:n], there[n:]))
    width = int((first + second - shared).max())
    place = torch.arange(width, device=ids.device)[None]
    behind = place >= first
    at = torch.where(behind, place - first + shared, place).clamp(max=length - 1)
    row = torch.where(behind, rejected.gather(1, at), chosen.gather(1, at))
    part = (place >= shared).long() + behind.long()  # 0: both answers see it; 1: chosen; 2: rejected, then padding
    before = place[:, None, :] <= place[:, :, None]  # padding comes last, so no token of an answer sees it
    mask = before & ((part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None]))
    own = torch.arange(length, device=ids.device)[None].expand(n, length)
    back = torch.cat([own, torch.where(own < shared, own, own - shared + first)]).clamp(max=width - 1)
    return Packed(row, at, mask[:, None], back)


def recorded_rows(model: PreTrainedModel) -> dict[str, str]:
    """What a recipe says of the rows of pairs: nothing where they are read as TRL gives them."""
    return {"rows": ROWS} if can_share(model) else {}


@contextlib.contextmanager
def in_one_row(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model reads the two answers of a pair in one row, wherever it gets 2n rows of TRL's; where
    :func:`rlaif.models.trees.can_share` says no, it reads them as they come.
    """
    if not can_share(model):
        yield
        return
    packed: list[Packed] = []

    def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        packed.append(pack(kwargs["input_ids"], kwargs["attention_mask"]))
        new = packed[-1]
        return args, kwargs | {"input_ids": new.ids, "attention_mask": new.mask, "position_ids": new.positions}

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        back = packed.pop().back
        hidden = output.last_hidden_state
        pair = torch.arange(len(back), device=back.device) % len(hidden)
        output.last_hidden_state = hidden[pair[:, None], back]
        return output

    hooks = [
        model.base_model.register_forward_pre_hook(before, with_kwargs=True),
        model.base_model.register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
