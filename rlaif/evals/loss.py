"""How well a policy foresees the right answers: the negative log-likelihood of each reference or label after its
prompt.

The one protocol of `train`, `evaluate`, `compare` and `export`: all tokens of the text but no end token, nothing that
was cut off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rlaif.prompts import Prompt
from rlaif.render import answer_prompt, label_example
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


LOSS = (
    "reference_nats",
    "reference_tokens",
)  # of one reference: summed negative log-likelihood, and over how many tokens
CHUNK, BATCH = (
    64,
    8,
)  # items between two progress reports, and read together: with a large vocabulary logits are what takes memory
LONGEST = 2048  # tokens read of prompt and reference, where the model can


def protocol_hash(prompt: Prompt) -> str:
    """Identifies what is scored: results with different hashes are never compared."""
    return content_id("reference loss", 2, prompt.sha256, LONGEST)


def reference_losses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    prompt: Prompt,
    on_step: Callable[[int], None] = lambda items: None,
) -> list[tuple[float, int]]:
    """(nats, tokens) of each question's label, or else of its reference, behind its prompt; (0.0, 0) where there is or
    fits none.

    A reference that does not fit into what the model reads is cut at its end.
    """
    from rlaif.models.logprobs import completion_loss

    found: list[tuple[float, int]] = []
    for start in range(0, len(questions), CHUNK):
        chunk = questions[start : start + CHUNK]
        texts = [
            label_example(prompt, tokenizer, q) if q.label else (answer_prompt(tokenizer, prompt, q), q.reference)
            for q in chunk
        ]
        prompts, targets = [p for p, _ in texts], [t for _, t in texts]
        found += completion_loss(model, tokenizer, prompts, targets, batch_size=BATCH, max_length=LONGEST)
        on_step(len(chunk))
    return found


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[Question],
    prompt: Prompt,
    data_sha256: str,
    on_step: Callable[[int], None] = lambda items: None,
) -> list[EvalItem]:
    """Rows with the metrics of LOSS for each question, in their order. Where nothing of a reference fits both have no
    value and say why.
    """
    same = {"policy_id": policy_id, "protocol_hash": protocol_hash(prompt), "data_sha256": data_sha256}
    room = "no room for the reference behind its question in the model's window"
    rows = []
    for q, found in zip(questions, reference_losses(model, tokenizer, questions, prompt, on_step), strict=True):
        for metric, value in zip(LOSS, found, strict=True):
            if found[1]:
                rows.append(EvalItem.of(q, metric, "", float(value), **same))
            else:
                reason = room if q.label or q.reference else "the question has no reference"
                rows.append(EvalItem.of(q, metric, "", None, status="failed", reason=reason, **same))
    return rows


def by_item(nats: Sequence[float], tokens: Sequence[float], loss: float) -> list[float]:
    """One value per item; their mean is `loss`, nats per token over all tokens, and they spread as it does.

    The loss is a ratio of two sums, and a long reference raises both: this is its first-order change by each item (the
    delta method; Cochran 1977, section 2.11), loss + (nats - loss * tokens) / mean tokens.
    """
    each = math.fsum(tokens) / len(tokens)
    return [loss + (v - loss * t) / each for v, t in zip(nats, tokens, strict=True)]


def per_token(nats: Iterable[float | None], tokens: Iterable[float | None]) -> tuple[float | None, int]:
    """Nats a token over all tokens (None where there is none) and their number, from the values of the two metrics of
    LOSS.
    """
    count = sum(n for n in tokens if n is not None)
    return (sum(v for v in nats if v is not None) / count if count else None), int(count)


def of_rows(rows: Sequence[EvalItem]) -> tuple[float | None, int]:
    """:func:`per_token` of the rows of LOSS among `rows`."""
    nats, tokens = ([row.value for row in rows if row.metric == metric] for metric in LOSS)
    return per_token(nats, tokens)


def perplexity(loss: float) -> float:
    """exp(`loss`), a loss in nats per token; capped where a float ends."""
    return math.exp(min(loss, 700.0))
