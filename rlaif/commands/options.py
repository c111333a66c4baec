"""Options that several commands have, and checks of their values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.types import UsageError

if TYPE_CHECKING:
    from rlaif.config import Config

RunOption = Annotated[Path, typer.Option("--run", help="The run's folder.")]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="A profile's name or a TOML file; see the command profiles.")
]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one configuration key, e.g. --set seed=3.")
]
FormatOption = Annotated[str, typer.Option("--format", help="table, json, csv, markdown or jsonl.")]
OwnProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        help="A profile's name or a TOML file; see the command profiles. [default: embedded; with --data: own]",
    ),
]
DataOption = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="FILE",
        help="Your own questions with answers or labels: csv, tsv, json, jsonl or parquet. May be given several times.",
    ),
]
ColumnOption = Annotated[
    list[str],
    typer.Option(
        "--column",
        metavar="FIELD=NAME",
        help="Which column of --data is the question, answer, context, focus (topic), qtype (kind) or label, where the "
        "guess is wrong; FIELD= for none. May be given several times.",
    ),
]
DEFAULT_RUN = Path("runs/default")


def columns(given: list[str], files: list[str] | str) -> dict[str, str]:
    """{field: column} of the --column options. UsageError for one that is no FIELD=NAME, or without --data."""
    if given and not files:
        raise UsageError(f"--column {given[0]}: it names a column of --data FILE, and there is no --data")
    for text in given:
        if "=" not in text:
            raise UsageError(f"--column {text}: needs FIELD=NAME, for example --column question={text}")
    return {field.strip(): name.strip() for field, _, name in (text.partition("=") for text in given)}


def own_config(profile: str, overrides: list[str], data: list[str], column: list[str]) -> Config:
    """The configuration of loop and train: the profile, with a person's own files where --data names some."""
    from rlaif.config_file import load_config

    named = columns(column, data)
    if not data:
        return load_config(profile or "embedded", overrides)
    from rlaif.data.own import OWN, entry

    return load_config(profile or OWN, overrides, [entry(path, named) for path in data])


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        from rlaif.config_file import nearest

        raise UsageError(f"{option} {value!r}{nearest(value, list(known))}; use one of: {', '.join(known)}")


def not_negative(option: str, value: int) -> None:
    if value < 0:
        raise UsageError(f"{option} {value}: give a positive number, or 0 for all")
