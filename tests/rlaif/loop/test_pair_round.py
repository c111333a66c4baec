"""The stage `pairs` on a real database, and what DPO then trains on."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from judges.llm import LangChainJudge
from judges.scripted import ScriptedJudge
from judges.settings import JudgeSettings
from rlaif.config import Config
from rlaif.judging.cut import as_judged
from rlaif.judging.stage import judge_round
from rlaif.loop.monitor_round import _pair_counts
from rlaif.loop.rounds import Loop, pair_round
from rlaif.records import load_candidates, load_questions
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.train.material import dpo_pairs
from rlaif.types import Judge
from stores.cache import AnswerCache

SCORES = {"a": 0.62, "b": 0.60, "c": 0.65, "d": 0.61, "e": 0.70, "f": 0.70}  # margins .02, .04 and a tie


@pytest.fixture
def unpaired(judged_run: Run) -> Run:
    judged_run.store.execute([("DELETE FROM preferences", [])])
    judged_run.store.write({"policies": [{"policy_id": "p", "kind": "sft", "round": 0}]})
    return judged_run


def paired(run: Run, judge: Judge | None = None, **settings: Any) -> tuple[Run, dict[str, Any]]:
    """The run with its round 1 paired by these settings, and what the stage says."""
    run = replace(run, config=Config.model_validate({"pairs": {"max_rouge_l": 1.0} | settings}))
    judge = judge or ScriptedJudge(SCORES, name="flat")
    loop: Any = Loop(run, Screen(Console(quiet=True)), None, judge, None)  # type: ignore[arg-type]  # no base is needed
    questions = load_questions(run, "true", [])
    candidates = as_judged(load_candidates(run, 1), run.config.pairs)
    verdicts = judge_round(run, judge, 1, questions, candidates, loop.screen)
    kept = pair_round(loop, 1, "p", questions, candidates, verdicts)
    detail = run.done(1, "pairs")
    assert detail is not None and detail["kept"] == kept
    return run, detail


def test_the_stage_says_which_bars_held_and_where_the_noise_comes_from(unpaired: Run) -> None:
    _, detail = paired(unpaired)
    assert (detail["kept"], detail["questions"], detail["questions_kept"]) == (0, 3, 0)
    assert detail["dropped"] == {"below_margin": 2, "tie": 1}
    assert (detail["sem"], detail["margin"], detail["best"], detail["quantile_margin"]) == (0.0, 0.1, 0.5, None)
    assert detail["sem_from"].startswith("deterministic")


def test_dpo_trains_on_narrow_pairs_that_the_rounds_own_margin_let_through(unpaired: Run) -> None:
    run, detail = paired(unpaired, margin_quantile=0.5)
    assert detail["quantile_margin"] == pytest.approx(0.02) == detail["margin"]
    rows = sorted(dpo_pairs(run, "p", 1, run.config), key=lambda row: row["chosen"])
    assert [r["chosen"][:8] + " over " + r["rejected"][:8] for r in rows] == [
        "answer a over answer b", "answer c over answer d",
    ]  # fmt: skip
    assert _pair_counts(run, 1) == (2, 3)


def test_several_pairs_of_a_question_count_as_one_question(unpaired: Run) -> None:
    extra = unpaired.store.query("SELECT * FROM candidates WHERE candidate_id = 'a'")[0]
    unpaired.store.write({
        "candidates": [extra | {"candidate_id": f"a{n}", "sample_index": n, "text": f"other {n}"} for n in (2, 3)]
    })  # fmt: skip
    judge = ScriptedJudge(SCORES | {"a": 0.9, "a2": 0.75, "a3": 0.3}, name="wide")
    run, detail = paired(unpaired, judge, per_question=3)
    assert (detail["kept"], detail["questions_kept"], detail["dropped"]) == (3, 1, {"below_margin": 1, "tie": 1})
    assert _pair_counts(run, 1) == (1, 3)
    (summary,) = run.store.query("SELECT pairs_kept, pairs_dropped, pair_yield FROM round_summary WHERE round = 1")
    assert (summary["pairs_kept"], summary["pairs_dropped"]) == (3, 2)
    assert summary["pair_yield"] == pytest.approx(1 / 3)
    assert len(dpo_pairs(run, "p", 1, run.config)) == 3


def test_dpo_trains_on_the_text_that_the_judge_saw(unpaired: Run) -> None:
    unpaired.store.execute([
        ("UPDATE candidates SET finish_reason = 'length', text = candidate_id || ' helps. And it' "
         "WHERE candidate_id IN ('c', 'f')", []),
    ])  # fmt: skip
    scores = {"a": 0.5, "b": 0.5, "c": 0.9, "d": 0.2, "e": 0.9, "f": 0.1}
    run, _ = paired(unpaired, ScriptedJudge(scores, name="cut"), truncated="cut", max_length_ratio=9)
    found = {row["chosen"][:8]: row["rejected"] for row in dpo_pairs(run, "p", 1, run.config)}
    assert found["c helps."].startswith("answer d") and found["answer e"] == "f helps."
    assert all(row["chosen"] != "c helps. And it" for row in dpo_pairs(run, "p", 1, run.config))


def test_a_noisy_judge_is_asked_again_and_holds_its_pairs_to_it(unpaired: Run, fake_chat_model: Any) -> None:
    asked: list[str] = []

    def reply(prompt: str) -> str:
        asked.append(prompt)
        marks = {"answer a [": 5, "answer b [": 4, "answer c [": 5, "answer d [": 1}
        mark = next((mark for words, mark in marks.items() if words in prompt), 3)
        mark -= len(asked) > 6 and mark > 1  # stricter when it is asked again
        return f'{{"rationale": "r", "factual_accuracy": {mark}, "completeness": {mark}, "key_point_coverage": {mark}}}'

    settings = JudgeSettings(concurrency=1, retries=0, backoff=0)
    judge = LangChainJudge("fake", settings, AnswerCache(unpaired.store), chat_model=fake_chat_model(reply))
    _, detail = paired(unpaired, judge, noise_sample=6)
    assert len(asked) == 12 and detail["sem"] > 0.1 and detail["sem_from"] == "measured, answers judged twice: 6"
    # a and b lie one mark apart, which is within the noise; c and d lie four marks apart
    assert detail["margin"] > 0.25 and detail["kept"] == 1 and detail["dropped"]["below_margin"] == 1


def test_a_noise_that_nobody_measured_is_no_number(unpaired: Run, fake_chat_model: Any) -> None:
    marks = '{"rationale": "r", "factual_accuracy": 4, "completeness": 4, "key_point_coverage": 4}'
    settings = JudgeSettings(concurrency=1, retries=0, backoff=0)
    judge = LangChainJudge("fake", settings, AnswerCache(unpaired.store), chat_model=fake_chat_model(lambda _: marks))
    _, detail = paired(unpaired, judge)
    assert detail["sem"] is None and detail["sem_from"].startswith("not measured") and detail["margin"] == 0.1


def test_what_the_answers_agree_on_is_on_record_where_it_counts(unpaired: Run) -> None:
    run, _ = paired(unpaired)
    assert run.store.query("SELECT * FROM consensus") == []
    run.store.execute([("DELETE FROM preferences", []), ("DELETE FROM stages WHERE stage = 'pairs'", [])])
    run, _ = paired(unpaired, consensus=0.5)
    scores = run.store.query(
        "SELECT p.chosen_score AS score, 0.5 * v.score + 0.5 * c.token_f1 AS made_of FROM preferences p "
        "JOIN verdicts v ON (v.candidate_id, v.judge_id) = (p.chosen_id, p.judge_id) "
        "JOIN consensus c ON c.candidate_id = p.chosen_id"
    )
    assert scores and all(row["score"] == pytest.approx(row["made_of"]) for row in scores)
