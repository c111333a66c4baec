"""The command line: each command parses and delegates. `python cli.py --help`, or `rlaif --help` once installed.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration. Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rlaif.types import RlaifError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="RLAIF for medical question answering that can be audited. Research software: nothing it prints is medical advice.",
)
judge_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Examine judges, compare them, and let people label.")
app.add_typer(judge_app, name="judge")
gate_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What the promotion gate saw, and what it can see.")
app.add_typer(gate_app, name="gate")
export_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(export_app, name="export")
UsageMistake: type[Exception] = typer.BadParameter.__mro__[2]  # typer's ClickException, which has no public name
RunOption = Annotated[Path, typer.Option("--run", help="The run's folder.")]
ProfileOption = Annotated[str, typer.Option("--profile", help="A profile's name or a TOML file; see the command profiles.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one configuration key, e.g. --set seed=3.")]
DEFAULT_RUN = Path("runs/default")


def version_and_exit(asked: bool) -> None:
    if asked:
        from rlaif.run import installed

        typer.echo(f"rlaif {installed('rlaif') or '(not installed)'}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=version_and_exit, is_eager=True, help="Show the version.")] = False,
) -> None:
    context.obj = debug


@app.command()
def loop(
    rounds: Annotated[int, typer.Option(help="How many preference rounds the run should have in the end.")] = 3,
    run: RunOption = DEFAULT_RUN,
    profile: ProfileOption = "embedded",
    set_: SetOption = [],  # noqa: B006  (typer reads the default, nothing mutates it)
    after_sealed_test: Annotated[
        bool, typer.Option("--after-sealed-test", help="Go on although the sealed test was opened; marks the run for ever.")
    ] = False,
) -> None:
    """Run the loop: SFT, then rounds of sample, judge, pair, DPO, evaluate, gate. The same command continues a stopped run."""
    from rlaif.config import load_config

    if rounds < 1:
        raise UsageError(f"--rounds {rounds}: needs at least 1 (it is the number of rounds the run should have in the end)")
    config = load_config(profile, set_)
    from rlaif.start import run_from_command_line

    run_from_command_line(run, config, rounds, after_sealed_test)


@app.command()
def train(
    profile: ProfileOption = "embedded",
    method: Annotated[str, typer.Option(help="sft, lora, qlora, gptq-lora, galore or knowtuning; the profile's own if not given.")] = "",
    run: RunOption = DEFAULT_RUN,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be loaded, downloaded and trained.")] = False,
    set_: SetOption = [],  # noqa: B006
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Fine-tune one policy by a published method and score it before and after. `loop` on the same run goes on with it."""
    one_of("--format", format, ("table", "json"))
    from rlaif.config import load_config
    from rlaif.methods import with_method

    config = with_method(load_config(profile, set_), method)
    if dry_run:
        from dataclasses import asdict

        from rlaif.estimate import plan

        planned = plan(config)
        if format == "json":
            print(json.dumps(plain(asdict(planned)), ensure_ascii=False))
        else:
            stdout_screen().table("", ["train", "what it would take"], [list(line) for line in planned.lines()])
        return
    from rlaif.train import show, train_from_command_line

    result = train_from_command_line(run, config)
    if format == "json" and result:
        print(json.dumps(plain(result), ensure_ascii=False))
    elif result:
        show(result, stdout_screen())


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help='One SELECT, e.g. "SELECT * FROM preference_pairs LIMIT 5".')],
    run: RunOption = DEFAULT_RUN,
    format: Annotated[str, typer.Option(help="table, csv or json.")] = "table",
) -> None:
    """Ask the run's database, read-only, also while the loop runs. Tables and views: SHOW TABLES; DESCRIBE name."""
    one_of("--format", format, ("table", "csv", "json"))
    from stores.store import Store

    columns, rows = Store.open(run).query_user(statement)
    print_rows(columns, rows, format)


@app.command()
def status(run: RunOption = DEFAULT_RUN) -> None:
    """Where a run stands: rounds, scores, decisions, time, who works on it."""
    from rlaif.run import open_run
    from rlaif.status import show

    show(open_run(run), stdout_screen())


@app.command()
def report(run: RunOption = DEFAULT_RUN) -> None:
    """Write report.html into the run's folder: the verdict with its evidence, for a browser or a phone. Prints its path."""
    from rlaif.report.page import write_report

    print(write_report(run))


@app.command()
def evaluate(
    benchmark: Annotated[str, typer.Option(help="pubmedqa, medquad, medqa or mmlu; the last two need --data.")],
    policy: Annotated[str, typer.Option(help="base, champion or a policy id.")] = "champion",
    run: RunOption = DEFAULT_RUN,
    data: Annotated[str, typer.Option(help="Another file of the same kind, evaluated whole unless --split is given.")] = "",
    split: Annotated[
        str, typer.Option(help="train, gate or (of another file) sealed; gate unless --data is given. Of medqa and mmlu: test, dev or val.")
    ] = "",
    limit: Annotated[int, typer.Option(help="At most so many items; 0: all.")] = 0,
    mode: Annotated[str, typer.Option(help="pubmedqa: loglik (the likeliest label) or generate (10 tokens, read for a label).")] = "loglik",
    template: Annotated[str, typer.Option(help="pubmedqa: raw or chat (the model's chat template).")] = "raw",
    bertscore: Annotated[str, typer.Option(metavar="FOLDER", help="medquad: BERTScore with the encoder in this folder.")] = "",
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Score a policy of the run on a benchmark."""
    one_of("--benchmark", benchmark, ("pubmedqa", "medquad", "medqa", "mmlu"))
    one_of("--format", format, ("table", "json"))
    one_of("--mode", mode, ("loglik", "generate"))
    one_of("--template", template, ("raw", "chat"))
    if split:
        one_of("--split", split, ("test", "dev", "val") if benchmark in ("medqa", "mmlu") else ("train", "gate", "sealed"))
    if benchmark != "pubmedqa" and (mode, template) != ("loglik", "raw"):
        raise UsageError(f"--mode and --template are of the benchmark pubmedqa; leave them out for {benchmark}")
    if benchmark != "medquad" and bertscore:
        raise UsageError(f"--bertscore is of the benchmark medquad; leave it out for {benchmark}")
    if benchmark in ("medqa", "mmlu") and not data:
        raise UsageError(f"--benchmark {benchmark}: no run holds its questions; give the file with --data FILE")
    if limit < 0:
        raise UsageError(f"--limit {limit}: give a positive number, or 0 for all items")
    from rlaif.start import evaluate_from_command_line

    result = evaluate_from_command_line(run, policy, benchmark, data, split, limit, mode, template, bertscore)
    if format == "json":
        print(json.dumps(plain(result), ensure_ascii=False))
    else:
        from rlaif.evals.summary import show

        show(result, stdout_screen())


@app.command("test")
def sealed_test(
    run: RunOption = DEFAULT_RUN,
    force: Annotated[bool, typer.Option("--force", help="Open it once more; marks the run for ever.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many items of a benchmark; 0: all.")] = 0,
) -> None:
    """The sealed test, once: base, SFT policy and champion together on items that no gate has seen. Recorded for ever."""
    not_negative("--limit", limit)
    from rlaif.progress import Screen
    from rlaif.run import open_run
    from rlaif.sealed_command import run_sealed_test
    from rlaif.status import print_sealed

    run_sealed_test(run, force, limit, Screen())
    print_sealed(open_run(run), stdout_screen(None if sys.stdout.isatty() else 160))  # in a file or a pipe nothing is folded


@app.command()
def compare(
    policies: Annotated[list[str], typer.Argument(metavar="POLICY POLICY ...", help="base, sft, champion, or an id or its beginning.")],
    benchmark: Annotated[str, typer.Option(help="pubmedqa or medquad.")],
    run: RunOption = DEFAULT_RUN,
    split: Annotated[str, typer.Option(help="train or gate.")] = "gate",
    limit: Annotated[int, typer.Option(help="At most so many items; 0: all.")] = 0,
    plots: Annotated[Path | None, typer.Option(help="Also write charts as PNG into this folder.")] = None,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Compare policies on the same items, with paired intervals against the first. What they lack is evaluated first."""
    one_of("--benchmark", benchmark, ("pubmedqa", "medquad"))
    one_of("--split", split, ("train", "gate"))  # sealed items are opened once, for all policies together
    one_of("--format", format, ("table", "json"))
    not_negative("--limit", limit)
    from rlaif.compare import compare as measure_and_compare
    from rlaif.compare import show
    from rlaif.progress import Screen
    from rlaif.run import open_run

    opened = open_run(run)
    with Screen().live() as screen:
        result = measure_and_compare(opened, policies, benchmark, split, limit, screen)
    if plots is not None:
        from rlaif.plots import write_plots

        for path in write_plots(opened, result, plots):
            screen.line(f"wrote {path}")
    if format == "json":
        print(json.dumps(plain(result), ensure_ascii=False))
    else:
        show(result, stdout_screen(None if sys.stdout.isatty() else 200))


@app.command()
def profiles() -> None:
    """The profiles that ship with rlaif: base, method, memory for training on a GPU (an estimate), data."""
    from rlaif.config import load_config, profile_names
    from rlaif.estimate import data_names, memory

    rows = []
    for name in profile_names():
        config = load_config(name)
        used = memory(config)
        gb = "not known" if used is None else f"{used.total:.1f} GB"
        data = ", ".join(data_names(config))
        rows.append([name, config.model.path.rpartition("/")[2], config.train.method, gb, data])
    stdout_screen().table("", ["profile", "base", "method", "memory, an estimate", "data"], rows)


@app.command()
def doctor(run: RunOption = DEFAULT_RUN) -> None:
    """What is installed, which device and kernels, disk, whether the hub answers, what would run."""
    from rlaif.doctor import report

    rows = [[f.level, f.name, f.value, f.hint] for f in report(run)]
    stdout_screen().table("", ["", "what", "found", "hint"], rows)


@app.command()
def runs(
    root: Annotated[Path, typer.Argument(help="Where to look for runs.")] = Path("runs"),
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the weights of policies that were never champion, in the run given by --run.")
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
        screen.table("", columns, rows)
    else:
        screen.line(f"no runs in {root}; start one with the command loop")


@app.command()
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


@app.command()
def exclude(
    pair: Annotated[str, typer.Argument(help="The id of a preference pair.")],
    why: Annotated[str, typer.Option(help="The reason, kept with the pair and in decisions.")],
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Drop a preference pair by hand; recorded in decisions."""
    from rlaif.admin import exclude as by_hand
    from rlaif.run import open_run

    stdout_screen().line(by_hand(open_run(run), pair, why))


@app.command()
def quantize(
    model: Annotated[Path, typer.Option(help="The folder of a 16- or 32-bit model.")],
    out: Annotated[Path, typer.Option(help="The folder to write; must not exist.")],
) -> None:
    """Make a GPTQ int4 base from a local model."""
    from rlaif.quantize import quantize as make

    make(model, out)
    stdout_screen().line(f"wrote {out}")


@export_app.callback()
def export(
    context: typer.Context,
    format: Annotated[str, typer.Option(help="adapter, merged (16/32-bit) or gptq (int4).")] = "",
    out: Annotated[Path | None, typer.Option(help="The folder to write; new or empty.")] = None,
    policy: Annotated[str, typer.Option(help="base, sft, champion, or an id or its beginning.")] = "champion",
    dtype: Annotated[str, typer.Option(help="Weights of merged: float32, bfloat16 or float16.")] = "float32",
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Take a policy away, as a model that needs no rlaif; or the preferences, as data."""
    if context.invoked_subcommand:
        return
    from rlaif.export import DTYPES, FORMATS
    from rlaif.export import export as make

    one_of("--format", format, FORMATS)
    one_of("--dtype", dtype, DTYPES)
    if out is None:
        raise UsageError("--out PATH is missing: the folder to write")
    from rlaif.progress import Screen
    from rlaif.run import open_run

    opened = open_run(run)
    with Screen().live() as screen:
        difference = make(opened, policy, format, out, dtype, screen)
    stdout_screen().line(f"wrote {out}" + (f": {difference}" if difference else ""))


@export_app.command("preferences")
def export_preferences(
    to: Annotated[str, typer.Option(help="parquet, jsonl or hub.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write, or a file that ends in .parquet or .jsonl.")] = None,
    repo: Annotated[str, typer.Option(help="For hub: owner/name. The token comes from HF_TOKEN; the data set is private.")] = "",
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Write the kept preference pairs in TRL's format, with their lineage and a data set card."""
    from rlaif.exchange import KINDS
    from rlaif.exchange import export_preferences as make
    from rlaif.run import open_run

    one_of("--to", to, KINDS)
    stdout_screen().line(f"wrote {make(open_run(run), to, out, repo)}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Preference pairs: parquet, jsonl, json or csv with prompt, chosen, rejected.")],
    run: RunOption = DEFAULT_RUN,
) -> None:
    """Take preference pairs from a file into the run; the next DPO round trains on them too. Recorded in decisions."""
    from rlaif.imported import import_preferences
    from rlaif.run import open_run

    found = import_preferences(open_run(run), file)
    dropped = "".join(f", {n} dropped ({why})" for why, n in found.dropped.items())
    stdout_screen().line(f"imported {found.kept} pairs{dropped}; {found.duplicates} were here already")


@app.command()
def chat(
    question: Annotated[str | None, typer.Argument(help="One question; without it a session begins.")] = None,
    run: RunOption = DEFAULT_RUN,
    policy: Annotated[str, typer.Option(help="base, champion or a policy id; the champion, or without a run the embedded base.")] = "",
    context: Annotated[str, typer.Option(help="A text to answer from, such as an abstract; @FILE reads it from a file.")] = "",
) -> None:
    """Ask the champion, or any policy, in the terminal: answers appear as they are made. Not medical advice."""
    if question is not None and not question.strip():
        raise UsageError("the question is empty; leave it out for a session")
    from rlaif.chat import start

    start(run, DEFAULT_RUN, policy, question, context)


@app.command()
def serve(
    run: RunOption = DEFAULT_RUN,
    policy: Annotated[str, typer.Option(help="base, champion or a policy id.")] = "champion",
    host: Annotated[str, typer.Option(help="The address to listen on; the server asks for no key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Serve a policy as an OpenAI-compatible endpoint until Ctrl-C. Needs the extra serving."""
    from rlaif.serve import serve as until_stopped

    until_stopped(run, policy, host, port)


@judge_app.command("exam")
def judge_exam(
    run: RunOption = DEFAULT_RUN,
    profile: Annotated[str, typer.Option("--profile", help="A profile, if not the run's own; embedded for a new run.")] = "",
    set_: SetOption = [],  # noqa: B006
    medquad: Annotated[str, typer.Option(help="Hold the exam on this MedQuAD file instead of the embedded one.")] = "",
    human: Annotated[str, typer.Option(help="Hold it on this file of answers scored by people: question, answer, score 1-4.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many items of a type; 0: the exam's own size.")] = 0,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Examine the configured judge: a judge labels only after it has passed the embedded exam. Exit code 1 when it has not."""
    one_of("--format", format, ("table", "json"))
    from rlaif.exam import command
    from rlaif.progress import Screen

    judge, held = command.exam_from_command_line(run, profile, set_, medquad, human, limit, Screen())
    if format == "json":
        print(json.dumps(command.as_json(judge, held), ensure_ascii=False))
    else:
        for one in held:
            command.show(judge, one, stdout_screen())
    if not all(one.result.passed for one in held):
        raise typer.Exit(1)


@judge_app.command("compare")
def judge_compare(
    a: Annotated[str, typer.Argument(help="A judge_id or its beginning, a model or a prompt's name.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    run: RunOption = DEFAULT_RUN,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Compare two judges, or two prompts, on the candidates that both have scored."""
    one_of("--format", format, ("table", "json"))
    from rlaif.review import compare
    from rlaif.run import open_run

    result = compare.compare(open_run(run), a, b)
    if format == "json":
        print(json.dumps(result, ensure_ascii=False))
    else:
        compare.show(result, stdout_screen())


@judge_app.command("rescore")
def judge_rescore(
    run: RunOption = DEFAULT_RUN,
    set_: SetOption = [],  # noqa: B006
    round: Annotated[int, typer.Option(help="Only the candidates of this round; 0: of all rounds.")] = 0,
    limit: Annotated[int, typer.Option(help="At most so many questions; 0: all.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Score existing candidates with another judge, and show the pairs that would result. Preferences stay as they are."""
    one_of("--format", format, ("table", "json"))
    not_negative("--round", round)
    not_negative("--limit", limit)
    from rlaif.progress import Screen
    from rlaif.review import rescore
    from rlaif.run import open_run

    opened = open_run(run)
    config = rescore.configured(opened, set_)
    with Screen().live() as screen:
        result = rescore.rescore(opened, config, screen, round=round or None, limit=limit, dry_run=dry_run)
    if format == "json":
        print(json.dumps(result, ensure_ascii=False))
    elif not dry_run:
        rescore.show(result, stdout_screen())


@judge_app.command("label")
def judge_label(
    name: Annotated[str, typer.Option(help="Who labels; kept in the table judges.")],
    run: RunOption = DEFAULT_RUN,
    number: Annotated[int, typer.Option(min=1, help="How many pairs at most.")] = 20,
    round: Annotated[int, typer.Option(help="Only pairs of this round; 0: of all rounds.")] = 0,
) -> None:
    """Say which of two answers is better, blind and in random order. judge_agreement compares a person with the judges."""
    not_negative("--round", round)
    from rlaif.review.label import label
    from rlaif.run import open_run

    screen = stdout_screen()
    counts = label(open_run(run), name, number, round or None, screen, sys.stdin.readline)
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    screen.line(f"stored: {said or 'nothing'}; SELECT * FROM judge_agreement compares you with the judges")


@gate_app.command("explain")
def gate_explain(
    round: Annotated[int | None, typer.Option(help="The round; 0 is SFT against the base. The latest one if not given.")] = None,
    run: RunOption = DEFAULT_RUN,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Why a round's challenger was promoted or not: every condition in plain English, and how small a gain would have been seen."""
    one_of("--format", format, ("table", "json"))
    from rlaif.explain import explain, show
    from rlaif.run import open_run

    result = explain(open_run(run), round)
    if format == "json":
        print(json.dumps(plain(result), ensure_ascii=False))
    else:
        show(result, stdout_screen())


@gate_app.command("simulate")
def gate_simulate(
    run: RunOption = DEFAULT_RUN,
    loops: Annotated[int, typer.Option(min=1, help="How many loops without gain to simulate.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Preference rounds, and so looks, a loop.")] = 10,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """How often the gate would promote without any gain, and with one, on items such as this run's. Minutes; changes nothing."""
    one_of("--format", format, ("table", "json"))
    from rlaif.progress import Screen
    from rlaif.run import open_run
    from rlaif.simulate_own import show, simulate_own

    with Screen().live() as screen:
        result = simulate_own(open_run(run), loops, rounds, screen)
    if format == "json":
        print(json.dumps(plain(result), ensure_ascii=False))
    else:
        show(result, stdout_screen())


def not_negative(option: str, value: int) -> None:
    if value < 0:
        raise UsageError(f"{option} {value}: give a positive number, or 0 for all")


def one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        from rlaif.config import nearest

        raise UsageError(f"{option} {value!r}{nearest(value, list(known))}; use one of: {', '.join(known)}")


def stdout_screen(width: int | None = None) -> Any:
    from rich.console import Console

    from rlaif.progress import Screen

    return Screen(Console(highlight=False, width=width))


def print_rows(columns: list[str], rows: list[tuple[Any, ...]], format: str) -> None:
    """Rows of a query on stdout as a table, CSV or a JSON list of objects."""
    if format == "json":
        names = [name if name not in columns[:i] else f"{name}_{columns[:i].count(name)}" for i, name in enumerate(columns)]
        print(json.dumps([dict(zip(names, map(plain, row), strict=True)) for row in rows], default=str, ensure_ascii=False))
    elif format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        wide = None if sys.stdout.isatty() else 10_000  # in a file or a pipe nothing is folded
        stdout_screen(wide).table(
            "", columns, [["" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row] for row in rows]
        )


def plain(value: Any) -> Any:
    """A database value as JSON has it: decimals as numbers, and no NaN or infinity, which JSON does not know."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    """The entry point: one line for every error that a person can act on, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer turns Ctrl-C into this
            raise KeyboardInterrupt
        sys.exit(code)
    except UsageMistake as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    except RlaifError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        fail("stopped; the same command goes on from here", 130)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            raise
        fail(f"{error.filename or 'input/output'}: {error.strerror or error}", 1)
    except Exception as error:  # the last line of defence: anything else is a bug, and says so
        if debug:
            raise
        fail(f"{type(error).__name__}: {error} (a bug; --debug before the command shows the traceback)", 1)


def fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
