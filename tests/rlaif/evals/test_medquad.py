from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rlaif.config import EvalConfig, ModelConfig
from rlaif.evals.medquad import SCORES, SCORING, bleu_rows, earlier_hashes, evaluate, protocol_hash, rescored
from rlaif.prompts import load_prompt
from rlaif.text_metrics import sentence_bleu
from rlaif.types import EvalItem, Question, content_id

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
    assert {r.metric for r in by_item["q1"]} == {*SCORES, "sentence_bleu"}
    assert all(r.status == "scored" and r.value is not None for name in ("q0", "q2") for r in by_item[name])


def test_another_way_of_scoring_is_another_protocol() -> None:
    today, earlier = protocol_hash(PROMPT, EvalConfig()), earlier_hashes(PROMPT, EvalConfig())
    assert len({today, *earlier}) == SCORING, "none is that of another"
    assert earlier[-1] == content_id("medquad", 1, PROMPT.sha256, "greedy", EvalConfig().max_new_tokens)


def test_stored_answers_are_scored_again_and_marks_stay() -> None:
    same = {"protocol_hash": "old", "data_sha256": "d"}
    told = "It is not contagious."
    answer = EvalItem("p", "medquad", "gate", "q", "token_f1", "It is contagious.", told, 1.0, **same)
    mark = replace(answer, metric="quality", value=0.7, judge_id="j")
    unanswered = replace(answer, item_id="r", prediction="", value=None, status="failed", reason="too long")
    made = {(row.item_id, row.metric): row for row in rescored([answer, mark, unanswered], "new")}
    assert {row.protocol_hash for row in made.values()} == {"new"}
    assert made["q", "token_f1"].value == 2 / 3 and made["q", "consistency"].value == 0.0
    assert made["q", "quality"] == replace(mark, protocol_hash="new")
    assert {made["r", metric].value for metric in SCORES} == {None} and made["r", "rouge_l"].reason == "too long"
