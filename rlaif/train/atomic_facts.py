"""Atomic facts and rewritten questions by the chat model that judges (KnowTuning, arXiv 2402.11176, section 3.2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from judges.chat_models import served
from judges.engine import Engine, Job
from judges.fill import Asked
from judges.settings import JudgeSettings, JudgeStopped
from judges.shield import shield
from rlaif.config import Config
from rlaif.train.knowtuning import Rewritten
from rlaif.types import Question, content_id
from stores.cache import AnswerCache
from stores.store import Store

ASKING = 1  # a change of the words below gets a new number, and answers in the cache are asked for again
FACTS_SYSTEM = (
    "You take answers to health questions apart into atomic facts. You add nothing, leave nothing out and "
    "judge nothing."
)
FACTS_USER = """Question: {question}

Answer:
{answer}

List the facts that this answer states: each a whole sentence that can be understood alone, each a single fact, in \
their order, in the \
answer's own words where possible. Reply with one JSON object and nothing else:
{{"facts": ["...", "..."]}}"""
REWRITE_SYSTEM = "You write questions and answers for learners of medicine. You state only what you are given."
REWRITE_USER = """A person asked: {question}

These facts of the answer are hard to remember:
{facts}

Write one question that asks for exactly these facts, understandable without the first one, and its answer, which \
states all of them and \
nothing else. Reply with one JSON object and nothing else:
{{"question": "...", "answer": "..."}}"""


class FactWriter:
    """Asks the chat model named by `judge.model`; answers are kept in the run's database and the judge's budget holds.

    Raises UsageError for a model that cannot be made. `where` is the host that reads questions and answers, `local`
    whether it is here.
    """

    def __init__(self, config: Config, settings: JudgeSettings, store: Store | None, chat_model: Any = None) -> None:
        place = served(config.judge.model, settings, chat_model)
        self.model, self.where, self.local = place.model, place.endpoint.host, place.endpoint.local
        self.writer_id = content_id("knowtuning", ASKING, self.model, settings.temperature, settings.max_new_tokens)
        cache = AnswerCache(store) if store else None
        self._engine = Engine(place, self.writer_id, settings, cache)

    def facts(self, questions: Sequence[Question]) -> list[list[str] | None]:
        """The atomic facts of each reference; None where no list of facts came back. Raises JudgeStopped."""
        jobs = [
            self._job("facts", FACTS_USER.format(question=q.question, answer=q.reference), FACTS_SYSTEM, _facts)
            for q in questions
        ]
        return self._run(jobs)

    def rewrite(self, questions: Sequence[Question], hard: Sequence[Sequence[str]]) -> list[Rewritten | None]:
        """A question and an answer for the hard facts of each question; None where none came back. Raises
        JudgeStopped.
        """
        texts = [
            REWRITE_USER.format(question=q.question, facts="\n".join(f"- {fact}" for fact in facts))
            for q, facts in zip(questions, hard, strict=True)
        ]
        found = self._run([self._job("rewrite", text, REWRITE_SYSTEM, _pair) for text in texts])
        return [Rewritten(q.question_id, *pair) if pair else None for q, pair in zip(questions, found, strict=True)]

    def _job(self, kind: str, user: str, system: str, read: Any) -> Job:
        user = shield(user)[0]
        fields: dict[str, Any] = {"question": {"type": "string"}, "answer": {"type": "string"}}
        if kind == "facts":
            fields = {"facts": {"type": "array", "items": {"type": "string"}}}
        schema = {
            "title": kind,
            "type": "object",
            "properties": fields,
            "required": list(fields),
            "additionalProperties": False,
        }
        wanted = '{"facts": ["...", "..."]}' if kind == "facts" else '{"question": "...", "answer": "..."}'
        return Job(content_id(kind, system, user), Asked(system, user, "", ()), schema, wanted, read)

    def _run(self, jobs: Sequence[Job]) -> list[Any]:
        results, why = self._engine.run(jobs)
        if why:
            raise JudgeStopped(why, [])
        return [result.value if result else None for result in results]


def _object(text: str) -> dict[str, Any] | str:
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
    except ValueError as error:
        return f"no JSON object ({error})"
    return value if isinstance(value, dict) else "no JSON object"


def _facts(text: str) -> list[str] | str:
    found = _object(text)
    if isinstance(found, str):
        return found
    facts = found.get("facts")
    if not isinstance(facts, list) or not facts or not all(isinstance(f, str) and f.strip() for f in facts):
        return '"facts" is no list of sentences'
    return [" ".join(fact.split()) for fact in facts]


def _pair(text: str) -> tuple[str, str] | str:
    found = _object(text)
    if isinstance(found, str):
        return found
    question, answer = found.get("question"), found.get("answer")
    if not (isinstance(question, str) and isinstance(answer, str) and question.strip() and answer.strip()):
        return '"question" and "answer" must both be texts'
    return " ".join(question.split()), " ".join(answer.split())
