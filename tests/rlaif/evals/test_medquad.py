from __future__ import annotations

from rlaif.evals.medquad import bleu_rows
from rlaif.text_metrics import sentence_bleu
from rlaif.types import EvalItem

REFERENCES = ["rest and water", "a doctor gives tablets", "water " * 400]
ANSWERS = [
    EvalItem("p", "medquad", "gate", f"q{i}", "token_f1", "rest and tea", reference, 0.5, protocol_hash="h")
    for i, reference in enumerate(REFERENCES)
]


def test_bleu_stands_beside_the_answers_own_rows() -> None:
    rows = bleu_rows(ANSWERS)
    assert [(r.item_id, r.metric, r.protocol_hash) for r in rows] == [(f"q{i}", "sentence_bleu", "h") for i in range(3)]
    assert [r.value for r in rows] == [sentence_bleu("rest and tea", r) for r in REFERENCES]
