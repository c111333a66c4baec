"""A judge, a benchmark that gates, and a reader of files: no part of rlaif. docs/plugins.md explains it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import rlaif
from rlaif import JudgeItem, Question, Verdict

PROMISE = re.compile(r"\b(?:guaranteed?|miracle|cures everyone|always cures|no side effects)\b|\b100 ?%", re.IGNORECASE)
LONG = 12  # letters: a word that many readers have to look up


def careful(items: Sequence[JudgeItem]) -> list[Verdict]:
    """The reference judge, which halves the score of an answer that promises a cure."""
    return [lowered(v, PROMISE.search(i.answer)) for i, v in zip(items, rlaif.judge(items, "reference"), strict=True)]


def lowered(verdict: Verdict, promise: re.Match[str] | None) -> Verdict:
    if promise is None or verdict.score is None:
        return verdict
    return replace(verdict, score=verdict.score / 2, rationale=f"promises: {promise[0]}; {verdict.rationale}")


# What decides its scores beside this file: the reference judge, which comes with rlaif.
careful.identity = {"rlaif": version("rlaif")}  # type: ignore[attr-defined]


def plain(question: Question, answer: str) -> float | None:
    """The share of the answer's words that have fewer than 12 letters; None where there is no word."""
    words = re.findall(r"[^\W\d_]+", answer)
    return sum(len(word) < LONG for word in words) / len(words) if words else None


def cards(path: str) -> Iterator[dict[str, str]]:
    """A text file of cards with a blank line between them: the question on a card's first line, then its answer."""
    for card in Path(path).read_text("utf-8").strip().split("\n\n"):
        question, _, answer = card.partition("\n")
        yield {"question": question.strip(), "answer": " ".join(answer.split())}
