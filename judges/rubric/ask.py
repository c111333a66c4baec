"""Which criteria an answer is asked about, in which calls, and in which words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from judges.fill import Asked, content_hash, fill_rubric, nonce_of
from judges.shield import shield
from rlaif.prompts import JudgePrompt
from rlaif.rubric import drawn
from rlaif.types import Criterion, CriterionVerdict, JudgeItem, Verdict, VerdictStatus

# A change of how criteria are worded or divided gets a new number, and so a new judge_id.
RUBRIC = "rubric-1"
FAULT = "[fault] "  # before a criterion that has points below 0; the prompt says what it means
NOTHING = (
    "nothing to judge by: the question has no rubric, key points or reference, and the prompt no criteria of its own"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One call: the filled prompt, and the places of its criteria in the rubric, in the order in which they are
    shown.
    """

    asked: Asked
    places: tuple[int, ...]


def rubric_of(prompt: JudgePrompt, item: JudgeItem) -> tuple[Criterion, ...]:
    """What an answer is held against: the prompt's criteria, then the question's own, else what is drawn from its key
    points or reference.
    """
    return (*prompt.rubric, *(item.rubric or drawn(item.key_points, item.reference)))


def parts(prompt: JudgePrompt, item: JudgeItem, per_call: int) -> list[Part]:
    """The calls for one answer, `per_call` criteria in each. Their order is drawn by what is asked, so it is another
    one for each answer and replicate, and the same when that answer is asked about again.
    """
    rubric = rubric_of(prompt, item)
    order = list(range(len(rubric)))
    random.Random(nonce_of(prompt, content_hash(item), "order")).shuffle(order)
    chunks = [tuple(order[start : start + per_call]) for start in range(0, len(order), per_call)]
    return [Part(fill_rubric(prompt, item, listed([rubric[place] for place in chunk])), chunk) for chunk in chunks]


def listed(criteria: Sequence[Criterion]) -> str:
    """The criteria as a numbered list, faults marked as such. Their words are shielded: a rubric is data, too."""
    lines = [f"{FAULT * (c.weight < 0)}{' '.join(shield(c.text)[0].split())}" for c in criteria]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of one criterion: see `rlaif.types.CriterionVerdict`."""

    status: VerdictStatus
    value: float | None
    reason: str = ""


def with_criteria(
    prompt: JudgePrompt, item: JudgeItem, verdict: Verdict, said: Sequence[Said]
) -> list[CriterionVerdict]:
    """A row for each criterion of the answer's rubric, from what was `said` of them, in the rubric's order."""
    rubric = rubric_of(prompt, item)
    return [
        CriterionVerdict(
            item.candidate_id,
            verdict.judge_id,
            item.replicate,
            place,
            criterion.text,
            criterion.weight,
            criterion.category,
            criterion.source,
            one.status,
            one.value,
            one.reason,
        )
        for place, (criterion, one) in enumerate(zip(rubric, said, strict=True))
    ]


def strictest(whole: Said, others: Sequence[Said], weight: float) -> Said:
    """What is said of a criterion over several readings of an answer: the reading that helps the answer least."""
    known = [one for one in (whole, *others) if one.value is not None]
    if whole.value is None or len(known) == 1:
        return whole
    pick = min if weight > 0 else max
    worst = pick(known, key=lambda one: one.value or 0.0)
    return whole if worst.value == whole.value else replace(worst, reason=f"{worst.reason}; in one of several readings")
