"""UltraMedical and UltraMedical-Preference (Zhang et al. 2024, arXiv 2406.03949; TsinghuaC3I on the hub, MIT).

UltraMedical, 409,593 rows: `id` ("TextBookQA,Anatomy_Gray_28": its source's name, a comma, a number), `type`,
`conversations` (list of {from: human or gpt, value}; the first turns of each are question and answer), `answer`,
`score` (1-10 as a text).

UltraMedical-Preference, 109,353 rows and a human-checked test split of 777: `prompt_id`, `label_type` (easy, hard,
length or human), `prompt`, `chosen` and `rejected` (lists of {role, content}), `metadata` ({chosen: {model, rank,
score}, rejected: {...}}). A prompt stands in several pairs. As questions they have the chosen answer for a reference;
as pairs see :func:`load_pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.items import Item
from rlaif.data.tables import Table, read_table
from rlaif.types import DataError, content_id


@dataclass(frozen=True, slots=True)
class Pair:
    """A published preference. Scores are as the data set gives them, None where it gives none; `pair_id` hashes prompt
    and answers.
    """

    pair_id: str
    question: str
    chosen: str
    rejected: str
    kind: str = ""
    chosen_score: float | None = None
    rejected_score: float | None = None


def read(table: Table, i: int) -> Item:
    """A row of UltraMedical. DataError when it has no question or no answer."""
    table.require("conversations")
    turns = table.rows[i].get("conversations")
    source_id = table.text(i, "id", optional=True)
    question = _turn(table, i, "conversations", turns, ("from", "value"), ("human", "user"))[0]
    answer = _turn(table, i, "conversations", turns, ("from", "value"), ("gpt", "assistant"))[0]
    return Item(question, answer, qtype=source_id.partition(",")[0], source_id=source_id)


def read_preference(table: Table, i: int) -> Item:
    """A row of UltraMedical-Preference as a question: the chosen answer is its reference."""
    table.require("prompt", "chosen", "rejected")
    source_id = table.text(i, "prompt_id", optional=True)
    return Item(
        table.text(i, "prompt").strip(),
        _answer(table, i, "chosen"),
        qtype=source_id.partition(",")[0],
        source_id=source_id,
    )


def load_pairs(source: str, key: str = "data.sets.0.path") -> list[Pair]:
    """The pairs of UltraMedical-Preference, or of any table with the columns prompt, chosen and rejected (texts, or
    lists of turns).

    Pairs of equal answers and repeats are left out. `key` is the setting that names the source, for the advice in
    errors. Raises DataError as `tables.read_table`, and for a row without prompt, chosen or rejected.
    """
    table = read_table(source, key)
    table.require("prompt", "chosen", "rejected")
    pairs: dict[str, Pair] = {}
    for i in range(len(table.rows)):
        question, chosen, rejected = (
            table.text(i, "prompt").strip(),
            _answer(table, i, "chosen"),
            _answer(table, i, "rejected"),
        )
        pair_id = content_id("pair", question, chosen, rejected)
        if chosen != rejected:
            scores = (_score(table.rows[i], side) for side in ("chosen", "rejected"))
            pairs.setdefault(
                pair_id, Pair(pair_id, question, chosen, rejected, table.text(i, "label_type", optional=True), *scores)
            )
    return list(pairs.values())


def _answer(table: Table, i: int, column: str) -> str:
    value = table.rows[i].get(column)
    if isinstance(value, str):
        return table.text(i, column).strip()
    return _turn(table, i, column, value, ("role", "content"), ("assistant", "gpt"))[-1]


def _turn(table: Table, i: int, column: str, turns: Any, keys: tuple[str, str], names: Sequence[str]) -> list[str]:
    """The texts of the turns by one of `names`, at least one; `keys` are where a turn has its speaker and its text."""
    who, what = keys
    texts = []
    if isinstance(turns, list) and all(isinstance(t, dict) for t in turns):
        texts = [
            t[what].strip() for t in turns if t.get(who) in names and isinstance(t.get(what), str) and t[what].strip()
        ]
    if not texts:
        raise DataError(
            f"{table.where(i)}: {column} has no turn by {' or '.join(names)}; needed a list of {{{who}, {what}}}"
        )
    return texts


def _score(row: dict[str, Any], side: str) -> float | None:
    metadata = row.get("metadata")
    one = metadata.get(side) if isinstance(metadata, dict) else None
    score = one.get("score") if isinstance(one, dict) else None
    return float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
