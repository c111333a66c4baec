"""The promotion gate: one decision, and one row for each condition it rests on, from paired results on the same items.

No files, no database, no torch. The rule (the row's `condition` in brackets):

    PROMOTE iff  [valid]     same items, prompts, data; at most 2% unscored on either side; every check passed in holds
            and  [better]    adjusted p <= the look's alpha on accuracy or the score, with a gain worth having; how the
                             two share alpha, and which look inherits what, is in levels.py; a run with labels alone
                             or free text alone has one p, and all of alpha for it
            and  [not_worse] on every other metric the one-sided 95% lower bound lies above the margin; beside a score
                             that compares words that is also ROUGE-L; consistency with the references (statements
                             denied, numbers changed) always; further benchmarks (evals/benchmarks.py) count
            and  [ordered]   beside such a score, which sees little or no order of words: the challenger's ROUGE-L is
                             above that of the same answers shuffled (one-sided 95% lower bound above 0)
            and  [guard]     no red guard that blocks
    Where free text is there too, accuracy and macro-F1 count only if labels are shown to be read (reading.py): a policy
    that does not read them has an accuracy that says nothing. They are then in rows [not_read], which decide nothing.
    REJECT       valid, and some metric is worse, or [ordered] fails, or [gain_possible] fails on accuracy and score
    INCONCLUSIVE otherwise

*Worse* on a metric: its not-worse condition fails and the one-sided 95% upper bound lies below 0. A loss is then shown,
and one as large as the margin cannot be ruled out; a small loss that is shown but provably inside the margin is
tolerated, as the rule says. So two policies that trade a little of one metric for the other within the margins can each
be promoted over the other: the margins are the place to forbid that.

`gain_possible` fails where the one-sided 95% upper bound lies below the least gain worth having. Results that are not
valid are no evidence in either direction, so they end INCONCLUSIVE.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rlaif.config import GateConfig
from rlaif.evals.results import MetricResults, Paired, PolicyResults, pair, pair_both
from rlaif.gate.conditions import (
    GateRow,
    Measured,
    better_rows,
    bound_rows,
    measure,
    not_read_rows,
    ordered_rows,
)
from rlaif.gate.items import Items, items_to_settle
from rlaif.gate.labelled import labelled_rows, with_labels
from rlaif.gate.levels import alpha_for_look
from rlaif.gate.ppi import Labels, estimate
from rlaif.gate.reading import Reading, reading
from rlaif.types import Action
from rlaif.wording import items_words

RULE = "gate-3"  # what counts, and how alpha is shared and handed on; recorded with each decision, absent at first
MOST_RESAMPLES = 1_000_000

__all__ = [
    "RULE",
    "Check",
    "Checks",
    "GateResult",
    "GateRow",
    "Guard",
    "Look",
    "MetricResults",
    "PolicyResults",
    "decide",
]


@dataclass(frozen=True, slots=True)
class Look:
    """Which look at the gate's items this is: `number` counts from 1 within its kind, rejections included.

    `inherited` is the alpha that the look before handed on because it promoted; 0 where it did not. `share` is the part
    of its own alpha that is left by other runs on the same items (see `ledger`).
    """

    kind: Literal["sft", "dpo"]
    number: int
    inherited: float = 0.0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """A condition of validity that was found out elsewhere: the exam, the leak check."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """A monitor of the round. Only a red one with `blocking` holds up a promotion; the caller says which block."""

    name: str
    red: bool
    blocking: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Checks:
    valid: tuple[Check, ...] = ()
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class GateResult:
    """`alpha` is the look's, with what it inherited; `shares` says which part of it each metric had.

    `items_needed`: from how many to how many items would settle an INCONCLUSIVE (see `items_to_settle`); None where
    that cannot be said or items are not what is missing.
    """

    action: Action
    reason: str
    alpha: float
    rows: tuple[GateRow, ...] = field(repr=False)
    items_needed: Items | None = None
    inherited: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    run_share: float = 1.0

    @property
    def evidence(self) -> dict[str, Any]:
        """What is recorded beside the rows: the alpha, where it came from, and who had it. JSON-ready.

        `ledger_share` is there where the run shares its alpha with other runs.
        """
        shared = {"ledger_share": self.run_share} if self.run_share != 1 else {}
        return {
            "rule": RULE,
            "alpha": self.alpha,
            "alpha_inherited": self.inherited,
            "alpha_shares": self.shares,
            "items_needed": self.items_needed,
        } | shared


def decide(
    champion: PolicyResults,
    challenger: PolicyResults,
    *,
    look: Look,
    settings: GateConfig,
    checks: Checks,
    seed: int,
    labels: Labels | None = None,
) -> GateResult:
    """PROMOTE, REJECT or INCONCLUSIVE, by the rule at the top of this module; the same inputs give the same result.

    With `labels` (see `rlaif.gate.ppi`) the score is the one that they correct, in every condition on it.

    Raises RlaifError on accuracy values other than 0/1 and UsageError on a look without alpha (see `alpha_for_look`).
    """
    # Settings may give a run more than 1 in all; a probability is no more than that.
    alpha = min(own_alpha(look, settings) + look.inherited, 1.0)
    rows = _same_rows(champion, challenger)
    comparable = all(row.passed for row in rows)
    rows += _unscored_rows(champion, challenger, settings)
    rows += [GateRow("valid", check.name, check.passed, check.detail) for check in checks.valid]
    guards = [
        GateRow("guard", g.name, not (g.red and g.blocking), g.detail or ("red" if g.red else "green"))
        for g in checks.guards
    ]
    measured = None
    if comparable:  # numbers over different items, prompts or data compare nothing
        accuracy = pair_both(champion.accuracy, challenger.accuracy)
        score = pair_both(champion.score, challenger.score)
        order = pair_both(champion.order, challenger.order)
        consistency = pair_both(champion.consistency, challenger.consistency)
        others = [pair(a, b) for a, b in zip(champion.others, challenger.others, strict=True)]
        labelled = with_labels(score, labels) if score and labels is not None else None
        if labelled:
            rows.append(labelled.row)
        every = (accuracy, score, order, consistency, *others)
        too_few_groups = [p.source for p in every if p and len(set(p.groups)) < 2]
        for source in too_few_groups:
            detail = "under two groups scored"
            rows.append(GateRow("valid", f"{source.metric}: groups", False, detail, source.benchmark))
        if not too_few_groups:
            if accuracy and score and not (found := is_read(accuracy)).shown:
                rows += not_read_rows(accuracy, found, seed, settings.resamples)
                accuracy = None
            for_p = resamples_of(alpha, settings)
            read = labelled.score if labelled else score
            measured = measure(accuracy, read, order, consistency, others, seed, settings.resamples, for_p)
            if read and labelled and labelled.correction:
                measured = replace(measured, score=estimate(read, seed=seed, resamples=for_p))
            rows += better_rows(measured, alpha, settings)
            rows += bound_rows(measured, settings)
            rows += ordered_rows(challenger, seed, settings.resamples)
            if score and labelled and labelled.correction:
                rows = labelled_rows(rows, score, labelled.correction, settings, seed)
    graders = {r.benchmark: r.grader for r in (challenger.score, *challenger.others) if r and r.grader}
    rows = [with_grader(row, graders) for row in rows]
    return _conclude((*rows, *guards), measured, look, alpha, settings, graders)


def with_grader(row: GateRow, graders: Mapping[str, str]) -> GateRow:
    """`row` with who graded (benchmark -> words) in its detail, where it has a figure of that."""
    named = graders.get(row.benchmark or "") if row.delta is not None else None
    return replace(row, detail=f"{row.detail}; {named}") if named else row


def is_read(accuracy: Paired) -> Reading:
    """Whether two policies, taken together, are shown to read the questions with a label."""
    says = accuracy.champion_predictions, accuracy.challenger_predictions
    return reading(accuracy.targets, *says, accuracy.groups)


def resamples_of(alpha: float, settings: GateConfig) -> int:
    """A p-value from B resamples is at least 1 / (B + 1): late looks need more of them than early ones.

    No more than a million: a look with an alpha below that promotes nothing.
    """
    return max(settings.resamples, min(math.ceil(20 / alpha), MOST_RESAMPLES))


def own_alpha(look: Look, settings: GateConfig) -> float:
    """The look's alpha without what it inherits."""
    return look.share * alpha_for_look(look.kind, look.number, sft=settings.alpha_sft, dpo=settings.alpha_dpo)


def _same_rows(champion: PolicyResults, challenger: PolicyResults) -> list[GateRow]:
    """Is it the same metric on the same items, under the same protocol, from the same data?"""
    rows: list[GateRow] = []
    pairs = []
    if not (champion.accuracy or champion.score):
        rows.append(GateRow("valid", "benchmarks: one_at_least", False, "neither labels nor free text was evaluated"))
    for name in ("accuracy", "score", "order", "consistency"):
        a, b = getattr(champion, name), getattr(challenger, name)
        if a and b:
            pairs.append((a, b))
        elif one := a or b:
            detail = "one policy has none: evaluate again"
            rows.append(GateRow("valid", f"{one.metric}: both_have_it", False, detail, benchmark=one.benchmark))
    if [r.metric for r in champion.others] != [r.metric for r in challenger.others]:
        rows.append(GateRow("valid", "benchmarks: both_have_them", False, "not the same benchmarks: evaluate again"))
    pairs += zip(champion.others, challenger.others, strict=False)
    for a, b in pairs:
        known_a = {i: (t, g) for i, t, g in zip(a.item_ids, a.targets, a.groups, strict=True)}
        known_b = {i: (t, g) for i, t, g in zip(b.item_ids, b.targets, b.groups, strict=True)}
        differing = sum(known_a.get(i) != known_b.get(i) for i in known_a.keys() | known_b.keys())
        same_items = bool(known_a) and not differing and (a.benchmark, a.metric) == (b.benchmark, b.metric)
        detail = f"{len(known_a)} and {len(known_b)} items, {differing} not the same in both"
        rows.append(GateRow("valid", f"{a.metric}: same_items", same_items, detail, benchmark=a.benchmark))
        hashes = (("same_protocol", a.protocol_hash, b.protocol_hash), ("same_data", a.data_sha256, b.data_sha256))
        for name, hash_a, hash_b in hashes:
            matching = bool(hash_a) and hash_a == hash_b
            detail = f"{hash_a} and {hash_b}" if hash_a and hash_b else "not recorded: evaluate again"
            rows.append(GateRow("valid", f"{a.metric}: {name}", matching, detail, benchmark=a.benchmark))
    return rows


def _unscored_rows(champion: PolicyResults, challenger: PolicyResults, settings: GateConfig) -> list[GateRow]:
    """Unparsed and failed items of each policy: they count here even where an unparsed one has the value 0 (wrong)."""
    rows = []
    for who, policy in (("champion", champion), ("challenger", challenger)):
        for r in (policy.accuracy, policy.score, *policy.others):
            if r is None:  # the run has no such benchmark
                continue
            unscored = sum(v is None or s != "scored" for v, s in zip(r.values, r.statuses, strict=True))
            share = unscored / len(r.values) if r.values else 1.0
            detail = f"{unscored} of {len(r.values)} items of the {who} are unparsed or unscored ({share:.1%})"
            name, limit = f"{r.metric}: {who}_unscored", settings.max_unscored
            rows.append(GateRow("valid", name, share <= limit, detail, benchmark=r.benchmark, threshold=limit))
    return rows


def _conclude(
    rows: tuple[GateRow, ...],
    m: Measured | None,
    look: Look,
    alpha: float,
    settings: GateConfig,
    graders: Mapping[str, str],
) -> GateResult:
    """The decision follows from the rows alone; `m` only serves to say how alpha was shared and how many items would
    settle it.
    """
    shares = {metric: level.share for metric, level in m.levels(alpha).items()} if m else {}
    inherited = f" ({look.inherited:.4f} of it from the promotion before)" if look.inherited else ""
    if look.share != 1:
        inherited += f" (other runs on these items leave {look.share:.1%} of a run's alpha)"

    not_read = [row for row in rows if (row.condition, row.metric) == ("not_read", "accuracy")]
    unread = "".join(f"; {_words(row)} does not count: not shown to read" for row in not_read)

    named = "".join(f"; {benchmark} {who}" for benchmark, who in graders.items())

    def result(action: Action, why: str, items: Items | None = None) -> GateResult:
        reason = f"{look.kind.upper()} look {look.number}, alpha {alpha:.4f}{inherited}: {why}{unread}{named}"
        return GateResult(action, reason, alpha, rows, items, look.inherited, shares, look.share)

    invalid = [row for row in rows if row.condition == "valid" and not row.passed]
    if invalid or m is None:
        return result("INCONCLUSIVE", "not valid: " + "; ".join(f"{row.metric} ({row.detail})" for row in invalid))
    better = [row for row in rows if row.condition == "better" and row.passed]
    unproven = [row for row in rows if row.condition == "not_worse" and not row.passed]
    worse = [row for row in unproven if row.ci_high is not None and row.ci_high < 0]
    disordered = [row for row in rows if row.condition == "ordered" and not row.passed]
    blocking = [row for row in rows if row.condition == "guard" and not row.passed]
    # "on the others": a metric that is better itself does not have to be shown not worse
    remaining = ([row for row in unproven if row.metric != gained.metric] for gained in better)
    open_bounds = min(remaining, key=len, default=unproven)
    if better and not open_bounds and not disordered and not blocking:
        return result("PROMOTE", "; ".join(_words(row) for row in better) + "; not worse on the others")
    if worse or disordered:
        losses = [f"worse: {_words(row)}, {row.detail.split(';')[0]}" for row in worse]
        losses += [f"the order of its words does not matter: {row.detail}" for row in disordered]
        return result("REJECT", "; ".join(losses))
    tests = [row for row in rows if row.condition == "better"]
    gains = [row for row in rows if row.condition == "gain_possible"]
    if not any(row.passed for row in gains):
        why = "; ".join(f"{row.metric} {row.delta:+.4f}, {row.detail}" for row in gains)
        return result("REJECT", f"no gain worth having: {why}")
    if better and not open_bounds:
        why = f"{'; '.join(_words(row) for row in better)}; held up by {', '.join(row.metric for row in blocking)}"
        return result("INCONCLUSIVE", f"{why}: more items would not help")
    reasons = [] if better else [_words(row) for row in tests]
    reasons += [f"{row.metric} not shown to be not worse ({row.detail.split(';')[0]})" for row in open_bounds]
    reasons += [f"red guard {row.metric}" for row in blocking]
    # It inherits nothing from this one.
    next_look = Look("dpo", look.number + 1 if look.kind == "dpo" else 1, share=look.share)
    open_metrics = [row.metric for row in open_bounds]
    items = items_to_settle(m, bool(better), open_metrics, own_alpha(next_look, settings), settings)
    reasons.append(items_words(items))
    return result("INCONCLUSIVE", "; ".join(reasons), items)


def _words(row: GateRow) -> str:
    text = f"{row.metric} {row.champion_mean:.4f} -> {row.challenger_mean:.4f} ({row.delta:+.4f}, n={row.n}"
    return text + (")" if row.p_adjusted is None else f", adjusted p {row.p_adjusted:.4f})")
