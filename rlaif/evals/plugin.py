"""A benchmark that somebody else wrote: a Python function that scores a greedy answer to a question.

    def plain(question: Question, answer: str) -> float | None: ...     # 0-1, larger is better; None: not measured

Its items are the questions of the data sets whose name is its name or begins with it. The gate lets it get worse by no
more than the configured margin (`evaluation.benchmarks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlaif.cluster.policy import SpreadPolicy
from rlaif.config import EvalConfig
from rlaif.evals.benchmarks import BENCHMARKS, PLUGIN_METRIC, benchmark_of, plugin_names
from rlaif.plugins import Plugin, load
from rlaif.prompts import Prompt
from rlaif.types import EvalItem, Question, RlaifError, UsageError, content_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class PluginBenchmark:
    """What `rlaif.evals.benchmarks` asks of a benchmark's module, around a function of somebody else."""

    plugin: Plugin

    def protocol_hash(self, prompt: Prompt, settings: EvalConfig) -> str:
        """Covers what is known to decide its scores (see `rlaif.plugins.Plugin`), and how answers are made."""
        covers = {"object": self.plugin.path, **self.plugin.covers}
        return content_id("plugin", covers, prompt.sha256, "greedy", settings.max_new_tokens)

    def evaluate(
        self,
        model: PreTrainedModel | SpreadPolicy,
        tokenizer: PreTrainedTokenizerBase,
        policy_id: str,
        questions: Sequence[Question],
        prompt: Prompt,
        settings: EvalConfig,
        data_sha256: str,
        on_step: Callable[[int, int], None] = lambda items, tokens: None,
    ) -> list[EvalItem]:
        """A row `score` for each question, in their order; as for `rlaif.evals.medquad.evaluate` otherwise.

        RlaifError for what the function raises, and for a score that is no number from 0 to 1.
        """
        from rlaif.evals.medquad import greedy_answers

        made = {"policy_id": policy_id, "protocol_hash": self.protocol_hash(prompt, settings)}
        rows = []
        given = greedy_answers(model, tokenizer, questions, prompt, settings, on_step)
        for question, (answer, why) in zip(questions, given, strict=True):
            value = None if why else self.score(question, answer)
            why = why or ("the benchmark gave no score" if value is None else "")
            status = "failed" if why else "scored"
            made_of = {"status": status, "reason": why, "data_sha256": data_sha256, **made}
            rows.append(EvalItem.of(question, PLUGIN_METRIC, answer, value, **made_of))
        return rows

    def score(self, question: Question, answer: str) -> float | None:
        """0-1, or None. RlaifError as :meth:`evaluate`."""
        with self.plugin.running():
            value: Any = self.plugin.code(question, answer)
        if value is None:
            return None
        if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
            raise RlaifError(
                f"the benchmark {self.plugin.path} gave {value!r:.80} for question {question.question_id}; a score is "
                "a number from 0 to 1, or None"
            )
        return float(value)


def load_plugin_benchmark(name: str) -> PluginBenchmark:
    """The benchmark called `name`, a module:object or an entry point. UsageError as :func:`rlaif.plugins.load`."""
    return PluginBenchmark(load("benchmark", name, "evaluation.benchmarks"))


def check_plugins(settings: EvalConfig, datasets: Iterable[str] | None) -> None:
    """Import the benchmarks of others that are configured, before any model is loaded.

    `datasets` are those of the gate's questions of a new run. UsageError for one that cannot be used, that shares its
    data sets with another benchmark, or that has no questions.
    """
    names, sets = plugin_names(settings), None if datasets is None else list(datasets)
    for name in names:
        others = [*BENCHMARKS, *names]
        others.remove(name)
        if name in BENCHMARKS and name in settings.benchmarks:
            raise UsageError(
                f"evaluation.benchmarks: {name} is a side of the gate, and its margin is in [gate]; name healthbench, "
                "or a benchmark of your own"
            )
        if clash := next((o for o in others if o.startswith(name) or name.startswith(o)), ""):
            raise UsageError(
                f"evaluation.benchmarks: {name!r} and {clash!r} would share data sets, because one name begins with "
                "the other; give yours another name"
            )
        _ = benchmark_of(settings, name).module
        if sets is not None and not any(dataset.startswith(name) for dataset in sets):
            raise UsageError(
                f"evaluation.benchmarks: no gate questions of {name!r}: its items are those of the data sets whose "
                f"name begins so; add an entry of data.sets with name = {name!r}"
            )
