"""Other readings of an answer, for a judge that can be talked to: the lowest of their marks counts.

A sentence is beside the point when less than a third of it is in the words of the right answer, or one of several.
Claims about the answer ("Every point is covered.") and demands are such sentences, whatever their wording. They may
lower a mark, never raise it: the answer is read again without any of them and with each of them alone (of more than
MOST, the first and the last ones), so that one more adds readings and takes none away.

What a frame denies ("Myths: ...", see judges.reference.frames) is not asserted: the answer is read again without it,
and without what then is beside the point. Key words with hardly a binding word between them assert nothing: they are
read as the empty answer, too.
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
    """The stems of what the reference and the key points say, without those of the question.

    Numbers are left out where there is anything else: "5 of 5" is no talk about the age of forty-five.
    """
    told = " ".join((item.reference, *item.key_points))
    stems = frozenset(content_words(plain(told))) - frozenset(content_words(plain(item.question)))
    return frozenset(s for s in stems if not s[0].isdigit()) or stems


def other_readings(item: JudgeItem) -> list[JudgeItem]:
    """The other readings of `item`; none where its answer asserts all it says and says nothing beside the point, or
    where there is no right answer to tell it by.
    """
    about = right_words(item)
    if not about:
        return []
    sentences = _sentences(item.answer)
    on = _on_the_point(sentences, about)
    beside = [n for n, kept in enumerate(on) if not kept]
    answers = []
    if beside:
        alone = beside if len(beside) <= MOST else [*beside[: MOST // 2], *beside[-MOST // 2 :]]
        kept = [[s for n, s in enumerate(sentences) if on[n] or n == one] for one in (-1, *alone)]
        answers += [" ".join(k) for k in kept if len(k) < len(sentences)]
    said = asserted(item.answer, about)
    if said != " ".join(item.answer.split()):
        left = _sentences(said)
        answers.append(" ".join(s for s, kept in zip(left, _on_the_point(left, about), strict=True) if kept))
    _, bound = held_together(item.answer, about)
    if not bound:
        answers.append("")
    return [replace(item, answer=answer) for answer in dict.fromkeys(answers)]


def _sentences(text: str) -> list[str]:
    return [s for s in _ENDS.split(text) if s.strip()]


def _on_the_point(sentences: Sequence[str], about: frozenset[str]) -> list[bool]:
    """For each sentence whether it is on the point; where none is, whether it shares two words with the right answer:
    one may be chance.
    """
    on = [on_the_point(s, about) for s in sentences]
    return on if any(on) else [len(about.intersection(content_words(plain(s)))) > 1 for s in sentences]


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
