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

import math
from typing import Any

from rlaif.data.files import written
from rlaif.data.items import Item, meadow
from rlaif.data.overlap import normal
from rlaif.data.tables import Table
from rlaif.types import DataError

LETTERS = "ABCDEFGHIJ"


def read(table: Table, i: int) -> Item | None:
    """The row as a question; None where it has no question, or its right option is blank.

    DataError for options that are no such list, a right answer that is none of them, and two columns that name
    different ones.
    """
    if {"instruction", "input", "output"} <= set(table.columns):
        _, question, answer = meadow(table, i)
        return Item(question, answer) if question and answer else None
    column = next((c for c in ("options", "choices") if c in table.columns), "options")
    table.require("question", column)
    row = table.rows[i]
    options = _options(row[column])
    if sum(map(bool, options.values())) < 2:
        raise DataError(
            f"{table.where(i)}: {column} is {row[column]!r:.60}; needed {{letter: text}} or a list of texts"
        )
    found = {c: row.get(c) for c in ("answer_idx", "answer") if c in table.columns}
    named = [_letters(value, options, c) for c, value in found.items() if value not in (None, "")]
    if not named or not all(named):
        raise DataError(f"{table.where(i)}: right answer {found!r:.100} is none of the options {', '.join(options)}")
    both = set.intersection(*named) or set.union(*named)
    if len({options[letter] for letter in both}) > 1:
        raise DataError(f"{table.where(i)}: right answer {found!r:.100} names two different options; mend the row")
    letter = min(both)
    if not options[letter]:
        return None
    shown = "\n".join(f"{key}. {text}" for key, text in options.items() if text)
    qtype = next((str(row[c]) for c in ("meta_info", "subject") if row.get(c)), "")
    return Item(f"{table.text(i, 'question').strip()}\n{shown}", f"{letter}. {options[letter]}", qtype=qtype)


def _options(value: Any) -> dict[str, str]:
    """Letter -> text, "" for one that is blank or no text: it keeps its place, because a right answer may be told by
    number. Empty for what is no such list, or names a letter twice.
    """
    if isinstance(value, str):
        try:
            value = written(value)
        except ValueError:
            return {}
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list) and all(isinstance(v, dict) and {"key", "value"} <= set(v) for v in value):
        pairs = [(v["key"], v["value"]) for v in value]
    elif isinstance(value, list) and len(value) <= len(LETTERS):
        pairs = list(zip(LETTERS, value, strict=False))
    else:
        pairs = []
    options = {str(key).strip().upper(): _text(text) for key, text in pairs}
    return options if len(options) == len(pairs) else {}


def _text(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value.strip() if isinstance(value, str) else str(value) if number else ""


def _letters(value: Any, options: dict[str, str], column: str) -> set[str]:
    """The options that `value` may name: by the letter, by the place from 0, or by the text. A letter in answer_idx is
    one, also where it is the text of another option (blood groups).
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
        return {list(options)[value]}
    if not isinstance(value, str) or not value.strip():
        return set()
    told = value.strip()
    if column == "answer_idx" and told.upper() in options:
        return {told.upper()}
    return {key for key, text in options.items() if key == told.upper() or (text and normal(text) == normal(told))}
