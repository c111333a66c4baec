"""Answers side by side."""

from __future__ import annotations

from types import SimpleNamespace

from rlaif.report import evidence, tables
from rlaif.report.answers import side_by_side
from rlaif.report.data import ANSWERS_TO_READ, read
from stores.store import Store

POLICIES = ("base0000aa", "sft00000bb", "dpo10000cc")


def add_answers(store: Store, items: int) -> None:
    """Questions of the gate with an answer of each policy, and a mark for it."""
    questions = [
        {
            "question_id": f"g{i}", "dataset": "medquad_style", "split": "gate", "source_id": str(i),
            "group_id": str(i), "question": f"What is disease {i}?", "reference": f"Reference {i}.",
        }
        for i in range(items)
    ]  # fmt: skip
    common = {"benchmark": "medquad_style", "split": "gate", "status": "scored", "data_sha256": "d1"}
    rows = [
        common
        | {"policy_id": p, "item_id": f"g{i}", "prediction": f"{p} says {i}", "protocol_hash": "p1"}
        | ({"metric": "quality", "value": 0.25, "judge_id": "j1"} if mark else {"metric": "token_f1", "value": 0.5})
        for p in POLICIES
        for i in range(items)
        for mark in (False, True)
    ]
    store.write({"questions": questions, "eval_items": rows})


def test_base_champion_and_the_newest_challenger(finished: Store) -> None:
    add_answers(finished, 5)
    asked = side_by_side(read(finished))
    assert len(asked) == ANSWERS_TO_READ and len({a.question for a in asked}) == ANSWERS_TO_READ
    number = asked[0].question.split()[-1].rstrip("?")
    assert asked[0].reference == f"Reference {number}."
    assert [(a.title, a.text, a.quality) for a in asked[0].answers] == [
        ("Base", f"base0000aa says {number}", 0.25),
        ("SFT, champion", f"sft00000bb says {number}", 0.25),
        ("Round 1, inconclusive", f"dpo10000cc says {number}", 0.25),
    ]
    assert side_by_side(read(finished)) == asked, "drawn by a hash, so always the same"


def test_a_later_champion_stands_third(finished: Store, rows: SimpleNamespace) -> None:
    add_answers(finished, 1)
    promotion = "json_object('policy_id', 'dpo10000cc')"
    finished.execute(
        [
            (f"UPDATE decisions SET action = 'PROMOTE', evidence = {promotion} WHERE round = 1", []),
            ("UPDATE rounds SET decision = 'PROMOTE', champion_out = 'dpo10000cc' WHERE round = 1", []),
        ]
    )
    (asked,) = side_by_side(read(finished))
    assert [a.title for a in asked.answers] == ["Base", "SFT, promoted", "Round 1, champion"]


def test_without_free_text_there_is_nothing_to_read(finished: Store) -> None:
    assert side_by_side(read(finished)) == []


def test_before_anything_there_is_nothing_to_show(store: Store) -> None:
    assert side_by_side(read(store)) == [] and evidence.decided_chart(read(store)) is None


def test_what_decided_is_one_chart_with_sft_in_it(finished: Store) -> None:
    chart = evidence.decided_chart(read(finished))
    assert chart is not None and chart.svg.count("<svg") == 1
    assert "token F1, medquad_style: SFT +0.100 (+0.020 to +0.180); round 1 −0.005" in chart.svg
    assert "accuracy, pubmedqa_style: SFT +0.100" in chart.svg
    assert "does not count" not in chart.svg and "grey" not in chart.caption


def test_an_accuracy_that_does_not_count_is_shown_as_such(finished: Store) -> None:
    finished.execute(
        [("UPDATE gates SET condition = 'not_read' WHERE condition = 'better' AND metric = 'accuracy'", [])]
    )
    chart = evidence.decided_chart(read(finished))
    assert chart is not None and "accuracy, pubmedqa_style: SFT +0.100 (" in chart.svg
    assert ", does not count; round 1 " in chart.svg and "grey: it does not count" in chart.caption


def test_decisions_are_sentences_and_no_log_lines(finished: Store) -> None:
    table = tables.decisions(read(finished))
    assert table is not None and table.rows[0][3].startswith("Better than base: token F1 0.500")
    assert not any("SFT look" in cell for row in table.rows for cell in row)
