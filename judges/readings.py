"""Other readings of an answer, for a judge that can be talked to: the lowest of their marks counts.

A sentence is beside the point when less than a third of it is in the words of the right answer. Claims about the answer
("Every point is covered.") and demands are such sentences, whatever their wording. They may lower a mark, never raise
it: the answer is read again without any of them and with each of them alone, so that one more adds readings and takes
none away.

What a frame denies ("Myths: ...", see judges.reference.frames) is not asserted: the answer is read again without it.
Key words with hardly a binding word between them assert nothing: they are read as the empty answer, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from judges.reference.text import asserted, content_words, held_together, on_the_point, plain
from rlaif.types import JudgeItem, Verdict

MOST = 6  # sentences beside the point that are read one by one
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+(?![^\S\n]*[a-z])")  # a line that goes on in lower case is no end


def right_words(item: JudgeItem) -> frozenset[str]:
    """The stems of what the reference and the key points say, without those of the question."""
    told = " ".join((item.reference, *item.key_points))
    return frozenset(content_words(plain(told))) - frozenset(content_words(plain(item.question)))


def other_readings(item: JudgeItem) -> list[JudgeItem]:
    """The other readings of `item`; none where its answer asserts all it says and says nothing beside the point, or
    where there is no right answer to tell it by.
    """
    about = right_words(item)
    if not about:
        return []
    answers = _without_beside(item.answer, about)
    said = asserted(item.answer, about)
    if said != " ".join(item.answer.split()):
        answers.append(said)
    _, bound = held_together(item.answer, about)
    if not bound:
        answers.append("")
    return [replace(item, answer=answer) for answer in dict.fromkeys(answers)]


def _without_beside(answer: str, about: frozenset[str]) -> list[str]:
    """`answer` without its sentences beside the point, and with each of them alone (of more than MOST, the first and
    the last ones).

    Where no sentence is on the point, those count that share any word with the right answer; of an answer without a
    single one nothing is left.
    """
    sentences = [s for s in _ENDS.split(answer) if s.strip()]
    on = [on_the_point(s, about) for s in sentences]
    if not any(on):
        on = [not about.isdisjoint(content_words(plain(s))) for s in sentences]
    beside = [n for n, kept in enumerate(on) if not kept]
    if not beside:
        return []
    alone = beside if len(beside) <= MOST else [*beside[: MOST // 2], *beside[-MOST // 2 :]]
    kept = [[s for n, s in enumerate(sentences) if on[n] or n == one] for one in (-1, *alone)]
    return [" ".join(k) for k in kept if len(k) < len(sentences)]


def lowest(whole: Verdict, others: Sequence[Verdict]) -> Verdict:
    """The verdict on the answer: that on the whole, or on one of its other readings where that has a lower score. It
    carries the tokens and seconds of all of them.
    """
    least = min((v for v in others if v.score is not None), key=lambda v: v.score or 0.0, default=whole)
    every = (whole, *others)
    cost = {"tokens_in": sum(v.tokens_in for v in every), "seconds": sum(v.seconds for v in every)}
    if whole.score is None or least.score is None or least.score >= whole.score:
        return replace(whole, **cost)  # type: ignore[arg-type]
    told = f"{least.rationale}; the lowest of several readings of the answer"
    return replace(least, rationale=told, flags=whole.flags, **cost)  # type: ignore[arg-type]
