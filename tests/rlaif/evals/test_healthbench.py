from __future__ import annotations

import statistics

import pytest

from rlaif.config_file import load_config
from rlaif.evals.healthbench import (
    Answer,
    Checked,
    Rates,
    bootstrap_std,
    calibrated,
    check_grader,
    clipped_mean,
    example_scores,
    figures,
)
from rlaif.types import Question, Split, UsageError

RUBRIC = "evaluation.judge_prompt=prompts/judge/rubric.md"
BESIDE = "evaluation.benchmarks={healthbench = 0.05}"
FILE = "data.healthbench=hb.jsonl"


def answer(theme: str, *criteria: tuple[float, str, float | None]) -> Answer:
    return Answer(theme, tuple(Checked(*c) for c in criteria))


ANSWERS = [
    answer("emergency", (5, "accuracy", 1.0), (5, "completeness", 0.0), (-4, "accuracy", 1.0)),  # 0.1; 0.2; 0
    answer("emergency", (10, "accuracy", 0.0), (-8, "communication", 1.0)),  # -0.8; 0; no axis communication
    answer("context", (2, "accuracy", 1.0), (8, "completeness", 1.0)),  # 1; 1; 1
]


def test_an_answer_has_a_score_of_its_own_of_its_theme_and_of_each_axis_with_points() -> None:
    assert example_scores(ANSWERS[0]) == pytest.approx(
        {("score", ""): 0.1, ("theme", "emergency"): 0.1, ("axis", "accuracy"): 0.2, ("axis", "completeness"): 0.0}
    )
    assert example_scores(ANSWERS[1]) == pytest.approx(
        {("score", ""): -0.8, ("theme", "emergency"): -0.8, ("axis", "accuracy"): 0.0}
    )


def test_means_are_clipped_after_the_mean_not_before() -> None:
    found = {(f["kind"], f["name"]): f for f in figures(ANSWERS)}
    assert found["score", ""]["mean"] == pytest.approx(0.1, abs=1e-9)  # (0.1 - 0.8 + 1) / 3
    assert found["theme", "emergency"]["mean"] == 0.0  # of -0.35
    assert found["axis", "accuracy"]["mean"] == pytest.approx(0.4, abs=1e-9)
    assert found["axis", "completeness"]["mean"] == pytest.approx(0.5, abs=1e-9)
    assert [f["n"] for f in found.values()] == [3, 1, 2, 3, 2]
    assert list(found)[0] == ("score", "") and ("axis", "communication") not in found


@pytest.mark.parametrize(
    ("values", "mean"), [([0.5, 0.7], 0.6), ([-1.0, -0.2], 0.0), ([1.0, 1.0], 1.0), ([-0.5, 1.0], 0.25)]
)
def test_the_clipped_mean(values: list[float], mean: float) -> None:
    assert clipped_mean(values) == pytest.approx(mean, abs=1e-9)


def test_the_bootstrap_is_that_of_the_mean_and_repeatable() -> None:
    values = [0.0, 1.0] * 50
    expected = statistics.pstdev(values) / 10
    assert bootstrap_std(values) == bootstrap_std(values) == pytest.approx(expected, rel=0.1)
    assert bootstrap_std([0.4] * 5) == pytest.approx(0.0, abs=1e-12)
    assert bootstrap_std([-1.0, -0.5]) == 0.0  # every resample is clipped to 0


@pytest.mark.parametrize(
    "criteria",
    [
        [(-5, "accuracy", 1.0)],
        [(-5, "accuracy", 0.0), (-1, "", 1.0)],
        [(5, "accuracy", None), (1, "accuracy", 1.0)],
        [],
    ],
)
def test_rubrics_of_faults_alone_and_hardly_judged_ones_have_no_score(criteria: list) -> None:
    assert example_scores(answer("theme", *criteria)) == {}
    assert figures([answer("theme", *criteria)]) == []


def test_a_probability_counts_as_met_from_one_half_on() -> None:
    made = answer("", (1, "", 0.5), (1, "", 0.49))
    assert example_scores(made) == {("score", ""): 0.5}


def test_calibration_takes_the_judges_errors_out() -> None:
    perfect = Rates(1.0, 0.0)
    assert calibrated(ANSWERS, perfect, perfect) == pytest.approx(0.1, abs=1e-9)
    # Half of 200 criteria are met; a judge that says yes to 0.9 of those and to 0.3 of the others says 0.6.
    said = [answer("", (1, "", float(n < 120))) for n in range(200)]
    assert figures(said)[0]["mean"] == pytest.approx(0.6)
    assert calibrated(said, Rates(0.9, 0.3), perfect) == pytest.approx(0.5, abs=1e-9)
    assert calibrated(said, Rates(0.6, 0.58), perfect) is None
    assert calibrated([], perfect, perfect) is None


def asked(*splits: Split) -> list[Question]:
    return [Question(f"q{s}", "healthbench", s, "s", f"g{s}", "What helps?") for s in splits]


def test_a_chat_model_or_a_local_one_with_a_rubric_prompt_may_grade_at_the_gate() -> None:
    for model in ("openai:a", "local:somewhere"):
        config = load_config("embedded", [f"evaluation.judge={model}", RUBRIC, BESIDE, FILE])
        check_grader(config, asked("gate", "sealed"))
    check_grader(load_config("embedded", []), [])


@pytest.mark.parametrize(
    ("texts", "splits", "why"),
    [
        (["evaluation.judge=reference", FILE], ("gate",), "healthbench is graded by the gate's judge, which has to"),
        (["evaluation.judge=openai:a", BESIDE], ("gate",), "evaluation.judge_prompt=prompts/judge/rubric.md"),
        (["evaluation.judge=", FILE], ("gate",), "must not label: set evaluation.judge"),
        ([RUBRIC, "evaluation.judge=openai:a,openai:b", FILE], ("gate",), "healthbench is graded by the gate's judge"),
        ([RUBRIC, "evaluation.judge=openai:a", BESIDE], (), "no gate questions of it; name its file"),
        ([RUBRIC, "evaluation.judge=openai:a", BESIDE], ("train", "gate"), "data.sets would train on a part of it"),
    ],
)
def test_what_could_not_be_graded_or_was_trained_on_is_refused(
    texts: list[str], splits: tuple[Split, ...], why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_grader(load_config("embedded", texts), asked(*splits))
    assert why in str(caught.value) and "\n" not in str(caught.value)
