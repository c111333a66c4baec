"""What judging will take, and what leaves this machine, said before any of it is done."""

from __future__ import annotations

from collections.abc import Sequence

from judges.jury import Jury
from judges.settings import Forecast
from rlaif.config import Config
from rlaif.judging.configured import language_judge
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Judge, JudgeItem, Question


def announce(screen: Screen, judge: Judge, config: Config, rounds_left: int, chars: float | None) -> None:
    """Before anything is done: who judges, what leaves this machine, and how many calls, what cost and time that may
    be.

    `chars` is the mean length of a question with all that is known about it; None where that is not known yet. A jury's
    members are announced one by one.
    """
    if isinstance(judge, Jury):
        for member in judge.members:
            announce(screen, member, config, rounds_left, chars)
        return
    asks = language_judge(judge)
    if asks is None:
        return
    identity, prompt = judge.identity, asks.prompt
    screen.line(
        f"  judge                  {identity.model}, prompt {prompt.name} ({prompt.sha256[:12]}), "
        f"judge_id {identity.judge_id}"
    )
    if not asks.endpoint.local:
        screen.line(
            f"  leaves this machine    to {asks.endpoint.host}: {leaving(prompt.user + prompt.system)}, "
            "the judge prompt and the API key; "
            "nothing else",
            style="yellow",
        )
    calls = rounds_left * config.sampling.questions * config.sampling.k
    sample = JudgeItem("", "x" * int(chars or 0), "x" * config.sampling.max_new_tokens * 4, key_points=("x",))
    one = asks.forecast([sample])
    cost = None if one.cost is None else one.cost * calls / max(one.calls, 1)
    seconds = None if one.seconds is None else one.seconds * calls / max(one.calls, 1)
    whole = Forecast(calls, one.tokens_in * calls, one.tokens_out * calls, cost, seconds)
    screen.line(f"  to judge               at most {describe(whole)}")


def leaving(template: str) -> str:
    """What a judge prompt sends of each candidate, in words."""
    names = {
        "{question}": "questions",
        "{context}": "leaflets (context)",
        "{reference}": "reference answers",
        "{key_points}": "key points",
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


def estimate(run: Run, judge: Judge, items: Sequence[JudgeItem]) -> list[str]:
    """Lines for a person: calls, tokens, cost and time of `judge.score(items)`; for a jury one line a member.

    A language model's come from its own forecast (tokens by text length, prices from the configuration, seconds a call
    as measured in this run). Any other judge works on this machine: its time is what its verdicts here have taken, if
    it is known.
    """
    if isinstance(judge, Jury):
        return [line for member in judge.members for line in estimate(run, member, items)]
    model = judge.identity.model
    asks = language_judge(judge)
    if asks is not None:
        return [f"{model}, at {asks.endpoint.host}: {describe(asks.forecast(items))}"]
    each = run.store.query(
        "SELECT avg(seconds) AS each FROM verdicts WHERE judge_id = ? AND seconds > 0", [judge.identity.judge_id]
    )
    seconds = each[0]["each"]
    time = "time not measured yet" if seconds is None else f"about {seconds * len(items):,.0f} s"
    return [f"{model}: {len(items):,} answers scored on this machine, no calls, no cost, {time}"]
