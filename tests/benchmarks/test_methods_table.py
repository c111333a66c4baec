"""The row of a method in the table of benchmarks/methods.py, from made-up results."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from rlaif.evals.results import MetricResults

PATH = Path(__file__).parents[2] / "benchmarks" / "methods.py"


@pytest.fixture(scope="module")
def methods():
    import sys

    spec = importlib.util.spec_from_file_location("benchmark_methods", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def results(benchmark: str, metric: str, values: list[float]) -> MetricResults:
    n = len(values)
    ids = tuple(f"q{i}" for i in range(n))
    words = ("yes",) * n
    return MetricResults(benchmark, metric, ids, tuple(values), words, words, ids, ("ok",) * n, "protocol", "data")


def row(methods, loss: float, f1: list[float], right: list[float], seconds: float | None):
    medquad = {
        "token_f1": results("medquad", "token_f1", f1),
        "rouge_l": results("medquad", "rouge_l", f1),
        "reference_nats": results("medquad", "reference_nats", [10 * loss] * len(f1)),
        "reference_tokens": results("medquad", "reference_tokens", [10.0] * len(f1)),
    }
    accuracy = {"accuracy": results("pubmedqa", "accuracy", right)}
    return methods.Row({"medquad": medquad, "pubmedqa": accuracy}, "items", seconds, seconds and 1234.5)


def test_cells_hold_means_and_paired_differences(methods):
    base = row(methods, 2.5, [0.2, 0.4, 0.3], [0.0, 1.0], None)
    better = row(methods, 2.0, [0.3, 0.5, 0.4], [1.0, 1.0], 61.4)
    assert methods.cells(base, None, 0) == ["2.500", f"{math.exp(2.5):.2f}", "0.300", "0.300", "0.500", "", ""]
    loss, perplexity, f1, rouge, accuracy, seconds, peak = methods.cells(better, base, 0)
    assert loss == "2.000<br>-0.500 [-0.500, -0.500]"
    assert perplexity == f"{math.exp(2.0):.2f}"
    assert f1 == rouge == "0.400<br>+0.100 [+0.100, +0.100]"
    assert accuracy.startswith("1.000<br>+0.500 [")
    assert (seconds, peak) == ("61", "1,234")


def test_each_row_is_compared_with_the_base_that_its_method_trained(methods, monkeypatch):
    """Loss 2.5 for the base, 2.7 for the 4-bit ones; 0.1 less for whatever was trained on it."""
    from types import SimpleNamespace

    def read(run, which):
        of_base = 2.7 if run.method in ("qlora", "gptq-lora") else 2.5
        return row(
            methods,
            of_base - (0.0 if which == "base" else 0.1),
            [0.2, 0.4],
            [0.0, 1.0],
            None if which == "base" else 60.0,
        )

    monkeypatch.setattr(
        methods, "open_run", lambda path: SimpleNamespace(method=path.name, config=SimpleNamespace(seed=0))
    )
    monkeypatch.setattr(methods, "read", read)
    lines = methods.table(Path("anywhere")).splitlines()[2:]
    losses = {line.split(" | ")[0].strip("| "): line.split(" | ")[1] for line in lines}
    assert list(losses) == [name for name, _, _ in methods.ROWS]
    assert losses.pop("base") == "2.500"
    for name, cell in losses.items():
        assert cell.endswith("+0.200 [+0.200, +0.200]" if name.startswith("base as") else "-0.100 [-0.100, -0.100]"), (
            name
        )


def test_every_row_is_of_a_method_that_runs(methods):
    from rlaif.train.methods import METHODS

    assert set(methods.METHODS) == set(METHODS) == {method for _, method, _ in methods.ROWS}
