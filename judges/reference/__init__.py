"""The `reference` judge: no language model, it compares an answer with a reference answer and its key points."""

from __future__ import annotations

from judges.reference.judge import ReferenceJudge

__all__ = ["ReferenceJudge"]
