"""A run that an earlier version began goes on: what that one scored is scored again from the stored answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rlaif.config_file import load_config
from rlaif.evals import pubmedqa
from rlaif.evals.carried import carried, carry
from rlaif.evals.evaluate import data_hash
from rlaif.evals.medquad import earlier_hashes, protocol_hash
from rlaif.evals.stored import results, stored
from rlaif.prompts import load_prompt
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.text_metrics import token_f1
from rlaif.types import EvalItem, Question

PROMPT = load_prompt("prompts/policy/answer.md")
ASKED = [
    Question(f"q{i}", "medquad_style", "gate", f"s{i}", f"g{i}", "Does it spread?", reference="It does not spread.")
    for i in range(3)
]
LABELLED = Question("l", "pubmedqa_style", "gate", "s", "g", "Is it so?", label="yes")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Policies "a" and "b" as the version before stored them: token F1, ROUGE-L and a judge's marks."""
    run = open_or_create(tmp_path / "run", load_config("embedded", ["evaluation.judge="]))
    settings = run.config.evaluation
    rows = []
    for policy in "ab":
        same = {"protocol_hash": earlier_hashes(PROMPT, settings)[-1], "data_sha256": data_hash(ASKED)}
        for q in ASKED:
            answer = EvalItem.of(q, "token_f1", "It does spread.", 1.0, policy_id=policy, **same)
            rows += [answer, replace(answer, metric="rouge_l"), replace(answer, metric="quality", judge_id="j")]
        same = {"protocol_hash": pubmedqa.protocol_hash(PROMPT, settings), "data_sha256": data_hash([LABELLED])}
        rows.append(EvalItem.of(LABELLED, "accuracy", "yes", 1.0, policy_id=policy, **same))
    run.store.write({"questions": [*ASKED, LABELLED], "eval_items": rows})
    return run


def count(run: Run) -> int:
    return int(run.store.query("SELECT count(*) AS n FROM eval_items")[0]["n"])


def test_earlier_results_are_read_as_today_and_nothing_is_written(run: Run) -> None:
    before = count(run)
    rows = stored(run, "a", "medquad", "token_f1", ASKED, PROMPT)
    expected = token_f1("It does spread.", "It does not spread.")
    assert [(r.item_id, r.value) for r in rows] == [(q.question_id, expected) for q in ASKED] and expected < 1
    assert {r.protocol_hash for r in rows} == {protocol_hash(PROMPT, run.config.evaluation)}
    seen = results(run, "b", PROMPT)
    assert seen.consistency is not None and seen.consistency.values == (0.0, 0.0, 0.0) and count(run) == before


def test_they_are_stored_once_and_one_line_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = count(run)
    read = results(run, "a", PROMPT, "j")
    carry(run, PROMPT, Screen())
    assert "6 stored answers of 2 policies" in capsys.readouterr().err
    assert count(run) == before + 2 * 3 * 4, "token F1, ROUGE-L, consistency and the mark of each; the old rows stay"
    assert results(run, "a", PROMPT, "j") == read and read.score.values == (1.0, 1.0, 1.0), "a mark keeps its value"
    carry(run, PROMPT, Screen())
    assert capsys.readouterr().err == "" and count(run) == before + 24


def test_what_today_has_measured_stays(run: Run) -> None:
    answers = stored(run, "a", "medquad", "token_f1", ASKED, PROMPT)
    today = [replace(row, prediction="It may spread.", value=0.5) for row in answers]
    run.store.write({"eval_items": today})
    assert {row.policy_id for row in carried(run, PROMPT)} == {"b"}
    carry(run, PROMPT, Screen())
    assert stored(run, "a", "medquad", "token_f1", ASKED, PROMPT) == today


def test_answers_to_other_items_are_no_results(run: Run) -> None:
    assert stored(run, "a", "medquad", "token_f1", ASKED[:2], PROMPT) == []
    assert stored(run, "c", "medquad", "token_f1", ASKED, PROMPT) == []
