"""Commands by which a person decides: promote, exclude."""

from __future__ import annotations

from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, RunOption
from rlaif.commands.output import stdout_screen


def promote(
    policy: Annotated[str, typer.Argument(help="The policy to make champion.")],
    why: Annotated[str, typer.Option(help="The reason, kept in decisions.")],
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Make a policy champion by hand; recorded in decisions."""
    from rlaif.admin import promote as by_hand
    from rlaif.run import open_run
    from stores.lock import run_lock

    opened = open_run(run)
    with run_lock(run):  # a round under way gates against the champion it began with
        line = by_hand(opened, policy, why)
    stdout_screen().line(line)


def exclude(
    pair: Annotated[str, typer.Argument(help="The id of a preference pair.")],
    why: Annotated[str, typer.Option(help="The reason, kept with the pair and in decisions.")],
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Drop a preference pair by hand; recorded in decisions."""
    from rlaif.admin import exclude as by_hand
    from rlaif.run import open_run

    stdout_screen().line(by_hand(open_run(run), pair, why))
