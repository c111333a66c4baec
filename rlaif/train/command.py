"""The command `train`: one policy by one of the published methods, evaluated before and after, in a run like the
loop's.

    python cli.py train --profile qlora-llama-3.2-1b --run runs/qlora

Its policy is the one that `loop` on the same run goes on with: the stage is the loop's `sft`, and so are the
evaluations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.config import Config
from rlaif.evals import loss
from rlaif.evals.benchmarks import at_the_gate
from rlaif.evals.evaluate import evaluate_policy, gate_questions
from rlaif.evals.plugin import check_plugins
from rlaif.evals.stored import evaluate_losses
from rlaif.prompts import Prompt, load_prompt
from rlaif.run import Run, check_disk, find, now, open_or_create, session
from rlaif.screen import Screen
from rlaif.trackers import check_trackers, tracking
from rlaif.train import distributed
from rlaif.train.before_after import before_and_after
from rlaif.train.methods import WHOLE, check_kind
from rlaif.train.published import train_examples
from rlaif.train.stages import sft_examples
from rlaif.wording import interval, signed
from stores.lock import run_lock

if TYPE_CHECKING:
    from rlaif.models.base import Base
    from rlaif.train.job import Job


UNMEASURED = (
    "there is no before and after: none of this run's data sets has gate questions of a benchmark; own questions and "
    "answers are one (--data FILE)"
)


def train_from_command_line(folder: Path, config: Config) -> dict[str, Any]:
    """The command `train`, and what it prints: see :func:`summary`. In a process that is not the first one: train
    along, return {}.

    Raises UsageError and RlaifError for all that can be wrong, before a run folder is made where it can be known then.
    """
    check_trackers(config)
    from rlaif.models.base import load_base

    started = now()
    base_config = config.model.model_copy(update={"threads": distributed.threads_of(config.model.threads)})
    if distributed.rank():
        base = load_base(base_config)
        with distributed.connected(cpu=base.device == "cpu"):
            train_along(base, config)
        return {}

    from rlaif.data.questions import prepare_questions
    from rlaif.models.adapter import check_targets
    from rlaif.prepare import prepare
    from rlaif.train.job import lora_settings

    screen = Screen()

    def waiting(message: str) -> None:
        screen.line(f"  {message}", style="yellow")

    screen.line(f"rlaif train: {config.train.method}, profile {config.profile}, seed {config.seed}, run {folder}")
    run = find(folder, config, waiting)
    prompt = load_prompt(config.prompts.policy)
    data = None if run else prepare_questions(config, at_the_gate(config.evaluation))
    check_plugins(config.evaluation, {q.dataset for q in data[0] if q.split == "gate"} if data else None)
    check_disk(folder)
    base = load_base(base_config)
    check_kind(config, base.quantization, base.path.name)
    if config.train.method not in WHOLE:
        check_targets(base, lora_settings(config))
    with distributed.connected(cpu=base.device == "cpu"), run_lock(folder):
        run = open_or_create(folder, config, waiting)
        trackers = tracking(config, folder, run.trained_steps(), screen.line)
        with session(run, started), screen.live(), trackers as run.trackers:
            prepare(run, base, prompt, screen, data)
            if not gate_questions(run):
                screen.line(f"warning: {UNMEASURED}", style="yellow")
            screen.heading(f"Training: {config.train.method}")
            policy_id = train_policy(run, base, prompt, screen)
            distributed.tell(None)  # the other processes are done
            screen.heading("Before and after")
            for one in (run.policy("base")["policy_id"], policy_id):
                evaluate_policy(run, base, one, 0, prompt, screen)
                evaluate_loss(run, base, one, prompt, screen)
    return summary(run, policy_id)


def train_along(base: Base, config: Config) -> None:
    """The part of every process but the first: train what that one says until it says no more."""
    from rlaif.train.job import run_job

    job: Job | None = distributed.tell(None)
    while job is not None:
        run_job(base, config, job)
        job = distributed.tell(None)


def train_policy(run: Run, base: Base, prompt: Prompt, screen: Screen) -> str:
    """Stage `sft` (and those before it, where the method has some): the policy that the method makes. Returns its
    id.
    """
    done = run.done(0, "sft")
    if done is not None:
        return str(done["policy_id"])
    if run.config.train.method == "knowtuning":
        from rlaif.train.knowtuning_stages import train_knowing

        return train_knowing(run, base, prompt, screen)
    examples, ids = sft_examples(run, base, prompt)
    return train_examples(run, base, prompt, screen, "sft", examples, [(i, "sft") for i in ids], {})


def evaluate_loss(run: Run, base: Base, policy_id: str, prompt: Prompt, screen: Screen) -> None:
    """Stage `loss:<policy>`: loss and perplexity of the references and labels of the gate's items, once; None where
    none could be read.
    """
    if run.done(0, f"loss:{policy_id}") is not None:
        return
    with run.stage(0, f"loss:{policy_id}") as stage:
        rows: list[Any] = []
        for benchmark, questions in gate_questions(run).items():
            questions = [q for q in questions if q.reference or q.label]
            if not questions:
                continue
            made, seconds = evaluate_losses(run, base, policy_id, benchmark, questions, prompt, screen)
            stage.model_seconds += seconds
            rows += made
            per_token, tokens = loss.of_rows(made)
            perplexity = None if per_token is None else loss.perplexity(per_token)
            stage.detail[benchmark] = {
                "loss": per_token,
                "perplexity": perplexity,
                "tokens": tokens,
                "n": len(questions),
            }
        stage.rows = {"eval_items": rows}


def summary(run: Run, policy_id: str) -> dict[str, Any]:
    """What came of it: {"policy", "path", "metrics" (see `before_and_after`), "first_loss", "last_loss" (of the
    training, nats per token), "steps", "tokens", "seconds", "peak_memory_mb"}.
    """
    base = run.policy("base")["policy_id"]
    stages = run.store.query(
        "SELECT stage, seconds, peak_memory_mb, detail FROM stages WHERE stage = 'sft' OR stage LIKE 'sft:%'"
    )
    details = [json.loads(s["detail"]) for s in stages]
    losses = run.store.query(
        "SELECT value FROM train_log WHERE policy_id = ? AND name = 'loss' ORDER BY step", [policy_id]
    )
    return {
        "policy": policy_id,
        "path": str(run.policy_folder(run.policy(policy_id))),
        "metrics": before_and_after(run, base, policy_id),
        "first_loss": losses[0]["value"] if losses else None,
        "last_loss": losses[-1]["value"] if losses else None,
        "steps": sum(d["steps"] for d in details),
        "tokens": sum(d["tokens"] for d in details),
        "seconds": sum(s["seconds"] for s in stages),
        "peak_memory_mb": max(s["peak_memory_mb"] for s in stages),
    }


def show(result: dict[str, Any], screen: Screen) -> None:
    """The summary as a person reads it."""
    rows = [
        [
            f"{m['benchmark']} {m['metric']}",
            str(m["n"]),
            f"{m['before']:.4f}",
            f"{m['after']:.4f}",
            signed(m["change"], 4),
            "" if m["change_low"] is None else interval(m["change_low"], m["change_high"]),
        ]
        for m in result["metrics"]
    ]
    if rows:
        screen.table("", ["on the gate's items", "n", "before", "after", "change", "its 95% interval"], rows)
    else:
        screen.line(UNMEASURED, style="yellow")
    screen.line(
        f"training loss {result['first_loss']:.4f} to {result['last_loss']:.4f} in {result['steps']} "
        f"steps, {result['tokens']:,} tokens, "
        f"{result['seconds']:.1f} s, peak memory {result['peak_memory_mb']:,.0f} MB"
    )
    screen.line(f"policy {result['policy']} in {result['path']}")
