"""Sampling: the same seed gives the same answers, log-probabilities are those of the text, batches are fixed."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.models.base import Base, load_base
from rlaif.models.generate import _nucleus, plan_batches, sample, window
from rlaif.render import encode
from rlaif.types import UsageError

PROMPTS = [
    "what helps against asthma ?",
    "cough",
    "a doctor gives water and rest and tablets against fever",
    "is the cough of asthma maybe fever ?",
]


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


def test_batches_are_sorted_by_length_and_cover_everything_once() -> None:
    assert plan_batches([3, 9, 3, 5, 9], 2) == [[1, 4], [3, 0], [2]]
    assert plan_batches([], 4) == []


def test_the_seed_decides_the_answers(base: Base) -> None:
    def run(seed: int) -> list[object]:
        return list(
            sample(base.model, base.tokenizer, PROMPTS, temperature=1.0, top_p=0.95, max_new_tokens=12, seed=seed)
        )

    first = run(1)
    torch.manual_seed(99)  # the global generator has no say
    assert run(1) == first != run(2)


@pytest.mark.parametrize("greedy", [True, False])
def test_logprob_is_that_of_the_tokens_with_the_end_token(
    base: Base, greedy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base.tokenizer, "decode", lambda ids, **_: " ".join(map(str, ids)))  # the very tokens, as text
    prompts = PROMPTS * 8
    ends = [2, *range(256, 300)] if not greedy else [2]  # a random model rarely samples one certain token
    monkeypatch.setattr(base.model.generation_config, "eos_token_id", ends)
    found = sample(
        base.model, base.tokenizer, prompts, temperature=2.0, top_p=0.95, max_new_tokens=10, seed=3, greedy=greedy
    )
    if not greedy:
        assert {g.finish_reason for g in found} == {"stop", "length"}
    for prompt, generation in zip(prompts, found, strict=True):
        start = base.tokenizer.encode(prompt)
        tokens = [int(t) for t in generation.text.split()]
        assert len(tokens) + (generation.finish_reason == "stop") == generation.n_tokens <= 10
        with torch.inference_mode():
            logp = base.model(torch.tensor([start + tokens])).logits[0].log_softmax(-1)
        expected = sum(float(logp[len(start) - 1 + i, token]) for i, token in enumerate(tokens))
        last = [float(logp[-1, end]) for end in ends] if generation.finish_reason == "stop" else [0.0]
        assert min(abs(expected + end - generation.logprob) for end in last) < 1e-3


def test_greedy_is_generate(base: Base) -> None:
    batch = base.tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side="left")
    with torch.inference_mode():
        rows = base.model.generate(**batch, do_sample=False, max_new_tokens=10)[:, batch["input_ids"].shape[1] :]
    expected = base.tokenizer.batch_decode(rows, skip_special_tokens=True)
    assert [
        g.text for g in sample(base.model, base.tokenizer, PROMPTS, max_new_tokens=10, seed=0, greedy=True)
    ] == expected


def test_answers_do_not_depend_on_who_else_is_in_the_batch_when_greedy(base: Base) -> None:
    together = sample(base.model, base.tokenizer, PROMPTS, max_new_tokens=10, seed=0, greedy=True)
    alone = [sample(base.model, base.tokenizer, [p], max_new_tokens=10, seed=0, greedy=True)[0] for p in PROMPTS]
    assert [g.text for g in together] == [g.text for g in alone]
    assert [g.logprob for g in together] == pytest.approx([g.logprob for g in alone], abs=1e-3)
    assert sample(base.model, base.tokenizer, [], max_new_tokens=4, seed=0) == []


def test_the_nucleus_has_the_right_shares() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(20_000, -1)
    draws = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(_nucleus(scores, 0.8, draws), minlength=4) / 20_000
    assert shares.tolist() == pytest.approx([0.625, 0.375, 0.0, 0.0], abs=0.015)
    edge = torch.tensor([0.0, 1.0 - 2**-24])
    assert _nucleus(scores[:2], 0.8, edge).tolist() == [0, 1]


def test_flat_rows_fall_back_to_the_whole_vocabulary() -> None:
    scores = torch.zeros(4000, 1000)
    draws = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    assert len(_nucleus(scores, 0.95, draws).unique()) > 900


def test_an_answer_ends_where_the_window_does(base: Base) -> None:
    """Each at its own end: the short prompt goes on after the long one has used its room up."""
    long = "cough " * 120
    room = window(base.model) - len(encode(base.tokenizer, long))
    assert window(base.model) == 256 and 0 < room < 200
    never = [10**6]  # no token ends an answer
    with mock.patch("rlaif.models.generate.end_ids", return_value=never):
        short, last = sample(base.model, base.tokenizer, ["cough", long], max_new_tokens=room + 7, seed=3)
    assert (last.n_tokens, last.finish_reason) == (room, "length")
    assert (short.n_tokens, short.finish_reason) == (room + 7, "length")


def test_a_prompt_that_fills_the_window_is_refused(base: Base) -> None:
    with pytest.raises(UsageError, match=r"1 of 2 prompts leave no room .* this model reads 256"):
        sample(base.model, base.tokenizer, ["cough", "cough " * 300], max_new_tokens=4, seed=0)


def test_a_row_that_is_done_may_stand_at_the_end_of_the_window(base: Base) -> None:
    """Done rows leave a few at a time. A model with a table of positions has none for them behind its window."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    long = "a doctor gives water and rest and tablets against fever"
    width = len(encode(base.tokenizer, long))
    config = GPT2Config(
        vocab_size=len(base.tokenizer), n_positions=width + 4, n_embd=16, n_layer=1, n_head=2, eos_token_id=0
    )
    made = sample(
        GPT2LMHeadModel(config).eval(), base.tokenizer, [long, *["cough"] * 60], max_new_tokens=width + 4, seed=1
    )  # fmt: skip
    assert made[0].n_tokens == 4 and sum(m.n_tokens > 8 for m in made[1:]) > 55
