"""Policies of a run: what trained them, their rows, and loading them again. The training itself is in `sft` and
`dpo`.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.config import Config
from rlaif.models.settings import settings_of
from rlaif.policies import adapter_of, base_under
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt, label_example
from rlaif.run import Run, Stage, check_disk
from rlaif.screen import Screen
from rlaif.types import Question, content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base


MIN_PAIRS = 8  # fewer pairs than this train nothing worth gating
FLUSH_EVERY = 5.0  # seconds between two writes of the training log
# How SFT puts its examples into batches (rlaif.train.mix): part of what it trains, so a change gets a new number.
BATCHES = "mixed-1"
ADAPTER_KEYS = {"lora_r", "lora_alpha", "lora_dropout", "target_modules"}


def sft_examples(run: Run, base: Base, prompt: Prompt) -> tuple[list[Any], list[str]]:
    """What SFT trains on, and the question ids: answers to free-text questions, labels of yes/no/maybe questions,
    shuffled.
    """
    from rlaif.train.sft import Example

    data = run.config.data
    rng = random.Random(f"sft/{run.config.seed}")

    def some(where: str, limit: int) -> list[Question]:
        asked = " OR ".join("starts_with(dataset, ?)" for _ in data.train_on) or "true"
        questions = load_questions(run, f"split = 'train' AND {where} AND ({asked})", list(data.train_on))
        return rng.sample(questions, limit) if 0 < limit < len(questions) else questions

    free = some("label = '' AND reference <> ''", data.sft_medquad)
    labelled = some("label <> ''", data.sft_pubmedqa)
    both = [(q.question_id, Example(answer_prompt(base.tokenizer, prompt, q), q.reference, "answer")) for q in free]
    both += [(q.question_id, Example(*label_example(prompt, base.tokenizer, q), "label")) for q in labelled]
    rng.shuffle(both)
    return [example for _, example in both], [question_id for question_id, _ in both]


def sft(run: Run, base: Base, prompt: Prompt, screen: Screen) -> str:
    """Stage `sft`: a fresh adapter trained on the training questions. Returns its policy id."""
    from rlaif.models.adapter import attach_adapter
    from rlaif.train.sft import train_sft

    done = run.done(0, "sft")
    if done is not None:
        return str(done["policy_id"])
    parent = run.policy("base")["policy_id"]
    examples, ids = sft_examples(run, base, prompt)
    recipe = recipe_of(run.config, "sft", prompt, base)
    policy_id = content_id("sft", parent, recipe, ids, run.config.seed)
    with run.stage(0, "sft") as stage:

        def train(out: Path, log: Any, progress: Any) -> Any:
            model = attach_adapter(base, run.config.model, run.config.seed)
            return train_sft(
                base, model, examples, run.config.sft, out, seed=run.config.seed, on_log=log, on_progress=progress
            )

        row = {"policy_id": policy_id, "parent_id": parent, "kind": "sft", "round": 0, "recipe": recipe}
        items = [{"policy_id": policy_id, "item_id": i, "role": "sft"} for i in ids]
        train_stage(run, base, stage, screen, row, items, train, f"{len(examples)} examples")
    return policy_id


def dpo(run: Run, base: Base, champion: str, round: int, prompt: Prompt, screen: Screen) -> str:
    """Stage `dpo`: the champion's adapter trained on the kept pairs of its own answers, with itself as reference.
    Returns the policy id.

    After a round that changed nothing the champion is the one of the round before, and so are its answers: all of them
    are trained on, so each try has more to learn from than the last. Imported pairs are trained on too, unless the
    champion or an ancestor of it was already.
    """
    from rlaif.models.adapter import attach_adapter, load_adapter
    from rlaif.train.dpo import PairExample, train_dpo

    done = run.done(round, "dpo")
    if done is not None:
        return str(done["policy_id"])
    rows = dpo_pairs(run, champion, round)
    ids = [row["pair_id"] for row in rows]
    recipe = recipe_of(run.config, "dpo", prompt, base)
    seed = random.Random(f"dpo/{run.config.seed}/{round}").getrandbits(31)
    policy_id = content_id("dpo", champion, recipe, ids, seed)
    by_id = {q.question_id: q for q in load_questions(run, "split = 'train'", [])}
    pairs = [
        PairExample(answer_prompt(base.tokenizer, prompt, by_id[r["question_id"]]), r["chosen"], r["rejected"])
        for r in rows
    ]
    policy = run.policy(champion)
    with run.stage(round, "dpo") as stage:

        def train(out: Path, log: Any, progress: Any) -> Any:
            adapter, under = adapter_of(run, policy), base_under(run, base, policy)
            if adapter is None:  # SFT was not promoted, or trained all weights: a fresh adapter, which starts as these
                model = attach_adapter(under, run.config.model, seed)
            else:
                model = load_adapter(under, adapter, trainable=True, expected_sha256=policy["sha256"])
            return train_dpo(under, model, pairs, run.config.dpo, out, seed=seed, on_log=log, on_progress=progress)

        row = {
            "policy_id": policy_id,
            "parent_id": champion,
            "reference_id": champion,
            "kind": "dpo",
            "round": round,
            "recipe": recipe,
        }
        items = [{"policy_id": policy_id, "item_id": i, "role": "dpo"} for i in ids]
        train_stage(run, base, stage, screen, row, items, train, f"{len(pairs)} pairs")
    return policy_id


def dpo_pairs(run: Run, champion: str, round: int) -> list[dict[str, Any]]:
    """pair_id, question_id, chosen and rejected of what a round trains on: see :func:`dpo`."""
    return run.store.query(
        "WITH RECURSIVE line(policy_id) AS (SELECT ? UNION SELECT parent_id FROM policies JOIN line USING (policy_id)) "
        "SELECT p.pair_id, p.question_id, ch.text AS chosen, re.text AS rejected FROM preferences p "
        "JOIN answers ch ON ch.candidate_id = p.chosen_id JOIN answers re ON re.candidate_id = p.rejected_id "
        "LEFT JOIN stages s ON s.round = p.round AND s.stage = 'pairs' "
        # the margin again, because the controller may have raised it since the pair was made; where the round's own
        # quantile was enough, it still is
        "WHERE p.status = 'kept' AND ((ch.policy_id = ? AND p.round <= ? AND coalesce(p.margin, 1) >= "
        "least(?, coalesce((s.detail ->> 'quantile_margin')::DOUBLE, 1)) - 1e-9) "
        "OR (p.kind = 'imported' AND p.pair_id NOT IN (SELECT item_id FROM policy_items JOIN line USING "
        "(policy_id)))) ORDER BY p.pair_id",
        [champion, champion, round, run.config.pairs.min_margin],
    )


def recipe_of(config: Config, kind: str, prompt: Prompt, base: Base) -> dict[str, Any]:
    """Everything but data, parent and seed that decides what training makes."""
    settings = config.sft if kind == "sft" else config.dpo
    return {
        "kind": kind,
        "base_sha256": base.sha256,
        "prompt_sha256": prompt.sha256,
        "adapter": config.model.model_dump(include=ADAPTER_KEYS, mode="json"),
        "threads": config.model.threads,
        **settings.model_dump(),
    } | ({"batches": BATCHES} if kind == "sft" else {})


def train_stage(
    run: Run,
    base: Base,
    stage: Stage,
    screen: Screen,
    row: dict[str, Any],
    items: Sequence[dict[str, str]],
    train: Callable[[Path, Any, Any], Any],
    what: str,
) -> None:
    """Train into `policies/<policy_id>` and collect the stage's rows. An interrupted training left a log: it is dropped
    first.
    """
    policy_id = row["policy_id"]
    check_disk(run.folder)
    run.store.execute([("DELETE FROM train_log WHERE policy_id = ?", [policy_id])])
    out = run.policies / policy_id
    shutil.rmtree(out, ignore_errors=True)
    bar = screen.bar(f"train {row['kind']}")
    pending: list[dict[str, Any]] = []
    flushed, reached, loss = time.monotonic(), 0, ""

    def log(step: int, values: dict[str, float]) -> None:
        nonlocal flushed, loss
        loss = f"loss {values['loss']:.3f}"
        pending.extend(
            {"policy_id": policy_id, "step": step, "name": name, "value": value} for name, value in values.items()
        )
        if time.monotonic() - flushed > FLUSH_EVERY:
            run.store.write({"train_log": pending})
            pending.clear()
            flushed = time.monotonic()

    def progress(step: int, steps: int) -> None:
        nonlocal reached
        bar.total(steps)
        bar.step(step - reached, note=loss)
        reached = step

    with stage.model_time():
        result = train(out, log, progress)
    path = str(out.relative_to(run.folder))
    known = {"path": path, "sha256": result.sha256, "base_sha256": base.sha256, "settings": settings_of(out)}
    stage.rows = {
        "train_log": pending,
        "policies": [row | known],
        "policy_items": items,
    }
    if not pending:
        del stage.rows["train_log"]
    stage.detail = {"policy_id": policy_id, "steps": result.steps, "tokens": result.tokens, "skipped": result.skipped}
    skipped = f", {result.skipped} too long" if result.skipped else ""
    bar.finish(
        f"{policy_id[:8]}, {what}{skipped}, {result.steps} steps, last {loss}, "
        f"{result.tokens / max(result.seconds, 1e-9):,.0f} tok/s"
    )
