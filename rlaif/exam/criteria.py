"""The exams of a judge by rubrics: single criteria of which it is known whether an answer meets them. Pure.

`healthbench_meta` has the labels of physicians (`rlaif.exam.physicians`), `rubric` those that follow from how an answer
was made (`rlaif.exam.rubric`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.rubric import MET
from rlaif.types import JudgeItem, Verdict

LEAST = {"healthbench_meta": 0.70, "rubric": 0.85}  # balanced accuracy that each exam asks for
LEAST_OF_A_TYPE = 0.75  # share of right answers of each item type of the exam `rubric`
MAX_UNSCORED = 0.02


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer with one criterion, `item.rubric`, and whether it is met: by each of several people, or by how it was
    made. `kind` is the item type, or the category of the criterion.
    """

    item: JudgeItem
    labels: tuple[bool, ...]
    kind: str

    @property
    def fault(self) -> bool:
        return self.item.rubric[0].weight < 0


@dataclass(frozen=True, slots=True)
class CriterionExam:
    """All items of one exam. `name` is healthbench_meta or rubric; `about` says what they were made of."""

    name: str
    items: tuple[Labelled, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """A judge against labels. `n` labels, `right` the share that the judge gives too, all in 0-1.

    `met` and `unmet`: of the labels that say met, and of those that say not met, the share where the judge says met;
    `balanced_accuracy` is the mean of met and 1 - unmet, `kappa` Cohen's, `generosity` how much more often than the
    labels the judge says met, in percentage points. None where there are no labels of a side.
    """

    n: int
    right: float | None
    met: float | None
    unmet: float | None
    balanced_accuracy: float | None
    kappa: float | None
    generosity: float | None


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """The whole exam: over all labels, for wanted things and faults apart, by kind, and by the length of the answer
    alone. `refusals` is empty for a judge that has passed.
    """

    exam: str
    whole: Measured
    wanted: Measured
    faults: Measured
    kinds: Mapping[str, Measured]
    length_alone: float | None
    unscored: int
    refusals: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.refusals


def said(verdict: Verdict) -> float | None:
    """What a verdict says of an item's criterion: the last one, because a prompt's own stand before it."""
    return verdict.criteria[-1].value if verdict.criteria else None


def grade(exam: CriterionExam, values: Sequence[float | None]) -> CriterionResult:
    """The result of `exam`; `values` is what was said of each item. An item without a value counts in no share; more
    than MAX_UNSCORED of them, and the judge has not passed.
    """
    known = [(item, value >= MET) for item, value in zip(exam.items, values, strict=True) if value is not None]

    def of(chosen: Callable[[Labelled], bool]) -> Measured:
        return measure((met, label) for item, met in known if chosen(item) for label in item.labels)

    whole = of(lambda item: True)
    kinds = {kind: of(lambda item, k=kind: item.kind == k) for kind in sorted({i.kind for i in exam.items})}  # type: ignore[misc]
    alone = length_alone([(len(i.item.answer.split()), label) for i in exam.items for label in i.labels])
    unscored = len(exam.items) - len(known)
    refusals = []
    least = LEAST[exam.name]
    if whole.balanced_accuracy is None or whole.balanced_accuracy < least:
        refusals.append(f"balanced accuracy {_number(whole.balanced_accuracy)}; it must reach {least:.2f}")
    if exam.name == "healthbench_meta" and alone is not None and (whole.balanced_accuracy or 0.0) <= alone:
        refusals.append(f"the length of an answer alone has a balanced accuracy of {alone:.3f}, and it must be beaten")
    if exam.name == "rubric":
        refusals += [
            f"{kind}: {_number(m.right)} right; {LEAST_OF_A_TYPE:.2f} are needed"
            for kind, m in kinds.items()
            if (m.right or 0.0) < LEAST_OF_A_TYPE
        ]
    if unscored > MAX_UNSCORED * len(exam.items):
        refusals.append(f"{unscored} of {len(exam.items)} criteria got neither yes nor no")
    sides = (of(lambda item: not item.fault), of(lambda item: item.fault))
    return CriterionResult(exam.name, whole, *sides, kinds, alone, unscored, tuple(refusals))


def measure(pairs: Iterable[tuple[bool, bool]]) -> Measured:
    """(said to be met, label) pairs as a :class:`Measured`."""
    both = list(pairs)
    n, labels_met = len(both), [s for s, label in both if label]
    labels_unmet = [s for s, label in both if not label]
    if not n:
        return Measured(0, None, None, None, None, None, None)
    right = sum(s == label for s, label in both) / n
    met = sum(labels_met) / len(labels_met) if labels_met else None
    unmet = sum(labels_unmet) / len(labels_unmet) if labels_unmet else None
    yes, label_yes = sum(s for s, _ in both) / n, len(labels_met) / n
    chance = yes * label_yes + (1 - yes) * (1 - label_yes)
    balanced = None if met is None or unmet is None else (met + 1 - unmet) / 2
    kappa = (right - chance) / (1 - chance) if chance < 1 else None
    return Measured(n, right, met, unmet, balanced, kappa, 100 * (yes - label_yes))


def length_alone(pairs: Sequence[tuple[int, bool]]) -> float | None:
    """The best balanced accuracy that a threshold on the length reaches, in either direction, on these very answers:
    what a judge has to beat. None where all labels are the same. `pairs`: length, label.
    """
    n_met = sum(label for _, label in pairs)
    n_unmet = len(pairs) - n_met
    if not n_met or not n_unmet:
        return None
    best, met, unmet = 0.5, 0, 0
    ordered = sorted(pairs)
    for place, (length, label) in enumerate(ordered):
        met, unmet = met + label, unmet + (not label)
        if place + 1 == len(ordered) or ordered[place + 1][0] != length:
            below = (met / n_met + 1 - unmet / n_unmet) / 2
            best = max(best, below, 1 - below)
    return best


def agreement(result: CriterionResult) -> dict[str, Any]:
    """What `rlaif.evals.healthbench` needs to know of it; where no criterion was a fault, the rates of the others."""
    rates = {"met": result.wanted.met, "unmet": result.wanted.unmet}
    faults = {"met": result.faults.met, "unmet": result.faults.unmet}
    return {
        "n": result.whole.n,
        "balanced_accuracy": result.whole.balanced_accuracy,
        "wanted": rates,
        "faults": rates if None in faults.values() else faults,
    }


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
