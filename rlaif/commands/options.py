"""Options that several commands have, and checks of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlaif.types import UsageError

RunOption = Annotated[Path, typer.Option("--run", help="The run's folder.")]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="A profile's name or a TOML file; see the command profiles.")
]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one configuration key, e.g. --set seed=3.")
]
FormatOption = Annotated[str, typer.Option("--format", help="table, json, csv, markdown or jsonl.")]
DEFAULT_RUN = Path("runs/default")


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        from rlaif.config_file import nearest

        raise UsageError(f"{option} {value!r}{nearest(value, list(known))}; use one of: {', '.join(known)}")


def not_negative(option: str, value: int) -> None:
    if value < 0:
        raise UsageError(f"{option} {value}: give a positive number, or 0 for all")
