"""The fixtures and helpers that tests outside this checkout use too, and the run that all of them may read."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rlaif.testing as testing
from command_line import call
from rlaif.run import open_run
from stores.store import Store


def test_a_queue_of_replies_whose_last_repeats(fake_chat_model: Any) -> None:
    chat = fake_chat_model(["one", TimeoutError("slow"), "three"])
    assert chat.invoke("a").content == "one"
    with pytest.raises(TimeoutError, match="slow"):
        chat.invoke("b")
    assert [chat.invoke(text).content for text in "cd"] == ["three", "three"]
    assert chat.prompts == ["a", "b", "c", "d"] and fake_chat_model(["x"]).prompts == []


def test_a_function_of_the_prompt_asked_by_many(fake_chat_model: Any) -> None:
    chat = fake_chat_model(lambda prompt: prompt.upper())
    with ThreadPoolExecutor(4) as pool:
        assert [m.content for m in pool.map(chat.invoke, "abcdef")] == list("ABCDEF")
    assert sorted(chat.prompts) == list("abcdef")


def test_a_verdict_is_what_the_default_prompt_asks_for(fake_chat_model: Any, verdict: Any) -> None:
    chat = fake_chat_model([verdict(5, 3, 1)])
    judge = testing.LangChainJudge("fake", testing.JudgeSettings(backoff=0), chat_model=chat)
    (given,) = judge.score([rlaif_item()])
    assert (given.status, given.factual_accuracy, given.completeness, given.key_point_coverage) == (
        "scored",
        1.0,
        0.5,
        0,
    )


def rlaif_item() -> Any:
    from rlaif import JudgeItem

    return JudgeItem("a", "What helps?", "Rest.")


def test_the_finished_run_is_one_and_each_test_may_change_it(finished_run: Path) -> None:
    run = open_run(finished_run)
    rounds = run.store.query("SELECT round, decision FROM rounds ORDER BY round")
    assert [r["decision"] for r in rounds] == ["PROMOTE", "INCONCLUSIVE"]
    assert run.policy("champion")["kind"] == "sft" and run.config.config_hash
    joined = run.store.query("SELECT count(*) AS n FROM eval_items JOIN questions ON question_id = item_id")
    assert joined[0]["n"] == run.store.query("SELECT count(*) AS n FROM eval_items")[0]["n"] == 24
    run.store.execute([("DELETE FROM rounds", [])])


def test_and_so_the_next_test_has_it_whole(finished_run: Path) -> None:
    assert len(Store.open(finished_run).query("SELECT * FROM rounds")) == 2


@pytest.mark.parametrize(
    "words", [("status",), ("gate", "explain"), ("report",), ("sql", "SELECT * FROM round_summary")]
)
def test_the_commands_that_read_know_it(finished_run: Path, words: tuple[str, ...]) -> None:
    code, _, err = call(*words, "--run", finished_run)
    assert code == 0, err


def test_every_name_is_there_and_importing_them_brings_no_model() -> None:
    assert all(hasattr(testing, name) for name in testing.__all__)
    code = "import sys, rlaif.testing; sys.exit(bool({'torch', 'transformers', 'langchain_core'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
