"""The judges: each scores answers against what is known about a question, and says who it is."""

from __future__ import annotations

from judges.reference import ReferenceJudge
from rlaif.types import Judge, UsageError


def make_judge(model: str) -> Judge:
    """The judge called `model` (the configuration's `judge.model`). Raises UsageError for one that does not exist."""
    if model == "reference":
        return ReferenceJudge()
    # LLM judges are made here, from the names of their models.
    raise UsageError(
        f"judge.model = {model!r}: LLM judges are not part of this version yet; available: 'reference' (set judge.model=reference)"
    )
