from __future__ import annotations

import io

import pytest
from rich.console import Console

from rlaif import screen as progress
from rlaif.screen import Screen, clean, make_table

BIDI_CONTROLS = (
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # Unicode property Bidi_Control
)


def plain() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, highlight=False, width=60)), out


def terminal() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, highlight=False, width=80, force_terminal=True, color_system=None)), out


def test_without_a_terminal_there_are_plain_lines_only() -> None:
    screen, out = plain()
    with screen.live():
        assert screen.bars is None
        bar = screen.bar("sample", 10)
        bar.step(4, tokens=100)
        bar.step(6, tokens=100)
        bar.finish("10 candidates")
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("  sample                 10 candidates  (") and "tok/s" in lines[0]
    assert "\x1b" not in out.getvalue() and "\r" not in out.getvalue()


def test_a_long_stage_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY", -1.0)
    screen, out = plain()
    bar = screen.bar("train sft")
    bar.step(3, note="loss 1.000")
    bar.total(9)
    bar.step(2, note="loss 0.500")
    assert out.getvalue().splitlines() == ["  train sft: 3/?  loss 1.000", "  train sft: 5/9  loss 0.500"]


def test_a_long_line_is_not_broken() -> None:
    screen, out = plain()
    screen.line("x" * 300)
    assert out.getvalue() == "x" * 300 + "\n"


@pytest.mark.parametrize(
    "text", ["[bold]hi[/bold]", "[/]", "[link=http://x]y[/link]", "a [red", ":smile:", "{task.id} %s"]
)
def test_markup_in_a_text_is_shown_as_it_is(text: str) -> None:
    for screen, out in (plain(), terminal()):
        screen.line(text)
        assert out.getvalue() == text + "\n"


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x00", "\r", "\b", "\x7f", "\x9b", *BIDI_CONTROLS])
def test_control_characters_do_not_reach_the_terminal(character: str) -> None:
    text = f"a{character}[2Jb"
    assert clean(text) == "a\N{REPLACEMENT CHARACTER}[2Jb"
    for screen, out in (plain(), terminal()):
        screen.line(text)
        screen.table("", ["answer"], [[text]])
        assert character not in out.getvalue()


def test_ordinary_text_is_left_alone() -> None:
    text = "Größe ≥ 5 µg\tund\nmehr 日本 🙂"
    assert clean(text) == text


def test_bars_on_a_terminal_show_labels_and_notes_as_they_are() -> None:
    screen, out = terminal()
    with screen.live():
        assert screen.bars is not None
        bar = screen.bar("[b]judge[/b]", 2)
        bar.step(1, note="[/] score")
        screen.bars.refresh()
        bar.finish("[red]done")
    assert "[b]judge[/b]" in out.getvalue() and "[red]done" in out.getvalue()
    assert screen.bars is None


def test_after_an_error_lines_are_plain_again() -> None:
    screen, out = terminal()
    with pytest.raises(ValueError, match="x"), screen.live():
        raise ValueError("x")
    assert screen.bars is None
    screen.bar("judge", 1).finish("after")
    assert "after" in out.getvalue()


def test_table_cells_are_shown_as_they_are() -> None:
    screen, out = plain()
    screen.table("[b]title[/b]", ["[i]name[/i]", "mean"], [["[red]x[/red]", "0.5"], ["", ""]])
    for text in ("[b]title[/b]", "[i]name[/i]", "[red]x[/red]", "0.5"):
        assert text in out.getvalue()


def test_columns_of_numbers_stand_to_the_right() -> None:
    table = make_table(
        "", ["name", "mean", "size", "what"], [["1", "0.5", "3.0 MB", "a"], ["2", "", "1,200.5 MB", "5"]], 80
    )
    assert [c.justify for c in table.columns] == ["left", "right", "right", "left"]


def test_a_long_cell_is_folded_and_not_cut() -> None:
    screen, out = plain()
    screen.table("", ["answer"], [["word" * 40]])
    assert out.getvalue().count("word") >= 36
    assert "…" not in out.getvalue()


@pytest.mark.parametrize("width, whole", [(30, True), (20, False)])
def test_ids_are_folded_last_and_nothing_is_lost(width: int, whole: bool) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(
        make_table("", ["run", "state"], [["runs/default", "finished round 3 of several"]], width)
    )
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert ("runs/default" in out.getvalue()) == whole
    for column, text in ((1, "runs/default"), (2, "finishedround3ofseveral")):
        assert "".join(line.split("\u2502")[column].replace(" ", "") for line in lines if "\u2502" in line) == text


def test_names_of_columns_titles_and_stages_are_cleaned_too() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=80))
    screen.table("a\x1b[2Jtitle", ["na\x1b[31mme", "\u202eother"], [["x", "y"]])
    bar = screen.bar("sta\x1bge", 1)
    bar.step(1, tokens=3, note="no\x9bte")
    bar.finish("result")
    assert not set("\x1b\x9b\u202e") & set(out.getvalue())
