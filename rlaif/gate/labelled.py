"""The conditions of a look at which labels correct the gate's judge: from its paired marks to the rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlaif import stats
from rlaif.config import GateConfig
from rlaif.evals.results import Paired
from rlaif.gate.conditions import ROUNDING, GateRow
from rlaif.gate.ppi import Correction, Labels, correct, differing, enough, estimate

TEST = "ppi_clustered_bootstrap"


@dataclass(frozen=True, slots=True)
class Labelled:
    """The score as the look reads it. `row` says whether there are labels enough; `correction` is None where not."""

    score: Paired
    row: GateRow
    correction: Correction | None


def with_labels(score: Paired, labels: Labels) -> Labelled:
    """`score` corrected by what `labels` say of the items on which the two answers differ.

    Labels of one difference alone, on a part of these items, decide nothing: they show no spread, and so not how far
    their mean may be off.
    """
    of = len(differing(score))
    said = [labels[item][1] - labels[item][0] for item in differing(score) if item in labels]
    n = len(said)
    alike = 0 < n < of and max(said) - min(said) < ROUNDING
    passed = enough(n, of) and not alike
    detail = f"{n} labels on {of} items whose answers differ"
    if alike:
        detail += f", all of the difference {said[0]:+.4f}: how far their mean may be off is not known"
    row = GateRow("valid", f"{score.source.metric}: labels", passed, detail, score.source.benchmark)
    if not passed:
        return Labelled(score, row, None)
    moved, correction = correct(score, labels)
    return Labelled(moved, row, correction)


def labelled_rows(
    rows: Sequence[GateRow], judged: Paired, found: Correction, settings: GateConfig, seed: int
) -> list[GateRow]:
    """`rows` with the score's test named for what it is, and a row `judge_alone`: the judge without the labels.

    That row is no condition: it passes whatever it says.
    """
    metric = judged.source.metric

    judge = stats.bootstrap_mean(
        judged.champion, judged.challenger, judged.groups, seed=seed, resamples=settings.resamples
    )
    by_labels = [a + gain for a, gain in zip(judged.champion, found.alone.tolist(), strict=True)]
    labels = estimate(replace(judged, challenger=by_labels), seed=seed, resamples=settings.resamples)
    agree = "" if found.correlation is None else f", correlation with the judge {found.correlation:.2f}"
    how = (
        f"corrected by {found.n} labels (PPI++, lambda {found.weight:.2f}{agree}); the labels alone say "
        f"{labels.delta:+.4f} ({labels.ci_low:+.4f} to {labels.ci_high:+.4f})"
    )
    named = [
        replace(row, test=TEST, detail=f"{how}; {row.detail}")
        if (row.condition, row.metric) == ("better", metric)
        else row
        for row in rows
    ]
    alone = GateRow(
        "judge_alone",
        metric,
        True,
        "without the labels; decides nothing",
        judged.source.benchmark,
        "clustered_bootstrap",
        judge.n,
        judge.n_clusters,
        champion_mean=judge.champion_mean,
        challenger_mean=judge.challenger_mean,
        delta=judge.delta,
        ci_low=judge.ci_low,
        ci_high=judge.ci_high,
        p_value=judge.p_value,
    )
    return [*named, alone]
