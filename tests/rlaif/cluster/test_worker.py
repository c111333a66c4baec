"""What workers compute is what this process computes: benchmarks and a local judge, with the embedded models."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from workers_here import Here

from judges import make_judge
from rlaif.cluster.judge import judge_wanted
from rlaif.cluster.pool import Pool
from rlaif.cluster.worker import Worker, wanted
from rlaif.evals.evaluate import evaluate_policy
from rlaif.judging.stage import JUDGE_CHUNK, judge_round
from rlaif.models.base import Base, load_base
from rlaif.prompts import load_prompt
from rlaif.records import load_candidates, load_questions
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import RlaifError, Verdict

pytestmark = pytest.mark.slow  # reads with the embedded models

PROMPT = load_prompt("prompts/policy/answer.md")
SFT = "5f70000000000000"
EMBEDDED = "local:embedded"


@pytest.fixture(scope="module")
def base(trained_run: Run) -> Base:
    return load_base(trained_run.config.model)


def copied(trained_run: Run, folder: Path) -> Run:
    run = open_run(Path(shutil.copytree(trained_run.folder, folder)))
    settings = run.config.evaluation.model_copy(update={"batch_size": 8, "max_new_tokens": 8})
    judge = run.config.judge.model_copy(update={"model": EMBEDDED})
    config = run.config.model_copy(update={"evaluation": settings, "judge": judge})
    return dataclasses.replace(run, config=config)


def screen() -> Screen:
    return Screen(Console(file=io.StringIO()))


def evaluated(run: Run, base: Base, workers: Pool | None) -> list[dict[str, Any]]:
    evaluate_policy(run, base, SFT, 7, PROMPT, screen(), workers)
    rows = run.store.query("SELECT * FROM eval_items WHERE policy_id = ? ORDER BY ALL", [SFT])
    assert rows
    return rows


def test_benchmarks_by_workers_have_the_rows_of_one_process(trained_run: Run, base: Base, tmp_path: Path) -> None:
    here = evaluated(copied(trained_run, tmp_path / "here"), base, None)
    workers = Here(wanted(base, trained_run.config.model))
    there = evaluated(copied(trained_run, tmp_path / "there"), base, Pool(workers, print))
    assert there == here
    assert workers.asked.count("answers") > 2 and "choices" in workers.asked


def marks(run: Run, workers: Pool | None) -> list[Verdict]:
    questions = load_questions(run, "split = 'train'", [])
    given = judge_round(run, make_judge(EMBEDDED), 1, questions, load_candidates(run, 1), screen(), workers)
    return [dataclasses.replace(verdict, seconds=0.0) for verdict in given]


def test_a_local_judge_by_workers_gives_the_same_verdicts(
    trained_run: Run, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert JUDGE_CHUNK > 4
    monkeypatch.setattr("rlaif.judging.stage.JUDGE_CHUNK", 4)
    here = marks(copied(trained_run, tmp_path / "here"), None)
    workers = Here(wanted(base, trained_run.config.model))
    there = marks(copied(trained_run, tmp_path / "there"), Pool(workers, print))
    assert there == here and len(here) == 10 and {v.status for v in here} == {"scored"}
    assert workers.asked == ["verdicts"] * 3


def test_only_a_judge_on_this_machine_goes_to_workers() -> None:
    assert judge_wanted("reference", make_judge("reference")) is None
    held = judge_wanted(EMBEDDED, make_judge(EMBEDDED))
    assert held and held.path == "embedded"
    other = dataclasses.replace(held, identity=dataclasses.replace(held.identity, weights_sha256="0" * 64))
    with pytest.raises(RlaifError, match="has another judge at embedded") as caught:
        Worker().verdicts(other, [])
    assert "\n" not in str(caught.value)
