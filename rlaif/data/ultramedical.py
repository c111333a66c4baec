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

from dataclasses import dataclass
from typing import Any

from rlaif.data.conversations import read_pair, turns
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
    """A row of UltraMedical: its first question and the answer that follows. DataError when it has none."""
    table.require("conversations")
    source_id = table.text(i, "id", optional=True)
    said = turns(table.rows[i].get("conversations"), table.where(i), "conversations")
    asked = next((n for n, (role, text) in enumerate(said) if role == "user" and text.strip()), len(said))
    answer = next((text for role, text in said[asked:] if role == "assistant" and text.strip()), "")
    if not answer:
        raise DataError(f"{table.where(i)}: conversations has no turn by gpt or assistant after one by human or user")
    return Item(said[asked][1].strip(), answer.strip(), qtype=source_id.partition(",")[0], source_id=source_id)


def read_preference(table: Table, i: int) -> Item | None:
    """A row of UltraMedical-Preference as a question: the chosen answer is its reference. None where the two answers
    are not to one question.
    """
    table.require("prompt", "chosen", "rejected")
    source_id = table.text(i, "prompt_id", optional=True)
    pair = read_pair(table, i)
    if pair.problem:
        return None
    return Item(pair.question, pair.chosen, qtype=source_id.partition(",")[0], source_id=source_id)


def load_pairs(source: str, key: str = "data.sets.0.path") -> list[Pair]:
    """The pairs of UltraMedical-Preference, or of any table with the columns prompt, chosen and rejected (texts, or
    lists of turns).

    Pairs of equal answers and repeats are left out. `key` is the setting that names the source, for the advice in
    errors. Raises DataError as `tables.read_table`, and for a row without prompt, chosen or rejected, or whose answers
    are not to one question.
    """
    table = read_table(source, key)
    table.require("prompt", "chosen", "rejected")
    pairs: dict[str, Pair] = {}
    for i in range(len(table.rows)):
        row = read_pair(table, i)
        if row.problem:
            raise DataError(f"{table.where(i)}: {row.problem.partition(': ')[2]}; mend the row, or take it away")
        texts = (row.question, row.chosen, row.rejected)
        pair_id = content_id("pair", *texts)
        if row.chosen != row.rejected:
            scores = (_score(table.rows[i], side) for side in ("chosen", "rejected"))
            pairs.setdefault(pair_id, Pair(pair_id, *texts, table.text(i, "label_type", optional=True), *scores))
    return list(pairs.values())


def _score(row: dict[str, Any], side: str) -> float | None:
    metadata = row.get("metadata")
    one = metadata.get(side) if isinstance(metadata, dict) else None
    score = one.get("score") if isinstance(one, dict) else None
    return float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
