"""MedQA and MMLU by log-likelihood, zero-shot: the letters after the listed options, and the options' own words without
the list.

`accuracy` (primary) is lm-evaluation-harness' acc of its tasks medqa_4options and mmlu: the likeliest of A, B, C, D
after the options. Letters have one character each, so length normalisation changes nothing there: acc_norm is acc.
`cloze_acc` and `cloze_acc_norm` follow its task mmlu_continuation: the options' texts as continuations, by summed
log-probability and by that divided by the text's characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rlaif.config import EvalConfig
from rlaif.data.choices import LETTERS, ChoiceQuestion
from rlaif.models.generate import window
from rlaif.models.logprobs import choice_logprobs
from rlaif.prompts import Prompt
from rlaif.types import EvalItem, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


CHUNK = 100  # items between two progress reports


def protocol_of(benchmark: str) -> str:
    """Identifies how answers are made and scored: results with different hashes are never compared."""
    return content_id(benchmark, 1, "log-likelihood", "raw", "0-shot")


def letters_prompt(question: ChoiceQuestion) -> str:
    """The question with its options in the words of lm-evaluation-harness; a letter follows after one blank."""
    options = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, question.options, strict=True))
    if question.dataset == "mmlu":
        about = f"The following are multiple choice questions (with answers) about {_subject(question)}.\n\n"
        return f"{about}{question.question}\n{options}Answer:"
    return f"Question: {question.question}\n{options}Answer:"


def cloze_prompt(question: ChoiceQuestion) -> str:
    """The question alone; the text of an option follows after one blank."""
    about = (
        f"The following are questions (with answers) about {_subject(question)}.\n\n"
        if question.dataset == "mmlu"
        else ""
    )
    return f"{about}Question: {question.question}\nAnswer:"


def _subject(question: ChoiceQuestion) -> str:
    return question.qtype.replace("_", " ")


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[ChoiceQuestion],
    prompt: Prompt,
    settings: EvalConfig,
    data_sha256: str,
    on_step: Callable[[int, int], None] = lambda items, tokens: None,
) -> list[EvalItem]:
    """Three rows a question, in their order: `accuracy`, `cloze_acc` and `cloze_acc_norm` (1.0 or 0.0), predictions as
    letters.

    `on_step(items, 0)` after each chunk. The policy prompt is not read.
    """
    rows = []
    limit = window(model)
    for start in range(0, len(questions), CHUNK):
        chunk = questions[start : start + CHUNK]
        letters = [[f" {letter}" for letter in LETTERS]] * len(chunk)
        by_letter = choice_logprobs(
            model, tokenizer, [letters_prompt(q) for q in chunk], letters, settings.batch_size, limit
        )
        texts = [[f" {text}" for text in q.options] for q in chunk]
        by_text = choice_logprobs(model, tokenizer, [cloze_prompt(q) for q in chunk], texts, settings.batch_size, limit)
        characters = np.array([[len(text) for text in q.options] for q in chunk])
        scores = {"accuracy": by_letter, "cloze_acc": by_text, "cloze_acc_norm": by_text / characters}
        for i, question in enumerate(chunk):
            for metric, table in scores.items():
                prediction = LETTERS[int(table[i].argmax())]
                value = float(prediction == question.label)
                more = {
                    "policy_id": policy_id,
                    "protocol_hash": protocol_of(question.dataset),
                    "data_sha256": data_sha256,
                }
                rows.append(EvalItem.of(question, metric, prediction, value, **more))
        on_step(len(chunk), 0)
    return rows
