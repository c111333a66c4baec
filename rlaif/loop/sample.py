"""The candidates of a round: the champion's answers to each question, in fixed batches, each done or skipped whole."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rlaif.config import Config
from rlaif.loop.served import sample_served
from rlaif.prompts import Prompt
from rlaif.records import engines, load_candidates
from rlaif.render import answer_prompt, encode
from rlaif.run import Run, Stage
from rlaif.screen import Screen
from rlaif.types import Candidate, Question, RlaifError, content_id

if TYPE_CHECKING:
    from rlaif.models.answers import Reply
    from rlaif.models.base import Base

T = TypeVar("T")


def sample_round(
    run: Run, base: Base, policy_id: str, round: int, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> list[Candidate]:
    """All candidates of the round, ordered by question and sample index.

    Batches that are in the database already are not made again. What a batch samples depends on its own seed and its
    own prompts alone, so a continued run has the same text as an undisturbed one; with `sampling.engine` "vllm" it has
    the same batches, and texts of its own.
    """
    from rlaif.models.generate import window
    from rlaif.policies import load_policy

    if run.done(round, "sample") is None:
        settings = run.config.sampling
        with run.stage(round, "sample") as stage:
            with stage.model_time():
                model = load_policy(run, base, policy_id)
            prompts = [answer_prompt(base.tokenizer, prompt, q, thinking=prompt.thinking > 0) for q in questions]
            lengths = [len(encode(base.tokenizer, text)) for text in prompts]
            room = window(model) - settings.max_new_tokens - prompt.thinking
            fit = [i for i, length in enumerate(lengths) if length <= room]
            too_long = len(questions) - len(fit)
            if not fit:
                raise RlaifError(
                    f"round {round}: each of {len(questions)} questions has more tokens than the {room:,} that leave "
                    "room for an answer; shorten the contexts, or lower sampling.max_new_tokens"
                )
            questions, prompts = [questions[i] for i in fit], [prompts[i] for i in fit]
            batches = _batches([lengths[i] for i in fit], run.config)
            total = sum(len(batch.slots) for batch in batches)
            stored = run.store.query("SELECT DISTINCT batch FROM candidates WHERE round = ?", [round])
            stored_batches = {row["batch"] for row in stored}
            bar = screen.bar("sample", total)
            bar.step(sum(len(batches[number].slots) for number in stored_batches))
            left = [number for number in range(len(batches)) if number not in stored_batches]
            work = _Work(batches, prompts, prompt.thinking, round, run.config)
            if settings.engine == "vllm" and left:  # a round whose answers are all stored needs no server
                need = max(lengths[i] for i in fit) + prompt.thinking + settings.max_new_tokens
                made = sample_served(run, base, policy_id, model, left, work.prompts, work.how, need, screen.line)
            else:
                made = _sample_here(model, base, left, work)
            for number, replies, engine in _timed(stage, made):
                batch, seed = batches[number], work.seed(number)
                recorded = settings.model_dump(include={"temperature", "top_p", "max_new_tokens"})
                recorded |= {"thinking": prompt.thinking} if prompt.thinking else {}
                recorded |= {"engine": engine} if engine else {}
                if batch.greedy:
                    recorded |= {"temperature": 0.0, "top_p": 1.0}
                rows = [
                    Candidate(
                        candidate_id=content_id(
                            questions[q].question_id, policy_id, prompt.sha256, recorded, seed, index
                        ),
                        round=round,
                        question_id=questions[q].question_id,
                        policy_id=policy_id,
                        prompt_sha256=prompt.sha256,
                        sample_index=index,
                        batch=number,
                        seed=seed,
                        text=reply.text,
                        n_tokens=reply.n_tokens,
                        finish_reason=reply.finish_reason,
                        logprob=reply.logprob,
                        sampling=recorded,
                        thoughts=reply.thoughts,
                        thought_tokens=reply.thought_tokens,
                    )
                    for (q, index), reply in zip(batch.slots, replies, strict=True)
                ]
                run.store.write({"candidates": rows})
                bar.step(len(rows), tokens=sum(c.n_tokens + c.thought_tokens for c in rows))
            sums = run.store.query(
                "SELECT sum(n_tokens + coalesce(thought_tokens, 0)) AS tokens, count_if(finish_reason = 'thought') "
                "AS unanswered FROM candidates WHERE round = ?",
                [round],
            )
            tokens, unanswered = sums[0]["tokens"], sums[0]["unanswered"]
            engine = " and ".join(engines(run, f"round = {round}"))
            stage.detail = {
                "candidates": total,
                "questions": len(questions),
                "batches": len(batches),
                "tokens": int(tokens),
                "room": window(model) - max(lengths[i] for i in fit),  # that the window leaves behind the longest
            } | {name: n for name, n in (("too_long", too_long), ("unanswered", unanswered), ("engine", engine)) if n}
        bar.finish(
            f"{total} candidates, {len(questions)} questions x {total // len(questions)}, {tokens / total:.0f} tokens "
            "each"
            + (f", from {engine}" if engine else "")
            + (f"; {too_long} question{'s' * (too_long > 1)} too long" if too_long else "")
            + (f"; {unanswered} whose thoughts did not end" if unanswered else "")
        )
    return load_candidates(run, round)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sampled together: (place of the question, sample index) of each row. Greedy ones are apart."""

    slots: list[tuple[int, int]]
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class _Work:
    """The batches of a round: what each is asked, and how."""

    batches: Sequence[Batch]
    questions: Sequence[str]  # their prompts
    thinking: int
    round: int
    config: Config

    def seed(self, number: int) -> int:
        return random.Random(f"sample/{self.config.seed}/{self.round}/{number}").getrandbits(31)

    def prompts(self, number: int) -> list[str]:
        return [self.questions[q] for q, _ in self.batches[number].slots]

    def how(self, number: int) -> dict[str, Any]:
        """What `rlaif.models.answers.answers` takes beside the prompts."""
        settings = self.config.sampling.model_dump(include={"temperature", "top_p", "max_new_tokens"})
        more = {"seed": self.seed(number), "greedy": self.batches[number].greedy}
        return settings | more | {"thinking": self.thinking}


def _sample_here(model: Any, base: Base, numbers: Sequence[int], work: _Work) -> Iterator[tuple[int, list[Reply], str]]:
    from rlaif.models.answers import answers

    for number in numbers:
        yield number, answers(model, base.tokenizer, work.prompts(number), **work.how(number)), ""


def _timed(stage: Stage, made: Iterator[T]) -> Iterator[T]:
    """What is made, the time of making it counted as model work."""
    while True:
        with stage.model_time():
            item = next(made, None)
        if item is None:
            return
        yield item


def _batches(lengths: Sequence[int], config: Config) -> list[Batch]:
    """The batches of a round; `lengths` are those of the questions' prompts in tokens.

    The k samples of a question stand side by side: same length, and in one batch mostly. With `pairs.against` other
    than "worst" its greedy answer comes after them, as sample k, in batches of its own behind all others.
    """
    from rlaif.models.generate import plan_batches

    k, size = config.sampling.k, config.sampling.batch_size
    slots = [(q, index) for q in range(len(lengths)) for index in range(k)]
    batches = [Batch([slots[i] for i in batch]) for batch in plan_batches([lengths[q] for q, _ in slots], size)]
    if config.pairs.against != "worst":
        batches += [Batch([(q, k) for q in batch], greedy=True) for batch in plan_batches(lengths, size)]
    return batches
