"""A judge for unit tests: it says what it was told to say, and its identity says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rlaif.types import JudgeIdentity, JudgeItem, RlaifError, Verdict


@dataclass(frozen=True, slots=True)
class ScriptedJudge:
    """Scores from `script`: a mapping from candidate_id (else from the answer's text), or a function of the item.

    Each value is in 0-1 and is given to all four scores. Candidate ids in `failed` and `unparsed` get that status.
    Raises RlaifError for an item the mapping does not know, and for a score outside 0-1.
    """

    local: ClassVar[bool] = False
    chat: ClassVar[bool] = False

    script: Mapping[str, float] | Callable[[JudgeItem], float]
    failed: Collection[str] = field(default=())
    unparsed: Collection[str] = field(default=())
    name: str = "scripted"

    @property
    def identity(self) -> JudgeIdentity:
        return JudgeIdentity(self.name, "", "none", "", {"kind": "scripted: scores are made up by a test"})

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order."""
        return [self._verdict(item) for item in items]

    def _verdict(self, item: JudgeItem) -> Verdict:
        judge_id = self.identity.judge_id
        if item.candidate_id in self.failed:
            return Verdict(item.candidate_id, judge_id, item.replicate, "failed", reason="scripted failure")
        if item.candidate_id in self.unparsed:
            return Verdict(item.candidate_id, judge_id, item.replicate, "unparsed", reason="scripted: no score found")
        value = self._value(item)
        if not 0.0 <= value <= 1.0:
            raise RlaifError(f"scripted judge: score {value} for {item.candidate_id!r} is outside 0-1; mend the script")
        return Verdict(item.candidate_id, judge_id, item.replicate, "scored", value, value, value, value, "scripted")

    def _value(self, item: JudgeItem) -> float:
        if callable(self.script):
            return self.script(item)
        for key in (item.candidate_id, item.answer):
            if key in self.script:
                return self.script[key]
        raise RlaifError(
            f"scripted judge: no score for candidate {item.candidate_id!r}; add its id or its answer to the script"
        )
