"""What a notebook needs, under short names. `rlaif/__init__.py` has the whole list and an example."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlaif.gate.decide import Checks, GateResult, Look
from rlaif.gate.decide import decide as decide_on
from rlaif.judging.announce import announce
from rlaif.judging.configured import judge_settings
from rlaif.policies import check_base, load_policy, run_prompt
from rlaif.report.notebook import Plot, Plots, plots_of
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import JudgeItem, Question, UsageError, Verdict

if TYPE_CHECKING:
    from rlaif.config import ModelConfig
    from rlaif.models.base import Base

__all__ = [  # with what `rlaif` hands on from here
    "GateResult", "Plot", "Plots", "Run",
    "answer", "decide", "evaluate", "judge", "open", "plots", "query", "table", "tables",
]  # fmt: skip
Kind = Literal["arrow", "pandas", "polars"]


def open(folder: str | Path = "runs/default", *, write: bool = False) -> Run:
    """The run in `folder`, for reading: no lock is held between two calls, so a loop goes on working meanwhile.

    `write` lets `evaluate` record its rows, and brings a run of an older version up to date. Raises UsageError when
    there is no run, or without `write` an older one.
    """
    return open_run(Path(folder), read_only=not write)


def tables(run: Run) -> list[str]:
    """The names of the run's tables and views, for :func:`table` and :func:`query`."""
    found = run.store.query_user("SELECT table_name FROM information_schema.tables ORDER BY table_name")[1]
    return [str(name) for (name,) in found]


def table(run: Run, name: str, to: Kind = "arrow") -> Any:
    """A whole table or view of the run: see :func:`query`. UsageError for one that is not there."""
    quoted = name.replace('"', '""')
    return query(run, f'SELECT * FROM "{quoted}"', to)


def query(run: Run, sql: str, to: Kind = "arrow") -> Any:
    """The answer to one SQL statement as an Arrow table, or as a data frame of pandas or polars.

    The database is opened read-only and without access to files, as in the command `sql`; a loop may be at work on it.
    JSON columns come as text, times are UTC. Raises UsageError, on one line, for every mistake in the statement, and
    for pandas or polars where that is not installed.
    """
    if to not in ("arrow", "pandas", "polars"):
        raise UsageError(f"to={to!r}: give 'arrow', 'pandas' or 'polars'")
    if to != "arrow" and not find_spec(to):
        raise UsageError(f"to={to!r}: {to} is not installed; pip install {to}, or leave it out for an Arrow table")
    found = run.store.arrow(sql)
    if to == "pandas":
        return found.to_pandas()
    if to == "polars":
        import polars

        return polars.from_arrow(found)
    return found


def answer(
    run: Run, questions: Sequence[str | Question], policy: str = "champion", contexts: Sequence[str] = ()
) -> list[str]:
    """The greedy answer of a policy (base, sft, champion, or an id) to each question, in the words of the run's prompt.

    `contexts` are passages that the policy may read, one per question, where the questions are plain text. Raises
    UsageError for another number of contexts, an unknown policy or a changed prompt; RlaifError when the weights are
    missing or have changed. The base stays in memory for the next call.
    """
    from rlaif.models.generate import plan_batches, sample
    from rlaif.render import answer_prompt, encode

    if contexts and len(contexts) != len(questions):
        raise UsageError(f"{len(questions)} questions and {len(contexts)} contexts: give one per question, or none")
    passages = contexts or [""] * len(questions)
    asked = [
        q if isinstance(q, Question) else Question("", "", "train", "", "", q, context)
        for q, context in zip(questions, passages, strict=True)
    ]
    prompt, base = run_prompt(run), _loaded(run.config.model)
    check_base(run, base)
    model = load_policy(run, base, run.policy(policy)["policy_id"])
    texts = [answer_prompt(base.tokenizer, prompt, q) for q in asked]
    lengths = [len(encode(base.tokenizer, text)) for text in texts]
    settings = run.config.evaluation
    answers = [""] * len(texts)
    for batch in plan_batches(lengths, settings.batch_size):
        made = sample(
            model,
            base.tokenizer,
            [texts[i] for i in batch],
            max_new_tokens=settings.max_new_tokens,
            seed=0,
            greedy=True,
        )
        for index, generation in zip(batch, made, strict=True):
            answers[index] = generation.text
    return answers


@lru_cache(maxsize=1)
def _loaded(settings: ModelConfig) -> Base:
    from rlaif.models.base import load_base

    return load_base(settings)


def judge(answers: Sequence[JudgeItem], model: str = "local:embedded", **settings: Any) -> list[Verdict]:
    """One verdict per answer, in their order, by the judge called `model` (see the setting `judge.model`).

    `settings` are further keys of [judge], such as `prompt="prompts/judge/strict.md"` or `base_url=...`. A verdict
    without a score has the value None and a reason. What leaves this machine is said on stderr before it does. Raises
    UsageError for a judge or a setting that does not exist, JudgeStopped when the judge cannot go on.
    """
    from judges import make_judge
    from rlaif.config_file import load_config

    keys = {"model": model, **settings}
    config = load_config(overrides=[f"judge.{key}={value}" for key, value in keys.items()])
    asked = make_judge(config.judge.model, judge_settings(config))
    announce(Screen(), asked, lambda chat_judge: chat_judge.forecast(answers))
    return asked.score(answers)


def evaluate(
    run: Run, benchmark: str, policy: str = "champion", *, data: str = "", split: str = "", limit: int = 0
) -> dict[str, Any]:
    """A policy on a benchmark, as `evaluate --format json` prints it: policy, n, metrics, items.

    Without `data`, a file, the run's gate items are used. The rows go into the run's `eval_items`, so the run has to be
    opened with `write=True`. Raises UsageError where it is not, and for the sealed split, an unknown policy or no
    items; DataError for a file that cannot be used.
    """
    if run.store.read_only:
        raise UsageError("evaluate records its rows in the run: open it with rlaif.open(folder, write=True)")
    from rlaif.evals.command import evaluate_from_command_line

    return evaluate_from_command_line(run.folder, policy, benchmark, data, split, limit)


def decide(run: Run, challenger: str, champion: str = "champion", look: int = 1) -> GateResult:
    """What the gate says of two policies whose results on the gate's items the run holds: action, reason, rows.

    Nothing is recorded, and no licence or leak is checked: it explores, it does not promote. `look` is the number of
    the DPO look whose own alpha counts; nothing is inherited from a look before. Raises UsageError for an unknown
    policy, RlaifError where results are missing.
    """
    from rlaif.evals.stored import results
    from rlaif.gate.simulate_run import gate_judge_id

    prompt, judge_id = run_prompt(run), gate_judge_id(run)
    pair = [results(run, run.policy(name)["policy_id"], prompt, judge_id) for name in (champion, challenger)]
    seed = run.config.seed
    return decide_on(*pair, look=Look("dpo", look), settings=run.config.gate, checks=Checks(), seed=seed)


def plots(run: Run, title: str = "") -> Plots:
    """The charts of the report as they would be now, each with `title`, `caption` and `svg`; a notebook shows them.

    `title` keeps those with these letters in their title. Raises UsageError, naming the titles, where there is none.
    """
    from rlaif.report.data import read
    from rlaif.report.page import every_chart

    charts = every_chart(read(run.store))
    found = [chart for chart in charts if title.lower() in chart.title.lower()]
    if title and not found:
        raise UsageError(f"no chart has {title!r} in its title; there are: {'; '.join(c.title for c in charts)}")
    return plots_of(found)
