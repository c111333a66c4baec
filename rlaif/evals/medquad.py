"""MedQuAD(-style) as generation: a greedy answer to each question, scored against its reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rlaif.config import EvalConfig
from rlaif.evals.text import rouge_l, token_f1
from rlaif.prompts import Prompt
from rlaif.render import answer_prompt
from rlaif.sample import plan_batches, sample
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def protocol_hash(prompt: Prompt, settings: EvalConfig) -> str:
    """Identifies how answers are made and scored: results with different hashes are never compared."""
    return content_id("medquad", 1, prompt.sha256, "greedy", settings.max_new_tokens)


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[Question],
    prompt: Prompt,
    settings: EvalConfig,
    data_sha256: str,
    on_step: Callable[[int, int], None] = lambda items, tokens: None,
) -> list[EvalItem]:
    """Rows with the metrics `token_f1` and `rouge_l` for each question, in their order. `on_step(items, tokens)` after each batch."""
    prompts = [answer_prompt(tokenizer, prompt, q) for q in questions]
    lengths = [len(ids) for ids in tokenizer(prompts, add_special_tokens=False)["input_ids"]] if prompts else []
    answers = [""] * len(questions)
    for batch in plan_batches(lengths, settings.batch_size):
        made = sample(model, tokenizer, [prompts[i] for i in batch], max_new_tokens=settings.max_new_tokens, seed=0, greedy=True)
        for index, generation in zip(batch, made, strict=True):
            answers[index] = generation.text
        on_step(len(batch), sum(g.n_tokens for g in made))
    same = {"policy_id": policy_id, "protocol_hash": protocol_hash(prompt, settings), "data_sha256": data_sha256}
    return [
        EvalItem.of(q, metric, answer, score(answer, q.reference), **same)
        for q, answer in zip(questions, answers, strict=True)
        for metric, score in (("token_f1", token_f1), ("rouge_l", rouge_l))
    ]
