"""How numbers, names and commands are written for a person. What is not known is a dash, never a number."""

from __future__ import annotations

import math
import re
import shlex
import sys
from pathlib import PurePath
from typing import Any

NONE = "–"
METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "token_f1": "token F1",
    "rouge_l": "ROUGE-L",
    "consistency": "consistency",
    "bleu": "BLEU",
    "quality": "quality",
    "labelling_quality": "quality, by the labelling judge",
}
# Stored by `evaluate`, `compare` and `train` for each item, and of interest only summed up.
PARTS = ("sentence_bleu", "reference_nats", "reference_tokens")
_COUNT = re.compile(r"(?<![\w.,:/#-])[1-9]\d{3,8}(?![\w:/-]|[.,]\d)")
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>)]+")
# A slash that no word stands before: "a/b", "and/or" and prompts/judge/strict.md stay.
_PATH = re.compile(r"(?<![\w.\-/])~?/[^\s'\",;:()]+|\b[A-Za-z]:\\[^\s'\",;()]+")
# What neither HTML nor SVG knows, and what changes the direction of the text around it.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def number(value: float | None, digits: int = 3) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:,.{digits}f}"
    return (text.lstrip("-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def about(n: int) -> str:
    """A count that is only an estimate, to two digits: 5,458,877 is 5.5 million."""
    rounded = round(n, 1 - len(str(n)) + 1) if n >= 100 else n
    return f"{rounded / 1e6:g} million" if rounded >= 1_000_000 else f"{rounded:,}"


def signed(value: float | None, digits: int = 3) -> str:
    text = number(value, digits)
    return f"+{text}" if value is not None and text != NONE and round(value, digits) > 0 else text


def percent(value: float | None, digits: int = 0) -> str:
    return NONE if value is None or not math.isfinite(value) else f"{value:.{digits}%}"


def p_value(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def interval(low: float | None, high: float | None, *, plus: bool = True) -> str:
    write = signed if plus else number
    return NONE if low is None or high is None else f"{write(low)} to {write(high)}"


def thousands(text: str) -> str:
    """A sentence with its counts of 1,000 and more written so; ids, years in dates and decimals stay."""
    return _COUNT.sub(lambda found: f"{int(found[0]):,}", text)


def metric(name: str) -> str:
    return METRICS.get(name, name.replace("_", " "))


def program() -> str:
    """How this program was called, for a command that a person is to type next: `python cli.py` in a checkout,
    `python -m rlaif`, else `rlaif`.
    """
    called = PurePath(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "rlaif":
        return "python -m rlaif"
    return f"python {shlex.quote(sys.argv[0])}" if called.name == "cli.py" else "rlaif"


def join(names: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def printable(text: str) -> str:
    """Without control and direction-changing characters."""
    return _CONTROL.sub("�", text)


def hide_places(text: str) -> str:
    """A message without addresses and without folders of the machine: of an absolute path the last part stays."""
    return _PATH.sub(_last_part, _URL.sub("(address)", text))


def _last_part(found: re.Match[str]) -> str:
    return "…/" + re.split(r"[/\\]", found[0].rstrip("/\\"))[-1]


def setting(key: str, value: Any) -> str:
    """The value of a configuration key, as TOML has it but for what `hide_places` hides."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if key.endswith(("base_url", "api_key")):
            return "(set)" if value else '""'
        whole = PurePath(value)
        return f'"…/{whole.name}"' if whole.is_absolute() else f'"{hide_places(value)}"'
    if isinstance(value, list):
        return f"[{', '.join(setting('', v) for v in value)}]"
    return NONE if value is None else str(value)


def command(argv: list[str]) -> str:
    """A command line that shows no folder: of paths the last part, after an = as well."""
    parts = []
    for argument in argv:
        name, equals, value = argument.partition("=")
        if equals and name.endswith(("base_url", "api_key")):
            value = "(set)"
        parts.append(f"{name}={_bare(value)}" if equals else _bare(argument))
    return " ".join(parts)


def _bare(value: str) -> str:
    return f"…/{PurePath(value).name}" if PurePath(value).is_absolute() else hide_places(value)


def policy_names(policies: Rows) -> dict[str, str]:
    """policy_id -> base, SFT, round 1, round 1 best of k, ...; with the beginning of the id where two would be called
    the same.

    DPO before the first round is the second half of KnowTuning, and nothing else.
    """
    plain = {}
    for p in policies:
        of_rounds = f"round {p['round']}" if p["round"] else "KnowTuning"
        names = {"base": "base", "sft": "SFT", "raft": f"{of_rounds} best of k"}
        plain[p["policy_id"]] = names.get(p["kind"], of_rounds)
    twice = {name for name in plain.values() if list(plain.values()).count(name) > 1}
    return {i: f"{name} ({i[:8]})" if name in twice else name for i, name in plain.items()}


Rows = list[dict[str, Any]]


def setting_words(value: float | bool | str) -> str:
    """A setting as it is written in a profile: 0.25, true, retry."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:g}"


def items_words(items: int | tuple[int, int | None] | None) -> str:
    """How many items would settle an INCONCLUSIVE, as recorded with it: (from, to), (more than, None) or nothing; one
    number in runs of an older gate.
    """
    if isinstance(items, int):
        return f"about {about(items)} items would settle it"
    if not items:
        return "these items do not say how many would settle it"
    low, high = items
    if high is None:
        return f"it would take more than {about(low)} items, twice these, to settle it"
    if about(low) == about(high):
        return f"about {about(low)} items would settle it"
    return f"between {about(low)} and {about(high)} items would settle it"
