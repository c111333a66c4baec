"""`compare POLICY POLICY ...`: policies of a run on the same items of a benchmark, each against the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rlaif import stats
from rlaif.evals.benchmarks import LABELLED, Benchmark, benchmark_of
from rlaif.evals.evaluate import benchmark_questions
from rlaif.evals.loss import LOSS, by_item, per_token, perplexity
from rlaif.evals.results import MetricResults, Paired, pair
from rlaif.evals.stored import measure
from rlaif.policies import run_prompt
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import UsageError
from rlaif.wording import interval, p_value, policy_names, signed
from rlaif.wording import metric as metric_name

DIGITS = {"loss": 4, "perplexity": 2}


def compare(run: Run, names: Sequence[str], benchmark: str, split: str, limit: int, screen: Screen) -> dict[str, Any]:
    """Policies (see :meth:`Run.policy`) on the first `limit` items (0: all) of a benchmark's split, JSON-ready.

    `policies` has one entry per policy: `metrics` (mean, its 95% interval, n), `errors` (items under `error_below` of
    the benchmark; for all but the first also how many were `fixed` and are `new`), `confusion` ({target: {prediction:
    n}}, labelled items only) and `error_lengths`. `differences` has one entry per metric of each later policy: it minus
    the first, with the paired 95% interval (cluster bootstrap), and for accuracy the discordant items and the two-sided
    exact McNemar p. `loss` is nats per token of the reference, over all tokens.

    Raises UsageError for fewer than two different policies or no items.
    """
    policies = [run.policy(name) for name in names]
    twice = [p["policy_id"] for p in policies if policies.count(p) > 1]
    if len(policies) < 2 or twice:
        problem = f"{twice[0]} is named twice" if twice else "one policy cannot be compared"
        raise UsageError(f"{problem}; name two or more different ones: base, sft, champion, an id or its beginning")
    measured = benchmark_of(run.config.evaluation, benchmark)
    questions = benchmark_questions(run, benchmark, split, limit)
    if not questions:
        raise UsageError(f"no {split} items of {benchmark} in {run.folder}")
    prompt = run_prompt(run)
    items = measure(run, [p["policy_id"] for p in policies], benchmark, questions, prompt, screen)
    groups = {q.question_id: q.group_id for q in questions}
    all_results = [{m: MetricResults.of(rows, groups) for m, rows in by_metric.items()} for by_metric in items]
    names_shown, champion = policy_names(run.store.query("SELECT policy_id, kind, round FROM policies")), run.champion()
    sizes = {q.question_id: len(f"{q.context} {q.question}".split()) for q in questions}
    first = all_results[0]
    shown, differences = [], []
    for policy, results in zip(policies, all_results, strict=True):
        name = names_shown[policy["policy_id"]]
        shown.append(
            {
                "policy_id": policy["policy_id"],
                "name": name,
                "champion": policy["policy_id"] == champion,
                "metrics": metrics_of(results),
                **errors_of(measured, first, results, sizes),
            }
        )
        if results is not first:
            who = {"policy_id": policy["policy_id"], "name": name}
            rows = differences_of(first, results, run.config.seed)
            differences += [who | {"metric": metric} | row for metric, row in rows.items()]
    return {
        "benchmark": questions[0].dataset,
        "split": split,
        "n": len(questions),
        "n_groups": len(set(groups.values())),
        "error_below": {measured.metric: measured.error_below},
        "policies": shown,
        "differences": differences,
    }


def metrics_of(results: dict[str, MetricResults]) -> dict[str, dict[str, Any]]:
    """Metric -> mean, 95% interval (None where there is none) and n, of one policy.

    There is no `loss` where no reference could be read.
    """
    out: dict[str, dict[str, Any]] = {}
    for metric in [m for m in results if m not in LOSS]:
        estimate = stats.grouped_mean(results[metric].values, results[metric].groups, share=metric == "accuracy")
        low, high = estimate.interval or (None, None)
        out[metric] = {"mean": estimate.mean, "ci_low": low, "ci_high": high, "n": estimate.n}
    if "accuracy" in results and results["accuracy"].benchmark.startswith(LABELLED):
        targets, predictions = results["accuracy"].targets, results["accuracy"].predictions
        out["macro_f1"] = {"mean": stats.macro_f1(targets, predictions), "n": len(targets)}
    loss, tokens = per_token(*(results[metric].values for metric in LOSS))
    if loss is not None:
        out["loss"] = {"mean": loss, "n": tokens}
        out["perplexity"] = {"mean": perplexity(loss), "n": tokens}
    return out


def differences_of(
    first: dict[str, MetricResults], results: dict[str, MetricResults], seed: int
) -> dict[str, dict[str, Any]]:
    """Metric -> this policy minus the first on the items that both have a value for."""
    out: dict[str, dict[str, Any]] = {}
    for metric in [m for m in results if m not in LOSS]:
        paired = pair(first[metric], results[metric])
        out[metric] = difference(paired, seed)
        if metric == "accuracy" and results[metric].benchmark.startswith(LABELLED):
            gain_test = stats.mcnemar_exact(paired.champion, paired.challenger)
            loss_test = stats.mcnemar_exact(paired.challenger, paired.champion)
            two_sided = min(1.0, 2 * min(gain_test.p_value, loss_test.p_value))
            out[metric] |= {"b": gain_test.b, "c": gain_test.c, "p_value": two_sided}
            out["macro_f1"] = difference(paired, seed, labels=True)
    nats, tokens = pair(first[LOSS[0]], results[LOSS[0]]), pair(first[LOSS[1]], results[LOSS[1]])
    if tokens.champion:
        total = sum(tokens.champion)  # both read the same tokens
        before, after = (by_item(v, tokens.champion, sum(v) / total) for v in (nats.champion, nats.challenger))
        out["loss"] = difference(dataclasses.replace(nats, champion=before, challenger=after), seed)
    return out


def difference(paired: Paired, seed: int, *, labels: bool = False) -> dict[str, Any]:
    """`delta`, its two-sided 95% interval (None with fewer than two groups) and n.

    With `labels` it is the difference of macro-F1 over the labels, otherwise that of the means.
    """
    n, predictions = len(paired.champion), (paired.champion_predictions, paired.challenger_predictions)
    if len(set(paired.groups)) < 2:
        if labels:
            means = [stats.macro_f1(paired.targets, given) for given in predictions]
        else:
            means = [sum(values) / max(n, 1) for values in (paired.champion, paired.challenger)]
        return {"delta": means[1] - means[0], "ci_low": None, "ci_high": None, "n": n}
    if labels:
        estimate = stats.bootstrap_macro_f1(paired.targets, *predictions, paired.groups, seed=seed)
    else:
        estimate = stats.bootstrap_mean(paired.champion, paired.challenger, paired.groups, seed=seed)
    return {"delta": estimate.delta, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high, "n": n}


def errors_of(
    benchmark: Benchmark, first: dict[str, MetricResults], results: dict[str, MetricResults], sizes: dict[str, int]
) -> dict[str, Any]:
    """How many items are errors, how long those are, and the confusion matrix.

    `errors` also says which of the first policy's errors were fixed and which are new. `error_lengths`: words of the
    answer of each error; for PubMedQA, whose answer is one word, of the abstract and question.
    """
    score, limit = benchmark.metric, benchmark.error_below
    wrong, before = _wrong_items(results[score], limit), _wrong_items(first[score], limit)
    rows = list(zip(results[score].item_ids, results[score].targets, results[score].predictions, strict=True))
    out: dict[str, Any] = {"errors": {"n": len(wrong), "fixed": len(before - wrong), "new": len(wrong - before)}}
    labelled = benchmark.name in LABELLED
    out["error_lengths"] = [sizes[i] if labelled else len(answer.split()) for i, _, answer in rows if i in wrong]
    if labelled:
        labels = stats.labels_in(results[score].targets)
        matrix = {target: dict.fromkeys((*labels, "other"), 0) for target in labels}
        for _, target, answer in rows:
            matrix[target][answer if answer in labels else "other"] += 1
        out["confusion"] = matrix
    return out


def _wrong_items(results: MetricResults, limit: float) -> set[str]:
    """The items without a value, or with one below `limit`."""
    values = zip(results.item_ids, results.values, strict=True)
    return {item_id for item_id, value in values if value is None or value < limit}


def show(result: dict[str, Any], screen: Screen) -> None:
    """The comparison as tables for a person, with a column per policy.

    Below each mean stand the difference to the first policy and its interval.
    """
    policies = result["policies"]
    first = policies[0]
    columns = [heading(p) for p in policies]
    differences = {(d["policy_id"], d["metric"]): d for d in result["differences"]}
    rows = []
    for name in first["metrics"]:
        row = [metric_name(name)]
        for policy in policies:
            cell = f"{policy['metrics'][name]['mean']:.{DIGITS.get(name, 4)}f}"
            change = differences.get((policy["policy_id"], name))
            if change:
                cell += f"\n{signed(change['delta'], 4)}\n{interval(change['ci_low'], change['ci_high'])}"
                if "p_value" in change:
                    cell += f"\n{change['b']} won, {change['c']} lost, p {p_value(change['p_value'])}"
            row.append(cell)
        rows.append(row)
    (score, limit), *_ = result["error_below"].items()
    error_cells = [
        f"{p['errors']['n']}" + ("" if p is first else f"\n{p['errors']['fixed']} fixed, {p['errors']['new']} new")
        for p in policies
    ]
    rows.append([f"errors ({metric_name(score)} < {limit:g})", *error_cells])
    groups = "" if result["n_groups"] == result["n"] else f" in {result['n_groups']:,} groups"
    screen.table(f"{result['n']:,} items{groups} of {result['benchmark']} ({result['split']})", ["", *columns], rows)
    exact = "; p: exact McNemar, two-sided" if any("p_value" in d for d in result["differences"]) else ""
    screen.line(
        f"  below each value: difference to {heading(first)}, its paired 95% interval (items resampled by group){exact}"
    )
    for policy in policies:
        if "confusion" in policy:
            matrix = policy["confusion"]
            any_other = any(row["other"] for row in matrix.values())
            shown = [label for label in next(iter(matrix.values())) if label != "other" or any_other]
            cells = [[target, *(str(row[label]) for label in shown)] for target, row in matrix.items()]
            screen.table(f"Answers of {heading(policy)}", ["right answer", *shown], cells)


def heading(policy: dict[str, Any]) -> str:
    return f"{policy['name']} {policy['policy_id'][:8]}" + (" (champion)" if policy["champion"] else "")
