"""Who answers in `chat`: the policies of a run on one loaded base, or the embedded base alone where there is no run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.policies import adapter_of, base_under, opened
from rlaif.prompts import Prompt, load_prompt
from rlaif.render import conversation_prompt, encode
from rlaif.run import Run, open_run
from rlaif.types import Question, UsageError
from stores.store import DATABASE

if TYPE_CHECKING:
    from rlaif.models.base import Base
    from rlaif.models.generate import Said


@dataclass
class Answerer:
    """A loaded base and the policies asked for so far. Adapters share the base's tensors: each costs its own few and no
    second base.
    """

    base: Base
    prompt: Prompt
    config: Config
    run: Run | None = None
    champion: str = "base"  # its policy_id when it was last looked up
    models: dict[str, Any] = field(default_factory=dict)  # by policy_id


def open_answerer(folder: Path, fallback: Path) -> Answerer:
    """The policies of the run in `folder`. Where that is `fallback` and there is no run, the embedded base.

    Raises UsageError when there is no run in another folder or the run's prompt has changed, RlaifError when its base
    has.
    """
    if folder == fallback and not (folder / DATABASE).exists():
        from rlaif.models.base import load_base

        config = load_config()
        return Answerer(load_base(config.model), load_prompt(config.prompts.policy), config)
    run = open_run(folder)
    champion = run.champion()  # says so where the run has not come that far
    prompt, base = opened(run)
    return Answerer(base, prompt, run.config, run, champion)


def find_policy(answerer: Answerer, name: str) -> dict[str, Any]:
    """The row of a policy by "base", "champion", an id or its beginning; "" is the champion, or the base where there is
    no run.

    UsageError if there is none of that name.
    """
    if answerer.run is not None:
        row = answerer.run.policy(name or "champion")
        if name in ("", "champion"):
            answerer.champion = row["policy_id"]  # a loop at work may have promoted another
        return row
    if name in ("", "base"):
        return {"policy_id": "base", "kind": "base", "round": 0}
    raise UsageError(
        f"{name!r}: there is no run here, only the embedded base; make one with the command loop, or give --run DIR"
    )


def describe(answerer: Answerer, policy: dict[str, Any]) -> str:
    """A policy in words: its beginning, kind and round, and whether it is the champion."""
    if answerer.run is None:
        return "the embedded base (there is no run here)"
    made = "base" if policy["kind"] == "base" else f"{policy['kind']}, round {policy['round']}"
    name = "champion " if policy["policy_id"] == answerer.champion else ""
    return f"{name}{policy['policy_id'][:8]} ({made})"


def model_of(answerer: Answerer, policy: dict[str, Any]) -> Any:
    """The policy's model, loaded when first asked for. RlaifError when its adapter is missing, pruned or damaged."""
    policy_id = policy["policy_id"]
    if policy_id not in answerer.models:
        from rlaif.models.adapter import load_adapter

        base, adapter = answerer.base, None
        if answerer.run is not None:
            base, adapter = base_under(answerer.run, base, policy), adapter_of(answerer.run, policy)
        answerer.models[policy_id] = (
            load_adapter(base, adapter, expected_sha256=policy["sha256"]) if adapter else base.model
        )
    return answerer.models[policy_id]


Turn = tuple[str, str, str]  # question, context, answer


def answer(
    answerer: Answerer, policy: dict[str, Any], question: str, context: str = "", said: Sequence[Turn] = ()
) -> Iterator[Said]:
    """The policy's greedy answer to `question`, in the run's words and length, as it grows; `said` is the conversation
    so far, oldest first (see :func:`remembered`). UsageError when it is too long to read.
    """
    from rlaif.models.generate import stream

    return stream(
        model_of(answerer, policy),
        answerer.base.tokenizer,
        prompt_of(answerer, question, context, said),
        max_new_tokens=answerer.config.evaluation.max_new_tokens,
    )


def remembered(
    answerer: Answerer, policy: dict[str, Any], question: str, context: str, said: Sequence[Turn]
) -> Sequence[Turn]:
    """The latest turns of `said` that the model can read before `question`, with room for a whole answer."""
    from rlaif.models.generate import window

    room = window(model_of(answerer, policy)) - answerer.config.evaluation.max_new_tokens
    while said and len(encode(answerer.base.tokenizer, prompt_of(answerer, question, context, said))) > room:
        said = said[1:]
    return said


def prompt_of(answerer: Answerer, question: str, context: str, said: Sequence[Turn]) -> str:
    """What the policy reads. A context that the question has too is not repeated in the turns before it."""
    before = [(_asked(q, "" if c == context else c), text) for q, c, text in said]
    return conversation_prompt(answerer.base.tokenizer, answerer.prompt, before, _asked(question, context))


def _asked(question: str, context: str) -> Question:
    return Question("", "", "train", "", "", question, context)
