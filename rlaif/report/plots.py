"""`compare --plots DIR`: what was compared, and the training behind it, as PNG files. matplotlib's Agg, no display needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.evals.stored import METRICS
from rlaif.report.data import Data, Score, read
from rlaif.report.svg import FAINT, GRID, INK, PAPER, SERIES, SETTINGS
from rlaif.run import Run
from rlaif.types import RlaifError
from rlaif.wording import metric, number, policy_names

# The page's colours (style.css, light) for the stand-ins that the chart settings use.
COLORS = {INK: "#1b2028", FAINT: "#5a6472", GRID: "#dfe3e8", PAPER: "#ffffff"}
LINES = dict(zip(SERIES, "#0072b2 #d55e00 #009e73 #cc79a7 #b58900 #56b4e9 #7f7f7f #5b3a8c".split(), strict=True))
CYCLE = list(LINES.values())
INK_, FAINT_, PAPER_ = COLORS[INK], COLORS[FAINT], COLORS[PAPER]
DPI = 150
PAIRED = {"perplexity": "loss"}  # its exponential: the difference of the one has the interval of the other
SMOOTH = 0.1  # share of the steps that the running mean of a training curve is over


def write_plots(run: Run, result: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the result of :func:`rlaif.evals.compare.compare` into `folder`, made if need be; returns the files written.

    scores.png, error_lengths.png, confusion.png (labelled benchmarks), training_loss.png and learning_curve.png (where a compared policy
    was trained). RlaifError when the folder cannot be written.
    """
    data = read(run.store)
    lineage = lineage_of(data, [p["policy_id"] for p in result["policies"]])
    order = dict.fromkeys([p["policy_id"] for p in result["policies"]] + [p["policy_id"] for p in lineage])
    colors = {policy_id: CYCLE[i % len(CYCLE)] for i, policy_id in enumerate(order)}  # those compared look alike in all charts
    rows = run.store.query("SELECT policy_id, max(step) AS step FROM train_log GROUP BY policy_id")
    last_steps = {row["policy_id"]: int(row["step"]) for row in rows}  # the curves are averaged down where they are long
    charts: dict[str, Callable[[Path], bool]] = {
        "scores": lambda path: scores(result, path),
        "confusion": lambda path: confusion(result, path),
        "error_lengths": lambda path: error_lengths(result, path),
        "training_loss": lambda path: training_loss(data, lineage, colors, path),
        "learning_curve": lambda path: learning_curve(data, lineage, result, last_steps, colors, path),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [path for name, draw in charts.items() if draw(path := folder / f"{name}.png")]
    except OSError as error:
        raise RlaifError(f"--plots {error.filename or folder}: {error.strerror}; give a folder that can be written") from error


@contextmanager
def drawing(path: Path, width: float, height: float, **subplots: Any) -> Iterator[tuple[Any, Any]]:
    """(figure, axes) of `width` x `height` inches, saved to `path` at the end."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    real = COLORS | LINES
    chosen: Any = {key: real.get(value, value) if isinstance(value, str) else value for key, value in SETTINGS.items()}
    with mpl.rc_context(chosen):
        layout: Any = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
        figure = Figure(figsize=(width, height), layout=layout, facecolor=PAPER_)
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(**subplots)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def scores(result: dict[str, Any], path: Path) -> bool:
    """Each metric's mean and 95% interval, a panel a metric, a row a policy."""
    policies = result["policies"]
    shown = list(policies[0]["metrics"])
    differences = {(d["policy_id"], d["metric"]): d for d in result["differences"]}
    with drawing(path, 3.1 * len(shown) + 1.4, 1.3 + 0.5 * len(policies), ncols=len(shown), squeeze=False, sharey=True) as (figure, grid):
        for ax, name in zip(grid[0], shown, strict=True):
            for y, policy in enumerate(policies):
                found, color = policy["metrics"][name], CYCLE[y % len(CYCLE)]
                low, high = own_interval(policy["metrics"], name, differences.get((policy["policy_id"], PAIRED.get(name, name))))
                if low is not None:
                    ax.plot([low, high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
                ax.plot(found["mean"], y, "o", color=color, markersize=7)
                ax.annotate(
                    number(found["mean"], 2 if name == "perplexity" else 3),
                    (found["mean"], y),
                    (0, 9),
                    textcoords="offset points",
                    ha="center",
                    fontsize=10,
                )
            ax.set_title(metric(name) + (" (nats a token)" if name == "loss" else ""))
            ax.set_ylim(len(policies) - 0.5, -0.7)
            ax.margins(x=0.15)
            ax.grid(axis="y", visible=False)
            ax.locator_params(axis="x", nbins=5)
        grid[0][0].set_yticks(range(len(policies)), [p["name"] for p in policies])
        alone = [m for m in shown if policies[0]["metrics"][m].get("ci_low") is None]
        paired = f"; of {', '.join(map(metric, alone))}: of the difference to {policies[0]['name']}" if alone else ""
        figure.supxlabel(f"{result['n']:,} items of {result['benchmark']} ({result['split']}); lines: 95% intervals{paired}", **small())
    return True


def own_interval(metrics: dict[str, Any], name: str, against: dict[str, Any] | None) -> tuple[float, float] | tuple[None, None]:
    """A metric's 95% interval; where it has none of its own, that of the difference to the first policy, around the value."""
    found = metrics[name]
    if found.get("ci_low") is not None:
        return found["ci_low"], found["ci_high"]
    if not against or against["ci_low"] is None:
        return None, None
    start = metrics[PAIRED.get(name, name)]["mean"] - against["delta"]
    low, high = start + against["ci_low"], start + against["ci_high"]
    return (math.exp(low), math.exp(high)) if name == "perplexity" else (low, high)


def confusion(result: dict[str, Any], path: Path) -> bool:
    """Right answer by given answer, a panel a policy; shades are shares of the right answer's items."""
    policies = [p for p in result["policies"] if "confusion" in p]
    if not policies:
        return False
    labels = list(policies[0]["confusion"])
    other = any(row["other"] for p in policies for row in p["confusion"].values())
    given = [*labels, "other"] if other else labels
    with drawing(path, 0.6 + 2.9 * len(policies), 3.4, ncols=len(policies), squeeze=False, sharey=True) as (figure, grid):
        for ax, policy in zip(grid[0], policies, strict=True):
            counts = [[policy["confusion"][target][answer] for answer in given] for target in labels]
            shares = [[n / max(sum(row), 1) for n in row] for row in counts]
            ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
            for y, row in enumerate(counts):
                for x, n in enumerate(row):
                    ax.text(x, y, f"{n:,}", ha="center", va="center", color=PAPER_ if shares[y][x] > 0.6 else INK_, fontsize=12)
            ax.set_xticks(range(len(given)), given)
            ax.set_yticks(range(len(labels)), labels)
            ax.tick_params(length=0)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
            f1 = policy["metrics"].get("macro_f1", {}).get("mean")
            ax.set_title(f"{policy['name']}\naccuracy {number(policy['metrics']['accuracy']['mean'])}, macro-F1 {number(f1)}")
        grid[0][0].set_ylabel("right answer")
        figure.supxlabel(f"answer given; {result['n']:,} items of {result['benchmark']} ({result['split']})", **small())
    return True


def error_lengths(result: dict[str, Any], path: Path) -> bool:
    """How long the errors are, in words, a row of bars a policy on common bins."""
    policies = result["policies"]
    every = [n for p in policies for n in p["error_lengths"]]
    if not every:
        return False
    (score, limit), *_ = result["error_below"].items()
    low, high = min(every), max(every) + 1
    width = max(1, -(-(high - low) // 24))
    bins = list(range(low, high + width, width))
    with drawing(path, 6.4, 1.3 + 1.5 * len(policies), nrows=len(policies), squeeze=False, sharex=True) as (figure, grid):
        for i, (ax, policy) in enumerate(zip(grid[:, 0], policies, strict=True)):
            lengths = sorted(policy["error_lengths"])
            ax.hist(lengths, bins=bins, color=CYCLE[i % len(CYCLE)], rwidth=0.92)
            told = f"{policy['name']}: {len(lengths):,} errors"
            if lengths:
                middle = lengths[len(lengths) // 2]
                ax.axvline(middle, color=INK_, linewidth=1.2, linestyle=(0, (4, 3)))
                told += f", median {middle:,} words"
            ax.set_title(told, loc="left")
            ax.grid(axis="x", visible=False)
            ax.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        what = "the abstract and question" if "confusion" in policies[0] else "the answer"
        error = f"wrong answers in {result['benchmark']}" if "confusion" in policies[0] else f"{metric(score)} below {limit:g}"
        figure.supxlabel(f"words of {what}\nerrors: {error}; dashed: median; each row has its own height", **small())
    return True


def lineage_of(data: Data, policy_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The policies and all that they descend from, in the order of the rounds."""
    rows = {p["policy_id"]: p for p in data["policies"]}
    wanted: set[str] = set()
    todo = list(policy_ids)
    while todo:
        policy = rows.get(todo.pop())
        if policy and policy["policy_id"] not in wanted:
            wanted.add(policy["policy_id"])
            todo.append(policy["parent_id"])
    return [p for i, p in rows.items() if i in wanted]


def training_loss(data: Data, lineage: Sequence[dict[str, Any]], colors: dict[str, str], path: Path) -> bool:
    """The loss while each policy of the lineage was trained, and the share of tokens foreseen; SFT and DPO have losses of their own.

    Each step faint, with its running mean over a tenth of the steps: a step is a few examples, so neighbours differ a lot.
    """
    names = policy_names(data["policies"])
    panels = []
    for kind, name, title in PANELS:
        curves = {p["policy_id"]: [r for r in data["curves"] if (r["policy_id"], r["name"]) == (p["policy_id"], name)] for p in lineage}
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
    ("sft", "loss", "SFT: loss, nats a token"),
    ("sft", "mean_token_accuracy", "SFT: tokens foreseen, share"),
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
    """Score and loss on held-out items against all training steps behind a policy, along each line of descent that was compared."""
    by_id = {p["policy_id"]: p for p in lineage}
    behind: dict[str, int] = {}
    for policy in lineage:  # parents come first
        behind[policy["policy_id"]] = behind.get(policy["parent_id"], 0) + last_steps.get(policy["policy_id"], 0)
    if not any(behind.values()):
        return False
    names = policy_names(data["policies"])
    benchmark = next(b for b in METRICS if result["benchmark"].startswith(b))
    shown = (*METRICS[benchmark], "loss")
    with drawing(path, 3.9 * len(shown), 3.6, ncols=len(shown), squeeze=False) as (figure, grid):
        for ax, name in zip(grid[0], shown, strict=True):
            found = compared_points(result, name) if name == "loss" else held_out_points(data.scores, by_id, result, name)
            for policy in lineage:
                parent = by_id.get(policy["parent_id"])
                while parent and parent["policy_id"] not in found:  # not evaluated on these items: the line goes on from its own parent
                    parent = by_id.get(parent["parent_id"])
                if parent and policy["policy_id"] in found:
                    ends = [parent["policy_id"], policy["policy_id"]]
                    ax.plot([behind[i] for i in ends], [found[i][0] for i in ends], color=COLORS[FAINT], linewidth=1.2, zorder=1)
            for policy in lineage:
                if policy["policy_id"] in found:
                    mean, low, high = found[policy["policy_id"]]
                    x, color = behind[policy["policy_id"]], colors[policy["policy_id"]]
                    if low is not None:
                        ax.plot([x, x], [low, high], color=color, linewidth=2, solid_capstyle="butt")
                    ax.plot(x, mean, "o", color=color, markersize=7, label=f"{names[policy['policy_id']]}, {x:,} steps")
            ax.set_title(metric(name) + (" (nats a token)" if name == "loss" else ""), loc="left")
            ax.set_xlabel("training steps")
            ax.margins(x=0.08, y=0.12)
            ax.locator_params(nbins=5)
        labelled = max(grid[0], key=lambda ax: len(ax.get_legend_handles_labels()[0])).get_legend_handles_labels()
        figure.legend(*labelled, loc="outside upper center", ncols=4)
        n = f"{result['n']:,} items of {result['benchmark']} ({result['split']})"
        figure.supxlabel(f"{n}; steps of SFT and DPO added up; lines: 95% intervals, of loss: of the difference to the first", **small())
    return True


Point = tuple[float, float | None, float | None]  # a mean and its 95% interval


def compared_points(result: dict[str, Any], name: str) -> dict[str, Point]:
    """policy_id -> a metric as the comparison has it."""
    differences = {(d["policy_id"], d["metric"]): d for d in result["differences"]}
    return {
        p["policy_id"]: (p["metrics"][name]["mean"], *own_interval(p["metrics"], name, differences.get((p["policy_id"], name))))
        for p in result["policies"]
    }


def held_out_points(scores: Sequence[Score], by_id: dict[str, Any], result: dict[str, Any], name: str) -> dict[str, Point]:
    """policy_id -> a metric of all policies of the lineage, on one set of items and by one protocol: those that most policies have."""
    best: dict[tuple[str, str, str], dict[str, Point]] = {}
    for s in scores:
        if s.policy_id in by_id and (s.benchmark, s.split, s.metric) == (result["benchmark"], result["split"], name):
            best.setdefault(s.protocol, {})[s.policy_id] = (s.mean, s.low, s.high)
    nothing: dict[str, Point] = {}
    return max(best.values(), key=len, default=nothing)


def small() -> dict[str, Any]:
    return {"fontsize": 10, "color": FAINT_}
