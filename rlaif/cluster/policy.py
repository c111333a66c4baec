"""A policy that workers hold, for what is asked of a policy in batches: its answers, and its log-probabilities of
labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlaif.cluster.pool import Pool, Task
from rlaif.policies import Weights

if TYPE_CHECKING:
    import numpy as np

    from rlaif.models.answers import Reply


@dataclass(frozen=True)
class SpreadPolicy:
    """Stands where a benchmark takes a model. `config` is the model's, which says how much it reads.

    Batches are those that one process would make, so the results are too; they come in the order in which they end.
    """

    workers: Pool
    weights: Weights
    config: Any

    def answers(self, batches: Sequence[Sequence[str]], **how: Any) -> Iterator[tuple[int, list[Reply]]]:
        """(batch, replies): as `rlaif.models.answers.answers` for each batch of prompts."""

        def task(number: int) -> Task:
            return Task("answers", (self.weights, batches[number], how))

        for done in self.workers.spread(range(len(batches)), task):
            yield from done

    def choices(
        self, batches: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]], batch_size: int, window: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(batch, nats): as `rlaif.models.logprobs.choice_logprobs` for each batch of prompts and their choices."""

        def task(number: int) -> Task:
            return Task("choices", (self.weights, *batches[number], batch_size, window))

        for done in self.workers.spread(range(len(batches)), task):
            yield from done
