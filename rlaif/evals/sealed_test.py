"""The command `test`: base, SFT policy and champion together on the items that no gate ever saw, once.

    python cli.py test

What can be wrong is found before anything is opened. Killed in the middle, the same command goes on with the same
opening: each policy's results on a benchmark are written with their stage, and are not made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlaif import stats
from rlaif.evals import sealed
from rlaif.evals.benchmarks import BENCHMARKS, FREE_TEXT, LABELLED, at_the_gate, benchmark_of, plugin_names
from rlaif.evals.carried import carry
from rlaif.evals.compare import compare as compare_policies
from rlaif.evals.evaluate import benchmark_questions, evaluate_questions
from rlaif.evals.healthbench import grader
from rlaif.evals.quality import ensure_quality, make_gate_judge
from rlaif.evals.stored import stored
from rlaif.judging.announce import announce
from rlaif.models.weights import check_weights
from rlaif.policies import adapter_folder, opened
from rlaif.prompts import Prompt
from rlaif.records import load_questions
from rlaif.run import Run, check_disk, now, open_run, session
from rlaif.screen import Screen
from rlaif.types import Decision, EvalItem, Judge, Question, UsageError
from stores.lock import run_lock

if TYPE_CHECKING:
    from rlaif.models.base import Base


Questions = dict[str, list[Question]]
PAIRS = (("champion", "base"), ("champion", "SFT"), ("SFT", "base"))


def run_sealed_test(folder: Path, force: bool, confirm: Callable[[str], None], screen: Screen) -> sealed.Opening:
    """Open the sealed test of the run in `folder`, or go on with an unfinished opening; returns it with its results.

    `confirm` is told what is about to be opened, before anything is; it raises where the answer is no. Raises
    UsageError when it may not be opened (a second time without `force`, a round under way, no items) and RlaifError
    when a policy's weights are gone or changed; nothing is opened then.
    """
    run = open_run(folder)
    with run_lock(folder):  # the champion must not change meanwhile
        opening = sealed.may_open(run, force)
        if opening is None:
            sealed.last_round(run)
        questions = sealed_questions(run, opening.limit if opening else 0)
        if opening is None:
            items = " and ".join(f"{len(q):,} {b}" for b, q in questions.items())
            confirm(f"the sealed test of {folder} ({items} items)")
        policies = dict(opening.policies) if opening and opening.policies else contenders(run)

        started = now()
        for policy_id in dict.fromkeys(policies.values()):
            policy = run.policy(policy_id)
            if adapter := adapter_folder(run, policy):
                check_weights(adapter, policy["sha256"])
        check_disk(folder)
        prompt, base = opened(run)
        judge = make_gate_judge(run.config, None, run)
        if judge:
            announce(screen, judge, role="gate's judge")
        with session(run, started) as session_id, screen.live():
            if opening is None:
                opening = sealed.record_opening(run, session_id, policies, {b: len(q) for b, q in questions.items()})
            evaluate_all(run, base, prompt, opening, policies, questions, screen)
            if judge:
                mark_all(run, judge, prompt, opening, policies, questions, screen)
            conclude(run, prompt, opening, policies, questions, judge.identity.judge_id if judge else "")
    done = sealed.last_opening(run)
    assert done is not None and done.rows is not None  # conclude wrote them
    return done


def rehearse(folder: Path, limit: int, screen: Screen) -> list[dict[str, Any]]:
    """The same policies on the first `limit` items of each benchmark's gate split: one comparison per benchmark, see
    :func:`rlaif.evals.compare.compare`. The sealed items are not touched, and nothing is opened.

    UsageError without an SFT policy, and where no benchmark has gate items.
    """
    run = open_run(folder)
    policies = list(dict.fromkeys(contenders(run).values()))
    with_items = [
        b for b in (*BENCHMARKS, *plugin_names(run.config.evaluation)) if benchmark_questions(run, b, "gate", 1)
    ]
    if not with_items:
        raise UsageError(f"{folder} has no gate items to try on")
    with screen.live():
        return [compare_policies(run, policies, b, "gate", limit, screen) for b in with_items]


def contenders(run: Run) -> dict[str, str]:
    """base, SFT (promoted or not) and champion by policy id. UsageError without an SFT policy."""
    rows = run.store.query("SELECT challenger FROM rounds WHERE round = 0 AND challenger IS NOT NULL")
    if not rows:
        raise UsageError(f"{run.folder}: no SFT policy has met the gate; continue the run with the command loop")
    return {"base": str(run.policy("base")["policy_id"]), "SFT": str(rows[0]["challenger"]), "champion": run.champion()}


def sealed_questions(run: Run, limit: int) -> Questions:
    """The sealed items of each benchmark that has any, in the order of their ids. UsageError where no interval could be
    computed.
    """
    where = "split = 'sealed' AND starts_with(dataset, ?)"
    found = {b: load_questions(run, where, [b])[: limit or None] for b in at_the_gate(run.config.evaluation)}
    found = {b: questions for b, questions in found.items() if questions}
    if not found:
        raise UsageError(f"{run.folder} has no sealed items: its data sets were given without a test split")
    for benchmark, questions in found.items():
        if len({q.group_id for q in questions}) < 2:
            raise UsageError(f"{benchmark}: the {len(questions)} sealed items are of one group, and intervals need two")
    return found


def evaluate_all(
    run: Run,
    base: Base,
    prompt: Prompt,
    opening: sealed.Opening,
    policies: Mapping[str, str],
    questions: Questions,
    screen: Screen,
) -> None:
    """Stages `sealed:<opening>:<benchmark>:<policy>` for what has no results yet."""
    if not questions.keys().isdisjoint(FREE_TEXT):
        carry(run, prompt, screen)
    for policy_id in dict.fromkeys(policies.values()):
        for benchmark, items in questions.items():
            metric = benchmark_of(run.config.evaluation, benchmark).metric
            if len(stored(run, policy_id, benchmark, metric, items, prompt, "sealed")) == len(items):
                continue
            with run.stage(opening.round, f"sealed:{opening.number}:{benchmark}:{policy_id}") as stage:
                made, stage.model_seconds = evaluate_questions(run, base, policy_id, benchmark, items, prompt, screen)
                stage.rows = {"eval_items": made}
                stage.detail = {"benchmark": benchmark, "policy_id": policy_id, "n": len(items)}


def mark_all(
    run: Run,
    judge: Judge,
    prompt: Prompt,
    opening: sealed.Opening,
    policies: Mapping[str, str],
    questions: Questions,
    screen: Screen,
) -> None:
    """Stages `sealed:<opening>:quality:<policy>`, and for a benchmark beside the free text
    `sealed:<opening>:quality:<benchmark>:<policy>`: what `judge`, the gate's, says of the answers.
    """
    for benchmark in (b for b in questions if b in FREE_TEXT):
        which = f"{benchmark}:" if benchmark in run.config.evaluation.benchmarks else ""
        for policy_id in dict.fromkeys(policies.values()):
            stage = (opening.round, f"sealed:{opening.number}:quality:{which}{policy_id}")
            ensure_quality(run, judge, policy_id, questions[benchmark], prompt, stage, screen)


def conclude(
    run: Run, prompt: Prompt, opening: sealed.Opening, policies: Mapping[str, str], questions: Questions, judge_id: str
) -> None:
    """Stage `sealed:<opening>:result`: compare the policies, and write the decision RESULT, last. `judge_id`: the
    gate's judge, or "".
    """
    rows: list[dict[str, Any]] = []
    for benchmark, items in questions.items():
        groups = {q.question_id: q.group_id for q in items}
        measured = benchmark_of(run.config.evaluation, benchmark)
        judged = [("quality", judge_id)] if judge_id and benchmark in FREE_TEXT else []
        by_rubric = bool(judged) and measured.by_rubric
        for metric, judge in judged if by_rubric else [*judged, (measured.metric, "")]:
            results = {
                name: stored(run, p, benchmark, metric, items, prompt, "sealed", judge) for name, p in policies.items()
            }
            found = compare(results, groups, seed=run.config.seed)
            rows += [row | {"grader": grader(run, judge_id)} for row in found] if by_rubric else found
    with run.stage(opening.round, f"sealed:{opening.number}:result") as stage:
        evidence = {"opening": opening.number, "policies": policies, "rows": rows}
        stage.rows = {"decisions": [Decision(opening.round, sealed.KIND, "RESULT", in_words(rows), evidence)]}


def compare(results: Mapping[str, Sequence[EvalItem]], groups: Mapping[str, str], *, seed: int) -> list[dict[str, Any]]:
    """Rows for one metric of one benchmark (two with macro-F1): means of base, SFT and champion, and paired
    differences. JSON-ready.

    `results`: the policies' rows on the same items; items that one of them has no value for are left out for all and
    counted in `unscored`. Differences, first minus second of PAIRS, with two-sided 95% intervals by
    :func:`rlaif.stats.bootstrap_mean` and `bootstrap_macro_f1`, clustered by `groups` (item_id -> group_id); None where
    both names are one policy.
    """
    first = next(iter(results.values()))
    by_item = {name: {i.item_id: i for i in items} for name, items in results.items()}
    ids = sorted(i.item_id for i in first if all(by[i.item_id].value is not None for by in by_item.values()))
    owners, same = [groups[i] for i in ids], {name: items[0].policy_id for name, items in results.items()}
    values = {name: [float(by[i].value or 0.0) for i in ids] for name, by in by_item.items()}
    said = {name: [by[i].prediction for i in ids] for name, by in by_item.items()}
    targets = [by_item["base"][i].target for i in ids]

    def row(metric: str, means: Mapping[str, float], test: Any) -> dict[str, Any]:
        found = {}
        for better, worse in PAIRS:
            r = None if same[better] == same[worse] else test(worse, better)
            found[f"{better} - {worse}"] = r and {"delta": r.delta, "ci_low": r.ci_low, "ci_high": r.ci_high}
        sizes = {"n": len(ids), "groups": len(set(owners)), "unscored": len(first) - len(ids)}
        return {"benchmark": first[0].benchmark, "metric": metric, **sizes, "means": dict(means), "differences": found}

    means = {name: sum(v) / len(v) for name, v in values.items()}
    rows = [row(first[0].metric, means, lambda a, b: stats.bootstrap_mean(values[a], values[b], owners, seed=seed))]
    if first[0].metric == "accuracy" and first[0].benchmark.startswith(LABELLED):
        f1 = {name: stats.macro_f1(targets, p) for name, p in said.items()}
        rows.append(
            row("macro_f1", f1, lambda a, b: stats.bootstrap_macro_f1(targets, said[a], said[b], owners, seed=seed))
        )
    return rows


def in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """The result on one line: each metric's means, and the champion's difference to the base."""
    parts = []
    for row in rows:
        means = ", ".join(f"{name} {mean:.4f}" for name, mean in row["means"].items())
        gain = row["differences"]["champion - base"]
        told = f"; champion - base {gain['delta']:+.4f} [{gain['ci_low']:+.4f}, {gain['ci_high']:+.4f}]" if gain else ""
        named = f", {row['grader']}" if row.get("grader") else ""
        parts.append(f"{row['benchmark']} {row['metric']} (n={row['n']}{named}): {means}{told}")
    return " | ".join(parts)
