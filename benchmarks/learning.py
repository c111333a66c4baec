"""Ways to learn from the same answers of a round: best-of-k fine-tuning and DPO with other settings, side by side.

    python benchmarks/learning.py --run runs/real --round 1 --variant "raft:best_of.epochs=1,dpo.epochs=0" \\
        --variant "ipo:dpo.loss=ipo,dpo.beta=0.3" --seeds 3

Each variant is the round's champion trained on the answers and labels that the run holds, with keys of [best_of],
[dpo] and [pairs] in the place of the round's own; a key of [pairs] makes the round's pairs anew from the stored
scores, and judge.model with the name of a judge that compares words makes the scores anew too. It is then asked all
gate items, or with --unseen so many training questions that nothing has used yet. A row of the Markdown table shows
it against the champion: token F1, quality (by the gate's judge, or the labelling one where the run has none) and
PubMedQA accuracy, with paired 95% intervals (bootstrap of the items clustered by group). With several runs or seeds
an item's value is its mean over them. The first seed is the loop's own: a variant without keys is the policy that the
loop trained. Nothing is written to the runs, save what a judge that is a language model answers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from judges import WORD_JUDGES, make_judge
from rlaif.config import Config, flat
from rlaif.config_file import apply_override, validate
from rlaif.evals import medquad, pubmedqa
from rlaif.evals.benchmarks import FREE_TEXT, LABELLED
from rlaif.evals.compare import difference
from rlaif.evals.evaluate import benchmark_questions, data_hash
from rlaif.evals.quality import mark, measuring_judge
from rlaif.evals.results import MetricResults, pair
from rlaif.judging.configured import judge_item
from rlaif.judging.cut import as_judged
from rlaif.loop.monitor_round import tuned
from rlaif.loop.pairs import prefer
from rlaif.models.adapter import fast_copy, load_adapter
from rlaif.models.base import Base
from rlaif.policies import check_base, load_policy, opened, run_prompt
from rlaif.prompts import Prompt
from rlaif.records import load_candidates, load_questions, load_verdicts
from rlaif.run import Run, open_run
from rlaif.screen import Screen
from rlaif.train import stages
from rlaif.train.dpo import train_dpo
from rlaif.train.material import REFERENCE, best_answers, dpo_pairs, label_smoothing, reference_pairs, split_heldout
from rlaif.train.sft import train_sft
from rlaif.types import Candidate, Judge, JudgeItem, Question, RlaifError, UsageError, Verdict

VARIANTS = (
    "as configured:",
    "3 epochs:dpo.epochs=3",
    "6 epochs, early stop:dpo.epochs=6,dpo.heldout=0.15",
    "ipo:dpo.loss=ipo",
    "robust:dpo.loss=robust,dpo.label_smoothing=judge",
    "apo_zero:dpo.loss=apo_zero",
    "sppo_hard:dpo.loss=sppo_hard",
    "ld_alpha 0.5:dpo.ld_alpha=0.5",
    "references chosen:dpo.reference_chosen=1",
    "best of k:best_of.epochs=1,dpo.epochs=0",
    "best of k, then DPO:best_of.epochs=1",
    "references (control):best_of.epochs=1,best_of.references=1,dpo.epochs=0",
)
SECTIONS = ("best_of", "dpo", "pairs")
LABELS = "judge.model"
METRICS = ("token_f1", "quality", "accuracy")
Results = dict[str, MetricResults]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A policy that is no row of the run: its adapter, what that lies on, and what it was trained on, in words."""

    under: Base
    adapter: Path
    sha256: str
    what: str
    steps: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Asked:
    """Whom the gate's items are put to, and who marks the answers."""

    base: Base
    prompt: Prompt
    judge: Judge
    items: Mapping[str, Sequence[Question]]


def variant_config(run: Run, text: str) -> tuple[str, Config, bool]:
    """NAME:key=value,key=value as a name, a configuration, and whether the pairs are to be made anew."""
    name, colon, settings = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--variant {text!r}: write NAME:key=value,key=value (NAME: for the round's own settings)")
    tree = run.config.model_dump()
    for setting in filter(None, (part.strip() for part in settings.split(","))):
        key, _, value = setting.partition("=")
        if key.strip() == LABELS and value.strip() not in WORD_JUDGES:
            raise UsageError(f"--variant {text!r}: {LABELS} is one of {', '.join(WORD_JUDGES)} here")
        if key.strip() != LABELS and setting.partition(".")[0] not in SECTIONS:
            raise UsageError(
                f"--variant {text!r}: {setting} is in none of [{'], ['.join(SECTIONS)}], and trains nothing"
            )
        apply_override(tree, setting)
    config = validate(tree, where=f"variant {name.strip()}")
    mine, theirs = flat(run.config), flat(config)
    anew = any((k.startswith("pairs.") or k == LABELS) and mine[k] != theirs[k] for k in mine)
    return name.strip(), config, anew


def pairs_for(run: Run, champion: str, round: int, anew: bool) -> list[dict[str, Any]]:
    """What DPO trains on under `run.config`: :func:`dpo_pairs`, or the round's pairs made anew; and reference pairs,
    which the run need not hold.
    """
    answers = {r["candidate_id"]: r["text"] for r in run.store.query("SELECT candidate_id, text FROM answers")}
    made: list[dict[str, Any]] = []
    if run.config.dpo.reference_chosen:
        made, texts = reference_pairs(run, champion, round, run.config)
        answers |= {r["candidate_id"]: r["text"] for r in texts}
    if anew:
        candidates = as_judged(load_candidates(run, round), run.config.pairs)
        judge_id, verdicts = labels(run, round, candidates)
        pairs = prefer(candidates, verdicts, judge_id=judge_id, round=round, sem=0.0, settings=run.config.pairs)
        made += [dataclasses.asdict(p) for p in pairs if p.status == "kept"]
        rows = []
    else:
        held = run.store.query("SELECT pair_id FROM preferences WHERE kind = ?", [REFERENCE])
        skipped = {row["pair_id"] for row in held}
        rows = [r for r in dpo_pairs(run, champion, round, run.config) if r["pair_id"] not in skipped]
    rows += [
        {"pair_id": p["pair_id"], "question_id": p["question_id"]}
        | {side: answers[p[f"{side}_id"]] for side in ("chosen", "rejected")}
        for p in made
    ]
    return sorted(rows, key=lambda r: str(r["pair_id"]))


def labels(run: Run, round: int, candidates: Sequence[Candidate]) -> tuple[str, list[Verdict]]:
    """The judge's id and its verdicts on the round's answers: those that the run holds, or those of the judge of words
    that `run.config` names in the place of the run's own.
    """
    own = str((run.done(round, "judge") or {})["judge_id"])
    if run.config.judge.model not in WORD_JUDGES:
        return own, load_verdicts(run, round, own)
    judge = make_judge(run.config.judge.model)
    if judge.identity.judge_id == own:
        return own, load_verdicts(run, round, own)
    questions = {q.question_id: q for q in load_questions(run, "split = 'train'", [])}
    return judge.identity.judge_id, judge.score([judge_item(questions[c.question_id], c) for c in candidates])


def learn(run: Run, base: Base, prompt: Prompt, champion: str, round: int, anew: bool, seed: str, out: Path) -> Trained:
    """One variant, as the loop's stages `raft` and `dpo` would train it. `seed`: "" is the loop's own."""
    config, started = run.config, time.monotonic()
    what, steps, start = [], 0, None
    under: Base | None = None
    if config.best_of.epochs:
        draw = random.Random(f"raft/{config.seed}/{round}{seed}").getrandbits(31)
        under, model = stages.start_of(run, base, champion, draw)
        taught = best_answers(run, champion, round, config)
        start = train_sft(
            under, model, stages.examples_of(run, base, prompt, taught), stages.as_sft(config.best_of), out / "raft",
            draw, name="best_of", more={**stages.RANDOM_ORDER},
        )  # fmt: skip
        what.append(f"{len(taught)} answers")
        steps += start.steps
        last = out / "raft", start.sha256
    if config.dpo.epochs:
        draw = random.Random(f"dpo/{config.seed}/{round}{seed}").getrandbits(31)
        seen, unseen = split_heldout(pairs_for(run, champion, round, anew), config.dpo.heldout, draw)
        if start is None:
            under, model = stages.start_of(run, base, champion, draw)
        else:
            assert under is not None
            model = load_adapter(under, last[0], trainable=True, expected_sha256=last[1])
        pairs, heldout = (stages.pairs_of(run, base, prompt, some) for some in (seen, unseen))
        smoothing = label_smoothing(run, round, config)
        done = train_dpo(
            under, model, pairs, config.dpo, out / "dpo", draw, heldout=heldout, label_smoothing=smoothing
        )  # fmt: skip
        kept = f", kept step {done.kept_step}" if done.kept_step is not None else ""
        what.append(f"{len(pairs)} pairs{kept}")
        steps += done.steps
        last = out / "dpo", done.sha256
    assert under is not None
    return Trained(under, *last, " + ".join(what), steps, time.monotonic() - started)


def ask(asked: Asked, run: Run, model: Any, name: str) -> Results:
    """Metric -> results of a model on the gate's items."""
    groups = {q.question_id: q.group_id for some in asked.items.values() for q in some}
    settings, tokenizer, out = run.config.evaluation, asked.base.tokenizer, {}
    free = asked.items[FREE_TEXT[0]]
    rows = medquad.evaluate(model, tokenizer, name, free, asked.prompt, settings, data_hash(free))
    answers = [row for row in rows if row.metric == "token_f1"]
    pairs = [(q, a) for q, a in zip(free, answers, strict=True) if a.status != "failed"]
    to_judge = [
        JudgeItem(f"{name}/{a.item_id}", q.question, a.prediction, q.reference, q.context, q.key_points)
        for q, a in pairs
    ]
    verdicts = asked.judge.score(to_judge)
    marks = {a.item_id: mark(a, verdict) for (_, a), verdict in zip(pairs, verdicts, strict=True)}
    quality = [marks.get(a.item_id, dataclasses.replace(a, metric="quality")) for a in answers]
    out["token_f1"], out["quality"] = MetricResults.of(answers, groups), MetricResults.of(quality, groups)
    if labelled := asked.items.get(LABELLED[0]):
        rows = pubmedqa.evaluate(model, tokenizer, name, labelled, asked.prompt, settings, data_hash(labelled))
        out["accuracy"] = MetricResults.of(rows, groups)
    return out


def mean_of(results: Sequence[MetricResults]) -> MetricResults:
    """The mean of each item over runs and seeds; None where one of them has no value."""
    values: dict[str, list[float | None]] = {}
    for one in results:
        for item, value in zip(one.item_ids, one.values, strict=True):
            values.setdefault(item, []).append(value)
    means = [None if None in some else sum(v for v in some if v is not None) / len(some) for some in values.values()]
    groups = {i: g for one in results for i, g in zip(one.item_ids, one.groups, strict=True)}
    blank = ("",) * len(values)
    return dataclasses.replace(
        results[0], item_ids=tuple(values), values=tuple(means), groups=tuple(groups[i] for i in values),
        predictions=blank, targets=blank, statuses=("scored",) * len(values),
    )  # fmt: skip


def compared(before: Sequence[Results], after: Sequence[Results], seed: int) -> dict[str, dict[str, Any]]:
    """Metric -> `mean`, `delta`, its interval, n, and `each`: the differences of the single runs and seeds."""
    out = {}
    for metric in [m for m in METRICS if m in after[0]]:
        firsts, seconds = ([one[metric] for one in some] for some in (before, after))
        both = pair(mean_of(firsts), mean_of(seconds))
        each = [difference(pair(a, b), seed)["delta"] for a, b in zip(firsts, seconds, strict=True)]
        out[metric] = difference(both, seed) | {"mean": sum(both.challenger) / max(len(both.challenger), 1)}
        out[metric]["each"] = each
    return out


def words(results: Sequence[Results]) -> float:
    """Mean length of the free-text answers."""
    lengths = [len(text.split()) for one in results for text in one["token_f1"].predictions]
    return sum(lengths) / len(lengths)


def cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    shown = f"{found['mean']:.4f}<br>{found['delta']:+.4f}"
    if found["ci_low"] is not None:
        shown += f" [{found['ci_low']:+.4f}, {found['ci_high']:+.4f}]"
    each = " ".join(f"{delta:+.4f}" for delta in found["each"])
    return shown + (f"<br>{each}" if len(found["each"]) > 1 else "")


def asked_of(run: Run, base: Base, limit: int, unseen: int = 0) -> Asked:
    """The gate's items of a run, the first `limit` of each benchmark by id (0: all that there are). With `unseen`, so
    many training questions stand in the place of the free-text ones: see :func:`unseen_questions`.
    """
    items = {b: benchmark_questions(run, b, "gate", limit) for b in (FREE_TEXT[0], LABELLED[0])}
    if unseen:
        items[FREE_TEXT[0]] = unseen_questions(run, unseen)
    items = {b: questions for b, questions in items.items() if questions}
    if FREE_TEXT[0] not in items:
        raise UsageError(f"{run.folder}: no gate items of {FREE_TEXT[0]} to compare on")
    return Asked(base, run_prompt(run), measuring_judge(run)[0], items)


def unseen_questions(run: Run, n: int) -> list[Question]:
    """`n` free-text training questions, drawn by the run's seed, of groups that no policy of the run was trained on and
    that no round has asked about: a choice of settings by them leaves the gate's items as they were. Other questions
    of a group that was used would not do: they are about the same document, and a round gains more on them than on the
    gate's items.
    """
    used = run.store.query(
        "SELECT DISTINCT group_id FROM questions JOIN (SELECT item_id AS question_id FROM policy_items UNION "
        "SELECT question_id FROM candidates) USING (question_id)"
    )
    known = {row["group_id"] for row in used}
    free = load_questions(run, "split = 'train' AND label = '' AND reference <> ''", [])
    rest = [q for q in free if q.group_id not in known]
    if len(rest) < n:
        raise UsageError(
            f"--unseen {n}: {run.folder} has {len(rest)} training questions in groups that nothing has used yet"
        )
    return sorted(random.Random(f"unseen/{run.config.seed}").sample(rest, n), key=lambda q: q.question_id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", required=True, help="may be given several times")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--variant", action="append", metavar="NAME:KEY=VALUE,...", help="default: those of --list")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant in each run")
    parser.add_argument("--items", type=int, default=0, help="gate items of each benchmark; 0: all")
    parser.add_argument("--unseen", type=int, default=0, help="ask so many unused training questions, not the gate's")
    parser.add_argument("--json", type=Path, help="also write each variant's figures there, one JSON object per line")
    parser.add_argument("--list", action="store_true", help="print the variants that are there by themselves")
    if "--list" in sys.argv[1:]:
        print("\n".join(VARIANTS))
        return
    args = parser.parse_args()
    try:
        variants, items = args.variant or VARIANTS, (args.items, args.unseen)
        compare_variants(args.run, args.round, variants, max(args.seeds, 1), items, args.json)
    except RlaifError as error:
        sys.exit(str(error))


def compare_variants(
    folders: Sequence[Path], round: int, variants: Sequence[str], seeds: int, items: tuple[int, int], out: Path | None
) -> None:
    """Prints the table, a row as soon as it is known. `items`: of each benchmark, and unseen training questions."""
    screen = Screen()
    runs = [tuned(open_run(folder), round) for folder in folders]
    planned = [[variant_config(run, text) for text in variants] for run in runs]  # a mistake shows before any training
    prompt, base = opened(runs[0])
    for run in runs[1:]:
        check_base(run, base)
    champions, asked, before = [], [], []
    for run in runs:
        rows = run.store.query("SELECT DISTINCT policy_id FROM candidates WHERE round = ?", [round])
        if not rows or run.done(round, "pairs") is None:
            raise UsageError(f"{run.folder}: round {round} has made no pairs yet")
        champions.append(str(rows[0]["policy_id"]))
        asked.append(asked_of(run, base, *items))
        before.append(ask(asked[-1], run, load_policy(run, base, champions[-1]), "champion"))
    again = [one for one in before for _ in range(seeds)]
    print("| variant | trained on | steps | seconds | words | token F1 | quality | PubMedQA accuracy |")
    print("|---|---|---|---|---|---|---|---|")
    alone = {metric: {"mean": mean_of([one[metric] for one in before]).values} for metric in before[0]}
    shown = {m: sum(v for v in found["mean"] if v is not None) / len(found["mean"]) for m, found in alone.items()}
    cells = [f"{shown[m]:.4f}" if m in shown else "" for m in METRICS]
    print(f"| champion | | | | {words(before):.0f} | {' | '.join(cells)} |", flush=True)
    for number, text in enumerate(variants):
        made, after = [], []
        for run, champion, questions, configs in zip(runs, champions, asked, planned, strict=True):
            name, config, anew = configs[number]
            for seed in range(seeds):
                with tempfile.TemporaryDirectory() as folder:
                    own = dataclasses.replace(run, config=config)
                    mark_of_seed = f"/{seed}" if seed else ""
                    one = learn(own, base, prompt, champion, round, anew, mark_of_seed, Path(folder))
                    model = fast_copy(one.under, one.adapter, expected_sha256=one.sha256)
                    made.append(one)
                    after.append(ask(questions, run, model, name))
                screen.line(f"{name}: {run.folder}, seed {seed}: {one.what}, {one.steps} steps, {one.seconds:.0f} s")
        found = compared(again, after, runs[0].config.seed)
        figures: dict[str, Any] = {
            "variant": name,
            "settings": text.partition(":")[2],
            "what": [one.what for one in made],
            "sha256": [one.sha256 for one in made],
            "steps": [one.steps for one in made],
            "seconds": sum(one.seconds for one in made) / len(made),
            "words": words(after),
            "metrics": found,
        }
        if out:
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
        steps = ", ".join(map(str, dict.fromkeys(figures["steps"])))
        cells = [cell(found.get(m)) for m in METRICS]
        what = "<br>".join(dict.fromkeys(figures["what"]))
        print(
            f"| {name} | {what} | {steps} | {figures['seconds']:.0f} | {figures['words']:.0f} | {' | '.join(cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
