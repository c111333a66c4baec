"""PubMedQA(-style) by log-likelihood: yes, no or maybe, whichever the policy finds likeliest after the abstract and question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rlaif.config import EvalConfig
from rlaif.render import pubmedqa_prompt
from rlaif.scoring import continuation_logprobs
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LABELS = ("yes", "no", "maybe")
CHUNK = 100  # items between two progress reports


def protocol_hash() -> str:
    """Identifies how answers are made and scored: results with different hashes are never compared."""
    return content_id("pubmedqa", 1, "log-likelihood", "raw")


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[Question],
    settings: EvalConfig,
    data_sha256: str,
    on_step: Callable[[int, int], None] = lambda items, tokens: None,
) -> list[EvalItem]:
    """One row a question with the metric `accuracy` (1.0 or 0.0), in their order. `on_step(items, 0)` after each chunk."""
    rows: list[EvalItem] = []
    for start in range(0, len(questions), CHUNK):
        chunk = questions[start : start + CHUNK]
        scores = continuation_logprobs(
            model, tokenizer, [pubmedqa_prompt(q) for q in chunk], LABELS, settings.batch_size, model.config.max_position_embeddings
        )
        for question, row in zip(chunk, scores, strict=True):
            prediction = LABELS[int(row.argmax())]
            rows.append(
                EvalItem(
                    policy_id=policy_id,
                    benchmark=question.dataset,
                    split=question.split,
                    item_id=question.question_id,
                    metric="accuracy",
                    prediction=prediction,
                    target=question.label,
                    value=float(prediction == question.label),
                    protocol_hash=protocol_hash(),
                    data_sha256=data_sha256,
                )
            )
        on_step(len(chunk), 0)
    return rows
