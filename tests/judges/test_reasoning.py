from __future__ import annotations

import pytest

from judges.parse import Marks, parse_answer, parse_winner, scrape_answer
from judges.reasoning import answer_part, unfinished
from rlaif.prompts import load_judge_prompt

DEFAULT = load_judge_prompt("prompts/judge/default.md")
CLEAN = '{"rationale": "fine", "factual_accuracy": 4, "completeness": 4, "key_point_coverage": 5}'
DRAFT = CLEAN.replace("4", "1").replace("5", "1")


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}</think>{CLEAN}",
        f"Sure. <think>{DRAFT}</think>\n{CLEAN}",
        f"{DRAFT} But no, all is there.\n</think>\n\n{CLEAN}",
        f"<think>a <think>b</think> {DRAFT}</think>{CLEAN}",
        f"<think>one {DRAFT}</think><think>two</think>{CLEAN}",
        f"{CLEAN}<reasoning>{DRAFT}</reasoning>",
        f"<thought>{DRAFT}</thought>{CLEAN}",
        f"[THINK]{DRAFT}[/THINK]{CLEAN}",
        f"<unused94>thought\n{DRAFT}<unused95>{CLEAN}",
        f"<|begin_of_thought|>{DRAFT}<|end_of_thought|>{CLEAN}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{CLEAN}<|return|>",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|>"
        f"<|start|>assistant<|channel|>final <|constrain|>json<|message|>{CLEAN}",
        f"analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{CLEAN}",
        f"analysisWe need marks. {DRAFT}assistantfinal{CLEAN}",
    ],
)
def test_the_marks_of_a_thought_are_no_marks(text: str) -> None:
    marks = parse_answer(text, DEFAULT)
    assert isinstance(marks, Marks), marks
    assert marks.score == 0.8125


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}",
        f"<think>fine</think><think>{DRAFT}",
        f"Let me see. <thinking>{DRAFT}",
        f"[THINK]{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>commentary<|message|>{DRAFT}",
        f"analysisWe need marks. {DRAFT}",
    ],
)
def test_a_thought_without_an_end_has_no_answer(text: str) -> None:
    assert isinstance(parse_answer(text, DEFAULT), str) and isinstance(scrape_answer(text, DEFAULT), str)
    assert isinstance(parse_winner(text.replace(DRAFT, '{"winner": "A"}')), str)


@pytest.mark.parametrize("word", ["</think>", "<think>", "<|channel|>analysis<|message|>", "[THINK]"])
def test_a_clean_answer_may_speak_of_thoughts(word: str) -> None:
    text = CLEAN.replace("fine", f"the answer holds {word}")
    assert answer_part(text) == text and answer_part(f"```json\n{text}\n```") == f"```json\n{text}\n```"


def test_what_comes_after_the_thought_may_be_broken_json() -> None:
    marks = scrape_answer(f"Draft {DRAFT}. Higher.\n</think>\n{CLEAN[:-1]},}}", DEFAULT)
    assert isinstance(marks, Marks) and marks.score == 0.8125


@pytest.mark.parametrize("finish", ["length", "max_tokens", "model_length", "max_output_tokens"])
@pytest.mark.parametrize("text", [f"{DRAFT} But wait", "factual_accuracy: 2", f"<think>{CLEAN}", CLEAN[:-9], ""])
def test_a_reply_that_was_cut_is_no_finished_one(finish: str, text: str) -> None:
    assert unfinished(text, finish, 400) == "the reply was cut off at judge.max_new_tokens = 400"
    assert unfinished(text, "stop", 400) == unfinished(text, "", 400) == ""


@pytest.mark.parametrize("text", [CLEAN, f"{CLEAN}\n\n\n", f"<think>hm</think>{CLEAN}", f"```json\n{CLEAN}\n```"])
def test_a_whole_verdict_at_the_limit_is_a_verdict(text: str) -> None:
    assert unfinished(text, "length", 400) == ""


@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource"])
def test_a_reply_that_broke_off_is_no_finished_one(finish: str) -> None:
    assert finish in unfinished(CLEAN, finish, 400)
