"""Every method of `train`, and a round of the loop, on the same data and the same gate items: one Markdown table.

    python benchmarks/methods.py --out runs/methods --model FOLDER --gptq FOLDER \\
        --set data.medquad=FILE --set data.pubmedqa=FILE

Each method is a process and a run of its own, so that its peak memory is its own; RLAIF is one round of `loop` on the
run of gptq-lora, from the champion there. Runs that exist already are continued, not repeated. A row's differences are
to the base that its method trained, with paired 95% intervals (bootstrap of the items clustered by group); those of the
two 4-bit bases are to the base they were made from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.evals import pubmedqa
from rlaif.evals.compare import difference, differences_of, metrics_of
from rlaif.evals.evaluate import data_hash, gate_questions
from rlaif.evals.results import MetricResults, pair
from rlaif.evals.stored import measure, stored_by_item
from rlaif.prompts import load_prompt
from rlaif.run import Run, open_run
from rlaif.screen import Screen

ROOT = Path(__file__).parents[1]
# Small enough for one core. The rates are a guess at what a few million parameters and 17 steps need, not tuned.
SIZES = (
    "model.threads=1 data.max_reference_words=64 data.sft_medquad=200 data.sft_pubmedqa=64 "
    "data.gate_medquad=100 data.gate_pubmedqa=80 "
    "sampling.questions=192"
).split()
METHODS = {  # method -> its settings
    "gptq-lora": ["train.learning_rate=1e-3"],
    "knowtuning": [
        "train.learning_rate=1e-3",
        "dpo.learning_rate=3e-4",
    ],  # many more pairs, so more steps, than a round of the loop
    "galore": ["train.learning_rate=8e-4"],  # GaLore scales its updates by 1/4
    "sft": ["train.learning_rate=2e-4"],
    "lora": ["train.learning_rate=1e-3"],
    "qlora": ["train.learning_rate=1e-3"],
}
# What a row is called, whose run holds it, which policy of that run it is.
ROWS = (
    ("base", "sft", "base"),
    ("SFT, all weights", "sft", "trained"),
    ("LoRA", "lora", "trained"),
    ("GaLore", "galore", "trained"),
    ("KnowTuning", "knowtuning", "trained"),
    ("base as NF4", "qlora", "base"),
    ("QLoRA (NF4)", "qlora", "trained"),
    ("base as GPTQ int4", "gptq-lora", "base"),
    ("GPTQ + LoRA", "gptq-lora", "trained"),
    ("RLAIF, 1 round", "gptq-lora", "round"),
)
MAKING = {
    "trained": ("knowledge", "sft:knowledge", "sft"),
    "round": ("sft", "sample", "judge", "pairs", "dpo"),
}  # stages


@dataclass(frozen=True)
class Row:
    """One policy's results: benchmark -> metric -> one value an item. `items` says which items those were."""

    results: dict[str, dict[str, MetricResults]]
    items: str
    seconds: float | None
    peak_mb: float | None


def work(method: str, out: Path, model: str, gptq: str, overrides: list[str]) -> None:
    """The method's run, and the round of the loop that follows in it."""
    base = gptq if method == "gptq-lora" else model
    sets = [f"model.path={base}", f"train.method={method}", *SIZES, *METHODS[method], *overrides]
    common = [
        "--profile",
        "real-small",
        "--run",
        str(out / method),
        *(part for text in sets for part in ("--set", text)),
    ]
    for command in (["train"], ["loop", "--rounds", "1"])[: 2 if method == "gptq-lora" else 1]:
        done = subprocess.run([sys.executable, str(ROOT / "cli.py"), *command, *common], stdout=sys.stderr)
        if done.returncode:
            raise RuntimeError(f"{command[0]} of {method}: exit code {done.returncode}")


def read(run: Run, which: str) -> Row:
    """The results of a run's base, of what `train` made of it, or of the loop's round; evaluates the losses that are
    missing.
    """
    if which == "base":
        policy_id = run.policy("base")["policy_id"]
    elif which == "trained":
        policy_id = (run.done(0, "sft") or {})["policy_id"]
    else:
        policy_id = run.store.query("SELECT challenger FROM rounds WHERE round = 1")[0]["challenger"]
    questions = gate_questions(run)
    medquad, labelled = questions["medquad"], questions["pubmedqa"]
    prompt = load_prompt(run.config.prompts.policy)
    rows = measure(run, [policy_id], "medquad", medquad, prompt, Screen())[0]
    answers = stored_by_item(
        run,
        policy_id,
        "accuracy",
        pubmedqa.protocol_hash(prompt, run.config.evaluation),
        labelled,
    )
    groups = {q.question_id: q.group_id for q in (*medquad, *labelled)}
    results = {
        "medquad": {metric: MetricResults.of(of_metric, groups) for metric, of_metric in rows.items()},
        "pubmedqa": {"accuracy": MetricResults.of([answers[q.question_id] for q in labelled], groups)},
    }
    names = MAKING.get(which, ())
    stages = [s for s in run.store.query("SELECT stage, seconds, peak_memory_mb FROM stages") if s["stage"] in names]
    last = "dpo" if which == "round" else "sft"
    peak = max((s["peak_memory_mb"] for s in stages if s["stage"] == last), default=None)
    return Row(results, data_hash([*medquad, *labelled]), sum(s["seconds"] for s in stages) or None, peak)


def cells(row: Row, against: Row | None, seed: int) -> list[str]:
    """Loss, perplexity, token F1, ROUGE-L and accuracy, each but perplexity with its difference, then seconds and
    memory.
    """
    means = metrics_of(row.results["medquad"])
    right = [v for v in row.results["pubmedqa"]["accuracy"].values if v is not None]
    means["accuracy"] = {"mean": sum(right) / len(right)}
    deltas: dict[str, Any] = {}
    if against is not None:
        deltas = differences_of(against.results["medquad"], row.results["medquad"], seed)
        deltas["accuracy"] = difference(
            pair(against.results["pubmedqa"]["accuracy"], row.results["pubmedqa"]["accuracy"]), seed
        )
    out = []
    for metric in ("loss", "perplexity", "token_f1", "rouge_l", "accuracy"):
        found = deltas.get(metric)
        digits = 2 if metric == "perplexity" else 3
        shown = f"{means[metric]['mean']:.{digits}f}"
        out.append(
            shown + (f"<br>{found['delta']:+.3f} [{found['ci_low']:+.3f}, {found['ci_high']:+.3f}]" if found else "")
        )
    return [*out, *("" if v is None else f"{v:,.0f}" for v in (row.seconds, row.peak_mb))]


def table(out: Path) -> str:
    """The runs below `out` as one Markdown table. RuntimeError when they did not answer the same items."""
    runs = {method: open_run(out / method) for method in METHODS}
    rows = {(method, which): read(runs[method], which) for _, method, which in ROWS}
    if len({row.items for row in rows.values()}) != 1:
        raise RuntimeError(f"the runs in {out} did not answer the same items")
    base = rows["sft", "base"]
    lines = [
        "| | loss | perplexity | token F1 | ROUGE-L | PubMedQA accuracy | seconds | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, method, which in ROWS:
        row = rows[method, which]
        # A method has a row for its base where that is a 4-bit one; the others train the same 16- or 32-bit base.
        against = None if row is base else base if which == "base" else rows.get((method, "base"), base)
        lines.append(f"| {name} | {' | '.join(cells(row, against, runs[method].config.seed))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", required=True, help="the base, 16- or 32-bit")
    parser.add_argument("--gptq", required=True, help="the same base as GPTQ int4")
    parser.add_argument("--workers", type=int, default=1, help="methods trained at a time")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    try:
        with ThreadPoolExecutor(args.workers) as pool:
            for done in [pool.submit(work, method, args.out, args.model, args.gptq, args.set) for method in METHODS]:
                done.result()
        print(table(args.out))
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
