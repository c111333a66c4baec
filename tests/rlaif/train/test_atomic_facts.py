"""Facts and questions by a chat model: what is asked, what is accepted, what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from judges.settings import Budget, JudgeSettings, JudgeStopped
from rlaif.config_file import load_config
from rlaif.run import open_or_create
from rlaif.train.atomic_facts import FactWriter
from rlaif.train.knowtuning import Rewritten
from rlaif.types import Question

CONFIG = load_config("embedded", ["judge.model=gpt", "judge.base_url=http://127.0.0.1:9/v1"])
ONE = Question("q1", "medquad", "train", "s", "g", "What is {asthma}?", reference="A cough. A wheeze.")
TWO = Question("q2", "medquad", "train", "t", "h", "What helps?", reference="Rest.")
FACTS, PAIR = (
    '{"facts": ["It is a cough.", "It is\\na wheeze."]}',
    '{"question": "Which sounds?", "answer": "A wheeze."}',
)


def test_facts_and_rewritten_questions(fake_chat_model: Callable[[Any], Any]) -> None:
    chat = fake_chat_model(lambda prompt: FACTS if "List the facts" in prompt else f"Here it is: {PAIR}")
    writer = FactWriter(CONFIG, JudgeSettings(concurrency=1, backoff=0), None, chat)
    assert writer.facts([ONE]) == [["It is a cough.", "It is a wheeze."]]
    assert "What is {asthma}?" in chat.prompts[0] and "A cough. A wheeze." in chat.prompts[0]
    assert writer.rewrite([ONE], [["It is a wheeze."]]) == [Rewritten("q1", "Which sounds?", "A wheeze.")]
    assert "- It is a wheeze." in chat.prompts[-1]


@pytest.mark.parametrize(
    "reply", ["sorry", '{"facts": []}', '{"facts": "one"}', '{"facts": [1]}', "[1]", '{"facts": [" "]}']
)
def test_what_is_no_list_of_facts_is_none(reply: str, fake_chat_model: Callable[[Any], Any]) -> None:
    chat = fake_chat_model(lambda prompt: reply if "{asthma}" in prompt else FACTS)
    writer = FactWriter(CONFIG, JudgeSettings(concurrency=1, backoff=0), None, chat)
    assert writer.facts([ONE, TWO]) == [None, ["It is a cough.", "It is a wheeze."]]


def test_answers_are_kept_in_the_run_and_the_budget_holds(
    tmp_path: Path, fake_chat_model: Callable[[Any], Any]
) -> None:
    store = open_or_create(tmp_path / "run", CONFIG).store
    settings = JudgeSettings(concurrency=1, backoff=0, budget=Budget(calls=1))
    first = FactWriter(CONFIG, settings, store, fake_chat_model([FACTS]))
    with pytest.raises(JudgeStopped, match="max_calls"):
        first.facts([ONE, TWO])
    silent = fake_chat_model([TimeoutError("nobody there")])
    again = FactWriter(CONFIG, JudgeSettings(concurrency=1, backoff=0), store, silent)
    assert json.loads(FACTS)["facts"][0] == again.facts([ONE])[0][0]  # type: ignore[index]
    assert silent.prompts == []
