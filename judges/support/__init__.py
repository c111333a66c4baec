"""The `support` judge: graded marks for references without key points, no language model."""

from __future__ import annotations

from judges.support.judge import SupportJudge

__all__ = ["SupportJudge"]
