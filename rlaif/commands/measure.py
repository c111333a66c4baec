"""Commands that measure policies: evaluate, test, compare."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, ColumnOption, FormatOption, RunOption, columns, not_negative, one_of
from rlaif.commands.output import FORMATS, print_json, stdout_screen
from rlaif.evals.benchmarks import AT_THE_GATE, BENCHMARKS, FREE_TEXT, FROM_FILES, LABELLED
from rlaif.types import UsageError


def evaluate(
    benchmark: Annotated[str, typer.Option(help=f"{', '.join(BENCHMARKS)}; {' and '.join(FROM_FILES)} need --data.")],
    policy: Annotated[str, typer.Option(help="base, champion or a policy id.")] = "champion",
    run: RunOption = DEFAULT_RUN,
    data: Annotated[
        str, typer.Option(help="Another file of the same kind, evaluated whole unless --split is given.")
    ] = "",
    column: ColumnOption = [],  # noqa: B006
    split: Annotated[
        str,
        typer.Option(
            help="train, gate or (of another file) sealed; gate unless --data is given. Of medqa and mmlu: "
            "test, dev or val."
        ),
    ] = "",
    limit: Annotated[int, typer.Option(help="At most so many items; 0: all.")] = 0,
    mode: Annotated[
        str, typer.Option(help="labels: loglik (the likeliest label) or generate (10 tokens, read for a label).")
    ] = "loglik",
    template: Annotated[str, typer.Option(help="labels: raw or chat (the model's chat template).")] = "raw",
    bertscore: Annotated[
        str, typer.Option(metavar="FOLDER", help="Free text: BERTScore with the encoder in this folder.")
    ] = "",
    quality: Annotated[
        bool | None,
        typer.Option(
            "--quality/--no-quality",
            help="Free text: marks by evaluation.judge, else judge.model; unasked where that is free.",
        ),
    ] = None,
    format: FormatOption = "table",
) -> None:
    """Score a policy of the run on a benchmark."""
    _one_of_the_run(run, benchmark, tuple(BENCHMARKS))
    one_of("--format", format, FORMATS)
    one_of("--mode", mode, ("loglik", "generate"))
    one_of("--template", template, ("raw", "chat"))
    if split:
        one_of("--split", split, ("test", "dev", "val") if benchmark in FROM_FILES else ("train", "gate", "sealed"))
    named = columns(column, data)
    labelled, free_text = (" and ".join(names) for names in (LABELLED, FREE_TEXT))
    if benchmark not in LABELLED and (mode, template) != ("loglik", "raw"):
        raise UsageError(f"--mode and --template are of the benchmarks {labelled}; leave them out for {benchmark}")
    if benchmark not in FREE_TEXT and bertscore:
        raise UsageError(f"--bertscore is of the benchmarks {free_text}; leave it out for {benchmark}")
    if benchmark not in FREE_TEXT and quality is not None:
        raise UsageError(
            f"--quality and --no-quality are of the benchmarks {free_text}; leave them out for {benchmark}"
        )
    if benchmark in FROM_FILES and not data:
        raise UsageError(f"--benchmark {benchmark}: no run holds its questions; give the file with --data FILE")
    if limit < 0:
        raise UsageError(f"--limit {limit}: give a positive number, or 0 for all items")
    from rlaif.evals.command import evaluate_from_command_line

    result = evaluate_from_command_line(
        run, policy, benchmark, data, split, limit, mode, template, bertscore, quality, named
    )
    if format == "json":
        print_json(result)
    else:
        from rlaif.evals.summary import show

        show(result, stdout_screen(format))


def _one_of_the_run(folder: Path, benchmark: str, known: tuple[str, ...]) -> None:
    """UsageError unless `benchmark` is one of `known`, or of those of others that the run in `folder` has."""
    if benchmark in known:
        return
    from rlaif.evals.benchmarks import plugin_names
    from rlaif.run import open_run
    from stores.store import DATABASE

    own = plugin_names(open_run(folder).config.evaluation) if (folder / DATABASE).is_file() else ()
    one_of("--benchmark", benchmark, (*known, *own))


def sealed_test(
    run: RunOption = DEFAULT_RUN,
    force: Annotated[bool, typer.Option("--force", help="Open it once more; marks the run for ever.")] = False,
    limit: Annotated[
        int, typer.Option(help="Only try it, on so many of the gate's items per benchmark; the test stays sealed.")
    ] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Open it without asking.")] = False,
    format: FormatOption = "table",
) -> None:
    """The sealed test, once, on items that no gate has seen.

    Base, SFT policy and champion together. Recorded for ever.
    """
    one_of("--format", format, FORMATS)
    not_negative("--limit", limit)
    from rlaif.evals import compare as comparing
    from rlaif.evals.sealed import last_opening
    from rlaif.evals.sealed_test import rehearse, run_sealed_test
    from rlaif.report.status import print_sealed
    from rlaif.run import open_run
    from rlaif.screen import Screen

    wide = None if sys.stdout.isatty() else 160  # in a file or a pipe nothing is folded
    if limit:
        screen = Screen()
        screen.line(f"trying on {limit:,} gate items per benchmark: the sealed test stays sealed", style="yellow")
        tried = rehearse(run, limit, screen)
        if format == "json":
            print_json(tried)
            return
        out = stdout_screen(format, wide)
        for result in tried:
            comparing.show(result, out)
        return
    run_sealed_test(run, force, _yes if yes else _ask_to_open, Screen())
    opened = open_run(run)
    if format == "json":
        print_json(asdict(opening) if (opening := last_opening(opened)) else None)
    else:
        print_sealed(opened, stdout_screen(format, wide))


def _yes(what: str) -> None:
    """The answer was given with --yes."""


def _ask_to_open(what: str) -> None:
    """UsageError unless a person at a terminal agrees."""
    if not sys.stdin.isatty():
        raise UsageError(f"{what} can be opened once: say --yes to open it, or --limit N to try it on gate items")
    from rlaif.screen import clean

    if not typer.confirm(f"Open {clean(what)}? That can be done once, and is recorded for ever.", err=True):
        raise UsageError("nothing was opened")


def compare(
    policies: Annotated[
        list[str], typer.Argument(metavar="POLICY POLICY ...", help="base, sft, champion, or an id or its beginning.")
    ],
    benchmark: Annotated[str, typer.Option(help=f"{' or '.join(AT_THE_GATE)}.")],
    run: RunOption = DEFAULT_RUN,
    split: Annotated[str, typer.Option(help="train or gate.")] = "gate",
    limit: Annotated[int, typer.Option(help="At most so many items; 0: all.")] = 0,
    plots: Annotated[Path | None, typer.Option(help="Also write charts as PNG into this folder.")] = None,
    format: FormatOption = "table",
) -> None:
    """Compare policies on the same items, with paired intervals.

    The intervals are against the first. What the policies lack is evaluated before.
    """
    _one_of_the_run(run, benchmark, AT_THE_GATE)
    one_of("--split", split, ("train", "gate"))  # sealed items are opened once, for all policies together
    one_of("--format", format, FORMATS)
    not_negative("--limit", limit)
    from rlaif.evals.compare import compare as measure_and_compare
    from rlaif.evals.compare import show
    from rlaif.run import open_run
    from rlaif.screen import Screen

    opened = open_run(run)
    with Screen().live() as screen:
        result = measure_and_compare(opened, policies, benchmark, split, limit, screen)
    if plots is not None:
        from rlaif.report.plots import write_plots

        for path in write_plots(opened, result, plots):
            screen.line(f"wrote {path}")
    if format == "json":
        print_json(result)
    else:
        show(result, stdout_screen(format, None if sys.stdout.isatty() else 200))
