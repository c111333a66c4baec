"""The chat template of a served policy makes the tokens that our own sampling reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.models.base import load_tokenizer
from rlaif.prompts import Prompt, load_prompt
from rlaif.render import answer_prompt, encode
from rlaif.share.serve import template_of_run
from rlaif.types import Question

QUESTION = Question("", "", "train", "", "", 'what "helps" against {asthma} ? {{ 7 * 7 }} \N{SYRINGE}\\n')
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
    turns = [{"role": "system", "content": prompt.system}, {"role": "user", "content": "several turns stay"}]
    before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) if own_template else None
    tokenizer.chat_template = template_of_run(tokenizer, prompt)
    alone = [{"role": "user", "content": QUESTION.question}]
    assert tokenizer.apply_chat_template(alone, add_generation_prompt=True, return_dict=True)["input_ids"] == wanted
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
    assert "<think>" not in tokenizer.decode(wanted)
    tokenizer.chat_template = template_of_run(tokenizer, prompt)
    alone = [{"role": "user", "content": QUESTION.question}]
    assert tokenizer.apply_chat_template(alone, add_generation_prompt=True, return_dict=True)["input_ids"] == wanted


def with_bos(tokenizer):  # type: ignore[no-untyped-def]
    """The tokenizer, made to put its begin token before every text, as Llama's and Mistral's do."""
    from tokenizers.processors import TemplateProcessing

    token = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        f"{token} $A", special_tokens=[(token, tokenizer.bos_token_id)]
    )
    return tokenizer
