"""Fixtures that every test may use."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets and models: RLAIF_SHARED, else `shared` beside the repository. Skips without
    it.
    """
    folder = Path(os.environ.get("RLAIF_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set RLAIF_SHARED)")
    return folder


@pytest.fixture
def fake_chat_model() -> Callable[[Any], Any]:
    """A chat model that says what a test tells it to, for judges that are language models:

        # a queue, the last repeats
        chat = fake_chat_model(['{"rationale": "fine", "factual_accuracy": 4, ...}', TimeoutError("slow")])
        # or a function
        chat = fake_chat_model(lambda prompt: verdict(5 if "rest" in prompt else 1))
        judge = LangChainJudge("fake", JudgeSettings(backoff=0), chat_model=chat)

    A reply is a text, an AIMessage (usage, tool calls, refusals) or an exception, which is raised. `chat.prompts` holds
    what was asked.
    """
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class FakeChatModel(BaseChatModel):
        replies: Any
        prompts: list[str] = []
        lock: Any = None

        @property
        def _llm_type(self) -> str:
            return "fake"

        def _generate(
            self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
        ) -> ChatResult:
            prompt = "\n".join(str(message.content) for message in messages)
            with self.lock:
                self.prompts.append(prompt)
                if callable(self.replies):
                    reply = self.replies(prompt)
                else:
                    reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            if isinstance(reply, BaseException):
                raise reply
            message = AIMessage(reply) if isinstance(reply, str) else reply
            return ChatResult(generations=[ChatGeneration(message=message)])

    def make(replies: Sequence[Any] | Callable[[str], Any]) -> FakeChatModel:
        return FakeChatModel(replies=replies if callable(replies) else list(replies), prompts=[], lock=threading.Lock())

    return make


@pytest.fixture
def verdict() -> Callable[..., str]:
    """A clean answer to the default judge prompt: verdict(4) or verdict(4, 3, 5)."""

    def make(factual: int, complete: int | None = None, covered: int | None = None) -> str:
        marks = {
            "factual_accuracy": factual,
            "completeness": complete or factual,
            "key_point_coverage": covered or factual,
        }
        return json.dumps({"rationale": "because"} | marks)

    return make


@pytest.fixture(scope="module")
def torch_threads() -> Iterator[None]:
    """A run sets the thread count of the whole process: give the other tests theirs back."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose champion is an adapter on the embedded base, trained for a few steps: for what needs a champion and
    no loop.
    """
    import torch

    from rlaif.admin import promote
    from rlaif.config_file import load_config
    from rlaif.models.base import load_base
    from rlaif.prepare import prepare
    from rlaif.prompts import load_prompt
    from rlaif.run import open_or_create
    from rlaif.screen import Screen
    from rlaif.train.stages import sft

    folder = tmp_path_factory.mktemp("small") / "run"
    threads = torch.get_num_threads()
    config = load_config(
        str(Path(__file__).parent / "tiny.toml"), ["data.sft_pubmedqa=1", "evaluation.max_new_tokens=64"]
    )
    run = open_or_create(folder, config)
    base, prompt, screen = load_base(config.model), load_prompt(config.prompts.policy), Screen()
    prepare(run, base, prompt, screen, None)
    promote(run, sft(run, base, prompt, screen), "for tests")
    torch.set_num_threads(threads)
    return folder
