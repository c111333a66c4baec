"""The charts of the report as objects that a notebook shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from rlaif.report.charts import Chart
from rlaif.report.drawing import COLORS, LINES
from rlaif.report.svg import VARIABLES
from rlaif.wording import printable

# The page has its colours in style.css; a notebook has none of that, so they are written into the drawing (light).
_HEX = {name: (COLORS | LINES)[color] for color, name in VARIABLES.items()}
_OPEN = (
    f'<svg xmlns="http://www.w3.org/2000/svg" style="background:{_HEX["paper"]};font-family:sans-serif;'
    'width:100%;max-width:480px" '
)


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart: its title, a caption that may be empty, and a whole SVG document as text."""

    title: str
    caption: str
    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        caption = f"<br><small>{escape(printable(self.caption))}</small>" if self.caption else ""
        title = f"<figcaption><b>{escape(printable(self.title))}</b>{caption}</figcaption>"
        return f'<figure style="margin:0;width:480px;max-width:100%">{title}{self.svg}</figure>'

    def __repr__(self) -> str:
        return f"<Plot {self.title!r}>"


class Plots(tuple[Plot, ...]):
    """Charts in the order of the report; a notebook shows them side by side."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        shown = "".join(plot._repr_html_() for plot in self)
        return f'<div style="display:flex;flex-wrap:wrap;gap:16px">{shown}</div>'


def plots_of(charts: Iterable[Chart]) -> Plots:
    """The charts of :func:`rlaif.report.page.every_chart`, each a drawing of its own with its colours in it."""
    return Plots(Plot(chart.title, chart.caption, _standalone(str(chart.svg))) for chart in charts)


def _standalone(svg: str) -> str:
    return re.sub(r"var\(--(\w+)\)", lambda found: _HEX[found[1]], svg).replace("<svg ", _OPEN, 1)
