"""From a question to the exact text a policy reads, and from that text to its token ids.

All that reads a model goes through :func:`encode`: sampling, chat, scoring, training and the local judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rlaif.prompts import Prompt, fill
from rlaif.types import LABELS, Question, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PLAIN_END = "\n\nAnswer:"  # of turns without a chat template
PROBE = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is gout?"})


class Rendered(str):
    """A text that a chat template made. The template wrote the special tokens, so none is added to it."""


def messages(prompt: Prompt, question: str, context: str = "", qtype: str = "") -> list[dict[str, str]]:
    """The system and user turns of a policy prompt, filled in."""
    values = {"question": question, "context": context, "qtype": qtype}
    return [
        {"role": "system", "content": fill(prompt.system, values)},
        {"role": "user", "content": fill(prompt.user, values)},
    ]


def answer_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, question: Question, *, thinking: bool = False
) -> str:
    """The answer prompt as :func:`render` makes it, up to where the answer begins; a raw prompt is what it says, and a
    line break. A conversation is rendered turn by turn, and as one text in a raw prompt. `thinking`:
    the policy may think first; what is not its own text, such as a reference, has no thoughts and is rendered without.
    """
    if question.turns and not prompt.raw:
        return render(tokenizer, conversation(prompt, question), thinking)
    return filled_in(tokenizer, prompt, question.question, question.context, question.qtype, thinking=thinking)


def filled_in(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    question: str,
    context: str = "",
    qtype: str = "",
    *,
    thinking: bool = False,
) -> str:
    """:func:`answer_prompt` from the words themselves."""
    turns = messages(prompt, question, context, qtype)
    if prompt.raw:
        return "\n\n".join(turn["content"] for turn in turns if turn["content"]) + "\n"
    return render(tokenizer, turns, thinking)


def conversation(prompt: Prompt, question: Question) -> list[dict[str, str]]:
    """The turns of a question that is a conversation: the prompt's system turn, with the conversation's own behind it,
    then the messages, the last one in the prompt's words.
    """
    own = [text for role, text in question.turns if role == "system"]
    said = [{"role": role, "content": text} for role, text in question.turns if role != "system"]
    system, asked = messages(prompt, said[-1]["content"], question.context, question.qtype)
    words = [text for text in (system["content"], *own) if text.strip()]
    return [{"role": "system", "content": "\n\n".join(words)}, *said[:-1], asked]


def conversation_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, said: Sequence[tuple[Question, str]], question: Question
) -> str:
    """The answer prompt behind the questions and answers of `said`, oldest first, each question in the prompt's words.

    Without any it is :func:`answer_prompt`. Policies are trained on single questions: what they make of several is
    theirs.
    """
    if not said:
        return answer_prompt(tokenizer, prompt, question)
    if prompt.raw:
        before = [f"{answer_prompt(tokenizer, prompt, asked)}{answer}" for asked, answer in said]
        return "\n\n".join([*before, answer_prompt(tokenizer, prompt, question)])
    turns: list[dict[str, str]] = []
    for asked, answer in said:
        both = messages(prompt, asked.question, asked.context, asked.qtype)
        turns += [*both[bool(turns) :], {"role": "assistant", "content": answer}]  # the system turn comes once
    return render(tokenizer, [*turns, messages(prompt, question.question, question.context, question.qtype)[1]])


def render(tokenizer: PreTrainedTokenizerBase, turns: Sequence[dict[str, str]], thinking: bool = False) -> str:
    """The turns in the model's chat template, up to where its answer begins: a :class:`Rendered`.

    Where the template refuses a system turn, or leaves its words out (Gemma, early Mistral), they stand at the head of
    the user's turn. Templates that can make a model think before it answers (`enable_thinking`, as Qwen3's) are told
    that it does not, unless `thinking` is asked for: an answer has few tokens, and no answer of the training data
    thinks. A model without a template gets the turns as plain paragraphs
    and an "Answer:".

    Raises UsageError when the template cannot render the turns.
    """
    if not tokenizer.chat_template:
        marks = {"assistant": PLAIN_END.lstrip()}  # without a blank, as in training
        return "\n\n".join(marks.get(turn["role"], "") + turn["content"] for turn in turns) + PLAIN_END
    asked = list(turns)
    system = asked[0]["content"].strip() if asked[0]["role"] == "system" else None
    try:
        text = _apply(tokenizer, asked, thinking)
        if system is None or system in text:
            return Rendered(text)
    except Exception as error:  # a template is a program of somebody else's, and can raise anything
        if system is None:
            raise _broken(error) from error
    try:
        return Rendered(_apply(tokenizer, without_system(asked), thinking))
    except Exception as error:
        raise _broken(error) from error


def without_system(turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The turns with the words of the leading system turn at the head of the user's turn, a blank line between."""
    system, user, *rest = turns
    words = [text for text in (system["content"], user["content"]) if text.strip()]
    return [{"role": "user", "content": "\n\n".join(words)}, *rest]


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the model's chat template renders a system turn as one; False too where there is no template."""
    if not tokenizer.chat_template:
        return False
    return render(tokenizer, PROBE) != render(tokenizer, without_system(PROBE))


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """UsageError when the model has a chat template that cannot render a question, or leaves its words out."""
    if tokenizer.chat_template and PROBE[1]["content"] not in render(tokenizer, PROBE):
        raise _broken("it leaves the user's words out")


def _apply(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], thinking: bool = False) -> str:
    made: Any = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, enable_thinking=thinking
    )
    return str(made)


def _broken(why: object) -> UsageError:
    said = " ".join(str(why).split())[:200]
    return UsageError(
        f"the model's chat template cannot render a question ({said}); mend its chat_template.jinja (or chat_template "
        "in tokenizer_config.json), or remove it to ask in plain paragraphs"
    )


def encode(tokenizer: PreTrainedTokenizerBase, text: str, then: str = "") -> list[int]:
    """The token ids of a prompt `text` with `then` behind it: the one rule for all that a model reads.

    A rendered text is tokenized as it stands. In front of any other text stand the tokens that the tokenizer itself
    puts there (the BOS of Llama and Mistral; none for Qwen). Nothing is added at the end, whatever the tokenizer does:
    an end token behind a prompt says that the answer is over.
    """
    ids = list(tokenizer.encode(text + then, add_special_tokens=False))
    return ids if isinstance(text, Rendered) else [*beginning(tokenizer), *ids]


def beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token ids that the tokenizer puts in front of a text by itself."""
    whole, plain = list(tokenizer.encode("x")), list(tokenizer.encode("x", add_special_tokens=False))
    starts = range(len(whole) - len(plain) + 1)
    return next((whole[:i] for i in starts if whole[i : i + len(plain)] == plain), [])


def label_example(prompt: Prompt, tokenizer: PreTrainedTokenizerBase, question: Question) -> tuple[str, str]:
    """Prompt and completion that teach a labelled question: :func:`label_prompt`, or the words of a raw prompt."""
    if prompt.raw:
        return answer_prompt(tokenizer, prompt, question), question.label
    return label_prompt(question), f" {question.label}"


def options(question: Question) -> tuple[str, ...]:
    """What a labelled question may be answered with: its own options, else yes, no and maybe."""
    return question.key_points or LABELS


def label_prompt(question: Question) -> str:
    """A labelled question, up to where the label follows after one blank: PubMedQA's words, or with its own options."""
    if not question.key_points:
        return pubmedqa_prompt(question)
    context = f"Text: {question.context}\n" if question.context else ""
    return f"{context}Question: {question.question}\nOptions: {', '.join(question.key_points)}\nAnswer:"


def pubmedqa_prompt(question: Question) -> str:
    """PubMedQA in the words of lm-evaluation-harness; the label follows after one blank. Never shows the conclusion."""
    return f"Abstract: {question.context}\nQuestion: {question.question}\nAnswer:"
