"""The candidates of a round: the champion's answers to each question, in fixed batches, each done or skipped whole."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlaif.cluster.pool import Pool
from rlaif.config import Config
from rlaif.loop.clustered import sample_clustered
from rlaif.loop.served import sample_served
from rlaif.prompts import Prompt
from rlaif.records import engines, load_candidates
from rlaif.render import answer_prompt, encode
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Candidate, Question, RlaifError, content_id

if TYPE_CHECKING:
    from rlaif.models.answers import Reply
    from rlaif.models.base import Base

Made = tuple[int, "list[Reply]", str]  # a batch's number, a reply to each of its prompts, and the engine


def sample_round(
    run: Run,
    base: Base,
    policy_id: str,
    round: int,
    questions: Sequence[Question],
    prompt: Prompt,
    screen: Screen,
    workers: Pool | None = None,
) -> list[Candidate]:
    """All candidates of the round, ordered by question and sample index.

    Batches that are in the database already are not made again. What a batch samples depends on its own seed and its
    own prompts alone, so a continued run has the same text as an undisturbed one, and so has one whose batches
    `workers` make; with `sampling.engine` "vllm" it has the same batches, and texts of its own.
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
            work = _Work(batches, questions, prompts, prompt, policy_id, round, run.config)
            made: Iterator[Sequence[Made]]
            if settings.engine == "vllm" and left:  # a round whose answers are all stored needs no server
                need = max(lengths[i] for i in fit) + prompt.thinking + settings.max_new_tokens
                served = sample_served(run, base, policy_id, model, left, work.asked, work.how, need, screen.line)
                made = ([one] for one in served)
            elif workers:
                made = sample_clustered(run, workers, policy_id, left, work.asked, work.how)
            else:
                made = _sample_here(model, base, left, work)
            for done in stage.timed(made):
                rows = [row for number, replies, engine in done for row in work.rows(number, replies, engine)]
                run.store.write({"candidates": rows})
                tokens = sum(c.n_tokens + c.thought_tokens for c in rows)
                bar.step(len(rows), tokens=tokens, note=workers.note() if workers else "")
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
    """The batches of a round: what each is asked, how, and what rows come of it."""

    batches: Sequence[Batch]
    questions: Sequence[Question]
    prompts: Sequence[str]  # of the questions
    prompt: Prompt
    policy_id: str
    round: int
    config: Config

    def seed(self, number: int) -> int:
        return random.Random(f"sample/{self.config.seed}/{self.round}/{number}").getrandbits(31)

    def asked(self, number: int) -> list[str]:
        return [self.prompts[q] for q, _ in self.batches[number].slots]

    def how(self, number: int) -> dict[str, Any]:
        """What `rlaif.models.answers.answers` takes beside the prompts."""
        settings = self.config.sampling.model_dump(include={"temperature", "top_p", "max_new_tokens"})
        more = {"seed": self.seed(number), "greedy": self.batches[number].greedy}
        return settings | more | {"thinking": self.prompt.thinking}

    def rows(self, number: int, replies: Sequence[Reply], engine: str) -> list[Candidate]:
        batch, seed = self.batches[number], self.seed(number)
        recorded = self.config.sampling.model_dump(include={"temperature", "top_p", "max_new_tokens"})
        recorded |= {"thinking": self.prompt.thinking} if self.prompt.thinking else {}
        recorded |= {"engine": engine} if engine else {}
        if batch.greedy:
            recorded |= {"temperature": 0.0, "top_p": 1.0}
        return [
            Candidate(
                candidate_id=content_id(
                    self.questions[q].question_id, self.policy_id, self.prompt.sha256, recorded, seed, index
                ),
                round=self.round,
                question_id=self.questions[q].question_id,
                policy_id=self.policy_id,
                prompt_sha256=self.prompt.sha256,
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


def _sample_here(model: Any, base: Base, numbers: Sequence[int], work: _Work) -> Iterator[list[Made]]:
    from rlaif.models.answers import answers

    for number in numbers:
        yield [(number, answers(model, base.tokenizer, work.asked(number), **work.how(number)), "")]


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
