"""Stages that train a policy by one of the published methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.train import distributed
from rlaif.train.methods import WHOLE
from rlaif.train.stages import train_stage
from rlaif.types import content_id

if TYPE_CHECKING:
    from rlaif.models.base import Base


def recipe(run: Run, base: Base, prompt: Prompt) -> dict[str, Any]:
    """Everything but data, parent and seed that decides what the training makes, and how it was asked for."""
    from rlaif.train.job import with_precision

    config = run.config
    made = {
        "kind": "sft",
        "base_sha256": base.sha256,
        "base_quantization": base.quantization,
        "prompt_sha256": prompt.sha256,
        "threads": config.model.threads,
        "computed_in": with_precision(base, config.train.precision)[1],
        "whole": config.train.method in WHOLE,
        **config.train.model_dump(exclude={"report_to", "checkpoint_minutes"}, mode="json"),
    }
    return made | ({"processes": distributed.world()} if distributed.world() > 1 else {})


def train_examples(
    run: Run,
    base: Base,
    prompt: Prompt,
    screen: Screen,
    stage_name: str,
    examples: Sequence[Any],
    items: Sequence[tuple[str, str]],
    more: dict[str, Any],
) -> str:
    """A stage that trains a fresh policy on `examples`; `items` are (question id, role). Returns the policy's id."""
    from rlaif.train.job import Job

    made = recipe(run, base, prompt) | more
    parent = run.policy("base")["policy_id"]
    policy_id = content_id("sft", parent, made, items, run.config.seed)
    row = {"policy_id": policy_id, "parent_id": parent, "kind": "sft", "round": 0, "recipe": made}
    say_precision(screen, made)
    return train_job(
        run, base, screen, stage_name, row, items, lambda out: Job("sft", examples, out), f"{len(examples)} examples"
    )


def train_job(
    run: Run,
    base: Base,
    screen: Screen,
    stage_name: str,
    row: dict[str, Any],
    items: Sequence[tuple[str, str]],
    job: Any,
    what: str,
) -> str:
    """A stage that trains `job(folder)` in all processes and writes its rows. Returns the policy's id."""
    from rlaif.train.job import run_job

    policy_id = str(row["policy_id"])
    with run.stage(0, stage_name) as stage:

        def train(out: Path, log: Any, progress: Any, keep: Any) -> Any:
            told = dataclasses.replace(job(out), checkpoints=keep.folder)
            return run_job(base, run.config, distributed.tell(told), log, progress, keep.say)

        rows = [{"policy_id": policy_id, "item_id": item, "role": role} for item, role in dict.fromkeys(items)]
        train_stage(run, base, stage, screen, row, rows, train, what)
        stage.detail |= {"processes": distributed.world()}
    return policy_id


def say_precision(screen: Screen, made: dict[str, Any]) -> None:
    if "asked" in made["computed_in"]:
        screen.line(f"  precision              {made['computed_in']}", style="yellow")
    if distributed.world() > 1:
        screen.line(f"  processes              {distributed.world()}, which share each batch of {made['batch_size']}")
    elif distributed.started_alone():
        told = (
            "one: accelerate launch started no others; with --multi_gpu it does, on CPU too (the result is "
            "the same, later)"
        )
        screen.line(f"  processes              {told}", style="yellow")
