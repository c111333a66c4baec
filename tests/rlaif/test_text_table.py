"""Tables on narrow screens: whole words and figures, nothing lost in silence."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from rlaif.text_table import fold, make_table

PROFILES = [
    ["llama-3.2-3b-knowtuning", "Llama-3.2-3B", "knowtuning", "10.3 GB", "pubmedqa, medquad, medqa, mmlu, wikidoc"],
    ["real-medium", "Qwen2.5-1.5B-Instruct-GPTQ-Int4", "gptq-lora", "8.8 GB", "pubmedqa, medquad_symptoms"],
]
NAMES = ["profile", "base", "method", "memory, an estimate", "data"]


def drawn(width: int, columns: list[str], rows: list[list[str]], spare: tuple[str, ...] = ()) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(make_table("", columns, rows, width, spare=spare))
    assert all(cell_len(line) <= width for line in out.getvalue().splitlines())
    return out.getvalue()


def words(text: str) -> set[str]:
    return set(re.sub("[│┃]", " ", text).split())


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_word_is_broken(width: int) -> None:
    shown = words(drawn(width, NAMES, PROFILES))
    assert {word for row in PROFILES for cell in row for word in cell.split()} <= shown


def test_columns_that_can_be_spared_go_and_are_named() -> None:
    out = drawn(80, NAMES, PROFILES, spare=("base", "method"))
    assert "Qwen2.5" not in out and "gptq-lora" in out and "no room for: base" in out
    assert "no room" not in drawn(140, NAMES, PROFILES, spare=("base", "method"))


def test_where_nothing_helps_each_row_is_a_record() -> None:
    out = drawn(40, NAMES, PROFILES)
    names = [line.split("│")[1].strip() for line in out.splitlines() if "│" in line]
    assert [name for name in names if name in NAMES] == ["profile", "base", "method", "data"] * 2
    assert "Qwen2.5-1.5B-Instruct-GPTQ-Int4" not in out and "knowtuning" in words(out)  # a name wider than its column


def test_a_figure_with_its_unit_stays_on_a_line() -> None:
    rows = [["runs/default", "25.3 MB", "finished round 3 of three, and then some more words"]]
    assert "25.3 MB" in drawn(44, ["run", "size", "state"], rows)


def test_columns_of_numbers_stand_to_the_right() -> None:
    table = make_table(
        "", ["name", "mean", "size", "what"], [["1", "0.5", "3.0 MB", "a"], ["2", "", "1,200.5 MB", "5"]], 80
    )
    assert [c.justify for c in table.columns] == ["left", "right", "right", "left"]


def test_a_table_without_rows_or_columns_can_be_drawn() -> None:
    assert "a" in drawn(80, ["a", "b"], [])
    drawn(80, [], [])


@given(st.text(alphabet="ab -\n日", max_size=80), st.integers(4, 30))
def test_folding_keeps_every_word_and_the_width(text: str, width: int) -> None:
    folded = fold(text, width)
    assert all(cell_len(line) <= width for line in folded.split("\n"))
    assert folded.replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
    assert all(word in folded.split() for word in text.split() if cell_len(word) <= width)
