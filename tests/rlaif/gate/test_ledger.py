from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from rlaif.gate import ledger
from rlaif.gate.ledger import Counts, Entry
from rlaif.types import Question, RlaifError

LOOK = Entry("items", "look 1", "run a", "runs/a", 1, alpha=0.02, total=0.05)


def look(run: str, look_id: str, alpha: float = 0.02, **changes: object) -> Entry:
    return replace(LOOK, run=run, look_id=look_id, alpha=alpha, **changes)  # type: ignore[arg-type]


def test_the_data_folder_is_the_users_own_or_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAIF_DATA", "/somewhere")
    assert ledger.path() == Path("/somewhere/looks.duckdb")
    monkeypatch.delenv("RLAIF_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert ledger.path() == Path("/data/rlaif/looks.duckdb")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/anna")
    assert ledger.path() == Path("/home/anna/.local/share/rlaif/looks.duckdb")


def test_a_data_folder_that_is_no_whole_path_is_no_other_ledger_in_each_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("RLAIF_DATA", "~/looks")
    assert ledger.path() == Path("/home/anna/looks/looks.duckdb")
    monkeypatch.setenv("RLAIF_DATA", "looks")
    for use in (ledger.counts, lambda: ledger.enter(LOOK, spends=False)):
        with pytest.raises(RlaifError, match="RLAIF_DATA=looks is no whole path"):
            use()
    monkeypatch.setenv("RLAIF_DATA", "")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert ledger.path() == Path("/home/anna/.local/share/rlaif/looks.duckdb"), "as if it were not set"


def test_a_user_without_a_home_is_told_how_to_name_a_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is started with a number that no user has."""
    for name in ("RLAIF_DATA", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    for use in (ledger.counts, lambda: ledger.enter(LOOK, spends=False)):
        with pytest.raises(RlaifError, match="no home folder: name a data folder with RLAIF_DATA"):
            use()


def test_a_folder_that_cannot_be_looked_into_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RLAIF_DATA", str(tmp_path / ("n" * 300)))  # the system refuses it, as it does another user's
    for use in (ledger.counts, lambda: ledger.left("items", "run a", 0.05)):
        with pytest.raises(RlaifError, match="the ledger of looks"):
            use()


def test_a_file_whose_maker_was_killed_is_an_empty_ledger() -> None:
    ledger.path().parent.mkdir(parents=True)
    duckdb.connect(ledger.path()).close()
    assert ledger.counts() == {} and ledger.others("items", "run a") is None
    assert ledger.left("items", "run a", 0.05) == 0.05
    assert ledger.enter(LOOK, spends=True) == 0.5


def test_a_look_counts_once_however_often_it_is_taken() -> None:
    assert [ledger.enter(LOOK, spends=False) for _ in range(3)] == [1.0] * 3
    ledger.enter(look("run a", "look 2", 0.01), spends=False)
    assert ledger.counts() == {"run a": Counts(2, 2, 1, *map(pytest.approx, (0.03, 0.03, 0.03)))}
    # The same run in another folder repeats what it compared, and has one look more.
    for look_id in ("look 1", "look 2", "look 3"):
        ledger.enter(look("copy", look_id, 0.01 if look_id != "look 1" else 0.02), spends=False)
    assert ledger.counts()["run a"] == Counts(2, 3, 2, *map(pytest.approx, (0.03, 0.04, 0.04)))
    assert ledger.counts()["copy"].own == 3
    assert ledger.others("items", "run a") == Counts(0, 1, 1, 0.0, *map(pytest.approx, (0.01, 0.04)))
    assert ledger.others("items", "new") == Counts(0, 3, 2, 0.0, *map(pytest.approx, (0.04, 0.04)))


def test_what_a_look_hands_on_counts_in_each_run_that_parts_after_it() -> None:
    for run in ("run a", "run b"):
        ledger.enter(look(run, "sft", 0.01), spends=False)
    assert ledger.counts()["run a"].at_most == pytest.approx(0.01), "copies so far"
    for run in ("run a", "run b"):
        ledger.enter(look(run, f"look of {run}", 0.02), spends=False)
    found = ledger.counts()["run a"]
    assert (found.alpha_all, found.at_most) == (pytest.approx(0.05), pytest.approx(0.06))
    assert ledger.others("items", "new") == Counts(0, 3, 2, 0.0, pytest.approx(0.05), pytest.approx(0.06))
    assert ledger.left("items", "new", 0.1) == pytest.approx(0.04)


def test_looks_at_other_items_are_apart() -> None:
    ledger.enter(LOOK, spends=False)
    ledger.enter(look("run b", "look 1", items="others"), spends=False)
    assert ledger.others("items", "run a") is None and ledger.others("fresh", "run a") is None
    assert ledger.counts()["run b"].all == 1


def test_each_run_that_spends_has_half_of_what_the_others_leave() -> None:
    shares = [ledger.enter(look(f"run {k}", f"look {k}"), spends=True) for k in range(5)]
    assert shares == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]) and sum(shares) < 1
    assert ledger.left("items", "new", 0.05) == pytest.approx(0.05 / 32)


def test_a_run_keeps_its_share_when_others_come_in_between() -> None:
    assert ledger.enter(LOOK, spends=True) == 0.5
    assert ledger.enter(look("run b", "look b"), spends=True) == 0.25
    assert ledger.enter(look("run a", "look 2", round=2, share=0.5), spends=True) == 0.5
    assert ledger.enter(look("run b", "look c", round=2, share=0.25), spends=True) == 0.25
    assert ledger.counts()["run a"].alpha_own == pytest.approx(0.5 * 0.04)


def test_a_look_that_was_killed_before_its_decision_has_the_same_share_again() -> None:
    ledger.enter(LOOK, spends=True)
    ledger.enter(look("run b", "look b"), spends=True)
    assert ledger.enter(LOOK, spends=True) == 0.5, "not half of what is left now"
    assert ledger.enter(look("copy", "look 1"), spends=True) == 0.5, "the same look in another folder costs nothing"
    assert ledger.enter(look("copy", "look x", share=0.5), spends=True) == pytest.approx(0.125), "a new one does"


def test_a_look_with_another_alpha_has_no_more_than_was_counted_for_it() -> None:
    ledger.enter(LOOK, spends=True)
    larger = look("other settings", "look 1", alpha=0.2, total=0.3)
    assert ledger.enter(larger, spends=True) * larger.alpha == pytest.approx(0.5 * LOOK.alpha)
    assert ledger.left("items", "new", 0.05) == pytest.approx(0.025)


def test_copies_of_a_run_that_go_apart_share_what_one_run_has() -> None:
    """Each of them has looks of its own in the same rounds, under the same key."""
    spent = 0.0
    with pytest.raises(RlaifError, match="no look is left"):
        for copy in range(20):
            spent += ledger.enter(look("run a", f"look {copy}", share=0.5 if copy else None), spends=True) * LOOK.alpha
            assert spent + 0.5 * 0.03 + ledger.left("items", "new", 0.05) == pytest.approx(0.05)
    assert spent == pytest.approx(0.03), "with what its other rounds may have, 0.015, no look of 0.01 is left of 0.05"
    assert ledger.enter(look("run a", "look 2", share=0.5), spends=True) == 0.5, "one that was counted may be repeated"


def test_copies_leave_alone_what_another_run_has_reserved() -> None:
    ledger.enter(LOOK, spends=True)
    ledger.enter(look("run b", "look b"), spends=True)
    assert ledger.enter(look("run a", "look 2", round=2, share=0.5), spends=True) == 0.5
    assert ledger.enter(look("run a", "look 1 again", share=0.5), spends=True) == 0.5
    with pytest.raises(RlaifError, match="no look is left"):
        ledger.enter(look("run a", "once more", share=0.5), spends=True)
    assert ledger.enter(look("run a", "look 3", round=3, share=0.5), spends=True) == 0.5, "its other rounds go on"


def test_a_run_whose_ledger_is_lost_keeps_the_share_on_its_record() -> None:
    assert ledger.enter(look("run b", "look 7", share=0.25), spends=True) == 0.25


def test_what_runs_that_do_not_share_have_spent_counts() -> None:
    ledger.enter(LOOK, spends=False)
    assert ledger.enter(look("run b", "look b"), spends=True) == pytest.approx((0.05 - 0.02) / 2 / 0.05)
    ledger.enter(look("run c", "look c", 0.03), spends=False)
    with pytest.raises(RlaifError, match=r"no look is left for gate\.ledger=spend"):
        ledger.enter(look("run d", "look d"), spends=True)
    assert "run d" not in ledger.counts()


@pytest.mark.parametrize("content", [None, b"no database at all, but 16 bytes or more", b"DUCK"])
def test_a_ledger_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    folder = tmp_path / "data"
    if content is None:
        folder.write_text("a file where the folder should be")
    else:
        folder.mkdir()
        (folder / "looks.duckdb").write_bytes(content)
    monkeypatch.setenv("RLAIF_DATA", str(folder))
    with pytest.raises(RlaifError) as caught:
        ledger.enter(LOOK, spends=False)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


LOOKS = """
import sys
from rlaif.gate.ledger import Entry, enter
for k in range(10):
    enter(Entry("items", f"look {sys.argv[1]} {k}", sys.argv[1], "runs", k, 0.001, 0.05), spends=False)
"""


def test_two_loops_at_once_leave_every_look_of_both() -> None:
    both = [subprocess.Popen([sys.executable, "-c", LOOKS, name]) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    found = ledger.counts()
    assert found["a"] == found["b"] == Counts(10, 20, 2, *map(pytest.approx, (0.01, 0.02, 0.02)))


def test_keys_know_items_by_content_and_runs_by_their_making() -> None:
    asked = [Question(f"q{k}", "medquad", "gate", "", "g", "Why?", reference="Because.") for k in range(3)]
    assert ledger.items_key(asked) == ledger.items_key(asked[::-1])
    assert ledger.items_key(asked) != ledger.items_key(asked[:2])
    assert ledger.items_key(asked) != ledger.items_key([*asked[:2], replace(asked[2], reference="Thus.")])
    made = datetime(2026, 5, 4, 10, 0, 0)
    assert ledger.run_key({"run_id": "r", "created_at": made}) == ledger.run_key({"run_id": "r", "created_at": made})
    later = made.replace(second=1)
    assert ledger.run_key({"run_id": "r", "created_at": made}) != ledger.run_key({"run_id": "r", "created_at": later})


def test_words_say_what_this_run_and_all_runs_spent() -> None:
    assert "no other run had any" in ledger.words(Counts(2, 2, 1, 0.03, 0.03, 0.03))
    said = ledger.words(Counts(1, 3, 2, 0.01, 0.04, 0.05))
    assert "1 look " in said and "2 runs together had 3, with alpha 0.0400" in said
    assert said.endswith("at most 0.0500")
