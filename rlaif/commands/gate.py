"""The commands of `gate`: explain, plan, simulate."""

from __future__ import annotations

from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, FormatOption, RunOption, one_of
from rlaif.commands.output import FORMATS, print_json, stdout_screen

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What the promotion gate saw, and what it can see.")


@app.command("explain")
def gate_explain(
    round: Annotated[
        int | None, typer.Option(help="The round; 0 is SFT against the base. The latest one if not given.")
    ] = None,
    run: RunOption = DEFAULT_RUN,
    format: FormatOption = "table",
) -> None:
    """Why a round's challenger was promoted or not: every condition in plain English, and how small a gain would have
    been seen.
    """
    one_of("--format", format, FORMATS)
    from rlaif.gate.explain import explain, show
    from rlaif.run import open_run

    result = explain(open_run(run), round)
    if format == "json":
        print_json(result)
    else:
        show(result, stdout_screen(format))


@app.command("plan")
def gate_plan(
    gain: Annotated[
        float, typer.Option(min=1e-6, max=1, help="The true gain in the score that is to be found.")
    ] = 0.01,
    run: RunOption = DEFAULT_RUN,
    format: FormatOption = "table",
) -> None:
    """How many labels of people, or of a careful judge, would find a gain of this size at the next look."""
    one_of("--format", format, FORMATS)
    from rlaif.gate.plan import plan, show
    from rlaif.run import open_run

    result = plan(open_run(run), gain)
    if format == "json":
        print_json(result)
    else:
        show(result, stdout_screen(format))


@app.command("simulate")
def gate_simulate(
    run: RunOption = DEFAULT_RUN,
    loops: Annotated[int, typer.Option(min=1, help="How many loops without gain to simulate.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Preference rounds per loop, and so looks.")] = 10,
    format: FormatOption = "table",
) -> None:
    """How often the gate would promote without any gain, and with one, on items such as this run's. It says how long it
    takes, and changes nothing.
    """
    one_of("--format", format, FORMATS)
    from rlaif.gate.simulate_run import show, simulate_own
    from rlaif.run import open_run
    from rlaif.screen import Screen

    with Screen().live() as screen:
        result = simulate_own(open_run(run), loops, rounds, screen)
    if format == "json":
        print_json(result)
    else:
        show(result, stdout_screen(format))
