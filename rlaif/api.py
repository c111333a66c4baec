"""What a notebook needs, under short names. `rlaif/__init__.py` has the whole list and an example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif.gate.decide import Checks, GateResult, Look
from rlaif.gate.decide import decide as decide_on
from rlaif.judging.announce import announce
from rlaif.judging.configured import judge_settings
from rlaif.policies import load_policy, opened, run_prompt
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.types import JudgeItem, Question, UsageError, Verdict

if TYPE_CHECKING:
    import pyarrow as pa


def open(folder: str | Path = "runs/default") -> Run:
    """The run in `folder`. Raises UsageError when there is none."""
    return open_run(Path(folder))


def query(run: Run, sql: str) -> pa.Table:
    """The answer to one SQL statement as an Arrow table: `.to_pandas()`, or `polars.from_arrow(...)`.

    The database is opened read-only and without access to files, as in the command `sql`; a loop may be at work on it.
    JSON columns come as text, times are UTC. Raises UsageError, on one line, for every mistake in the statement.
    """
    return run.store.arrow(sql)


def answer(
    run: Run, questions: Sequence[str | Question], policy: str = "champion", contexts: Sequence[str] = ()
) -> list[str]:
    """The greedy answer of a policy (base, sft, champion, or an id) to each question, in the words of the run's prompt.

    `contexts` are passages that the policy may read, one per question, where the questions are plain text. Raises
    UsageError for another number of contexts, an unknown policy or a changed prompt; RlaifError when the weights are
    missing or have changed.
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
    prompt, base = opened(run)
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

    Without `data`, a file, the run's gate items are used. The rows go into the run's `eval_items`. Raises UsageError
    for the sealed split, an unknown policy or no items; DataError for a file that cannot be used.
    """
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
