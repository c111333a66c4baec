"""MMLU's medical subjects (Hendrycks et al. 2021): Parquet, JSON or JSONL with subject, question, options (A-D) and
answer_idx.
"""

from __future__ import annotations

from pathlib import Path

from rlaif.data.choices import load_choices
from rlaif.data.items import Loaded


def load(source: str | Path) -> Loaded:
    """All items of `source`, in its order; `qtype` is the subject, such as "college_medicine". Raises DataError."""
    return load_choices(source, "mmlu", lambda table, i: table.text(i, "subject"))
