"""MedQA (Jin et al. 2020, arXiv 2009.13081), the US questions with four options: exam vignettes by USMLE step.

Reads the official JSONL (question, options, answer_idx, meta_info) and Parquet or JSON of the same columns, with
optional id and split.
"""

from __future__ import annotations

from pathlib import Path

from rlaif.data.choices import load_choices
from rlaif.data.items import Loaded


def load(source: str | Path) -> Loaded:
    """All items of `source`, in its order; `qtype` is the step ("step1", "step2&3", "" where the file does not say).
    Raises DataError.
    """
    return load_choices(source, "medqa", lambda table, i: table.text(i, "meta_info", optional=True))
