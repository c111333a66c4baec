"""From the results per item to what `evaluate` prints. Pure.

That is means, corpus figures, the confusion matrix, and means by kind of question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.evals.benchmarks import LABELLED
from rlaif.evals.healthbench import show as show_rubric
from rlaif.evals.loss import LOSS, by_item, of_rows, perplexity
from rlaif.screen import Screen
from rlaif.stats import bootstrap_macro_f1, grouped_mean, labels_in, macro_f1
from rlaif.text_metrics import corpus_bleu
from rlaif.types import EvalItem

UNPARSED = "unparsed"
UNBOUNDED = ("sentence_bleu", "item_loss")  # all others are in 0-1


def metrics(items: Sequence[EvalItem], groups: Mapping[str, str] | None = None) -> dict[str, float]:
    """Name -> number over rows of one policy on one benchmark.

    The mean of every metric over its scored items, with `<metric>.low` and `.high`, its 95% interval clustered by group
    (see `stats.mean_interval`; `groups` maps item ids to groups; there is none over one group, and none for BLEU). For
    labels also `macro_f1`, `unparsed` (a count) and the confusion matrix as counts `confusion.<target>.<prediction>`.
    For free text, where the rows are there, `bleu` (of the corpus, 0-100), `loss` (nats per token over all tokens of
    the references) and `perplexity` (its exponential). A judge's marks come with `<metric>.unscored`, a count of items
    without a mark.
    """
    numbers = _means(items, groups)
    labelled = [i for i in items if i.metric == "accuracy" and i.benchmark.startswith(LABELLED)]
    targets = [(i.target, i.prediction) for i in labelled]
    if targets:
        labels = labels_in([target for target, _ in targets])
        numbers["macro_f1"] = macro_f1([t for t, _ in targets], [p for _, p in targets])
        numbers |= _macro_f1_interval(labelled, groups)
        numbers["unparsed"] = sum(p == UNPARSED for _, p in targets)
        counts = Counter(targets)
        for target in labels:
            for prediction in (*labels, UNPARSED):
                if prediction in labels or numbers["unparsed"]:
                    numbers[f"confusion.{target}.{prediction}"] = counts[target, prediction]
    answers = [i for i in items if i.metric == "sentence_bleu"]
    if answers:
        numbers["bleu"] = corpus_bleu([i.prediction for i in answers], [i.target for i in answers])
    loss, _ = of_rows(items)
    if loss is not None:
        numbers |= {"loss": loss, "perplexity": perplexity(loss)} | _loss_interval(items, groups)
    return numbers | _unscored(items)


def by_type(
    items: Sequence[EvalItem], qtypes: Mapping[str, str], groups: Mapping[str, str] | None = None
) -> dict[str, dict[str, float]]:
    """Kind of question -> {"n": items, metric: mean}; `qtypes` maps item ids to kinds.

    It is empty where fewer than two kinds are known. Intervals and counts are as in :func:`metrics`.
    """
    kinds = sorted({kind for kind in qtypes.values() if kind})
    if len(kinds) + ("" in qtypes.values()) < 2:
        return {}
    rows = {kind: [i for i in items if qtypes[i.item_id] == kind] for kind in [*kinds, ""]}
    return {
        kind or "other": {"n": len({i.item_id for i in of_kind})} | _means(of_kind, groups) | _unscored(of_kind)
        for kind, of_kind in rows.items()
        if of_kind
    }


def _means(items: Sequence[EvalItem], groups: Mapping[str, str] | None) -> dict[str, float]:
    """The mean of every metric over the values there are, with `.low` and `.high` where there are two groups. The nats
    of references become `item_loss`, nats per token of each.
    """
    tokens = {item.item_id: item.value for item in items if item.metric == LOSS[1]}
    values: dict[str, list[tuple[str, float]]] = {}
    for item in items:
        if item.value is not None:
            count = tokens.get(item.item_id) if item.metric == LOSS[0] else None
            name, value = ("item_loss", item.value / count) if count else (item.metric, item.value)
            values.setdefault(name, []).append((item.item_id, value))
    numbers: dict[str, float] = {}
    for metric, of_metric in values.items():
        owners, found = _owners([i for i, _ in of_metric], groups), [v for _, v in of_metric]
        numbers[metric] = sum(found) / len(found)
        interval = grouped_mean(found, owners, share=metric == "accuracy").interval
        if interval and metric not in LOSS:
            most = math.inf if metric in UNBOUNDED else 1.0
            numbers |= {f"{metric}.low": max(interval[0], 0.0), f"{metric}.high": min(interval[1], most)}
    return numbers


def _owners(item_ids: Sequence[str], groups: Mapping[str, str] | None) -> list[str]:
    """The group of each item; one without a group is a group of its own."""
    return [(groups or {}).get(i, i) for i in item_ids]


def _macro_f1_interval(items: Sequence[EvalItem], groups: Mapping[str, str] | None) -> dict[str, float]:
    """95% interval of macro-F1 with whole groups resampled: of the difference to one that answers nothing, which has
    macro-F1 0 in every resample.
    """
    owners = _owners([i.item_id for i in items], groups)
    if len(set(owners)) < 2:
        return {}
    targets, given = [i.target for i in items], [i.prediction for i in items]
    found = bootstrap_macro_f1(targets, [UNPARSED] * len(items), given, owners, seed=0)
    return {"macro_f1.low": found.ci_low, "macro_f1.high": found.ci_high}


def _loss_interval(items: Sequence[EvalItem], groups: Mapping[str, str] | None) -> dict[str, float]:
    """95% interval of the loss over all tokens, and that of perplexity."""
    nats, tokens = ({i.item_id: i.value for i in items if i.metric == metric} for metric in LOSS)
    known = [i for i, value in nats.items() if value is not None and tokens.get(i)]
    if not known:
        return {}
    read, counts = [float(nats[i] or 0.0) for i in known], [float(tokens[i] or 0.0) for i in known]
    interval = grouped_mean(by_item(read, counts, sum(read) / sum(counts)), _owners(known, groups)).interval
    if interval is None:
        return {}
    low, high = max(interval[0], 0.0), interval[1]
    return {"loss.low": low, "loss.high": high, "perplexity.low": perplexity(low), "perplexity.high": perplexity(high)}


def _unscored(items: Sequence[EvalItem]) -> dict[str, int]:
    """`<metric>.unscored` of the metrics that a judge gave: how many items have no mark."""
    metrics = dict.fromkeys(i.metric for i in items if i.judge_id)
    return {f"{metric}.unscored": sum(i.value is None for i in items if i.metric == metric) for metric in metrics}


def show(result: Mapping[str, Any], screen: Screen) -> None:
    """The command's JSON object as tables: metrics, confusion matrix, means by kind of question.

    A judge's marks are one cell.
    """
    cells = {name: value for name, value in result["metrics"].items() if name.startswith("confusion.")}
    title = f"{result['policy']} on {result['n']} items of {result['benchmark']} ({result['split']})"
    plain = [[name, text] for name, text in _cells(result["metrics"]).items() if name not in cells]
    screen.line(title, style="bold")  # as a table's title it would be folded to the table's width
    if judge := result.get("judge"):
        screen.line(judge_words(judge))
    screen.table("", ["metric", "value"], plain)
    if "rubric" in result:
        show_rubric(result["rubric"], screen)
    if cells:
        table: dict[str, dict[str, str]] = {}
        for (_, target, prediction), count in ((name.split("."), count) for name, count in cells.items()):
            table.setdefault(target, {})[prediction] = str(count)
        columns = list(next(iter(table.values())))
        rows = [[target, *counts.values()] for target, counts in table.items()]
        screen.table("", ["right answer / prediction", *columns], rows)
    kinds = result["by_type"]
    if kinds:
        shown = {kind: _cells(means) for kind, means in kinds.items()}
        all_names = dict.fromkeys(name for means in shown.values() for name in means)
        names = [name for name in all_names if name != "reference_tokens"]
        rows = [[kind, *(means.get(name, "") for name in names)] for kind, means in shown.items()]
        screen.table("", ["kind of question", *names], rows)


def judge_words(judge: Mapping[str, Any]) -> str:
    """Who gave the marks, and what to think of them."""
    trust = {
        True: "has passed the embedded exam",
        False: "has failed the embedded exam",
        None: "has not sat the exam in this run",
    }
    labels = "it labels too, so a policy trained to please it scores high" if judge["labels"] else "it does not label"
    who = f"{judge['metric']} by {judge['model']} ({judge['judge_id']})"
    return f"{who}, which {trust[judge['passed_exam']]}; {labels}"


def _cells(means: Mapping[str, float]) -> dict[str, str]:
    """Name -> number as text; its interval and the number of missing marks stand in its own cell."""
    suffixes = (".low", ".high", ".unscored")
    cells = {name: _number(value) for name, value in means.items() if not name.endswith(suffixes)}
    for name in dict.fromkeys(name.rpartition(".")[0] for name in means if name.endswith(suffixes)):
        text = cells.get(name, "no mark")
        if f"{name}.low" in means:
            text += f" ({means[f'{name}.low']:.4f} to {means[f'{name}.high']:.4f})"
        missing = int(means.get(f"{name}.unscored", 0))
        cells[name] = text + (f", {missing} unscored" if missing else "")
    return cells


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) or value.is_integer() and abs(value) > 1 else f"{value:.4f}"
