from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from judges.support import SupportJudge
from rlaif.config import Config, DataConfig, JudgeConfig, flat
from rlaif.config_data import DataSet
from rlaif.config_file import load_config
from rlaif.exam.command import _keep
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.grade import ExamResult
from rlaif.exam.hold import Held
from rlaif.exam.items import Exam
from rlaif.exam.licence import check_licence, command, ensure_licence, licence_of, said_nothing_of
from rlaif.exam.sources import WORTH, licensing_exam, names
from rlaif.judging.configured import judge_rows
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import JudgeIdentity, RlaifError, UsageError
from stores import migrations

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
    assert licence["limits"] == [] and licence["exam_sha256"] == embedded_exam().sha256
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
    assert f"rlaif judge exam --run {run.folder} --set judge.base_url=http://127.0.0.1:1/v1" in str(error.value)
    assert run.store.query("SELECT * FROM decisions") == []


def test_the_command_that_examines_names_what_differs_from_the_run_alone(run: Run) -> None:
    older = {key: value for key, value in flat(run.config).items() if key != "judge.urls"}
    run.store.execute([("UPDATE runs SET config = ?", [json.dumps(older)])])
    assert "--set" not in command(run), "an older run has no such key"
    urls = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
    served = dataclasses.replace(run, config=Config(judge=JudgeConfig(urls=urls)))
    option = shlex.split(command(served))[-1]
    assert load_config("embedded", ["judge.model=m", option]).judge.urls == urls


def test_a_judge_that_fails_is_refused_with_its_reasons(run: Run) -> None:
    with pytest.raises(RlaifError, match=r"was refused a licence \(swapped_focus: pair accuracy 0.000, bound"):
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


def test_the_support_judge_may_label_but_does_not_see_the_order_of_words(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out = exam("--run", str(folder), "--set", "judge.model=support")
    assert code == 0 and "RESTRICTED: support" in out and "blind to the order of words" in out
    from rlaif.run import open_run

    assert check_licence(open_run(folder), SupportJudge().identity.judge_id) is True


def test_a_small_exam_is_shown_as_json_and_neither_licenses_nor_replaces(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    code, out = exam("--run", folder, "--limit", "3", "--format", "json")
    shown = json.loads(out)
    assert code == 1 and shown["licensed"] is False and "3 items; 10 are needed" in shown["exams"][0]["reasons"][0]
    assert exam("--run", folder)[0] == 0
    assert exam("--run", folder, "--limit", "3")[0] == 1
    from rlaif.run import open_run

    assert check_licence(open_run(Path(folder)), REFERENCE.identity.judge_id) is True


def test_people_and_medquad_are_exams_of_their_own(tmp_path: Path) -> None:
    said = (
        ("{} does help against pain and fever in most adults", 4),
        ("it helps against pain and fever", 4),
    )
    wrong = ("it does not help against pain and fever in most adults", "bananas")  # neither length nor words tell
    rows = [
        {"question": f"Does {n} help?", "answer": a.format(n), "score": s}
        for k, n in enumerate("abcdefghijkl")
        for a, s in (*said, (wrong[k % 2], 1))
    ]
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


class Prompted(ScriptedJudge):
    """The same model with another prompt: the first of `failed`, which is no candidate."""

    @property
    def identity(self) -> JudgeIdentity:
        return JudgeIdentity("scripted", "", "prompt", str(next(iter(self.failed))), {})


def decisions(run: Run) -> list[tuple[str, str]]:
    found = run.store.query("SELECT action, reason FROM decisions WHERE kind = 'licence' ORDER BY seq")
    return [(d["action"], d["reason"]) for d in found]


def test_a_restricted_licence_says_what_its_marks_say_nothing_of(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        ensure_licence(run, SupportJudge(), Screen(), hold_here=True)
    assert check_licence(run, SupportJudge().identity.judge_id) is True
    words = "support labels with a restricted licence: its marks say nothing of the order of words"
    assert decisions(run) == [("RESTRICTED", words)]
    assert words in " ".join(capsys.readouterr().err.split())


def test_sittings_of_a_family_are_counted_and_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for prompt in "abc":
        judge = Prompted(lambda item: 0.5, failed=(prompt,))
        with pytest.raises(RlaifError, match="refused"):
            ensure_licence(run, judge, Screen(), hold_here=True)
    assert run.store.query("SELECT count(*) AS n, count(DISTINCT judge_id) AS judges FROM exam_sittings") == [
        {"n": 3, "judges": 3}
    ]
    said = " ".join(capsys.readouterr().err.split())
    assert "sitting 3 of scripted in the embedded exam of this run, 0 passed; 3 judges of this family" in said


def pages(path: Path, twice: int) -> Config:
    """A run on a reader's own rows; `twice` of the questions stand in the training split with two answers each."""
    rows = []
    for k in range(200):
        name = f"condition{k}"
        texts = [
            f"People with {name} often feel a sharp pain number {k} and need {k + 2} days of rest. Rest relieves it.",
            f"It brings a sharp pain number {k} in most. Rest of {k + 2} days may reduce the trouble of {name} a lot.",
        ]
        rows += [{"topic": name, "question": f"What is {name}?", "answer": t} for t in texts[: 1 + (k < twice)]]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    spec = DataSet(format="jsonl", path=str(path), name="own", focus="topic", fractions=(1.0, 0.0, 0.0))
    return Config(data=DataConfig(pubmedqa="", medquad="", sets=(spec,)))


def test_the_exam_is_made_of_what_the_run_labels(tmp_path: Path) -> None:
    assert names(Config()) == ("embedded",)
    assert names(Config(data=DataConfig(medquad="pages.jsonl"))) == ("medquad", "embedded")
    many = licensing_exam(pages(tmp_path / "many.jsonl", 90))
    assert many.name == "own" and many.about["questions"] == 90 and len(str(many.about["data_sha256"])) == 64
    assert {i.item_type for i in many.items} >= {"swapped_focus", "negated", "word_order"}
    assert {i.good.question for i in many.items} <= {f"What is condition{k}?" for k in range(90)}
    assert licensing_exam(pages(tmp_path / "few.jsonl", 20)).name == "embedded"


def test_own_data_with_too_few_documents_are_told_what_the_licence_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_or_create(tmp_path / "run", pages(tmp_path / "few.jsonl", 20))
    for _ in range(2):
        ensure_licence(run, REFERENCE, Screen(), hold_here=True)
    licence = licence_of(run, REFERENCE.identity.judge_id)
    assert licence is not None and licence.passed and licence.exam == "embedded"
    assert decisions(run) == [("OTHER_DATA", f"reference labels {WORTH}")]
    assert "proves nothing about your data" in " ".join(capsys.readouterr().err.split())


def test_a_file_in_medquads_columns_without_second_sources_has_the_embedded_exam(tmp_path: Path) -> None:
    rows = [
        {"question": f"What helps against ailment {n}?", "answer": f"Herb {n} helps it within {n + 2} days, they say.",
         "focus": f"ailment {n}", "qtype": "treatment", "source": "me"}
        for n in range(80)
    ]  # fmt: skip
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    config = Config(data=DataConfig(medquad=str(tmp_path / "mine.jsonl")))
    assert licensing_exam(config, limit=2).name == "embedded"


def test_a_licence_of_other_data_is_none(tmp_path: Path) -> None:
    """MedQuAD asks for MedQuAD's exam, made of the file that the run was prepared from."""
    run = open_or_create(tmp_path / "run", Config(data=DataConfig(medquad="pages.jsonl")))
    judge_id = REFERENCE.identity.judge_id
    bounds = json.dumps({"baselines": []})
    row = {"judge_id": judge_id, "passed": True, "n": 9, "bounds": bounds}
    assert check_licence(run, judge_id) is None
    with pytest.raises(UsageError, match="has sat no exam"):
        ensure_licence(run, REFERENCE, Screen(), hold_here=False)
    run.store.write({"licences": [row | {"exam": "medquad", "data_sha256": "a" * 64}]})
    assert check_licence(run, judge_id) is True
    with run.stage(0, "prepare") as stage:
        stage.detail = {"medquad": {"source": "pages.jsonl", "data_sha256": "b" * 64}}
    assert check_licence(run, judge_id) is None


def test_an_exam_of_other_data_gives_a_run_no_licence(tmp_path: Path) -> None:
    """The embedded exam stands in for data of which none can be made. Nobody gets round the data's own exam with it."""
    folder = tmp_path / "run"
    run = open_or_create(folder, pages(tmp_path / "many.jsonl", 90))
    with pytest.raises(UsageError, match="takes its licence from the own exam, and these settings are of the embedded"):
        exam("--run", str(folder), "--profile", "embedded")
    assert licence_of(run, REFERENCE.identity.judge_id) is None


def test_the_record_of_other_data_gives_way_and_that_of_more_pairs_stays(tmp_path: Path) -> None:
    run = open_or_create(tmp_path / "run", Config(data=DataConfig(medquad="pages.jsonl")))
    with run.stage(0, "prepare") as stage:
        stage.detail = {"medquad": {"source": "pages.jsonl", "data_sha256": "b" * 64}}

    def sit(data: str, n: int, *refusals: str) -> bool | None:
        made = Exam("medquad", (), about={"data_sha256": data * 64})
        _keep(run, Held(made, (), ExamResult("medquad", (), n, 0.9, 0.9, None, (), refusals, ())), REFERENCE, Screen())
        return check_licence(run, REFERENCE.identity.judge_id)

    assert sit("a", 900) is None
    assert sit("b", 400) is True, "fewer pairs, but of the run's data"
    assert sit("b", 40, "too few") is True


def test_a_run_of_an_older_version_keeps_the_licence_that_it_labelled_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of the version before: its licences have neither data nor limits, and the sittings are filled in."""
    known = migrations.available()
    config = Config(data=DataConfig(medquad="pages.jsonl"))
    monkeypatch.setattr(migrations, "available", lambda: [m for m in known if m.name < "0014"])
    folder, judge_id = tmp_path / "run", REFERENCE.identity.judge_id
    old = open_or_create(folder, config)
    old.store.write({"licences": [{"exam": "embedded", "judge_id": judge_id, "passed": True, "n": 480}]})
    old.store.write(judge_rows(REFERENCE))
    monkeypatch.setattr(migrations, "available", lambda: known)
    run = open_or_create(folder, config)
    (row,) = run.store.query("SELECT * FROM licences")
    assert (row["n"], row["data_sha256"], row["limits"]) == (480, "", [])
    (sat,) = run.store.query("SELECT * FROM exam_sittings")
    assert (sat["judge_id"], sat["family"], sat["number"], sat["passed"]) == (judge_id, "reference", 1, True)
    ensure_licence(run, REFERENCE, Screen(), hold_here=True)
    said = " ".join(capsys.readouterr().err.split())
    assert "is of the embedded exam, not of this run's data; it stands" in said
    assert run.store.query("SELECT * FROM stages WHERE stage LIKE 'exam%'") == []


def test_each_blind_spot_is_named_once_and_a_low_pooled_accuracy_in_its_own_words() -> None:
    limits = ("a: 0.1 < 0.2; blind to a wrong number", "b: 0.1 < 0.2; blind to a wrong number", "pooled: 0.7")
    assert said_nothing_of(limits) == "its marks say nothing of a wrong number; pooled: 0.7"
    assert said_nothing_of(limits[2:]) == "pooled: 0.7"
    assert said_nothing_of(limits[:1]) == "its marks say nothing of a wrong number"
