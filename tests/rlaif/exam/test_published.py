"""Agreement with published preferences, which a judge of their prompts needs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from rlaif.config import Config, DataConfig, JudgeConfig
from rlaif.config_data import DataSet
from rlaif.exam.grade import grade, outcomes
from rlaif.exam.hold import hold
from rlaif.exam.licence import check_licence, ensure_agreement, licence_of
from rlaif.exam.published import PUBLISHED, published_exam
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import JudgeItem, RlaifError, UsageError


def preferences(path: Path, prompts: int, **changes: object) -> Config:
    """A run on so many prompts, two pairs each; what is chosen names rest, and is now longer and now shorter."""
    rows = []
    for k in range(prompts):
        asked = {"role": "user", "content": f"What helps against ailment {k}?"}
        for more in range(2):
            said = f"Rest helps against ailment {k}" + " within days of sleep in a quiet room" * (k % 2) + f" {more}."
            bad = f"Work helps against ailment {k}, and so does cold water {more}."
            sides = {"chosen": said, "rejected": bad}
            rows.append(
                {"prompt_id": f"Wiki,{k}", "label_type": "easy", "prompt": asked["content"], "metadata": {}}
                | {side: [asked, {"role": "assistant", "content": text}] for side, text in sides.items()}
            )
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    spec = DataSet(format="ultramedical-preference", path=str(path), fractions=(0.8, 0.1, 0.1))
    judge = JudgeConfig(model="tests:judge", **changes)  # type: ignore[arg-type]
    return Config(data=DataConfig(pubmedqa="", medquad="", sets=(spec,)), judge=judge)


def rest(item: JudgeItem) -> float:
    return 0.9 if "Rest" in item.answer else 0.2


def length(item: JudgeItem) -> float:
    return len(item.answer) / 500


AGREES, OPPOSED, COUNTS = ScriptedJudge(rest), ScriptedJudge(lambda item: 1 - rest(item)), ScriptedJudge(length)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_or_create(tmp_path / "run", preferences(tmp_path / "pairs.jsonl", 200))


def decisions(run: Run) -> list[tuple[str, str]]:
    found = run.store.query("SELECT action, reason FROM decisions WHERE kind = 'licence' ORDER BY seq")
    return [(d["action"], d["reason"]) for d in found]


def test_the_exam_has_one_pair_of_each_training_prompt_and_no_reference(tmp_path: Path) -> None:
    config = preferences(tmp_path / "pairs.jsonl", 200)
    exam = published_exam(config)
    assert exam is not None and exam.about["questions"] == len(exam.items) == 160
    assert len({i.good.question for i in exam.items}) == 160
    assert all(i.good.reference == "" and "Rest" in i.good.answer and "Work" in i.bad.answer for i in exam.items)
    assert exam == published_exam(config) and len(published_exam(config, 70).items) == 70  # type: ignore[union-attr]
    assert published_exam(preferences(tmp_path / "few.jsonl", 70)) is None, "56 training prompts"
    assert published_exam(Config()) is None


def test_a_judge_that_agrees_may_label_and_one_that_does_not_is_refused(run: Run) -> None:
    ensure_agreement(run, AGREES, Screen(), hold_here=True)
    licence = licence_of(run, AGREES.identity.judge_id, (PUBLISHED,))
    assert licence is not None and licence.passed and licence.limits == () and decisions(run) == []
    assert check_licence(run, AGREES.identity.judge_id) is None, "it is no exam of other data"
    ensure_agreement(run, AGREES, Screen(), hold_here=False)
    assert run.store.query("SELECT stage FROM stages") == [{"stage": f"exam:{PUBLISHED}:{AGREES.identity.judge_id}"}], (
        "asked once"
    )


@pytest.mark.parametrize(("judge", "why"), [(OPPOSED, "pair accuracy 0.000"), (COUNTS, "no better than length")])
def test_one_that_is_opposed_or_counts_is_refused(tmp_path: Path, judge: ScriptedJudge, why: str) -> None:
    run = open_or_create(tmp_path / "run", preferences(tmp_path / "pairs.jsonl", 200))
    with pytest.raises(RlaifError, match=f"was refused a licence .*{why}"):
        ensure_agreement(run, judge, Screen(), hold_here=True)


def test_a_tie_is_no_agreement_and_the_bound_decides(tmp_path: Path) -> None:
    exam = published_exam(preferences(tmp_path / "pairs.jsonl", 200))
    assert exam is not None
    held = hold(exam, ScriptedJudge(lambda item: 0.5), Screen())
    assert not held.result.passed
    # The bound of 0.55 asks for 99 of 160.
    right = [o for o in held.outcomes if o.item.good.answer]
    verdicts = {o.item.good.candidate_id: dataclasses.replace(o.good, score=0.9) for o in right[:99]}
    all_verdicts = {v.candidate_id: v for o in held.outcomes for v in (o.good, o.bad)} | verdicts
    (rule,) = grade(exam, outcomes(exam, all_verdicts)).rules
    assert rule.passed and rule.value == pytest.approx(99 / 160)
    fewer = {k: v for k, v in all_verdicts.items() if k != right[0].item.good.candidate_id}
    fewer[right[0].item.good.candidate_id] = right[0].good
    assert not grade(exam, outcomes(exam, fewer)).rules[0].passed


def test_a_judge_elsewhere_is_told_the_command(run: Run) -> None:
    with pytest.raises(UsageError, match="only if it agrees with the pairs published there") as error:
        ensure_agreement(run, AGREES, Screen(), hold_here=False)
    assert f"judge exam --run {run.folder}" in str(error.value)


def test_what_is_not_asked_is_shown_and_recorded_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = open_or_create(tmp_path / "run", preferences(tmp_path / "pairs.jsonl", 200))
    words = whole.config.model_copy(update={"judge": JudgeConfig(model="reference")})
    free = whole.config.model_copy(update={"judge": JudgeConfig(model="tests:judge", require_licence=False)})
    for _ in range(2):
        ensure_agreement(dataclasses.replace(whole, config=words), ReferenceJudge(), Screen(), hold_here=True)
        ensure_agreement(dataclasses.replace(whole, config=free), OPPOSED, Screen(), hold_here=True)
    (other, not_known), (override, without) = decisions(whole)
    assert (other, override) == ("OTHER_DATA", "OVERRIDE")
    assert "it compares with a reference answer, and they have none" in not_known
    assert without.startswith("judge.require_licence=false: scripted labels prompts of")
    said = " ".join(capsys.readouterr().err.split())
    assert "is not known: it compares" in said and "without agreement" in said


def test_too_few_pairs_and_other_data_ask_for_nothing(tmp_path: Path) -> None:
    few = open_or_create(tmp_path / "few", preferences(tmp_path / "few.jsonl", 20))
    ensure_agreement(few, AGREES, Screen(), hold_here=False)
    assert [d[0] for d in decisions(few)] == ["OTHER_DATA"]
    none = open_or_create(tmp_path / "none", Config())
    ensure_agreement(none, AGREES, Screen(), hold_here=False)
    assert decisions(none) == []
