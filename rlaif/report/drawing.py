"""A matplotlib figure in the colours and the settings of the report, saved as a PNG without a display."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.report.svg import FAINT, GRID, INK, PAPER, SERIES, SETTINGS

# The page's colours (style.css, light) for the stand-ins that the chart settings use.
COLORS = {INK: "#1b2028", FAINT: "#5a6472", GRID: "#dfe3e8", PAPER: "#ffffff"}


LINES = dict(zip(SERIES, "#0072b2 #d55e00 #009e73 #cc79a7 #b58900 #56b4e9 #7f7f7f #5b3a8c".split(), strict=True))
CYCLE = list(LINES.values())
INK_, FAINT_, PAPER_ = COLORS[INK], COLORS[FAINT], COLORS[PAPER]
DPI = 150


@contextmanager
def drawing(path: Path, width: float, height: float, **subplots: Any) -> Iterator[tuple[Any, Any]]:
    """(figure, axes) of `width` x `height` inches, saved to `path` at the end."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    colors = COLORS | LINES
    settings: Any = {
        key: colors.get(value, value) if isinstance(value, str) else value for key, value in SETTINGS.items()
    }
    with mpl.rc_context(settings):
        layout: Any = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
        figure = Figure(figsize=(width, height), layout=layout, facecolor=PAPER_)
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(**subplots)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def small() -> dict[str, Any]:
    return {"fontsize": 10, "color": FAINT_}


PAIRED = {"perplexity": "loss"}  # its exponential: the difference of the one has the interval of the other


def metric_interval(
    metrics: dict[str, Any], name: str, difference: dict[str, Any] | None
) -> tuple[float, float] | tuple[None, None]:
    """A metric's 95% interval.

    Where it has none of its own, it is that of the `difference` to the first policy, around the value.
    """
    estimate = metrics[name]
    if estimate.get("ci_low") is not None:
        return estimate["ci_low"], estimate["ci_high"]
    if not difference or difference["ci_low"] is None:
        return None, None
    start = metrics[PAIRED.get(name, name)]["mean"] - difference["delta"]
    low, high = start + difference["ci_low"], start + difference["ci_high"]
    return (math.exp(low), math.exp(high)) if name == "perplexity" else (low, high)
