from __future__ import annotations

import pytest

from rlaif.exam.criteria import CriterionExam, Labelled, agreement, grade, length_alone, measure
from rlaif.exam.physicians import physicians_exam
from rlaif.exam.rubric import ITEMS_A_TYPE, rubric_exam
from rlaif.testing.rubric_files import write_meta
from rlaif.types import Criterion, DataError, JudgeItem


def item(n: int, *labels: bool, kind: str = "a", weight: float = 1.0, answer: str = "one two") -> Labelled:
    return Labelled(JudgeItem(f"c{n}", "q", answer, rubric=(Criterion(f"x{n}", weight),)), labels, kind)


def test_a_judge_is_held_against_labels() -> None:
    pairs = [(True, True)] * 6 + [(False, True)] * 2 + [(False, False)] * 9 + [(True, False)] * 3
    found = measure(pairs)
    assert (found.n, found.right, found.met, found.unmet) == (20, 0.75, 0.75, 0.25)
    assert found.balanced_accuracy == 0.75
    assert found.kappa == pytest.approx((0.75 - (0.45 * 0.4 + 0.55 * 0.6)) / (1 - (0.45 * 0.4 + 0.55 * 0.6)))
    assert found.generosity == pytest.approx(5.0)  # 45% against 40%


@pytest.mark.parametrize(
    ("pairs", "balanced", "generosity"),
    [([], None, None), ([(True, True)], None, 0.0), ([(True, False)], None, 100.0), ([(False, True)], None, -100.0)],
)
def test_a_side_without_labels_has_no_rate(pairs, balanced, generosity) -> None:
    found = measure(pairs)
    assert (found.balanced_accuracy, found.generosity) == (balanced, generosity)


def test_each_label_of_each_person_counts_and_faults_stand_apart() -> None:
    items = (
        item(0, True, True, False),
        item(1, False),
        item(2, True, weight=-2.0),
        item(3, False, weight=-2.0, kind="b"),
    )
    result = grade(CriterionExam("rubric", items), [0.9, 0.2, 0.5, 0.7])
    assert (result.whole.n, result.wanted.n, result.faults.n) == (6, 4, 2)
    assert result.whole.right == pytest.approx(4 / 6)
    assert (result.faults.met, result.faults.unmet) == (1.0, 1.0)
    assert {kind: m.n for kind, m in result.kinds.items()} == {"a": 5, "b": 1}
    assert agreement(result)["wanted"] == {"met": 1.0, "unmet": 0.5}
    assert agreement(result)["faults"] == {"met": 1.0, "unmet": 1.0}


def test_without_faults_their_rates_are_those_of_the_others() -> None:
    result = grade(CriterionExam("rubric", (item(0, True), item(1, False))), [1.0, 0.0])
    assert agreement(result)["faults"] == agreement(result)["wanted"] == {"met": 1.0, "unmet": 0.0}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([1.0, 0.0, 1.0, 0.0], None),
        ([1.0, 1.0, 1.0, 1.0], "balanced accuracy 0.500"),
        ([0.0, 1.0, 0.0, 1.0], "balanced accuracy 0.000"),
        ([1.0, None, 1.0, 0.0], "1 of 4 criteria got neither yes nor no"),
        ([1.0, 0.0, 1.0, 1.0], "b: 0.500 right; 0.75 are needed"),
    ],
)
def test_what_passes_and_what_does_not(values, why) -> None:
    exam = CriterionExam("rubric", tuple(item(n, n % 2 == 0, kind="a" if n < 2 else "b") for n in range(4)))
    result = grade(exam, values)
    assert result.passed == (why is None)
    assert why is None or any(why in reason for reason in result.refusals)


def test_a_judge_has_to_beat_the_length_of_the_answer() -> None:
    exam = CriterionExam(
        "healthbench_meta", tuple(item(n, n % 2 == 0, answer="word " * (9 if n % 2 == 0 else 2)) for n in range(8))
    )
    result = grade(exam, [float(n % 2 == 0) for n in range(8)])
    assert result.length_alone == 1.0 and not result.passed
    assert "length of an answer alone" in result.refusals[0]


@pytest.mark.parametrize(
    ("pairs", "best"),
    [
        ([(1, False), (2, False), (3, True), (4, True)], 1.0),
        ([(1, True), (2, True), (3, False), (4, False)], 1.0),
        ([(1, True), (1, False)], 0.5),
        ([(1, True), (2, False), (3, True), (4, False)], 0.75),
        ([(1, True)], None),
    ],
)
def test_what_length_alone_reaches(pairs, best) -> None:
    assert length_alone(pairs) == best


def test_the_physicians_file(tmp_path) -> None:
    exam = physicians_exam(str(write_meta(tmp_path / "meta.jsonl")))
    assert len(exam.items) == 30 and {i.kind for i in exam.items} == {"hedging", "emergency"}
    assert exam.items[0].labels == (True, False) and exam.items[1].labels == (False, False)
    assert exam.items[0].item.rubric[0].text.startswith("Names ")
    fewer = physicians_exam(str(tmp_path / "meta.jsonl"), 12)
    assert len(fewer.items) == 12 and fewer == physicians_exam(str(tmp_path / "meta.jsonl"), 12)
    perfect = grade(exam, [sum(i.labels) / len(i.labels) for i in exam.items])
    assert perfect.whole.n == 60 and (perfect.whole.met, perfect.whole.unmet) == (1.0, 3 / 33)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"binary_labels": [true, false]', '"binary_labels": [1, 0]', "binary_labels is [1, 0]"),
        ('"binary_labels": [true, false]', '"binary_labels": []', "binary_labels is []"),
        ('"rubric": "Names rest"', '"rubric": ""', "rubric is empty"),
    ],
)
def test_a_broken_file_says_where_and_what(tmp_path, old, new, why) -> None:
    path = write_meta(tmp_path / "meta.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        physicians_exam(str(path))
    assert why in str(caught.value) and "line 1" in str(caught.value)


def test_labels_that_all_say_the_same_are_no_exam(tmp_path) -> None:
    path = write_meta(tmp_path / "meta.jsonl")
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(DataError, match="all labels say the same"):
        physicians_exam(str(path))


def test_the_rubric_exam_is_the_same_each_time_and_its_labels_follow_from_the_making() -> None:
    exam = rubric_exam()
    assert exam == rubric_exam() and len({i.item.candidate_id for i in exam.items}) == len(exam.items)
    kinds = {kind: [i for i in exam.items if i.kind == kind] for kind in {i.kind for i in exam.items}}
    assert {kind: len(items) for kind, items in kinds.items()} == dict.fromkeys(
        ("met", "unmet_by_edit", "met_again", "other_question", "negated"), ITEMS_A_TYPE
    )
    for one in (*kinds["met_again"], *kinds["negated"]):
        assert one.item.rubric[0].text.partition(": ")[2] in one.item.answer
    for one in (*kinds["unmet_by_edit"], *kinds["other_question"]):
        assert one.item.rubric[0].text.partition(": ")[2] not in one.item.answer
    met = {kind for kind, items in kinds.items() if {i.labels for i in items} == {(True,)}}
    unmet = {kind for kind, items in kinds.items() if {i.labels for i in items} == {(False,)}}
    assert (met, unmet) == ({"met", "met_again"}, {"unmet_by_edit", "other_question", "negated"})
    topics = {i.item.question for i in exam.items} & {i.item.question for i in rubric_exam(split="sealed").items}
    assert not topics


def test_a_judge_that_looks_for_the_words_passes_what_words_can_tell() -> None:
    exam = rubric_exam(20)
    values = [float(i.item.rubric[0].text.partition(": ")[2] in i.item.answer) for i in exam.items]
    result = grade(exam, values)
    assert result.kinds["unmet_by_edit"].right == result.kinds["met_again"].right == 1.0
    assert result.kinds["negated"].right == 0.0 and not result.passed
