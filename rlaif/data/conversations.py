"""A row of preferences in TRL's format as texts: what was asked, the better answer, the worse one; with what is wrong
between them. One reader for all that takes such rows in.

prompt, chosen and rejected are texts or lists of messages, also lists that were written into a text (by pandas, into
CSV) and transcripts ("Human: ... Assistant: ...").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.files import written
from rlaif.data.overlap import normal
from rlaif.data.tables import Table
from rlaif.types import DataError

Turn = tuple[str, str]  # role, text
ROLES = {name: "user" for name in ("user", "human", "prompter")}
ROLES |= {name: "assistant" for name in ("assistant", "gpt", "bot", "model", "chatgpt")}
ROLES |= {name: "system" for name in ("system", "developer")}
KEYS = (("role", "content"), ("from", "value"))  # where a message has its speaker and its text

# A list of messages that stands as text in a cell, whole or broken: how it begins, or a speaker anywhere in it.
_LISTED = re.compile(
    r"""\A[\s"']*(?:\w+\()?[\[({][\s\[({]*(?:[{"'\\]|(?:\w+\()?(?:role|content|from|value)\b)"""
    r"""|\\?["'](?:role|from)\\?["']\s*:\s*\\?["'](?:user|assistant|system|human|gpt)\b"""
)
_TRANSCRIPT = re.compile(r"(?:\A\s*|\n\s*)(Human|Assistant):")


@dataclass(frozen=True, slots=True)
class PairTexts:
    """One row: texts without outer blanks, and all that the prompt holds (`asked`: the question, its context, every
    message before the answers).

    `problem` says why the row is no pair of answers to one question, code and words ("roles: ..."), and is "" where it
    is one.
    """

    question: str
    context: str
    chosen: str
    rejected: str
    asked: str
    problem: str = ""


def read_pair(table: Table, index: int) -> PairTexts:
    """Row `index`. An answer is the last turn of the assistant; what stands before it is its prompt, and the two
    prompts have to be one, and that of the column prompt.

    The question is the column `question`, else the prompt's messages without the system's. DataError for a cell of
    another type, a role that nobody knows, a list that cannot be read, an empty text.
    """
    where = table.where(index)
    own, context = (table.text(index, c, optional=True).strip() for c in ("question", "context"))
    prompt = _cell(table, index, "prompt", needed=False)
    given = prompt if isinstance(prompt, list) else [("user", prompt)] if prompt else []
    problem, answers, histories = "", [], []
    for column in ("chosen", "rejected"):
        value = _cell(table, index, column)
        said = [("assistant", value)] if isinstance(value, str) else value
        last = max((n for n, (role, _) in enumerate(said) if role == "assistant"), default=-1)
        if last < 0:
            problem = problem or f"roles: {column} has no turn by the assistant"
        elif not said[last][1].strip():
            raise DataError(f"{where}: {column} is empty; needed text or a list of messages")
        answers.append(said[last][1].strip() if last >= 0 else "")
        histories.append(said[:last] if last >= 0 else said)
    whole = _asked(given)
    first, second = (_asked(history, given) for history in histories)
    first, second = first or whole or second, second or whole or first
    question = own or (first if not whole or _within(whole, first) else whole)
    if not question:
        raise DataError(f"{where}: prompt is empty; needed text or a list of messages")
    if normal(first) != normal(second):
        problem = problem or "two_prompts: chosen and rejected answer different prompts"
    elif whole and not _within(whole, first) and not _within(first, whole):
        problem = problem or "two_prompts: prompt asks something else than the conversations"
    elif own and first and not _within(own, first) and not _within(own, whole):
        problem = problem or "two_prompts: question asks something else than prompt"
    shown = dict.fromkeys([question, context, *(text for turns in (given, *histories) for _, text in turns)])
    return PairTexts(question, context, answers[0], answers[1], "\n".join(shown), problem)


def turns(value: Any, where: str, column: str) -> list[Turn]:
    """(role, text) of a list of messages, at least one. DataError when it is something else, or by a speaker who is
    neither user nor assistant nor system.
    """
    keys = next((k for k in KEYS if _messages(value, k)), None)
    if keys is None:
        raise DataError(f"{where}: {column} is no list of messages; needed [{{'role': ..., 'content': ...}}, ...]")
    found = []
    for message in value:
        role = ROLES.get(message[keys[0]].strip().casefold())
        if role is None:
            raise DataError(
                f"{where}: {column} has a turn by {message[keys[0]]!r:.40}; needed user, assistant or system"
            )
        found.append((role, message[keys[1]]))
    return found


def _messages(value: Any, keys: tuple[str, str]) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, dict) and all(isinstance(m.get(k), str) for k in keys) for m in value)
    )


def _cell(table: Table, index: int, column: str, needed: bool = True) -> str | list[Turn]:
    """A cell as text without outer blanks, or as turns; "" for one that may be empty and is."""
    value, where = table.rows[index].get(column), table.where(index)
    if isinstance(value, list):
        return turns(value, where, column) if value or needed else ""
    text = table.text(index, column, optional=not needed or value == "").strip()
    listed = _LISTED.search(text)
    try:
        found = written(text) if listed or (text.startswith("[") and text.endswith("]")) else None
        found = written(found) if isinstance(found, str) else found
    except ValueError:
        found = None
    if listed or (isinstance(found, list) and found and all(isinstance(item, str | dict) for item in found)):
        if not isinstance(found, list):
            raise DataError(
                f"{where}: {column} is a list of messages written as text that cannot be read: {text!r:.60}"
            )
        return turns(found, where, column)
    spoken = list(_TRANSCRIPT.finditer(text))
    if spoken and spoken[0].start() == 0 and spoken[0][1] == "Human":
        ends = [turn.start() for turn in spoken[1:]] + [len(text)]
        said = [(ROLES[t[1].casefold()], text[t.end() : end].strip()) for t, end in zip(spoken, ends, strict=True)]
        return said if said[-1] != ("assistant", "") else said[:-1]
    return text


def _asked(history: list[Turn], given: Sequence[Turn] = ()) -> str:
    """What was said before the answer, without the system's part. A history that begins with the assistant goes on
    where the prompt that was `given` ends.
    """
    said = [turn for turn in history if turn[0] != "system"]
    if said and said[0][0] == "assistant":
        said = [turn for turn in given if turn[0] != "system"] + said
    return "\n\n".join(text.strip() for _, text in said).strip()


def _within(part: str, whole: str) -> bool:
    return f" {normal(part)} " in f" {normal(whole)} "
