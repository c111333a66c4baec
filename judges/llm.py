"""Any chat model that LangChain knows as a judge.

judge = LangChainJudge("openai:gpt-4o-mini", JudgeSettings())
judge = LangChainJudge("qwen3:8b", JudgeSettings(base_url="http://127.0.0.1:11434/v1"))
verdicts = judge.score(items)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from judges.chat_models import Endpoint, Served, model_entry, served
from judges.engine import Engine, Job, Result
from judges.faults import START, describe
from judges.fill import ASKING, content_hash, fill_item
from judges.parse import PARSE, Marks, parse_answer, schema, scrape_answer, wanted
from judges.settings import DEFAULT_SETTINGS, Cache, Forecast, JudgeSettings, JudgeStopped
from rlaif.logs import LOG
from rlaif.prompts import DEFAULT_JUDGE_PROMPT, Mode, load_judge_prompt
from rlaif.rubric import marked
from rlaif.types import JudgeIdentity, JudgeItem, UsageError, Verdict

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


CHARS_PER_TOKEN = 4  # of English, for forecasts
_GOUT = ("What helps against an attack of gout?", "Rest, ice and an anti-inflammatory drug such as naproxen.")
PROBE = tuple(  # a right answer, a half one and a wrong one
    JudgeItem(f"probe{n}", _GOUT[0], answer, _GOUT[1], key_points=("rest", "ice", "an anti-inflammatory drug"))
    for n, answer in enumerate((_GOUT[1], "Rest helps, and a cold drink.", "Red wine and long walks cure it."))
)
TYPICAL_REPLY = 90  # tokens of a verdict with its two sentences, for forecasts


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of the model at an endpoint: a hash of its entry in the list of models ("" without a list), and the
    marks it gives to three fixed answers, as JSON ("" where marks are drawn): a number, why there is none
    ("unparsed", "refused"), or null where no answer came.
    """

    endpoint: Endpoint
    entry: str
    probe: str


class LangChainJudge:
    """Judges with a language model, pointwise, by the words of a prompt file.

    `chat_model` takes the place of the one that `model` names (tests). Without a cache everything is asked, and the
    budget counts from when the judge was made. Raises UsageError for a model that cannot be made, a pairwise prompt,
    and a limit on cost without prices.
    """

    local: ClassVar[bool] = False
    chat: ClassVar[bool] = True
    modes: ClassVar[tuple[Mode, ...]] = ("pointwise", "key_points")
    reading: ClassVar[Mapping[str, str]] = {"parse": PARSE}  # how replies are read, for the judge_id
    nothing: ClassVar[str] = "nothing to judge by: the question has no key points, and this prompt checks nothing else"

    def __init__(
        self,
        model: str,
        settings: JudgeSettings = DEFAULT_SETTINGS,
        cache: Cache | None = None,
        chat_model: BaseChatModel | None = None,
    ) -> None:
        if settings.budget.cost and not (settings.price_in or settings.price_out):
            raise UsageError(
                "judge.max_cost needs prices: set judge.price_in and judge.price_out, each for a million tokens"
            )
        self.settings = settings
        self.prompt = settings.prompt or load_judge_prompt(DEFAULT_JUDGE_PROMPT)
        if self.prompt.mode not in self.modes:
            raise UsageError(
                f"judge prompt {self.prompt.name!r} is {self.prompt.mode} and gives no scores; choose one with "
                f"mode {' or '.join(self.modes)}"
            )
        self._served = served(model, settings, chat_model)
        self.endpoint = self._served.endpoint
        decoding = {
            "temperature": settings.temperature,
            "max_new_tokens": settings.max_new_tokens,
            "asking": ASKING,
            **self.reading,
        }
        self.identity = JudgeIdentity(self._served.model, "", self.prompt.name, self.prompt.sha256, decoding)
        self._cache = cache
        self._engine = Engine(self._served, self.identity.judge_id, settings, cache)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Each place at which the model is asked; `endpoint` is all of them in one."""
        return tuple(where for where, _ in self._served.each)

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        """One verdict an item, in order. Answers of the same content are asked about once, and each verdict says what
        that used.

        Raises JudgeStopped, with the verdicts there are, when the budget is used up or nobody answers any more.
        """
        jobs = [self._jobs(item) if self._can_judge(item) else [] for item in items]
        asked = [job for of_item in jobs for job in of_item]
        results, why = self._engine.run(asked)
        by_content = {job.content: result for job, result in zip(asked, results, strict=True)}
        verdicts = [
            self._verdict(item, [by_content[job.content] for job in of_item])
            for item, of_item in zip(items, jobs, strict=True)
        ]
        done = [verdict for verdict in verdicts if verdict is not None]
        if why:
            raise JudgeStopped(why, done)
        return done

    def forecast(self, items: Sequence[JudgeItem]) -> Forecast:
        """What `score(items)` is expected to take: without answers that are in the cache, retries and repairs."""
        jobs = self._engine.to_ask([job for item in items if self._can_judge(item) for job in self._jobs(item)])
        tokens_in = sum(len(job.asked.system) + len(job.asked.user) for job in jobs) // CHARS_PER_TOKEN
        tokens_out = min(TYPICAL_REPLY, self.settings.max_new_tokens) * len(jobs)
        priced = self.settings.price_in or self.settings.price_out
        cost = (tokens_in * self.settings.price_in + tokens_out * self.settings.price_out) / 1e6 if priced else None
        each = self._cache.seconds_per_call(self.identity.judge_id) if self._cache else None
        return Forecast(
            len(jobs), tokens_in, tokens_out, cost, each * len(jobs) / self.settings.at_once if each else None
        )

    def look(self) -> list[Look]:
        """What tells the model at each endpoint from another of the same name. One that does not answer is told of and
        left out.

        Asks again what was asked before. Raises JudgeStopped when nobody answers, or the budget is used up.
        """
        each = self._served.each
        if len(each) == 1:
            return [self._look(self._served, self._engine)]
        seen: list[Look] = []
        for number, (where, chat) in enumerate(each, start=1):
            alone = Served(self._served.model, where, ((where, chat),))
            engine = Engine(alone, self.identity.judge_id, self.settings, self._cache)
            try:
                seen.append(self._look(alone, engine))
            except JudgeStopped as error:
                if engine.limited or (number == len(each) and not seen):
                    raise
                why = str(error).partition("; ")[0]  # what to do about it is said when nobody answers
                LOG.warning("judge.urls: %s; whether it serves the same model is not known", why)
        return seen

    def _look(self, served: Served, engine: Engine) -> Look:
        (where, chat), *_ = served.each
        try:
            entry = model_entry(chat)
        except Exception as error:  # whatever the library raises when there is no server
            start = START.replace("judge.base_url", "judge.urls") if self.settings.urls else START
            raise JudgeStopped(
                f"no answer from the judge at {where.host}: {describe(error)}; {start}, then run the same command again"
            ) from error
        if self.settings.temperature > 0:
            return Look(where, entry, "")
        results, why = engine.run([job for item in PROBE for job in self._jobs(item)], again=True)
        if why:
            raise JudgeStopped(why)
        return Look(where, entry, json.dumps([self._probed(r) if r else None for r in results]))

    def _probed(self, result: Result) -> object:
        """What stands for a result in `Look.probe`, JSON-ready."""
        if isinstance(result.value, Marks):
            return result.value.score
        return None if result.status == "failed" else result.status

    def _can_judge(self, item: JudgeItem) -> bool:
        return self.prompt.mode != "key_points" or bool(item.key_points)

    def _jobs(self, item: JudgeItem) -> list[Job]:
        """What is asked about one answer."""
        prompt, points = self.prompt, len(item.key_points)
        return [
            Job(
                content_hash(item),
                fill_item(prompt, item),
                schema(prompt, points),
                wanted(prompt, points),
                partial(parse_answer, prompt=prompt, n_points=points),
                partial(scrape_answer, prompt=prompt, n_points=points),
            )
        ]

    def _verdict(self, item: JudgeItem, results: Sequence[Result | None]) -> Verdict | None:
        """None where one of the `results` is missing; a failed one where nothing could be asked."""
        if not results:
            judge_id = self.identity.judge_id
            return Verdict(item.candidate_id, judge_id, item.replicate, "failed", reason=self.nothing, attempts=0)
        finished = [result for result in results if result is not None]
        return self._marked(item, finished) if len(finished) == len(results) else None

    def _marked(self, item: JudgeItem, results: Sequence[Result]) -> Verdict:
        (result,), judge_id = results, self.identity.judge_id
        marks = result.value if isinstance(result.value, Marks) else None
        criteria = marks.criteria if marks else {}
        verdict = Verdict(
            item.candidate_id,
            judge_id,
            item.replicate,
            result.status,
            score=marks.score if marks else None,
            factual_accuracy=criteria.get("factual_accuracy"),
            completeness=criteria.get("completeness"),
            key_point_coverage=criteria.get("key_point_coverage"),
            rationale=marks.rationale if marks else "",
            raw=result.raw,
            reason=result.reason,
            flags=fill_item(self.prompt, item).flags,
            attempts=result.used.calls,
            tokens_in=result.used.tokens_in,
            tokens_out=result.used.tokens_out,
            cost=result.used.cost,
            seconds=result.seconds,
        )
        return marked(verdict, self.prompt.criteria, self.prompt.weights, criteria, verdict.rationale)
