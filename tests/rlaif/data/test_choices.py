from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlaif.data import load_questions
from rlaif.data.choices import ChoiceQuestion
from rlaif.types import DataError

OPTIONS = {"A": "Rest", "B": "Surgery ", "C": "Nothing", "D": "Sport"}
ROW: dict[str, Any] = {
    "question": "What helps?",
    "options": OPTIONS,
    "answer_idx": "B",
    "answer": "Surgery",
    "meta_info": "step1",
}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_official_medqa_file_has_neither_ids_nor_splits(tmp_path: Path) -> None:
    source = write(tmp_path / "m.jsonl", ROW, ROW | {"question": "What else?", "meta_info": "step2&3"})
    first, second = load_questions("medqa", source).questions
    assert isinstance(first, ChoiceQuestion)
    assert (first.options, first.label, first.reference) == (("Rest", "Surgery", "Nothing", "Sport"), "B", "Surgery")
    assert (first.dataset, first.split, first.qtype, second.qtype, first.part) == (
        "medqa",
        "sealed",
        "step1",
        "step2&3",
        "",
    )
    assert first.source_id and first.source_id != second.source_id


def test_ids_hash_the_options(tmp_path: Path) -> None:
    source = write(tmp_path / "m.jsonl", ROW | {"id": "a"}, ROW | {"id": "b", "options": OPTIONS | {"D": "Water"}})
    first, second = load_questions("medqa", source).questions
    assert first.question_id != second.question_id


def test_mmlu_needs_a_subject(tmp_path: Path) -> None:
    good = write(tmp_path / "m.jsonl", ROW | {"subject": "college_medicine", "split": "val"})
    (question,) = load_questions("mmlu", good).questions
    assert isinstance(question, ChoiceQuestion) and (question.qtype, question.part) == ("college_medicine", "val")
    with pytest.raises(DataError, match=r"bad.jsonl line 1: subject is null"):
        load_questions("mmlu", write(tmp_path / "bad.jsonl", ROW))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer_idx": "E"}, "line 2: answer_idx is 'E'; needed one of A, B, C, D"),
        ({"options": {"A": "Rest", "B": "Sport"}}, "line 2: options is .*needed four texts"),
        ({"options": OPTIONS | {"C": " "}}, "line 2: options is"),
        ({"options": ["Rest"]}, "line 2: options is"),
        ({"options": OPTIONS | {"C": None}}, "line 2: options is"),
        ({"options": OPTIONS | {"C": 5}}, "line 2: options is"),
        ({"id": "8", "answer": "Rest"}, "line 2: answer_idx is B, but answer is 'Rest'"),
        ({"id": "8", "answer": "Sleep"}, "line 2: answer_idx is B, but answer is 'Sleep'"),
        ({"question": ""}, "line 2: question is empty"),
        ({}, "line 2: id 7 stands 2 times"),
    ],
)
def test_bad_rows_are_told_by_their_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_questions("medqa", write(tmp_path / "m.jsonl", ROW | {"id": "7"}, ROW | {"id": "7"} | change))


def test_the_real_files(shared: Path) -> None:
    medqa = load_questions("medqa", str(shared / "data" / "medqa_usmle.parquet")).questions
    assert Counter(q.qtype for q in medqa) == {"step1": 339, "step2&3": 298, "": 1271}
    mmlu = load_questions("mmlu", str(shared / "data" / "mmlu_medical.parquet")).questions
    assert len(mmlu) == 1242 and len({q.qtype for q in mmlu}) == 6
    assert len({q.question_id for q in mmlu + medqa}) == 1242 + 1908
