from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.models import answers as module
from rlaif.models.answers import answers, close_id
from rlaif.models.base import Base, load_base
from rlaif.models.generate import Generation, sample
from rlaif.render import encode
from rlaif.types import UsageError

HOW = {"seed": 0, "greedy": True}


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


def script(monkeypatch: pytest.MonkeyPatch, *passes: dict[str, Generation]) -> list[list[str]]:
    """`sample` says by prompt what each pass is told to; returns the prompts of each pass."""
    asked: list[list[str]] = []

    def fake(model, tokenizer, prompts, **how):
        asked.append(list(prompts))
        return [passes[len(asked) - 1][p] for p in prompts]

    monkeypatch.setattr(module, "sample", fake)
    monkeypatch.setattr(module, "close_id", lambda tokenizer: 7)
    return asked


def test_thoughts_have_their_own_budget_and_the_answer_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {
        "thinks": Generation("<think>\nperhaps rest\n", 5, "stop", -2.0, 7),
        "goes on": Generation("<think>\nperhaps perhaps", 9, "length", -4.0),
        "ends": Generation("<think>\nno idea", 4, "stop", -3.0, 2),
        "answers": Generation("Rest.", 3, "stop", -1.0, 2),
    }
    behind = "thinks<think>\nperhaps rest\n</think>\n\n"
    asked = script(monkeypatch, first, {behind: Generation("Rest helps.", 4, "length", -0.5)})
    made = answers(None, None, list(first), thinking=9, max_new_tokens=4, **HOW)  # type: ignore[arg-type]
    assert asked == [list(first), [behind]]
    assert [(m.text, m.finish_reason, m.n_tokens, m.thoughts, m.thought_tokens, m.logprob) for m in made] == [
        ("Rest helps.", "length", 4, "perhaps rest", 5, -2.5),
        ("", "thought", 0, "perhaps perhaps", 9, -4.0),
        ("", "thought", 0, "no idea", 4, -3.0),
        ("Rest.", "stop", 3, "", 0, -1.0),
    ]


def test_a_template_that_opens_the_thought_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = "Q<think>\n"
    second = {"Q<think>\nperhaps\n</think>\n\n": Generation("Rest.", 2, "stop", -1.0, 2)}
    script(monkeypatch, {prompt: Generation("perhaps", 3, "stop", -1.0, 7)}, second)
    (made,) = answers(None, None, [prompt], thinking=9, max_new_tokens=4, **HOW)  # type: ignore[arg-type]
    assert (made.thoughts, made.text) == ("perhaps", "Rest.")
    script(monkeypatch, {prompt: Generation("perhaps", 9, "length", -1.0)}, {})
    (made,) = answers(None, None, [prompt], thinking=9, max_new_tokens=4, **HOW)  # type: ignore[arg-type]
    assert (made.finish_reason, made.text) == ("thought", "")


@pytest.mark.parametrize(
    ("text", "answer", "why", "thoughts"),
    [
        ("Rest helps.", "Rest helps.", "stop", ""),
        ("<think>perhaps</think>Rest helps.", "Rest helps.", "stop", "perhaps"),
        ("<think>perhaps", "", "thought", "perhaps"),
    ],
)
def test_thoughts_that_nobody_asked_for_are_kept_apart_too(monkeypatch, text, answer, why, thoughts) -> None:
    script(monkeypatch, {"Q": Generation(text, 10, "stop", -1.0, 2)})
    (made,) = answers(None, None, ["Q"], thinking=0, max_new_tokens=10, **HOW)  # type: ignore[arg-type]
    assert (made.text, made.finish_reason, made.thoughts) == (answer, why, thoughts)
    assert made.n_tokens + made.thought_tokens == 10 and (made.thought_tokens > 0) == bool(thoughts)


def test_a_real_model_is_stopped_at_the_end_of_its_thoughts(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["what helps against fever ?", "a doctor gives rest"]
    plain = sample(base.model, base.tokenizer, prompts, max_new_tokens=12, **HOW)  # type: ignore[arg-type]
    read = torch.tensor([encode(base.tokenizer, prompts[0])])
    written = base.model.generate(read, max_new_tokens=12, do_sample=False)[0, read.shape[1] :].tolist()
    end = next(i for i in written[2:] if i not in written[:2])
    monkeypatch.setattr(module, "close_id", lambda tokenizer: end)
    stopped = sample(base.model, base.tokenizer, prompts[:1], max_new_tokens=12, also_ends=(end,), **HOW)  # type: ignore[arg-type]
    assert stopped[0].end == end and plain[0].text.startswith(stopped[0].text)
    made = answers(base.model, base.tokenizer, prompts[:1], thinking=12, max_new_tokens=5, **HOW)
    assert made[0].thoughts == stopped[0].text.strip() and made[0].thought_tokens == stopped[0].n_tokens
    assert 0 < made[0].n_tokens <= 5
    assert answers(base.model, base.tokenizer, prompts, thinking=0, max_new_tokens=12, **HOW)[0].text == plain[0].text


def test_a_tokenizer_without_the_token_is_refused(base: Base) -> None:
    with pytest.raises(UsageError, match=r"has no token </think>: it was not made to think"):
        close_id(base.tokenizer)
    from copy import deepcopy

    able = deepcopy(base.tokenizer)
    able.add_tokens(["<think>", "</think>"])
    assert able.decode([close_id(able)], skip_special_tokens=True) == "</think>"
