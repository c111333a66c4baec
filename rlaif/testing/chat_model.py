"""A chat model of LangChain that says what it is told."""

from __future__ import annotations

import threading
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr


class FakeChatModel(BaseChatModel):
    """`replies`: a list, of which each call takes the first and the last one repeats, or a function of the prompt.

    A reply is a text, an AIMessage or an exception, which is raised. `prompts` holds what was asked, in order. Several
    threads may ask.
    """

    replies: Any
    prompts: list[str] = []
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        prompt = "\n".join(str(message.content) for message in messages)
        with self._lock:
            self.prompts.append(prompt)
            if callable(self.replies):
                reply = self.replies(prompt)
            else:
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, BaseException):
            raise reply
        message = AIMessage(reply) if isinstance(reply, str) else reply
        return ChatResult(generations=[ChatGeneration(message=message)])
