"""The first stage of a run: its questions, its prompt and its base go into the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlaif.data.leaks import summary
from rlaif.data.questions import prepare_questions, take_leak_rows
from rlaif.evals.benchmarks import at_the_gate
from rlaif.policies import base_row, check_base, check_prompt, record_settings
from rlaif.prompts import Prompt
from rlaif.records import question_rows
from rlaif.render import beginning
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Question

if TYPE_CHECKING:
    from rlaif.models.base import Base

Data = tuple[list[Question], dict[str, Any]]  # questions, and the report on where they came from


def prepare(run: Run, base: Base, prompt: Prompt, screen: Screen, data: Data | None) -> None:
    """Round 0, first stage: the questions, the prompt and the base go into the database."""
    if run.done(0, "prepare") is None:
        screen.heading("Preparing")
        with run.stage(0, "prepare") as stage:
            questions, stage.detail = data or prepare_questions(run.config, at_the_gate(run.config.evaluation))
            policy = base_row(base, run.config)
            stage.rows = {
                **question_rows(questions),
                "prompts": [
                    {"prompt_sha256": prompt.sha256, "kind": prompt.kind, "name": prompt.name, "text": prompt.text}
                ],
                "policies": [policy],
            }
            if leaks := take_leak_rows(stage.detail):
                stage.rows["leaks"] = leaks
        for name, source in stage.detail.items():
            splits = ", ".join(f"{source['splits'].get(s, 0):,} {s}" for s in ("train", "gate", "sealed"))
            dropped = source.get("dropped", {}) | {"no_content": source.get("no_content", 0)}
            counts = ", ".join(f"{n:,} {reason}" for reason, n in dropped.items() if n)
            details = f"; rows dropped: {counts}" if counts else ""
            details += f"; {summary(source['leaks'])}" if "leaks" in source else ""
            columns = f" ({source['columns']})" if "columns" in source else ""
            screen.line(f"  {name:<22} {splits} questions from {source['source']}{columns}{details}")
            if source.get("unofficial_split"):
                reason = "does not say which rows are the official test; its split is by hash"
                screen.line(f"  warning: {source['source']} {reason}", style="yellow")
        screen.line(f"  base                   {policy['policy_id'][:8]}, {base.quantization} weights, {base.device}")
    check_base(run, base)
    check_prompt(run, prompt)
    if recorded := record_settings(run, base):
        screen.line(
            f"  settings               of {', '.join(p['policy_id'][:8] for p in recorded)} recorded as they are now; "
            "this run is older, and had recorded their weights alone",
            style="yellow",
        )
        if beginning(base.tokenizer):
            screen.line(
                "  warning: this base's tokenizer puts tokens before a text. Each text is now read behind them once; "
                "results from before this session may have been read otherwise, so compare them in a new run",
                style="yellow",
            )
