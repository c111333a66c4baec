"""benchmarks/asked.py: how outcomes and means of a round's questions are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.asked import OUTCOMES, policies_of, rows
from rlaif.config import Config, flat
from rlaif.run import Run
from rlaif.types import Candidate, Preference, UsageError
from stores.store import Store


def test_each_outcome_has_its_row_and_a_failed_mark_counts_nowhere() -> None:
    before = {"token F1": [0.1, 0.3, 0.5, 0.5], "quality": [0.2, None, 0.4, 0.4], "words": [50.0, 60.0, 40.0, 42.0]}
    after = {"token F1": [0.3, 0.3, 0.4, 0.3], "quality": [0.3, 0.9, 0.4, 0.3], "words": [40.0, 50.0, 40.0, 44.0]}
    assert rows(["rejected", "rejected", "none", "none"], before, after) == [
        "| none | 2 | 0.5000 -0.1500 (0.0500) | 0.4000 -0.0500 (0.0500) | 41.0 +1.0 (1.0) |",
        "| rejected | 2 | 0.2000 +0.1000 (0.1000) |  | 55.0 -10.0 (0.0) |",
        "| all | 4 | 0.3500 -0.0250 (0.0854) | 0.3333 +0.0000 (0.0577) | 48.0 -4.5 (3.2) |",
    ]


def test_a_question_is_told_by_its_kept_pair(tmp_path: Path) -> None:
    config = Config()
    row = {"run_id": "r", "profile": "embedded", "config": flat(config), "config_hash": config.config_hash, "seed": 0}
    run = Run(tmp_path, Store.create(tmp_path, row), config)

    def answer(question: str, index: int, temperature: float) -> Candidate:
        how = {"temperature": temperature}
        name = f"{question}-{'g' if temperature == 0 else index}"
        return Candidate(name, 1, question, "p", "s", index, 0, 0, "text", 1, "stop", -1.0, how)

    def pair(question: str, chosen: str | None, rejected: str | None, status: str = "kept") -> Preference:
        name = f"{question}/{chosen}/{rejected}"
        why = "" if status == "kept" else "tie: both 0.70"
        return Preference(name, 1, question, "j", status, why, chosen, rejected)  # type: ignore[arg-type]

    asked = ("better", "best", "sampled", "dropped", "tie")
    run.store.write({"candidates": [answer(q, i, t) for q in asked for i, t in enumerate((0.8, 0.8, 0.0))]})
    made = [pair("better", "better-0", "better-g"), pair("better", "better-1", "better-g", "dropped")]
    made += [pair("best", "best-g", "best-1"), pair("sampled", "sampled-0", "sampled-1")]
    made += [pair("dropped", "dropped-0", "dropped-g", "dropped"), pair("tie", None, None, "dropped")]
    run.store.write({"preferences": made})
    told = {r["question_id"]: r["outcome"] for r in run.store.query(OUTCOMES, [1])}
    assert told == {"better": "rejected", "best": "chosen", "sampled": "pair", "dropped": "none", "tie": "none"}
    with pytest.raises(UsageError, match="round 1 has trained no policy yet"):
        policies_of(run, 1)
