from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlaif.config import EvalConfig, ModelConfig
from rlaif.data.choices import LETTERS, ChoiceQuestion
from rlaif.evals import choices
from rlaif.models.base import load_base
from rlaif.prompts import load_prompt

PROMPT = load_prompt("prompts/policy/answer.md")


def question(
    i: int, dataset: str = "medqa", options: tuple[str, ...] = ("rest", "water and tablets", "cough", "a doctor")
) -> ChoiceQuestion:
    text = f"what helps against fever {i} ?"
    return ChoiceQuestion(
        f"q{i}", dataset, "sealed", f"s{i}", "g", text, label="B", qtype="college_medicine", options=options
    )


def test_prompts_are_those_of_lm_eval() -> None:
    listed = "A. rest\nB. water and tablets\nC. cough\nD. a doctor\nAnswer:"
    assert choices.letters_prompt(question(1)) == f"Question: what helps against fever 1 ?\n{listed}"
    assert choices.cloze_prompt(question(1)) == "Question: what helps against fever 1 ?\nAnswer:"
    about = "The following are multiple choice questions (with answers) about college medicine.\n\n"
    assert choices.letters_prompt(question(1, "mmlu")) == f"{about}what helps against fever 1 ?\n{listed}"
    about = "The following are questions (with answers) about college medicine.\n\n"
    assert choices.cloze_prompt(question(1, "mmlu")) == f"{about}Question: what helps against fever 1 ?\nAnswer:"


def test_a_benchmark_has_a_protocol_of_its_own() -> None:
    assert choices.protocol_of("medqa") != choices.protocol_of("mmlu")


@pytest.mark.slow
def test_predictions_by_hand(tiny_model: Path) -> None:
    base = load_base(ModelConfig(path=str(tiny_model), threads=1))

    def likelihood(prompt: str, answer: str) -> float:
        start, whole = base.tokenizer.encode(prompt), base.tokenizer.encode(f"{prompt} {answer}")
        with torch.inference_mode():
            logp = base.model(torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(float(logp[i - 1, whole[i]]) for i in range(len(start), len(whole)))

    longer = ("a", "rest rest rest rest rest rest rest", "water", "fever of the doctor")
    questions = [question(i, options=longer if i % 2 else question(0).options) for i in range(6)]
    questions.append(
        question(7, options=(" ".join(["tablets"] * 300), "rest", "water", "cough"))
    )  # longer than the model's window
    steps: list[int] = []
    items = choices.evaluate(
        base.model,
        base.tokenizer,
        "p",
        questions,
        PROMPT,
        EvalConfig(batch_size=4),
        "d",
        lambda n, tokens: steps.append(n),
    )
    assert sum(steps) == 7 and [i.item_id for i in items] == [q.question_id for q in questions for _ in range(3)]
    found = {(i.item_id, i.metric): i for i in items}
    normalising_matters = False
    for q in questions[:6]:
        letters = [likelihood(choices.letters_prompt(q), letter) for letter in LETTERS]
        texts = [likelihood(choices.cloze_prompt(q), text) for text in q.options]
        normalised = [value / len(text) for value, text in zip(texts, q.options, strict=True)]
        for metric, values in (("accuracy", letters), ("cloze_acc", texts), ("cloze_acc_norm", normalised)):
            row = found[q.question_id, metric]
            assert row.prediction == LETTERS[values.index(max(values))], metric
            assert row.value == float(row.prediction == "B") and row.target == "B"
        normalising_matters |= texts.index(max(texts)) != normalised.index(max(normalised))
    assert normalising_matters
