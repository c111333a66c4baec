"""What a reasoning policy wrote while it was thinking, and what it answered. Pure.

    split("<think>perhaps rest</think>\n\nRest helps.")     # ("perhaps rest", "Rest helps.", False)
    split("<think>perhaps")                                 # ("perhaps", "", True): it never came to an answer

A chat template may have opened the thought, so that the text has its end alone.
"""

from __future__ import annotations

from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Thought(NamedTuple):
    """`thoughts` and `answer` without the marks between them; `open`: the thoughts did not end, and `answer` is ""."""

    thoughts: str
    answer: str
    open: bool


def split(text: str) -> Thought:
    """The thoughts and the answer of a text that a policy wrote. A text without marks is all answer, as it stands."""
    if OPEN not in text and CLOSE not in text:
        return Thought("", text, False)
    before, _, after = text.rpartition(CLOSE)
    answer, _, unfinished = after.partition(OPEN)
    thoughts = " ".join(part.replace(OPEN, "").replace(CLOSE, "").strip() for part in (before, unfinished)).strip()
    return Thought(thoughts, answer.strip(), OPEN in after and not answer.strip())


def joined(prompt: str, thoughts: str, answer: str) -> str:
    """What a policy wrote behind `prompt`, put together again: the thoughts between their marks, then the answer. The
    first mark is left out where the prompt ends with it.
    """
    opened = prompt.rstrip().endswith(OPEN)
    if not thoughts and not opened:
        return answer
    begin = "" if opened else f"{OPEN}\n"
    return f"{begin}{thoughts}\n{CLOSE}\n\n{answer}"
