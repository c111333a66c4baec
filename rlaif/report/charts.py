"""The charts of the report, each a panel of its own so that it is readable on a phone. Numbers in, SVG out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from rlaif import wording as words
from rlaif.report.data import BINS, Score
from rlaif.report.svg import FAINT, GRID, HEIGHT, INK, PAPER, SERIES, axes, svg
from rlaif.wording import Rows

BLUE, ORANGE = SERIES[0], SERIES[1]
PAIR_COLORS = {"kept": SERIES[0], "kept, second choice": SERIES[5]}
DROP_COLORS = [SERIES[i] for i in (1, 2, 3, 4, 6, 7)]  # past six reasons they come again, hatched
# What is drawn of train_log: name -> (title, unit of the vertical axis). Everything else is in the table itself.
CURVES = {
    "loss": ("Loss", "nats"),
    "loss/answer": ("Loss of the answers", "nats per token"),
    "loss/label": ("Loss of the labels", "nats per token"),
    "mean_token_accuracy": ("Tokens predicted right", "share"),
    "rewards/accuracies": ("Pairs ordered right while training", "share"),
    "rewards/margins": ("Reward margin, chosen over rejected", "nats × beta"),
    "logps/chosen": ("Log-probability of the chosen answer", "nats"),
    "logps/rejected": ("Log-probability of the rejected answer", "nats"),
}


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    svg: Markup
    caption: str = ""


def scores(title: str, points: Sequence[tuple[str, Score, bool]], prefix: str) -> Chart:
    """One metric along the rounds: (name, score, promoted). Filled: was champion."""
    context, figure, ax = axes()
    with context:
        for x, (_, score, promoted) in enumerate(points):
            if score.low is not None and score.high is not None:
                ax.plot([x, x], [score.low, score.high], color=BLUE, linewidth=2, solid_capstyle="butt")
            ax.plot(
                x,
                score.mean,
                "o",
                markersize=7.5,
                color=BLUE,
                markerfacecolor=BLUE if promoted else PAPER,
                markeredgewidth=1.8,
            )
            _label(ax, words.number(score.mean), x, score.mean)
        _rounds_axis(ax, [name for name, _, _ in points])
        ax.set_xlim(-0.4, max(len(points) - 1, 0) + 0.7)
        ax.grid(axis="x", visible=False)
    text = "; ".join(
        f"{name} {words.number(s.mean)} ({words.interval(s.low, s.high, plus=False)})" for name, s, _ in points
    )
    sizes = sorted({s.n for _, s, _ in points})
    smallest_and_largest = " to ".join(f"{n:,}" for n in sizes[:: max(len(sizes) - 1, 1)])
    return Chart(title, svg(figure, prefix, f"{title}: {text}"), f"n = {smallest_and_largest}")


def decided(panels: Sequence[tuple[str, Sequence[tuple[str, dict[str, Any]]]]], prefix: str) -> Chart:
    """All that the gate looked for a gain in, in one figure: for each measure a panel of (round's name, gate row
    `better`, or `not_read` where it does not count), each with its figure at the right. Panels have scales of their
    own.
    """
    context, figure, found = axes(sum(0.75 + 0.3 * len(rows) for _, rows in panels), len(panels))
    figure.get_layout_engine().set(hspace=0.12)
    texts = []
    with context:
        for ax, (name, rows) in zip([found] if len(panels) == 1 else found, panels, strict=True):
            ax.axvline(0, color=FAINT, linewidth=1)
            for y, (_, row) in enumerate(rows):
                _gain(ax, y, row)
                ax.annotate(
                    words.signed(row["delta"]), (1.02, y), xycoords=("axes fraction", "data"), va="center", color=INK
                )
            ax.set_yticks(range(len(rows)), [label for label, _ in rows])
            ax.set_ylim(len(rows) - 0.4, -0.6)
            ax.grid(axis="y", visible=False)
            ax.locator_params(axis="x", nbins=5)
            ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
            ax.set_title(f"gain in {name}", loc="left", color=INK)
            spans = [
                f"{label} {words.signed(r['delta'])} ({words.interval(r['ci_low'], r['ci_high'])})"
                + (", does not count" if r["condition"] == "not_read" else "")
                for label, r in rows
            ]
            texts.append(f"{name}: {'; '.join(spans)}")
    caption = "difference to the champion it met, with its 95% interval; filled: it passed the test"
    if any(row["condition"] == "not_read" for _, rows in panels for _, row in rows):
        caption += "; grey: it does not count, as the labels are not shown to be read"
    return Chart("What the gate decided by", svg(figure, prefix, f"Gains. {'. '.join(texts)}"), caption)


def _gain(ax: Any, y: float, row: dict[str, Any]) -> None:
    """One paired difference with its interval, on the line `y`; grey where it does not count."""
    counts = row["condition"] != "not_read"
    color = BLUE if counts else FAINT
    ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=color, linewidth=2, solid_capstyle="butt")
    fill = color if counts and row["passed"] else PAPER
    ax.plot(row["delta"], y, "o", markersize=7.5, color=color, markerfacecolor=fill, markeredgewidth=1.8)


def gains(title: str, rows: Sequence[tuple[str, dict[str, Any]]], prefix: str) -> Chart:
    """Paired difference to the champion that was met, with its 95% interval: (round's name, gate row `better`)."""
    context, figure, ax = axes(1.0 + 0.42 * len(rows))
    with context:
        ax.axvline(0, color=FAINT, linewidth=1)
        least = rows[0][1]["threshold"]
        if least is not None:
            ax.axvline(least, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 3)))
        for y, (_, row) in enumerate(rows):
            _gain(ax, y, row)
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
        ax.set_xlabel("difference to the champion it met")
    text = "; ".join(
        f"{name} {words.signed(r['delta'])} ({words.interval(r['ci_low'], r['ci_high'])})" for name, r in rows
    )
    caption = "" if least is None else f"dashed: least gain worth having, {least:+g}"
    return Chart(title, svg(figure, prefix, f"{title}: {text}"), caption)


def histograms(title: str, bins: Rows, means: dict[int, float | None], prefix: str) -> Chart:
    """The judge's scores, one row of bars per round; `bins` has round, bin, n.

    Heights are shares of the round's answers.
    """
    rounds = sorted({row["round"] for row in bins})
    context, figure, ax = axes(max(2.2, 0.9 + 0.62 * len(rounds)))
    with context:
        for place, round in enumerate(rounds):
            counts = {row["bin"]: row["n"] for row in bins if row["round"] == round}
            shares = [counts.get(i, 0) / sum(counts.values()) for i in range(BINS)]
            top = max(shares)
            floor = float(len(rounds) - 1 - place)
            heights = [0.8 * s / top for s in shares]
            ax.bar([(i + 0.5) / BINS for i in range(BINS)], heights, 0.9 / BINS, bottom=floor, color=BLUE)
            ax.axhline(floor, color=GRID, linewidth=0.8)
            mean = means.get(round)
            if mean is not None:
                ax.plot([mean, mean], [floor, floor + 0.86], color=ORANGE, linewidth=2)
        ax.set_yticks([len(rounds) - 1 - i + 0.3 for i in range(len(rounds))], [f"round {r}" for r in rounds])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.05, len(rounds) - 0.05)
        ax.set_xlim(0, 1)
        ax.set_xlabel("score")
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
    text = "; ".join(f"round {r}: mean {words.number(means.get(r))}" for r in rounds)
    return Chart(title, svg(figure, prefix, f"{title}: {text}"), "orange: the mean; each row has its own height")


def lengths(title: str, rows: Rows, prefix: str) -> Chart:
    """Tokens of the sampled answers by round: median, half and 80% of them.

    Rows have round and quantiles (10, 25, 50, 75, 90%).
    """
    context, figure, ax = axes()
    with context:
        for x, row in enumerate(rows):
            low, first, middle, third, high = row["quantiles"]
            ax.plot([x, x], [low, high], color=BLUE, linewidth=1.5)
            ax.plot([x, x], [first, third], color=BLUE, linewidth=9, solid_capstyle="butt")
            ax.plot(x, middle, "o", markersize=6, color=BLUE, markerfacecolor=PAPER, markeredgewidth=1.5)
            _label(ax, words.number(middle, 0), x, middle)
        _rounds_axis(ax, [f"round {row['round']}" for row in rows])
        ax.set_xlim(-0.5, len(rows) - 0.4)
        ax.set_ylim(0, None)
        ax.set_ylabel("tokens")
        ax.grid(axis="x", visible=False)
    text = "; ".join(f"round {row['round']}: median {words.number(row['quantiles'][2], 0)} tokens" for row in rows)
    caption = "dot: median; thick: half of the answers; thin: 80% of them"
    return Chart(title, svg(figure, prefix, f"{title}: {text}"), caption)


def curves(name: str, lines: Sequence[tuple[str, Rows]], prefix: str, whose: str) -> Chart:
    """One quantity of the training log over the steps.

    `lines`: (policy's name, rows with step and value), in the order of the rounds.
    """
    title, unit = CURVES[name]
    context, figure, ax = axes(HEIGHT + (0.24 * ((len(lines) + 2) // 3) if len(lines) > 1 else 0))
    with context:
        for i, (label, rows) in enumerate(lines):
            style = "-" if i < len(SERIES) else "--"  # past eight rounds colours come again, dashed
            marker = "o" if len(rows) == 1 else ""
            xs, ys = [r["step"] for r in rows], [r["value"] for r in rows]
            ax.plot(xs, ys, style, marker=marker, color=SERIES[i % len(SERIES)], label=label, linewidth=1.6)
        ax.set_xlabel("step")
        ax.set_ylabel(unit)
        ax.locator_params(nbins=6)
        if len(lines) > 1:
            figure.legend(loc="outside lower center", ncols=3, handlelength=1.2, columnspacing=1.2)
    text = "; ".join(
        f"{label}: {words.number(rows[0]['value'])} to {words.number(rows[-1]['value'])}" for label, rows in lines
    )
    return Chart(f"{whose}: {title[0].lower()}{title[1:]}", svg(figure, prefix, f"{whose}, {title}: {text}"))


def yields(title: str, counts: dict[int, dict[str, int]], prefix: str) -> Chart:
    """Questions by round and what became of them: {round: {code: n}}, "kept" first and the others as they come."""
    codes = list(dict.fromkeys(code for of_round in counts.values() for code in of_round))
    height = 1.0 + 0.5 * len(counts) + 0.26 * ((len(codes) + 1) // 2)
    context, figure, ax = axes(height)
    with context:
        left, dropped = [0.0] * len(counts), 0
        for code in codes:
            values = [of_round.get(code, 0) for of_round in counts.values()]
            color, hatch = PAIR_COLORS.get(code), ""
            if color is None:
                color, hatch = DROP_COLORS[dropped % len(DROP_COLORS)], "///" * (dropped // len(DROP_COLORS))
                dropped += 1
            ax.barh(
                range(len(counts)),
                values,
                0.62,
                left,
                color=color,
                edgecolor=PAPER,
                linewidth=0.8,
                hatch=hatch,
                label=code,
            )
            left = [a + b for a, b in zip(left, values, strict=True)]
        ax.set_yticks(range(len(counts)), [f"round {r}" for r in counts])
        ax.invert_yaxis()
        ax.set_xlabel("questions")
        ax.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=2, handlelength=1, handleheight=0.9, columnspacing=1.2)
    text = "; ".join(
        f"round {r}: " + ", ".join(f"{code} {n}" for code, n in of_round.items()) for r, of_round in counts.items()
    )
    return Chart(title, svg(figure, prefix, f"{title}: {text}"))


def _label(ax: Any, text: str, x: float, y: float) -> None:
    """To the right of a point."""
    ax.annotate(text, (x, y), (9, 0), textcoords="offset points", va="center", fontsize=10.5, color=INK)


def _rounds_axis(ax: Any, names: list[str]) -> None:
    """Names of rounds under the axis; only so many that they do not touch."""
    step = (len(names) + 6) // 7
    ax.set_xticks(range(0, len(names), step), names[::step])
    ax.tick_params(axis="x", length=0)
    ax.locator_params(axis="y", nbins=6)
