"""Results of policies on benchmark items, and two of them side by side: what the gate compares. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.types import EvalItem, RlaifError


@dataclass(frozen=True, slots=True)
class MetricResults:
    """One metric of one policy on one benchmark: all tuples have one entry per item. `values` is None where unscored.

    `margin` is what a benchmark that may only not get worse may lose at the gate, in units of the metric. `grader`: who
    gave the values, in words, where they are worth nothing without that name.
    """

    benchmark: str
    metric: str
    item_ids: tuple[str, ...]
    values: tuple[float | None, ...]
    predictions: tuple[str, ...]
    targets: tuple[str, ...]
    groups: tuple[str, ...]
    statuses: tuple[str, ...]
    protocol_hash: str
    data_sha256: str
    margin: float = 0.0
    grader: str = ""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.item_ids, self.values, self.predictions, self.targets, self.groups)}
        if lengths != {len(self.statuses)} or len(set(self.item_ids)) != len(self.item_ids):
            raise RlaifError(f"{self.benchmark} {self.metric}: needs one value, group ... an item and no item twice")
        if any(value is not None and not math.isfinite(value) for value in self.values):
            raise RlaifError(f"{self.benchmark} {self.metric}: a value is not finite: an unscored item has None")

    @classmethod
    def of(cls, items: Sequence[EvalItem], groups: Mapping[str, str]) -> MetricResults:
        """From evaluation rows of one benchmark, metric, protocol and data set; `groups` maps item_id to group_id."""
        kinds = {(i.policy_id, i.benchmark, i.split, i.metric, i.protocol_hash, i.data_sha256) for i in items}
        if len(kinds) != 1:
            raise RlaifError(f"one policy, benchmark, split, metric, protocol and data set at a time: got {len(kinds)}")
        missing = [i.item_id for i in items if i.item_id not in groups]
        if missing:
            raise RlaifError(f"{items[0].benchmark}: item {missing[0]} has no group: pass the group of every question")
        return cls(
            benchmark=items[0].benchmark,
            metric=items[0].metric,
            item_ids=tuple(i.item_id for i in items),
            values=tuple(i.value for i in items),
            predictions=tuple(i.prediction for i in items),
            targets=tuple(i.target for i in items),
            groups=tuple(groups[i.item_id] for i in items),
            statuses=tuple(i.status for i in items),
            protocol_hash=items[0].protocol_hash,
            data_sha256=items[0].data_sha256,
        )


@dataclass(frozen=True, slots=True)
class PolicyResults:
    """What the gate sees of a policy. `accuracy` has values 0/1; `score` is `quality` or `token_f1`, in 0-1. One of the
    two is None where the run has no such benchmark.

    `order` is `rouge_l` of the answers where `score` compares words and hardly sees their order: token F1, or `quality`
    by the reference judge. `shuffled` is ROUGE-L of the same answers with their words shuffled, without a value where
    there is hardly an order. Both are None beside the `quality` of a judge that reads. `others` are the benchmarks that
    may not get worse (see `rlaif.evals.benchmarks`), each under a metric name of its own. `consistency` of the same
    answers as `score` is None beside a rubric's score, and in simulations.
    """

    policy_id: str
    accuracy: MetricResults | None
    score: MetricResults | None
    order: MetricResults | None = None
    shuffled: MetricResults | None = None
    others: tuple[MetricResults, ...] = ()
    consistency: MetricResults | None = None


@dataclass(frozen=True, slots=True)
class Paired:
    """The items of one metric that both policies have a value for."""

    source: MetricResults
    champion: list[float]
    challenger: list[float]
    champion_predictions: list[str]
    challenger_predictions: list[str]
    targets: list[str]
    groups: list[str]
    item_ids: list[str]


def pair_both(a: MetricResults | None, b: MetricResults | None) -> Paired | None:
    """:func:`pair` where both policies have the metric, else None."""
    return pair(a, b) if a and b else None


def pair(a: MetricResults, b: MetricResults) -> Paired:
    """Align `b` to `a` by item id and leave out what either side has no value for."""
    place = {item: k for k, item in enumerate(b.item_ids)}
    pairs = [(k, place[item]) for k, item in enumerate(a.item_ids)]
    scored = [(k, j, va, vb) for k, j in pairs if (va := a.values[k]) is not None and (vb := b.values[j]) is not None]
    return Paired(
        a,
        [va for _, _, va, _ in scored],
        [vb for _, _, _, vb in scored],
        [a.predictions[k] for k, _, _, _ in scored],
        [b.predictions[j] for _, j, _, _ in scored],
        [a.targets[k] for k, _, _, _ in scored],
        [a.groups[k] for k, _, _, _ in scored],
        [a.item_ids[k] for k, _, _, _ in scored],
    )
