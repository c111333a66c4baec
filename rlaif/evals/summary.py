"""From results an item to what `evaluate` prints: means, corpus figures, the confusion matrix, means by kind of question. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlaif.evals.text import corpus_bleu
from rlaif.progress import Screen
from rlaif.stats import LABELS, macro_f1
from rlaif.types import EvalItem

UNPARSED = "unparsed"


def metrics(items: Sequence[EvalItem]) -> dict[str, float]:
    """Name -> number over rows of one policy on one benchmark.

    The mean of every metric over its scored items. For PubMedQA also `macro_f1`, `unparsed` (a count) and the confusion matrix as counts
    `confusion.<target>.<prediction>`. For MedQuAD, where the rows are there, `bleu` (of the corpus, 0-100), `loss` (nats a token over
    all tokens of the references) and `perplexity` (its exponential).
    """
    values = _values(items)
    found = {metric: sum(v) / len(v) for metric, v in values.items()}
    targets = [(i.target, i.prediction) for i in items if i.metric == "accuracy" and i.benchmark.startswith("pubmedqa")]
    if targets:
        found["macro_f1"] = macro_f1([t for t, _ in targets], [p for _, p in targets])
        found["unparsed"] = sum(p == UNPARSED for _, p in targets)
        counts = Counter(targets)
        for target in LABELS:
            for prediction in (*LABELS, UNPARSED):
                if prediction in LABELS or found["unparsed"]:
                    found[f"confusion.{target}.{prediction}"] = counts[target, prediction]
    answers = [i for i in items if i.metric == "sentence_bleu"]
    if answers:
        found["bleu"] = corpus_bleu([i.prediction for i in answers], [i.target for i in answers])
    if "item_loss" in found:
        tokens = {i.item_id: i.value or 0.0 for i in items if i.metric == "reference_tokens"}
        nats = sum(i.value * tokens[i.item_id] for i in items if i.metric == "item_loss" and i.value is not None)
        found["loss"] = nats / sum(tokens.values())
        found["perplexity"] = math.exp(found["loss"]) if found["loss"] < 700 else math.inf
    return found


def by_type(items: Sequence[EvalItem], qtypes: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Kind of question -> {"n": items, metric: mean}; `qtypes` maps item ids to kinds. Empty where fewer than two kinds are known."""
    kinds = sorted({kind for kind in qtypes.values() if kind})
    if len(kinds) + ("" in qtypes.values()) < 2:
        return {}
    rows = {kind: [i for i in items if qtypes[i.item_id] == kind] for kind in [*kinds, ""]}
    return {
        kind or "other": {"n": len({i.item_id for i in own})} | {m: sum(v) / len(v) for m, v in _values(own).items()}
        for kind, own in rows.items()
        if own
    }


def _values(items: Iterable[EvalItem]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item in items:
        if item.value is not None:
            found.setdefault(item.metric, []).append(item.value)
    return found


def show(result: Mapping[str, Any], screen: Screen) -> None:
    """The command's JSON object as tables: metrics, confusion matrix, means by kind of question."""
    cells = {name: value for name, value in result["metrics"].items() if name.startswith("confusion.")}
    title = f"{result['policy']} on {result['n']} items of {result['benchmark']} ({result['split']})"
    plain = [[name, _number(value)] for name, value in result["metrics"].items() if name not in cells]
    screen.line(title, style="bold")  # as a table's title it would be folded to the table's width
    screen.table("", ["metric", "value"], plain)
    if cells:
        columns = list(dict.fromkeys(name.split(".")[2] for name in cells))
        rows = [[target, *(str(cells[f"confusion.{target}.{column}"]) for column in columns)] for target in LABELS]
        screen.table("", ["right answer / prediction", *columns], rows)
    kinds = result["by_type"]
    if kinds:
        names = [name for name in dict.fromkeys(name for means in kinds.values() for name in means) if name != "reference_tokens"]
        rows = [[kind, *(_number(means[name]) if name in means else "" for name in names)] for kind, means in kinds.items()]
        screen.table("", ["kind of question", *names], rows)


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) or value.is_integer() and abs(value) > 1 else f"{value:.4f}"
