"""Commands that show what there is: sql, status, report, runs, profiles, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, RunOption, one_of
from rlaif.commands.output import print_rows, stdout_screen


def sql(
    statement: Annotated[str, typer.Argument(help='One SELECT, e.g. "SELECT * FROM preference_pairs LIMIT 5".')],
    run: RunOption = DEFAULT_RUN,
    format: Annotated[
        str, typer.Option(help="table, csv or json (where two columns have one name, the second is NAME_1).")
    ] = "table",
    timeout: Annotated[float, typer.Option(min=0, help="Stop the statement after so many seconds; 0: never.")] = 300,
) -> None:
    """Ask the run's database, read-only, also while the loop runs. Tables and views: SHOW TABLES; DESCRIBE name."""
    one_of("--format", format, ("table", "csv", "json"))
    from stores.store import Store

    columns, rows = Store.open(run).query_user(statement, timeout)
    print_rows(columns, rows, format)


def status(run: RunOption = DEFAULT_RUN) -> None:
    """Where a run stands: rounds, scores, decisions, time, who works on it."""
    from rlaif.report.status import show
    from rlaif.run import open_run

    show(open_run(run), stdout_screen())


def report(run: RunOption = DEFAULT_RUN) -> None:
    """Write report.html into the run's folder: the verdict with its evidence, for a browser or a phone. Prints its
    path.
    """
    from rlaif.report.page import write_report

    print(write_report(run))


def runs(
    root: Annotated[Path, typer.Argument(help="Where to look for runs.")] = Path("runs"),
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Delete the weights of policies that were never champion, in the run given by --run."
        ),
    ] = False,
    run: RunOption = DEFAULT_RUN,
) -> None:
    """List the runs, or free the disk space of one run's rejected policies."""
    from rlaif import admin
    from rlaif.run import open_run

    screen = stdout_screen()
    if prune:
        for policy_id, size in admin.prune(open_run(run)):
            screen.line(f"pruned {policy_id}: {size / 2**20:.1f} MB")
        return
    columns, rows = admin.list_runs(root)
    if rows:
        screen.table("", columns, rows, spare=("seed", "size", "champion"))
    else:
        screen.line(f"no runs in {root}; start one with the command loop")


def profiles() -> None:
    """The profiles that ship with rlaif: base, method, memory for training on a GPU (an estimate), data."""
    from rlaif.config_file import load_config, profile_names
    from rlaif.train.estimate import data_names, memory

    rows = []
    for name in profile_names():
        config = load_config(name)
        used = memory(config)
        gb = "not known" if used is None else f"{used.total:.1f} GB"
        data = ", ".join(data_names(config))
        rows.append([name, config.model.path.rpartition("/")[2], config.train.method, gb, data])
    stdout_screen().table("", ["profile", "base", "method", "memory, an estimate", "data"], rows, spare=("base",))


def doctor(run: RunOption = DEFAULT_RUN) -> None:
    """What is installed, which device and kernels, disk, whether the hub answers, what would run."""
    from rlaif.doctor import report

    rows = [[f.level, f.name, f.value, f.hint] for f in report(run)]
    stdout_screen().table("", ["", "what", "found", "hint"], rows)
