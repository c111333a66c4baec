from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from judges.support import SupportJudge
from rlaif.config import Config, JudgeConfig
from rlaif.exam.licence import check_licence, ensure_licence
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import RlaifError, UsageError

REFERENCE = ReferenceJudge()
POOR = ScriptedJudge(lambda item: 0.5)


def unlicensed(run: Run) -> Run:
    return dataclasses.replace(run, config=Config(judge=JudgeConfig(require_licence=False)))


def test_a_local_judge_sits_the_exam_at_once_and_once(run: Run) -> None:
    ensure_licence(run, REFERENCE, Screen(), hold_here=True)
    judge_id = REFERENCE.identity.judge_id
    assert check_licence(run, judge_id) is True
    licence = run.store.query("SELECT * FROM licences")[0]
    assert (licence["exam"], licence["passed"], licence["reasons"]) == ("embedded", True, [])
    assert json.loads(licence["bounds"])["rules"][0]["item_type"] == "wrong_question"
    stages = run.store.query("SELECT round, stage, status FROM stages")
    assert stages == [{"round": 0, "stage": f"exam:{judge_id}", "status": "done"}]
    assert run.store.query("SELECT model FROM judges") == [{"model": "reference"}]
    ensure_licence(run, REFERENCE, Screen(), hold_here=False)
    assert run.store.query("SELECT count(*) AS n FROM stages") == [{"n": 1}]


def test_a_judge_elsewhere_is_refused_with_the_command_that_examines_it(run: Run) -> None:
    elsewhere = dataclasses.replace(run, config=Config(judge=JudgeConfig(base_url="http://127.0.0.1:1/v1")))
    with pytest.raises(UsageError, match="has sat no exam") as error:
        ensure_licence(elsewhere, POOR, Screen(), hold_here=False)
    assert f"python cli.py judge exam --run {run.folder} --set judge.base_url=http://127.0.0.1:1/v1" in str(error.value)
    assert run.store.query("SELECT * FROM decisions") == []


def test_a_judge_that_fails_is_refused_with_its_reasons(run: Run) -> None:
    with pytest.raises(RlaifError, match=r"was refused a licence \(wrong_question: pair accuracy 0.000 < 0.95"):
        ensure_licence(run, POOR, Screen(), hold_here=True)
    assert check_licence(run, POOR.identity.judge_id) is False
    assert run.store.query("SELECT DISTINCT outcome FROM exam_items WHERE item_type = 'negated'") == [
        {"outcome": "tie"}
    ]


def test_a_licence_of_an_exam_with_fewer_types_stands_with_a_warning(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_licence(run, REFERENCE, Screen(), hold_here=True)
    capsys.readouterr()
    ensure_licence(run, REFERENCE, Screen(), hold_here=True)
    assert "warning" not in capsys.readouterr().err
    run.store.execute([("DELETE FROM exam_items WHERE item_type IN ('framed_denial', 'keyword_soup')", [])])
    ensure_licence(run, REFERENCE, Screen(), hold_here=True)
    said = " ".join(capsys.readouterr().err.split())
    assert "licence from an exam without framed_denial, keyword_soup; it stands" in said
    assert f"judge exam --run {run.folder}" in said


def test_the_override_is_recorded_once_for_each_judge(run: Run) -> None:
    for _ in range(2):
        ensure_licence(unlicensed(run), POOR, Screen(), hold_here=True)
    found = run.store.query("SELECT kind, action, evidence FROM decisions")
    assert [(d["kind"], d["action"]) for d in found] == [("licence", "OVERRIDE")]
    assert json.loads(found[0]["evidence"])["judge_id"] == POOR.identity.judge_id
    assert check_licence(run, POOR.identity.judge_id) is None


def exam(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["judge", "exam", "--set", "judge.model=reference", *options])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_the_command_licenses_before_any_loop_and_loop_finds_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out = exam("--run", str(folder))
    assert code == 0 and "LICENSED: reference" in out and "negated" in out
    from rlaif.run import open_run

    assert check_licence(open_run(folder), REFERENCE.identity.judge_id) is True


def test_the_support_judge_passes_the_exam_that_licenses(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out = exam("--run", str(folder), "--set", "judge.model=support")
    assert code == 0 and "LICENSED: support" in out
    from rlaif.run import open_run

    assert check_licence(open_run(folder), SupportJudge().identity.judge_id) is True


def test_a_small_exam_is_shown_as_json_and_neither_licenses_nor_replaces(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    code, out = exam("--run", folder, "--limit", "3", "--format", "json")
    shown = json.loads(out)
    assert code == 1 and shown["licensed"] is False and "3 items; 10 are needed" in shown["exams"][0]["reasons"][0]
    assert exam("--run", folder, "--limit", "20")[0] == 0
    assert exam("--run", folder, "--limit", "3")[0] == 1
    from rlaif.run import open_run

    assert check_licence(open_run(Path(folder)), REFERENCE.identity.judge_id) is True


def test_people_and_medquad_are_exams_of_their_own(tmp_path: Path) -> None:
    said = (
        ("{} does help against pain and fever in most adults", 4),
        ("it helps against pain and fever", 4),
        ("bananas are yellow", 1),
    )
    rows = [{"question": f"Does {n} help?", "answer": a.format(n), "score": s} for n in "abcdefghijkl" for a, s in said]
    path = tmp_path / "human.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    code, out = exam("--run", str(tmp_path / "run"), "--human", str(path), "--format", "json")
    shown = json.loads(out)
    assert code == 0 and shown["licensed"] is None
    assert [(e["exam"], e["pair_accuracy"], e["passed"]) for e in shown["exams"]] == [("human", 1.0, True)]
    assert shown["exams"][0]["kappa"] > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--human", "nowhere.csv"), "no such file"),
        (("--limit", "-1"), "--limit -1"),
        (("--set", "judge.model=refrence"), "refrence"),
        (("--set", "judge.mode=x"), "unknown key"),
    ],
)
def test_wrong_input_leaves_no_run_behind(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        exam("--run", str(tmp_path / "run"), *options)
    assert not (tmp_path / "run").exists()
