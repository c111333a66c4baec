"""Batches of a round sampled by the workers of a cluster: with the batches' own seeds, so the rows are those that this
process would make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rlaif.cluster.pool import Pool, Task
from rlaif.policies import weights_of
from rlaif.run import Run

if TYPE_CHECKING:
    from rlaif.models.answers import Reply


def sample_clustered(
    run: Run,
    workers: Pool,
    policy_id: str,
    numbers: Sequence[int],
    prompts: Callable[[int], Sequence[str]],
    how: Callable[[int], dict[str, Any]],
) -> Iterator[list[tuple[int, list[Reply], str]]]:
    """The batches `numbers`, as workers finish them, those that are done together in one list: number, a reply to each
    of its prompts, and "" for the engine, which is this package's own.

    `prompts` and `how` are as for `rlaif.loop.served.sample_served`. A batch that is lost with its worker is made again
    by another one, from the same seed.
    """
    weights = weights_of(run, policy_id)

    def task(number: int) -> Task:
        return Task("answers", (weights, prompts(number), how(number)))

    for done in workers.spread(numbers, task):
        yield [(number, replies, "") for number, replies in done]
