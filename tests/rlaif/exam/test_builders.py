from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from judges.reference import ReferenceJudge
from rlaif.embedded import medquad_style
from rlaif.embedded.knowledge import load_topics
from rlaif.exam import embedded
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.hold import hold
from rlaif.exam.human import human_exam
from rlaif.exam.items import Exam, same_text
from rlaif.exam.medquad import medquad_exam
from rlaif.exam.rules import MIN_ITEMS, TYPES
from rlaif.screen import Screen
from rlaif.types import DataError


def counts(exam: Exam) -> Counter[str]:
    return Counter(item.item_type for item in exam.items)


def test_the_embedded_exam_has_all_types_and_is_the_same_each_time(exam: Exam) -> None:
    assert counts(exam) == dict.fromkeys(TYPES["embedded"], embedded.ITEMS_A_TYPE)
    assert embedded_exam() == exam and embedded_exam().sha256 == exam.sha256 != embedded_exam(59).sha256
    assert len({(i.item_type, i.pair) for i in exam.items}) == len(exam.items)


def test_it_asks_about_gate_topics_only_and_never_shows_the_reference_as_an_answer() -> None:
    exam = embedded_exam()
    gate = {q.question for t in load_topics() if t.split == "gate" for q in medquad_style.questions(t, 10)}
    assert {a.question for a in exam.answers} <= gate
    assert not [i for i in exam.items if same_text(i.good.answer, i.good.reference)]
    assert not [i for i in exam.items if i.good.answer == i.bad.answer]


def test_every_measure_can_be_stated_and_changed() -> None:
    exam = embedded_exam(200)
    changed = [i for i in exam.items if i.item_type == "changed_number"]
    assert len(changed) == 200
    for item in changed:
        assert item.good.key_points[-1] in item.good.reference
        assert len(set(item.good.answer.split()) ^ set(item.bad.answer.split())) == 2
    sections = {s for t in load_topics() for s in t.points}
    assert sections == set(embedded.MEASURES)


def test_the_reference_judge_reaches_what_the_issue_asks() -> None:
    result = hold(embedded_exam(), ReferenceJudge(), Screen()).result
    assert result.passed, result.refusals
    assert result.pair_accuracy is not None and result.pair_accuracy >= 0.90
    assert result.limits == ()
    assert len(result.baselines) == 3 and all(b.gain_lower is not None and b.gain_lower > 0.2 for b in result.baselines)


def page(source: str, number: int, focus: str, qtype: str, answer: str) -> dict[str, str]:
    asked = {"symptoms": "What are the symptoms of", "treatment": "What are the treatments for"}[qtype]
    key = f"{source}/{number:03}"
    row = {"uid": f"{key}-{qtype}", "doc_key": key, "source": source, "focus": focus, "qtype": qtype}
    return row | {"question": f"{asked} {focus} ?", "answer": answer}


NAMES = (
    "gout asthma anemia rickets scurvy mumps measles cholera rabies tetanus malaria leprosy psoriasis migraine epilepsy"
).split()

SIGNS = ("skin rash with blisters", "joint swelling", "blood pressure", "liver enzymes", "urine output by day")


@pytest.fixture
def medquad_file(tmp_path: Path) -> Path:
    rows = []
    for i, name in enumerate(NAMES):
        rows += [
            page(
                "A",
                i,
                name,
                "symptoms",
                f"People with {name} often have fever, high {SIGNS[i % 5]} and {i + 20} days of pain in the night.",
            ),
            page(
                "B",
                i,
                name,
                "symptoms",
                f"Fever is common. It may cause high {SIGNS[i % 5]} in {name} too. Pain in the night lasts {i + 20} "
                f"days in all of those people. {SIGNS[i % 5].capitalize()} can be seen by a nurse who looks.",
            ),
            page(
                "B",
                i,
                name,
                "treatment",
                f"Doctors treat {name} with rest, tablets, cold packs and much water, and they watch the "
                f"{name} closely.",
            ),
        ]
    path = tmp_path / "pages.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def test_medquad_pairs_two_sources_and_spoils_the_second(medquad_file: Path) -> None:
    exam = medquad_exam(str(medquad_file))
    assert set(counts(exam)) == set(TYPES["medquad"])
    for item in exam.items:
        if item.item_type == "swapped_focus":
            focus = item.good.question.split()[-1].rstrip("?")
            assert focus in item.good.answer and focus not in item.bad.answer
            assert item.good.answer != item.good.reference and focus in item.good.reference
        if item.item_type == "wrong_question":
            assert "treatments" not in item.good.question and "Doctors treat" in item.bad.answer
    assert medquad_exam(str(medquad_file)) == exam
    assert max(counts(medquad_exam(str(medquad_file), 3)).values()) == 3


def test_medquad_with_one_source_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    rows = [
        page("A", i, name, "symptoms", f"People with {name} have fever and {name} nodes for many long days.")
        for i, name in enumerate(NAMES)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    with pytest.raises(DataError, match="no question is answered by two sources"):
        medquad_exam(str(path))


def scored(path: Path, rows: list[tuple[str, str, object]]) -> str:
    path.write_text("\n".join(json.dumps({"question": q, "answer": a, "score": s}) for q, a, s in rows), "utf-8")
    return str(path)


def test_human_pairs_stand_two_apart_and_the_reference_is_no_candidate(tmp_path: Path) -> None:
    rows = [
        ("Q1", "the best and longest answer of all four", 4),
        ("Q1", "a decent answer", 3),
        ("Q1", "related words", 2),
        ("Q1", "wrong", 1),
        ("Q2", "without any excellent answer", 3),
        ("Q2", "nothing to compare with", 1),
    ]
    exam = human_exam(scored(tmp_path / "h.jsonl", rows))
    assert [(i.good.answer, i.bad.answer, i.good.reference) for i in exam.items] == [
        ("a decent answer", "wrong", rows[0][1])
    ]
    assert [(a.answer, score) for a, score in exam.graded] == [
        ("a decent answer", 3),
        ("related words", 2),
        ("wrong", 1),
    ]


@pytest.mark.parametrize("score", [0, 5, 2.5, "good", None, True])
def test_a_score_that_is_none_of_the_four_is_named_with_its_line(tmp_path: Path, score: object) -> None:
    with pytest.raises(DataError, match=r"h\.jsonl line 1: score is .*; needed 1, 2, 3 or 4"):
        human_exam(scored(tmp_path / "h.jsonl", [("Q", "A", score)]))


def test_human_without_a_gap_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 or more apart"):
        human_exam(scored(tmp_path / "h.jsonl", [("Q", "an excellent answer", 4), ("Q", "another one", 3)]))


@pytest.mark.slow
def test_the_real_files_give_enough_items_of_each_type(shared: Path) -> None:
    data = shared / "data"
    if not (data / "medquad.parquet").is_file() or not (data / "optional" / "liveqa_judged.parquet").is_file():
        pytest.skip("the real MedQuAD or LiveQA file is not there")
    medquad = counts(medquad_exam(str(data / "medquad.parquet")))
    assert set(medquad) == set(TYPES["medquad"]) and min(medquad.values()) >= MIN_ITEMS
    human = human_exam(str(data / "optional" / "liveqa_judged.parquet"))
    assert counts(human)["human"] >= 300 and len(human.graded) >= 300
