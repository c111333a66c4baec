"""The gate's conditions that rest on numbers: from paired results to one :class:`GateRow` each. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from rlaif import power, stats
from rlaif.config import GateConfig
from rlaif.evals.results import Paired, PolicyResults, pair
from rlaif.gate.levels import Arm, Level, alone, least_p, shared
from rlaif.gate.reading import Reading

POWER = 0.8  # what "would be found" means in `mde` and in the number of items needed
TRUE_GAIN = 0.03  # the true gain in accuracy whose power is printed each time
ROUNDING = 1e-12  # so that 5 of 500 items count as a gain of 0.01


@dataclass(frozen=True, slots=True)
class GateRow:
    """One condition, as in the table `gates`. `delta` is challenger minus champion; None where it does not apply.

    `ci_low` and `ci_high` are the two-sided 95% interval for `better` and `not_read`, and the two one-sided 95% bounds
    for `not_worse` and `gain_possible`, because those decide there. `test` and `p_value` are of the test that decides,
    `alpha` is the look's. `mde`: the true gain found with 80% power at the test's share of alpha; None where it has
    none.
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

    Where the run has labels alone or free text alone, the estimates of the other are None and its benchmark is "".
    `least` are the least p-values that accuracy and the score could have (see `rlaif.gate.levels`).
    `order` is of the same answers as the score: ROUGE-L beside a score that compares words, else None. So is
    `consistency`, which only a simulation may lack. `others` are (metric, benchmark, estimate, margin) of the
    benchmarks that may only not get worse.
    """

    mcnemar: stats.McNemar | None
    accuracy: stats.PairedBootstrap | None
    macro_f1: stats.PairedBootstrap | None
    score: stats.PairedBootstrap | None
    order: stats.PairedBootstrap | None
    score_name: str
    order_name: str
    benchmarks: tuple[str, str]
    least: tuple[float, float]
    others: tuple[tuple[str, str, stats.PairedBootstrap, float], ...] = ()
    consistency: stats.PairedBootstrap | None = None

    def levels(self, alpha: float) -> dict[str, Level]:
        """Metric -> its level at a look with `alpha`: of accuracy and of the score, of those that there are."""
        accuracy = score = None
        if self.mcnemar and self.accuracy:
            accuracy = Arm(_p_accuracy(self.mcnemar, self.accuracy), self.least[0])
        if self.score:
            score = Arm(self.score.p_value, self.least[1])
        if accuracy and score:
            return dict(zip(("accuracy", self.score_name), shared(accuracy, score, alpha), strict=True))
        arms = {"accuracy": accuracy, self.score_name: score}
        return {metric: alone(arm) for metric, arm in arms.items() if arm}

    def bounded(self, settings: GateConfig) -> list[tuple[str, str, stats.PairedBootstrap, float]]:
        """Everything that must not get worse: metric, benchmark, estimate and the margin allowed."""
        labelled, free_text = self.benchmarks
        bounds = (
            ("accuracy", labelled, self.accuracy, settings.margin_accuracy),
            ("macro_f1", labelled, self.macro_f1, settings.margin_macro_f1),
            (self.score_name, free_text, self.score, settings.margin_score),
            (self.order_name, free_text, self.order, settings.margin_rouge_l),
            ("consistency", free_text, self.consistency, settings.margin_consistency),
        )
        there = [(name, benchmark, estimate, margin) for name, benchmark, estimate, margin in bounds if estimate]
        return [*there, *self.others]

    def gains(self, settings: GateConfig) -> list[tuple[str, str, stats.PairedBootstrap, float]]:
        """What may gain: metric, benchmark, estimate and the least gain worth having."""
        labelled, free_text = self.benchmarks
        gains = (
            ("accuracy", labelled, self.accuracy, settings.gain_accuracy),
            (self.score_name, free_text, self.score, settings.gain_score),
        )
        return [(name, benchmark, estimate, gain) for name, benchmark, estimate, gain in gains if estimate]


def measure(
    accuracy: Paired | None,
    score: Paired | None,
    order: Paired | None,
    consistency: Paired | None,
    others: Sequence[Paired],
    seed: int,
    resamples: int,
    resamples_p: int,
) -> Measured:
    """All estimates of the gate, over the items that both policies have values for.

    Accuracy and score, whose p-values count, are resampled `resamples_p` times, what has bounds alone `resamples`.
    """

    def mean(paired: Paired, resamples: int = resamples) -> stats.PairedBootstrap:
        return _mean(paired, seed, resamples)

    def least(paired: Paired | None) -> float:
        return 1.0 if paired is None else least_p(paired.champion, paired.challenger, paired.groups)

    return Measured(
        stats.mcnemar_exact(accuracy.champion, accuracy.challenger) if accuracy else None,
        mean(accuracy, resamples_p) if accuracy else None,
        _macro_f1(accuracy, seed, resamples) if accuracy else None,
        mean(score, resamples_p) if score else None,
        mean(order) if order else None,
        score.source.metric if score else "",
        order.source.metric if order else "",
        (accuracy.source.benchmark if accuracy else "", score.source.benchmark if score else ""),
        (least(accuracy), least(score)),
        tuple((o.source.metric, o.source.benchmark, mean(o), o.source.margin) for o in others),
        mean(consistency) if consistency else None,
    )


def _mean(paired: Paired, seed: int, resamples: int) -> stats.PairedBootstrap:
    return stats.bootstrap_mean(paired.champion, paired.challenger, paired.groups, seed=seed, resamples=resamples)


def _macro_f1(paired: Paired, seed: int, resamples: int) -> stats.PairedBootstrap:
    predictions = paired.champion_predictions, paired.challenger_predictions
    return stats.bootstrap_macro_f1(paired.targets, *predictions, paired.groups, seed=seed, resamples=resamples)


def better_rows(m: Measured, alpha: float, settings: GateConfig) -> list[GateRow]:
    """Is the challenger better on accuracy, is it on the score? What is there shares alpha as `levels` says."""
    levels, rows = m.levels(alpha), []
    if m.accuracy and m.mcnemar:
        rows.append(_accuracy_row(m, m.mcnemar, m.accuracy, levels, alpha, settings))
    if m.score:
        rows.append(_score_row(m, m.score, levels, alpha, settings))
    return rows


def _accuracy_row(
    m: Measured,
    mcnemar: stats.McNemar,
    accuracy: stats.PairedBootstrap,
    levels: dict[str, Level],
    alpha: float,
    settings: GateConfig,
) -> GateRow:
    level, n, discordance = levels["accuracy"], accuracy.n, (mcnemar.b + mcnemar.c) / accuracy.n
    grouped = accuracy.n_clusters < n
    detail = f"{discordance:.1%} of the items discordant"
    if discordance >= TRUE_GAIN and level.share:
        probability = power.mcnemar_power(n, discordance, TRUE_GAIN, alpha * level.share)
        if grouped:
            by_mean = power.mean_power(accuracy.standard_error, TRUE_GAIN, alpha * level.share)
            probability = min(probability, by_mean)
        detail += f"; a true gain of {TRUE_GAIN} would be found with probability {probability:.2f}"
    if grouped:
        detail += f"; McNemar's p {mcnemar.p_value:.4f}, over groups {accuracy.p_value:.4f}: the larger decides"
    test = "clustered_bootstrap" if grouped and accuracy.p_value > mcnemar.p_value else "mcnemar_exact"
    return replace(
        _estimate_row("better", "accuracy", m.benchmarks[0], test, accuracy),
        passed=level.p_adjusted <= alpha and accuracy.delta >= settings.gain_accuracy - ROUNDING,
        detail=f"{detail}; {_share_words(level, m.least[0], alpha, only=len(levels) == 1)}",
        b=mcnemar.b,
        c=mcnemar.c,
        p_value=_p_accuracy(mcnemar, accuracy),
        p_adjusted=level.p_adjusted,
        alpha=alpha,
        threshold=settings.gain_accuracy,
        mde=_accuracy_mde(discordance, accuracy, alpha * level.share),
    )


def _score_row(
    m: Measured,
    score: stats.PairedBootstrap,
    levels: dict[str, Level],
    alpha: float,
    settings: GateConfig,
) -> GateRow:
    level = levels[m.score_name]
    mde, detail = None, _share_words(level, m.least[1], alpha, only=len(levels) == 1)
    if 0 < alpha * level.share < 1:
        mde = power.mean_mde(score.standard_error, score.n_clusters, alpha * level.share, POWER)
        detail = f"a true gain of {mde:.4f} would be found with probability {POWER}; {detail}"
    return replace(
        _estimate_row("better", m.score_name, m.benchmarks[1], "clustered_bootstrap", score),
        passed=level.p_adjusted <= alpha and score.delta >= settings.gain_score - ROUNDING,
        detail=detail,
        p_value=score.p_value,
        p_adjusted=level.p_adjusted,
        alpha=alpha,
        threshold=settings.gain_score,
        mde=mde,
    )


def _p_accuracy(mcnemar: stats.McNemar, accuracy: stats.PairedBootstrap) -> float:
    """The larger of McNemar's p, which takes items as independent, and the one over groups, where there are any."""
    grouped = accuracy.n_clusters < accuracy.n
    return max(mcnemar.p_value, accuracy.p_value) if grouped else mcnemar.p_value


def _accuracy_mde(discordance: float, accuracy: stats.PairedBootstrap, level: float) -> float | None:
    """The true gain in accuracy that both tests find; None where McNemar's finds none, or at a level of 0 or 1."""
    found = power.mcnemar_mde(accuracy.n, discordance, level, POWER) if 0 < level < 1 else None
    if found is None or accuracy.n_clusters == accuracy.n:
        return found
    return max(found, power.mean_mde(accuracy.standard_error, accuracy.n_clusters, level, POWER))


def _share_words(level: Level, least: float, alpha: float, *, only: bool) -> str:
    if only:
        return "has the whole alpha: there is no other test"
    if level.share == 0:
        return f"takes no share: its p could not be below {least:.2g} whatever the direction, half is {alpha / 2:.4f}"
    return "has the whole alpha: the other test could not reach its half" if level.share == 1 else "has half of alpha"


def not_read_rows(accuracy: Paired, found: Reading, seed: int, resamples: int) -> list[GateRow]:
    """The differences in accuracy and macro-F1 between two policies that are not shown to read the questions. They
    decide nothing.
    """
    rows = []
    for name, estimate in (
        ("accuracy", _mean(accuracy, seed, resamples)),
        ("macro_f1", _macro_f1(accuracy, seed, resamples)),
    ):
        row = _estimate_row("not_read", name, accuracy.source.benchmark, "clustered_bootstrap", estimate)
        rows.append(replace(row, passed=True, detail=found.words))
    return rows


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
    for name, benchmark, estimate, gain in m.gains(settings):
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
    two_sided = condition in ("better", "not_read")
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
