from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from command_line import call
from judges.rubric.chat import RubricChatJudge
from judges.settings import JudgeSettings
from rlaif.evals.healthbench import known_agreement
from rlaif.exam import sit_criteria
from rlaif.exam.sit_criteria import as_json, sit_from_command_line
from rlaif.prompts import load_judge_prompt
from rlaif.run import open_run
from rlaif.screen import Screen
from rlaif.testing.rubric_files import write_meta
from rlaif.types import UsageError


@pytest.fixture
def word_judge(fake_chat_model, monkeypatch) -> RubricChatJudge:
    """A chat model that looks for the criterion's last word in the answer."""

    def reply(prompt: str) -> str:
        answer = re.search(r"<answer (\w+)>\n(.*)\n</answer \1>", prompt, re.DOTALL)
        criterion = re.search(r"^1\. (.+)$", prompt, re.MULTILINE)
        assert answer and criterion
        met = "yes" if criterion[1].split()[-1] in answer[2].lower() else "no"
        return json.dumps({"verdicts": [{"criterion": 1, "reason": "by words", "met": met}]})

    settings = JudgeSettings(prompt=load_judge_prompt("prompts/judge/rubric.md"))
    judge = RubricChatJudge("fake", settings, chat_model=fake_chat_model(reply))
    monkeypatch.setattr(sit_criteria, "configured_judge", lambda config, run: judge)
    return judge


def test_a_judge_sits_the_exam_by_physicians_and_it_is_kept(tmp_path: Path, word_judge) -> None:
    path, folder = write_meta(tmp_path / "meta.jsonl"), tmp_path / "run"
    judge, sat = sit_from_command_line(folder, "", ["judge.model=reference"], str(path), False, 0, Screen())
    (exam, result), run = sat[0], open_run(folder)
    assert result.whole.balanced_accuracy == pytest.approx(1 - 3 / 66) and len(exam.items) == 30
    kept = known_agreement(run, judge.identity.judge_id)
    assert kept is not None and kept["n"] == 60 and kept["balanced_accuracy"] == pytest.approx(1 - 3 / 66)
    outcomes = run.store.query("SELECT outcome, count(*) AS n FROM exam_items GROUP BY ALL ORDER BY ALL")
    assert outcomes == [{"outcome": "agreed", "n": 30}]
    (licence,) = run.store.query("SELECT exam, passed, pair_accuracy FROM licences")
    assert licence["exam"] == "healthbench_meta" and licence["passed"] == result.passed
    said = as_json(judge, sat)["exams"][0]
    assert said["whole"]["n"] == 60 and said["kinds"]["emergency"]["n"] == 20
    sit_from_command_line(folder, "", [], str(path), True, 5, Screen())  # again, and the exam of single criteria
    assert run.store.query("SELECT count(*) AS n FROM licences")[0]["n"] == 2


@pytest.mark.parametrize("model", ["reference", "support", "local:embedded"])
def test_a_judge_that_does_not_judge_by_rubrics_is_refused_and_leaves_no_run(tmp_path: Path, model: str) -> None:
    with pytest.raises(UsageError, match="does not judge by rubrics"):
        sit_from_command_line(tmp_path / "run", "", [f"judge.model={model}"], "", True, 2, Screen())
    assert not (tmp_path / "run").exists()


def test_the_options_do_not_mix(tmp_path: Path) -> None:
    code, _, err = call("judge", "exam", "--rubric", "--human", "x.csv", "--run", tmp_path / "run")
    assert code == 2 and "exams of other judges" in err
