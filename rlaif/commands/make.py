"""Commands that make models: loop, train, quantize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.commands.options import (
    DEFAULT_RUN,
    ColumnOption,
    DataOption,
    FormatOption,
    OwnProfileOption,
    RunOption,
    SetOption,
    columns,
    one_of,
    own_config,
)
from rlaif.commands.output import FORMATS, print_json, stdout_screen
from rlaif.types import UsageError


def init(
    out: Annotated[Path, typer.Option(help="The profile to write, a .toml file that is not there yet.")],
    data: DataOption = [],  # noqa: B006  (typer reads the default, nothing mutates it)
    column: ColumnOption = [],  # noqa: B006
    model: Annotated[
        str, typer.Option(metavar="FOLDER", help="The base: a folder, a hub id owner/name, or the one that ships.")
    ] = "embedded",
) -> None:
    """Write a profile for your data, model and machine.

    It looks at all three. The profile is for `loop`, with comments and an estimate of time and memory.
    """
    named = columns(column, data)
    from rlaif.init.command import init as make

    make(data, model, out, named, stdout_screen())


def loop(
    rounds: Annotated[int, typer.Option(help="How many preference rounds the run should have in the end.")] = 3,
    data: DataOption = [],  # noqa: B006  (typer reads the default, nothing mutates it)
    column: ColumnOption = [],  # noqa: B006
    run: RunOption = DEFAULT_RUN,
    profile: OwnProfileOption = "",
    set_: SetOption = [],  # noqa: B006  (typer reads the default, nothing mutates it)
    after_sealed_test: Annotated[
        bool,
        typer.Option("--after-sealed-test", help="Go on although the sealed test was opened; marks the run for ever."),
    ] = False,
) -> None:
    """Run the loop: SFT, then preference rounds, each gated.

    A round is sample, judge, pair, DPO, evaluate, gate. The same command continues a stopped run.
    """
    if rounds < 1:
        raise UsageError(
            f"--rounds {rounds}: needs at least 1 (it is the number of rounds the run should have in the end)"
        )
    config = own_config(profile, set_, data, column)
    from rlaif.loop.command import run_from_command_line

    run_from_command_line(run, config, rounds, after_sealed_test)


def train(
    profile: OwnProfileOption = "",
    data: DataOption = [],  # noqa: B006
    column: ColumnOption = [],  # noqa: B006
    method: Annotated[
        str, typer.Option(help="sft, lora, qlora, gptq-lora, galore or knowtuning; the profile's own if not given.")
    ] = "",
    run: RunOption = DEFAULT_RUN,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be loaded, downloaded and trained.")
    ] = False,
    set_: SetOption = [],  # noqa: B006
    format: FormatOption = "table",
) -> None:
    """Fine-tune one policy by a published method.

    It is scored before and after. `loop` on the same run goes on with it.
    """
    one_of("--format", format, FORMATS)
    from rlaif.train.methods import with_method

    config = with_method(own_config(profile, set_, data, column), method)
    if dry_run:
        from dataclasses import asdict

        from rlaif.train.estimate import plan

        planned = plan(config)
        if format == "json":
            print_json(asdict(planned))
        else:
            stdout_screen(format).table("", ["train", "what it would take"], [list(line) for line in planned.lines()])
        return
    from rlaif.train.command import show, train_from_command_line

    result = train_from_command_line(run, config)
    if format == "json" and result:
        print_json(result)
    elif result:
        show(result, stdout_screen(format))


def quantize(
    model: Annotated[Path, typer.Option(help="The folder of a 16- or 32-bit model.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must not exist.")],
) -> None:
    """Make a GPTQ int4 base from a local model."""
    from rlaif.embedded.dataset import texts
    from rlaif.models.gptq import quantize as make

    make(model, out, texts())
    stdout_screen().line(f"wrote {out}")
