"""The command line: `python cli.py --help`, or `rlaif --help` once installed. The commands are in `rlaif.commands`.

Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration. Results go to stdout, progress and errors to
stderr.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

STOPPED = "stopped; the same command goes on from here"

try:
    import typer

    from rlaif.commands import by_hand, gate, judge, look, make, measure, share, talk
    from rlaif.logs import configure
    from rlaif.types import RlaifError
except KeyboardInterrupt:  # while modules load, which takes longest: `main` has not begun
    sys.stderr.write(f"error: {STOPPED}\n")
    sys.exit(130)

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="RLAIF for medical question answering that can be audited. Research software: nothing it prints is "
    "medical advice.",
)
COMMANDS: dict[str, Callable[..., None]] = {  # in the order of --help
    "init": make.init,
    "loop": make.loop,
    "train": make.train,
    "sql": look.sql,
    "status": look.status,
    "report": look.report,
    "evaluate": measure.evaluate,
    "test": measure.sealed_test,
    "compare": measure.compare,
    "profiles": look.profiles,
    "doctor": look.doctor,
    "runs": look.runs,
    "promote": by_hand.promote,
    "exclude": by_hand.exclude,
    "quantize": make.quantize,
    "import": share.import_,
    "chat": talk.chat,
    "serve": talk.serve,
}
for command, function in COMMANDS.items():
    app.command(command)(function)
for group, commands in {"judge": judge.app, "gate": gate.app, "export": share.app}.items():
    app.add_typer(commands, name=group)
UsageMistake: type[Exception] = typer.BadParameter.__mro__[2]  # typer's ClickException, which has no public name


def version_and_exit(asked: bool) -> None:
    if asked:
        from rlaif.run import installed

        typer.echo(f"rlaif {installed('rlaif') or '(not installed)'}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log stages, sessions and models on stderr; see RLAIF_LOG.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=version_and_exit, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = debug
    configure(verbose)


def main() -> None:
    """The entry point: one line for every error that a person can act on, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # what its encoding lacks is written as \xe9 or \u2713
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer turns Ctrl-C into this
            raise KeyboardInterrupt
        sys.exit(code)
    except UsageMistake as error:
        usage = io.StringIO()
        error.show(usage)  # type: ignore[attr-defined]
        show(usage.getvalue())
        sys.exit(2)
    except RlaifError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        fail(STOPPED, 130)
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
    show(f"error: {message}\n")
    sys.exit(code)


def show(text: str) -> None:
    """On stderr, without what could steer a terminal: messages quote what files and databases hold. A terminal gets
    lines broken between words.
    """
    from rlaif.screen import Screen  # here, because it brings rich, which --help does without

    Screen().line(text.removesuffix("\n"))


if __name__ == "__main__":
    main()
