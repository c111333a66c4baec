"""Files of 30 questions in the schemas of HealthBench, RaR-Medicine and JunkaiZ/Rubrics, in words of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import DataSet
from rlaif.data import load_questions
from rlaif.data.sets import load_set
from rlaif.testing.rubric_files import WRITERS, write_healthbench, write_lists, write_rar
from rlaif.types import Criterion, DataError, Question


def loaded(path: Path, format: str, **more: Any) -> list[Question]:
    return load_set(DataSet(format=format, path=str(path), **more), 0).questions


def test_healthbench(tmp_path: Path) -> None:
    questions = loaded(write_healthbench(tmp_path / "hb.jsonl"), "healthbench")
    assert len(questions) == 30 and {q.dataset for q in questions} == {"healthbench"}
    several = [q for q in questions if q.turns]
    assert len(several) == 10
    one = several[0]
    assert one.rubric
    assert [role for role, _ in one.turns] == ["user", "assistant", "user"]
    assert one.question.startswith("User: ") and "\n\nAssistant: " in one.question
    assert {q.qtype for q in questions} == {"emergency_referrals", "hedging"}
    assert {c.category for c in one.rubric} == {"accuracy", "completeness", "communication_quality"}
    assert min(c.weight for c in one.rubric) < 0 < max(c.weight for c in one.rubric)
    assert sum(bool(q.reference) for q in questions) == 15
    assert {q.split for q in questions} == {"train", "gate", "sealed"}
    assert {q.split for q in load_questions("healthbench", str(tmp_path / "hb.jsonl"), eval_only=True).questions} == {
        "sealed"
    }


def test_rar_medicine(tmp_path: Path) -> None:
    questions = loaded(write_rar(tmp_path / "rar.jsonl"), "rar-medicine")
    assert len(questions) == 30 and all(q.reference and not q.turns for q in questions)
    assert [c.category for c in questions[0].rubric] == ["Essential", "Important", "Pitfall"]
    assert [c.weight for c in questions[0].rubric] == [5, 3, -2]
    assert "Criteria:" not in questions[0].rubric[0].text and questions[0].rubric[0].text.startswith("Names the rest: ")


def test_lists_of_criteria(tmp_path: Path) -> None:
    questions = loaded(write_lists(tmp_path / "lists.json"), "rubrics")
    assert len(questions) == 30 and not any(q.reference for q in questions)
    assert [c.weight for c in questions[0].rubric] == [3, 1]
    assert questions[0].rubric[0].source == "rubrics"


@pytest.mark.parametrize("format", WRITERS)
def test_the_same_file_gives_the_same_questions_and_another_rubric_another_id(tmp_path: Path, format: str) -> None:
    path = WRITERS[format](tmp_path / f"{format}.json")
    first, again = loaded(path, format), loaded(path, format)
    assert first == again and len({q.question_id for q in first}) == 30
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    column = "rubric" if format == "rar-medicine" else "rubrics"
    key = "points" if format == "healthbench" else "weight"
    rows[0][column][0][key] += 1
    path.write_text("\n".join(map(json.dumps, rows)))
    assert len({q.question_id for q in first} - {q.question_id for q in loaded(path, format)}) == 1


def test_rubrics_that_were_written_into_csv_are_read(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in write_rar(tmp_path / "rar.jsonl").read_text().splitlines()]
    import csv

    with (tmp_path / "rar.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "reference_answer", "rubric"])
        writer.writerows([r["question"], r["reference_answer"], json.dumps(r["rubric"])] for r in rows)
    assert [q.rubric for q in loaded(tmp_path / "rar.csv", "rar-medicine")] == [
        q.rubric for q in loaded(tmp_path / "rar.jsonl", "rar-medicine")
    ]


GOOD = {
    "prompt": [{"role": "user", "content": "What helps?"}],
    "rubrics": [{"criterion": "Names rest", "points": 5, "tags": ["axis:accuracy"]}],
    "example_tags": ["theme:hedging"],
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"prompt": [{"role": "assistant", "content": "Hello."}]}, "prompt ends with a turn by the assistant"),
        ({"prompt": [{"role": "nurse", "content": "Hello."}]}, "turn by 'nurse'"),
        ({"prompt": []}, "prompt is no list of messages"),
        ({"rubrics": []}, "rubrics is []; needed a list of criteria"),
        ({"rubrics": "many"}, "rubrics is 'many'"),
        ({"rubrics": [{"criterion": "", "points": 1}]}, "criterion 1 has criterion = ''; needed text"),
        ({"rubrics": [GOOD["rubrics"][0], {"criterion": "x", "points": "five"}]}, "criterion 2 has points = 'five'"),
        ({"rubrics": [{"criterion": "x", "points": True}]}, "criterion 1 has points = True"),
        ({"rubrics": [{"criterion": "x"}]}, "criterion 1 has points = None"),
    ],
)
def test_a_broken_row_says_where_and_what(tmp_path: Path, change: dict, why: str) -> None:
    path = tmp_path / "hb.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | change))
    with pytest.raises(DataError) as caught:
        loaded(path, "healthbench")
    assert why in str(caught.value) and "line 2" in str(caught.value) and "\n" not in str(caught.value)


def test_tags_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "hb.jsonl"
    path.write_text(json.dumps({"prompt": "What helps?", "rubrics": [{"criterion": "Names rest", "points": 5}]}))
    (question,) = loaded(path, "healthbench")
    assert (question.question, question.qtype) == ("What helps?", "")
    assert question.rubric == (Criterion("Names rest", 5.0, "", "healthbench"),)
