"""What counting reaches on the items of an exam: length alone, token F1 and TF-IDF with the reference.

A judge that does not order more pairs than each of these knows no more than they do. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlaif.exam.items import ExamItem
from rlaif.stats import bootstrap_mean
from rlaif.text_metrics import token_f1, tokens
from rlaif.types import JudgeItem

RESAMPLES = 2_000
ROUNDING = 1e-9  # the same words in another order are added in another order


@dataclass(frozen=True, slots=True)
class Baseline:
    """One way of counting, beside a judge on the same pairs.

    `accuracy` is the share of pairs that it orders (0-1), `by_type` the same per item type. `gain` is the judge's
    accuracy minus this one, `gain_lower` its one-sided 95% bound (None with fewer than two questions).
    """

    name: str
    accuracy: float
    by_type: Mapping[str, float]
    gain: float
    gain_lower: float | None

    @property
    def beaten(self) -> bool:
        return self.gain_lower is not None and self.gain_lower > 0


def compare(items: Sequence[ExamItem], right: Sequence[bool]) -> tuple[Baseline, ...]:
    """The baselines beside a judge that orders the pairs `items` as `right` says, in the same order.

    Length takes the direction that orders more of them. The difference is paired, and its bound is that of
    :func:`rlaif.stats.bootstrap_mean` with all items of one question as one cluster. Empty without items.
    """
    if not items:
        return ()
    ways: dict[str, Callable[[JudgeItem], float]] = {"token F1": _f1, "TF-IDF": tf_idf(items)}
    ordered = {name: [way(i.good) - way(i.bad) > ROUNDING for i in items] for name, way in ways.items()}
    lengths = [len(i.good.answer.split()) - len(i.bad.answer.split()) for i in items]
    longer, shorter = [d > 0 for d in lengths], [d < 0 for d in lengths]
    chosen = ("length, shorter", shorter) if sum(shorter) > sum(longer) else ("length, longer", longer)
    return tuple(_beside(name, items, right, by_it) for name, by_it in (chosen, *ordered.items()))


def _beside(name: str, items: Sequence[ExamItem], right: Sequence[bool], by_it: Sequence[bool]) -> Baseline:
    per_type: dict[str, list[bool]] = {}
    for item, ok in zip(items, by_it, strict=True):
        per_type.setdefault(item.item_type, []).append(ok)
    questions = [item.good.question for item in items]
    gain = (sum(right) - sum(by_it)) / len(items)
    lower = None
    if len(set(questions)) > 1:
        x, y = ([float(ok) for ok in side] for side in (by_it, right))
        lower = bootstrap_mean(x, y, questions, seed=0, resamples=RESAMPLES).lower
    return Baseline(name, sum(by_it) / len(items), {t: sum(v) / len(v) for t, v in per_type.items()}, gain, lower)


def _f1(item: JudgeItem) -> float:
    return token_f1(item.answer, item.reference)


def tf_idf(items: Sequence[ExamItem]) -> Callable[[JudgeItem], float]:
    """The cosine (0-1) of the TF-IDF vectors of an answer and its reference: term frequency times
    log((1 + N) / (1 + df)) + 1 over the N references of `items` (Salton and Buckley 1988; idf as in scikit-learn).
    """
    references = {item.good.reference for item in items}
    df = Counter(word for text in references for word in set(tokens(text)))

    def vector(text: str) -> dict[str, float]:
        counts = Counter(tokens(text))
        return {w: n * (math.log((1 + len(references)) / (1 + df[w])) + 1) for w, n in counts.items()}

    known = {text: vector(text) for text in references}

    def score(item: JudgeItem) -> float:
        a, b = vector(item.answer), known.get(item.reference) or vector(item.reference)
        norm = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
        return sum(x * b.get(w, 0.0) for w, x in a.items()) / norm if norm else 0.0

    return score
