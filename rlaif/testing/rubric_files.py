"""Small files in the schemas of data sets with rubrics, in words of our own: HealthBench, RaR-Medicine, and lists of
criteria per prompt. For tests, and to try a command without a download.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

COMPLAINTS = "a sore throat,a stiff neck,a mild fever,a runny nose,dry eyes,a twisted ankle".split(",")
REMEDIES = "rest,warm drinks,a cold pack,eye drops,gentle stretching".split(",")
N = 30


def topic(n: int) -> tuple[str, str]:
    """The n-th complaint and what helps against it; different for each n below N."""
    return COMPLAINTS[n % len(COMPLAINTS)], REMEDIES[n // len(COMPLAINTS) % len(REMEDIES)]


def write_healthbench(path: Path, n: int = N) -> Path:
    """`n` conversations, every third of three turns, in HealthBench's schema (JSON Lines)."""
    rows = []
    for i in range(n):
        complaint, remedy = topic(i)
        asked: list[dict[str, str]] = [{"role": "user", "content": f"What helps against {complaint}, is it {remedy}?"}]
        if i % 3 == 0:
            asked = [
                {"role": "user", "content": f"I have had {complaint} since day {i}."},
                {"role": "assistant", "content": "Does anything make it better?"},
                {"role": "user", "content": f"I have tried {remedy}. What else helps?"},
            ]
        rubrics = [
            {"criterion": f"Names {remedy}", "points": 5, "tags": ["level:example", "axis:completeness"]},
            {"criterion": f"Says something true of {complaint}", "points": 3, "tags": ["axis:accuracy"]},
            {"criterion": "Says that nothing can be done", "points": -4, "tags": ["axis:communication_quality"]},
        ]
        ideal = {"ideal_completion": f"{remedy.capitalize()} helps against {complaint}.", "ideal_completions_group": ""}
        rows.append(
            {
                "prompt": asked,
                "prompt_id": f"p{i}",
                "rubrics": rubrics,
                "example_tags": [f"theme:{'emergency_referrals' if i % 2 else 'hedging'}"],
                "ideal_completions_data": ideal if i % 2 else None,
            }
        )
    return _lines(path, rows)


def write_rar(path: Path, n: int = N) -> Path:
    """`n` questions in the schema of RaR-Medicine (JSON Lines)."""
    rows = []
    for i in range(n):
        complaint, remedy = topic(i)
        rubric = [
            {"title": "Names the rest", "description": f"Essential Criteria: Names {remedy}", "weight": 5},
            {"title": "On the point", "description": f"Important Criteria: Is about {complaint}", "weight": 3},
            {"title": "Gives up", "description": "Pitfall Criteria: Says that nothing can be done", "weight": -2},
        ]
        question = f"Which remedy eases {complaint} when {remedy} is at hand?"
        answer = f"{remedy.capitalize()} eases {complaint} for most people."
        rows.append({"question": question, "reference_answer": answer, "rubric": rubric})
    return _lines(path, rows)


def write_lists(path: Path, n: int = N) -> Path:
    """`n` prompts in the schema of JunkaiZ/Rubrics (JSON Lines)."""
    rows = []
    for i in range(n):
        complaint, remedy = topic(i)
        rubrics = [
            {"criterion": f"Names {remedy}", "weight": 3},
            {"criterion": f"Is about {complaint}", "weight": 1},
        ]
        prompt = f"Tell me about {complaint} and {remedy}."
        rows.append({"prompt": prompt, "rubrics": rubrics, "number_of_criteria": 2, "total_weight": 4})
    return _lines(path, rows)


def write_meta(path: Path, n: int = N) -> Path:
    """`n` criteria with the labels of two physicians each, in the schema of HealthBench's meta-evaluation (JSON Lines).

    Every second answer meets its criterion, and every tenth row has physicians who disagree.
    """
    rows = []
    for i in range(n):
        complaint, remedy = topic(i)
        met = i % 2 == 0
        answer = f"{remedy.capitalize()} helps." if met else "Time heals."
        rows.append(
            {
                "prompt": [{"role": "user", "content": f"What helps against {complaint}?"}],
                "prompt_id": f"p{i}",
                "completion": answer,
                "completion_id": f"c{i}",
                "rubric": f"Names {remedy}",
                "category": f"cluster:{'hedging' if i % 3 else 'emergency'}",
                "binary_labels": [met, not met if i % 10 == 0 else met],
                "anonymized_physician_ids": ["a", "b"],
            }
        )
    return _lines(path, rows)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "healthbench": write_healthbench,
    "rar-medicine": write_rar,
    "rubrics": write_lists,
}


def _lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
