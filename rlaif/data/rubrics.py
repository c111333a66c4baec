"""Published data sets whose questions carry a rubric: HealthBench, RaR-Medicine, and lists of criteria per prompt.

HealthBench (Arora et al. 2025, arXiv 2505.08775; its Hard and Consensus subsets and HealthBench Professional have the
same columns): `prompt` (a conversation, list of {role, content}), `rubrics` (list of {criterion, points, tags}),
`example_tags` ("theme:..."), `prompt_id`, `ideal_completions_data` ({ideal_completion, ...} or null).

RaR-Medicine (Gunjal et al. 2025, arXiv 2507.17746): `question`, `reference_answer`, `rubric` (list of {title,
description, weight}); a description begins with its category ("Essential Criteria: ..."), and pitfalls have weights
below 0.

JunkaiZ/Rubrics (Zhang et al. 2025, arXiv 2509.21500) and files like it: `prompt`, `rubrics` (list of {criterion,
weight}), and a reference where there is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from rlaif.data.conversations import Turn, turns
from rlaif.data.files import written
from rlaif.data.items import Item
from rlaif.data.tables import Table
from rlaif.types import Criterion, DataError

HUB_CONFIGS = {"rubrics": "health"}  # of JunkaiZ/Rubrics, which has a generalist part too
SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}
_CATEGORY = re.compile(r"\s*(\w[\w -]{0,30}?)\s+criteri(?:a|on)\s*:\s*", re.IGNORECASE)


def healthbench(table: Table, i: int) -> Item:
    """A row of HealthBench: the theme is its `qtype`, a criterion's axis its category, an ideal completion its
    reference. DataError for a conversation that does not end with the user, and for a rubric that cannot be read.
    """
    table.require("prompt", "rubrics")
    said = _conversation(table, i, "prompt")
    criteria = [
        _criterion(table, i, entry, number, "criterion", "points", _axis(entry), "healthbench")
        for number, entry in enumerate(_entries(table, i, "rubrics"), start=1)
    ]
    ideal = table.rows[i].get("ideal_completions_data")
    reference = ideal.get("ideal_completion") if isinstance(ideal, dict) else None
    return Item(
        transcript(said),
        reference.strip() if isinstance(reference, str) else "",
        qtype=_tag(table.rows[i].get("example_tags"), "theme:"),
        source_id=table.text(i, "prompt_id", optional=True),
        turns=_several(said),
        rubric=tuple(criteria),
    )


def rar(table: Table, i: int) -> Item:
    """A row of RaR-Medicine. A criterion is its title and description, without the category in front. DataError for a
    rubric that cannot be read.
    """
    table.require("question", "reference_answer", "rubric")
    criteria = []
    for number, entry in enumerate(_entries(table, i, "rubric"), start=1):
        one = _criterion(table, i, entry, number, "description", "weight", "", "rar-medicine")
        found = _CATEGORY.match(one.text)
        title = str(entry.get("title") or "").strip()
        text = one.text[found.end() :] if found else one.text
        criteria.append(
            Criterion(f"{title}: {text}" if title else text, one.weight, found[1] if found else "", one.source)
        )
    return Item(
        table.text(i, "question").strip(),
        table.text(i, "reference_answer", optional=True).strip(),
        qtype=table.text(i, "question_source", optional=True),
        rubric=tuple(criteria),
    )


def listed(table: Table, i: int) -> Item:
    """A row of JunkaiZ/Rubrics: a prompt, as a text or a conversation, and its criteria. DataError for a rubric that
    cannot be read.
    """
    table.require("prompt", "rubrics")
    said = _conversation(table, i, "prompt")
    criteria = [
        _criterion(table, i, entry, number, "criterion", "weight", str(entry.get("category") or ""), "rubrics")
        for number, entry in enumerate(_entries(table, i, "rubrics"), start=1)
    ]
    reference = next(
        (table.text(i, c, optional=True) for c in ("reference_answer", "reference") if c in table.columns), ""
    )
    return Item(transcript(said), reference.strip(), turns=_several(said), rubric=tuple(criteria))


def transcript(said: Sequence[Turn]) -> str:
    """A conversation as one text, each turn behind its speaker; a single turn as it is."""
    if len(said) == 1:
        return said[0][1].strip()
    return "\n\n".join(f"{SPEAKERS[role]}: {text.strip()}" for role, text in said)


def _several(said: Sequence[Turn]) -> tuple[Turn, ...]:
    return tuple(said) if len(said) > 1 else ()


def _conversation(table: Table, i: int, column: str) -> list[Turn]:
    """The turns of a cell that holds a text or messages, the last one the user's."""
    value = _value(table.rows[i].get(column))
    if not isinstance(value, list):
        return [("user", table.text(i, column).strip())]
    said = turns(value, table.where(i), column)
    if said[-1][0] != "user" or not said[-1][1].strip():
        raise DataError(f"{table.where(i)}: {column} ends with a turn by the {said[-1][0]}; needed one by the user")
    return said


def _entries(table: Table, i: int, column: str) -> list[dict[str, Any]]:
    value = _value(table.rows[i].get(column))
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise DataError(f"{table.where(i)}: {column} is {value!r:.60}; needed a list of criteria, each an object")
    return value


def _value(value: Any) -> Any:
    """A list as it is, or as it was written into a text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return written(value)
        except ValueError:
            return value
    return value


def _criterion(
    table: Table, i: int, entry: dict[str, Any], number: int, text: str, points: str, category: str, source: str
) -> Criterion:
    words, weight = entry.get(text), entry.get(points)
    where = f"{table.where(i)}: criterion {number}"
    if not isinstance(words, str) or not words.strip():
        raise DataError(f"{where} has {text} = {words!r:.40}; needed text")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise DataError(f"{where} has {points} = {weight!r:.40}; needed a number, below 0 for a fault")
    return Criterion(words.strip(), float(weight), category, source)


def _axis(entry: dict[str, Any]) -> str:
    return _tag(entry.get("tags"), "axis:")


def _tag(tags: Any, prefix: str) -> str:
    """What stands behind `prefix` in the first of the tags that begins so."""
    found = tags if isinstance(tags, list) else []
    return next((str(tag).removeprefix(prefix) for tag in found if str(tag).startswith(prefix)), "")
