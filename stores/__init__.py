"""The DuckDB store of a run: numbered migrations, views, one writer."""

from __future__ import annotations
