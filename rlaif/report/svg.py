"""A matplotlib figure as SVG inside a page.

Text stays text, colours follow the page (dark mode), and nothing is loaded from outside. matplotlib is imported when a
chart is drawn, not before; without pyplot, which would look for a display.
"""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import Any

from markupsafe import Markup

from rlaif.wording import printable

WIDTH, HEIGHT = 4.4, 2.8  # inches at 72 units: about the width of a phone, so that the text keeps its size there
# Stand-ins that no chart uses otherwise; in the page they are the variables of style.css. Series: Okabe and Ito (2008),
# made for all kinds of colour vision.
INK, FAINT, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0501{i:02x}" for i in range(8))
VARIABLES = {INK: "ink", FAINT: "faint", GRID: "grid", PAPER: "paper"} | {
    color: f"c{i}" for i, color in enumerate(SERIES)
}

SETTINGS = {
    "svg.fonttype": "none",  # <text>, which can be read, searched and scaled
    "svg.hashsalt": "rlaif",  # the same figure gives the same bytes
    "text.parse_math": False,  # a $ in a name is a dollar
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 1.8,
    "axes.unicode_minus": True,
}


def axes(height: float = HEIGHT, panels: int = 1) -> tuple[Any, Any, Any]:
    """(context, figure, axes): draw inside the context, then hand the figure to :func:`svg`. `height` in inches; more
    than one of `panels`, on top of each other, are an array.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    context = mpl.rc_context(SETTINGS)  # type: ignore[arg-type]
    with context:
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_visible(False)
        return mpl.rc_context(SETTINGS), figure, figure.subplots(panels)  # type: ignore[arg-type]


def svg(figure: Any, prefix: str, title: str) -> Markup:
    """The figure as an `<svg>` element with `title` for those who cannot see it.

    `prefix` makes its ids unique in the page.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has the letters that our font has not
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    box = re.search(r'viewBox="([^"]+)"', text)
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r"xlink:href=", "href=", body)
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)  # the page's own
    for color, name in VARIABLES.items():
        body = body.replace(color, f"var(--{name})")
    body, label = printable(body), escape(printable(title))
    view = box[1] if box else ""
    return Markup(f'<svg viewBox="{view}" role="img" aria-label="{label}"><title>{label}</title>{body}</svg>')
