"""Answers of a policy that may think first: its thoughts within their own budget, then the answer within its own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.quiet import quiet

from rlaif.models.generate import Generation, sample
from rlaif.thoughts import CLOSE, OPEN, split
from rlaif.types import UsageError

with quiet():
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Reply:
    """`text` and `n_tokens` are the answer's alone, `thoughts` and `thought_tokens` what came before it. `logprob`
    (nats) is over both. `finish_reason` "thought": the thoughts did not end in time, and there is no answer.
    """

    text: str
    n_tokens: int
    finish_reason: Literal["stop", "length", "thought"]
    logprob: float
    thoughts: str = ""
    thought_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """What is to be sampled in one go: a continuation of each prompt, which also ends at one of `also_ends`."""

    prompts: Sequence[str]
    max_new_tokens: int
    also_ends: tuple[int, ...] = ()


def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    thinking: int,
    max_new_tokens: int,
    **how: Any,
) -> list[Reply]:
    """One answer a prompt, as :func:`passes` says; `how` is the rest that `rlaif.models.generate.sample` takes."""
    asking = passes(tokenizer, prompts, thinking=thinking, max_new_tokens=max_new_tokens)
    asked = next(asking)
    while True:
        more = {"max_new_tokens": asked.max_new_tokens, "also_ends": asked.also_ends}
        made = sample(model, tokenizer, asked.prompts, **more, **how)
        try:
            asked = asking.send(made)
        except StopIteration as done:
            replies: list[Reply] = done.value
            return replies


def passes(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], *, thinking: int, max_new_tokens: int
) -> Generator[Pass, list[Generation], list[Reply]]:
    """The way to one answer a prompt, of at most `max_new_tokens`: yields what is to be sampled, is sent what was, and
    returns the answers. Who samples is the caller's affair.

    With `thinking` > 0 the policy may first think for so many tokens: it is sampled until its thoughts end, and then,
    behind them, for the answer. Thoughts that do not end leave no answer. A policy that answers at once has that
    answer. One that thinks without being asked to has `max_new_tokens` for both, and its tokens are shared out by
    characters.
    Raises UsageError for a tokenizer without a token for the end of a thought.
    """
    if not thinking:
        made = yield Pass(prompts, max_new_tokens)
        return [_reply(one) for one in made]
    end = close_id(tokenizer)
    first = yield Pass(prompts, thinking, (end,))
    done = [i for i, one in enumerate(first) if one.end == end]
    behind = [type(prompts[i])(prompts[i] + _thought(prompts[i], first[i].text)) for i in done]
    second = yield Pass(behind, max_new_tokens)
    replies = [_unfinished(prompt, one) for prompt, one in zip(prompts, first, strict=True)]
    for i, one in zip(done, second, strict=True):
        said = split(one.text)
        replies[i] = Reply(
            said.answer.lstrip(),
            one.n_tokens,
            "thought" if said.open else one.finish_reason,
            first[i].logprob + one.logprob,
            f"{first[i].text.replace(OPEN, '').strip()} {said.thoughts}".strip(),
            first[i].n_tokens,
        )
    return replies


def close_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a thought. UsageError where it is more than one."""
    ids = tokenizer.encode(CLOSE, add_special_tokens=False)
    if len(ids) != 1:
        raise UsageError(
            f"the policy prompt asks for thoughts (thinking: ...), and this model's tokenizer has no token {CLOSE}: it "
            "was not made to think; take the line out of the prompt, or take a reasoning model"
        )
    return int(ids[0])


def _reply(made: Generation) -> Reply:
    said = split(made.text)
    if not said.thoughts and not said.open:
        return Reply(made.text, made.n_tokens, made.finish_reason, made.logprob)
    why: Literal["stop", "length", "thought"] = "thought" if said.open else made.finish_reason
    tokens = round(made.n_tokens * len(said.answer) / len(made.text))
    return Reply(said.answer, tokens, why, made.logprob, said.thoughts, made.n_tokens - tokens)


def _unfinished(prompt: str, made: Generation) -> Reply:
    """What came of a first pass that did not end a thought: an answer at once, or thoughts and nothing else."""
    if OPEN in made.text or prompt.rstrip().endswith(OPEN):
        thoughts = made.text.replace(OPEN, "").strip()
        return Reply("", 0, "thought", made.logprob, thoughts, made.n_tokens)
    return Reply(made.text, made.n_tokens, made.finish_reason, made.logprob)


def _thought(prompt: str, text: str) -> str:
    """The thoughts as they stand behind the prompt, ended."""
    opened = prompt.rstrip().endswith(OPEN) or OPEN in text
    return f"{'' if opened else OPEN}{text.rstrip()}\n{CLOSE}\n\n"
