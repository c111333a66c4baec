"""From a question to the exact text a policy reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlaif.prompts import Prompt, fill
from rlaif.types import Question

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def messages(prompt: Prompt, question: str, context: str = "", qtype: str = "") -> list[dict[str, str]]:
    """The system and user turns of a policy prompt, filled in."""
    values = {"question": question, "context": context, "qtype": qtype}
    return [
        {"role": "system", "content": fill(prompt.system, values)},
        {"role": "user", "content": fill(prompt.user, values)},
    ]


def answer_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, question: Question) -> str:
    """The answer prompt with the model's chat template, up to where its answer begins.

    A base without a chat template gets the same turns as plain paragraphs and an "Answer:"; a raw prompt is what it
    says, and a line break.
    """
    turns = messages(prompt, question.question, question.context, question.qtype)
    if prompt.raw:
        return "\n\n".join(turn["content"] for turn in turns if turn["content"]) + "\n"
    if tokenizer.chat_template:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    return "\n\n".join(turn["content"] for turn in turns) + "\n\nAnswer:"


def label_example(prompt: Prompt, tokenizer: PreTrainedTokenizerBase, question: Question) -> tuple[str, str]:
    """Prompt and completion that teach a yes/no/maybe question: PubMedQA's own words, or those of a raw prompt."""
    if prompt.raw:
        return answer_prompt(tokenizer, prompt, question), question.label
    return pubmedqa_prompt(question), f" {question.label}"


def pubmedqa_prompt(question: Question) -> str:
    """PubMedQA in the words of lm-evaluation-harness; the label follows after one blank. Never shows the conclusion."""
    return f"Abstract: {question.context}\nQuestion: {question.question}\nAnswer:"
