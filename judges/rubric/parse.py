"""What a language model answered about several criteria, read one by one.

    {"verdicts": [{"criterion": 1, "reason": "names rest and ice", "met": "yes"}, ...]}

A criterion that is named once, or several times with one answer, is read; for a call about one criterion its number may
be missing. Nothing is guessed: a criterion that the reply leaves out, contradicts itself on or answers with anything
else than yes and no has no value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from judges.parse import Rejected, objects, yes

Met = tuple[tuple[bool, str] | None, ...]  # for each criterion asked about, in its order: met and why, or None
_REASONS = ("quote", "reason", "explanation", "rationale")
LONGEST_REASON = 600  # characters


def read_all(text: str, n: int) -> Met | str:
    """All of the `n` criteria; or, as a str, which of them is missing and why."""
    found = _read(text, n)
    if isinstance(found, str):
        return found
    met, whys = found
    missing = [number for number, one in enumerate(met, start=1) if one is None]
    if not missing:
        return met
    return f"no verdict on criterion {missing[0]} of {n}" + (f" ({whys[missing[0]]})" if missing[0] in whys else "")


def read_some(text: str, n: int) -> Met | str:
    """Those of the `n` criteria that can be read, where there is one at all."""
    found = _read(text, n)
    if isinstance(found, str):
        return found
    return found[0] if any(found[0]) else "no criterion has a verdict"


def schema(n: int) -> dict[str, Any]:
    """The JSON schema of a clean reply about `n` criteria, for models with structured output."""
    one = {
        "type": "object",
        "properties": {
            "criterion": {"type": "integer", "minimum": 1, "maximum": n},
            "reason": {"type": "string"},
            "met": {"type": "string", "enum": ["yes", "no"]},
        },
        "required": ["criterion", "reason", "met"],
        "additionalProperties": False,
    }
    return {
        "title": "verdicts",
        "type": "object",
        "properties": {"verdicts": {"type": "array", "items": one, "minItems": n, "maxItems": n}},
        "required": ["verdicts"],
        "additionalProperties": False,
    }


def wanted(n: int) -> str:
    """A clean reply, described for the repair prompt."""
    each = '{"criterion": its number, "reason": "...", "met": "yes" or "no"}'
    return f'{{"verdicts": [{each}, one for each of the {n} criteria]}}' if n > 1 else f'{{"verdicts": [{each}]}}'


def _read(text: str, n: int) -> tuple[Met, dict[int, str]] | str:
    try:
        entries = _entries(text)
    except Rejected as error:
        return str(error)
    if not entries:
        return "no JSON object with 'verdicts' in the reply"
    found: dict[int, set[tuple[bool, str]]] = {}
    whys: dict[int, str] = {}
    for entry in entries:
        number = _number(entry.get("criterion", 1 if n == 1 else None))
        if number is None or not 1 <= number <= n:
            continue
        reason = next((str(entry[key]) for key in _REASONS if entry.get(key)), "")[:LONGEST_REASON]
        try:
            found.setdefault(number, set()).add((yes(entry.get("met"), f"criterion {number}"), reason))
        except Rejected as error:
            whys[number] = str(error)
    for number, said in found.items():
        if len({met for met, _ in said}) > 1:
            whys[number] = "it is said to be met and not met"
    return tuple(
        min(found[number]) if number in found and number not in whys else None for number in range(1, n + 1)
    ), whys


def _entries(text: str) -> list[Mapping[str, Any]]:
    """The objects with `met` in a reply: in its list `verdicts`, else wherever they stand."""
    every = list(objects(text))
    lists = [o["verdicts"] for o in every if isinstance(o.get("verdicts"), list)]
    entries = [e for found in lists for e in found if isinstance(e, dict)] if lists else every
    return [e for e in entries if "met" in e]


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
