"""Three sets of Medical Meadow (medalpaca on the hub), each one JSON list or Parquet with the columns `instruction`,
`input` and `output`. Rows without a question or an answer, as each release has some, are left out.

WikiDoc (medical_meadow_wikidoc, 10,000 rows): a medical encyclopedia's paragraphs under generated questions. The
instruction is always "Answer this question truthfully"; the input is the question, the output the answer.

MEDIQA (medical_meadow_mediqa, 2,208 rows): consumer questions, each with passages and an answer that sums them up. The
input is the question, then the passage. Where the passage has a paragraph or line of its own it becomes the context;
otherwise the first sentence that ends in a question mark is the question, and what follows it the context.

CORD-19 titles (medical_meadow_cord19, 821,007 rows): name the abstract of a paper on COVID-19. The input is the
abstract, the output the title. A question that stands above every abstract says nothing about who shares what: rows are
grouped by abstract (see rlaif.data.sets).
"""

from __future__ import annotations

import re

from rlaif.data.items import Item, meadow
from rlaif.data.tables import Table

TITLE = "What is a fitting title for this abstract?"
_LABEL = re.compile(r"^(?:question|context|passage|answer)s?\s*:\s*", re.IGNORECASE)


def wikidoc(table: Table, i: int) -> Item | None:
    _, question, answer = meadow(table, i)
    return Item(question, answer) if question and answer else None


def mediqa(table: Table, i: int) -> Item | None:
    _, text, answer = meadow(table, i)
    question, context = divide(text)
    return Item(question, answer, context) if question and answer else None


def cord19(table: Table, i: int) -> Item | None:
    _, abstract, title = meadow(table, i)
    return Item(TITLE, title, abstract) if abstract and title else None


def divide(text: str) -> tuple[str, str]:
    """Question and passage of a MEDIQA `input`; the passage is "" where there is only a question."""
    head, line_break, tail = text.strip().partition("\n")
    if not line_break:
        end = head.find("? ") + 1 or len(head)
        head, tail = head[:end], head[end:]
    return _LABEL.sub("", head.strip()), _LABEL.sub("", tail.strip())
