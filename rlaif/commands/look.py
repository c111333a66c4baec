"""Commands that show what there is: sql, status, report, runs, profiles, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, FormatOption, RunOption, one_of
from rlaif.commands.output import FORMATS, print_json, print_rows, print_table, stdout_screen
from rlaif.types import UsageError


def sql(
    statement: Annotated[
        str, typer.Argument(help='One SELECT, e.g. "SELECT * FROM preference_pairs LIMIT 5"; - reads it from stdin.')
    ] = "",
    run: RunOption = DEFAULT_RUN,
    file: Annotated[Path | None, typer.Option("--file", help="Read the statement from this file.")] = None,
    format: Annotated[
        str,
        typer.Option(
            help="table, json, csv, markdown or jsonl (in JSON the second of two columns of one name is NAME_1)."
        ),
    ] = "table",
    timeout: Annotated[float, typer.Option(min=0, help="Stop the statement after so many seconds; 0: never.")] = 300,
) -> None:
    """Ask the run's database, read-only, also while the loop runs. Tables and views: SHOW TABLES; DESCRIBE name."""
    one_of("--format", format, FORMATS)
    text = _statement(statement, file)
    from stores.store import Store

    columns, rows = Store.open(run).query_user(text, timeout)
    print_rows(columns, rows, format)


def _statement(statement: str, file: Path | None) -> str:
    """The SQL: the argument, standard input where it is "-", or a file. UsageError without one, and with two."""
    if bool(statement) == (file is not None):
        raise UsageError("sql: give one statement, as SQL in quotes, as - to read it from stdin, or with --file FILE")
    if file is None:
        return sys.stdin.read() if statement == "-" else statement
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"--file {file}: is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"--file {file}: {error.strerror}") from error


def status(run: RunOption = DEFAULT_RUN, format: FormatOption = "table") -> None:
    """Where a run stands: rounds, scores, decisions, time."""
    one_of("--format", format, FORMATS)
    from rlaif.report.status import as_json, show
    from rlaif.run import open_run

    opened = open_run(run)
    if format == "json":
        print_json(as_json(opened))
    else:
        show(opened, stdout_screen(format))


def report(run: RunOption = DEFAULT_RUN) -> None:
    """Write report.html: the verdict with its evidence.

    It goes into the run's folder and is for a browser or a phone. Prints its path.
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
    format: FormatOption = "table",
) -> None:
    """List the runs, or prune the weights of one."""
    one_of("--format", format, FORMATS)
    from rlaif import admin
    from rlaif.run import open_run

    screen = stdout_screen()
    if prune:
        for policy_id, size in admin.prune(open_run(run)):
            screen.line(f"pruned {policy_id}: {size / 2**20:.1f} MB")
        return
    columns, rows = admin.list_runs(root)
    if rows or format != "table":
        print_table(columns, rows, format, spare=("seed", "size", "champion", "gate looks"))
    else:
        screen.line(f"no runs in {root}; start one with the command loop")


def profiles(format: FormatOption = "table") -> None:
    """The profiles that ship: base, method, memory, data.

    Memory is that for training on a GPU, an estimate.
    """
    one_of("--format", format, FORMATS)
    from rlaif.config_file import load_config, profile_names
    from rlaif.train.estimate import data_names, memory

    rows = []
    for name in profile_names():
        config = load_config(name)
        used = memory(config)
        gb = "not known" if used is None else f"{used.total:.1f} GB"
        data = ", ".join(data_names(config))
        rows.append([name, config.model.path.rpartition("/")[2], config.train.method, gb, data])
    print_table(["profile", "base", "method", "memory, an estimate", "data"], rows, format, spare=("base",))


def doctor(run: RunOption = DEFAULT_RUN, format: FormatOption = "table") -> None:
    """What is installed, and what this machine can run.

    Packages, device, kernels, disk, whether the hub answers.
    """
    one_of("--format", format, FORMATS)
    from rlaif.doctor import report

    rows = [[f.level, f.name, f.value, f.hint] for f in report(run)]
    print_table(["level", "what", "found", "hint"], rows, format)
