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

from rlaif.checkpoints import FOLDER, Keep, clear, clear_others
from rlaif.config import Config, SftConfig, TrainerConfig
from rlaif.logs import LOG
from rlaif.models.settings import settings_of
from rlaif.policies import adapter_of, base_under
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.render import answer_prompt, label_example
from rlaif.run import Run, Stage, check_disk
from rlaif.screen import Screen
from rlaif.thoughts import joined
from rlaif.train.material import Taught, best_answers, dpo_pairs, label_smoothing, split_heldout
from rlaif.types import Question, RlaifError, content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base
    from rlaif.train.dpo import PairExample
    from rlaif.train.sft import Example


MIN_PAIRS = 8  # fewer pairs than this train nothing worth gating
FLUSH_EVERY = 5.0  # seconds between two writes of the training log
# How SFT puts its examples into batches (rlaif.train.mix): part of what it trains, so a change gets a new number.
BATCHES = "mixed-1"
ADAPTER_KEYS = {"lora_r", "lora_alpha", "lora_dropout", "target_modules"}
# Of [dpo], younger than the first recipes.
LATER_KEYS = {"loss", "label_smoothing", "ld_alpha", "heldout", "earlier", "reference_chosen", "interpolation"}
# Answers in any order: grouped by length, each megabatch would end in its shortest.
RANDOM_ORDER = {"train_sampling_strategy": "random"}


def sft_examples(run: Run, base: Base, prompt: Prompt) -> tuple[list[Any], list[str]]:
    """What SFT trains on, and the question ids: answers to free-text questions, labels of yes/no/maybe questions,
    shuffled.

    Where not all free-text questions are taken, whole groups (topics, documents) are: the questions that are left for
    the preference rounds are then about what SFT has not seen, as those of the gate are.
    """
    from rlaif.train.sft import Example

    data = run.config.data
    rng = random.Random(f"sft/{run.config.seed}")

    def some(where: str) -> list[Question]:
        asked = " OR ".join("starts_with(dataset, ?)" for _ in data.train_on) or "true"
        return load_questions(run, f"split = 'train' AND {where} AND ({asked})", list(data.train_on))

    free = some("label = '' AND reference <> ''")
    if 0 < data.sft_medquad < len(free):
        groups = sorted({q.group_id for q in free})
        order = {group: place for place, group in enumerate(rng.sample(groups, len(groups)))}
        free = sorted(free, key=lambda q: (order[q.group_id], q.question_id))[: data.sft_medquad]
    labelled = some("label <> ''")
    if 0 < data.sft_pubmedqa < len(labelled):
        labelled = rng.sample(labelled, data.sft_pubmedqa)
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

        def train(out: Path, log: Any, progress: Any, keep: Keep) -> Any:
            model = attach_adapter(base, run.config.model, run.config.seed)
            return train_sft(base, model, examples, run.config.sft, out, run.config.seed, log, progress, keep=keep)

        row = {"policy_id": policy_id, "parent_id": parent, "kind": "sft", "round": 0, "recipe": recipe}
        items = [{"policy_id": policy_id, "item_id": i, "role": "sft"} for i in ids]
        train_stage(run, base, stage, screen, row, items, train, f"{len(examples)} examples")
    return policy_id


def raft(run: Run, base: Base, champion: str, round: int, prompt: Prompt, screen: Screen) -> str:
    """Stage `raft`: the champion's adapter fine-tuned on its own best answers of the round, and on references where
    `best_of.references` asks for them. Returns the policy id.

    The policy has a row of its own, though DPO may follow in the same round: the round's DPO starts from it, and has it
    as its reference. So each row in `policies` says by itself what it was trained on and from where.
    """
    from rlaif.train.sft import train_sft

    done = run.done(round, "raft")
    if done is not None:
        return str(done["policy_id"])
    taught = best_answers(run, champion, round, run.config)
    if not taught:
        raise RlaifError(
            f"round {round}: no answer for best_of to train on; lower best_of.min_score, raise "
            "sampling.max_new_tokens, or set best_of.references"
        )
    seed = random.Random(f"raft/{run.config.seed}/{round}").getrandbits(31)
    recipe = recipe_of(run.config, "raft", prompt, base)
    policy_id = content_id("raft", champion, recipe, [t.item_id for t in taught], seed)
    examples = examples_of(run, base, prompt, taught)
    with run.stage(round, "raft") as stage:

        def train(out: Path, log: Any, progress: Any, keep: Keep) -> Any:
            under, model = start_of(run, base, champion, seed)
            settings = as_sft(run.config.best_of)
            more = {**RANDOM_ORDER}
            return train_sft(
                under, model, examples, settings, out, seed, log, progress, name="best_of", more=more, keep=keep
            )

        row = {"policy_id": policy_id, "parent_id": champion, "kind": "raft", "round": round, "recipe": recipe}
        items = [{"policy_id": policy_id, "item_id": t.item_id, "role": "raft"} for t in taught]
        train_stage(run, base, stage, screen, row, items, train, f"{len(taught)} answers")
    return policy_id


def dpo(
    run: Run, base: Base, champion: str, round: int, prompt: Prompt, screen: Screen, start: str | None = None
) -> str:
    """Stage `dpo`: the adapter of policy `start` (None: the champion) trained on the kept pairs of the champion's
    answers (see :func:`rlaif.train.material.dpo_pairs`), with `start` as reference. Returns the policy id.
    """
    from rlaif.train.dpo import train_dpo
    from rlaif.train.one_row import recorded_rows

    done = run.done(round, "dpo")
    if done is not None:
        return str(done["policy_id"])
    start = start or champion
    rows = dpo_pairs(run, champion, round, run.config)
    smoothing = label_smoothing(run, round, run.config)
    recipe = recipe_of(run.config, "dpo", prompt, base) | recorded_rows(base.model)
    if run.config.dpo.label_smoothing == "judge":  # the number is what trains
        recipe["label_smoothing"] = smoothing
    seed = random.Random(f"dpo/{run.config.seed}/{round}").getrandbits(31)
    policy_id = content_id("dpo", start, recipe, [row["pair_id"] for row in rows], seed)
    seen, unseen = split_heldout(rows, run.config.dpo.heldout, seed)
    pairs, heldout = pairs_of(run, base, prompt, seen), pairs_of(run, base, prompt, unseen)
    with run.stage(round, "dpo") as stage:

        def train(out: Path, log: Any, progress: Any, keep: Keep) -> Any:
            under, model = start_of(run, base, start, seed)
            return train_dpo(
                under,
                model,
                pairs,
                run.config.dpo,
                out,
                seed=seed,
                on_log=log,
                on_progress=progress,
                heldout=heldout,
                label_smoothing=smoothing,
                keep=keep,
            )

        row = {
            "policy_id": policy_id,
            "parent_id": start,
            "reference_id": start,
            "kind": "dpo",
            "round": round,
            "recipe": recipe,
        }
        items = [{"policy_id": policy_id, "item_id": r["pair_id"], "role": "dpo"} for r in seen]
        items += [{"policy_id": policy_id, "item_id": r["pair_id"], "role": "dpo:heldout"} for r in unseen]
        aside = f", {len(heldout)} held out" if heldout else ""
        train_stage(run, base, stage, screen, row, items, train, f"{len(pairs)} pairs{aside}")
    return policy_id


def examples_of(run: Run, base: Base, prompt: Prompt, taught: Sequence[Taught]) -> list[Example]:
    """The answers behind their prompts, in order."""
    from rlaif.train.sft import Example

    by_id = {q.question_id: q for q in load_questions(run, "split = 'train'", [])}
    examples = []
    for t in taught:  # a reference has no thoughts, and is taught as an answer without
        thinking = prompt.thinking > 0 and bool(t.thoughts)
        text = answer_prompt(base.tokenizer, prompt, by_id[t.question_id], thinking=thinking)
        examples.append(Example(text, joined(text, t.thoughts, t.text) if thinking else t.text))
    return examples


def pairs_of(run: Run, base: Base, prompt: Prompt, rows: Sequence[dict[str, Any]]) -> list[PairExample]:
    """The rows of :func:`dpo_pairs` behind their prompts, in order."""
    from rlaif.train.dpo import PairExample

    by_id = {q.question_id: q for q in load_questions(run, "split = 'train'", [])}
    examples = []
    for r in rows:
        thinking = prompt.thinking > 0
        text = answer_prompt(base.tokenizer, prompt, by_id[r["question_id"]], thinking=thinking)
        sides = [joined(text, r[f"{s}_thoughts"], r[s]) if thinking else r[s] for s in ("chosen", "rejected")]
        examples.append(PairExample(text, *sides))
    return examples


def start_of(run: Run, base: Base, policy_id: str, seed: int) -> tuple[Base, Any]:
    """A policy ready to be trained on: the base that its adapter lies on, and the adapter, trainable. Where there is
    none (SFT was not promoted, or trained all weights) a fresh one, which starts as that base.
    """
    from rlaif.models.adapter import attach_adapter, load_adapter

    policy = run.policy(policy_id)
    adapter, under = adapter_of(run, policy), base_under(run, base, policy)
    if adapter is None:
        return under, attach_adapter(under, run.config.model, seed)
    return under, load_adapter(under, adapter, trainable=True, expected_sha256=policy["sha256"])


def as_sft(settings: TrainerConfig) -> SftConfig:
    """What these settings have in common with those of SFT, as its trainer takes them."""
    return SftConfig.model_validate(settings.model_dump(include=set(TrainerConfig.model_fields)))


def recipe_of(config: Config, kind: str, prompt: Prompt, base: Base) -> dict[str, Any]:
    """Everything but data, parent and seed that decides what training makes."""
    settings: TrainerConfig = {"sft": config.sft, "raft": config.best_of, "dpo": config.dpo}[kind]
    return {
        "kind": kind,
        "base_sha256": base.sha256,
        "prompt_sha256": prompt.sha256,
        "adapter": config.model.model_dump(include=ADAPTER_KEYS, mode="json"),
        "threads": config.model.threads,
        **recorded(settings),
    } | ({"batches": BATCHES} if kind == "sft" else {})


def recorded(settings: TrainerConfig) -> dict[str, Any]:
    """The settings as a recipe has them: those of LATER_KEYS only where they are not at their default.

    At its default such a key trains exactly what was trained before it was there. Were it written all the same, the
    same weights would get another policy id, and a run that began before would not find its own policies again.
    """
    defaults = {name: field.default for name, field in type(settings).model_fields.items()}
    found = settings.model_dump()
    return {key: value for key, value in found.items() if key not in LATER_KEYS or value != defaults[key]}


def train_stage(
    run: Run,
    base: Base,
    stage: Stage,
    screen: Screen,
    row: dict[str, Any],
    items: Sequence[dict[str, str]],
    train: Callable[[Path, Any, Any, Keep], Any],
    what: str,
) -> None:
    """Train into `policies/<policy_id>` and collect the stage's rows.

    An interrupted training left a log, which is dropped: one that goes on from a checkpoint tells all of it anew. The
    checkpoints go when the stage is done.
    """
    policy_id = row["policy_id"]
    check_disk(run.folder)
    run.store.execute([("DELETE FROM train_log WHERE policy_id = ?", [policy_id])])
    out = run.policies / policy_id
    shutil.rmtree(out, ignore_errors=True)
    label = f"train {row['kind']}"

    def say(text: str) -> None:
        screen.line(f"  {label:<22} {text}")
        LOG.info("policy %s: %s", policy_id, text)

    keep = Keep(run.folder / FOLDER / policy_id, run.config.train.checkpoint_minutes, say)
    clear_others(keep)
    stage.after = lambda: clear(run.folder)
    bar = screen.bar(label)
    pending: list[dict[str, Any]] = []
    flushed, reached, loss = time.monotonic(), 0, ""
    track = run.trackers.curve(row["kind"])

    def log(step: int, values: dict[str, float]) -> None:
        nonlocal flushed, loss
        track(step, values)
        if "loss" in values:  # what is measured on held-out pairs has no step of its own
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
        result = train(out, log, progress, keep)
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
    if result.kept_step is not None:
        stage.detail["kept_step"] = result.kept_step
    skipped = f", {result.skipped} too long" if result.skipped else ""
    kept = "" if result.kept_step is None else f", kept step {result.kept_step}"
    bar.finish(
        f"{policy_id[:8]}, {what}{skipped}, {result.steps} steps{kept}, last {loss}, "
        f"{(result.tokens - result.tokens_before) / max(result.seconds, 1e-9):,.0f} tok/s"
    )
