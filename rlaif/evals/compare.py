"""`compare POLICY POLICY ...`: policies of a run on the same items of a benchmark, each against the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rlaif import stats
from rlaif.evals.benchmarks import BENCHMARKS, LABELLED
from rlaif.evals.evaluate import benchmark_questions
from rlaif.evals.loss import LOSS, per_token, perplexity
from rlaif.evals.results import MetricResults, Paired, pair
from rlaif.evals.stored import measure
from rlaif.policies import run_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import LABELS, UsageError
from rlaif.wording import interval, p_value, policy_names, signed
from rlaif.wording import metric as metric_name

DIGITS = {"loss": 4, "perplexity": 2}


def compare(run: Run, names: Sequence[str], benchmark: str, split: str, limit: int, screen: Screen) -> dict[str, Any]:
    """Policies (see :meth:`Run.policy`) on the first `limit` items (0: all) of a benchmark's split, JSON-ready.

    `policies` has one entry a policy: `metrics` (mean, its 95% interval, n), `errors` (items under `error_below` of the
    benchmark; for all but the first also how many were `fixed` and are `new`), `confusion` ({target: {prediction:
    n}}, labelled items only) and `error_lengths`. `differences` has one entry per metric of each later policy: it minus
    the first, with the paired 95% interval (cluster bootstrap), and for accuracy the discordant items and the two-sided
    exact McNemar p.
    `loss` is nats a token of the reference, over all tokens.

    Raises UsageError for fewer than two different policies or no items.
    """
    policies = [run.policy(name) for name in names]
    twice = [p["policy_id"] for p in policies if policies.count(p) > 1]
    if len(policies) < 2 or twice:
        found = f"{twice[0]} is named twice" if twice else "one policy cannot be compared"
        raise UsageError(f"{found}; name two or more different ones: base, sft, champion, an id or its beginning")
    questions = benchmark_questions(run, benchmark, split, limit)
    if not questions:
        raise UsageError(f"no {split} items of {benchmark} in {run.folder}")
    prompt = run_prompt(run)
    found_items = measure(run, [p["policy_id"] for p in policies], benchmark, questions, prompt, screen)
    groups = {q.question_id: q.group_id for q in questions}
    results = [{m: MetricResults.of(rows, groups) for m, rows in by_metric.items()} for by_metric in found_items]
    names_shown, champion = policy_names(run.store.query("SELECT policy_id, kind, round FROM policies")), run.champion()
    sizes = {q.question_id: len(f"{q.context} {q.question}".split()) for q in questions}
    first = results[0]
    shown, differences = [], []
    for policy, mine in zip(policies, results, strict=True):
        name = names_shown[policy["policy_id"]]
        shown.append(
            {
                "policy_id": policy["policy_id"],
                "name": name,
                "champion": policy["policy_id"] == champion,
                "metrics": metrics_of(mine),
                **errors_of(benchmark, first, mine, sizes),
            }
        )
        if mine is not first:
            rows = differences_of(first, mine, run.config.seed)
            differences += [
                {"policy_id": policy["policy_id"], "name": name, "metric": metric} | row for metric, row in rows.items()
            ]
    return {
        "benchmark": questions[0].dataset,
        "split": split,
        "n": len(questions),
        "n_groups": len(set(groups.values())),
        "error_below": {BENCHMARKS[benchmark].metric: BENCHMARKS[benchmark].error_below},
        "policies": shown,
        "differences": differences,
    }


def metrics_of(mine: dict[str, MetricResults]) -> dict[str, dict[str, Any]]:
    """Metric -> mean, 95% interval (None where there is none) and n, of one policy; no `loss` where no reference could
    be read.
    """
    out: dict[str, dict[str, Any]] = {}
    for metric in [m for m in mine if m not in LOSS]:
        own = mine[metric]
        found = stats.grouped_mean(own.values, own.groups, share=metric == "accuracy")
        low, high = found.interval or (None, None)
        out[metric] = {"mean": found.mean, "ci_low": low, "ci_high": high, "n": found.n}
    if "accuracy" in mine:
        own = mine["accuracy"]
        out["macro_f1"] = {"mean": stats.macro_f1(own.targets, own.predictions), "n": len(own.targets)}
    loss, tokens = per_token(*(mine[metric].values for metric in LOSS))
    if loss is not None:
        out["loss"] = {"mean": loss, "n": tokens}
        out["perplexity"] = {"mean": perplexity(loss), "n": tokens}
    return out


def differences_of(
    first: dict[str, MetricResults], mine: dict[str, MetricResults], seed: int
) -> dict[str, dict[str, Any]]:
    """Metric -> this policy minus the first on the items that both have a value for."""
    out: dict[str, dict[str, Any]] = {}
    for metric in [m for m in mine if m not in LOSS]:
        both = pair(first[metric], mine[metric])
        out[metric] = difference(both, seed)
        if metric == "accuracy":
            there, back = (
                stats.mcnemar_exact(both.champion, both.challenger),
                stats.mcnemar_exact(both.challenger, both.champion),
            )
            out[metric] |= {"b": there.b, "c": there.c, "p_value": min(1.0, 2 * min(there.p_value, back.p_value))}
            out["macro_f1"] = difference(both, seed, labels=True)
    # Both read the same tokens, so with nats divided by their mean number the plain mean is the loss over all tokens.
    nats, tokens = pair(first[LOSS[0]], mine[LOSS[0]]), pair(first[LOSS[1]], mine[LOSS[1]])
    if tokens.champion:
        mean_tokens = sum(tokens.champion) / len(tokens.champion)
        before, after = ([value / mean_tokens for value in values] for values in (nats.champion, nats.challenger))
        out["loss"] = difference(dataclasses.replace(nats, champion=before, challenger=after), seed)
    return out


def difference(both: Paired, seed: int, *, labels: bool = False) -> dict[str, Any]:
    """`delta`, its two-sided 95% interval (None with fewer than two groups) and n; of macro-F1 over yes/no/maybe where
    `labels`.
    """
    n = len(both.champion)
    if len(set(both.groups)) < 2:
        if labels:
            means = [stats.macro_f1(both.targets, p) for p in (both.champion_predictions, both.challenger_predictions)]
        else:
            means = [sum(values) / max(n, 1) for values in (both.champion, both.challenger)]
        return {"delta": means[1] - means[0], "ci_low": None, "ci_high": None, "n": n}
    if labels:
        found = stats.bootstrap_macro_f1(
            both.targets, both.champion_predictions, both.challenger_predictions, both.groups, seed=seed
        )
    else:
        found = stats.bootstrap_mean(both.champion, both.challenger, both.groups, seed=seed)
    return {"delta": found.delta, "ci_low": found.ci_low, "ci_high": found.ci_high, "n": n}


def errors_of(
    benchmark: str, first: dict[str, MetricResults], mine: dict[str, MetricResults], sizes: dict[str, int]
) -> dict[str, Any]:
    """How many items are errors, which of the first policy's were fixed and which are new, how long they are, and the
    confusion matrix.

    `error_lengths`: words of the answer of each error; for PubMedQA, whose answer is one word, of the abstract and
    question.
    """
    score, limit = BENCHMARKS[benchmark].metric, BENCHMARKS[benchmark].error_below
    wrong, before = (
        {i for i, v in zip(r[score].item_ids, r[score].values, strict=True) if v is None or v < limit}
        for r in (mine, first)
    )
    own = mine[score]
    rows = list(zip(own.item_ids, own.targets, own.predictions, strict=True))
    out: dict[str, Any] = {"errors": {"n": len(wrong), "fixed": len(before - wrong), "new": len(wrong - before)}}
    labelled = benchmark == LABELLED
    out["error_lengths"] = [sizes[i] if labelled else len(answer.split()) for i, _, answer in rows if i in wrong]
    if labelled:
        matrix = {target: dict.fromkeys((*LABELS, "other"), 0) for target in LABELS}
        for _, target, answer in rows:
            matrix[target][answer if answer in LABELS else "other"] += 1
        out["confusion"] = matrix
    return out


def show(result: dict[str, Any], screen: Screen) -> None:
    """The comparison as tables for a person: a column a policy, below each mean the difference to the first and its
    interval.
    """
    policies = result["policies"]
    first = policies[0]
    columns = [heading(p) for p in policies]
    differences = {(d["policy_id"], d["metric"]): d for d in result["differences"]}
    rows = []
    for name in first["metrics"]:
        row = [metric_name(name)]
        for policy in policies:
            digits, found = DIGITS.get(name, 4), policy["metrics"][name]
            cell, against = f"{found['mean']:.{digits}f}", differences.get((policy["policy_id"], name))
            if against:
                cell += f"\n{signed(against['delta'], 4)}\n{interval(against['ci_low'], against['ci_high'])}"
                if "p_value" in against:
                    cell += f"\n{against['b']} won, {against['c']} lost, p {p_value(against['p_value'])}"
            row.append(cell)
        rows.append(row)
    (score, limit), *_ = result["error_below"].items()
    told = [
        f"{p['errors']['n']}" + ("" if p is first else f"\n{p['errors']['fixed']} fixed, {p['errors']['new']} new")
        for p in policies
    ]
    rows.append([f"errors ({metric_name(score)} < {limit:g})", *told])
    groups = "" if result["n_groups"] == result["n"] else f" in {result['n_groups']:,} groups"
    screen.table(f"{result['n']:,} items{groups} of {result['benchmark']} ({result['split']})", ["", *columns], rows)
    exact = "; p: exact McNemar, two-sided" if any("p_value" in d for d in result["differences"]) else ""
    screen.line(
        f"  below each value: difference to {heading(first)}, its paired 95% interval (items resampled by group){exact}"
    )
    for policy in policies:
        if "confusion" in policy:
            matrix = policy["confusion"]
            shown = [
                label
                for label in next(iter(matrix.values()))
                if label != "other" or any(row["other"] for row in matrix.values())
            ]
            cells = [[target, *(str(row[label]) for label in shown)] for target, row in matrix.items()]
            screen.table(f"Answers of {heading(policy)}", ["right answer", *shown], cells)


def heading(policy: dict[str, Any]) -> str:
    return f"{policy['name']} {policy['policy_id'][:8]}" + (" (champion)" if policy["champion"] else "")
