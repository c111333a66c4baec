"""Questions with four options (MedQA and MMLU) as questions with a reference, to train on. Scoring them is another
matter: rlaif.evals.

MedQA (GBaker/MedQA-USMLE-4-options, and the authors' JSONL): `question`, `options` ({"A": text, ...}, or a list of
{key, value}), `answer_idx` ("B") and optionally `answer`, `meta_info` (step1 or step2&3). MMLU (cais/mmlu, medical
subjects): `question`, `choices` or `options` (list of texts), `answer` (0-3 or a letter), `subject`.

Medical Meadow (medalpaca/medical_meadow_medqa, 10,178 rows, and medical_meadow_mmmlu, 3,787): `instruction`, `input`
(question and options), `output` (the right option).

The question shows its options, a letter each; the reference is the right one, letter and text. Rows whose column
`split` says test are sealed (rlaif.data.sets).
"""

from __future__ import annotations

from typing import Any

from rlaif.data.items import Item, meadow
from rlaif.data.tables import Table
from rlaif.types import DataError

LETTERS = "ABCDEFGHIJ"


def read(table: Table, i: int) -> Item | None:
    if {"instruction", "input", "output"} <= set(table.columns):
        _, question, answer = meadow(table, i)
        return Item(question, answer) if question and answer else None
    column = next((c for c in ("options", "choices") if c in table.columns), "options")
    table.require("question", column)
    row = table.rows[i]
    options = _options(row[column])
    if len(options) < 2:
        raise DataError(
            f"{table.where(i)}: {column} is {row[column]!r:.60}; needed {{letter: text}} or a list of texts"
        )
    letter = _letter(row, options)
    if letter is None:
        found = {c: row.get(c) for c in ("answer_idx", "answer") if c in table.columns}
        raise DataError(f"{table.where(i)}: right answer {found!r:.100} is none of the options {', '.join(options)}")
    shown = "\n".join(f"{key}. {text}" for key, text in options.items())
    qtype = next((str(row[c]) for c in ("meta_info", "subject") if row.get(c)), "")
    return Item(f"{table.text(i, 'question').strip()}\n{shown}", f"{letter}. {options[letter]}", qtype=qtype)


def _options(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        pairs = [(str(k), v) for k, v in value.items() if v is not None]
    elif isinstance(value, list) and all(isinstance(v, dict) and {"key", "value"} <= set(v) for v in value):
        pairs = [(str(v["key"]), v["value"]) for v in value]
    elif isinstance(value, list):
        pairs = list(zip(LETTERS, value, strict=False))
    else:
        pairs = []
    return {key.strip().upper(): text.strip() for key, text in pairs if isinstance(text, str) and text.strip()}


def _letter(row: dict[str, Any], options: dict[str, str]) -> str | None:
    """The right option's letter, told as a letter, a number from 0 or the option's text."""
    for value in (row.get("answer_idx"), row.get("answer")):
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
            return list(options)[value]
        if isinstance(value, str) and value.strip().upper() in options:
            return value.strip().upper()
        if isinstance(value, str):
            same = [key for key, text in options.items() if text == value.strip()]
            if same:
                return same[0]
    return None
