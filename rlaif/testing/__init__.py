"""What tests of code around rlaif need: a chat model that says what it is told, a judge with a script, a finished run.

    pytest_plugins = ["rlaif.testing"]     # in the conftest.py at the top of your tests

The fixtures are in :data:`FIXTURES`; the other names of `__all__` are imported. docs/testing.md shows whole files.
Pytest does not load this by itself: the fixtures would stand in every project of the environment, and an entry point is
loaded before pytest's `pythonpath` is read, so that a checkout's tests would meet the installed rlaif.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from judges.llm import LangChainJudge
from judges.scripted import ScriptedJudge
from judges.settings import JudgeSettings
from rlaif.prompts import load_judge_prompt
from rlaif.testing.run import make_finished_run

if TYPE_CHECKING:
    from rlaif.testing.chat_model import FakeChatModel

FIXTURES = ("fake_chat_model", "finished_run", "verdict")
__all__ = [*FIXTURES, "JudgeSettings", "LangChainJudge", "ScriptedJudge", "load_judge_prompt", "make_finished_run"]


@pytest.fixture
def fake_chat_model() -> Callable[[Any], FakeChatModel]:
    """A chat model that says what a test tells it to, for judges that are language models:

        # a queue, the last repeats
        chat = fake_chat_model(['{"rationale": "fine", "factual_accuracy": 4, ...}', TimeoutError("slow")])
        # or a function
        chat = fake_chat_model(lambda prompt: verdict(5 if "rest" in prompt else 1))
        judge = LangChainJudge("fake", JudgeSettings(backoff=0), chat_model=chat)

    A reply is a text, an AIMessage (usage, tool calls, refusals) or an exception, which is raised. `chat.prompts` holds
    what was asked.
    """
    from rlaif.testing.chat_model import FakeChatModel  # here, because it brings LangChain

    def make(replies: Sequence[Any] | Callable[[str], Any]) -> FakeChatModel:
        return FakeChatModel(replies=replies if callable(replies) else list(replies))

    return make


@pytest.fixture
def verdict() -> Callable[..., str]:
    """A clean answer to the default judge prompt, in marks from 1 to 5: verdict(4) or verdict(4, 3, 5)."""

    def make(factual: int, complete: int | None = None, covered: int | None = None) -> str:
        marks = {
            "factual_accuracy": factual,
            "completeness": complete or factual,
            "key_point_coverage": covered or factual,
        }
        return json.dumps({"rationale": "because"} | marks)

    return make


@pytest.fixture(scope="session")
def _finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once and copied, because that is faster."""
    return make_finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def finished_run(_finished_run: Path, tmp_path: Path) -> Path:
    """The folder of a finished run that each test may change; see :func:`rlaif.testing.run.make_finished_run`."""
    return Path(shutil.copytree(_finished_run, tmp_path / "finished-run"))
