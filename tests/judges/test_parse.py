from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.parse import Marks, parse_answer, parse_winner, schema, scrape_answer, wanted
from rlaif.prompts import load_judge_prompt

DEFAULT = load_judge_prompt("prompts/judge/default.md")
POINTS = load_judge_prompt("prompts/judge/key_points.md")
CLEAN = '{"rationale": "fine", "factual_accuracy": 4, "completeness": 3, "key_point_coverage": 5}'
MARKS = {"factual_accuracy": 0.75, "completeness": 0.5, "key_point_coverage": 1.0}


def test_a_clean_answer() -> None:
    marks = parse_answer(CLEAN, DEFAULT)
    assert isinstance(marks, Marks)
    assert (marks.score, dict(marks.criteria), marks.rationale) == (0.5 * 0.75 + 0.25 * 0.5 + 0.25, MARKS, "fine")


@pytest.mark.parametrize(
    "text",
    [
        f"Here is my verdict:\n```json\n{CLEAN}\n```\nI hope it helps {{really}}.",
        f"<think>perhaps {CLEAN.replace('4', '1')} or so</think>\n{CLEAN}",
        f"{CLEAN}\n{CLEAN}",
        f"[{CLEAN}]",
        f'{{"verdict": {CLEAN}}}',
        f'{{"note": "scratch"}} {CLEAN}',
        CLEAN.replace("4", '"4"').replace("3", '" 3 "').replace("5", "5.0"),
        CLEAN.replace("factual_accuracy", "Factual Accuracy").replace("key_point_coverage", "key-point-coverage"),
        CLEAN.replace("{", "{\n\t").replace(",", " ,\n"),
        '{"factual_accuracy": 4, "factual_accuracy": 4, "completeness": 3, "key_point_coverage": 5}',
        f"A set {{a, b}} in prose, then {CLEAN}",
    ],
)
def test_the_same_marks_in_other_clothes(text: str) -> None:
    marks = parse_answer(text, DEFAULT)
    assert isinstance(marks, Marks), marks
    assert dict(marks.criteria) == MARKS


@pytest.mark.parametrize("name", ["score", "mark", "rating", "value"])
def test_marks_in_objects_of_their_own(name: str) -> None:
    nested = {
        c: {name: mark, "reason": "3 of 4"} for c, mark in zip(DEFAULT.criteria, (4, 3, 5), strict=True)
    }  # fmt: skip
    for text in (json.dumps(nested), json.dumps({"verdict": nested}), json.dumps(nested).replace("4,", '"4",')):
        marks = parse_answer(text, DEFAULT)
        assert isinstance(marks, Marks) and dict(marks.criteria) == MARKS
    two_names = {c: {"score": 4, "rating": 3} for c in DEFAULT.criteria}
    off_scale = {c: {name: 9} for c in DEFAULT.criteria}
    mixed = nested | {"completeness": {"points": 3}}
    assert all(isinstance(parse_answer(json.dumps(bad), DEFAULT), str) for bad in (two_names, off_scale, mixed))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("The answer is good: 4/5.", "no JSON object"),
        ("{}", "no JSON object"),
        (CLEAN[:-20], "no JSON object"),
        (CLEAN.replace("4", "7"), "outside 1 to 5"),
        (CLEAN.replace("4", "0"), "outside 1 to 5"),
        (CLEAN.replace("4", "-4"), "outside 1 to 5"),
        (CLEAN.replace("4", "1e400"), "not a whole number"),
        (CLEAN.replace("4", "9" * 200), "outside"),
        (CLEAN.replace("4", "9" * 5000), "no JSON object"),
        (CLEAN.replace("4", "4.5"), "not a whole number"),
        (CLEAN.replace("4", "0.75"), "not a whole number"),
        (CLEAN.replace("4", "true"), "not a whole number"),
        (CLEAN.replace("4", "null"), "not a whole number"),
        (CLEAN.replace("4", "[4]"), "not a whole number"),
        (CLEAN.replace("4", '{"mark": 4}'), "not a whole number"),
        (CLEAN.replace("4", '"4/5"'), "not a whole number"),
        (CLEAN.replace("4", '"four"'), "not a whole number"),
        (CLEAN.replace("4", "NaN"), "NaN is no mark"),
        (CLEAN.replace("4", "Infinity"), "Infinity is no mark"),
        (CLEAN.replace('"completeness": 3, ', ""), "'completeness' is missing"),
        (CLEAN + CLEAN.replace("4", "5"), "2 JSON objects that differ"),
        (CLEAN.replace("4", '4, "factual_accuracy": 5'), "stands twice"),
        (CLEAN.replace("4", '4, "Factual accuracy": 5'), "stands twice"),
        (f"<think>{CLEAN}", "no JSON object"),
        (f'{CLEAN} and {{"factual_accuracy": 1}}', "differ"),
        (" " * 60_000 + CLEAN, "longer than"),
        ("[" * 5000 + '{"factual_accuracy":' * 700, "no JSON object"),
    ],
    ids=range(28),
)
def test_what_is_not_accepted(text: str, why: str) -> None:
    marks = parse_answer(text, DEFAULT)
    assert isinstance(marks, str) and why in marks and "\n" not in marks


@given(st.text(max_size=200) | st.text(alphabet='{}[]":,0123456789 _factulcompens', max_size=200))
def test_any_text_gives_marks_on_the_scale_or_a_reason(text: str) -> None:
    for marks in (parse_answer(text, DEFAULT), scrape_answer(text, DEFAULT), parse_answer(text, POINTS, 2)):
        assert (isinstance(marks, Marks) and 0 <= marks.score <= 1) or (isinstance(marks, str) and marks)


@given(st.fixed_dictionaries({c: st.integers(1, 5) for c in DEFAULT.criteria}), st.text(max_size=40))
def test_every_clean_answer_round_trips(given_marks: dict[str, int], rationale: str) -> None:
    marks = parse_answer(json.dumps({"rationale": rationale} | given_marks), DEFAULT)
    assert isinstance(marks, Marks)
    assert {c: 1 + 4 * v for c, v in marks.criteria.items()} == given_marks


@pytest.mark.parametrize(
    "text",
    [
        "factual_accuracy: 4\ncompleteness: 3\nkey_point_coverage: 5",
        "- **Factual accuracy**: 4\n- **Completeness**: 3\n- **Key point coverage**: 5.",
        "{'factual_accuracy': 4, 'completeness': 3, 'key_point_coverage': 5}",
        CLEAN[:-1],
        "**Factual Accuracy:** 4\n**Completeness:** 3\n**Key Point Coverage:** 5\n\nThe answer is good.",
        "**Factual Accuracy**: **4** - good\n__Completeness:__ *3*\n### Key Point Coverage: `5`",
        "1. `factual_accuracy`: 4\n2. `completeness`: 3\n3. `key_point_coverage`: 5",
        "| Criterion | Mark |\n|---|---|\n| Factual accuracy | 4 |\n| **Completeness** | **3** |\n"
        "| Key point coverage | 5 |",
        "factual_accuracy = 4; completeness = 3; key_point_coverage = 5; again: completeness = 3",
    ],
)
def test_the_last_rung_reads_names_and_numbers(text: str) -> None:
    marks = scrape_answer(text, DEFAULT)
    assert isinstance(marks, Marks), marks
    assert dict(marks.criteria) == MARKS


@pytest.mark.parametrize(
    "text",
    [
        "factual_accuracy: 4\ncompleteness: 3",
        "factual_accuracy: 4\nfactual_accuracy: 5\ncompleteness: 3\nkey_point_coverage: 5",
        "factual_accuracy: 4 out of 5\ncompleteness: 3\nkey_point_coverage: 5",
        "factual_accuracy: 4/5\ncompleteness: 3\nkey_point_coverage: 5",
        "**Factual accuracy:** **4**/5\ncompleteness: 3\nkey_point_coverage: 5",
        "**Factual accuracy:** **4** out of 10\ncompleteness: 3\nkey_point_coverage: 5",
        "**Factual accuracy:** **4**-**5**\ncompleteness: 3\nkey_point_coverage: 5",
        "| Factual accuracy | 4/5 |\n| Completeness | 3 |\n| Key point coverage | 5 |",
        "| Factual accuracy | good | 4 |\n| Completeness | 3 |\n| Key point coverage | 5 |",
        "factual_accuracy: 4 to 5\ncompleteness: 3\nkey_point_coverage: 5",
        "factual_accuracy: 4.5\ncompleteness: 3\nkey_point_coverage: 5",
        "factual_accuracy: 8\ncompleteness: 3\nkey_point_coverage: 5",
        "factual_accuracy: true\ncompleteness: 3\nkey_point_coverage: 5",
        "factual_accuracy: [4]\nfactual_accuracy: 4\ncompleteness: 3\nkey_point_coverage: 5",
        CLEAN + CLEAN.replace("4", "5"),
        "non_factual_accuracy: 4\ncompleteness: 3\nkey_point_coverage: 5",
    ],
)
def test_the_last_rung_never_guesses(text: str) -> None:
    assert isinstance(scrape_answer(text, DEFAULT), str)


def test_points_become_the_three_criteria() -> None:
    marks = parse_answer('{"points": [1, "0", 1, 1], "errors": 1}', POINTS, 4)
    assert isinstance(marks, Marks)
    assert dict(marks.criteria) == {"factual_accuracy": 0.75, "completeness": 0.75, "key_point_coverage": 0.75}
    nothing = parse_answer('{"points": [0, 0], "errors": 0}', POINTS, 2)
    assert isinstance(nothing, Marks) and nothing.score == 0.0


@pytest.mark.parametrize(
    "text",
    ['{"points": [1, 0], "errors": 0}', '{"points": [1, 1, 2], "errors": 0}', '{"points": 3, "errors": 0}',
    '{"points": [1, 1, 1]}',
     '{"points": [1, 1, true], "errors": 0}', '{"points": [1, 1, 1], "errors": -1}', "points: 1, 1, 1"],
)  # fmt: skip
def test_points_that_do_not_fit_are_not_accepted(text: str) -> None:
    assert isinstance(parse_answer(text, POINTS, 3), str) and isinstance(scrape_answer(text, POINTS, 3), str)


def test_winners() -> None:
    assert parse_winner('Well: {"rationale": "r", "winner": "Answer B"}') == ("b", "r")
    assert parse_winner('{"winner": "TIE"}') == ("tie", "")
    assert "not A, B or tie" in parse_winner('{"winner": "C"}')
    assert "differ" in parse_winner('{"winner": "A"} {"winner": "B"}')
    assert "no JSON" in parse_winner("A is better")


def test_the_schema_asks_for_what_is_parsed() -> None:
    assert set(schema(DEFAULT)["required"]) == {"rationale", *DEFAULT.criteria}
    assert schema(POINTS, 3)["properties"]["points"]["maxItems"] == 3
    assert all(criterion in wanted(DEFAULT) for criterion in DEFAULT.criteria) and "3 numbers" in wanted(POINTS, 3)
