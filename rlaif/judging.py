"""The loop's side of judging: settings from the configuration, what is said beforehand, and the stage `judge` of a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from judges.jury import Jury
from judges.settings import Budget, Forecast, JudgeSettings, JudgeStopped
from rlaif.config import Config
from rlaif.progress import Screen
from rlaif.prompts import load_judge_prompt
from rlaif.run import Run
from rlaif.types import Candidate, Judge, JudgeItem, Question, RlaifError, UsageError, Verdict

if TYPE_CHECKING:
    from judges.llm import LangChainJudge
    from judges.pairwise import PairwiseJudge
    from rlaif.loop import Loop

JUDGE_CHUNK = 256  # candidates judged between two writes
PAIRWISE_PROMPT = "prompts/judge/pairwise.md"
SETTLED = ("scored", "unparsed", "refused")  # an answer came; what failed is asked again


def judge_settings(config: Config) -> JudgeSettings:
    """The configuration's [judge] as a judge wants it, with the prompt read.

    Raises UsageError for a broken prompt file, and for a prompt or base URL that judge "reference" would not read.
    """
    judge = config.judge
    if judge.model == "reference":
        for key in ("prompt", "base_url"):
            if getattr(judge, key):
                raise UsageError(f"judge.{key} is set, but the judge {judge.model!r} is no language model and reads none; leave it out")
        return JudgeSettings()
    return JudgeSettings(
        prompt=load_judge_prompt(judge.prompt) if judge.prompt else None,  # make_judge knows each judge's own
        base_url=judge.base_url,
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


def check_pairwise(config: Config) -> None:
    """UsageError when narrow pairs are to be confirmed (pairs.confirm_below) by a judge that cannot compare two answers."""
    model = config.judge.model
    if config.pairs.confirm_below > 0 and ("," in model or model == "reference" or model.startswith("local:")):
        raise UsageError(f"pairs.confirm_below asks a chat model which of two answers is better, and judge.model = {model!r} is none")


def pairwise_judge(config: Config, settings: JudgeSettings, run: Run) -> PairwiseJudge | None:
    """The judge that confirms narrow pairs: the configured model with the pairwise prompt; None where that is not asked for."""
    if config.pairs.confirm_below <= 0:
        return None
    from judges.pairwise import PairwiseJudge
    from stores.cache import AnswerCache

    return PairwiseJudge(config.judge.model, replace(settings, prompt=load_judge_prompt(PAIRWISE_PROMPT)), AnswerCache(run.store))


def is_local(judge: Judge) -> bool:
    """Whether `judge` works on this machine and costs nothing: such a judge may sit its exam without being told to."""
    return judge.identity.model == "reference" or judge.identity.model.startswith("local:")


def members(judge: Judge) -> tuple[Judge, ...]:
    """The judges that do the work: a jury's members, else the judge itself."""
    return judge.members if isinstance(judge, Jury) else (judge,)


def language_judge(judge: Judge) -> LangChainJudge | None:
    """`judge`, if it asks a language model through LangChain."""
    if not hasattr(judge, "forecast"):  # asked first, so that no other judge imports LangChain's
        return None
    from judges.llm import LangChainJudge

    return judge if isinstance(judge, LangChainJudge) else None


def announce(screen: Screen, judge: Judge, config: Config, rounds_left: int, chars: float | None) -> None:
    """Before anything is done: who judges, what leaves this machine, and how many calls, what cost and time that may be.

    `chars` is the mean length of a question with all that is known about it; None where that is not known yet. A jury's members are
    announced one by one.
    """
    if isinstance(judge, Jury):
        for member in judge.members:
            announce(screen, member, config, rounds_left, chars)
        return
    asks = language_judge(judge)
    if asks is None:
        return
    identity, prompt = judge.identity, asks.prompt
    screen.line(f"  judge                  {identity.model}, prompt {prompt.name} ({prompt.sha256[:12]}), judge_id {identity.judge_id}")
    if not asks.endpoint.local:
        screen.line(
            f"  leaves this machine    to {asks.endpoint.host}: {leaving(prompt.user + prompt.system)}, the judge prompt and the API key; "
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
    cost = "cost unknown (judge.price_in and judge.price_out are 0)" if forecast.cost is None else f"cost about {forecast.cost:,.2f}"
    if forecast.seconds is None:
        return f"{forecast.calls:,} calls, {tokens}, {cost}, time unknown before the first answers"
    minutes = forecast.seconds / 60
    return f"{forecast.calls:,} calls, {tokens}, {cost}, about " + (
        f"{minutes:,.0f} min" if minutes >= 1.5 else f"{forecast.seconds:,.0f} s"
    )


def mean_chars(run: Run, questions: Sequence[Question] = ()) -> float | None:
    """Mean length of a question to sample from, with all that is known about it: of `questions`, else of the run's; None without any."""
    lengths = [
        len(q.question) + len(q.context) + len(q.reference) + sum(map(len, q.key_points))
        for q in questions
        if q.split == "train" and not q.label
    ]
    if lengths:
        return sum(lengths) / len(lengths)
    length = "length(question) + length(context) + length(reference) + length(array_to_string(key_points, ''))"
    return run.store.query(f"SELECT avg({length}) AS mean FROM questions WHERE split = 'train' AND label = ''")[0]["mean"]


def judge_round(loop: Loop, round: int, questions: Sequence[Question], candidates: Sequence[Candidate]) -> list[Verdict]:
    """Verdicts of the labelling judge on all candidates of the round.

    What was answered stays, however the stage ends; what failed is asked again and replaced. Raises RlaifError when more than the
    configured share ends without a score: such a round would train on a biased rest; and when the judge had to stop (JudgeStopped).
    """
    run, judge = loop.run, loop.judge
    identity = judge.identity
    done = run.done(round, "judge")
    judge_id = done["judge_id"] if done else identity.judge_id
    if done is None:
        by_id = {q.question_id: q for q in questions}
        with run.stage(round, "judge") as stage:
            for one in (judge, *members(judge)):
                run.store.write(judge_rows(one))
            settled = {v.candidate_id for v in load_verdicts(run, round, judge_id) if v.status in SETTLED}
            todo = [c for c in candidates if c.candidate_id not in settled]
            items = [judge_item(by_id[c.question_id], c) for c in todo]
            for asks in filter(None, map(language_judge, members(judge))):
                if items:
                    loop.screen.line(f"  to judge               {describe(asks.forecast(items))}")
            size = chunk_size(judge)
            bar = loop.screen.bar("judge", len(todo))
            for start in range(0, len(items), size):
                with stage.model_time():
                    verdicts = judge_chunk(run, judge, items[start : start + size])
                scores = [v.score for v in verdicts if v.score is not None]
                bar.step(len(verdicts), note=f"mean score {sum(scores) / len(scores):.3f}" if scores else "no score")
            verdicts = load_verdicts(run, round, judge_id)
            unscored = [v for v in verdicts if v.status != "scored"]
            share = len(unscored) / max(len(verdicts), 1)
            if share > run.config.judge.failure_limit:
                example = f"e.g. {unscored[0].status}: {unscored[0].reason}"
                raise RlaifError(
                    f"round {round}: {len(unscored)} of {len(verdicts)} verdicts have no score ({share:.1%} > "
                    f"judge.failure_limit {run.config.judge.failure_limit:.1%}; {example}); mend the judge and run the same command again"
                )
            scores = [v.score for v in verdicts if v.score is not None]
            mean = sum(scores) / max(len(scores), 1)
            stage.detail = {"judge_id": judge_id, "verdicts": len(verdicts), "unscored": len(unscored), "mean_score": mean}
        bar.finish(f"{len(verdicts)} verdicts by {identity.model}, mean score {mean:.3f}")
    return load_verdicts(run, round, judge_id)


def chunk_size(judge: Judge) -> int:
    """How many answers are judged between two writes; fewer where a network is waited for, so that a person sees it move."""
    asked = [one.settings.concurrency for one in map(language_judge, members(judge)) if one]
    return min(JUDGE_CHUNK, 8 * min(asked)) if asked else JUDGE_CHUNK


def judge_chunk(run: Run, judge: Judge, items: Sequence[JudgeItem]) -> list[Verdict]:
    """Judge the items and store the verdicts, those of a jury's members too; returns the judge's own.

    When the judge has to stop, what it had finished is stored. Raises JudgeStopped.
    """
    try:
        given = judge.score_all(items) if isinstance(judge, Jury) else {judge.identity.judge_id: judge.score(items)}
    except JudgeStopped as error:
        if error.verdicts:
            run.store.write({"verdicts": error.verdicts}, replace=["verdicts"])
        raise
    run.store.write({"verdicts": [verdict for verdicts in given.values() for verdict in verdicts]}, replace=["verdicts"])
    return given[judge.identity.judge_id]


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
    return {"judges": [row], "prompts": [{"prompt_sha256": prompt.sha256, "kind": "judge", "name": prompt.name, "text": prompt.text}]}


def judge_item(question: Question, candidate: Candidate) -> JudgeItem:
    return JudgeItem(
        candidate_id=candidate.candidate_id,
        question=question.question,
        answer=candidate.text,
        reference=question.reference,
        context=question.context,
        key_points=question.key_points,
    )


def load_verdicts(run: Run, round: int, judge_id: str) -> list[Verdict]:
    rows = run.store.query(
        "SELECT v.* EXCLUDE (created_at) FROM verdicts v JOIN candidates c USING (candidate_id) "
        "WHERE c.round = ? AND v.judge_id = ? ORDER BY v.candidate_id, v.replicate",
        [round, judge_id],
    )
    return [Verdict(**row | {"flags": tuple(row["flags"])}) for row in rows]
