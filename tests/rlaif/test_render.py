from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.prompts import Prompt, load_prompt
from rlaif.render import answer_prompt, label_example, messages, pubmedqa_prompt
from rlaif.types import Question

PROMPT = Prompt("p", "policy", "Be brief.", "Leaflet: {context}\nQuestion: {question}", "0" * 64, "")
ANSWER = Path(__file__).parents[2] / "prompts" / "policy" / "answer.md"
QUESTION = Question(
    "q",
    "medquad_style",
    "gate",
    "s",
    "g",
    "What is gout?",
    context="Gout hurts.",
    reference="SECRET ANSWER",
    key_points=("SECRET POINT",),
)
LABELLED = Question(
    "q",
    "pubmedqa_style",
    "gate",
    "s",
    "g",
    "Does it help?",
    context="Trial text.",
    reference="SECRET CONCLUSION",
    label="maybe",
)


def tokenizer(template: str | None) -> Any:
    def apply(turns: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        text = "".join(f"<{t['role']}>{t['content']}\n" for t in turns)
        return text + "<assistant>" if add_generation_prompt else text

    return SimpleNamespace(chat_template=template, apply_chat_template=apply)


def test_the_turns_are_the_prompt_filled_in() -> None:
    assert messages(PROMPT, "What is gout?", "Gout hurts.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Leaflet: Gout hurts.\nQuestion: What is gout?"},
    ]


def test_without_a_leaflet_its_line_vanishes() -> None:
    assert messages(PROMPT, "What is gout?")[1]["content"] == "Question: What is gout?"


def test_braces_in_a_question_stay_what_they_are() -> None:
    assert messages(PROMPT, "{context} {x}", "leaflet")[1]["content"] == "Leaflet: leaflet\nQuestion: {context} {x}"


def test_the_chat_template_is_used_where_there_is_one() -> None:
    text = answer_prompt(tokenizer("any"), PROMPT, QUESTION)
    assert text == "<system>Be brief.\n<user>Leaflet: Gout hurts.\nQuestion: What is gout?\n<assistant>"


@pytest.mark.parametrize("template", [None, ""])
def test_a_base_without_a_chat_template_gets_paragraphs(template: str | None) -> None:
    text = answer_prompt(tokenizer(template), PROMPT, QUESTION)
    assert text == "Be brief.\n\nLeaflet: Gout hurts.\nQuestion: What is gout?\n\nAnswer:"


def test_pubmedqa_is_asked_in_the_words_of_the_harness() -> None:
    assert pubmedqa_prompt(LABELLED) == "Abstract: Trial text.\nQuestion: Does it help?\nAnswer:"


def test_no_prompt_shows_the_answer() -> None:
    shipped = load_prompt(ANSWER)
    texts = [
        answer_prompt(tokenizer(t), p, q)
        for t in (None, "any")
        for p in (PROMPT, shipped)
        for q in (QUESTION, LABELLED)
    ]
    assert all("SECRET" not in text and "maybe" not in text for text in [*texts, pubmedqa_prompt(LABELLED)])


def shipped(name: str) -> Prompt:
    return load_prompt(ANSWER.with_name(name))


def test_a_raw_prompt_is_all_that_the_model_reads() -> None:
    for template in (None, "x"):
        text = answer_prompt(tokenizer(template), shipped("qlora.md"), LABELLED)
        assert text == (
            "### Instruction:\nAnswer the following medical question.\n\nTrial text.\nQuestion: Does it "
            "help?\n\n### Response:\n"
        )


def test_the_symptoms_template_tells_the_type_where_there_is_one() -> None:
    prompt, typed = shipped("symptoms.md"), dataclasses.replace(QUESTION, qtype="symptoms")
    assert (
        answer_prompt(tokenizer("x"), prompt, typed)
        == "### Question Type: symptoms\n### Question: What is gout?\n### Answer:\n"
    )
    assert answer_prompt(tokenizer("x"), prompt, QUESTION) == "### Question: What is gout?\n### Answer:\n"


def test_labels_are_taught_in_the_words_of_a_raw_prompt_and_else_in_pubmedqas() -> None:
    prompt, label = label_example(shipped("qlora.md"), tokenizer("x"), LABELLED)
    assert prompt.endswith("### Response:\n") and label == "maybe" and "SECRET" not in prompt
    assert label_example(shipped("answer.md"), tokenizer("x"), LABELLED) == (pubmedqa_prompt(LABELLED), " maybe")
