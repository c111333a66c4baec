"""What a worker process holds and does: the base, a policy on it, a judge. It reads the run's folder, and writes none.

Nothing here knows of Ray, so that a test can call it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.cluster.judge import JudgeWanted
from rlaif.cluster.pool import Done, Ready
from rlaif.config import ModelConfig
from rlaif.policies import Weights, assembled
from rlaif.run import installed
from rlaif.types import Judge, JudgeItem, RlaifError, content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base

PACKAGES = ("rlaif", "torch", "transformers")  # of which each machine has the same version


def versions() -> dict[str, str]:
    return {package: installed(package) for package in PACKAGES}


@dataclass(frozen=True)
class Wanted:
    """What a worker is to hold, and what the controller holds itself, to compare with."""

    model: ModelConfig
    sha256: str  # of the base's weights
    settings: str  # hash of what lies beside them
    dtype: str
    versions: dict[str, str]


def wanted(base: Base, config: ModelConfig) -> Wanted:
    """What workers need for the work of this process, which has loaded `base` as `config` says.

    A folder is named by its whole path, because a worker starts in another folder; a hub id is found by each machine.
    """
    from rlaif.models.settings import settings_of

    folder = config.path != "embedded" and Path(config.path).expanduser().exists()
    path = str(base.path.absolute()) if folder else config.path
    return Wanted(
        config.model_copy(update={"path": path, "device": base.device}),
        base.sha256,
        content_id("settings", settings_of(base.path)),
        str(base.dtype).removeprefix("torch."),
        versions(),
    )


class Worker:
    """One worker process. It is empty until it is greeted, so that what goes wrong then has a message of its own."""

    def __init__(self) -> None:
        self._base: Base | None = None
        self._policy: tuple[Weights, Any] | None = None
        self._judge: tuple[JudgeWanted, Judge] | None = None

    def greet(self, wanted: Wanted) -> Ready:
        """Load the base where it is not there yet. RlaifError when it is not the controller's base, or is computed by
        other versions or in another precision: what it makes would differ.
        """
        host = platform.node()
        if self._base is None:
            self._base = _loaded(wanted, host)
        return Ready(host)

    def answers(self, weights: Weights, prompts: Sequence[str], how: dict[str, Any]) -> Done:
        """As `rlaif.models.answers.answers`, by the policy that `weights` names."""
        from rlaif.models.answers import answers

        model, base = self._at(weights)
        started = time.monotonic()
        replies = answers(model, base.tokenizer, prompts, **how)
        tokens = sum(reply.n_tokens + reply.thought_tokens for reply in replies)
        return Done(replies, tokens, time.monotonic() - started)

    def choices(
        self,
        weights: Weights,
        contexts: Sequence[str],
        choices: Sequence[Sequence[str]],
        batch_size: int,
        max_length: int,
    ) -> Done:
        """As `rlaif.models.logprobs.choice_logprobs`, by the policy that `weights` names."""
        from rlaif.models.logprobs import choice_logprobs

        model, base = self._at(weights)
        started = time.monotonic()
        nats = choice_logprobs(model, base.tokenizer, contexts, choices, batch_size, max_length)
        return Done(nats, 0, time.monotonic() - started)

    def verdicts(self, wanted: JudgeWanted, items: Sequence[JudgeItem]) -> Done:
        """As the judge's `score`. RlaifError when the judge here is another one than the controller's."""
        if self._judge is None or self._judge[0] != wanted:
            self._judge = None
            self._judge = wanted, _judge(wanted)
        started = time.monotonic()
        given = self._judge[1].score(items)
        return Done(given, sum(v.tokens_in or 0 for v in given), time.monotonic() - started)

    def _at(self, weights: Weights) -> tuple[Any, Base]:
        if self._base is None:
            raise RlaifError("a worker was given work before it was greeted")
        if self._policy is None or self._policy[0] != weights:
            self._policy = None  # the memory of the one before is free while the next is loaded
            try:
                self._policy = weights, assembled(self._base, weights)
            except RlaifError as error:
                raise RlaifError(
                    f"the machine {platform.node()}: {error} (workers read policies from the run's folder, which must "
                    "lie at the same path on each machine, as on a shared disk)"
                ) from error
        return self._policy[1], self._base


def _judge(wanted: JudgeWanted) -> Judge:
    from judges.local import load_local_judge

    judge = load_local_judge(wanted.path, wanted.prompt)
    if judge.identity != wanted.identity:
        raise RlaifError(
            f"the machine {platform.node()} has another judge at {wanted.path} than this one: copy the judge's folder "
            "there, and set model.dtype where one of them has a GPU"
        )
    return judge


def _loaded(wanted: Wanted, host: str) -> Base:
    from rlaif.models.base import load_base
    from rlaif.models.settings import settings_of

    found = versions()
    if differ := [name for name in PACKAGES if found[name] != wanted.versions[name]]:
        shown = ", ".join(f"{name} {found[name] or '(none)'} instead of {wanted.versions[name]}" for name in differ)
        raise RlaifError(f"the machine {host} has {shown}; install the same versions on all of them")
    base = load_base(wanted.model)
    if base.sha256 != wanted.sha256:
        raise RlaifError(
            f"the machine {host} has another base at {base.path}: sha256 {base.sha256[:12]} instead of "
            f"{wanted.sha256[:12]}; copy the run's base there"
        )
    if content_id("settings", settings_of(base.path)) != wanted.settings:
        raise RlaifError(
            f"the machine {host} has other settings beside the base at {base.path} (configuration, tokenizer or chat "
            "template); copy the run's base there"
        )
    dtype = str(base.dtype).removeprefix("torch.")
    if dtype != wanted.dtype:
        raise RlaifError(
            f"the machine {host} computes in {dtype}, and this one in {wanted.dtype}; set model.dtype so that both can"
        )
    return base
