from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlaif import policy
from rlaif.config import EvalConfig, ModelConfig
from rlaif.evals import medquad_more
from rlaif.evals.text import sentence_bleu
from rlaif.prompts import load_prompt
from rlaif.render import answer_prompt
from rlaif.types import EvalItem, Question

PROMPT = load_prompt("prompts/policy/answer.md")
REFERENCES = ["rest and water", "a doctor gives tablets", "water " * 400]
QUESTIONS = [
    Question(f"q{i}", "medquad", "gate", f"s{i}", f"g{i}", f"what helps against fever {i} ?", reference=reference)
    for i, reference in enumerate(REFERENCES)
]
ANSWERS = [
    EvalItem("p", "medquad", "gate", q.question_id, "token_f1", "rest and tea", q.reference, 0.5, protocol_hash="h") for q in QUESTIONS
]


def test_bleu_stands_beside_the_answers_own_rows() -> None:
    rows = medquad_more.bleu_rows(ANSWERS)
    assert [(r.item_id, r.metric, r.protocol_hash) for r in rows] == [(f"q{i}", "sentence_bleu", "h") for i in range(3)]
    assert [r.value for r in rows] == [sentence_bleu("rest and tea", r) for r in REFERENCES]


@pytest.mark.slow
def test_loss_is_the_mean_over_the_references_tokens_after_the_prompt(tiny_model: Path) -> None:
    base = policy.load_base(ModelConfig(path=str(tiny_model), threads=1))
    steps: list[int] = []
    rows = medquad_more.loss_rows(base.model, base.tokenizer, QUESTIONS, ANSWERS, PROMPT, EvalConfig(batch_size=2), steps.append)
    found = {(r.item_id, r.metric): r for r in rows}
    assert sum(steps) == 3 and len(found) == 6
    window = base.model.config.max_position_embeddings
    for q in QUESTIONS:
        prompt = answer_prompt(base.tokenizer, PROMPT, q)
        start = len(base.tokenizer.encode(prompt))
        ids = torch.tensor([base.tokenizer.encode(prompt + q.reference)[: window + 1]])
        with torch.inference_mode():
            logp = base.model(ids[:, :-1]).logits[0].log_softmax(-1)
        nats = [-float(logp[n - 1, ids[0, n]]) for n in range(start, ids.shape[1])]
        assert found[q.question_id, "reference_tokens"].value == len(nats)
        assert found[q.question_id, "item_loss"].value == pytest.approx(sum(nats) / len(nats), abs=1e-4)
    assert found["q2", "reference_tokens"].value < 400, "what does not fit behind the question is cut"


@pytest.mark.slow
def test_a_question_that_fills_the_window_has_no_loss(tiny_model: Path) -> None:
    base = policy.load_base(ModelConfig(path=str(tiny_model), threads=1))
    long = Question("q0", "medquad", "gate", "s", "g", "fever " * 400, reference="rest")
    rows = medquad_more.loss_rows(base.model, base.tokenizer, [long], ANSWERS[:1], PROMPT, EvalConfig())
    assert [(r.metric, r.value, r.status) for r in rows] == [("item_loss", None, "failed")] and "no room" in rows[0].reason
