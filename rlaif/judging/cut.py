"""Answers that ended at the token limit, cut at their last full sentence before anybody judges them
(pairs.truncated = "cut").

`candidates` keeps what was sampled. The judge is shown what is left, DPO trains on it, and the view `answers`, which
everything else reads texts from, gives it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rlaif.config import PairsConfig
from rlaif.types import Candidate

if TYPE_CHECKING:
    from rlaif.run import Run

CUT: Literal["cut"] = "cut"  # the finish_reason of such a candidate, and the flag of a verdict on it
# A full stop after a word, with closing quotes and brackets. What follows must not go on in lower case ("E. coli").
_END = re.compile(r"""(?<=[\w)\]%"'\u2019\u201d])[.!?]+["')\]\u2019\u201d]*(?=\s+[^\sa-z]|\s*\Z)""")
_SHORT = frozenset("ca cf dr e.g etc fig i.e mr mrs ms no prof st vs".split())


def ended(text: str) -> str | None:
    """`text` up to the end of its last full sentence; None where it has none.

    An abbreviation ends no sentence, nor does the number of a list's item. At the very end neither does a single letter
    or a number: the next token might have gone on ("E. coli", "2.5 mg").
    """
    for end in reversed(list(_END.finditer(text))):
        before = text[: end.start()]
        word = re.split(r"[\s(]", before)[-1]
        last = not text[end.end() :].strip()
        listed = word.isdigit() and not before.rpartition("\n")[2].strip().removesuffix(word)
        unsure = last and (len(word) == 1 or word.isdigit())
        if text[end.start()] != "." or not (word.lower() in _SHORT or listed or unsure):
            return text[: end.end()].strip()
    return None


def as_judged(candidates: Sequence[Candidate], settings: PairsConfig) -> list[Candidate]:
    """The candidates with the texts that are judged, paired and trained on; the same ones unless pairs.truncated is
    "cut".

    One that ended at the token limit and has a full sentence comes with the text up to there and finish_reason "cut".
    Its tokens are counted in proportion to its characters, plus the end token: nobody here has the tokenizer, and
    within one answer the two run alike. One without a full sentence stays as it is, and can only be rejected.
    """
    return [_cut(c) if settings.truncated == "cut" and c.finish_reason == "length" else c for c in candidates]


def _cut(candidate: Candidate) -> Candidate:
    text = ended(candidate.text)
    if text is None:
        return candidate
    tokens = round(candidate.n_tokens * len(text) / len(candidate.text)) + 1
    return replace(candidate, text=text, n_tokens=tokens, finish_reason=CUT)


def cut_ids(candidates: Sequence[Candidate]) -> frozenset[str]:
    return frozenset(c.candidate_id for c in candidates if c.finish_reason == CUT)


def store_cut(run: Run, candidates: Sequence[Candidate]) -> None:
    """Keep what `as_judged` left of the cut ones in `cut_answers`, so that the view `answers` gives it."""
    rows = [
        {"candidate_id": c.candidate_id, "text": c.text, "n_tokens": c.n_tokens}
        for c in candidates
        if c.finish_reason == CUT
    ]
    if rows:
        run.store.write({"cut_answers": rows})
