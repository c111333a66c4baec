from __future__ import annotations

import re
from pathlib import Path

from rlaif.config import EvalConfig, ModelConfig
from rlaif.evals.medquad import bleu_rows, evaluate
from rlaif.prompts import load_prompt
from rlaif.text_metrics import sentence_bleu
from rlaif.types import EvalItem, Question

PROMPT = load_prompt("prompts/policy/answer.md")

REFERENCES = ["rest and water", "a doctor gives tablets", "water " * 400]
ANSWERS = [
    EvalItem("p", "medquad", "gate", f"q{i}", "token_f1", "rest and tea", reference, 0.5, protocol_hash="h")
    for i, reference in enumerate(REFERENCES)
]


def test_bleu_stands_beside_the_answers_own_rows() -> None:
    rows = bleu_rows(ANSWERS)
    assert [(r.item_id, r.metric, r.protocol_hash) for r in rows] == [(f"q{i}", "sentence_bleu", "h") for i in range(3)]
    assert [r.value for r in rows] == [sentence_bleu("rest and tea", r) for r in REFERENCES]


def test_a_question_without_room_for_an_answer_has_no_value_in_any_metric(tiny_model: Path) -> None:
    from rlaif.models.base import load_base

    base = load_base(ModelConfig(path=str(tiny_model), threads=1))
    questions = [
        Question(f"q{i}", "medquad", "gate", f"s{i}", f"g{i}", "what helps ?", context, reference="rest and water")
        for i, context in enumerate(["", "fever " * 300, "cough"])
    ]
    settings = EvalConfig(max_new_tokens=4, batch_size=2)
    rows = evaluate(base.model, base.tokenizer, "p", questions, PROMPT, settings, "d")
    rows += bleu_rows([row for row in rows if row.metric == "token_f1"])
    by_item = {q.question_id: [r for r in rows if r.item_id == q.question_id] for q in questions}
    for row in by_item["q1"]:
        assert (row.status, row.value, row.prediction) == ("failed", None, "")
        assert re.search(r"the prompt has [\d,]+ tokens, and 252 leave room for an answer", row.reason)
    assert {r.metric for r in by_item["q1"]} == {"token_f1", "rouge_l", "sentence_bleu"}
    assert all(r.status == "scored" and r.value is not None for name in ("q0", "q2") for r in by_item[name])
