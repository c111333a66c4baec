"""Scoring against one-at-a-time computations written out here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.models import logprobs
from rlaif.models.base import Base, load_base
from rlaif.models.logprobs import choice_logprobs, completion_loss, continuation_logprobs
from rlaif.types import RlaifError

CONTEXTS = [
    "Question: what helps against fever ? Answer:",
    "is asthma cough Answer:",
    "Answer:",
    "the doctor gives rest and water . Question: is the fever of asthma a cough ? Answer:",
]


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


def naive(base: Base, context: str, choice: str, max_length: int, gap: str = " ") -> float:
    encode = lambda text: base.tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    start = encode(context)
    target = encode(f"{context}{gap}{choice}")[len(start) :]
    read = (start + target)[-(max_length + 1) :][:-1]
    target = target[-len(read) :]
    with torch.inference_mode():
        logp = base.model(torch.tensor([read])).logits[0].float().log_softmax(-1)
    return sum(float(logp[len(read) - len(target) + i, token]) for i, token in enumerate(target))


@pytest.mark.parametrize("choices", [["yes", "no", "maybe"], ["yes", "no rest", "maybe water and tablets"]])
@pytest.mark.parametrize("max_length", [256, 6, 2])
@pytest.mark.parametrize("shares", [True, False])
def test_choices_follow_the_rule_of_lm_eval(
    base: Base, choices: list[str], max_length: int, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logprobs, "can_plant", lambda *_: shares)
    found = continuation_logprobs(base.model, base.tokenizer, CONTEXTS, choices, batch_size=3, max_length=max_length)
    single = [len(base.tokenizer.encode(f" {choice}")) == 1 for choice in choices]
    assert all(single) or not any(single[1:])  # both ways of computing are tried
    expected = np.array([[naive(base, c, choice, max_length) for choice in choices] for c in CONTEXTS])
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_blanks_at_the_end_of_a_context_are_scored_with_the_choice(base: Base) -> None:
    found = choice_logprobs(
        base.model, base.tokenizer, ["is asthma cough Answer:\n", "fever"], [["yes", "no"], [" a", " no"]], 4, 64
    )
    one, two = (naive(base, "is asthma cough Answer:", choice, 64, "\n") for choice in ("yes", "no"))
    np.testing.assert_allclose(found[0], [one, two], atol=1e-4)


def test_no_contexts_give_an_empty_table(base: Base) -> None:
    assert continuation_logprobs(base.model, base.tokenizer, [], ["yes", "no"], 4, 64).shape == (0, 2)


def test_completion_loss_is_the_mean_loss_of_the_model(base: Base) -> None:
    prompts, completions = (
        ["what helps ?", "a doctor gives", "is asthma fever ?"],
        [" rest and water .", "", " no<|im_end|>"],
    )
    found = completion_loss(base.model, base.tokenizer, prompts, completions, batch_size=2)
    assert [count for _, count in found] == [4, 0, 2]  # words are single tokens here
    assert found[1] == (0.0, 0)
    for i in (0, 2):
        ids = torch.tensor([base.tokenizer.encode(prompts[i] + completions[i], add_special_tokens=False)])
        labels = ids.clone()
        labels[:, : -found[i][1]] = -100
        with torch.inference_mode():
            expected = float(base.model(ids, labels=labels).loss) * found[i][1]
        assert found[i][0] == pytest.approx(expected, abs=1e-4)


def test_a_choice_without_tokens_is_an_error(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.models.logprobs.encode", lambda tokenizer, text, then="": [5])
    with pytest.raises(RlaifError, match="no tokens"):
        continuation_logprobs(base.model, base.tokenizer, ["Answer:"], ["yes"], 4, 64)
