"""Texts in trees: the logits of each text on its own, whatever stands beside it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from rlaif.models import trees as module
from rlaif.models.trees import LONGEST, can_plant, can_share, next_logits, sees, trees

SIZE = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
RANDOM = torch.Generator().manual_seed(1)


def tokens(n: int) -> list[int]:
    return torch.randint(1, 40, (n,), generator=RANDOM).tolist()


BEGINNING = tokens(30)
TEXTS: dict[str, list[list[int]]] = {
    "one token": [[5]],
    "nothing shared": [[5, 6], [7], [8, 9, 10]],
    "one beginning": [BEGINNING + [1, 2], BEGINNING + [1, 3, 4], BEGINNING + [9]],
    "one begins the other, and both twice": [[5, 6, 7], [5, 6], [5, 6, 7], [5, 6], [5, 6, 7, 8, 9]],
    "groups of many sizes": [start + tokens(n) for start in (tokens(20), tokens(3), tokens(40)) for n in (1, 4, 9, 20)],
    "up to the window": [BEGINNING + tokens(34), BEGINNING + tokens(34), BEGINNING + tokens(33), [3]],
}


def tiny(**settings: Any) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(**SIZE, **settings)).eval()


def alone(model: PreTrainedModel, text: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([text])).logits[0, -1]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("kind", [Qwen2ForCausalLM, LlamaForCausalLM])
@pytest.mark.parametrize("room", [4096, 50, 1])
def test_logits_are_those_of_each_text_alone(
    name: str, kind: type[PreTrainedModel], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WIDEST", room)
    monkeypatch.setattr(module, "TOKENS", room)
    torch.manual_seed(0)
    model = tiny() if kind is Qwen2ForCausalLM else LlamaForCausalLM(LlamaConfig(**SIZE)).eval()
    texts, seen = TEXTS[name], []
    for which, logits in next_logits(model, texts):
        seen += which
        for number, found in zip(which, logits, strict=True):
            assert torch.allclose(found, alone(model, texts[number]), atol=1e-5)
    assert sorted(seen) == list(range(len(texts)))


def test_what_stands_in_a_tree() -> None:
    (tree,) = trees([[5, 6, 8, 3], [5, 6, 7], [5, 6, 8, 4]], pairs=1000)
    assert tree.ids == [5, 6, 7, 8, 3, 4] and tree.depth == [0, 1, 2, 2, 3, 3]
    assert tree.ends == {2: [1], 4: [0], 5: [2]}
    assert sees(tree).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [1, 1, 0, 1, 0, 1],
    ]


def test_a_tree_ends_where_another_one_is_cheaper() -> None:
    texts = [BEGINNING + tokens(10) for _ in range(100)]
    few, many = trees(texts, pairs=4 * 32), trees(texts, pairs=4 * 4096)
    assert len(many) < len(few) < 100, "a larger model's tokens cost more than their attention"
    full = (30 * (4 * 32 + 30)) ** 0.5
    assert all(len(tree.ids) - 30 <= full for tree in few)
    assert len(trees([BEGINNING + [1]] * 3 + [BEGINNING + tokens(100)] * 3, pairs=1)) == 2, "what stands there is free"
    assert len(trees([tokens(50), tokens(60), tokens(70)], pairs=4 * 32)) == 3, "nothing is shared"


def test_no_texts() -> None:
    assert list(next_logits(tiny(), [])) == []


@pytest.mark.parametrize(
    ("settings", "takes_it"),
    [
        ({}, True),
        ({"attn_implementation": "eager"}, False),
        ({"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}, False),
    ],
)
def test_which_models_take_the_mask(settings: dict[str, Any], takes_it: bool) -> None:
    model = tiny(**settings)
    assert can_share(model) is can_plant(model, LONGEST) is takes_it
    assert not can_plant(model, LONGEST + 1), "a mask has the square of the length"
