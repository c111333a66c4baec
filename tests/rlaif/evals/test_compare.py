"""compare: the numbers of small made-up results by hand, and two real policies on real items."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rlaif.evals import stored as measured
from rlaif.evals.benchmarks import BENCHMARKS
from rlaif.evals.compare import compare, differences_of, errors_of, metrics_of, show
from rlaif.evals.loss import LOSS
from rlaif.evals.results import MetricResults
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import EvalItem, UsageError


def results(
    metric: str, values: Sequence[float | None], predictions: list[str] | None = None, targets: list[str] | None = None
) -> MetricResults:
    n = len(values)
    rows = [
        EvalItem(
            "p",
            "pubmedqa" if metric == "accuracy" else "medquad",
            "gate",
            str(i),
            metric,
            (predictions or [""] * n)[i],
            (targets or [""] * n)[i],
            value,
        )
        for i, value in enumerate(values)
    ]
    return MetricResults.of(rows, {str(i): f"g{i}" for i in range(n)})


def losses(nats: list[float] | list[None], tokens: list[float] | list[None]) -> dict[str, MetricResults]:
    return dict(zip(LOSS, (results(LOSS[0], nats), results(LOSS[1], tokens)), strict=True))


BEFORE = {"token_f1": results("token_f1", [0.2, 0.4, 0.6, 0.8], ["a", "a b", "a b c", "a"])} | losses(
    [4, 6, 8, 2], [2, 2, 4, 2]
)
AFTER = {"token_f1": results("token_f1", [0.6, 0.4, 0.4, 0.9], ["a", "a b", "a b c d", "a"])} | losses(
    [2, 4, 4, 2], [2, 2, 4, 2]
)


def test_loss_is_over_all_tokens_and_its_difference_too() -> None:
    before = metrics_of(BEFORE)
    assert before["token_f1"]["mean"] == pytest.approx(0.5) and before["token_f1"]["n"] == 4
    assert before["loss"] == {"mean": 2.0, "n": 10}
    assert before["perplexity"]["mean"] == pytest.approx(math.exp(2.0))
    found = differences_of(BEFORE, AFTER, seed=0)
    assert found["loss"]["delta"] == pytest.approx(12 / 10 - 20 / 10)
    assert found["token_f1"]["delta"] == pytest.approx(0.075)
    assert found["token_f1"]["ci_low"] < 0.075 < found["token_f1"]["ci_high"]


def test_without_a_reference_that_fits_there_is_no_loss() -> None:
    none = BEFORE | losses([None] * 4, [None] * 4)
    assert not {"loss", "perplexity"} & (metrics_of(none).keys() | differences_of(none, none, seed=0).keys())
    assert metrics_of(none)["token_f1"] == metrics_of(BEFORE)["token_f1"]


def test_errors_fixed_new_and_how_long_they_are() -> None:
    found = errors_of(BENCHMARKS["medquad"], BEFORE, AFTER, {})
    assert found["errors"] == {"n": 2, "fixed": 1, "new": 1}
    assert found["error_lengths"] == [2, 4] and "confusion" not in found


def test_accuracy_has_mcnemar_macro_f1_and_a_confusion_matrix() -> None:
    targets = ["yes", "yes", "no", "no", "maybe", "yes"]
    answers = ["no"] * 6, ["yes", "yes", "no", "yes", "maybe", "unparsed"]
    before, after = (
        {"accuracy": results("accuracy", [float(a == t) for a, t in zip(given, targets, strict=True)], given, targets)}
        | losses([1] * 6, [1] * 6)
        for given in answers
    )
    found = differences_of(before, after, seed=0)
    assert (found["accuracy"]["b"], found["accuracy"]["c"], found["accuracy"]["p_value"]) == (
        3,
        1,
        pytest.approx(0.625),
    )
    assert found["accuracy"]["delta"] == pytest.approx(2 / 6)
    assert found["macro_f1"]["delta"] == pytest.approx((4 / 6 + 2 / 3 + 1) / 3 - (0 + 4 / 8 + 0) / 3)
    matrix = errors_of(BENCHMARKS["pubmedqa"], before, after, dict.fromkeys("012345", 7))
    assert matrix["confusion"]["yes"] == {"yes": 2, "no": 0, "maybe": 0, "other": 1}
    assert matrix["errors"] == {"n": 2, "fixed": 3, "new": 1} and matrix["error_lengths"] == [7, 7]


def test_the_accuracy_of_a_free_text_benchmark_has_no_labels() -> None:
    def measured_on(values: list[float]) -> dict[str, MetricResults]:
        return {"accuracy": replace(results("accuracy", values), benchmark="safety")} | losses([2] * 3, [1] * 3)

    before, after = measured_on([1.0, 0.0, 1.0]), measured_on([1.0, 1.0, 1.0])
    assert set(metrics_of(after)) == {"accuracy", "loss", "perplexity"}
    assert "macro_f1" not in differences_of(before, after, 0)


def test_one_group_has_no_interval() -> None:
    def rows(metric: str) -> list[EvalItem]:
        return [EvalItem("p", "medquad", "gate", str(i), metric, "", "", 0.3) for i in range(2)]

    alone = {metric: MetricResults.of(rows(metric), {"0": "g", "1": "g"}) for metric in ("token_f1", *LOSS)}
    assert differences_of(alone, alone, 0)["token_f1"] == {"delta": 0.0, "ci_low": None, "ci_high": None, "n": 2}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["base"], "two or more different"),
        (["sft", "champion"], "5f70000000000000 is named twice"),
        (["base", "nobody"], "is no policy of this run"),
    ],
)
def test_wrong_policies_are_one_line(paired_run: Run, names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(paired_run, names, "medquad", "gate", 0, Screen())


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", ["medquad", "pubmedqa"])
def test_two_policies_on_the_same_items(
    trained_run: Run, benchmark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlaif.report.plots import write_plots

    quiet = Screen(Console(file=io.StringIO()))
    few = compare(trained_run, ["base", "sft"], benchmark, "gate", 8, quiet)
    asked: list[int] = []
    real = measured.evaluate_questions
    monkeypatch.setattr(measured, "evaluate_questions", lambda *a, **k: asked.append(len(a[4])) or real(*a, **k))
    first = compare(trained_run, ["base", "sft"], benchmark, "gate", 16, quiet)
    assert asked == [8, 8], "what is there already is not evaluated again"
    monkeypatch.setattr(measured, "evaluate_questions", None)
    monkeypatch.setattr(measured, "run_base", None)
    assert compare(trained_run, ["base", "sft"], benchmark, "gate", 16, quiet) == first, "all of it from the database"
    turned = compare(trained_run, ["champion", "base"], benchmark, "gate", 16, quiet)
    assert [p["metrics"] for p in turned["policies"]] == [p["metrics"] for p in first["policies"]][::-1]
    assert [d["delta"] for d in turned["differences"]] == pytest.approx([-d["delta"] for d in first["differences"]])
    assert first["policies"][0]["metrics"]["loss"]["mean"] != first["policies"][1]["metrics"]["loss"]["mean"]
    assert few["n"] == 8 and first["benchmark"] == f"{benchmark}_style"

    out = io.StringIO()
    show(first, Screen(Console(file=out, width=140)))
    assert "base base0" in out.getvalue() and "SFT 5f700000" in out.getvalue() and "perplexity" in out.getvalue()

    trained_run.store.write(
        {
            "train_log": [
                {"policy_id": "5f70000000000000", "step": i, "name": "loss", "value": 1 / i} for i in range(1, 9)
            ]
        }
    )
    wanted = {"scores", "training_loss", "learning_curve"} | {"pubmedqa": {"confusion"}, "medquad": set()}[benchmark]
    wanted |= {"error_lengths"} if any(p["errors"]["n"] for p in first["policies"]) else set()
    files = write_plots(trained_run, first, tmp_path / "plots")
    assert {p.stem for p in files} == wanted
    import matplotlib.image

    for path in files:
        picture = matplotlib.image.imread(path)
        assert (
            min(picture.shape[:2]) > 300 and len({tuple(p) for p in picture[::5, ::5, :3].reshape(-1, 3).round(2)}) > 4
        ), path


def test_the_plots_folder_that_cannot_be_made_is_one_line(paired_run: Run, tmp_path: Path) -> None:
    from rlaif.report.plots import write_plots
    from rlaif.types import RlaifError

    (tmp_path / "file").touch()
    result = {
        "policies": [{"policy_id": "base0", "metrics": {}, "errors": {"n": 0}, "error_lengths": []}],
        "benchmark": "medquad_style",
    }
    with pytest.raises(RlaifError, match="--plots .*file"):
        write_plots(paired_run, result, tmp_path / "file" / "plots")


def test_a_metric_without_an_interval_of_its_own_has_that_of_its_difference() -> None:
    from rlaif.report.drawing import metric_interval
    from rlaif.report.training_plots import compared_points

    metrics = {
        "token_f1": {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6},
        "loss": {"mean": 2.0},
        "perplexity": {"mean": math.exp(2.0)},
    }
    against = {
        "policy_id": "b",
        "metric": "loss",
        "delta": -0.5,
        "ci_low": -0.7,
        "ci_high": -0.2,
    }  # the first policy's is 2.5
    assert metric_interval(metrics, "token_f1", against) == (0.4, 0.6)
    assert metric_interval(metrics, "loss", against) == pytest.approx((1.8, 2.3))
    assert metric_interval(metrics, "perplexity", against) == pytest.approx((math.exp(1.8), math.exp(2.3)))
    assert metric_interval(metrics, "loss", None) == (None, None)
    first = {"policy_id": "a", "metrics": {"loss": {"mean": 2.5}}}
    points = compared_points(
        {"policies": [first, {"policy_id": "b", "metrics": metrics}], "differences": [against]}, "loss"
    )
    assert points == {"a": (2.5, None, None), "b": pytest.approx((2.0, 1.8, 2.3))}


def test_the_running_mean_is_over_neighbours() -> None:
    from rlaif.report.training_plots import running_mean

    assert running_mean([1.0, 2.0, 6.0]) == [1.0, 2.0, 6.0], "too few to average"
    smooth = running_mean([float(i % 2) for i in range(40)])
    assert len(smooth) == 40 and smooth[20] == pytest.approx(2 / 5) and smooth[0] == pytest.approx(1 / 3)
    assert running_mean([]) == []
