"""Commands that take policies and preferences out, and preferences in: export, export preferences, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, RunOption, not_negative, one_of
from rlaif.commands.output import stdout_screen
from rlaif.types import UsageError

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def export(
    context: typer.Context,
    format: Annotated[
        str, typer.Option(help="adapter, merged (16/32-bit), gptq (int4) or gguf (llama.cpp, Ollama).")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="The folder to write; new or empty.")] = None,
    policy: Annotated[str, typer.Option(help="base, sft, champion, or an id or its beginning.")] = "champion",
    dtype: Annotated[
        str, typer.Option(help="Weights of merged and gguf: float32, bfloat16 or float16; of gguf also q8_0.")
    ] = "float32",
    llama_cpp: Annotated[
        Path | None, typer.Option("--llama-cpp", metavar="FOLDER", help="For gguf: a folder of llama.cpp's source.")
    ] = None,
    repo: Annotated[
        str, typer.Option(help="In place of --out: owner/name on the hub. The token comes from HF_TOKEN.")
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="With --repo: for all to see; private otherwise.")] = False,
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Take a policy away as a model, or the preferences as data."""
    if context.invoked_subcommand:
        return
    from rlaif.share.export_model import DTYPES, FORMATS
    from rlaif.share.export_model import export as make

    one_of("--format", format, FORMATS)
    one_of("--dtype", dtype, (*DTYPES, "q8_0") if format == "gguf" else DTYPES)
    if llama_cpp and format != "gguf":
        raise UsageError("--llama-cpp is for --format gguf; leave it out")
    if public and not repo:
        raise UsageError("--public is for --repo owner/name; leave it out")
    if (out is None) == (not repo):
        raise UsageError("say where to: --out PATH, the folder to write, or --repo owner/name on the hub")
    from rlaif.run import open_run
    from rlaif.screen import Screen

    opened = open_run(run)
    with Screen().live() as screen:
        if out is None:
            from rlaif.share.hub import push_policy

            where, difference = push_policy(opened, policy, format, dtype, screen, llama_cpp, repo, public)
        else:
            where, difference = str(out), make(opened, policy, format, out, dtype, screen, llama_cpp)
    stdout_screen().line(f"wrote {where}" + (f": {difference}" if difference else ""))


@app.command("preferences")
def export_preferences(
    to: Annotated[str, typer.Option(help="parquet, jsonl or hub.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write, or a file that ends in .parquet or .jsonl.")
    ] = None,
    repo: Annotated[
        str, typer.Option(help="For hub: owner/name. The token comes from HF_TOKEN; the data set is private.")
    ] = "",
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Write the kept preference pairs in TRL's format, with their lineage and a data set card."""
    from rlaif.run import open_run
    from rlaif.share.export_preferences import KINDS
    from rlaif.share.export_preferences import export_preferences as make

    one_of("--to", to, KINDS)
    stdout_screen().line(f"wrote {make(open_run(run), to, out, repo)}")


def import_(
    file: Annotated[
        str,
        typer.Argument(help="Preference pairs with prompt, chosen, rejected: parquet, jsonl, json, csv, or a hub id."),
    ],
    run: RunOption = DEFAULT_RUN,
    limit: Annotated[int, typer.Option(help="At most so many rows, drawn by a hash; 0: all.")] = 0,
) -> None:
    """Take preference pairs from a file into the run.

    The next DPO round trains on them too. Recorded in decisions.
    """
    not_negative("--limit", limit)
    from rlaif.run import open_run
    from rlaif.share.import_preferences import import_preferences

    found = import_preferences(open_run(run), file, limit)
    stdout_screen().line(f"imported {found.kept} pairs{found.told()}; {found.duplicates} were here already")
