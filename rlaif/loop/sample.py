"""The candidates of a round: k answers per question by the champion, in fixed batches, each done or skipped whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    from rlaif.models.generate import plan_batches, window
    from rlaif.policies import load_policy

    if run.done(round, "sample") is None:
        settings = run.config.sampling
        recorded = settings.model_dump(include={"temperature", "top_p", "max_new_tokens"})
        recorded |= {"thinking": prompt.thinking} if prompt.thinking else {}
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
            lengths = [lengths[i] for i in fit]
            # the k samples of a question stand side by side: same length, and in one batch mostly
            slots = [(q, k) for q in range(len(questions)) for k in range(settings.k)]
            batches = plan_batches([lengths[q] for q, _ in slots], settings.batch_size)
            stored = run.store.query("SELECT DISTINCT batch FROM candidates WHERE round = ?", [round])
            stored_batches = {row["batch"] for row in stored}
            bar = screen.bar("sample", len(slots))
            for number, batch in enumerate(batches):
                if number in stored_batches:
                    bar.step(len(batch))
                    continue
                seed = random.Random(f"sample/{run.config.seed}/{round}/{number}").getrandbits(31)
                with stage.model_time():
                    generations = answers(
                        model,
                        base.tokenizer,
                        [prompts[slots[i][0]] for i in batch],
                        thinking=prompt.thinking,
                        temperature=settings.temperature,
                        top_p=settings.top_p,
                        max_new_tokens=settings.max_new_tokens,
                        seed=seed,
                    )
                rows = [
                    Candidate(
                        candidate_id=content_id(
                            questions[slots[i][0]].question_id, policy_id, prompt.sha256, recorded, seed, slots[i][1]
                        ),
                        round=round,
                        question_id=questions[slots[i][0]].question_id,
                        policy_id=policy_id,
                        prompt_sha256=prompt.sha256,
                        sample_index=slots[i][1],
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
                    for i, generation in zip(batch, generations, strict=True)
                ]
                run.store.write({"candidates": rows})
                bar.step(len(batch), tokens=sum(c.n_tokens + c.thought_tokens for c in rows))
            sums = run.store.query(
                "SELECT sum(n_tokens + coalesce(thought_tokens, 0)) AS tokens, count_if(finish_reason = 'thought') "
                "AS unanswered FROM candidates WHERE round = ?",
                [round],
            )
            total, unanswered = sums[0]["tokens"], sums[0]["unanswered"]
            stage.detail = {
                "candidates": len(slots),
                "questions": len(questions),
                "batches": len(batches),
                "tokens": int(total),
                "room": window(model) - max(lengths),  # that the window leaves behind the longest prompt
            } | {name: n for name, n in (("too_long", too_long), ("unanswered", unanswered)) if n}
        bar.finish(
            f"{len(slots)} candidates, {len(questions)} questions x {settings.k}, {total / len(slots):.0f} tokens each"
            + (f"; {too_long} question{'s' * (too_long > 1)} too long" if too_long else "")
            + (f"; {unanswered} whose thoughts did not end" if unanswered else "")
        )
    return load_candidates(run, round)
