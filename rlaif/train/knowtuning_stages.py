"""KnowTuning as stages of a run: `knowledge` finds the hard facts, `sft:knowledge` trains with them, `sft` compares
(DPO).
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from judges import kind_of
from rlaif.judging.announce import leaves
from rlaif.judging.configured import judge_settings
from rlaif.policies import adapter_folder
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.train.knowtuning import HARD, Rewritten, Spoiled, hard_questions, hardest, sentence_facts, spoil
from rlaif.train.published import recipe, train_examples, train_job
from rlaif.train.stages import recorded, sft_examples
from rlaif.types import Question, content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base
    from rlaif.train.atomic_facts import FactWriter


OFFLINE = (
    "no language model is configured (judge.model): facts are sentences, and hard answers are seen twice "
    "instead of rewritten"
)


def train_knowing(run: Run, base: Base, prompt: Prompt, screen: Screen) -> str:
    """The policy that KnowTuning makes: SFT with the hard facts, then DPO of the whole answers against spoiled ones.
    Returns its id.
    """
    from rlaif.train.dpo import PairExample
    from rlaif.train.job import Job
    from rlaif.train.one_row import recorded_rows
    from rlaif.train.sft import Example

    examples, ids = sft_examples(run, base, prompt)
    questions = {
        q.question_id: q for q in load_questions(run, "split = 'train' AND label = '' AND reference <> ''", [])
    }
    free = [questions[i] for i in dict.fromkeys(ids) if i in questions]
    found = knowledge(run, base, prompt, screen, free)
    extra = [Rewritten(**row) for row in found["augmented"]]
    pairs = [Spoiled(**row) for row in found["pairs"]]

    def prompt_of(question: Question) -> str:
        return answer_prompt(base.tokenizer, prompt, question)

    more = [
        Example(prompt_of(dataclasses.replace(questions[r.question_id], question=r.question)), r.answer) for r in extra
    ]
    mixed = list(
        zip(
            [*examples, *more],
            [(i, "sft") for i in ids] + [(r.question_id, "sft:knowledge") for r in extra],
            strict=True,
        )
    )
    random.Random(f"knowtuning/{run.config.seed}").shuffle(mixed)
    said = {
        "facts_by": found["facts_by"],
        "knowledge": content_id(found["augmented"], found["pairs"]),
        "hard_share": HARD,
    }

    done = run.done(0, "sft:knowledge")
    if done is not None:
        first = str(done["policy_id"])
    else:
        first = train_examples(
            run, base, prompt, screen, "sft:knowledge", [e for e, _ in mixed], [i for _, i in mixed], said
        )
    policy = run.policy(first)
    of_rounds = ("heldout", "earlier", "reference_chosen")  # these choose a round's pairs, and none of the pairs here
    settings = {k: v for k, v in recorded(run.config.dpo).items() if k not in of_rounds}
    made = recipe(run, base, prompt) | said | {"kind": "dpo", "dpo": settings} | recorded_rows(base.model)
    items = [(p.question_id, f"dpo:{p.kind}") for p in pairs]
    row = {
        "policy_id": content_id("dpo", first, made, items, run.config.seed),
        "parent_id": first,
        "reference_id": first,
        "kind": "dpo",
        "round": 0,
        "recipe": made,
    }
    texts = [PairExample(prompt_of(questions[p.question_id]), p.chosen, p.rejected) for p in pairs]
    start = adapter_folder(run, policy)
    return train_job(
        run,
        base,
        screen,
        "sft",
        row,
        items,
        lambda out: Job("dpo", texts, out, start, policy["sha256"]),
        f"{len(texts)} pairs",
    )


def knowledge(run: Run, base: Base, prompt: Prompt, screen: Screen, questions: Sequence[Question]) -> dict[str, Any]:
    """Stage `knowledge`: {"facts_by", "facts", "unread", "augmented": [Rewritten], "pairs": [Spoiled]}, the last two as
    dictionaries.

    Its detail holds the texts, so that what was trained on can be read in SQL. Raises JudgeStopped; what was answered
    is kept.
    """
    done = run.done(0, "knowledge")
    if done is not None:
        return done
    writer = fact_writer(run, screen, len(questions))
    with run.stage(0, "knowledge") as stage:
        given = writer.facts(questions) if writer else [None] * len(questions)
        facts = [found or sentence_facts(q) for q, found in zip(questions, given, strict=True)]
        with stage.model_time():
            perplexities = fact_perplexities(base, prompt, questions, facts, run.config.evaluation.batch_size, screen)
        if writer:
            hard = [hardest(f, p) for f, p in zip(facts, perplexities, strict=True)]
            augmented = [r for r in writer.rewrite(questions, hard) if r is not None]
        else:
            means = {q.question_id: sum(p) / len(p) for q, p in zip(questions, perplexities, strict=True) if p}
            by_id = {q.question_id: q for q in questions}
            augmented = [Rewritten(i, by_id[i].question, by_id[i].reference) for i in hard_questions(means)]
        spoiled = [
            pair
            for q, f in zip(questions, facts, strict=True)
            for pair in spoil(q, f, random.Random(f"knowtuning/{run.config.seed}/{q.question_id}"))
        ]
        stage.detail = detail = {
            "facts_by": writer.model if writer else "sentences",
            "facts": sum(map(len, facts)),
            "unread": sum(found is None for found in given) if writer else 0,
            "augmented": [dataclasses.asdict(r) for r in augmented],
            "pairs": [dataclasses.asdict(p) for p in spoiled],
        }
    kinds = {kind: sum(p.kind == kind for p in spoiled) for kind in ("delete", "revise", "shuffle")}
    unread = (
        f", {detail['unread']} answers without a list of facts (their sentences instead)" if detail["unread"] else ""
    )
    screen.line(
        f"  knowledge              {detail['facts']} facts of {len(questions)} answers by "
        f"{detail['facts_by']}{unread}; "
        f"{len(augmented)} hard ones {'rewritten' if writer else 'again'}; pairs: "
        + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    )
    return detail


def fact_writer(run: Run, screen: Screen, n: int) -> FactWriter | None:
    """What writes facts and questions, announced; None, and said so, where the configured judge is no chat model."""
    judge = run.config.judge
    if kind_of(judge.model, judge.addresses) != "chat":
        screen.line(f"  knowledge              {OFFLINE}", style="yellow")
        return None
    from rlaif.train.atomic_facts import FactWriter

    writer = FactWriter(run.config, judge_settings(run.config), run.store)
    screen.line(
        f"  knowledge              {writer.model} writes facts and questions: {2 * n:,} calls at most, "
        "those in the cache left out"
    )
    if not writer.local:
        screen.line(leaves(writer.where, "{question}{reference}", "the API key"), style="yellow")
    return writer


def fact_perplexities(
    base: Base,
    prompt: Prompt,
    questions: Sequence[Question],
    facts: Sequence[Sequence[str]],
    batch_size: int,
    screen: Screen,
) -> list[list[float]]:
    """Perplexity under the base of each fact as the answer to its question, >= 1, in the order of `facts`."""
    from rlaif.models.generate import window
    from rlaif.models.logprobs import completion_loss

    flat = [(i, fact) for i, some in enumerate(facts) for fact in some]
    bar = screen.bar("fact perplexity", len(flat))
    out: list[list[float]] = [[] for _ in facts]
    chunk = 8 * batch_size
    for start in range(0, len(flat), chunk):
        part = flat[start : start + chunk]
        prompts = [answer_prompt(base.tokenizer, prompt, questions[i]) for i, _ in part]
        losses = completion_loss(
            base.model,
            base.tokenizer,
            prompts,
            [fact for _, fact in part],
            batch_size=batch_size,
            max_length=min(1024, window(base.model) - 1),
        )
        for (i, _), (loss, tokens) in zip(part, losses, strict=True):
            out[i].append(math.exp(min(loss / max(tokens, 1), 700.0)))
        bar.step(len(part))
    bar.finish(f"{len(flat)} facts")
    return out
