"""WikiDoc questions and answers (medalpaca/medical_meadow_wikidoc): a medical encyclopedia's paragraphs under generated
questions.

Schema, one JSON list or Parquet, 10,000 rows: `instruction` (always "Answer this question truthfully"), `input` (the
question), `output` (the answer). Some rows have no question or no answer: they are left out.
"""

from __future__ import annotations

from rlaif.data.items import Item, meadow
from rlaif.data.tables import Table


def read(table: Table, i: int) -> Item | None:
    _, question, answer = meadow(table, i)
    return Item(question, answer) if question and answer else None
