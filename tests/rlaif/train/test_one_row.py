"""Two answers behind one prompt: the same hidden states, gradients and losses as from two rows."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlaif.config import DpoConfig, ModelConfig
from rlaif.models.adapter import attach_adapter
from rlaif.models.base import Base, load_base
from rlaif.models.trees import can_share
from rlaif.train import dpo
from rlaif.train.dpo import PairExample, train_dpo
from rlaif.train.one_row import in_one_row, pack, recorded_rows

Pair = tuple[list[int], list[int], list[int]]  # prompt, chosen, rejected
PAIRS: dict[str, list[Pair]] = {
    "one": [([5, 6, 7], [8, 9], [10])],
    "of many lengths": [([5, 6], [8, 9, 11, 12], [10, 3]), ([7, 8, 9, 4, 4], [3], [10, 11, 12]), ([6], [8], [9])],
    "answers begin alike": [([5, 6], [8, 9, 4], [8, 9, 3, 3]), ([5], [8, 9], [8])],
    "nothing shared": [([], [8, 9], [3, 4, 5]), ([5, 6], [7], [8, 9])],
    "the same twice": [([5, 6], [7, 8], [7, 8])],
}


def tiny(**settings: Any) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, **settings,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


def rows_of(pairs: list[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
    """TRL's rows: chosen, then rejected, padded on the right."""
    rows = [prompt + chosen for prompt, chosen, _ in pairs] + [prompt + rejected for prompt, _, rejected in pairs]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def read(model: Qwen2ForCausalLM, pairs: list[Pair]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The hidden states of all tokens, and the gradients of their squares."""
    ids, mask = rows_of(pairs)
    model.zero_grad()
    hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    assert hidden.shape[:2] == ids.shape
    hidden = hidden[mask.bool()]
    weights = torch.arange(hidden.numel()).view_as(hidden) % 7
    (hidden * weights).sum().backward()
    return hidden.detach(), [p.grad.clone() for p in model.base_model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", PAIRS)
def test_hidden_states_and_gradients_are_those_of_two_rows(name: str) -> None:
    model = tiny()
    plain, gradients = read(model, PAIRS[name])
    with in_one_row(model):
        packed, others = read(model, PAIRS[name])
    assert torch.allclose(plain, packed, atol=1e-5)
    assert gradients and all(torch.allclose(a, b, atol=1e-3) for a, b in zip(gradients, others, strict=True))
    again, _ = read(model, PAIRS[name])
    assert torch.equal(plain, again), "outside, the model reads as before"


def test_what_the_model_reads() -> None:
    packed = pack(*rows_of([([5, 6], [8, 9, 11], [10, 3]), ([7], [8], [9])]))
    assert packed.ids[0].tolist() == [5, 6, 8, 9, 11, 10, 3] and packed.ids[1, :3].tolist() == [7, 8, 9]
    assert packed.positions[0].tolist() == [0, 1, 2, 3, 4, 2, 3] and packed.positions[1, :3].tolist() == [0, 1, 1]
    seen = packed.mask[0, 0].int()
    assert seen[4].tolist() == [1, 1, 1, 1, 1, 0, 0], "the end of the chosen answer sees prompt and itself"
    assert seen[6].tolist() == [1, 1, 0, 0, 0, 1, 1], "the end of the rejected one sees no chosen token"
    assert packed.mask.any(-1).all(), "a token that sees nothing, padding too, would be no number"
    assert packed.back[0, :5].tolist() == [0, 1, 2, 3, 4] and packed.back[2, :4].tolist() == [0, 1, 5, 6]
    assert packed.back[1, :2].tolist() == [0, 1] and packed.back[3, :2].tolist() == [0, 2]


def test_a_model_that_cannot_share_reads_the_rows_as_they_come() -> None:
    sliding = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
    for settings in ({"attn_implementation": "eager"}, sliding):
        model = tiny(**settings)
        assert not can_share(model) and recorded_rows(model) == {}
        plain, _ = read(model, PAIRS["of many lengths"])
        with in_one_row(model):
            assert torch.equal(read(model, PAIRS["of many lengths"])[0], plain)
    assert can_share(tiny()) and recorded_rows(tiny()) == {"rows": "shared-1"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"ld_alpha": 0.5}, {"loss": "ipo", "sft_weight": 0.0}])
def test_training_has_the_losses_of_two_rows(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    base = load_base(ModelConfig(path=str(tiny_model), threads=1))
    exact = Base(**{**base.__dict__, "autocast": None})  # in 16 bit, rounding is another
    questions = [f"what helps against {what} ?" for what in ("fever", "cough", "asthma", "the cough of a doctor")]
    pairs = [PairExample(q, " rest and water .", " rest of the of the of the .") for q in questions]
    config = DpoConfig(learning_rate=1e-3, batch_size=2, warmup_steps=0, epochs=2, max_length=64, **more)

    def logs(out: str) -> list[dict[str, float]]:
        seen: list[dict[str, float]] = []
        model = attach_adapter(exact, ModelConfig(lora_r=4), 0)
        train_dpo(exact, model, pairs, config, tmp_path / out, 0, lambda _, values: seen.append(values))
        return seen

    one = logs("one")
    reads: list[int] = []
    monkeypatch.setattr(dpo, "in_one_row", lambda model: reads.append(1) or contextlib.nullcontext())
    two = logs("two")
    assert reads and len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, abs=1e-4, rel=1e-4)
