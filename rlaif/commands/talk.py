"""Commands that ask a policy: chat, serve."""

from __future__ import annotations

from typing import Annotated

import typer

from rlaif.commands.options import DEFAULT_RUN, RunOption
from rlaif.types import UsageError


def chat(
    question: Annotated[str | None, typer.Argument(help="One question; without it a session begins.")] = None,
    run: RunOption = DEFAULT_RUN,
    policy: Annotated[
        str, typer.Option(help="base, champion or a policy id; the champion, or without a run the embedded base.")
    ] = "",
    context: Annotated[
        str, typer.Option(help="A text to answer from, such as an abstract; @FILE reads it from a file.")
    ] = "",
) -> None:
    """Ask the champion, or any policy, in the terminal.

    Answers appear as they are made. Not medical advice.
    """
    if question is not None and not question.strip():
        raise UsageError("the question is empty; leave it out for a session")
    from rlaif.chat.session import start

    start(run, DEFAULT_RUN, policy, question, context)


def serve(
    run: RunOption = DEFAULT_RUN,
    policy: Annotated[str, typer.Option(help="base, champion or a policy id: what is loaded at once.")] = "champion",
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen on. With any but a loopback one, clients need the key that is in the "
            "environment variable RLAIF_SERVE_KEY."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Serve the policies as an OpenAI-compatible endpoint.

    Until Ctrl-C. Needs the extra serving.
    """
    from rlaif.share.serve import serve as until_stopped

    until_stopped(run, policy, host, port)
