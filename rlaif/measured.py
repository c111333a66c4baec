"""Results of policies on given items: what `eval_items` holds under the same protocol, and the rest evaluated and kept there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlaif.evals import loss
from rlaif.evaluation import ITEM_COLUMNS, data_hash, evaluate_questions
from rlaif.progress import Screen
from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.types import EvalItem, Question

if TYPE_CHECKING:
    from rlaif.policy import Base

METRICS = {"medquad": ("token_f1", "rouge_l"), "pubmedqa": ("accuracy",)}


def measure(
    run: Run, policy_ids: Sequence[str], benchmark: str, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> list[dict[str, list[EvalItem]]]:
    """Metric -> one row a question in their order, for each policy. Evaluates and stores what the database does not hold.

    The base is loaded only if anything is missing. RlaifError when it or an adapter is not what the run recorded.
    """
    from rlaif.evals import medquad, pubmedqa
    from rlaif.loop import check_prompt

    check_prompt(run, prompt)
    protocol = medquad.protocol_hash(prompt, run.config.evaluation) if benchmark == "medquad" else pubmedqa.protocol_hash()
    parts = ((METRICS[benchmark], protocol, evaluate_questions), (loss.LOSS, loss.protocol_hash(prompt), evaluate_losses))
    base: Base | None = None
    out: list[dict[str, list[EvalItem]]] = []
    for policy_id in policy_ids:
        rows: dict[str, list[EvalItem]] = {}
        for metrics, protocol_hash, evaluate in parts:
            have = {m: stored(run, policy_id, m, protocol_hash, questions) for m in metrics}
            missing = [q for q in questions if any(q.question_id not in found for found in have.values())]
            if missing:
                base = base or checked_base(run)
                made, _ = evaluate(run, base, policy_id, benchmark, missing, prompt, screen)
                run.store.write({"eval_items": made})
                for item in made:
                    if item.metric in have:
                        have[item.metric][item.item_id] = item
            whole = data_hash(questions)  # all rows answer the same items now, whichever set they were evaluated in
            for metric, found in have.items():
                rows[metric] = [dataclasses.replace(found[q.question_id], data_sha256=whole) for q in questions]
        out.append(rows)
    return out


def checked_base(run: Run) -> Base:
    from rlaif.policy import load_base
    from rlaif.training import check_base

    base = load_base(run.config.model)
    check_base(run, base)
    return base


def stored(run: Run, policy_id: str, metric: str, protocol_hash: str, questions: Sequence[Question]) -> dict[str, EvalItem]:
    """item_id -> what the database has for it, where its target is still the question's."""
    wanted = {q.question_id: q.label or q.reference for q in questions}
    rows = run.store.query(
        f"SELECT {ITEM_COLUMNS} FROM eval_items WHERE policy_id = ? AND benchmark = ? AND split = ? AND metric = ? AND protocol_hash = ? "
        "AND judge_id = '' ORDER BY item_id, data_sha256",
        [policy_id, questions[0].dataset, questions[0].split, metric, protocol_hash],
    )
    return {row["item_id"]: EvalItem(**row) for row in rows if wanted.get(row["item_id"]) == row["target"]}


def evaluate_losses(
    run: Run, base: Base, policy_id: str, benchmark: str, questions: Sequence[Question], prompt: Prompt, screen: Screen
) -> tuple[list[EvalItem], float]:
    """Rows with the metrics of LOSS, and the seconds of model work. Writes nothing."""
    from rlaif.training import load_policy

    started = time.monotonic()
    model = load_policy(run, base, policy_id)
    bar = screen.bar(f"loss {benchmark}", len(questions))
    items = loss.evaluate(model, base.tokenizer, policy_id, questions, prompt, data_hash(questions), bar.step)
    per_token, tokens = loss.of_rows(items)
    said = f"{per_token:.4f} nats a token" if per_token is not None else "none has a loss"
    bar.finish(f"{policy_id[:8]} on {len(questions)} references: {said}")
    return items, time.monotonic() - started
