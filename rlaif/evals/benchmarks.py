"""The benchmarks, one line each: what is measured, by which module, and what the gate does with it.

A benchmark is a module in this folder and a line in :data:`BENCHMARKS`. The module has

    protocol_hash(prompt, settings) -> str                                how answers are made and scored
    evaluate(model, tokenizer, policy_id, questions, prompt, settings, data_sha256, on_step, **options) -> rows
    more_rows(model, tokenizer, questions, rows, prompt, encoder, screen) -> rows, optional: what only `evaluate` shows

Its items are the questions of a run whose data set is called as the benchmark, or begins so: `data.pubmedqa` and
`data.medquad` of the configuration, else an entry of `data.sets` that has the benchmark's name. Rows of a person's own
files (rlaif/data/own.py) are own_text, or own_labels where they have a label. A file for
`evaluate --data` is read by `rlaif.data.load_questions`: as a table of questions where the benchmark has no format of
its own.

Those of others (`evaluation.benchmarks`, see `rlaif.evals.plugin`) are no part of the table: :func:`benchmark_of` and
:func:`at_the_gate` know both. HealthBench may be named there too. It is then no side of the gate: it stands beside
them, and may not lose more than its margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from rlaif.config import EvalConfig
from rlaif.config_data import HEALTHBENCH
from rlaif.plugins import short_name
from rlaif.types import UsageError

PLUGIN_METRIC = "score"  # what a benchmark of others measures


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is measured, by which module, and what the gate does with it.

    `metric` (0-1, larger is better) is what the gate and the tables look at; `metrics` are all that an evaluation
    stores. `gate`: "accuracy" and "score" are the two sides of the gate, of which one must gain and neither may lose; a
    benchmark with "not_worse" may not lose more than `margin`; one with "" is for the command `evaluate` alone. A value
    of `metric` below `error_below` counts as an error in `compare`. One `by_rubric` has its figure from a judge: at the
    gate and in the sealed test that judge's marks count, and `metric` does not.
    """

    name: str
    gate: Literal["accuracy", "score", "not_worse", ""]
    metrics: tuple[str, ...]
    error_below: float = 1.0
    margin: float = 0.04
    code: str = ""  # the module, where it is not called as the benchmark
    plugin: str = ""  # the name of somebody else's code, which stands in the module's place
    by_rubric: bool = False

    @property
    def metric(self) -> str:
        return self.metrics[0]

    @property
    def module(self) -> Any:
        """Imported when it is needed: it brings torch. UsageError where a plugin cannot be used."""
        if self.plugin:
            from rlaif.evals.plugin import load_plugin_benchmark

            return load_plugin_benchmark(self.plugin)
        return import_module(f"rlaif.evals.{self.code or self.name}")


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("medquad", "score", ("token_f1", "rouge_l", "consistency"), error_below=0.5),
        Benchmark("pubmedqa", "accuracy", ("accuracy",)),
        Benchmark("own_text", "score", ("token_f1", "rouge_l", "consistency"), error_below=0.5, code="medquad"),
        Benchmark(
            HEALTHBENCH,
            "score",
            ("token_f1", "rouge_l", "consistency"),
            error_below=0.5,
            code="medquad",
            by_rubric=True,
        ),
        Benchmark("own_labels", "accuracy", ("accuracy",), code="pubmedqa"),
        Benchmark("medqa", "", ("accuracy", "cloze_acc", "cloze_acc_norm"), code="choices"),
        Benchmark("mmlu", "", ("accuracy", "cloze_acc", "cloze_acc_norm"), code="choices"),
    )
}
AT_THE_GATE = tuple(name for name, benchmark in BENCHMARKS.items() if benchmark.gate)
FROM_FILES = tuple(name for name, benchmark in BENCHMARKS.items() if not benchmark.gate)
# The two sides of the gate; a run has at most one benchmark of each.
LABELLED = tuple(name for name, benchmark in BENCHMARKS.items() if benchmark.gate == "accuracy")
FREE_TEXT = tuple(name for name, benchmark in BENCHMARKS.items() if benchmark.gate == "score")

BEGINS_WITH_ONE = (
    "list_bool_or(list_transform(?, lambda name: starts_with(benchmark, name)))"  # SQL; ?: a list of names
)


def benchmark_of(settings: EvalConfig, name: str) -> Benchmark:
    """The benchmark called `name`, of rlaif or of others. Imports nothing. UsageError when there is none."""
    if name in BENCHMARKS:
        known = BENCHMARKS[name]
        beside = known.by_rubric and name in settings.benchmarks
        return replace(known, gate="not_worse", margin=settings.benchmarks[name]) if beside else known
    for plugin, margin in settings.benchmarks.items():
        if short_name(plugin) == name:
            return Benchmark(name, "not_worse", (PLUGIN_METRIC,), margin=margin, plugin=plugin)
    raise UsageError(f"no benchmark {name!r}; there are: {', '.join((*BENCHMARKS, *plugin_names(settings)))}")


def at_the_gate(settings: EvalConfig) -> tuple[str, ...]:
    """The names of the benchmarks that the gate reads. Imports nothing."""
    return (*AT_THE_GATE, *plugin_names(settings))


def free_text_at_the_gate(settings: EvalConfig) -> tuple[str, ...]:
    """The names of FREE_TEXT that may be the free text of the gate: without the one that stands beside it."""
    return tuple(name for name in FREE_TEXT if name not in settings.benchmarks)


def plugin_names(settings: EvalConfig) -> tuple[str, ...]:
    """The names of the benchmarks of others."""
    return tuple(short_name(name) for name in settings.benchmarks if name != HEALTHBENCH)


def benchmark_of_dataset(dataset: str) -> str:
    """The benchmark at the gate that the questions of a data set are items of. KeyError where there is none."""
    for name in AT_THE_GATE:
        if dataset.startswith(name):
            return name
    raise KeyError(dataset)
