from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges import NEED_REFERENCE, kind_of, make_judge
from judges.jury import Jury
from judges.reference import ReferenceJudge
from judges.support import SupportJudge
from rlaif.types import JudgeItem, Verdict

QUESTION = "What are the treatments for gout?"
REFERENCE = (
    "Colchicine eases a sudden attack of gout. Doctors prescribe 300 mg of allopurinol to keep uric acid low.\n"
    "Avoiding beer and organ meat may prevent further attacks. Ice packs soothe a swollen joint."
)
GOOD = "A sudden attack is eased with colchicine. Allopurinol keeps uric acid low, and ice packs soothe swollen joints."


def judge(answer: str, reference: str = REFERENCE, points: tuple[str, ...] = (), question: str = QUESTION) -> Verdict:
    return SupportJudge().score([JudgeItem("c", question, answer, reference, "", points)])[0]


def score(answer: str, **about: str) -> float:
    mark = judge(answer, **about).score  # type: ignore[arg-type]
    assert mark is not None
    return mark


def test_it_is_a_judge_that_costs_nothing_and_needs_a_reference() -> None:
    made = make_judge("support")
    assert (made.identity.model, made.local, made.chat) == ("support", True, False)
    assert (kind_of("support"), kind_of("reference")) == ("words", "words") and "support" in NEED_REFERENCE
    assert made.identity.judge_id == SupportJudge().identity.judge_id != ReferenceJudge().identity.judge_id
    assert made.identity.decoding["algorithm"] == "support-1"


def test_the_reference_itself_has_full_marks() -> None:
    v = judge(REFERENCE)
    assert (v.status, v.score, v.factual_accuracy, v.completeness) == ("scored", 1.0, 1.0, 1.0)


def test_the_score_is_the_harmonic_mean_of_precision_and_recall() -> None:
    v = judge(GOOD)
    assert v.score is not None and v.factual_accuracy is not None and v.completeness is not None
    assert v.score == pytest.approx(2 / (1 / v.factual_accuracy + 1 / v.completeness), abs=1e-5)


@pytest.mark.parametrize(
    "worse",
    [
        "Allopurinol keeps uric acid low.",  # less
        f"{GOOD} The moon is far away from here. Trains are faster than most cars.",  # more, beside the point
        "Colchicine does not ease a sudden attack. Allopurinol keeps uric acid low, and ice packs soothe joints.",
        f"Myths about gout: {GOOD}",
        f"{GOOD} None of this is true.",
        "colchicine sudden attack allopurinol uric acid low ice packs soothe swollen joints gout beer organ meat",
        " ".join([GOOD] * 6),
        "Gout is a kind of arthritis.",
    ],
)
def test_worse_answers_earn_less(worse: str) -> None:
    assert score(worse) < score(GOOD)


def test_poor_answers_are_told_apart_where_the_reference_judge_gives_zero() -> None:
    poor = [
        "Gout is a disease of the joints. It may be treated with medicines that a doctor prescribes.",
        "The treatment is surgery of the liver with radiation.",
        "Talk with your doctor about the attack. Your doctor may order blood work and an exam of the eyes.",
        "There are treatments for gout.",
    ]
    marks = [score(answer) for answer in poor]
    assert marks[0] > marks[2] > marks[1] >= marks[3] == 0.0


def test_a_changed_number_costs() -> None:
    told = "Doctors prescribe 300 mg of allopurinol to keep uric acid low."
    assert score(told) > 1.5 * score(told.replace("300", "900"))
    assert "number" in judge(told.replace("300", "900")).flags


def test_a_last_sentence_that_is_cut_off_costs_little() -> None:
    whole = "Colchicine eases a sudden attack of gout. Ice packs soothe a swollen joint."
    assert score(f"{whole} Avoiding beer and organ") >= score(whole)


@pytest.mark.parametrize("layout", ["- {}\n- {}", "1. {}\n2. {}", "**{}**\n\n{}", "  {}   {}\n\n"])
def test_layout_does_not_matter(layout: str) -> None:
    first, second = GOOD.split(". ")
    assert score(layout.format(first + ".", second)) == pytest.approx(score(GOOD), abs=1e-6)
    broken = "\n".join(" ".join(GOOD.split()[i : i + 4]) for i in range(0, len(GOOD.split()), 4))
    assert score(broken) == pytest.approx(score(GOOD), abs=0.1)


@pytest.mark.parametrize("nothing", ["", ":", "Sure, here is the answer:", QUESTION, "Gout treatments"])
def test_an_answer_that_says_nothing_is_scored_zero_and_says_so(nothing: str) -> None:
    v = judge(nothing)
    assert (v.status, v.score, v.flags, v.rationale) == ("scored", 0.0, ("empty",), "says nothing on the question")


@pytest.mark.parametrize("reference", ["", "  \n", QUESTION, "The treatments for gout are these."])
def test_without_anything_to_judge_by_there_is_no_number(reference: str) -> None:
    v = judge(GOOD, reference)
    assert v.status == "failed" and "nothing to judge by" in v.reason
    assert (v.score, v.factual_accuracy, v.completeness, v.key_point_coverage) == (None, None, None, None)


def test_key_points_give_a_column_and_stand_in_for_a_missing_reference() -> None:
    points = ("colchicine for attacks", "allopurinol", "less beer")
    with_points, without = judge(GOOD, points=points), judge(GOOD)
    assert without.key_point_coverage is None
    assert with_points.key_point_coverage == pytest.approx(2 / 3, abs=0.01)
    assert with_points.completeness == without.completeness
    assert (judge("It is colchicine for attacks, allopurinol and less beer.", "", points).score or 0) > 0.7


def test_the_rationale_says_what_was_found() -> None:
    v = judge("Ice packs soothe a swollen joint. Ice packs soothe a joint. Colchicine does not ease attacks.")
    assert v.rationale == (
        "1 of 3 sentences supported (best: 'ice packs soothe a swollen joint'); precision "
        f"{v.factual_accuracy:.2f}, recall {v.completeness:.2f}; contradicts (negation): 'colchicine does not ease "
        "attacks'; repeats itself in 1 sentence"
    )
    assert v.flags == ("negation", "repetition")


def test_a_jury_with_the_reference_judge_has_the_mean_and_no_coverage() -> None:
    jury = make_judge("support,reference")
    assert isinstance(jury, Jury)
    v = jury.score([JudgeItem("c", QUESTION, GOOD, REFERENCE)])[0]
    one, other = (j.score([JudgeItem("c", QUESTION, GOOD, REFERENCE)])[0].score for j in jury.members)
    assert v.score == pytest.approx(((one or 0) + (other or 0)) / 2) and v.key_point_coverage is None


def test_a_verdict_does_not_depend_on_the_other_items() -> None:
    items = [JudgeItem(str(n), QUESTION, text, REFERENCE) for n, text in enumerate((GOOD, REFERENCE, "Ice.", GOOD))]
    together = SupportJudge().score(items)
    assert together == [SupportJudge().score([item])[0] for item in items]
    assert [v.candidate_id for v in together] == ["0", "1", "2", "3"]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=60))
def test_any_text_has_a_number_from_0_to_1_or_a_reason(answer: str, reference: str, question: str) -> None:
    v = judge(answer, reference, question=question)
    if v.status == "scored":
        marks = (v.score, v.factual_accuracy, v.completeness)
        assert all(mark is not None and math.isfinite(mark) and 0.0 <= mark <= 1.0 for mark in marks)
    else:
        assert v.status == "failed" and v.reason and v.score is None
