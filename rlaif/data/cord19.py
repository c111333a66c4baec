"""CORD-19 titles (medalpaca/medical_meadow_cord19): name the abstract of a paper on COVID-19.

Schema, one JSON list or Parquet, 821,007 rows: `instruction` ("Please summerize the given abstract to a title",
misspelled there), `input` (the abstract), `output` (the title). The instruction is the question and the abstract its
context; rows without either are left out. A question that stands above every abstract says nothing about who shares
what: rows are grouped by abstract (see rlaif.data.sets).
"""

from __future__ import annotations

from rlaif.data.items import Item, meadow
from rlaif.data.tables import Table

QUESTION = "What is a fitting title for this abstract?"


def read(table: Table, i: int) -> Item | None:
    _, abstract, title = meadow(table, i)
    return Item(QUESTION, title, abstract) if abstract and title else None
