"""MedQuAD(-style) as generation: a greedy answer to each question, scored against its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rlaif.cluster.policy import SpreadPolicy
from rlaif.config import EvalConfig
from rlaif.evals import loss
from rlaif.evals.consistency import consistency
from rlaif.models.answers import Reply
from rlaif.models.answers import answers as sample_answers
from rlaif.models.generate import plan_batches, window
from rlaif.prompts import Prompt
from rlaif.render import answer_prompt, encode
from rlaif.screen import Screen
from rlaif.text_metrics import rouge_l, sentence_bleu, token_f1
from rlaif.types import EvalItem, Question, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlaif.evals.bertscore import Encoder


NO_REFERENCE = "the question has no reference answer to compare with; a judge by rubrics marks it"
SCORES = {"token_f1": token_f1, "rouge_l": rouge_l, "consistency": consistency}  # (answer, reference) -> 0-1
# A change of any of them gets a new number. 1: "not", "no", "may", "can" and "more" were stop words of token F1, and
# there was no consistency.
SCORING = 2


def protocol_hash(prompt: Prompt, settings: EvalConfig, scoring: int = SCORING) -> str:
    """Identifies how answers are made and scored: results with different hashes are never compared."""
    return content_id("medquad", scoring, prompt.sha256, "greedy", settings.max_new_tokens)


def earlier_hashes(prompt: Prompt, settings: EvalConfig) -> list[str]:
    """The protocols under which the same answers were scored in another way, the newest first."""
    return [protocol_hash(prompt, settings, scoring) for scoring in range(SCORING - 1, 0, -1)]


def rescored(rows: Sequence[EvalItem], protocol: str) -> list[EvalItem]:
    """The stored answers among `rows` scored as today, as rows of `protocol`. A judge's marks keep their values.

    `rows` are results of an earlier protocol (see :func:`earlier_hashes`), of any policies and items.
    """
    made = [replace(row, protocol_hash=protocol) for row in rows if row.metric not in SCORES]
    for row in rows:
        if row.metric == "token_f1":
            for metric, score in SCORES.items():
                value = None if row.status == "failed" else score(row.prediction, row.target)
                made.append(replace(row, metric=metric, value=value, protocol_hash=protocol))
    return made


def evaluate(
    model: PreTrainedModel | SpreadPolicy,
    tokenizer: PreTrainedTokenizerBase,
    policy_id: str,
    questions: Sequence[Question],
    prompt: Prompt,
    settings: EvalConfig,
    data_sha256: str,
    on_step: Callable[[int, int], None] = lambda items, tokens: None,
) -> list[EvalItem]:
    """Rows with the metrics of `SCORES` for each question, in their order.

    `on_step(items, tokens)` is called after each batch. A question with so long a context that no answer fits behind it
    has no value, and its rows say why.
    """
    protocol = {"policy_id": policy_id, "protocol_hash": protocol_hash(prompt, settings), "data_sha256": data_sha256}
    rows = []
    given = greedy_answers(model, tokenizer, questions, prompt, settings, on_step)
    for q, (answer, why) in zip(questions, given, strict=True):
        for metric, score in SCORES.items():
            if not (why or q.reference):
                rows.append(EvalItem.of(q, metric, answer, None, status="unparsed", reason=NO_REFERENCE, **protocol))
            elif why:
                rows.append(EvalItem.of(q, metric, "", None, status="failed", reason=why, **protocol))
            else:
                rows.append(EvalItem.of(q, metric, answer, score(answer, q.reference), **protocol))
    return rows


def greedy_answers(
    model: PreTrainedModel | SpreadPolicy,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    prompt: Prompt,
    settings: EvalConfig,
    on_step: Callable[[int, int], None] = lambda items, tokens: None,
) -> list[tuple[str, str]]:
    """The greedy answer to each question, in their order, and "", or "" and why there is none: see :func:`evaluate`.

    An answer is without its thoughts, and empty where those did not end: that is the policy's own fault.
    """
    prompts = [answer_prompt(tokenizer, prompt, q, thinking=prompt.thinking > 0) for q in questions]
    lengths = [len(encode(tokenizer, text)) for text in prompts]
    room = window(model) - settings.max_new_tokens - prompt.thinking
    fit = [i for i, length in enumerate(lengths) if length <= room]
    answers = [""] * len(questions)
    batches = [[fit[i] for i in planned] for planned in plan_batches([lengths[i] for i in fit], settings.batch_size)]
    asked = [[prompts[i] for i in batch] for batch in batches]
    how = {"thinking": prompt.thinking, "max_new_tokens": settings.max_new_tokens, "seed": 0, "greedy": True}
    given: Iterator[tuple[int, list[Reply]]]
    if isinstance(model, SpreadPolicy):
        given = model.answers(asked, **how)
    else:
        given = ((number, sample_answers(model, tokenizer, texts, **how)) for number, texts in enumerate(asked))
    for number, generations in given:
        batch = batches[number]
        for index, generation in zip(batch, generations, strict=True):
            answers[index] = generation.text
        on_step(len(batch), sum(g.n_tokens + g.thought_tokens for g in generations))
    whys = [
        f"the prompt has {length:,} tokens, and {room:,} leave room for an answer" if length > room else ""
        for length in lengths
    ]
    return list(zip(answers, whys, strict=True))


def more_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    items: Sequence[EvalItem],
    prompt: Prompt,
    encoder: Encoder | None,
    screen: Screen,
) -> list[EvalItem]:
    """The further rows for `items`, the rows of `medquad.evaluate` on `questions`: sentence BLEU and loss.

    With an encoder there is BERTScore too.
    """
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
    """A row `sentence_bleu` (0-100) for each of `answers`.

    Those are rows of one metric, with the answer as prediction and the reference as target. A question that was not
    answered has no value here either.
    """
    return [
        replace(
            row,
            metric="sentence_bleu",
            value=None if row.status == "failed" else sentence_bleu(row.prediction, row.target),
        )
        for row in answers
    ]


def bertscore_rows(
    encoder: Encoder, answers: Sequence[EvalItem], on_step: Callable[[int], None] = lambda items: None
) -> list[EvalItem]:
    """Rows `bertscore_precision`, `bertscore_recall` and `bertscore_f1` for each of `answers`.

    The encoder is part of their protocol.
    """
    from rlaif.evals.bertscore import bertscore

    given = [row for row in answers if row.status != "failed"]
    scores = bertscore(encoder, [row.prediction for row in given], [row.target for row in given], on_step=on_step)
    found = {row.item_id: score for row, score in zip(given, scores, strict=True)}
    rows = []
    for row in answers:
        protocol = content_id("bertscore", 1, row.protocol_hash, encoder.sha256)
        score = found.get(row.item_id)
        for name in ("precision", "recall", "f1"):
            value = None if score is None else getattr(score, name)
            rows.append(replace(row, metric=f"bertscore_{name}", value=value, protocol_hash=protocol))
    return rows
