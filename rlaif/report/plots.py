"""`compare --plots DIR`: what was compared, and the training behind it, as PNG files.

They are drawn by matplotlib's Agg, which needs no display.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.report.data import read
from rlaif.report.drawing import CYCLE, INK_, PAIRED, PAPER_, drawing, metric_interval, small
from rlaif.report.training_plots import learning_curve, lineage_of, training_loss
from rlaif.run import Run
from rlaif.types import RlaifError
from rlaif.wording import metric, number


def write_plots(run: Run, result: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the result of :func:`rlaif.evals.compare.compare` into `folder`, made if need be; returns the files written.

    scores.png, error_lengths.png, confusion.png (labelled benchmarks), training_loss.png and learning_curve.png (where
    a compared policy was trained). RlaifError when the folder cannot be written.
    """
    data = read(run.store)
    lineage = lineage_of(data, [p["policy_id"] for p in result["policies"]])
    order = dict.fromkeys([p["policy_id"] for p in result["policies"]] + [p["policy_id"] for p in lineage])
    # The compared policies look alike in all charts.
    colors = {policy_id: CYCLE[i % len(CYCLE)] for i, policy_id in enumerate(order)}
    # From the log itself: the curves are averaged down where they are long.
    rows = run.store.query("SELECT policy_id, max(step) AS step FROM train_log GROUP BY policy_id")
    last_steps = {row["policy_id"]: int(row["step"]) for row in rows}
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
        where = error.filename or folder
        raise RlaifError(f"--plots {where}: {error.strerror}; give a folder that can be written") from error


def scores(result: dict[str, Any], path: Path) -> bool:
    """Each metric's mean and 95% interval, with a panel per metric and a row per policy."""
    policies = result["policies"]
    shown = list(policies[0]["metrics"])
    differences = {(d["policy_id"], d["metric"]): d for d in result["differences"]}
    width, height = 3.1 * len(shown) + 1.4, 1.3 + 0.5 * len(policies)
    with drawing(path, width, height, ncols=len(shown), squeeze=False, sharey=True) as (figure, grid):
        for ax, name in zip(grid[0], shown, strict=True):
            for y, policy in enumerate(policies):
                mean, color = policy["metrics"][name]["mean"], CYCLE[y % len(CYCLE)]
                difference = differences.get((policy["policy_id"], PAIRED.get(name, name)))
                low, high = metric_interval(policy["metrics"], name, difference)
                if low is not None:
                    ax.plot([low, high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
                ax.plot(mean, y, "o", color=color, markersize=7)
                ax.annotate(
                    number(mean, 2 if name == "perplexity" else 3),
                    (mean, y),
                    (0, 9),
                    textcoords="offset points",
                    ha="center",
                    fontsize=10,
                )
            ax.set_title(metric(name) + (" (nats per token)" if name == "loss" else ""))
            ax.set_ylim(len(policies) - 0.5, -0.7)
            ax.margins(x=0.15)
            ax.grid(axis="y", visible=False)
            ax.locator_params(axis="x", nbins=5)
        grid[0][0].set_yticks(range(len(policies)), [p["name"] for p in policies])
        without = [m for m in shown if policies[0]["metrics"][m].get("ci_low") is None]
        names = ", ".join(map(metric, without))
        paired = f"; of {names}: of the difference to {policies[0]['name']}" if without else ""
        figure.supxlabel(
            f"{result['n']:,} items of {result['benchmark']} ({result['split']}); lines: 95% intervals{paired}",
            **small(),
        )
    return True


def confusion(result: dict[str, Any], path: Path) -> bool:
    """Right answer by given answer, with a panel per policy; shades are shares of the right answer's items."""
    policies = [p for p in result["policies"] if "confusion" in p]
    if not policies:
        return False
    labels = list(policies[0]["confusion"])
    any_other = any(row["other"] for p in policies for row in p["confusion"].values())
    given = [*labels, "other"] if any_other else labels
    width = 0.6 + 2.9 * len(policies)
    with drawing(path, width, 3.4, ncols=len(policies), squeeze=False, sharey=True) as (figure, grid):
        for ax, policy in zip(grid[0], policies, strict=True):
            counts = [[policy["confusion"][target][answer] for answer in given] for target in labels]
            shares = [[n / max(sum(row), 1) for n in row] for row in counts]
            ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
            for y, row in enumerate(counts):
                for x, n in enumerate(row):
                    color = PAPER_ if shares[y][x] > 0.6 else INK_
                    ax.text(x, y, f"{n:,}", ha="center", va="center", color=color, fontsize=12)
            ax.set_xticks(range(len(given)), given)
            ax.set_yticks(range(len(labels)), labels)
            ax.tick_params(length=0)
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
            accuracy, f1 = policy["metrics"]["accuracy"]["mean"], policy["metrics"].get("macro_f1", {}).get("mean")
            ax.set_title(f"{policy['name']}\naccuracy {number(accuracy)}, macro-F1 {number(f1)}")
        grid[0][0].set_ylabel("right answer")
        figure.supxlabel(f"answer given; {result['n']:,} items of {result['benchmark']} ({result['split']})", **small())
    return True


def error_lengths(result: dict[str, Any], path: Path) -> bool:
    """How long the errors are, in words, with a row of bars per policy on common bins."""
    policies = result["policies"]
    every = [n for p in policies for n in p["error_lengths"]]
    if not every:
        return False
    (score, limit), *_ = result["error_below"].items()
    low, high = min(every), max(every) + 1
    width = max(1, -(-(high - low) // 24))
    bins = list(range(low, high + width, width))
    height = 1.3 + 1.5 * len(policies)
    with drawing(path, 6.4, height, nrows=len(policies), squeeze=False, sharex=True) as (figure, grid):
        for i, (ax, policy) in enumerate(zip(grid[:, 0], policies, strict=True)):
            lengths = sorted(policy["error_lengths"])
            ax.hist(lengths, bins=bins, color=CYCLE[i % len(CYCLE)], rwidth=0.92)
            title = f"{policy['name']}: {len(lengths):,} errors"
            if lengths:
                middle = lengths[len(lengths) // 2]
                ax.axvline(middle, color=INK_, linewidth=1.2, linestyle=(0, (4, 3)))
                title += f", median {middle:,} words"
            ax.set_title(title, loc="left")
            ax.grid(axis="x", visible=False)
            ax.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        if "confusion" in policies[0]:
            text, error = "the abstract and question", f"wrong answers in {result['benchmark']}"
        else:
            text, error = "the answer", f"{metric(score)} below {limit:g}"
        figure.supxlabel(f"words of {text}\nerrors: {error}; dashed: median; each row has its own height", **small())
    return True
