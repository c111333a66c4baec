"""What `evaluate` says about MedQuAD answers beyond the gate's metrics: BLEU, loss of the references, BERTScore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rlaif.evals import loss
from rlaif.evals.text import sentence_bleu
from rlaif.progress import Screen
from rlaif.prompts import Prompt
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlaif.evals.bertscore import Encoder


def more_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    items: Sequence[EvalItem],
    prompt: Prompt,
    encoder: Encoder | None,
    screen: Screen,
) -> list[EvalItem]:
    """All rows of this module for `items`, the rows of `medquad.evaluate` on `questions`; BERTScore where there is an encoder."""
    answers = [item for item in items if item.metric == "token_f1"]
    bar = screen.bar("loss of references", len(questions))
    rows = bleu_rows(answers)
    rows += loss.evaluate(model, tokenizer, answers[0].policy_id, questions, prompt, answers[0].data_sha256, bar.step)
    bar.finish(f"{len(questions)} references")
    if encoder:
        bar = screen.bar("BERTScore", len(questions))
        rows += bertscore_rows(encoder, answers, bar.step)
        bar.finish(f"{len(questions)} answers")
    return rows


def bleu_rows(answers: Sequence[EvalItem]) -> list[EvalItem]:
    """A row `sentence_bleu` (0-100) for each of `answers`, rows of one metric with the answer as prediction and the reference as target."""
    return [replace(row, metric="sentence_bleu", value=sentence_bleu(row.prediction, row.target)) for row in answers]


def bertscore_rows(encoder: Encoder, answers: Sequence[EvalItem], on_step: Callable[[int], None] = lambda items: None) -> list[EvalItem]:
    """Rows `bertscore_precision`, `bertscore_recall` and `bertscore_f1` for each of `answers`; the encoder is part of their protocol."""
    from rlaif.evals.bertscore import bertscore

    scores = bertscore(encoder, [row.prediction for row in answers], [row.target for row in answers], on_step=on_step)
    rows = []
    for row, score in zip(answers, scores, strict=True):
        protocol = content_id("bertscore", 1, row.protocol_hash, encoder.sha256)
        for name, value in (("precision", score.precision), ("recall", score.recall), ("f1", score.f1)):
            rows.append(replace(row, metric=f"bertscore_{name}", value=value, protocol_hash=protocol))
    return rows
