"""What judging will take, and what leaves this machine, said before any of it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from judges.plugin import PluginJudge
from judges.settings import Forecast
from rlaif.config import Config
from rlaif.judging.configured import chat_judges, members
from rlaif.records import load_questions
from rlaif.rubric import drawn
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Judge, JudgeItem, Question

if TYPE_CHECKING:
    from judges.llm import LangChainJudge


def announce(
    screen: Screen,
    judge: Judge,
    calls: Callable[[LangChainJudge], Forecast] | None = None,
    *,
    role: str = "judge",
) -> None:
    """Before anything is asked: which chat models `judge` is, what leaves this machine for each, and `calls` of each.

    A judge that works on this machine sends nothing and costs nothing; of it nothing is said. What a judge of others
    sends (judges.plugin) is not known, and that is said. `role` heads the line.
    """
    for member in members(judge):
        if isinstance(member, PluginJudge):
            unknown = "code that is no part of rlaif: what it sends, where to and at what cost is not known here"
            screen.line(f"  {role:<22} {member.identity.model}, {unknown}", style="yellow")
    for asked in chat_judges(judge):
        prompt = asked.prompt
        screen.line(
            f"  {role:<22} {asked.identity.model}, prompt {prompt.name} ({prompt.sha256[:12]}), "
            f"judge_id {asked.identity.judge_id}"
        )
        if not asked.endpoint.local:
            what = leaves(asked.endpoint.host, prompt.user + prompt.system, "the judge prompt and the API key")
            screen.line(what, style="yellow")
        if calls:
            screen.line(f"  to judge               at most {describe(calls(asked))}")


def leaves(host: str, template: str, also: str) -> str:
    """The line that says what goes to `host`: what `template` sends (see :func:`leaving`), and `also`."""
    return f"  leaves this machine    to {host}: {leaving(template)}, {also}; nothing else"


def whole_loop(
    config: Config, rounds_left: int, chars: float | None, criteria: int = 1
) -> Callable[[LangChainJudge], Forecast]:
    """For :func:`announce`: all that the rounds still to come may ask. `chars` is the mean length of a question with
    all that is known about it, None where that is not known yet; `criteria` the mean number that an answer is held
    against, which a judge by rubrics may need several calls for.

    Beside the answers that it labels, the judge marks answers to `monitors.judge_items` gate questions: those of each
    round's challenger, and of the champion that there is.
    """
    calls = rounds_left * config.sampling.questions * config.answers_per_question
    marked = config.monitors.judge_items
    if config.data.gate_medquad:
        marked = min(marked, config.data.gate_medquad)
    calls += (rounds_left + 1 if rounds_left else 0) * marked
    points = ("x", *(f"x{n}" for n in range(1, criteria)))  # all different: what is asked twice is one call
    answer = "x" * config.sampling.max_new_tokens * 4
    sample = JudgeItem("", "x" * int(chars or 0), answer, key_points=points)

    def forecast(asked: LangChainJudge) -> Forecast:
        one = asked.forecast([sample])
        cost = None if one.cost is None else one.cost * calls
        seconds = None if one.seconds is None else one.seconds * calls
        return Forecast(calls * max(one.calls, 1), one.tokens_in * calls, one.tokens_out * calls, cost, seconds)

    return forecast


def leaving(template: str) -> str:
    """What a judge prompt sends of each candidate, in words."""
    names = {
        "{question}": "questions",
        "{context}": "leaflets (context)",
        "{reference}": "reference answers",
        "{key_points}": "key points",
        "{criteria}": "the criteria of rubrics",
        "{answer}": "candidate answers",
    }
    return ", ".join(words for placeholder, words in names.items() if placeholder in template)


def describe(forecast: Forecast) -> str:
    """A forecast on one line."""
    tokens = f"about {forecast.tokens_in:,} tokens in and {forecast.tokens_out:,} out"
    cost = (
        "cost unknown (judge.price_in and judge.price_out are 0)"
        if forecast.cost is None
        else f"cost about {forecast.cost:,.2f}"
    )
    if forecast.seconds is None:
        return f"{forecast.calls:,} calls, {tokens}, {cost}, time unknown before the first answers"
    minutes = forecast.seconds / 60
    return f"{forecast.calls:,} calls, {tokens}, {cost}, about " + (
        f"{minutes:,.0f} min" if minutes >= 1.5 else f"{forecast.seconds:,.0f} s"
    )


def mean_chars(run: Run, questions: Sequence[Question] = ()) -> float | None:
    """Mean length of a question to sample from, with all that is known about it: of `questions`, else of the run's;
    None without any.
    """
    lengths = [
        len(q.question) + len(q.context) + len(q.reference) + sum(map(len, q.key_points))
        for q in questions
        if q.split == "train" and not q.label
    ]
    if lengths:
        return sum(lengths) / len(lengths)
    length = "length(question) + length(context) + length(reference) + length(array_to_string(key_points, ''))"
    return run.store.query(f"SELECT avg({length}) AS mean FROM questions WHERE split = 'train' AND label = ''")[0][
        "mean"
    ]


def mean_criteria(run: Run, questions: Sequence[Question] = ()) -> int:
    """How many criteria an answer of a judge by rubrics is held against, on average, at least 1: of `questions`, else
    of the run's.
    """
    asked = questions or load_questions(run, "split = 'train' AND label = ''", [])
    numbers = [len(q.rubric or drawn(q.key_points, q.reference)) for q in asked if q.split == "train" and not q.label]
    return max(1, round(sum(numbers) / len(numbers))) if numbers else 1


def time_here(run: Run, judge: Judge, n: int) -> list[str]:
    """A line for each of the judge's members that is no chat model: the time that `n` answers take, if verdicts in this
    run tell it.
    """
    lines = []
    for member in members(judge):
        if member.chat:
            continue
        each = run.store.query(
            "SELECT avg(seconds) AS each FROM verdicts WHERE judge_id = ? AND seconds > 0", [member.identity.judge_id]
        )[0]["each"]
        time = "time not measured yet" if each is None else f"about {each * n:,.0f} s"
        where = "" if isinstance(member, PluginJudge) else " scored on this machine, no calls, no cost"
        lines.append(f"{member.identity.model}: {n:,} answers{where}, {time}")
    return lines
