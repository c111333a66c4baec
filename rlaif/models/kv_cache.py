"""A key-value cache for one batch of prompts that shrinks as answers end."""

from __future__ import annotations

from rlaif.quiet import quiet

with quiet():
    import torch
    from transformers import DynamicCache, PreTrainedConfig
    from transformers.cache_utils import DynamicLayer

BLOCK = 64  # tokens of room that a buffer gets when it is full


class RoomyLayer(DynamicLayer):
    """A layer whose buffers have room for more tokens: a step writes one token's states instead of copying all.

    `keys` and `values` (rows, heads, tokens, head size) are the used part of the buffers.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: tuple[torch.Tensor, torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        used, new = self.get_seq_length(), key_states.shape[-2]
        if not used:
            self.lazy_initialization(key_states, value_states)
            self._buffers = _with_room(key_states, 0), _with_room(value_states, 0)
        elif used + new > self._buffers[0].shape[-2]:
            self._buffers = _with_room(self.keys, new), _with_room(self.values, new)
        keys, values = self._buffers
        if used:
            keys[:, :, used : used + new], values[:, :, used : used + new] = key_states, value_states
        self.keys, self.values = keys[:, :, : used + new], values[:, :, : used + new]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep the rows `indices`, in their order; a row may be named several times."""
        used = self.get_seq_length()
        if used:
            keys, values = (buffer[indices] for buffer in self._buffers)
            self._buffers = keys, values
            self.keys, self.values = keys[:, :, :used], values[:, :, :used]


def _with_room(states: torch.Tensor, new: int) -> torch.Tensor:
    """A buffer that begins with `states` and has room for `new` tokens and BLOCK more."""
    rows, heads, used, size = states.shape
    buffer = states.new_empty((rows, heads, used + new + BLOCK, size))
    buffer[:, :, :used] = states
    return buffer


def roomy_cache(config: PreTrainedConfig) -> DynamicCache:
    """A cache for a model of `config` whose plain layers are :class:`RoomyLayer`; sliding and other kinds stay as
    transformers has them.
    """
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
