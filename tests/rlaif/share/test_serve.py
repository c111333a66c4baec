"""The chat template of a served policy makes the tokens that our own sampling reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlaif.models.base import load_tokenizer
from rlaif.prompts import Prompt, load_prompt
from rlaif.render import answer_prompt, conversation_prompt, encode
from rlaif.share.serve import last_line, template_of_run
from rlaif.types import Question

QUESTION = Question("", "", "train", "", "", 'what "helps" against {asthma} ? {{ 7 * 7 }} \N{SYRINGE}\\n')
SAID_TEXTS = ["does rest help ?", "yes {{ 1 }}", 'and "water" ?', "no of course"]
SAID = [(replace(QUESTION, question=q), a) for q, a in zip(SAID_TEXTS[::2], SAID_TEXTS[1::2], strict=True)]
SHIPPED = load_prompt("prompts/policy/answer.md")
QUOTED = Prompt(
    "quoted", "policy", 'Say "{question}"\\ \N{PILL} {% raw %}', "{context}\nQ: {question}\n{question}?\n'", "", ""
)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", [SHIPPED, QUOTED], ids=lambda p: p.name)
@pytest.mark.parametrize("own_template", [True, False])
@pytest.mark.parametrize("begins", [True, False])
def test_a_question_alone_is_asked_in_the_prompts_words(
    tiny_model: Path, prompt: Prompt, own_template: bool, begins: bool
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    if not own_template:
        tokenizer.chat_template = None
    if begins:
        tokenizer.bos_token = "<|im_start|>"
        tokenizer = with_bos(tokenizer)
    wanted = encode(tokenizer, answer_prompt(tokenizer, prompt, QUESTION))
    several = encode(tokenizer, conversation_prompt(tokenizer, prompt, SAID, QUESTION))
    turns = [{"role": "system", "content": prompt.system}, {"role": "user", "content": "several turns stay"}]
    before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) if own_template else None
    tokenizer.chat_template = template_of_run(tokenizer, prompt)
    assert read(tokenizer, [QUESTION.question]) == wanted
    assert read(tokenizer, [*SAID_TEXTS, QUESTION.question]) == several and len(several) > len(wanted)
    if before is not None:
        assert tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) == before


@pytest.mark.slow
@pytest.mark.parametrize("prompt", [SHIPPED, QUOTED], ids=lambda p: p.name)
@pytest.mark.parametrize("refuses", [True, False])
def test_a_template_without_a_system_turn_or_that_thinks_is_served_as_it_is_sampled(
    tiny_model: Path, prompt: Prompt, refuses: bool
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    gate = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" if refuses else ""
    thinks = "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    tokenizer.chat_template = gate + tokenizer.chat_template + thinks
    wanted = encode(tokenizer, answer_prompt(tokenizer, prompt, QUESTION))
    several = encode(tokenizer, conversation_prompt(tokenizer, prompt, SAID, QUESTION))
    assert "<think>" not in tokenizer.decode(wanted) and len(several) > len(wanted)
    tokenizer.chat_template = template_of_run(tokenizer, prompt)
    assert read(tokenizer, [QUESTION.question]) == wanted
    assert read(tokenizer, [*SAID_TEXTS, QUESTION.question]) == several


def read(tokenizer: Any, texts: list[str]) -> list[int]:
    """The token ids of a conversation that a client sends: user and assistant in turn."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"])


def test_the_last_line_of_a_log_follows_a_message(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert last_line(log) == ""
    log.write_bytes(b"INFO: started\nRuntimeError:  out of\xff memory\n\n")
    assert last_line(log) == " (RuntimeError: out of\ufffd memory)"
    log.write_text("")
    assert last_line(log) == ""


def with_bos(tokenizer):  # type: ignore[no-untyped-def]
    """The tokenizer, made to put its begin token before every text, as Llama's and Mistral's do."""
    from tokenizers.processors import TemplateProcessing

    token = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        f"{token} $A", special_tokens=[(token, tokenizer.bos_token_id)]
    )
    return tokenizer
