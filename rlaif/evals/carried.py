"""Answers that an earlier version scored: they are scored again as today, without the model.

A run that goes on would otherwise have its champion under another protocol than the new challenger, and the two could
not be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlaif.evals.benchmarks import BEGINS_WITH_ONE, BENCHMARKS, FREE_TEXT
from rlaif.prompts import Prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import EvalItem

ITEM_COLUMNS = (
    "policy_id, benchmark, split, item_id, metric, prediction, target, value, status, reason, judge_id, "
    "protocol_hash, data_sha256"
)


def carried(run: Run, prompt: Prompt, where: str = "true", params: Sequence[Any] = ()) -> list[EvalItem]:
    """Free-text results of earlier protocols (rows of `eval_items` that meet `where`) as they are under today's.

    An answer that has a token F1 under today's protocol is left out. Reads only.
    """
    module, settings = BENCHMARKS[FREE_TEXT[0]].module, run.config.evaluation  # all of them are of one module
    today = module.protocol_hash(prompt, settings)
    sql = (
        f"SELECT {ITEM_COLUMNS} FROM eval_items e WHERE protocol_hash = ? AND {BEGINS_WITH_ONE} AND ({where}) "
        "AND NOT EXISTS (FROM eval_items t WHERE t.protocol_hash = ? AND t.metric = 'token_f1' AND t.policy_id = "
        "e.policy_id AND t.benchmark = e.benchmark AND t.split = e.split AND t.item_id = e.item_id "
        "AND t.data_sha256 = e.data_sha256) ORDER BY policy_id, item_id, metric, judge_id"
    )
    found: dict[tuple[str, ...], EvalItem] = {}
    for earlier in module.earlier_hashes(prompt, settings):
        rows = [EvalItem(**row) for row in run.store.query(sql, [earlier, list(FREE_TEXT), *params, today])]
        for row in module.rescored(rows, today):
            key = row.policy_id, row.benchmark, row.split, row.item_id, row.metric, row.judge_id, row.data_sha256
            found.setdefault(key, row)  # the newest of the earlier ones counts
    return list(found.values())


def carry(run: Run, prompt: Prompt, screen: Screen) -> None:
    """Store what :func:`carried` finds, once, and say so on one line."""
    rows = carried(run, prompt)
    if rows:
        run.store.write({"eval_items": rows})
        answers = [row for row in rows if row.metric == BENCHMARKS[FREE_TEXT[0]].metric]
        policies = len({row.policy_id for row in answers})
        what = f"{len(answers):,} stored answers of {policies} polic{'y' if policies == 1 else 'ies'}"
        screen.line(f"  scored again           {what}, which an earlier version scored in another way")
