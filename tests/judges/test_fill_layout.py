"""Layout goes, words stay: every layout of an answer becomes the same text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.fill import fill_item, flat
from rlaif.exam import corrupt
from rlaif.prompts import load_judge_prompt
from rlaif.types import JudgeItem

ANSWER = "Rest helps, and so does ice. Take it 2 times a day. See a doctor after 3 days."


@pytest.mark.parametrize("seed", range(40))
def test_the_exams_layouts_become_the_same_text(seed: int) -> None:
    made = flat(corrupt.reformat(ANSWER, random.Random(seed)))
    assert made.removeprefix("Answer ") == ANSWER  # the words of a heading are words and stay


@pytest.mark.parametrize(
    "text, expected",
    [
        ("- rest\n- ice", "rest, ice"),
        ("1. rest;\n2) ice\n(3) heat", "rest; ice, heat"),
        ("**Rest** and *ice*, __not__ heat", "Rest and ice, not heat"),
        ("2 * 3 * 4 and a_b_c", "2 * 3 * 4 and a_b_c"),
        ("5 mg\n10 mg", "5 mg 10 mg"),
        ("", ""),
        ("\n\n \n", ""),
    ],
)
def test_marks_go_and_entries_stay_apart(text: str, expected: str) -> None:
    assert flat(text) == expected


@given(st.text())
def test_any_text_becomes_one_line_and_flat_text_stays(text: str) -> None:
    once = flat(text)
    assert "\n" not in once
    assert sorted(c for c in once if c.isalpha() and c != "o") == sorted(c for c in text if c.isalpha() and c != "o")


def test_only_a_prompt_that_asks_for_it_sees_the_plain_words() -> None:
    item = JudgeItem("c", "What helps?", "- rest\n- ice", "Rest and ice.", "", ())
    assert "rest, ice" in fill_item(load_judge_prompt("prompts/judge/tiny.md"), item).user
    assert "- rest\n- ice" in fill_item(load_judge_prompt("prompts/judge/default.md"), item).user
