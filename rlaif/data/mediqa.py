"""MEDIQA answers (medalpaca/medical_meadow_mediqa): consumer questions, each with passages and an answer that sums them
up.

Schema, one JSON list or Parquet, 2,208 rows: `instruction` ("Answer the input medical question based on the relevant
..."), `input` (the question, then the passage), `output` (the answer). Where the passage has a paragraph or line of its
own it becomes the context; otherwise the first sentence that ends in a question mark is the question, and what follows
it the context.
"""

from __future__ import annotations

import re

from rlaif.data.items import Item, meadow
from rlaif.data.tables import Table

_LABEL = re.compile(r"^(?:question|context|passage|answer)s?\s*:\s*", re.IGNORECASE)


def read(table: Table, i: int) -> Item | None:
    _, text, answer = meadow(table, i)
    question, context = divide(text)
    return Item(question, answer, context) if question and answer else None


def divide(text: str) -> tuple[str, str]:
    """Question and passage of an `input`; the passage is "" where there is only a question."""
    head, line_break, tail = text.strip().partition("\n")
    if not line_break:
        end = head.find("? ") + 1 or len(head)
        head, tail = head[:end], head[end:]
    return _LABEL.sub("", head.strip()), _LABEL.sub("", tail.strip())
