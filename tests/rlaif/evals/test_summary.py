from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from rlaif.evals import summary
from rlaif.evals.loss import LOSS
from rlaif.screen import Screen
from rlaif.stats import grouped_mean, wilson_interval
from rlaif.text_metrics import corpus_bleu
from rlaif.types import EvalItem


def row(
    item: str, metric: str, value: float | None, prediction: str = "", target: str = "", benchmark: str = "medquad"
) -> EvalItem:
    return EvalItem(
        "p",
        benchmark,
        "gate",
        item,
        metric,
        prediction,
        target,
        value,
        "scored" if value is not None else "failed",
        "why",
    )


def label(item: str, target: str, prediction: str) -> EvalItem:
    return row(item, "accuracy", float(target == prediction), prediction, target, "pubmedqa_style")


LABELLED = [label("a", "yes", "yes"), label("b", "yes", "no"), label("c", "no", "no"), label("d", "maybe", "yes")]


def test_the_confusion_matrix_is_part_of_the_metrics() -> None:
    found = summary.metrics(LABELLED)
    cells = {name: n for name, n in found.items() if name.startswith("confusion.") and n}
    assert cells == {"confusion.yes.yes": 1, "confusion.yes.no": 1, "confusion.no.no": 1, "confusion.maybe.yes": 1}
    assert len([name for name in found if name.startswith("confusion.")]) == 9
    assert found["accuracy"] == 0.5 and found["unparsed"] == 0
    assert found["macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_unparsed_answers_are_a_column_and_misses_of_their_label() -> None:
    found = summary.metrics([*LABELLED, label("e", "no", "unparsed")])
    assert found["unparsed"] == 1 and found["confusion.no.unparsed"] == 1 and found["confusion.yes.unparsed"] == 0
    assert found["accuracy"] == 0.4
    assert found["macro_f1"] == pytest.approx((0.5 + 0.5 + 0) / 3)


def test_loss_counts_tokens_and_perplexity_is_its_exponential() -> None:
    sizes = {"a": (30.0, 30.0), "b": (30.0, 10.0), "c": (None, None)}
    rows = [row(item, metric, value) for item, both in sizes.items() for metric, value in zip(LOSS, both, strict=True)]
    found = summary.metrics(rows)
    assert found["item_loss"] == 2.0 and found["loss"] == 1.5 and found["perplexity"] == pytest.approx(math.exp(1.5))
    assert "reference_nats" not in found
    nothing = summary.metrics([r for r in rows if r.item_id == "c"])
    assert not {"item_loss", "loss", "perplexity"} & nothing.keys()


def test_bleu_of_the_corpus_is_not_the_mean_of_the_sentences() -> None:
    texts = [("rest and water help", "rest and water help much"), ("tea", "see a doctor soon")]
    found = summary.metrics([row(str(i), "sentence_bleu", 50.0 * i, a, r) for i, (a, r) in enumerate(texts)])
    assert found["sentence_bleu"] == 25.0
    assert found["bleu"] == corpus_bleu([a for a, _ in texts], [r for _, r in texts]) != 25.0


def test_means_by_kind_of_question() -> None:
    rows = [row("a", "token_f1", 0.2), row("b", "token_f1", 0.4), row("c", "token_f1", 0.9), row("c", "rouge_l", 0.5)]
    found = summary.by_type(rows, {"a": "causes", "b": "causes", "c": ""})
    assert found == {
        "causes": {"n": 2, "token_f1": pytest.approx(0.3), "token_f1.low": 0.0, "token_f1.high": 1.0},
        "other": {"n": 1, "token_f1": 0.9, "rouge_l": 0.5},
    }
    assert (
        summary.by_type(rows, dict.fromkeys("abc", "causes")) == summary.by_type(rows, dict.fromkeys("abc", "")) == {}
    )


def mark(item: str, value: float | None) -> EvalItem:
    return replace(row(item, "quality", value), judge_id="j")


MARKS = [mark("a", 0.2), mark("b", 0.6), mark("c", 0.7), mark("d", None), mark("e", None)]
GROUPS = {"a": "g", "b": "g", "c": "h", "d": "h", "e": "i"}


def test_a_judges_marks_have_an_interval_and_what_has_no_mark_is_counted() -> None:
    found = summary.metrics([*MARKS, row("a", "token_f1", 0.4)], GROUPS)
    assert found["quality"] == pytest.approx(0.5) and found["quality.unscored"] == 2
    interval = grouped_mean([0.2, 0.6, 0.7], ["g", "g", "h"]).interval
    assert interval is not None and interval[0] < 0 and interval[1] > 1
    assert (found["quality.low"], found["quality.high"]) == (0.0, 1.0), "a mark is never outside"
    many = [mark(str(i), i % 5 / 4) for i in range(40)]
    assert (
        summary.metrics(many)["quality.low"]
        == grouped_mean([m.value for m in many], [m.item_id for m in many]).interval[0]
        > 0.3
    )  # type: ignore[index]
    assert "token_f1.unscored" not in found, "only marks can be missing"
    assert "token_f1.low" not in found, "one group has no interval"


def test_marks_by_kind_of_question() -> None:
    kinds = dict.fromkeys("abc", "causes") | dict.fromkeys("de", "tests")
    found = summary.by_type(MARKS, kinds, GROUPS)
    assert (
        found["causes"]["quality"] == pytest.approx(0.5)
        and found["causes"]["quality.low"] < 0.5
        and found["causes"]["quality.unscored"] == 0
    )
    assert found["tests"] == {"n": 2, "quality.unscored": 2}, "no mark is no number"


def shown(result: dict[str, object]) -> list[str]:
    out = io.StringIO()
    summary.show(
        {"policy": "p", "benchmark": "medquad", "split": "gate", "n": 5} | result, Screen(Console(file=out, width=160))
    )
    return [" ".join(line.replace("│", " ").split()) for line in out.getvalue().splitlines()]


def test_marks_are_shown_with_who_gave_them() -> None:
    kinds = {"causes": {"n": 3, "quality": 0.5}, "tests": {"n": 2}}
    result = {
        "metrics": {"quality": 0.5, "quality.low": 0.25, "quality.high": 0.75, "quality.unscored": 2},
        "by_type": {kind: found | {"quality.unscored": 2 * (kind == "tests")} for kind, found in kinds.items()},
    }
    judge = {"metric": "quality", "model": "openai:x", "judge_id": "j1", "labels": False, "passed_exam": None}
    lines = shown(result | {"judge": judge})
    assert {"quality 0.5000 (0.2500 to 0.7500), 2 unscored", "causes 3 0.5000", "tests 2 no mark, 2 unscored"} <= set(
        lines
    )
    assert "quality by openai:x (j1), which has not sat the exam in this run; it does not label" in lines
    lines = shown(result | {"judge": judge | {"metric": "labelling_quality", "labels": True, "passed_exam": False}})
    assert any("has failed the embedded exam; it labels too" in line for line in lines)


def test_what_is_shown() -> None:
    out = io.StringIO()
    found = summary.metrics([*LABELLED, label("e", "no", "unparsed")])
    kinds = {"causes": {"n": 2, "accuracy": 0.25}, "tests": {"n": 3, "accuracy": 0.75}}
    result = {"policy": "p", "benchmark": "pubmedqa_style", "split": "gate", "n": 5, "metrics": found, "by_type": kinds}
    summary.show(result, Screen(Console(file=out, width=80)))
    lines = [" ".join(line.replace("│", " ").split()) for line in out.getvalue().splitlines()]
    assert "p on 5 items of pubmedqa_style (gate)" in lines
    assert {"unparsed 1", "no 0 1 0 1", "causes 2 0.2500"} <= set(lines)
    low, high = wilson_interval(2, 5)
    assert f"accuracy 0.4000 ({low:.4f} to {high:.4f})" in lines
    assert any(re.fullmatch(r"macro_f1 0.3333 \(0.0000 to 0\.\d{4}\)", line) for line in lines)
    assert not any("confusion" in line for line in lines)


def test_macro_f1_has_an_interval_that_knows_the_groups() -> None:
    rows = [
        label(str(i), "yes no maybe".split()[i % 3], "yes" if i % 4 == 0 else "yes no maybe".split()[i % 3])
        for i in range(60)
    ]
    each, few = summary.metrics(rows), summary.metrics(rows, {str(i): str(i % 4) for i in range(60)})
    assert each["macro_f1.low"] < each["macro_f1"] < each["macro_f1.high"] <= 1.0
    assert each["accuracy.low"] < each["accuracy"] < each["accuracy.high"]
    assert few["macro_f1"] == each["macro_f1"] and few["macro_f1.low"] < each["macro_f1.low"], "whole groups vary more"


def test_references_of_other_lengths_do_not_widen_the_interval_of_the_loss() -> None:
    """Each of them costs 2 nats per token: there is nothing that varies."""
    rows = [row(str(i), m, v) for i in range(20) for m, v in zip(LOSS, (20.0 * (i + 1), 10.0 * (i + 1)), strict=True)]
    found = summary.metrics(rows)
    assert (found["loss.low"], found["loss"], found["loss.high"]) == pytest.approx((2.0, 2.0, 2.0))


def test_the_interval_of_the_loss_is_that_of_resampled_references() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, 200, 400).astype(float)
    nats = tokens * (2 + rng.normal(0, 0.4, 400))
    rows = [row(str(i), m, v) for i in range(400) for m, v in zip(LOSS, (nats[i], tokens[i]), strict=True)]
    found = summary.metrics(rows)
    drawn = rng.integers(0, 400, (4000, 400))
    low, high = np.quantile(nats[drawn].sum(axis=1) / tokens[drawn].sum(axis=1), [0.025, 0.975])
    assert (found["loss.low"], found["loss.high"]) == pytest.approx((low, high), abs=0.005)


def test_loss_and_perplexity_have_the_same_interval() -> None:
    rows = [row(str(i), m, v) for i in range(20) for m, v in zip(LOSS, (20.0 + i, 10.0), strict=True)]
    found = summary.metrics(rows)
    assert found["loss.low"] < found["loss"] < found["loss.high"]
    assert found["perplexity.low"] == pytest.approx(math.exp(found["loss.low"]))
    assert not any(name.startswith("reference_nats.") for name in found)
