"""What is said before a judge is asked, and what of it is recorded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from judges import make_judge
from judges.chat_models import Endpoint
from judges.jury import Jury
from judges.llm import LangChainJudge
from judges.plugin import PluginJudge
from judges.reference import ReferenceJudge
from judges.rubric.chat import RubricChatJudge
from judges.scripted import ScriptedJudge
from judges.settings import Forecast, JudgeSettings
from rlaif.config_file import load_config
from rlaif.judging.announce import announce, describe, leaving, mean_chars, mean_criteria, time_here, whole_loop
from rlaif.plugins import Plugin
from rlaif.prompts import load_judge_prompt
from rlaif.records import question_rows
from rlaif.run import open_or_create, session
from rlaif.screen import Screen
from rlaif.types import Criterion, Question, Verdict


def said(judge: Any, *overrides: str, rounds: int = 2, chars: float | None = 400.0) -> str:
    out = io.StringIO()
    calls = whole_loop(load_config("embedded", overrides), rounds, chars)
    announce(Screen(Console(file=out, width=400)), judge, calls)
    return out.getvalue()


def test_the_reference_judge_needs_no_announcement() -> None:
    assert said(make_judge("reference")) == ""


def test_of_a_judge_of_others_is_said_what_is_not_known(tmp_path: Path) -> None:
    judge = PluginJudge(Plugin("mine:good", lambda items: [], {}))
    for asked in (judge, Jury((judge, ReferenceJudge()))):
        text = " ".join(said(asked).split())
        assert text.startswith(
            "judge mine:good, code that is no part of rlaif: what it sends, where to and at what cost"
        )
    run = open_or_create(tmp_path / "run", load_config())
    assert time_here(run, judge, 7) == ["mine:good: 7 answers, time not measured yet"]


def test_a_judge_elsewhere_says_what_leaves_and_where_to(fake_chat_model: Callable[..., Any]) -> None:
    judge = LangChainJudge("fake", chat_model=fake_chat_model(["x"]))
    assert "leaves this machine" not in said(judge)
    judge.endpoint = Endpoint("api.example.org", False)
    text = said(judge)
    what = (
        "questions, leaflets (context), reference answers, key points, candidate answers, the judge prompt "
        "and the API key; nothing else"
    )
    assert f"leaves this machine    to api.example.org: {what}" in text
    assert leaving("{question} {answer} {nonce}") == "questions, candidate answers"


def test_calls_cost_and_time_are_said_beforehand(fake_chat_model: Callable[..., Any]) -> None:
    text = said(LangChainJudge("fake", chat_model=fake_chat_model(["x"])), "sampling.questions=50", "sampling.k=4")
    assert (
        "at most 850 calls, about" in text and "cost unknown (judge.price_in" in text and "time unknown before" in text
    )
    none = said(
        LangChainJudge("fake", chat_model=fake_chat_model(["x"])),
        "sampling.questions=50", "sampling.k=4", "monitors.judge_items=0",
    )  # fmt: skip
    assert "at most 400 calls, about" in none, "150 answers of two challengers and a champion less"
    priced = LangChainJudge("fake", JudgeSettings(price_in=1.0, price_out=1.0), chat_model=fake_chat_model(["x"]))
    assert "cost about 0.7" in said(priced, "sampling.questions=50", "sampling.k=4")
    assert (
        describe(Forecast(10, 1000, 20, 1.0, 600.0))
        == "10 calls, about 1,000 tokens in and 20 out, cost about 1.00, about 10 min"
    )
    assert describe(Forecast(10, 1000, 20, 1.0, 45.0)).endswith("about 45 s")


def test_a_jury_says_it_for_each_member_that_asks(fake_chat_model: Callable[..., Any]) -> None:
    asked = LangChainJudge("fake", chat_model=fake_chat_model(["x"]))
    asked.endpoint = Endpoint("api.example.org", False)
    jury = Jury((ReferenceJudge(), asked))
    assert said(jury) == said(asked) and not jury.local
    assert Jury((ReferenceJudge(), ScriptedJudge({}))).chat is False


def test_what_a_judge_on_this_machine_takes(tmp_path: Path, fake_chat_model: Callable[..., Any]) -> None:
    run = open_or_create(tmp_path / "run", load_config("embedded"))
    judge, asked = ReferenceJudge(), LangChainJudge("fake", chat_model=fake_chat_model(["x"]))
    words = "reference: 1,000 answers scored on this machine, no calls, no cost, "
    assert time_here(run, Jury((judge, asked)), 1000) == [words + "time not measured yet"]
    run.store.write({"verdicts": [Verdict("c", judge.identity.judge_id, 0, "scored", 1.0, seconds=0.25)]})
    assert time_here(run, judge, 1000) == [words + "about 250 s"]


def test_what_changes_between_sessions_is_recorded(tmp_path: Path) -> None:
    from rlaif.run import now

    for overrides in ([], ["judge.max_calls=5", "judge.concurrency=2", "judge.price_in=0.5"]):
        run = open_or_create(tmp_path / "run", load_config("embedded", overrides))
        with session(run, now()):
            pass
    keys = (
        "overrides->>'judge.max_calls' AS calls, overrides->>'judge.concurrency' AS n, "
        "overrides->>'judge.price_in' AS price"
    )
    rows = run.store.query(f"SELECT {keys} FROM sessions ORDER BY started_at")
    assert rows == [{"calls": "0", "n": "8", "price": "0.0"}, {"calls": "5", "n": "2", "price": "0.5"}]


def test_the_mean_length_of_what_is_known(tmp_path: Path) -> None:
    run = open_or_create(tmp_path / "run", load_config("embedded"))
    assert mean_chars(run) is None
    pool = Question("q", "d", "train", "s", "g", "12345", "123", "12", ("1", "2"))
    others = [
        Question("r", "d", "gate", "s", "g", "x" * 100),
        Question("t", "d", "train", "s", "g", "x" * 100, label="yes"),
    ]
    assert mean_chars(run, [pool, *others]) == 12
    run.store.write({"questions": [pool, *others]})
    assert mean_chars(run) == 12


@pytest.mark.parametrize(("criteria", "per_answer"), [(1, 1), (8, 1), (9, 2), (30, 4)])
def test_a_judge_by_rubrics_needs_several_calls_per_answer(fake_chat_model, criteria: int, per_answer: int) -> None:
    config = load_config("embedded", ["monitors.judge_items=0"])
    settings = JudgeSettings(prompt=load_judge_prompt("prompts/judge/rubric.md"))
    judge = RubricChatJudge("fake", settings, chat_model=fake_chat_model(["x"]))
    expected = 2 * config.sampling.questions * config.sampling.k * per_answer
    assert whole_loop(config, 2, 400.0, criteria)(judge).calls == expected
    assert whole_loop(config, 2, 400.0, criteria)(LangChainJudge("fake", chat_model=fake_chat_model(["x"]))).calls == (
        2 * config.sampling.questions * config.sampling.k
    )


def test_the_mean_number_of_criteria_is_of_rubrics_else_of_what_is_drawn(tmp_path: Path) -> None:
    run = open_or_create(tmp_path / "run", load_config())
    assert mean_criteria(run) == 1
    rubric = tuple(Criterion(f"Names {n}") for n in range(9))
    asked = [
        Question("q1", "d", "train", "s", "g", "Why?", rubric=rubric),
        Question("q2", "d", "train", "s", "g", "Why?", key_points=("a", "b", "c")),
        Question("q3", "d", "gate", "s", "g", "Why?"),
        Question("q4", "d", "train", "s", "g", "Why?", label="yes"),
    ]
    assert mean_criteria(run, asked) == 6
    run.store.write(question_rows(asked))
    assert mean_criteria(run) == 6
