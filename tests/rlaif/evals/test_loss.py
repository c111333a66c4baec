"""The loss of references against logits read by hand, and what has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlaif.config import ModelConfig
from rlaif.evals import loss
from rlaif.models.base import Base, load_base
from rlaif.prompts import load_prompt
from rlaif.render import answer_prompt, pubmedqa_prompt
from rlaif.types import EvalItem, Question

PROMPT = load_prompt("prompts/policy/answer.md")
QUESTIONS = [
    Question(f"q{i}", "medquad", "gate", f"s{i}", f"g{i}", f"what helps against fever {i} ?", reference=reference)
    for i, reference in enumerate(["rest and water", "a doctor gives tablets", "water " * 400])
]
LABELLED = Question("l", "pubmedqa", "gate", "s", "g", "is it fever ?", "rest helps .", label="maybe")


@pytest.fixture(scope="module")
def base(tiny_model: Path, torch_threads: None) -> Base:
    return load_base(ModelConfig(path=str(tiny_model), threads=1))


def rows_of(base: Base, questions: list[Question]) -> list[EvalItem]:
    return loss.evaluate(base.model, base.tokenizer, "p", questions, PROMPT, "d")


@pytest.mark.slow
def test_nats_and_tokens_of_what_stands_behind_the_prompt(base: Base) -> None:
    steps: list[int] = []
    rows = loss.evaluate(base.model, base.tokenizer, "p", [*QUESTIONS, LABELLED], PROMPT, "d", steps.append)
    found = {(r.item_id, r.metric): r for r in rows}
    assert sum(steps) == 4 and len(found) == len(rows) == 8
    assert {(r.status, r.reason, r.protocol_hash, r.data_sha256) for r in rows} == {
        ("scored", "", loss.protocol_hash(PROMPT), "d")
    }
    window = base.model.config.max_position_embeddings
    texts = {q.question_id: (answer_prompt(base.tokenizer, PROMPT, q), q.reference) for q in QUESTIONS}
    texts["l"] = (pubmedqa_prompt(LABELLED), " maybe")
    for name, (prompt, reference) in texts.items():
        start = len(base.tokenizer.encode(prompt))
        ids = torch.tensor([base.tokenizer.encode(prompt + reference)[: window + 1]])
        with torch.inference_mode():
            logp = base.model(ids[:, :-1]).logits[0].log_softmax(-1)
        nats = [-float(logp[n - 1, ids[0, n]]) for n in range(start, ids.shape[1])]
        assert found[name, "reference_tokens"].value == len(nats)
        assert found[name, "reference_nats"].value == pytest.approx(sum(nats), rel=1e-4)
    assert (found["q2", "reference_tokens"].value or 0) < 400, "what does not fit behind the question is cut"
    assert found["l", "reference_nats"].target == "maybe"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reference", "why"), [("fever " * 400, "rest", "no room"), ("fever ?", "", "has no reference")]
)
def test_where_nothing_can_be_read_both_are_null_and_say_why(base: Base, text: str, reference: str, why: str) -> None:
    none = Question("none", "medquad", "gate", "s", "g", text, reference=reference)
    alone = rows_of(base, [none])
    assert [(r.metric, r.value, r.status) for r in alone] == [(metric, None, "failed") for metric in loss.LOSS]
    assert all(why in r.reason for r in alone)
    assert loss.of_rows(alone) == (None, 0)
    beside = [r for r in rows_of(base, [QUESTIONS[0], none, QUESTIONS[1]]) if r.item_id != "none"]
    nats, tokens = (sum(r.value or 0.0 for r in beside if r.metric == metric) for metric in loss.LOSS)
    whole = loss.of_rows([*alone, *beside])
    assert whole == (pytest.approx(nats / tokens), tokens), "it counts neither as nats nor as tokens"


def test_perplexity_is_the_exponential_and_stays_a_number() -> None:
    assert loss.perplexity(0.0) == 1.0 and loss.perplexity(1.0) == pytest.approx(2.718281828)
    assert loss.perplexity(1e6) < float("inf")
