"""What training changed on the gate's items: every metric before and after, and the change with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.evals.loss import LOSS, by_item, per_token, perplexity
from rlaif.run import Run
from rlaif.stats import grouped_mean

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Items:
    """One metric of the items that both policies have a value for; all tuples have one entry an item."""

    before: tuple[float, ...]
    after: tuple[float, ...]
    groups: tuple[str, ...]


def before_and_after(run: Run, before: str, after: str) -> list[Row]:
    """[{"benchmark", "metric", "n", "before", "after", "change", "change_low", "change_high"}] of two policies' stored
    results on the gate's items, in the order of the names; loss and perplexity of the references come last.

    The interval is the paired two-sided 95% one, clustered by group (see `stats.mean_interval`); None where there are
    under two groups.
    """
    found = _read(run, before, after)
    rows = [
        _row(benchmark, metric, items, len(items.before), _mean(items.before), _mean(items.after))
        for (benchmark, metric), items in found.items()
        if metric not in LOSS
    ]
    for benchmark in dict.fromkeys(b for b, metric in found if metric in LOSS):
        nats, tokens = (found[benchmark, metric] for metric in LOSS)
        rows += _losses(benchmark, nats, tokens)
    return rows


def _read(run: Run, before: str, after: str) -> dict[tuple[str, str], Items]:
    rows = run.store.query(
        "SELECT benchmark, metric, g, before, after FROM ("
        "SELECT e.benchmark, e.metric, e.item_id, coalesce(any_value(q.group_id), e.item_id) AS g, "
        "avg(value) FILTER (policy_id = ?) AS before, avg(value) FILTER (policy_id = ?) AS after "
        "FROM eval_items e LEFT JOIN questions q ON q.question_id = e.item_id "
        "WHERE e.split = 'gate' GROUP BY e.benchmark, e.metric, e.item_id) "
        "WHERE before IS NOT NULL AND after IS NOT NULL ORDER BY benchmark, metric, item_id",
        [before, after],
    )
    keys = dict.fromkeys((r["benchmark"], r["metric"]) for r in rows)
    of = {key: [r for r in rows if (r["benchmark"], r["metric"]) == key] for key in keys}
    return {key: Items(*(tuple(r[c] for r in mine) for c in ("before", "after", "g"))) for key, mine in of.items()}


def _losses(benchmark: str, nats: Items, tokens: Items) -> list[Row]:
    """Nats per token over all tokens, and its exponential.

    Their spread is that of `by_item`, for the perplexity times itself (the delta method).
    """
    first, last = (per_token(side, tokens.after)[0] for side in (nats.before, nats.after))
    if first is None or last is None:
        return []
    one, other = by_item(nats.before, tokens.after, first), by_item(nats.after, tokens.after, last)
    rows = []
    for metric, ends, scales in (
        ("loss", (first, last), (1.0, 1.0)),
        ("perplexity", (perplexity(first), perplexity(last)), (perplexity(first), perplexity(last))),
    ):
        before, after = (tuple(scale * v for v in side) for scale, side in zip(scales, (one, other), strict=True))
        rows.append(_row(benchmark, metric, Items(before, after, nats.groups), len(nats.groups), *ends))
    return rows


def _row(benchmark: str, metric: str, items: Items, n: int, before: float, after: float) -> Row:
    """`items` have the spread of the change; where their own mean is another, the interval is moved to the change."""
    changes = [b - a for a, b in zip(items.before, items.after, strict=True)]
    found, change = grouped_mean(changes, items.groups), after - before
    low, high = (end + change - found.mean for end in found.interval) if found.interval else (None, None)
    row = {"benchmark": benchmark, "metric": metric, "n": n, "before": before, "after": after}
    return row | {"change": change, "change_low": low, "change_high": high}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
