"""The numbers of benchmarks/labellers.py, from made-up marks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from rlaif.exam.items import Exam, exam_item
from rlaif.types import Question

PATH = Path(__file__).parents[2] / "benchmarks" / "labellers.py"


@pytest.fixture(scope="module")
def labellers():
    spec = importlib.util.spec_from_file_location("benchmark_labellers", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def group(labellers, question: str, *answers: tuple[float, int]):
    return [labellers.Graded(question, mark, people) for mark, people in answers]


def test_a_tie_is_no_order_and_pairs_stay_within_a_question(labellers) -> None:
    groups = [
        group(labellers, "a", (0.9, 4), (0.5, 2), (0.5, 1)),  # right, right, tie
        group(labellers, "b", (0.1, 3), (0.2, 1)),  # wrong, two apart
        group(labellers, "c", (0.0, 4)),
    ]
    found = labellers.agreement(groups)
    assert (found.pairs, found.far_pairs) == (2 / 4, 2 / 3)
    assert -1 < found.spearman < 1


def test_the_same_questions_are_drawn_for_all_judges(labellers, monkeypatch) -> None:
    monkeypatch.setattr(labellers, "RESAMPLES", 20)
    groups = [group(labellers, str(n), (n / 9, 1 + n % 2), (0.4, 4)) for n in range(8)]
    one, other = labellers.resampled([groups, groups])
    assert one == other and len(one) == 20 and len({a.spearman for a in one}) > 5


def test_what_is_zero_and_what_is_tied_among_the_poor_answers(labellers) -> None:
    q = Question("q", "medquad_style", "gate", "", "", "What helps?", reference="Rest helps.")
    items = [
        exam_item("wrong_question", q, "good", "one"),
        exam_item("half_dropped", q, "good", "two"),
        exam_item("padded", q, "good", "three"),
        exam_item("keyword_soup", q, "good", "soup"),  # no stand-in for a sampled answer
    ]
    marks = dict(zip([i.bad.candidate_id for i in items], (0.0, 0.0, 0.7, 0.0), strict=True))
    assert labellers.resolution(Exam("embedded", tuple(items)), marks) == (2 / 3, 1 / 3)


def test_token_f1_takes_part_as_a_judge(labellers) -> None:
    q = Question("q", "medquad_style", "gate", "", "", "What helps?", reference="Rest helps.")
    item = exam_item("padded", q, "Rest helps.", "Bananas.")
    assert [v.score for v in labellers.TokenF1().score([item.good, item.bad])] == [1.0, 0.0]


def test_the_halves_depend_on_the_question_alone(labellers) -> None:
    halves = [labellers.tuned_on(f"question {n}") for n in range(200)]
    assert 60 < sum(halves) < 140 and halves == [labellers.tuned_on(f"question {n}") for n in range(200)]
