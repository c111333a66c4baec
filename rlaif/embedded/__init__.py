"""The offline default: facts in our own words, questions made from them, and a tiny base model trained on them."""

from __future__ import annotations

from pathlib import Path

BASE = Path(__file__).parent / "base"  # the GPTQ base that ships
JUDGE = Path(__file__).parent / "judge"  # the tiny judge that ships
