"""The default's division of labour: the tiny judge that ships labels, `reference` marks for the gate. One short run
with both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlaif.prompts import EMBEDDED_JUDGE_PROMPT, load_judge_prompt
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[1]
BOTH = ("--set", "judge.model=local:embedded", "--set", "evaluation.judge=reference")


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("own") / "run"
    command = [sys.executable, str(ROOT / "cli.py"), "loop", "--rounds", "1", "--run", str(folder)]
    command += ["--profile", str(ROOT / "tests" / "tiny.toml"), *BOTH]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Store.open(folder).query


def test_the_model_labels_after_its_exam_and_its_words_are_kept(query: Any) -> None:
    (judge,) = query("SELECT DISTINCT j.* FROM judges j JOIN verdicts USING (judge_id)")
    prompt = load_judge_prompt(EMBEDDED_JUDGE_PROMPT)
    assert (judge["model"], judge["prompt_sha256"]) == ("local:embedded", prompt.sha256)
    assert query("SELECT text FROM prompts WHERE prompt_sha256 = ?", [prompt.sha256])[0]["text"] == prompt.text
    (licence,) = query("SELECT * FROM licences WHERE judge_id = ?", [judge["judge_id"]])
    assert licence["passed"] and licence["pair_accuracy"] >= 0.90
    rules = json.loads(licence["bounds"])["rules"]
    assert all(rule["passed"] for rule in rules if rule["core"])
    limits = {limit.partition(":")[0] for limit in licence["limits"]}
    assert limits <= {"antonym", "negator_balanced", "number_elsewhere", "half_dropped"}
    states = query("SELECT status, count(*) AS n, count(score) AS scored FROM verdicts GROUP BY 1")
    assert [(s["status"], s["n"]) for s in states] == [("scored", s["scored"]) for s in states]
    assert query("SELECT count(*) AS n FROM candidates")[0]["n"] == sum(s["n"] for s in states)


def test_the_gate_reads_the_marks_of_the_other(query: Any) -> None:
    marks = query("SELECT DISTINCT j.model FROM eval_items e JOIN judges j USING (judge_id) WHERE e.metric = 'quality'")
    assert [m["model"] for m in marks] == ["reference"]
    compared = query("SELECT DISTINCT metric FROM gates WHERE condition IN ('better', 'not_read') ORDER BY 1")
    assert {row["metric"] for row in compared} >= {"accuracy", "quality"}, "accuracy may be one that does not count"
