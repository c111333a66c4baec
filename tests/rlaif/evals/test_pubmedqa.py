from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.config import EvalConfig, ModelConfig
from rlaif.evals import pubmedqa
from rlaif.models.base import load_base
from rlaif.models.generate import Generation
from rlaif.prompts import load_prompt
from rlaif.render import pubmedqa_prompt
from rlaif.types import Question, content_id

PROMPT = load_prompt("prompts/policy/answer.md")


def question(i: int, context: str = "is asthma cough .", label: str = "yes") -> Question:
    return Question(f"q{i}", "pubmedqa", "gate", f"s{i}", f"g{i}", f"is fever {i} a cough ?", context, label=label)


QUESTIONS = [question(0), question(1, "a doctor gives rest and water .", "no"), question(2, label="maybe")]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" yes", "yes"),
        ("No, it does not", "no"),
        ("\nMAYBE.", "maybe"),
        ("It is not known: maybe yes", "maybe"),
        ("the answer is (no)", "no"),
        ("nothing is known about yesterday", "unparsed"),
        ("", "unparsed"),
    ],
)
def test_the_first_label_that_is_a_word(text: str, label: str) -> None:
    assert pubmedqa.parse(text) == label


def test_each_way_of_asking_has_its_own_protocol() -> None:
    ways = [("loglik", "raw"), ("loglik", "chat"), ("generate", "raw"), ("generate", "chat")]
    assert len({pubmedqa.protocol_hash(PROMPT, EvalConfig(), mode, template) for mode, template in ways}) == 4
    # ... and that of the gate stays what it was in runs that exist.
    assert pubmedqa.protocol_hash(PROMPT, EvalConfig()) == content_id("pubmedqa", 1, "log-likelihood", "raw")


class Tokenizer:
    """A word is a token."""

    chat_template = "yes"

    def encode(self, text: str, add_special_tokens: bool = False) -> list[str]:
        return text.split()

    def __call__(self, texts: Sequence[str], add_special_tokens: bool = False) -> dict[str, Any]:
        return {"input_ids": [text.split() for text in texts]}

    def apply_chat_template(self, turns: list[dict[str, str]], **_: Any) -> str:
        return "".join(f"<{t['role']}>{t['content']}</{t['role']}>" for t in turns) + "<assistant>"


def generate(
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, str],
    questions: Sequence[Question],
    template: str = "raw",
    window: int = 400,
) -> tuple[list[Any], list[str]]:
    asked: list[str] = []

    def fake(
        model: Any, tokenizer: Any, prompts: list[str], *, max_new_tokens: int, seed: int, greedy: bool
    ) -> list[Generation]:
        assert (max_new_tokens, greedy) == (10, True)
        asked.extend(prompts)
        return [Generation(next(v for k, v in said.items() if k in p), 3, "stop", 0.0) for p in prompts]

    monkeypatch.setattr("rlaif.evals.pubmedqa.sample", fake)
    model: Any = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=window))
    tokenizer: Any = Tokenizer()
    settings = EvalConfig(batch_size=2)
    steps: list[int] = []

    def step(items: int, tokens: int) -> None:
        steps.append(items)

    items = pubmedqa.evaluate(model, tokenizer, "p", questions, PROMPT, settings, "d", step, "generate", template)
    assert sum(steps) == len(questions)
    return items, asked


def test_generated_answers_are_parsed_and_what_is_not_is_wrong_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"fever 0": " Yes.", "fever 1": "I think it is", "fever 2": " no"}
    items, asked = generate(monkeypatch, said, QUESTIONS)
    assert [(i.item_id, i.prediction, i.value, i.status) for i in items] == [
        ("q0", "yes", 1.0, "scored"),
        ("q1", "unparsed", 0.0, "unparsed"),
        ("q2", "no", 0.0, "scored"),
    ]
    assert "I think it is" in items[1].reason and not items[0].reason
    assert sorted(asked) == sorted(map(pubmedqa_prompt, QUESTIONS))
    assert {i.protocol_hash for i in items} == {pubmedqa.protocol_hash(PROMPT, EvalConfig(), "generate", "raw")}


def test_the_chat_template_makes_the_question_a_users_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = generate(monkeypatch, {"fever": "yes"}, QUESTIONS[:1], "chat")
    assert asked == [f"<user>{pubmedqa_prompt(QUESTIONS[0])}</user><assistant>"]


def test_a_long_abstract_loses_its_beginning_and_never_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    long = question(7, " ".join(f"w{i}" for i in range(200)))
    for template in ("raw", "chat"):
        _, (asked,) = generate(monkeypatch, {"fever": "yes"}, [long], template, window=60)
        assert len(asked.split()) <= 50 and "w199\nQuestion: is fever 7 a cough ?" in asked and "Abstract: w" in asked
        assert len(asked.split()) > 40, "no more is lost than must be"
        assert "w10 " not in asked


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["loglik", "generate"])
@pytest.mark.parametrize("template", ["raw", "chat"])
def test_a_real_model_answers(tiny_model: Path, mode: str, template: str) -> None:
    base = load_base(ModelConfig(path=str(tiny_model), threads=1))
    settings = EvalConfig(batch_size=2)
    items = pubmedqa.evaluate(
        base.model, base.tokenizer, "p", QUESTIONS, PROMPT, settings, "d", mode=mode, template=template
    )
    assert [i.item_id for i in items] == ["q0", "q1", "q2"]
    known = {*pubmedqa.LABELS, "unparsed"} if mode == "generate" else set(pubmedqa.LABELS)
    assert {i.prediction for i in items} <= known
    assert all(i.value == float(i.prediction == i.target) for i in items)


@pytest.mark.slow
def test_chat_likelihoods_are_of_labels_without_a_blank(tiny_model: Path) -> None:
    import torch

    base = load_base(ModelConfig(path=str(tiny_model), threads=1))
    expected = []
    for q in QUESTIONS:
        prompt = base.tokenizer.apply_chat_template(
            [{"role": "user", "content": pubmedqa_prompt(q)}], tokenize=False, add_generation_prompt=True
        )
        sums = []
        for label in pubmedqa.LABELS:
            start, whole = base.tokenizer.encode(prompt), base.tokenizer.encode(prompt + label)
            with torch.inference_mode():
                logp = base.model(torch.tensor([whole])).logits[0].log_softmax(-1)
            sums.append(sum(float(logp[n - 1, whole[n]]) for n in range(len(start), len(whole))))
        expected.append(pubmedqa.LABELS[sums.index(max(sums))])
    items = pubmedqa.evaluate(base.model, base.tokenizer, "p", QUESTIONS, PROMPT, EvalConfig(), "d", template="chat")
    assert [i.prediction for i in items] == expected
