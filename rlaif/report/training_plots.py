"""Charts of the training behind a comparison: the loss of each policy, and a metric over the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlaif.evals.benchmarks import BENCHMARKS, PLUGIN_METRIC
from rlaif.report.data import Data, Score
from rlaif.report.drawing import FAINT_, drawing, metric_interval, small
from rlaif.wording import metric, policy_names

SMOOTH = 0.1  # share of the steps that the running mean of a training curve is over


def lineage_of(data: Data, policy_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The policies and all that they descend from, in the order of the rounds."""
    rows = {p["policy_id"]: p for p in data["policies"]}
    lineage_ids: set[str] = set()
    todo = list(policy_ids)
    while todo:
        policy = rows.get(todo.pop())
        if policy and policy["policy_id"] not in lineage_ids:
            lineage_ids.add(policy["policy_id"])
            todo.append(policy["parent_id"])
    return [p for i, p in rows.items() if i in lineage_ids]


def training_loss(data: Data, lineage: Sequence[dict[str, Any]], colors: dict[str, str], path: Path) -> bool:
    """The loss while each policy of the lineage was trained, and the share of tokens foreseen.

    SFT and DPO have losses of their own. Each step is faint, with its running mean over a tenth of the steps: a step is
    a few examples, so neighbours differ a lot.
    """
    names = policy_names(data["policies"])
    panels = []
    for kind, name, title in PANELS:
        curves = {
            p["policy_id"]: [r for r in data["curves"] if (r["policy_id"], r["name"]) == (p["policy_id"], name)]
            for p in lineage
        }
        drawn = [p for p in lineage if p["kind"] == kind and curves[p["policy_id"]]]
        if drawn:
            panels.append((title, drawn, curves))
    if not panels:
        return False
    with drawing(path, 4.6 * len(panels), 3.4, ncols=len(panels), squeeze=False) as (figure, grid):
        for ax, (title, drawn, curves) in zip(grid[0], panels, strict=True):
            for policy in drawn:
                rows, color = curves[policy["policy_id"]], colors[policy["policy_id"]]
                xs, ys = [r["step"] for r in rows], [r["value"] for r in rows]
                ax.plot(xs, ys, marker="o" if len(rows) == 1 else "", color=color, linewidth=0.9, alpha=0.35)
                ax.plot(xs, running_mean(ys), color=color, label=names[policy["policy_id"]])
            ax.set_title(title, loc="left")
            ax.set_xlabel("step")
            ax.margins(y=0.08)
            if len(drawn) > 1 or len(lineage) > 2:
                ax.legend()
        figure.supxlabel("faint: each step; line: running mean over a tenth of the steps", **small())
    return True


PANELS = (
    ("sft", "loss", "SFT: loss, nats per token"),
    ("sft", "loss/answer", "SFT: loss of the answers, nats per token"),
    ("sft", "loss/label", "SFT: loss of the labels, nats per token"),
    ("sft", "mean_token_accuracy", "SFT: tokens foreseen, share"),
    ("raft", "loss", "Best of k: loss, nats per token"),
    ("dpo", "loss", "DPO: loss, with its share of SFT"),
)


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, over a share SMOOTH of all; of fewer at the ends."""
    half = round(len(values) * SMOOTH / 2)
    near = [values[max(i - half, 0) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in near]


def learning_curve(
    data: Data,
    lineage: Sequence[dict[str, Any]],
    result: dict[str, Any],
    last_steps: dict[str, int],
    colors: dict[str, str],
    path: Path,
) -> bool:
    """Score and loss on held-out items against all training steps behind a policy.

    The lines follow each line of descent that was compared.
    """
    by_id = {p["policy_id"]: p for p in lineage}
    behind: dict[str, int] = {}
    for policy in lineage:  # parents come first
        behind[policy["policy_id"]] = behind.get(policy["parent_id"], 0) + last_steps.get(policy["policy_id"], 0)
    if not any(behind.values()):
        return False
    names = policy_names(data["policies"])
    measured = (b.metrics for name, b in BENCHMARKS.items() if result["benchmark"].startswith(name))
    shown = (*next(measured, (PLUGIN_METRIC,)), "loss")
    with drawing(path, 3.9 * len(shown), 3.6, ncols=len(shown), squeeze=False) as (figure, grid):
        for ax, name in zip(grid[0], shown, strict=True):
            if name == "loss":
                points = compared_points(result, name)
            else:
                points = held_out_points(data.scores, by_id, result, name)
            for policy in lineage:
                parent = by_id.get(policy["parent_id"])
                # One that was not evaluated on these items is left out: the line goes on from its own parent.
                while parent and parent["policy_id"] not in points:
                    parent = by_id.get(parent["parent_id"])
                if parent and policy["policy_id"] in points:
                    ends = [parent["policy_id"], policy["policy_id"]]
                    xs, ys = [behind[i] for i in ends], [points[i][0] for i in ends]
                    ax.plot(xs, ys, color=FAINT_, linewidth=1.2, zorder=1)
            for policy in lineage:
                if policy["policy_id"] in points:
                    mean, low, high = points[policy["policy_id"]]
                    x, color = behind[policy["policy_id"]], colors[policy["policy_id"]]
                    if low is not None:
                        ax.plot([x, x], [low, high], color=color, linewidth=2, solid_capstyle="butt")
                    ax.plot(x, mean, "o", color=color, markersize=7, label=f"{names[policy['policy_id']]}, {x:,} steps")
            ax.set_title(metric(name) + (" (nats per token)" if name == "loss" else ""), loc="left")
            ax.set_xlabel("training steps")
            ax.margins(x=0.08, y=0.12)
            ax.locator_params(nbins=5)
        labelled = max(grid[0], key=lambda ax: len(ax.get_legend_handles_labels()[0])).get_legend_handles_labels()
        figure.legend(*labelled, loc="outside upper center", ncols=4)
        n = f"{result['n']:,} items of {result['benchmark']} ({result['split']})"
        figure.supxlabel(
            f"{n}; steps of SFT and DPO added up; lines: 95% intervals, of loss: of the difference to the first",
            **small(),
        )
    return True


Point = tuple[float, float | None, float | None]  # a mean and its 95% interval


def compared_points(result: dict[str, Any], name: str) -> dict[str, Point]:
    """policy_id -> a metric as the comparison has it."""
    differences = {d["policy_id"]: d for d in result["differences"] if d["metric"] == name}
    points: dict[str, Point] = {}
    for policy in result["policies"]:
        interval = metric_interval(policy["metrics"], name, differences.get(policy["policy_id"]))
        points[policy["policy_id"]] = (policy["metrics"][name]["mean"], *interval)
    return points


def held_out_points(
    scores: Sequence[Score], by_id: dict[str, Any], result: dict[str, Any], name: str
) -> dict[str, Point]:
    """policy_id -> a metric of all policies of the lineage, on one set of items and by one protocol.

    Of several, these are the ones that most policies have.
    """
    best: dict[tuple[str, str, str], dict[str, Point]] = {}
    for s in scores:
        if s.policy_id in by_id and (s.benchmark, s.split, s.metric) == (result["benchmark"], result["split"], name):
            best.setdefault(s.protocol, {})[s.policy_id] = (s.mean, s.low, s.high)
    no_points: dict[str, Point] = {}
    return max(best.values(), key=len, default=no_points)
