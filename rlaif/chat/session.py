"""The command `chat`: questions and answers in a terminal.

A session is one conversation until /new: what was said before is read again with each question. Nothing typed is kept
on disk. What a model says is shown as plain characters: no markup, no terminal control.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rlaif.chat.answerer import Answerer, Turn, answer, describe, find_policy, model_of, open_answerer, remembered
from rlaif.chat.terminal import COMMANDS, ending, in_words, line_reader, read_context, side_by_side, valid_text
from rlaif.config_file import nearest
from rlaif.screen import Screen, clean
from rlaif.types import RlaifError, UsageError

if TYPE_CHECKING:
    from rlaif.models.generate import Said


NOTICE = "Research software, not medical advice."
HELP = """\
  /policy [base|champion|ID]   who answers from now on; alone: the policies there are
  /both [QUESTION]             base and champion side by side on this question alone; without one: the last again
  /why                         what the run's judge says of the last answer
  /context [TEXT|@FILE]        a text to answer from, such as an abstract, until it is changed; alone: none
  /new                         a new conversation: what was said before is not read again
  /help, /quit                 this list; leave (as Ctrl-D does)
  Ctrl-C stops an answer. Policies are trained on single questions: after another topic, /new often answers better."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer as it was shown, stopped ones too."""

    who: str
    question: str
    context: str
    text: str


@dataclass
class Session:
    """A conversation under way: who answers (a row of `policies`), from which text, what was said since /new (`said`,
    without /both) and what was shown last.
    """

    answerer: Answerer
    policy: dict[str, Any]
    context: str
    console: Console
    last: tuple[Answered, ...] = ()
    said: tuple[Turn, ...] = ()


def start(folder: Path, fallback: Path, name: str, question: str | None, context_source: str) -> None:
    """The command `chat`. With a question: its answer alone on stdout; who gives it, and the notice, on stderr.

    UsageError for a policy or context that is not there; the rest as :func:`rlaif.chat.answerer.open_answerer` has it.
    """
    context, screen = read_context(context_source), Screen()
    with screen.console.status("loading the model"):
        answerer = open_answerer(folder, fallback)
        policy = find_policy(answerer, name)
        model_of(answerer, policy)
    session = Session(answerer, policy, context, Console(highlight=False))
    if question is None:
        converse(session, line_reader())
        return
    screen.line(f"{describe(answerer, policy)}. {NOTICE}", style="dim")
    shown = show_growing(session, answer(answerer, policy, valid_text(question), context))
    if shown and shown.finish_reason == "length":
        screen.line(ending(shown), style="dim")


def converse(session: Session, read: Callable[[str], str]) -> None:
    """Read and answer until the input ends or /quit.

    `read(prompt)` gives one line; it raises EOFError and KeyboardInterrupt as `input` does.
    """
    limit = session.answerer.config.evaluation.max_new_tokens
    say(session, f"{where(session.answerer)}; greedy, at most {limit} tokens per answer", "bold")
    say(session, f"{NOTICE} /help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.", "dim")
    while True:
        try:
            line = read(label(session)).strip()
        except EOFError:
            if session.console.is_terminal:
                session.console.print()
            return
        except KeyboardInterrupt:
            session.console.print()
            continue
        except UnicodeDecodeError:
            say(session, "  that was not UTF-8; please type it again", "yellow")
            continue
        if line == "/quit":
            return
        try:
            obey(session, line)
        except KeyboardInterrupt:
            session.console.print()
            say(session, "  stopped", "dim")
        except RlaifError as error:
            say(session, f"  {error}", "yellow")


def obey(session: Session, line: str) -> None:
    """Do what one line asks for. RlaifError, with what to do, when that cannot be done."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    if not line:
        return
    if not line.startswith("/"):
        ask(session, valid_text(line))
    elif command == "/policy":
        switch(session, rest)
    elif command == "/both":
        both(session, valid_text(rest))
    elif command == "/why":
        why(session)
    elif command == "/new":
        session.said = ()
        say(session, "  a new conversation", "dim")
    elif command == "/context":
        session.context = read_context(rest)
        say(session, f"  context: {len(session.context.split())} words" if session.context else "  no context", "dim")
    elif command == "/help":
        say(session, HELP)
    else:
        raise UsageError(f"no command {command}{nearest(command, list(COMMANDS))}; /help lists them")


def ask(session: Session, question: str, alone: bool = False) -> None:
    """The present policy's answer, as it is made: the next turn of the conversation, or `alone` no part of it."""
    started, who = time.monotonic(), describe(session.answerer, session.policy)
    growing = answer(
        session.answerer, session.policy, question, session.context, () if alone else recall(session, question)
    )
    before = session.last
    try:
        shown = show_growing(session, growing, Answered(who, question, session.context, ""))
    finally:
        if not alone and session.last is not before:  # what Ctrl-C cut short was said too
            session.said += ((question, session.context, session.last[0].text),)
    if shown:
        say(session, f"  {who}, {ending(shown)}, {time.monotonic() - started:.1f} s. {NOTICE}", "dim")


def recall(session: Session, question: str) -> tuple[Turn, ...]:
    """What was said before and can still be read; what cannot is forgotten, and the person told."""
    kept = tuple(remembered(session.answerer, session.policy, question, session.context, session.said))
    if forgotten := len(session.said) - len(kept):
        shown = "turn is" if forgotten == 1 else f"{forgotten} turns are"
        say(session, f"  the first {shown} forgotten: the model reads no more than the rest", "dim")
        session.said = kept
    return kept


def show_growing(session: Session, growing: Iterator[Said], record: Answered | None = None) -> Said | None:
    """Print an answer as it grows; `record` with its text becomes the last answer, even when Ctrl-C cuts it short."""
    latest, printed = None, 0
    try:
        for latest in growing:
            session.console.out(clean(latest.text[printed:]), end="", highlight=False)
            printed = len(latest.text)
        session.console.out()
    finally:
        if record and latest:
            session.last = (Answered(record.who, record.question, record.context, latest.text),)
    return latest


def both(session: Session, question: str) -> None:
    """Base and champion on one question, side by side, a token of each in turn. It is no part of the conversation."""
    if not question:
        if not session.last:
            raise UsageError("/both QUESTION: there is no last question to ask again")
        question = session.last[0].question
    in_run = session.answerer.run is not None
    policies = [find_policy(session.answerer, name) for name in ("base", "champion" if in_run else "base")]
    if policies[0]["policy_id"] == policies[1]["policy_id"]:
        reason = "the champion of this run is the base itself"
        if not in_run:
            reason = "there is no run here, only the embedded base"
        say(session, f"  {reason}: one answer", "dim")
        ask(session, question, alone=True)
        return
    names = [describe(session.answerer, policy) for policy in policies]
    texts = ["", ""]
    streams = [answer(session.answerer, policy, question, session.context) for policy in policies]
    started, ends = time.monotonic(), ["", ""]
    try:
        with Live(side_by_side(names, texts), console=session.console, auto_refresh=False) as live:
            for step in zip_longest(*streams):
                for i, latest in enumerate(step):
                    if latest is not None:
                        texts[i], ends[i] = latest.text, ending(latest)
                live.update(side_by_side(names, texts), refresh=True)
    finally:
        session.last = tuple(Answered(n, question, session.context, t) for n, t in zip(names, texts, strict=True))
    if not session.console.is_terminal:
        session.console.print()  # there Live leaves the last line open
    say(session, f"  {ends[0]} and {ends[1]}, {time.monotonic() - started:.1f} s. {NOTICE}", "dim")


def why(session: Session) -> None:
    """The judge's verdict on the last answer, or on both of the last two.

    UsageError where the judge has nothing to go by.
    """
    from rlaif.chat.judge_answer import judge_answer

    if not session.last:
        raise UsageError("/why: there is no answer yet")
    for answered in session.last:
        verdict, basis = judge_answer(session.answerer, answered.question, answered.context, answered.text)
        say(session, f"  {answered.who}: {in_words(verdict)}")
        say(session, f"    by the judge {session.answerer.config.judge.model!r}, {basis}", "dim")


def switch(session: Session, name: str) -> None:
    """Let another policy answer, or list them all."""
    answerer = session.answerer
    if name:
        session.policy = find_policy(answerer, name)
        say(session, f"  {describe(answerer, session.policy)} answers now", "dim")
    elif answerer.run is None:
        say(session, "  the embedded base: there is no run here", "dim")
    else:
        for row in answerer.run.store.query("SELECT * FROM policies ORDER BY round, kind"):
            mark = "*" if row["policy_id"] == session.policy["policy_id"] else " "
            say(session, f"  {mark} {describe(answerer, row)}")


def where(answerer: Answerer) -> str:
    if answerer.run is None:
        return "no run here: the embedded base answers, a tiny model that knows little (the command loop makes a run)"
    return f"run {answerer.run.folder}, {describe(answerer, answerer.run.policy(answerer.champion))}"


def label(session: Session) -> str:
    """The name before the cursor: base, champion or the beginning of an id.

    Its colour is marked as having no width for readline.
    """
    policy = session.policy
    name = policy["policy_id"][:8]
    if policy["kind"] == "base":
        name = "base"
    elif policy["policy_id"] == session.answerer.champion:
        name = "champion"
    return f"\001\x1b[1;36m\002{clean(name)}>\001\x1b[0m\002 " if session.console.color_system else f"{clean(name)}> "


def say(session: Session, text: str, style: str = "") -> None:
    session.console.print(Text(clean(text), style=style), soft_wrap=True)
