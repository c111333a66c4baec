"""The command `init`: looks, chooses, writes a profile."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlaif.config_file import load_config
from rlaif.data.own import entry
from rlaif.init.choose import settings, time_and_memory, warnings
from rlaif.init.look import look_at_data, look_at_machine, look_at_model
from rlaif.init.page import facts, toml
from rlaif.screen import Screen
from rlaif.types import RlaifError, UsageError
from rlaif.wording import program


def init(files: Sequence[str], model_path: str, out: Path, columns: Mapping[str, str], screen: Screen) -> None:
    """Write the profile `out` for the data in `files` and the model at `model_path`, and say what was found.

    UsageError where `out` exists or is no .toml file, and for a model or data that cannot be used; nothing is written
    then.
    """
    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: give a name that ends in .toml")
    if out.exists():
        raise UsageError(f"{out} exists, and may hold changes of yours; give another --out, or remove it")
    if not files:
        raise UsageError("--data FILE is missing: a table with questions and answers (csv, tsv, json, jsonl, parquet)")
    model = look_at_model(model_path)
    data = look_at_data([entry(path, columns) for path in files], model)
    machine = look_at_machine()
    chosen = settings(data, model, machine)
    estimated = time_and_memory(chosen, data, model, machine)
    notes = warnings(data, model, machine, estimated)
    command = f"{program()} loop --profile {shlex.quote(str(out))} --run {shlex.quote(f'runs/{out.stem}')}"
    text = toml(chosen, data, model, machine, estimated, notes, command)
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise RlaifError(f"{out}: cannot be written: {error.strerror}") from error
    load_config(str(out.absolute()))
    for line in facts(data, model, machine, estimated):
        screen.line(line)
    for note in notes:
        screen.line(f"note     {note}", style="yellow")
    screen.line(f"wrote    {out}; run it with")
    screen.line(f"  {command}")
