"""The cache of a shrinking batch against that of transformers."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, Qwen2Config, Qwen2ForCausalLM

from rlaif.models import kv_cache
from rlaif.models.kv_cache import RoomyLayer, roomy_cache


@pytest.fixture(scope="module")
def model() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


@torch.inference_mode()
def logits_of(model: Qwen2ForCausalLM, cache: DynamicCache) -> list[torch.Tensor]:
    """Three prompts, of which the second is read twice; one row leaves, one comes in another place."""
    given = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 40, (3, 5), generator=given)
    seen, rows = [], {0: [0, 1, 1, 2], 4: [0, 2, 3], 7: [2, 0]}
    for step in range(12):
        seen.append(model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1])
        ids = seen[-1].argmax(-1, keepdim=True)
        if step in rows:
            keep = torch.tensor(rows[step])
            cache.batch_select_indices(keep)
            ids = ids[keep]
    return seen


@pytest.mark.parametrize("block", [1, 3, 64])
def test_it_gives_what_the_cache_of_transformers_gives(
    model: Qwen2ForCausalLM, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv_cache, "BLOCK", block)
    plain, roomy = logits_of(model, DynamicCache(config=model.config)), logits_of(model, roomy_cache(model.config))
    assert [x.shape for x in plain] == [x.shape for x in roomy]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, roomy, strict=True))


def test_a_step_writes_into_the_buffer(model: Qwen2ForCausalLM) -> None:
    cache = roomy_cache(model.config)
    with torch.inference_mode():
        model(input_ids=torch.zeros((1, 5), dtype=torch.long), past_key_values=cache, use_cache=True)
        before = cache.layers[0].keys.data_ptr()
        model(input_ids=torch.zeros((1, 1), dtype=torch.long), past_key_values=cache, use_cache=True)
    layer = cache.layers[0]
    assert isinstance(layer, RoomyLayer) and layer.keys.data_ptr() == before and layer.get_seq_length() == 6


def test_sliding_layers_stay_as_they_are() -> None:
    config = Qwen2Config(
        num_hidden_layers=2, use_sliding_window=True, sliding_window=8,
        layer_types=["full_attention", "sliding_attention"],
    )  # fmt: skip
    kinds = [type(layer).__name__ for layer in roomy_cache(config).layers]
    assert kinds == ["RoomyLayer", "DynamicSlidingWindowLayer"]
