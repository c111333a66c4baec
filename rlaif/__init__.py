"""rlaif: an RLAIF loop for medical question answering that a person can audit.

    import rlaif

    run = rlaif.open("runs/default")
    rlaif.table(run, "round_summary", to="pandas")
    rlaif.query(run, "SELECT * FROM gates WHERE round = 1")
    rlaif.plots(run)
    rlaif.answer(run, ["What are the symptoms of asthma?"], policy="champion")
    rlaif.judge([rlaif.JudgeItem("a1", "What helps against a cold?", "Rest.", reference="Rest and water.")])
    rlaif.decide(run, challenger="champion", champion="sft").reason
    rlaif.evaluate(rlaif.open("runs/default", write=True), "medquad")["metrics"]

The names in `__all__` are the public interface; everything else is private and may change. Where things are:

    types quiet screen wording text_metrics    records, quiet imports, progress, words, text scores
    stats power config prompts stores          statistics, settings, prompt files, the DuckDB store
    run models                                 a run's folder and stages; bases, adapters, sampling, log-probabilities
    judges records policies data               judges, rows read back, policies of a run, data sets
    judging exam evals prepare                 the judges' stage and exam, the benchmarks, the first stage
    gate train report                          the promotion gate, SFT and DPO, what a person reads
    loop share review admin commands           the rounds (start at loop/rounds.py), what goes in and out, the commands
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlaif.types import (
    DataError,
    Decision,
    EvalItem,
    JudgeItem,
    Preference,
    Question,
    RlaifError,
    UsageError,
    Verdict,
)

if TYPE_CHECKING:
    from rlaif.api import Plot, Plots, answer, decide, evaluate, judge, open, plots, query, table, tables
    from rlaif.gate.decide import GateResult
    from rlaif.run import Run

__all__ = [
    "DataError",
    "Decision",
    "EvalItem",
    "GateResult",
    "JudgeItem",
    "Plot",
    "Plots",
    "Preference",
    "Question",
    "RlaifError",
    "Run",
    "UsageError",
    "Verdict",
    "answer",
    "decide",
    "evaluate",
    "judge",
    "open",
    "plots",
    "query",
    "table",
    "tables",
]


def __getattr__(name: str) -> Any:
    """The functions are imported when they are first used: `import rlaif` and the quick commands stay quick."""
    if name not in __all__:
        raise AttributeError(f"module 'rlaif' has no attribute {name!r}")
    from rlaif import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
