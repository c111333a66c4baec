"""The charts as a notebook gets them: whole SVG documents, with nothing left to a page around them."""

import re
from xml.dom import minidom

import pytest

import rlaif
from rlaif.report.charts import Chart
from rlaif.report.notebook import plots_of
from stores.store import Store

HOSTILE = "<script>alert(1)</script>"


def test_a_chart_stands_alone_with_its_colours() -> None:
    drawn = Chart("Loss", '<svg viewBox="0 0 9 9"><path fill="var(--c0)" stroke="var(--ink)"/></svg>', "n = 3")  # type: ignore[arg-type]
    (plot,) = plots_of([drawn])
    document = minidom.parseString(plot._repr_svg_()).documentElement
    assert document.tagName == "svg" and document.getAttribute("xmlns") == "http://www.w3.org/2000/svg"
    assert "#0072b2" in plot.svg and "#1b2028" in plot.svg and "var(" not in plot.svg
    assert "<b>Loss</b><br><small>n = 3</small>" in plot._repr_html_() and repr(plot) == "<Plot 'Loss'>"


def test_words_of_a_run_are_no_markup() -> None:
    plots = plots_of([Chart(HOSTILE, "<svg ></svg>", HOSTILE)])  # type: ignore[arg-type]
    assert "<script" not in plots._repr_html_() and plots._repr_html_().count("&lt;script&gt;") == 2


@pytest.mark.slow
def test_a_run_has_the_charts_of_its_report(finished: Store) -> None:
    from rlaif.report.page import write_report

    run = rlaif.open(finished.path.parent)
    plots = rlaif.plots(run)
    page = write_report(run.folder).read_text("utf-8")
    assert len(plots) == len(re.findall("<svg", page)) and plots._repr_html_().count("<svg") == len(plots)
    for plot in plots:
        minidom.parseString(plot.svg)
    losses = rlaif.plots(run, "loss")
    assert losses and all("loss" in plot.title.lower() for plot in losses)
    with pytest.raises(rlaif.UsageError, match="no chart has 'nothing' in its title; there are: .*Judge's scores"):
        rlaif.plots(run, "nothing")
