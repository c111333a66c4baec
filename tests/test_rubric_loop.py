"""Questions with rubrics, in each of the schemas, through the commands: a chat model on loopback labels by rubric, and
a local judge by rubrics is refused where it says neither yes nor no.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlaif.testing.rubric_files import write_healthbench, write_lists, write_meta, write_rar
from rubric_server import served
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[1]
RUBRIC = "prompts/judge/rubric.md"
SETS = """
[[data.sets]]
format = "rar-medicine"
path = "{folder}/rar.jsonl"
name = "own_text"
fractions = [0.6, 0.4, 0.0]

[[data.sets]]
format = "healthbench"
path = "{folder}/hb.jsonl"
name = "hb"

[[data.sets]]
format = "rubrics"
path = "{folder}/lists.jsonl"
name = "lists"
"""


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python cli.py ARGUMENTS`."""
    done = subprocess.run(
        [sys.executable, "cli.py", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rubrics")
    write_rar(folder / "rar.jsonl")
    write_healthbench(folder / "hb.jsonl")
    write_lists(folder / "lists.jsonl")
    write_meta(folder / "meta.jsonl")
    text = (ROOT / "tests" / "tiny.toml").read_text().replace("[data]", '[data]\nmedquad = ""')
    (folder / "rubrics.toml").write_text(text + SETS.format(folder=folder))
    return folder / "rubrics.toml"


@pytest.fixture(scope="module")
def asked(server: str) -> list[str]:
    keys = {
        "judge.model": "stub", "judge.base_url": server, "judge.prompt": RUBRIC, "judge.require_licence": "false",
        "sampling.questions": 66, "sampling.k": 2,
    }  # fmt: skip
    return [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def run(profile: Path, asked: list[str]) -> Path:
    folder = profile.parent / "run"
    code, out, err = call("loop", "--rounds", 1, "--run", folder, "--profile", profile, *asked)
    assert code == 0, err
    return folder


def test_the_loop_labels_by_rubric(run: Path) -> None:
    store = Store.open(run)
    rubrics = {r["source"]: r["n"] for r in store.query("SELECT source, count(*) AS n FROM rubrics GROUP BY 1")}
    assert rubrics == {"rar-medicine": 90, "healthbench": 90, "rubrics": 60}
    rows = store.query(
        "SELECT v.status, v.score, v.judged_weight, count(c.place) AS n, count(c.value) AS judged, "
        "any_value(q.dataset) AS dataset FROM verdicts v JOIN candidates USING (candidate_id) "
        "JOIN questions q USING (question_id) JOIN "
        "criterion_verdicts c USING (candidate_id, judge_id, replicate) "
        "GROUP BY v.candidate_id, v.status, v.score, v.judged_weight"
    )
    assert {r["dataset"] for r in rows} == {"own_text", "hb", "lists"}
    assert all(r["status"] == "scored" and r["judged_weight"] == 1.0 for r in rows)
    assert store.query("SELECT count(*) AS n FROM candidates")[0]["n"] == 132
    (verdict,) = store.query(
        "SELECT v.score, greatest(0, sum(c.weight * c.value) / sum(greatest(c.weight, 0))) AS again FROM verdicts v "
        "JOIN criterion_verdicts c USING (candidate_id, judge_id, replicate) GROUP BY v.candidate_id, v.score "
        "ORDER BY v.score DESC, v.candidate_id LIMIT 1"
    )
    assert verdict["score"] == pytest.approx(verdict["again"], abs=1e-6)
    prompts = store.query("SELECT name FROM prompts WHERE kind = 'judge'")
    assert prompts == [{"name": "rubric"}]


def test_sql_says_which_criterion_the_champion_fails_most(run: Path) -> None:
    page = (ROOT / "docs" / "rubrics.md").read_text()
    statement = re.search(r'cli\.py sql "(SELECT criterion.*?)"', page, re.DOTALL)
    assert statement
    code, out, err = call("sql", statement[1], "--run", run, "--format", "json")
    assert code == 0, err
    rows = json.loads(out)
    assert rows and {"criterion", "answers", "round", "failed"} <= set(rows[0])
    assert [r["failed"] for r in rows] == sorted((r["failed"] for r in rows), reverse=True)


def test_the_report_shows_criteria_by_round(run: Path) -> None:
    code, _, err = call("report", "--run", run)
    assert code == 0, err
    text = (run / "report.html").read_text()
    for part in ("Criteria met", "Essential", "Pitfall (fault)", "communication quality (fault)"):
        assert part in text, part


@pytest.mark.parametrize(("benchmark", "data"), [("own_text", ""), ("healthbench", "hb.jsonl")])
def test_evaluate_names_its_grader(run: Path, benchmark: str, data: str) -> None:
    file = ["--data", run.parent / data] if data else []
    code, out, err = call(
        "evaluate", "--benchmark", benchmark, *file, "--policy", "base", "--run", run, "--quality", "--format", "json"
    )
    assert code == 0, err
    found = json.loads(out)
    rubric = found["rubric"]
    assert rubric["judge"]["prompt"] == "rubric" and rubric["judge"]["model"] == "openai:stub"
    whole = rubric["figures"][0]
    assert whole["kind"] == "score" and whole["n"] == found["n"] and 0 <= whole["mean"] <= 1
    if benchmark == "healthbench":
        assert {f["name"] for f in rubric["figures"] if f["kind"] == "theme"} == {"emergency_referrals", "hedging"}
    code, out, err = call(
        "evaluate", "--benchmark", benchmark, *file, "--policy", "base", "--run", run, "--quality", "--limit", 6
    )
    assert code == 0 and "rubrics graded by openai:stub" in " ".join(out.split()), err


def test_the_judge_sits_its_exams(run: Path) -> None:
    code, out, err = call(
        "judge", "exam", "--healthbench-meta", run.parent / "meta.jsonl", "--run", run, "--format", "json"
    )
    assert code in (0, 1), err
    (exam,) = json.loads(out)["exams"]
    assert exam["whole"]["n"] == 60 and exam["unscored"] == 0
    code, out, err = call("evaluate", "--benchmark", "own_text", "--policy", "base", "--run", run, "--quality")
    assert code == 0 and "balanced accuracy against 60 labels of physicians" in " ".join(out.split()), err


def test_a_local_model_that_says_neither_yes_nor_no_labels_nothing(run: Path) -> None:
    code, out, err = call(
        "judge", "exam", "--rubric", "--limit", 4, "--run", run.parent / "local",
        "--set", "judge.model=local:embedded", "--set", f"judge.prompt={RUBRIC}",
    )  # fmt: skip
    assert code == 1 and "not one of 20 criteria got yes or no" in err
