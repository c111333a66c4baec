"""A jury: several judges score every answer, and the mean counts.

    jury = Jury((ReferenceJudge(), other))
    verdicts = jury.score_all(items)       # {judge_id: verdicts}: the jury's own and each member's, all to be stored

The members' verdicts are stored beside the jury's, because pairs on which the members disagree are dropped
(rlaif.loop.pairs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from judges.settings import JudgeStopped
from rlaif.types import Judge, JudgeIdentity, JudgeItem, UsageError, Verdict

# From bad to worst: "failed" is asked again, so one member that failed makes the jury's verdict one that is asked
# again.
SEVERITY = ("unparsed", "refused", "failed")
SCORES = ("score", "factual_accuracy", "completeness", "key_point_coverage")


@dataclass(frozen=True)
class Jury:
    """The mean of its members. Their order does not matter. Raises UsageError for fewer than two members, and for one
    named twice.
    """

    members: tuple[Judge, ...]

    def __post_init__(self) -> None:
        ids = [member.identity.judge_id for member in self.members]
        if len(ids) < 2:
            raise UsageError(
                f"a jury needs at least two judges, got {len(ids)}; name another one, or use the judge alone"
            )
        for member, judge_id in zip(self.members, ids, strict=True):
            if ids.count(judge_id) > 1:
                raise UsageError(
                    f"the jury has {member.identity.model!r} twice (judge {judge_id}); leave one out, or "
                    "give it another prompt"
                )

    @property
    def identity(self) -> JudgeIdentity:
        """The judge_id hashes the members' judge_ids: a member that changes makes another jury."""
        who = sorted((m.identity for m in self.members), key=lambda identity: identity.judge_id)
        prompts = list(
            dict.fromkeys(identity.prompt_name for identity in who if identity.prompt_name not in ("", "none"))
        )
        decoding = {"kind": "jury", "combine": "mean", "members": [identity.judge_id for identity in who]}
        return JudgeIdentity(
            "jury: " + " + ".join(i.model for i in who), "", " + ".join(prompts) or "none", "", decoding
        )

    @property
    def local(self) -> bool:
        """Whether all members are."""
        return all(member.local for member in self.members)

    @property
    def chat(self) -> bool:
        """No: its members may be."""
        return False

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """The jury's own verdicts, one an item, in order."""
        return self.score_all(items)[self.identity.judge_id]

    def score_all(self, items: Sequence[JudgeItem]) -> dict[str, list[Verdict]]:
        """judge_id -> one verdict an item, in order: the jury's first, then each member's.

        A jury verdict is scored only where every member scored; else it has the worst status among the members and
        names who gave it. A criterion that not every member scores is None. Tokens, cost and seconds stay in the
        members' verdicts, so that sums over the table count them once. Where a member has to stop, JudgeStopped carries
        what the members had finished.
        """
        judge_id = self.identity.judge_id
        names = {member.identity.judge_id: member.identity.model for member in self.members}
        given: dict[str, list[Verdict]] = {}
        for member in self.members:
            try:
                given[member.identity.judge_id] = member.score(items)
            except JudgeStopped as error:
                done = [verdict for verdicts in given.values() for verdict in verdicts]
                raise JudgeStopped(str(error), [*done, *error.verdicts]) from error
        joint = [_joint(judge_id, item, votes, names) for item, *votes in zip(items, *given.values(), strict=True)]
        return {judge_id: joint} | given


def _joint(judge_id: str, item: JudgeItem, votes: Sequence[Verdict], names: dict[str, str]) -> Verdict:
    flags = tuple(dict.fromkeys(flag for vote in votes for flag in vote.flags))
    missing = [vote for vote in votes if vote.status != "scored"]
    if missing:
        worst = max(missing, key=lambda vote: SEVERITY.index(vote.status))
        why = f"jury member {names[worst.judge_id]} ({worst.judge_id}): {worst.status}: {worst.reason}"
        return Verdict(item.candidate_id, judge_id, item.replicate, worst.status, reason=why, flags=flags)
    score, factual, complete, covered = (_mean([getattr(vote, name) for vote in votes]) for name in SCORES)
    rationale = "; ".join(f"{names[vote.judge_id]}: {vote.score:.2f}" for vote in votes)
    return Verdict(
        item.candidate_id, judge_id, item.replicate, "scored", score, factual, complete, covered, rationale, flags=flags
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
