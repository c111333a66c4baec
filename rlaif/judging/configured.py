"""From the configuration to judges, and from judges to rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from judges import jury_names, kind_of
from judges.jury import Jury
from judges.settings import Budget, JudgeSettings
from rlaif.config import Config, JudgeConfig
from rlaif.prompts import load_judge_prompt
from rlaif.run import Run
from rlaif.types import Candidate, Judge, JudgeItem, Question, UsageError

if TYPE_CHECKING:
    from judges.llm import LangChainJudge
    from judges.pairwise import PairwiseJudge


PAIRWISE_PROMPT = "prompts/judge/pairwise.md"
SETTLED = ("scored", "unparsed", "refused")  # an answer came; what failed is asked again


def judge_settings(config: Config) -> JudgeSettings:
    """The configuration's [judge] as a judge wants it, with the prompt read.

    Raises UsageError for a broken prompt file, for a prompt or an address where the judge is no language model and
    would not read it, and for several addresses where it is none that is served.
    """
    judge = config.judge
    kind = kind_of(judge.model, judge.addresses)
    names = jury_names(judge.model) if kind == "jury" else [judge.model]
    if judge.urls and not any(kind_of(name, judge.urls) == "chat" for name in names):
        raise UsageError(
            f"judge.urls is set, but the judge {judge.model!r} is no model that is served; leave it out, or name the "
            "model that the servers have"
        )
    if kind in ("words", "plugin"):
        for key in ("prompt", "base_url"):
            if getattr(judge, key):
                raise UsageError(
                    f"judge.{key} is set, but the judge {judge.model!r} is no language model and reads "
                    "none; leave it out"
                )
        return JudgeSettings()
    return JudgeSettings(
        prompt=load_judge_prompt(judge.prompt) if judge.prompt else None,  # make_judge knows each judge's own
        base_url=judge.base_url,
        urls=judge.urls,
        temperature=judge.temperature,
        max_new_tokens=judge.max_new_tokens,
        concurrency=judge.concurrency,
        retries=judge.retries,
        timeout=judge.timeout,
        requests_per_second=judge.requests_per_second,
        price_in=judge.price_in,
        price_out=judge.price_out,
        budget=Budget(judge.max_calls, judge.max_tokens, judge.max_cost),
    )


def gate_judge_config(config: Config) -> Config:
    """The configuration with the gate's judge in the place of the labelling one.

    All but name, prompt and address is shared.
    """
    gate = config.evaluation
    named = {"model": gate.judge, "prompt": gate.judge_prompt, "base_url": gate.judge_base_url, "urls": ()}
    judge = config.judge.model_copy(update=named)
    return config.model_copy(update={"judge": JudgeConfig.model_validate(judge.model_dump())})


def check_pairwise(config: Config) -> None:
    """UsageError when narrow pairs are to be confirmed (pairs.confirm_below) by a judge that cannot compare two
    answers.
    """
    model = config.judge.model
    if config.pairs.confirm_below > 0 and kind_of(model, config.judge.addresses) != "chat":
        raise UsageError(
            f"pairs.confirm_below asks a chat model which of two answers is better, and judge.model = {model!r} is none"
        )


def pairwise_judge(config: Config, settings: JudgeSettings, run: Run) -> PairwiseJudge | None:
    """The judge that confirms narrow pairs: the configured model with the pairwise prompt; None where that is not asked
    for.
    """
    if config.pairs.confirm_below <= 0:
        return None
    from judges.pairwise import PairwiseJudge
    from stores.cache import AnswerCache

    return PairwiseJudge(
        config.judge.model, replace(settings, prompt=load_judge_prompt(PAIRWISE_PROMPT)), AnswerCache(run.store)
    )


def members(judge: Judge) -> tuple[Judge, ...]:
    """The judges that do the work: a jury's members, else the judge itself."""
    return judge.members if isinstance(judge, Jury) else (judge,)


def chat_judges(judge: Judge) -> list[LangChainJudge]:
    """Those of :func:`members` that ask a chat model."""
    return [cast("LangChainJudge", member) for member in members(judge) if member.chat]


def judge_rows(judge: Judge) -> dict[str, list[dict[str, Any]]]:
    """The rows of `judges`, and of `prompts` where it has one, that say who `judge` is."""
    identity = judge.identity
    row = {
        "judge_id": identity.judge_id,
        "model": identity.model,
        "weights_sha256": identity.weights_sha256,
        "prompt_name": identity.prompt_name,
        "prompt_sha256": identity.prompt_sha256,
        "decoding": dict(identity.decoding),
    }
    prompt = getattr(judge, "prompt", None)
    if prompt is None:
        return {"judges": [row]}
    return {
        "judges": [row],
        "prompts": [{"prompt_sha256": prompt.sha256, "kind": "judge", "name": prompt.name, "text": prompt.text}],
    }


def judge_item(question: Question, candidate: Candidate) -> JudgeItem:
    return JudgeItem(
        candidate_id=candidate.candidate_id,
        question=question.question,
        answer=candidate.text,
        reference=question.reference,
        context=question.context,
        key_points=question.key_points,
        rubric=question.rubric,
    )
