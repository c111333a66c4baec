"""What could be wrong with SFT, as numbers: its loss leaps, or one label answers every question.

They warn and hold nothing up: the gate compares SFT with the base, and the benchmarks say by how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rlaif.config import MonitorConfig
from rlaif.evals.benchmarks import BEGINS_WITH_ONE, LABELLED
from rlaif.loop.monitors import Monitor, unmeasured
from rlaif.run import Run

SMOOTH = 5  # steps in a running mean: a step is a few examples


def sft_monitors(run: Run, policy_id: str) -> list[Monitor]:
    """The monitors of SFT, after its evaluation."""
    limit = run.config.monitors
    losses: dict[str, list[float]] = {}
    log = "SELECT name, value FROM train_log WHERE policy_id = ? AND starts_with(name, 'loss') ORDER BY name, step"
    for row in run.store.query(log, [policy_id]):
        losses.setdefault(row["name"].removeprefix("loss/"), []).append(row["value"])
    rows = run.store.query(
        "SELECT DISTINCT item_id, prediction, target FROM eval_items WHERE policy_id = ? AND split = 'gate' "
        f"AND {BEGINS_WITH_ONE} AND metric = 'accuracy' AND value IS NOT NULL ORDER BY item_id",
        [policy_id, list(LABELLED)],
    )
    labels = [r["prediction"] for r in rows], [r["target"] for r in rows]
    return [loss_jump(losses, limit), one_label(*labels, limit)]


def loss_jump(losses: Mapping[str, Sequence[float]], limit: MonitorConfig) -> Monitor:
    """By how much does the loss of a kind of task rise above the lowest before, in nats per token?

    `losses`: kind -> the loss of each step. The mean over five steps counts, so that one hard batch does not.
    """
    name, threshold = "loss_jump", f"> {limit.loss_jump:g} nat/token"
    rises = {}
    for kind, values in losses.items():
        means = [sum(values[i : i + SMOOTH]) / SMOOTH for i in range(len(values) - SMOOTH + 1)]
        rises[kind] = max((mean - min(means[: i + 1]) for i, mean in enumerate(means)), default=None)
    known = {kind: rise for kind, rise in rises.items() if rise is not None}
    if not known:
        return unmeasured(name, threshold, f"fewer than {SMOOTH} training steps were logged")
    kind, rise = max(known.items(), key=lambda item: item[1])
    whose = "the loss" if kind == "loss" else f"the loss of the {kind}s"
    detail = f"{whose} rises by {rise:.2f} nat/token above its lowest mean over {SMOOTH} steps"
    return Monitor(name, rise, threshold, rise > limit.loss_jump, detail)


def one_label(predictions: Sequence[str], targets: Sequence[str], limit: MonitorConfig) -> Monitor:
    """Which share of the questions with a label gets one and the same answer?

    Red where that says nothing about the questions: hardly any other answer is given, and the right ones are not all
    alike. Then the benchmark measures no reading of abstracts, and its accuracy cannot tell two policies apart.
    """
    name, threshold = "one_label", f"> {limit.one_label:g}, and the right labels are not so alike"
    if not predictions:
        return unmeasured(name, threshold, "no questions with a label were answered")
    ((label, count),) = Counter(predictions).most_common(1)
    share, right = count / len(predictions), max(Counter(targets).values()) / len(targets)
    red = share > limit.one_label and right <= limit.one_label
    detail = f"'{label}' answers {share:.1%} of {len(predictions)} questions"
    if red:
        hits = sum(p == t for p, t in zip(predictions, targets, strict=True)) / len(targets)
        detail += f", {hits:.1%} of them rightly: the policy does not read abstracts"
    return Monitor(name, share, threshold, red, detail)
