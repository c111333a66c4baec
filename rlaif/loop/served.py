"""Batches of a round sampled by vLLM servers, and what is asked of these servers before anything is trained.

Each batch is one unit: a server makes all of it or none. A batch whose server dies goes to another one.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rlaif.quiet import quiet

from rlaif.config import Config
from rlaif.loop.draw import POOL
from rlaif.models import vllm_client as vllm
from rlaif.models.vllm_client import Server
from rlaif.models.vllm_pool import Pool, pool
from rlaif.policies import adapter_of, whole_under
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt, encode
from rlaif.run import Run
from rlaif.types import RlaifError

if TYPE_CHECKING:
    import httpx

    from rlaif.models.answers import Pass, Reply
    from rlaif.models.base import Base
    from rlaif.models.generate import Generation

Tell = Callable[[str], None]
PROBE = "Question: What helps against fever?\nAnswer:"
PROBES, PROBE_TOKENS = 4, 8
TOLERANCE = 0.1  # nats per token between a server in 16 bit and this process; another base lies far above


def check_servers(config: Config, tell: Tell) -> None:
    """What can be known of the servers before a model is loaded: they answer, take adapters, and have a window in which
    an answer fits. RlaifError in one line.
    """
    with pool(config.sampling.urls, tell) as servers:
        servers.all(partial(vllm.check_runtime_lora, servers.client))
        _check_window(servers, config.sampling.max_new_tokens + 1)


def check_base(run: Run, base: Base, prompt: Prompt, tell: Tell) -> None:
    """That every server has the run's base and takes an adapter of the run's rank, shown by log-probabilities beside
    this process's own; and that its window has room for all that a round may ask. RlaifError in one line.

    The adapter is a random one in the run's folder, so that a folder which a server does not see is found too.
    """
    from rlaif.models.adapter import attach_adapter, fast_copy, save_adapter

    with quiet():
        import torch

    settings = run.config.sampling
    if whole := whole_under(run, run.policy(run.champion())):
        raise RlaifError(
            f"policy {whole['policy_id']} is a whole model, and a server adds adapters to its base; use "
            'sampling.engine = "local"'
        )
    with pool(settings.urls, tell) as servers:
        _check_window(servers, _longest(run, base, prompt))
        ids = encode(base.tokenizer, PROBE)
        what = "another base than model.path"
        servers.all(partial(_check_same, servers.client, fast_copy(base, None), ids, "", what))
        model = attach_adapter(base, run.config.model, seed=0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        folder, name = run.folder / "probe", f"rlaif-probe-{uuid.uuid4().hex[:8]}"
        try:
            save_adapter(model, folder)
            servers.all(lambda server: vllm.load_adapter(servers.client, server, name, folder))
            what = "an adapter otherwise than peft does"
            servers.all(partial(_check_same, servers.client, fast_copy(base, folder), ids, name, what))
            servers.all(lambda server: vllm.unload_adapter(servers.client, server, name))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _longest(run: Run, base: Base, prompt: Prompt) -> int:
    """The most tokens that a question of the run and its answer can have, as far as the base can read them."""
    from rlaif.models.generate import window

    answer = prompt.thinking + run.config.sampling.max_new_tokens
    asked = (
        answer_prompt(base.tokenizer, prompt, q, thinking=prompt.thinking > 0) for q in load_questions(run, POOL, [])
    )
    lengths = (len(encode(base.tokenizer, text)) + answer for text in asked)
    return max((length for length in lengths if length <= window(base.model)), default=answer)


def sample_served(
    run: Run,
    base: Base,
    policy_id: str,
    model: Any,
    numbers: Sequence[int],
    prompts: Callable[[int], Sequence[str]],
    how: Callable[[int], dict[str, Any]],
    longest: int,
    tell: Tell,
) -> Iterator[tuple[int, list[Reply], str]]:
    """The batches `numbers`, as servers finish them: number, a reply to each of its prompts, and the engine.

    `model` is the policy loaded here: each server first shows that it has the same one, by its log-probabilities.
    `prompts` and `how` give a batch's prompts and the rest of `rlaif.models.answers.answers`; `longest` is the most
    tokens that a prompt and its answer have together.
    """
    from rlaif.models.generate import end_ids

    policy = run.policy(policy_id)
    adapter = adapter_of(run, policy)
    name = policy_id if adapter else ""
    ends = end_ids(base.model, base.tokenizer)
    with pool(run.config.sampling.urls, tell) as servers:
        _check_window(servers, longest)
        if adapter:
            servers.all(lambda server: vllm.load_adapter(servers.client, server, policy_id, adapter))
        ids = encode(base.tokenizer, prompts(numbers[-1])[0])  # what policies differ in, a prompt of their own shows
        what = f"other weights as {policy_id}: start it again"
        servers.all(partial(_check_same, servers.client, model, ids, name, what))

        async def batch(server: Server, number: int) -> list[Reply]:
            asked = _Asked(servers.client, server, name or server.base, base.tokenizer, ends, how(number))
            return await _replies(asked, prompts(number))

        for number, server, replies in servers.spread(numbers, batch):
            yield number, replies, server.engine


@dataclass(frozen=True)
class _Asked:
    """What all requests of a batch share; `how` is what `rlaif.models.answers.answers` takes beside the prompts."""

    client: httpx.AsyncClient
    server: Server
    model: str
    tokenizer: Any
    ends: set[int]
    how: dict[str, Any]


async def _replies(asked: _Asked, prompts: Sequence[str]) -> list[Reply]:
    from rlaif.models.answers import passes

    thinking, most = asked.how["thinking"], asked.how["max_new_tokens"]
    asking = passes(asked.tokenizer, prompts, thinking=thinking, max_new_tokens=most)
    wanted = next(asking)
    while True:
        made = await _continued(asked, wanted)
        try:
            wanted = asking.send(made)
        except StopIteration as done:
            replies: list[Reply] = done.value
            return replies


async def _continued(asked: _Asked, wanted: Pass) -> list[Generation]:
    """A continuation of each prompt. The same prompt is sent once, for as many as it stands there.

    Each prompt has a seed of its own: with one seed for all, vLLM would draw alike for all.
    """
    how, greedy = asked.how, asked.how["greedy"]
    rows: dict[str, list[int]] = {}
    for row, prompt in enumerate(wanted.prompts):
        rows.setdefault(prompt, []).append(row)

    async def one(prompt: str, places: list[int]) -> list[vllm.Drawn]:
        ids = encode(asked.tokenizer, prompt)
        drawn = await vllm.complete(
            asked.client,
            asked.server,
            asked.model,
            ids,
            n=1 if greedy else len(places),
            seed=random.Random(f"vllm/{how['seed']}/{places[0]}/{prompt}").getrandbits(31),
            max_tokens=min(wanted.max_new_tokens, asked.server.window - len(ids)),
            temperature=0.0 if greedy else how["temperature"],
            top_p=1.0 if greedy else how["top_p"],
            ends=sorted({*asked.ends, *wanted.also_ends}),
        )
        return drawn * len(places) if greedy else drawn

    found = await asyncio.gather(*(one(prompt, places) for prompt, places in rows.items()))
    made: dict[int, Generation] = {}
    for places, drawn in zip(rows.values(), found, strict=True):
        made |= {row: _generation(asked.tokenizer, each) for row, each in zip(places, drawn, strict=True)}
    return [made[row] for row in range(len(wanted.prompts))]


def _generation(tokenizer: Any, drawn: vllm.Drawn) -> Generation:
    from rlaif.models.generate import Generation

    stopped = drawn.finish_reason == "stop"
    text = tokenizer.decode(list(drawn.ids[: len(drawn.ids) - stopped]), skip_special_tokens=True)
    return Generation(
        text, len(drawn.ids), drawn.finish_reason, sum(drawn.logprobs), drawn.ids[-1] if stopped else None
    )


def _check_window(servers: Pool, needed: int) -> None:
    for server in servers.servers:
        if server.window < needed:
            raise RlaifError(
                f"{server.url} reads at most {server.window:,} tokens, and prompt and answer have up to {needed:,} "
                f"here; start it with --max-model-len {needed} or more, or lower sampling.max_new_tokens"
            )


async def _check_same(
    client: httpx.AsyncClient, model: Any, ids: Sequence[int], name: str, what: str, server: Server
) -> None:
    """RlaifError unless the server's log-probabilities of what it samples after `ids` are those of `model`, untruncated
    and at temperature 1, whatever the temperature and top-p are.
    """
    from rlaif.models.logprobs import ids_logprobs

    hows = {"": (1.0, 1.0), " at another temperature": (0.5, 0.5)}
    for tempered, (temperature, top_p) in hows.items():
        drawn = await vllm.complete(
            client, server, name or server.base, ids,
            n=PROBES, seed=1, max_tokens=min(PROBE_TOKENS, server.window - len(ids)),
            temperature=temperature, top_p=top_p,
        )  # fmt: skip
        here = ids_logprobs(model, [(ids, one.ids) for one in drawn])
        # over all tokens: in 16 bit a single one may be off by more than is allowed
        off = sum(abs(sum(one.logprobs) - own) for one, own in zip(drawn, here, strict=True))
        gap = off / sum(len(one.ids) for one in drawn)
        if gap <= TOLERANCE:
            continue
        if tempered:
            raise RlaifError(
                f"{server.url} gives log-probabilities after temperature and top-p; start it with --logprobs-mode "
                "raw_logprobs"
            )
        raise RlaifError(
            f"{server.url} serves {what}: its log-probabilities after the same prompt differ from those here by "
            f"{gap:.2f} nats per token, where {TOLERANCE} is allowed"
        )
