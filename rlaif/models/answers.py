"""Answers of a policy that may think first: its thoughts within their own budget, then the answer within its own."""

from __future__ import annotations

from collections.abc import Sequence
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


def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    thinking: int,
    max_new_tokens: int,
    **how: Any,
) -> list[Reply]:
    """One answer a prompt, of at most `max_new_tokens`; `how` is the rest that `rlaif.models.generate.sample` takes.

    With `thinking` > 0 the policy may first think for so many tokens: it is sampled until its thoughts end, and then,
    behind them, for the answer. Thoughts that do not end leave no answer. A policy that answers at once has that
    answer. One that thinks without being asked to has `max_new_tokens` for both, and its tokens are shared out by
    characters.
    Raises UsageError for a tokenizer without a token for the end of a thought.
    """
    if not thinking:
        return [_reply(made) for made in sample(model, tokenizer, prompts, max_new_tokens=max_new_tokens, **how)]
    end = close_id(tokenizer)
    first = sample(model, tokenizer, prompts, max_new_tokens=thinking, also_ends=(end,), **how)
    done = [i for i, made in enumerate(first) if made.end == end]
    behind = [type(prompts[i])(prompts[i] + _thought(prompts[i], first[i].text)) for i in done]
    second = sample(model, tokenizer, behind, max_new_tokens=max_new_tokens, **how)
    replies = [_unfinished(prompt, made) for prompt, made in zip(prompts, first, strict=True)]
    for i, made in zip(done, second, strict=True):
        said = split(made.text)
        replies[i] = Reply(
            said.answer.lstrip(),
            made.n_tokens,
            "thought" if said.open else made.finish_reason,
            first[i].logprob + made.logprob,
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
