"""The values in the front matter of a prompt, read and checked. Each raises UsageError with the file and the value."""

from __future__ import annotations

import math
import re
from pathlib import Path

from rlaif.types import UsageError

YES_NO = "yes/no"  # a scale
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_TAKEN = ("rationale", "points", "errors", "winner")  # keys of a reply that are no criterion


def names(path: str | Path, value: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    criteria = tuple(_items(value))
    for criterion in criteria:
        if allowed and criterion not in allowed:
            raise UsageError(
                f"{path}: unknown criterion {criterion!r}; mode key_points has {', '.join(allowed)}, mode pointwise any"
            )
        if not _NAME.fullmatch(criterion) or criterion in _TAKEN:
            raise UsageError(
                f"{path}: the criterion {criterion!r:.60} cannot be the key of a reply; write a name such as safety: "
                f"a-z, 0-9 and _, and none of {', '.join(_TAKEN)}"
            )
        if criteria.count(criterion) > 1:
            raise UsageError(f"{path}: criterion {criterion!r} stands twice; keep one")
    return criteria


def marks(path: str | Path, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})\s*(?:-|\.\.|to)\s*(\d{1,4})", value)
    if match is None or int(match[1]) >= int(match[2]):
        raise UsageError(
            f"{path}: scale is {value!r}; write the lowest and the highest mark as whole numbers, such as "
            f"'scale: 1-5', or 'scale: {YES_NO}'"
        )
    return int(match[1]), int(match[2])


def weights_of(path: str | Path, value: str, criteria: tuple[str, ...]) -> tuple[float, ...]:
    try:
        weights = tuple(float(item) for item in _items(value))
    except ValueError:
        weights = ()
    if len(weights) != len(criteria) or not all(map(math.isfinite, weights)):
        raise UsageError(
            f"{path}: weights are {value!r}; write {len(criteria)} numbers, one for each of {', '.join(criteria)}"
        )
    if not any(weight > 0 for weight in weights):
        raise UsageError(
            f"{path}: weights {value!r} have none above 0, so that no answer could reach a point; give what is wanted "
            "a weight above 0, and faults one below"
        )
    return weights


def per_call(path: str | Path, value: str) -> int:
    if not re.fullmatch(r"[1-9]\d?", value):
        raise UsageError(f"{path}: per_call is {value!r}; write how many criteria one call asks about, from 1 to 99")
    return int(value)


def thinking(path: str | Path, value: str, raw: bool) -> int:
    """How many tokens a policy may think for."""
    if not re.fullmatch(r"\d{1,6}", value) or (raw and int(value)):
        raise UsageError(
            f"{path}: thinking is {value!r}; write how many tokens the policy may think for, in a prompt with "
            "'format: chat'"
        )
    return int(value)


def _items(value: str) -> list[str]:
    """The members of a list in front matter: "a, b" or "[a, b]"."""
    return [item.strip().strip("\"'") for item in value.strip().removeprefix("[").removesuffix("]").split(",")]
