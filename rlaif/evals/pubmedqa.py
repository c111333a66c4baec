"""PubMedQA(-style): yes, no or maybe after the abstract and question, by log-likelihood (the primary mode) or by what
the policy writes. So are a person's own labelled questions, with options of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rlaif.cluster.policy import SpreadPolicy
from rlaif.config import EvalConfig
from rlaif.models.generate import plan_batches, sample, window
from rlaif.models.logprobs import choice_logprobs
from rlaif.prompts import Prompt
from rlaif.render import encode, label_prompt, options, render
from rlaif.types import LABELS, EvalItem, Question, content_id

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


CHUNK = 100  # items between two progress reports
NEW_TOKENS = 10
UNPARSED = "unparsed"
OnStep = Callable[[int, int], None]


def protocol_hash(prompt: Prompt, settings: EvalConfig, mode: str = "loglik", template: str = "raw") -> str:
    """Identifies how answers are made and scored: results with different hashes are never compared. The gate's own are
    the defaults. Neither the policy prompt nor a setting changes how a label is read.
    """
    if mode == "loglik":
        return content_id("pubmedqa", 1, "log-likelihood", template)
    return content_id("pubmedqa", 1, "generation", template, NEW_TOKENS)


def evaluate(
    model: PreTrainedModel | SpreadPolicy,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[Question],
    prompt: Prompt,
    settings: EvalConfig,
    data_sha256: str,
    on_step: OnStep = lambda items, tokens: None,
    mode: str = "loglik",
    template: str = "raw",
) -> list[EvalItem]:
    """One row a question with the metric `accuracy` (1.0 or 0.0), in their order. `on_step(items, tokens)` after each
    chunk.

    mode "loglik" takes the likeliest label, "generate" reads it out of a greedy answer; template "raw" ends in
    "Answer:", "chat" makes that text a user's turn of the model's chat template. A generated answer without yes, no or
    maybe has the status "unparsed", what was written as its reason, and counts as wrong.
    """
    answer = _loglik if mode == "loglik" else _generate
    answers = answer(model, tokenizer, questions, settings.batch_size, template, on_step)
    protocol = protocol_hash(prompt, settings, mode, template)
    same = {"policy_id": policy_id, "protocol_hash": protocol, "data_sha256": data_sha256}
    rows = []
    for question, (prediction, text) in zip(questions, answers, strict=True):
        *first, last = options(question)
        row = EvalItem.of(question, "accuracy", prediction, float(prediction == question.label), **same)
        rows.append(
            replace(
                row,
                status="unparsed",
                reason=f"no {', '.join(first)} or {last} in {text!r}",
            )
            if prediction == UNPARSED
            else row
        )
    return rows


def parse(text: str, labels: Sequence[str] = LABELS) -> str:
    """The first of `labels` that stands as a word of its own in `text`, whatever its case; else "unparsed"."""
    known = {label.casefold(): label for label in labels}
    longest_first = sorted(known, key=len, reverse=True)
    found = re.search(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?!\w)", text.casefold())
    return known[found[1]] if found else UNPARSED


def prompt_text(tokenizer: PreTrainedTokenizerBase, question: Question, template: str) -> str:
    """What the model reads: the raw text up to "Answer:", or that text as a user's turn of the chat template."""
    raw = label_prompt(question)
    if template == "raw":
        return raw
    return render(tokenizer, [{"role": "user", "content": raw}])


def _loglik(
    model: PreTrainedModel | SpreadPolicy,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    batch_size: int,
    template: str,
    on_step: OnStep,
) -> list[tuple[str, str]]:
    """(label, "") of each question. After a chat template the label follows without a blank, as in
    lm-evaluation-harness.
    """
    blank = " " if template == "raw" else ""
    chunks = [questions[start : start + CHUNK] for start in range(0, len(questions), CHUNK)]
    asked = [
        ([prompt_text(tokenizer, q, template) for q in chunk], [[blank + label for label in options(q)] for q in chunk])
        for chunk in chunks
    ]
    limit = window(model)
    given: Iterator[tuple[int, np.ndarray]]
    if isinstance(model, SpreadPolicy):
        given = model.choices(asked, batch_size, limit)
    else:
        given = (
            (number, choice_logprobs(model, tokenizer, prompts, labels, batch_size, limit))
            for number, (prompts, labels) in enumerate(asked)
        )
    found: dict[int, list[tuple[str, str]]] = {}
    for number, scores in given:
        found[number] = [(options(q)[int(row.argmax())], "") for q, row in zip(chunks[number], scores, strict=True)]
        on_step(len(chunks[number]), 0)
    return [answer for number in range(len(chunks)) for answer in found[number]]


def _generate(
    model: PreTrainedModel | SpreadPolicy,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    batch_size: int,
    template: str,
    on_step: OnStep,
) -> list[tuple[str, str]]:
    """(label or "unparsed", text written) of each question: NEW_TOKENS tokens, greedy."""
    room = window(model) - NEW_TOKENS
    prompts = [_fitting(tokenizer, q, template, room) for q in questions]
    lengths = [len(encode(tokenizer, text)) for text in prompts]
    answers = [("", "")] * len(questions)
    if isinstance(model, SpreadPolicy):
        raise TypeError("labels that a policy writes are read by the command evaluate alone, which has no workers")
    for batch in plan_batches(lengths, batch_size):
        made = sample(model, tokenizer, [prompts[i] for i in batch], max_new_tokens=NEW_TOKENS, seed=0, greedy=True)
        for index, generation in zip(batch, made, strict=True):
            answers[index] = (parse(generation.text, options(questions[index])), generation.text)
        on_step(len(batch), sum(g.n_tokens for g in made))
    return answers


def _fitting(tokenizer: PreTrainedTokenizerBase, question: Question, template: str, room: int) -> str:
    """The prompt in at most `room` tokens: the abstract loses words at its beginning where it is too long, the question
    never does.
    """
    while True:
        prompt = prompt_text(tokenizer, question, template)
        over = len(encode(tokenizer, prompt)) - room
        words = question.context.split(" ")
        if over <= 0 or words == [""]:
            return prompt
        question = replace(
            question, context=" ".join(words[(over + 7) // 8 :])
        )  # a word is seldom more than eight tokens
