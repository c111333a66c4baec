from __future__ import annotations

import io

import pytest
from rich.console import Console

from rlaif import screen as progress
from rlaif.screen import Screen, clean

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


def test_a_long_cell_is_folded_and_not_cut() -> None:
    screen, out = plain()
    screen.table("", ["answer"], [["word" * 40]])
    assert out.getvalue().count("word") >= 36
    assert "…" not in out.getvalue()


def test_names_of_columns_titles_and_stages_are_cleaned_too() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=80))
    screen.table("a\x1b[2Jtitle", ["na\x1b[31mme", "\u202eother"], [["x", "y"]])
    bar = screen.bar("sta\x1bge", 1)
    bar.step(1, tokens=3, note="no\x9bte")
    bar.finish("result")
    assert not set("\x1b\x9b\u202e") & set(out.getvalue())


SENTENCE = "round 1, gate: PROMOTE: accuracy 0.3364 -> 0.8873 (+0.5509, n=550), not worse on the others, runs/default/x"


@pytest.mark.parametrize("label", ["  ", "  gate                   ", "", "  evaluate pubmedqa      "])
def test_a_terminal_gets_whole_words_and_indented_lines(label: str) -> None:
    screen, out = terminal()
    screen.line(label + SENTENCE)
    lines = out.getvalue().splitlines()
    assert len(lines) > 1 and all(len(line) <= 80 for line in lines)
    assert " ".join(out.getvalue().split()) == " ".join((label + SENTENCE).split())
    indent = len(label) if label.strip() else len(label) + 2
    assert all(line[:indent].isspace() and line[indent] != " " for line in lines[1:])


def test_a_path_wider_than_the_terminal_can_still_be_copied() -> None:
    screen, out = terminal()
    screen.line("wrote /" + "folder/" * 20)
    assert "/" + "folder/" * 20 in out.getvalue()


def test_something_moves_before_there_is_anything_to_count() -> None:
    screen, out = terminal()
    with screen.busy("loading [the] model"):
        pass
    assert "loading [the] model" in out.getvalue() and "0:00:00" in out.getvalue()
    screen, out = plain()
    with screen.busy("loading"):
        pass
    assert out.getvalue() == ""


class Whole:
    refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def __call__(self) -> str:
        return "round 2 of 3, about 4 min left"


@pytest.mark.parametrize("width", [80, 140])
def test_a_bar_fits_the_terminal_with_its_figures(width: int) -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, highlight=False, width=width, force_terminal=True, color_system=None))
    screen.forecast = whole = Whole()
    with screen.live():
        assert screen.bars is not None
        bar = screen.bar("evaluate pubmedqa", 1024)
        bar.step(550, note="1,383 tok/s  mean 0.880")
        screen.bars.refresh()
        (line,) = screen.bars.console.render_lines(screen.bars.make_tasks_table(screen.bars.tasks))
        text = "".join(segment.text for segment in line)
        assert "550/1024" in text and "mean 0.880" in text and "ETA" in text and ("0:00:00" in text or width == 80)
    assert "round 2 of 3, about 4 min left" in out.getvalue() and whole.refreshed == 1
