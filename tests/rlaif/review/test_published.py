from __future__ import annotations

import pytest

from judges.reference import ReferenceJudge
from rlaif.data.ultramedical import Pair
from rlaif.review.published import Alignment, alignment


def pair(number: int, chosen: str, rejected: str, kind: str = "easy") -> Pair:
    return Pair(f"p{number}", "What helps against fever?", chosen, rejected, kind)


GOOD, BAD = "Rest and plenty of water help against fever.", "Nobody can know such things."


def test_agreement_by_kind_with_a_real_judge() -> None:
    pairs = [pair(1, GOOD, BAD), pair(2, BAD, GOOD, "hard"), pair(3, GOOD, BAD, "hard")]
    total, easy, hard = alignment(ReferenceJudge(), pairs, {"What helps against fever?": GOOD})
    assert total == Alignment("all", 2, 1, 0, 0) and total.share == pytest.approx(2 / 3)
    assert easy == Alignment("easy", 1, 0, 0, 0) and hard.share == 0.5


def test_what_a_judge_cannot_score_counts_for_nobody() -> None:
    (total, _) = alignment(ReferenceJudge(), [pair(1, GOOD, BAD)])  # without a reference this judge gives no score
    assert (total.unscored, total.share) == (1, None)
