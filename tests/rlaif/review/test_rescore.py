import json
from dataclasses import replace

import pytest

from judges.chat_models import Endpoint
from judges.jury import Jury
from judges.llm import LangChainJudge
from judges.scripted import ScriptedJudge
from judges.settings import JudgeSettings
from rlaif.config import Config
from rlaif.review.rescore import configured, rescore, show
from rlaif.types import RlaifError, UsageError, Verdict

TURNED = ScriptedJudge({"a": 0.1, "b": 0.9, "c": 0.8, "d": 0.3, "e": 0.5, "f": 0.5}, name="turned")


def preferences(run):
    return run.store.query("SELECT * FROM preferences ORDER BY pair_id")


def test_new_verdicts_beside_the_old_and_the_pairs_that_would_result(run, screen):
    before = preferences(run)
    result = rescore(run, run.config, screen, judge=TURNED)
    assert (result["candidates"], result["judged_now"], result["unscored"]) == (6, 6, 0)
    assert (result["questions"], result["kept"], result["dropped"]) == (3, 2, {"tie": 1})
    assert result["recorded"] == {"pairs": 2, "flipped": 1, "tied": 0, "kept_again": 1}
    counts = run.store.query(
        "SELECT judge_id, count(*) AS n FROM verdicts GROUP BY judge_id ORDER BY judge_id = 'j1' DESC"
    )
    assert [row["n"] for row in counts] == [6, 6]
    assert preferences(run) == before
    assert "6 to be judged" in screen.text() and "no calls, no cost" in screen.text()
    json.dumps(result, allow_nan=False)
    show(result, screen)
    assert rescore(run, run.config, screen, judge=TURNED) == result | {"judged_now": 0}


@pytest.mark.parametrize("model", ["reference", "support"])
def test_a_judge_that_compares_words_from_the_configuration(run, screen, model):
    result = rescore(run, configured(run, [f"judge.model={model}"]), screen, limit=2)
    assert (result["model"], result["candidates"], result["questions"]) == (model, 4, 2)


def test_a_function_of_somebody_else_reads_no_prompt(run):
    run = replace(run, config=configured(run, ["judge.prompt=prompts/judge/strict.md", "judge.model=openai:x"]))
    config = configured(run, ["judge.model=my_judges:good"])
    assert (config.judge.model, config.judge.prompt) == ("my_judges:good", "")
    assert configured(run, ["judge.model=openai:y"]).judge.prompt == "prompts/judge/strict.md"


@pytest.mark.parametrize("model", ["reference", "local:embedded"])
def test_a_judge_that_is_not_served_needs_no_servers(run, model):
    run = replace(run, config=configured(run, ["judge.model=m", 'judge.urls=["http://a/v1", "http://b/v1"]']))
    assert configured(run, [f"judge.model={model}"]).judge.urls == ()
    assert len(configured(run, ["judge.model=other"]).judge.urls) == 2


def test_a_dry_run_judges_nothing(run, screen):
    assert rescore(run, run.config, screen, judge=TURNED, dry_run=True, round=1)["to_judge"] == 6
    assert len(run.store.query("SELECT * FROM verdicts")) == 6


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_leaves_this_machine_is_said_before_anything_is_asked(run, screen, fake_chat_model, dry_run):
    said_before = []

    def reply(prompt):
        said_before.append(screen.text())
        return '{"rationale": "r", "factual_accuracy": 4, "completeness": 4, "key_point_coverage": 4}'

    judge = LangChainJudge("fake", JudgeSettings(concurrency=1), chat_model=fake_chat_model(reply))
    judge.endpoint = Endpoint("api.example.org", False)
    rescore(run, run.config, screen, judge=judge, dry_run=dry_run)
    where = "leaves this machine    to api.example.org: questions, leaflets (context), reference answers"
    assert where in screen.text() and "to judge               at most 6 calls" in screen.text()
    assert len(said_before) == (0 if dry_run else 6) and all(where in text for text in said_before)


def test_a_jury_stores_its_members_and_drops_what_they_disagree_on(run, screen, monkeypatch):
    steady = ScriptedJudge({"a": 1.0, "b": 0.0, "c": 0.9, "d": 0.2, "e": 0.9, "f": 0.1}, name="steady")
    turned = ScriptedJudge({"a": 0.1, "b": 0.2, "c": 0.8, "d": 0.3, "e": 0.5, "f": 0.5}, name="turned")
    result = rescore(run, run.config, screen, judge=Jury((steady, turned)))
    assert (result["kept"], result["dropped"]) == (2, {"jury_disagreement": 1})
    assert len(run.store.query("SELECT DISTINCT judge_id FROM verdicts")) == 4  # j1, the jury, its two members


def test_too_many_failures_stop_and_are_asked_again(run, screen):
    broken = ScriptedJudge(TURNED.script, failed={"a"}, name="turned")
    with pytest.raises(RlaifError, match="1 of 6 verdicts have no score.*scripted failure"):
        rescore(run, run.config, screen, judge=broken)
    assert rescore(run, run.config, screen, judge=TURNED)["judged_now"] == 1


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["seed=3"], "only judge"),
        (["judge.modle=x"], "unknown key 'judge.modle'"),
        (["judge.failure_limit=2"], "failure_limit"),
        (["pairs.truncated=cut"], "cut and on whole answers do not mix"),
    ],
)
def test_other_keys_are_refused(run, overrides, why):
    with pytest.raises(UsageError, match=why):
        configured(run, overrides)


def test_a_round_without_candidates(run, screen):
    with pytest.raises(UsageError, match=r"no candidates of round 7; rounds with some: \[1\]"):
        rescore(run, run.config, screen, judge=TURNED, round=7)


def test_a_run_that_cuts_is_rescored_on_cut_answers(run, screen):
    run.store.execute([("UPDATE candidates SET text = 'Rest helps. And th', finish_reason = 'length'", [])])
    run = replace(run, config=Config.model_validate({"pairs": {"truncated": "cut"}}))
    seen = set()

    def score(item):
        seen.add(item.answer)
        return 0.5

    rescore(run, configured(run, ["pairs.min_margin=0.2"]), screen, judge=ScriptedJudge(score, name="seeing"))
    assert seen == {"Rest helps."}
    flags = run.store.query("SELECT DISTINCT flags FROM verdicts WHERE judge_id <> 'j1'")
    assert flags == [{"flags": ["cut"]}]
    with pytest.raises(UsageError, match="do not mix"):
        configured(run, ["pairs.truncated=retry"])


def test_the_pairs_are_held_to_the_noise_that_is_known(run, screen, fake_chat_model):
    replies = iter([5, 4, 5, 1, 3, 3])
    chat = fake_chat_model(
        lambda prompt: (
            f'{{"rationale": "r", "factual_accuracy": {(m := next(replies))}, "completeness": {m}, '
            f'"key_point_coverage": {m}}}'
        )
    )
    judge = LangChainJudge("fake", JudgeSettings(concurrency=1), chat_model=chat)
    first = rescore(run, run.config, screen, judge=judge)
    assert (first["kept"], first["dropped"]) == (2, {"tie": 1})
    run.store.write({"verdicts": [Verdict("f", judge.identity.judge_id, 1, "scored", 0.9)]})
    noisy = rescore(run, run.config, screen, judge=judge)
    assert (noisy["kept"], noisy["dropped"]["below_margin"]) == (1, 2)
