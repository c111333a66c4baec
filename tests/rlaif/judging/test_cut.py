"""Answers that end at the token limit, cut before they are judged."""

from dataclasses import replace

import pytest

from judges.scripted import ScriptedJudge
from rlaif.config import PairsConfig
from rlaif.judging.cut import as_judged, ended
from rlaif.judging.stage import judge_round
from rlaif.prompts import load_prompt
from rlaif.records import load_candidates, load_questions, load_verdicts
from rlaif.report.data import read
from rlaif.review import label
from rlaif.review.compare import compare
from rlaif.share.export_preferences import preference_rows
from rlaif.train.material import dpo_pairs
from rlaif.types import Verdict

ENDS = [
    ("Rest helps. Water too. And a lo", "Rest helps. Water too."),
    ("Does rest help? It does! Take 2", "Does rest help? It does!"),
    ("It was called \u201cmild.\u201d The patient", "It was called \u201cmild.\u201d"),
    ("It is rare (about 1 in 10.) Then", "It is rare (about 1 in 10.)"),
    ("First line.\nSecond li", "First line."),
    ("Avoid grapes. Infection by E. coli is", "Avoid grapes."),
    ("Avoid grapes. Ask Dr. Smith about", "Avoid grapes."),
    ("Rest. Take e.g. Ibuprofen at", "Rest."),
    ("Rest. The dose is 2.5 mg a", "Rest."),
    ("Rest. The dose is 2.", "Rest."),
    ("Rest. It is caused by E.", "Rest."),
    ("You may lack vitamin C. Eat fruit and", "You may lack vitamin C."),
    ("It rose by 5. Then it", "It rose by 5."),
    ("Do this:\n1. Rest\n2. Drink wat", None),
    ("Do this. \n1. Rest\n2. Drink wat", "Do this."),
    ("It ends in time.", "It ends in time."),
    ("It ends in time. \n", "It ends in time."),
    ("Wait ... and see. Th", "Wait ... and see."),
    ("no sentence at all", None),
    ("", None),
    ("...", None),
]


@pytest.mark.parametrize(("text", "found"), ENDS)
def test_an_answer_is_cut_at_its_last_full_sentence(text, found):
    assert ended(text) == found


def test_only_what_ended_at_the_limit_is_cut_and_only_where_that_is_set(judged_run):
    first, second, third, *_ = load_candidates(judged_run, 1)
    candidates = [
        replace(first, text="Rest helps. And th", n_tokens=9, finish_reason="length"),
        replace(second, text="Rest helps. And th"),
        replace(third, text="no end", finish_reason="length"),
    ]
    assert as_judged(candidates, PairsConfig(truncated="retry")) == candidates
    cut, *rest = as_judged(candidates, PairsConfig(truncated="cut"))
    assert rest == candidates[1:]
    # 11 of 18 characters of 9 tokens, and the end token
    assert (cut.text, cut.n_tokens, cut.finish_reason) == ("Rest helps.", 7, "cut")
    assert cut.candidate_id == first.candidate_id


def test_the_judge_sees_the_cut_text_and_everybody_reads_it(judged_run, screen):
    judged_run.store.execute([
        ("UPDATE candidates SET text = 'Rest helps. And th', finish_reason = 'length' WHERE candidate_id IN ('a', 'c')",
         []),
    ])  # fmt: skip
    shown = {}

    def score(item):
        shown[item.candidate_id] = item.answer
        return 0.5

    judge = ScriptedJudge(score, name="seeing")
    candidates = as_judged(load_candidates(judged_run, 1), PairsConfig(truncated="cut"))
    verdicts = judge_round(judged_run, judge, 1, load_questions(judged_run, "true", []), candidates, screen)
    assert shown["a"] == shown["c"] == "Rest helps." and shown["b"].startswith("answer b")
    assert {v.candidate_id for v in verdicts if "cut" in v.flags} == {"a", "c"}
    assert load_verdicts(judged_run, 1, judge.identity.judge_id) == verdicts
    texts = judged_run.store.query("SELECT chosen FROM preference_pairs ORDER BY pair_id")
    assert [row["chosen"] for row in texts] == ["Rest helps."] * 2  # p1 prefers a, p2 prefers c
    sampled = judged_run.store.query("SELECT text FROM candidates WHERE candidate_id = 'a'")
    assert sampled == [{"text": "Rest helps. And th"}]


def test_nothing_is_kept_of_a_run_that_cuts_nothing(judged_run, screen):
    candidates = as_judged(load_candidates(judged_run, 1), judged_run.config.pairs)
    judge = ScriptedJudge(lambda item: 0.5, name="seeing")
    verdicts = judge_round(judged_run, judge, 1, load_questions(judged_run, "true", []), candidates, screen)
    assert not any(v.flags for v in verdicts)
    assert judged_run.store.query("SELECT * FROM cut_answers") == []


def labelled(run):
    return [text for row in label._pairs(run, "a person", None) for text in (row["text_one"], row["text_two"])]


def compared(run):
    run.store.write({
        "judges": [{"judge_id": "j2", "model": "two"}],
        "verdicts": [Verdict(c, "j2", 0, "scored", s) for c, s in {"a": 0.1, "b": 0.3}.items()],
    })  # fmt: skip
    return [row["answer"] for row in compare(run, "j1", "j2")["most_different"]]


def exported(run):
    return [row["chosen"][0]["content"] for row in preference_rows(run, load_prompt(run.config.prompts.policy))]


def reported(run):
    return [row["chosen"] for row in read(run.store)["pairs"]]


def trained(run):
    run.store.write({"policies": [{"policy_id": "p", "kind": "sft", "round": 0}]})
    return [row["chosen"] for row in dpo_pairs(run, "p", 1, run.config)]


@pytest.mark.parametrize("texts", [labelled, compared, exported, reported, trained])
def test_whoever_shows_or_learns_an_answer_takes_the_text_that_was_judged(judged_run, texts):
    judged_run.store.write({"cut_answers": [{"candidate_id": "a", "text": "Rest helps.", "n_tokens": 3}]})
    found = texts(judged_run)
    assert "Rest helps." in found and not any(text.startswith("answer a") for text in found)
    assert any(text.startswith("answer ") for text in found)  # those that nobody cut, as they were sampled


def test_lengths_in_the_report_are_those_of_what_was_judged(judged_run):
    before = read(judged_run.store)["chosen_longer"][0]["share"]
    judged_run.store.write({"cut_answers": [{"candidate_id": "b", "text": "Rest.", "n_tokens": 2}]})
    assert before == 0.0 and read(judged_run.store)["chosen_longer"][0]["share"] == 0.5
