"""How well a policy foresees the right answers: the mean negative log-likelihood of each reference or label after its prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rlaif.prompts import Prompt
from rlaif.render import answer_prompt, label_example
from rlaif.scoring import completion_loss
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHUNK, LONGEST = 64, 1024  # items between two progress reports; tokens read, where the model can


def protocol_hash(prompt: Prompt) -> str:
    """Identifies what is scored: results with different hashes are never compared."""
    return content_id("loss", 1, prompt.sha256, LONGEST)


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[Question],
    prompt: Prompt,
    batch_size: int,
    data_sha256: str,
    on_step: Callable[[int], None] = lambda items: None,
) -> tuple[list[EvalItem], float, int]:
    """One row a question with the metric `loss` (nats a token), their summed loss (nats) and number of tokens.

    Where the prompt leaves no room for the answer the row has no value and says why.

    A reference counts with its end token, a label without: after one nobody reads on. Perplexity is exp(sum / tokens). Needs questions
    with a reference or a label.
    """
    rows, total, count = [], 0.0, 0
    longest = min(LONGEST, model.config.max_position_embeddings - 1)
    for start in range(0, len(questions), CHUNK):
        chunk = questions[start : start + CHUNK]
        texts = [label_example(prompt, tokenizer, q) if q.label else (answer_prompt(tokenizer, prompt, q), q.reference) for q in chunk]
        prompts, targets = [p for p, _ in texts], [t for _, t in texts]
        ends = ["" if q.label else tokenizer.eos_token or "" for q in chunk]
        whole = [target + end for target, end in zip(targets, ends, strict=True)]
        losses = completion_loss(model, tokenizer, prompts, whole, batch_size=batch_size, max_length=longest)
        for q, target, (loss, tokens) in zip(chunk, targets, losses, strict=True):
            total, count = total + loss, count + tokens
            rows.append(
                EvalItem(
                    policy_id=policy_id,
                    benchmark=q.dataset,
                    split=q.split,
                    item_id=q.question_id,
                    metric="loss",
                    prediction="",
                    target=target.strip(),
                    value=loss / tokens if tokens else None,
                    status="scored" if tokens else "failed",
                    reason="" if tokens else "no room for the answer behind its question in the model's window",
                    protocol_hash=protocol_hash(prompt),
                    data_sha256=data_sha256,
                )
            )
        on_step(len(chunk))
    return rows, total, count


def perplexity(total: float, tokens: int) -> float:
    """exp(loss a token), capped where a float ends."""
    return math.exp(min(total / max(tokens, 1), 700.0))
