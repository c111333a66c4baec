from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jinja2
import pytest

from rlaif.prompts import Prompt, load_prompt
from rlaif.render import (
    answer_prompt,
    beginning,
    check_template,
    conversation_prompt,
    encode,
    label_example,
    messages,
    pubmedqa_prompt,
    takes_system,
)
from rlaif.types import Question, UsageError

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
    def apply(
        turns: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, enable_thinking: bool
    ) -> str:
        assert not tokenize and not enable_thinking
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


class Jinja:
    """A tokenizer with a real template: `begins` and `ends` are the ids that it puts around a text by itself."""

    def __init__(self, template: str, begins: tuple[int, ...] = (), ends: tuple[int, ...] = ()) -> None:
        self.chat_template, self.begins, self.ends = template, begins, ends

    def apply_chat_template(self, turns: list[dict[str, str]], **settings: Any) -> str:
        def refuse(why: str) -> None:
            raise jinja2.TemplateError(why)

        return jinja2.Template(self.chat_template).render(messages=turns, raise_exception=refuse, **settings)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids = [ord(c) for c in text]
        return [*self.begins, *ids, *self.ends] if add_special_tokens else ids


LINES = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | trim }}{% endfor %}[assistant]"
REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + LINES
ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}{% endfor %}" + LINES
)
DROPS = LINES.replace("messages %}", "messages if m['role'] != 'system' %}")
UNDEFINED = "{{ {'user': 1}[messages[0]['role']] + 1 }}" + LINES
FOLDED = "[user]Be brief.\n\nLeaflet: Gout hurts.\nQuestion: What is gout?[assistant]"


@pytest.mark.parametrize("template", [REFUSES, ALTERNATES, DROPS, UNDEFINED])
def test_without_a_system_turn_its_words_head_the_users(template: str) -> None:
    own: Any = Jinja(template)
    assert answer_prompt(own, PROMPT, QUESTION).endswith(FOLDED) and not takes_system(own)
    silent = dataclasses.replace(PROMPT, system="")
    assert "[user]Leaflet: Gout hurts." in answer_prompt(own, silent, QUESTION)
    check_template(own)


def test_a_template_with_a_system_turn_gets_one() -> None:
    own: Any = Jinja(LINES)
    assert answer_prompt(own, PROMPT, QUESTION).startswith("[system]Be brief.[user]Leaflet") and takes_system(own)


# As Qwen3's: where thinking is switched off, an empty thought stands in front of the answer.
QWEN3 = LINES + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"


@pytest.mark.parametrize(("thinking", "end"), [(True, "[assistant]"), (False, "<think>\n\n</think>\n\n")])
def test_a_policy_that_may_think_is_asked_without_an_empty_thought(thinking: bool, end: str) -> None:
    text = answer_prompt(cast(Any, Jinja(QWEN3)), PROMPT, QUESTION, thinking=thinking)
    assert text.endswith(end) and ("<think>" in text) != thinking


def test_a_conversation_is_rendered_turn_by_turn_and_as_one_text_in_a_raw_prompt() -> None:
    turns = (("system", "You are kind."), ("user", "It hurts."), ("assistant", "Where?"), ("user", "My ear. What now?"))
    asked = dataclasses.replace(QUESTION, turns=turns, question="all of it as one text", context="", label="")
    text = answer_prompt(cast(Any, Jinja(LINES)), PROMPT, asked)
    assert text.startswith("[system]Be brief.\n\nYou are kind.[user]It hurts.[assistant]Where?[user]")
    assert "My ear. What now?" in text and "all of it" not in text
    raw = answer_prompt(cast(Any, Jinja(LINES)), dataclasses.replace(PROMPT, raw=True), asked)
    assert "all of it as one text" in raw and "Where?" not in raw


def test_no_answer_thinks_first() -> None:
    template = LINES + "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
    assert answer_prompt(cast(Any, Jinja(template)), PROMPT, QUESTION).endswith("[assistant]<think></think>")


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('never') }}", "{% if %}", "{{ messages[7]['content'] + 1 }}", "hello", "{{ 1/0 }}"]
)
def test_a_broken_template_is_one_line(template: str) -> None:
    with pytest.raises(UsageError, match="chat template cannot render a question") as raised:
        check_template(cast(Any, Jinja(template)))
    assert "\n" not in str(raised.value) and "chat_template.jinja" in str(raised.value)


@pytest.mark.parametrize("begins", [(), (1,), (1, 2)])
@pytest.mark.parametrize("ends", [(), (9,)])
def test_one_rule_makes_the_ids(begins: tuple[int, ...], ends: tuple[int, ...]) -> None:
    own: Any = Jinja(LINES, begins, ends)
    assert beginning(own) == list(begins)
    rendered, raw = answer_prompt(own, PROMPT, QUESTION), pubmedqa_prompt(LABELLED)
    assert encode(own, rendered) == [ord(c) for c in rendered]
    assert encode(own, raw) == [*begins, *(ord(c) for c in raw)]
    assert encode(own, raw, " yes") == [*begins, *(ord(c) for c in raw + " yes")]
    assert encode(own, rendered, "Yes.") == [ord(c) for c in rendered + "Yes."]


def test_a_text_without_a_template_is_a_raw_one() -> None:
    own: Any = Jinja("", (1,), (9,))
    for prompt in (PROMPT, dataclasses.replace(PROMPT, raw=True)):
        assert encode(own, answer_prompt(own, prompt, QUESTION))[0] == 1
    own = Jinja(LINES, (1,), (9,))
    assert encode(own, answer_prompt(own, dataclasses.replace(PROMPT, raw=True), QUESTION))[0] == 1


SAID = [(dataclasses.replace(QUESTION, question="Is it rare?", context=""), "No."), (QUESTION, "A disease.")]


def test_a_conversation_has_each_question_in_the_prompts_words() -> None:
    asked = dataclasses.replace(QUESTION, question="And now?", context="")
    assert conversation_prompt(tokenizer("t"), PROMPT, SAID, asked) == (
        "<system>Be brief.\n<user>Question: Is it rare?\n<assistant>No.\n"
        "<user>Leaflet: Gout hurts.\nQuestion: What is gout?\n<assistant>A disease.\n"
        "<user>Question: And now?\n<assistant>"
    )
    plain = conversation_prompt(tokenizer(None), PROMPT, SAID, asked)
    assert plain.startswith("Be brief.\n\nQuestion: Is it rare?\n\nAnswer:No.\n\nLeaflet: Gout hurts.\n")
    assert plain.endswith("Answer:A disease.\n\nQuestion: And now?\n\nAnswer:")
    raw = dataclasses.replace(PROMPT, system="", user="{question}", raw=True)
    assert conversation_prompt(tokenizer("t"), raw, SAID[:1], asked) == "Is it rare?\nNo.\n\nAnd now?\n"


@pytest.mark.parametrize("template", ["t", None])
def test_a_conversation_of_one_question_is_that_question(template: str | None) -> None:
    known = tokenizer(template)
    assert conversation_prompt(known, PROMPT, [], QUESTION) == answer_prompt(known, PROMPT, QUESTION)
