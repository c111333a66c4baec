"""The benchmarks: one module each, and what is kept, compared and sealed of their results."""

from __future__ import annotations
