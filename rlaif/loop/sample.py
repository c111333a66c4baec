"""The candidates of a round: the champion's answers to each question, in fixed batches, each done or skipped whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlaif.config import Config
from rlaif.prompts import Prompt
from rlaif.records import load_candidates
from rlaif.render import answer_prompt, encode
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Candidate, Question, RlaifError, content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base


def sample_round(
    run: Run, base: Base, policy_id: str, round: int, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> list[Candidate]:
    """All candidates of the round, ordered by question and sample index.

    Batches that are in the database already are not made again. What a batch samples depends on its own seed and its
    own prompts alone, so a continued run has the same text as an undisturbed one.
    """
    from rlaif.models.answers import answers
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
            for number, batch in enumerate(batches):
                if number in stored_batches:
                    bar.step(len(batch.slots))
                    continue
                seed = random.Random(f"sample/{run.config.seed}/{round}/{number}").getrandbits(31)
                with stage.model_time():
                    generations = answers(
                        model,
                        base.tokenizer,
                        [prompts[q] for q, _ in batch.slots],
                        thinking=prompt.thinking,
                        temperature=settings.temperature,
                        top_p=settings.top_p,
                        max_new_tokens=settings.max_new_tokens,
                        seed=seed,
                        greedy=batch.greedy,
                    )
                recorded = settings.model_dump(include={"temperature", "top_p", "max_new_tokens"})
                recorded |= {"thinking": prompt.thinking} if prompt.thinking else {}
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
                        text=generation.text,
                        n_tokens=generation.n_tokens,
                        finish_reason=generation.finish_reason,
                        logprob=generation.logprob,
                        sampling=recorded,
                        thoughts=generation.thoughts,
                        thought_tokens=generation.thought_tokens,
                    )
                    for (q, index), generation in zip(batch.slots, generations, strict=True)
                ]
                run.store.write({"candidates": rows})
                bar.step(len(rows), tokens=sum(c.n_tokens + c.thought_tokens for c in rows))
            sums = run.store.query(
                "SELECT sum(n_tokens + coalesce(thought_tokens, 0)) AS tokens, count_if(finish_reason = 'thought') "
                "AS unanswered FROM candidates WHERE round = ?",
                [round],
            )
            tokens, unanswered = sums[0]["tokens"], sums[0]["unanswered"]
            stage.detail = {
                "candidates": total,
                "questions": len(questions),
                "batches": len(batches),
                "tokens": int(tokens),
                "room": window(model) - max(lengths[i] for i in fit),  # that the window leaves behind the longest
            } | {name: n for name, n in (("too_long", too_long), ("unanswered", unanswered)) if n}
        bar.finish(
            f"{total} candidates, {len(questions)} questions x {total // len(questions)}, {tokens / total:.0f} tokens "
            "each"
            + (f"; {too_long} question{'s' * (too_long > 1)} too long" if too_long else "")
            + (f"; {unanswered} whose thoughts did not end" if unanswered else "")
        )
    return load_candidates(run, round)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sampled together: (place of the question, sample index) of each row. Greedy ones are apart."""

    slots: list[tuple[int, int]]
    greedy: bool = False


def _batches(lengths: Sequence[int], config: Config) -> list[Batch]:
    """The batches of a round; `lengths` are those of the questions' prompts in tokens.

    The k samples of a question stand side by side: same length, and in one batch mostly. With `pairs.against` "greedy"
    its greedy answer comes after them, as sample k, in batches of its own behind all others.
    """
    from rlaif.models.generate import plan_batches

    k, size = config.sampling.k, config.sampling.batch_size
    slots = [(q, index) for q in range(len(lengths)) for index in range(k)]
    batches = [Batch([slots[i] for i in batch]) for batch in plan_batches([lengths[q] for q, _ in slots], size)]
    if config.pairs.against == "greedy":
        batches += [Batch([(q, k) for q in batch], greedy=True) for batch in plan_batches(lengths, size)]
    return batches
