"""The gate's conditions that rest on numbers: from paired results to one :class:`GateRow` each. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from rlaif import power, stats
from rlaif.config import GateConfig
from rlaif.evals.results import Paired, PolicyResults, pair

POWER = 0.8  # what "would be found" means in `mde` and in the number of items needed
TRUE_GAIN = 0.03  # the true gain in accuracy whose power is printed each time
ROUNDING = 1e-12  # so that 5 of 500 items count as a gain of 0.01


@dataclass(frozen=True, slots=True)
class GateRow:
    """One condition, as in the table `gates`. `delta` is challenger minus champion; None where it does not apply.

    `ci_low` and `ci_high` are the two-sided 95% interval for `better`, and the two one-sided 95% bounds for `not_worse`
    and `gain_possible`, because those decide there. `mde`: the true gain found with 80% power at alpha / 2, the level
    that the smaller of the two p-values has to meet under Holm.
    """

    condition: str
    metric: str
    passed: bool
    detail: str
    benchmark: str | None = None
    test: str | None = None
    n: int | None = None
    n_clusters: int | None = None
    b: int | None = None
    c: int | None = None
    champion_mean: float | None = None
    challenger_mean: float | None = None
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    alpha: float | None = None
    threshold: float | None = None
    mde: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The estimates over the paired items; `benchmarks` of accuracy and of the score, whose metric is `score_name`.

    `order` is of the same answers as the score: ROUGE-L beside a score that compares words, else None. So is
    `consistency`, which only a simulation may lack. `others` are (metric, benchmark, estimate, margin) of the
    benchmarks that may only not get worse.
    """

    mcnemar: stats.McNemar
    accuracy: stats.PairedBootstrap
    macro_f1: stats.PairedBootstrap
    score: stats.PairedBootstrap
    order: stats.PairedBootstrap | None
    score_name: str
    order_name: str
    benchmarks: tuple[str, str]
    others: tuple[tuple[str, str, stats.PairedBootstrap, float], ...] = ()
    consistency: stats.PairedBootstrap | None = None

    def bounded(self, settings: GateConfig) -> list[tuple[str, str, stats.PairedBootstrap, float]]:
        """Everything that must not get worse: metric, benchmark, estimate and the margin allowed."""
        labelled, free_text = self.benchmarks
        bounds = [
            ("accuracy", labelled, self.accuracy, settings.margin_accuracy),
            ("macro_f1", labelled, self.macro_f1, settings.margin_macro_f1),
            (self.score_name, free_text, self.score, settings.margin_score),
        ]
        if self.order is not None:
            bounds.append((self.order_name, free_text, self.order, settings.margin_rouge_l))
        if self.consistency is not None:
            bounds.append(("consistency", free_text, self.consistency, settings.margin_consistency))
        return [*bounds, *self.others]


def measure(
    accuracy: Paired,
    score: Paired,
    order: Paired | None,
    consistency: Paired | None,
    others: Sequence[Paired],
    seed: int,
    resamples: int,
) -> Measured:
    """All estimates of the gate, over the items that both policies have values for."""
    before, after = accuracy.champion, accuracy.challenger
    predictions = accuracy.champion_predictions, accuracy.challenger_predictions

    def mean(paired: Paired) -> stats.PairedBootstrap:
        return stats.bootstrap_mean(paired.champion, paired.challenger, paired.groups, seed=seed, resamples=resamples)

    return Measured(
        stats.mcnemar_exact(before, after),
        mean(accuracy),
        stats.bootstrap_macro_f1(accuracy.targets, *predictions, accuracy.groups, seed=seed, resamples=resamples),
        mean(score),
        mean(order) if order else None,
        score.source.metric,
        order.source.metric if order else "",
        (accuracy.source.benchmark, score.source.benchmark),
        tuple((o.source.metric, o.source.benchmark, mean(o), o.source.margin) for o in others),
        mean(consistency) if consistency else None,
    )


def better_rows(m: Measured, alpha: float, settings: GateConfig) -> list[GateRow]:
    """Is the challenger better on accuracy, is it on the score? Holm over the two p-values."""
    p_accuracy, p_score = stats.holm([m.mcnemar.p_value, m.score.p_value])
    n, discordance = m.accuracy.n, (m.mcnemar.b + m.mcnemar.c) / m.accuracy.n
    detail = f"{discordance:.1%} of the items discordant"
    if discordance >= TRUE_GAIN:
        probability = power.mcnemar_power(n, discordance, TRUE_GAIN, alpha / 2)
        detail += f"; a true gain of {TRUE_GAIN} would be found with probability {probability:.2f}"
    if m.accuracy.n_clusters < n:
        detail += f"; McNemar takes items as independent: clustered bootstrap p {m.accuracy.p_value:.4f}"
    mde = power.mean_mde(m.score.standard_error, m.score.n_clusters, alpha / 2, POWER)
    return [
        replace(
            _estimate_row("better", "accuracy", m.benchmarks[0], "mcnemar_exact", m.accuracy),
            passed=p_accuracy <= alpha and m.accuracy.delta >= settings.gain_accuracy - ROUNDING,
            detail=detail,
            b=m.mcnemar.b,
            c=m.mcnemar.c,
            p_value=m.mcnemar.p_value,
            p_adjusted=p_accuracy,
            alpha=alpha,
            threshold=settings.gain_accuracy,
            mde=power.mcnemar_mde(n, discordance, alpha / 2, POWER),
        ),
        replace(
            _estimate_row("better", m.score_name, m.benchmarks[1], "clustered_bootstrap", m.score),
            passed=p_score <= alpha and m.score.delta >= settings.gain_score - ROUNDING,
            detail=f"a true gain of {mde:.4f} would be found with probability {POWER}",
            p_value=m.score.p_value,
            p_adjusted=p_score,
            alpha=alpha,
            threshold=settings.gain_score,
            mde=mde,
        ),
    ]


def bound_rows(m: Measured, settings: GateConfig) -> list[GateRow]:
    """The rows that rest on one-sided bounds: `not_worse` and `gain_possible`.

    Is the challenger not worse on accuracy, macro-F1, score, word order and consistency, and could accuracy or the
    score still hold a gain worth having?
    """
    rows = []
    for name, benchmark, estimate, margin in m.bounded(settings):
        row = _estimate_row("not_worse", name, benchmark, "clustered_bootstrap_bound", estimate)
        passed = estimate.lower > -margin
        detail = f"lower 95% bound {estimate.lower:+.4f} {'>' if passed else '<='} {-margin:+.4f}"
        if estimate.standard_error > 0:
            probability = _bound_power(margin, estimate.standard_error)
            detail += f"; with no true loss this holds with probability {probability:.2f}"
        rows.append(replace(row, passed=passed, detail=detail, threshold=-margin))
    labelled, free_text = m.benchmarks
    gains = (
        ("accuracy", labelled, m.accuracy, settings.gain_accuracy),
        (m.score_name, free_text, m.score, settings.gain_score),
    )
    for name, benchmark, estimate, gain in gains:
        row = _estimate_row("gain_possible", name, benchmark, "clustered_bootstrap_bound", estimate)
        passed = estimate.upper >= gain - ROUNDING
        detail = f"upper 95% bound {estimate.upper:+.4f} {'>=' if passed else '<'} least gain worth having {gain:+.4f}"
        rows.append(replace(row, passed=passed, detail=detail, threshold=gain))
    return rows


def ordered_rows(challenger: PolicyResults, seed: int, resamples: int) -> list[GateRow]:
    """Are the challenger's answers nearer to the references than the same words in any order?

    A bag of words passes in 5% of cases. There is no row beside the score of a judge that reads; where the answers are
    too short for an order, the row passes and says so.
    """
    if challenger.order is None or challenger.shuffled is None:
        return []
    paired = pair(challenger.shuffled, challenger.order)
    metric, benchmark = paired.source.metric, paired.source.benchmark
    if len(set(paired.groups)) < 2:
        return [GateRow("ordered", metric, True, "answers too short to have an order", benchmark)]
    estimate = stats.bootstrap_mean(paired.champion, paired.challenger, paired.groups, seed=seed, resamples=resamples)
    in_order, shuffled = estimate.challenger_mean, estimate.champion_mean
    passed = estimate.lower > 0
    detail = f"ROUGE-L {in_order:.4f}, with the words of each answer shuffled {shuffled:.4f}; "
    detail += f"lower 95% bound of the difference {estimate.lower:+.4f} {'>' if passed else '<='} 0"
    row = _estimate_row("ordered", metric, benchmark, "clustered_bootstrap_bound", estimate)
    # Its means are of one policy, so they stand in the words and not in the columns of champion and challenger.
    return [replace(row, passed=passed, detail=detail, threshold=0.0, champion_mean=None, challenger_mean=None)]


def _estimate_row(condition: str, metric: str, benchmark: str, test: str, estimate: stats.PairedBootstrap) -> GateRow:
    two_sided = condition == "better"
    return GateRow(
        condition,
        metric,
        passed=False,
        detail="",
        benchmark=benchmark,
        test=test,
        n=estimate.n,
        n_clusters=estimate.n_clusters,
        champion_mean=estimate.champion_mean,
        challenger_mean=estimate.challenger_mean,
        delta=estimate.delta,
        ci_low=estimate.ci_low if two_sided else estimate.lower,
        ci_high=estimate.ci_high if two_sided else estimate.upper,
    )


def _bound_power(margin: float, standard_error: float) -> float:
    """P(lower 95% bound > -margin) when the true difference is 0; normal approximation."""
    normal = NormalDist()
    return normal.cdf(margin / standard_error - normal.inv_cdf(0.95))


def items_to_settle(
    m: Measured, better: bool, open_bounds: list[str], alpha: float, settings: GateConfig
) -> int | None:
    """About how many items decide, with 80% power and the present spread and size of groups.

    For a gain: that a true one of max(seen, least worth having) is found at alpha / 2, on the cheaper of the two
    metrics that may still have it. For each open bound: that it clears the margin if the true difference is the one
    seen; no number does where the difference seen is beyond the margin. The largest of these is returned.
    """
    needed = []
    if not better:
        gains = [
            max(e.n + 1, power.items_needed(e.n, e.standard_error, max(e.delta, gain), alpha / 2, POWER))
            for e, gain in ((m.accuracy, settings.gain_accuracy), (m.score, settings.gain_score))
            if e.standard_error > 0 and e.upper >= gain - ROUNDING and max(e.delta, gain) > 0
        ]
        if not gains:
            return None
        needed.append(min(gains))
    for metric, _, estimate, margin in m.bounded(settings):
        if metric not in open_bounds:
            continue
        if estimate.delta <= -margin:
            return None
        bound = power.items_needed(estimate.n, estimate.standard_error, margin + estimate.delta, 0.05, POWER)
        needed.append(max(estimate.n + 1, bound))
    return max(needed)
