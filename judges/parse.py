"""What a language model answered, read as marks: strictly, because a number that was not meant is worse than none.

    parse_answer(text, prompt, n_points) -> Marks, or a str that says why there are none

Accepted: one JSON object with all that was asked for, also inside prose, code fences or an outer object, numbers
written as text, and marks that all stand in objects of their own ({"score": 4, "reason": "..."}). Not accepted: numbers
off the scale or between its marks, true and false where a number is asked for, NaN, a key that is missing, two objects
that differ, and whatever the model wrote while it was thinking.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from judges.reasoning import answer_part
from rlaif.prompts import JudgePrompt
from rlaif.rubric import clipped, points

# A change of any rule here gets a new number, and so a new judge_id.
PARSE = "parse-2"
MAX_CHARS = 20_000
MAX_ERRORS = 50
ANSWERS = ("no", "yes")  # of a yes/no criterion, and what they are worth: 0 and 1
_NESTED = ("score", "mark", "rating", "value")  # what a mark is called in an object of its own
# Around a name and its number: quotes, and Markdown for bold, italic and code.
_DRESS = r"[\"'*_`]"
_WHOLE = re.compile(r"\s*(\d{1,9})(?:\.0+)?\s*")


@dataclass(frozen=True, slots=True)
class Marks:
    """Scores in 0-1: the overall one, and one for each criterion of the prompt."""

    score: float
    criteria: Mapping[str, float]
    rationale: str = ""


class Rejected(ValueError):
    """Why an answer is not taken, for people."""


def parse_answer(text: str, prompt: JudgePrompt, n_points: int = 0) -> Marks | str:
    """The marks in an answer to a pointwise or key_points prompt; or, as a str, why it is not accepted.

    `n_points` is the number of key points that were asked about (mode key_points). A mark s on a scale from a to b is
    the score (s - a) / (b - a); the overall score is the weighted sum by the prompt's weights, over those above 0 and
    within 0-1 (`rlaif.rubric.points`).
    """
    try:
        return _marks(_fields(text, prompt), prompt, n_points)
    except Rejected as error:
        return str(error)


def scrape_answer(text: str, prompt: JudgePrompt, n_points: int = 0) -> Marks | str:
    """The last rung: "name: number" pairs anywhere in the text, such as in broken JSON or a list; each with one value
    only.

    Mode key_points is not scraped: half a list of points looks like a whole one.
    """
    if prompt.mode != "pointwise":
        return "not scraped"
    text = answer_part(text[:MAX_CHARS])
    found: dict[str, Any] = {}
    # On a scale with two-digit marks, a text that was cut may end in half a number.
    end = rf"(?=[\s,;}})\]|]|{_DRESS}|\.(?!\d)" + (r"|\Z)" if prompt.scale[1] < 10 else ")")
    # 4/5, **4** out of 10, 4 to 5, 4-5 and 80% say something else than 4.
    other = rf"(?!{_DRESS}*[ \t]*(?:/|out of\b|to\b|or\b|%|[-\u2013][ \t]*{_DRESS}*\d)|[ \t]*[-\u2013])"
    for criterion in prompt.criteria:
        words = criterion.replace("_", r"[ _-]")
        named = rf"(?<![^\W_])(?<![^\W_]_){words}{_DRESS}{{0,3}}\s*[:=|\uff1a]"
        mark = r"(yes|no)\b" if prompt.yes_no else rf"(-?\d+(?:\.\d+)?){end}{other}"
        pattern = rf"{named}{_DRESS}{{0,3}}\s*{_DRESS}{{0,3}}{mark}"
        mentions = len(re.findall(named, text, re.IGNORECASE))
        values = re.findall(pattern, text, re.IGNORECASE)
        if not values or len(values) != mentions or len(set(values)) != 1:
            return f"no single value for {criterion!r} in the text"
        found[criterion] = values[0]
    try:
        return _marks(found, prompt, n_points)
    except Rejected as error:
        return str(error)


def parse_winner(text: str) -> tuple[str, str] | str:
    """The winner, "a", "b" or "tie", and the rationale of an answer to a pairwise prompt; or, as a str, why it is not
    accepted.
    """
    try:
        fields = _only([o for o in objects(text) if "winner" in o], ("winner",))
    except Rejected as error:
        return str(error)
    winner = str(fields["winner"]).strip().lower().removeprefix("answer ").strip()
    if winner not in ("a", "b", "tie"):
        return f"winner is {fields['winner']!r}, not A, B or tie"
    return winner, str(fields.get("rationale", ""))


def schema(prompt: JudgePrompt, n_points: int = 0) -> dict[str, Any]:
    """The JSON schema of a clean answer, for models with structured output."""
    low, high = prompt.scale
    fields: dict[str, Any] = {"rationale": {"type": "string"}}
    if prompt.mode == "pairwise":
        fields["winner"] = {"type": "string", "enum": ["A", "B", "tie"]}
    elif prompt.mode == "key_points":
        fields["points"] = {
            "type": "array",
            "items": {"type": "integer", "enum": [0, 1]},
            "minItems": n_points,
            "maxItems": n_points,
        }
        fields["errors"] = {"type": "integer", "minimum": 0, "maximum": MAX_ERRORS}
    elif prompt.yes_no:
        fields |= {criterion: {"type": "string", "enum": list(ANSWERS)} for criterion in prompt.criteria}
    else:
        fields |= {criterion: {"type": "integer", "minimum": low, "maximum": high} for criterion in prompt.criteria}
    return {
        "title": "verdict",
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def wanted(prompt: JudgePrompt, n_points: int = 0) -> str:
    """A clean answer, described for the repair prompt."""
    low, high = prompt.scale
    if prompt.mode == "pairwise":
        return '{"rationale": "...", "winner": "A", "B" or "tie"}'
    if prompt.mode == "key_points":
        return f'{{"rationale": "...", "points": [{n_points} numbers, each 0 or 1], "errors": whole number}}'
    mark = '"yes" or "no"' if prompt.yes_no else f"whole number from {low} to {high}"
    marks = ", ".join(f'"{criterion}": {mark}' for criterion in prompt.criteria)
    return f'{{"rationale": "...", {marks}}}'


def _fields(text: str, prompt: JudgePrompt) -> Mapping[str, Any]:
    names = ("points", "errors") if prompt.mode == "key_points" else prompt.criteria
    return _only([o for o in objects(text) if any(name in o for name in names)], names)


def _only(found: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """The one object that was meant: several are the same answer only if they agree in all that counts."""
    if not found:
        raise Rejected("no JSON object with the marks in it")
    first = found[0]
    if any(repr([o.get(name) for name in names]) != repr([first.get(name) for name in names]) for o in found[1:]):
        raise Rejected(f"{len(found)} JSON objects that differ")
    for name in names:
        if name not in first:
            raise Rejected(f"{name!r} is missing")
    return first


def _marks(fields: Mapping[str, Any], prompt: JudgePrompt, n_points: int) -> Marks:
    if prompt.mode == "key_points":
        criteria = _from_points(fields, n_points)
        criteria = {criterion: criteria[criterion] for criterion in prompt.criteria}
    else:
        low, high = prompt.scale
        fields = _flat(fields, prompt.criteria)
        if prompt.yes_no:
            criteria = {c: float(yes(fields[c], c)) for c in prompt.criteria}
        else:
            criteria = {c: (_whole(fields[c], c, low, high) - low) / (high - low) for c in prompt.criteria}
    score = points(prompt.weights, [criteria[c] for c in prompt.criteria]) or 0.0
    return Marks(clipped(score), criteria, str(fields.get("rationale") or ""))


def _flat(fields: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """`fields` with the marks out of their own objects, where all of them stand in one under the same name."""
    inner = [fields[name] for name in names]
    if not all(isinstance(value, dict) for value in inner):
        return fields
    keys = [key for key in _NESTED if any(key in value for value in inner)]
    if len(keys) != 1 or not all(keys[0] in value for value in inner):
        return fields
    return dict(fields) | {name: fields[name][keys[0]] for name in names}


def _from_points(fields: Mapping[str, Any], n_points: int) -> dict[str, float]:
    points = fields["points"]
    if not isinstance(points, list) or len(points) != n_points:
        raise Rejected(f"'points' must be a list of {n_points} numbers, one for each key point")
    stated = sum(_whole(point, "points", 0, 1) for point in points)
    errors = _whole(fields["errors"], "errors", 0, MAX_ERRORS)
    coverage = stated / n_points
    return {
        "factual_accuracy": stated / (stated + errors) if stated else 0.0,
        "completeness": coverage,
        "key_point_coverage": coverage,
    }


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value)):
        value = int(match[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Rejected(f"{name!r} is {_shown(value)}, not a whole number")
    if not low <= value <= high:
        raise Rejected(f"{name!r} is {_shown(value)}, outside {low} to {high}")
    return value


def yes(value: Any, name: str) -> bool:
    """Whether an answer to a yes/no criterion is yes: the word, or JSON's true and false. Raises Rejected."""
    said = value.strip().strip(".").lower() if isinstance(value, str) else value
    if said in ("yes", "true") or said is True:
        return True
    if said in ("no", "false") or said is False:
        return False
    raise Rejected(f"{name!r:.60} is {_shown(value)}, not yes or no")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in `text` that is not inside another one, and the objects directly inside those; keys in
    lower_case.
    """
    if len(text) > MAX_CHARS:
        raise Rejected(f"the answer is longer than {MAX_CHARS:,} characters")
    text = answer_part(text)
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except Rejected:
            raise
        except (ValueError, RecursionError):
            end = at + 1  # not JSON from here: perhaps a brace in prose
        else:
            yield value
            yield from (inner for inner in value.values() if isinstance(inner, dict))
        at = text.find("{", end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        key = re.sub(r"[\s-]+", "_", key.strip().lower())
        if key in found and repr(found[key]) != repr(value):
            raise Rejected(f"{_shown(key)} stands twice in one JSON object, with two values")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise Rejected(f"{name} is no mark")
