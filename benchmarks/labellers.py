"""Labelling judges that cost nothing, side by side: `support`, `reference` and plain token F1.

    OMP_NUM_THREADS=1 python benchmarks/labellers.py --medquad FILE [--human FILE]

Prints Markdown: the rules of the embedded exam and of the MedQuAD exam, how many answers get exactly 0 and how many
pairs of different answers to a question the same mark; with --human (question, answer, score 1-4, `references`) the
agreement with people: Spearman correlation over all answers, and the share of pairs of answers to one question that are
ordered as people order them. Intervals are 95%, percentile bootstrap over questions. The halves "tuned on" and "held
out" are those of the questions whose SHA-256 is even and odd.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from judges import make_judge
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.grade import ExamResult, grade, outcomes
from rlaif.exam.human import human_exam
from rlaif.exam.items import Exam
from rlaif.exam.medquad import medquad_exam
from rlaif.text_metrics import token_f1
from rlaif.types import JudgeIdentity, JudgeItem, Verdict

NAMES = ("support", "reference", "token F1")
POOR = ("wrong_question", "swapped_focus", "half_dropped", "padded")  # their bad answers stand in for sampled ones
RESAMPLES = 2_000


class TokenF1:
    """Token F1 with the reference in the place of a judge's score; it has no other marks."""

    local, chat = True, False
    identity = JudgeIdentity("token F1", "", "none", "", {})

    def score(self, items: Sequence[JudgeItem]) -> list[Verdict]:
        return [
            Verdict(item.candidate_id, "", item.replicate, "scored", token_f1(item.answer, item.reference))
            for item in items
        ]


JUDGES = {"support": make_judge("support"), "reference": make_judge("reference"), "token F1": TokenF1()}


@dataclass(frozen=True, slots=True)
class Graded:
    """One answer that people scored (1-4), and the judge's mark."""

    question: str
    mark: float
    people: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spearman correlation over all answers; share of ordered pairs within a question, for people's scores at least 1
    and at least 2 apart. A tie is not ordered.
    """

    spearman: float
    pairs: float
    far_pairs: float


def tuned_on(question: str) -> bool:
    return int(hashlib.sha256(question.encode()).hexdigest(), 16) % 2 == 0


def agreement(groups: Sequence[Sequence[Graded]]) -> Agreement:
    """Over the questions `groups`, each with its answers."""
    answers = [a for group in groups for a in group]
    ordered = {1: [0, 0], 2: [0, 0]}  # gap -> right, all
    for group in groups:
        for good, bad in itertools.permutations(group, 2):
            for gap, counts in ordered.items():
                if good.people - bad.people >= gap:
                    counts[0] += good.mark > bad.mark
                    counts[1] += 1
    shares = [right / n if n else float("nan") for right, n in ordered.values()]
    return Agreement(float(spearmanr([a.mark for a in answers], [a.people for a in answers])[0]), *shares)


def by_question(exam: Exam, marks: Sequence[float]) -> list[list[Graded]]:
    groups: dict[str, list[Graded]] = {}
    for (item, people), mark in zip(exam.graded, marks, strict=True):
        groups.setdefault(item.question, []).append(Graded(item.question, mark, people))
    return list(groups.values())


def resampled(per_judge: Sequence[Sequence[Sequence[Graded]]], seed: int = 0) -> list[list[Agreement]]:
    """RESAMPLES times the agreement of each judge, the same questions drawn for all of them."""
    rng = np.random.default_rng(seed)
    count = len(per_judge[0])
    draws = [rng.integers(count, size=count) for _ in range(RESAMPLES)]
    return [[agreement([groups[i] for i in draw]) for draw in draws] for groups in per_judge]


def interval(values: Sequence[float]) -> str:
    low, high = np.nanquantile(values, (0.025, 0.975))
    return f"[{low:.3f}, {high:.3f}]"


def people_table(exam: Exam, half: bool | None) -> list[str]:
    """One row per judge and one per difference; `half`: True those tuned on, False held out, None all."""
    groups = {}
    for name, judge in JUDGES.items():
        marks = [v.score or 0.0 for v in judge.score([item for item, _ in exam.graded])]
        groups[name] = [g for g in by_question(exam, marks) if half is None or tuned_on(g[0].question) is half]
    drawn = dict(zip(NAMES, resampled(list(groups.values())), strict=True))
    rows = []
    for name in NAMES:
        found = agreement(groups[name])
        cells = [
            f"{getattr(found, field):.3f} {interval([getattr(a, field) for a in drawn[name]])}"
            for field in Agreement.__dataclass_fields__
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    for other in NAMES[1:]:
        cells = []
        for field in Agreement.__dataclass_fields__:
            here, there = (getattr(agreement(groups[n]), field) for n in ("support", other))
            differences = [
                getattr(a, field) - getattr(b, field) for a, b in zip(drawn["support"], drawn[other], strict=True)
            ]
            cells.append(f"{here - there:+.3f} {interval(differences)}")
        rows.append(f"| support - {other} | {' | '.join(cells)} |")
    return rows


def exam_table(exam: Exam) -> list[str]:
    """One row per rule: each judge's value, in bold where it fails; then what is zero, tied, and how long it takes."""
    results: list[ExamResult] = []
    zeros, ties, speed = [], [], []
    for judge in JUDGES.values():
        start = time.process_time()
        verdicts = {v.candidate_id: v for v in judge.score(exam.answers)}
        speed.append(f"{1000 * (time.process_time() - start) / len(exam.answers):.2f}")
        results.append(grade(exam, outcomes(exam, verdicts)))
        zero, tie = resolution(exam, {k: v.score or 0.0 for k, v in verdicts.items()})
        zeros.append(f"{zero:.1%}")
        ties.append(f"{tie:.1%}")
    rows = []
    for rules in zip(*(r.rules for r in results), strict=True):
        rule = rules[0].rule
        sign = ">=" if rule.at_least else "<="
        cells = [f"{r.value:.3f}" if r.passed else f"**{r.value:.3f}**" for r in rules]
        if rule.measure in ("completeness falls", "factual moves"):
            cells[-1] = "-"  # token F1 has no such mark
        rows.append(f"| `{rule.item_type}` | {rule.measure} | {sign} {rule.threshold:.2f} | {' | '.join(cells)} |")
    pooled = [f"{r.pair_accuracy:.3f}, bound {r.lower_bound:.3f}" for r in results]
    rows.append(f"| pooled | pair accuracy | bound >= 0.80 | {' | '.join(pooled)} |")
    for what, cells in (("exactly 0", zeros), ("ties within a question", ties), ("ms per answer", speed)):
        rows.append(f"| {what} | | | {' | '.join(cells)} |")
    return rows


def resolution(exam: Exam, marks: dict[str, float]) -> tuple[float, float]:
    """Shares of the POOR answers that have exactly 0, and of their pairs within a question that have the same mark."""
    asked: dict[tuple[str, str], dict[str, float]] = {}
    for item in exam.items:
        if item.item_type in POOR:
            answers = asked.setdefault((item.bad.question, item.bad.reference), {})
            answers[item.bad.answer] = marks[item.bad.candidate_id]
    given = [mark for answers in asked.values() for mark in answers.values()]
    pairs = [pair for answers in asked.values() for pair in itertools.combinations(answers.values(), 2)]
    return sum(mark == 0 for mark in given) / len(given), sum(a == b for a, b in pairs) / len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medquad", help="the MedQuAD file; without it only the embedded exam")
    parser.add_argument("--human", help="answers scored by people")
    args = parser.parse_args()
    for exam in [embedded_exam(), *([medquad_exam(args.medquad)] if args.medquad else [])]:
        print(f"\nThe {exam.name} exam:\n\n| item type | measure | needed | {' | '.join(NAMES)} |")
        print("|---" * (3 + len(NAMES)) + "|")
        print("\n".join(exam_table(exam)))
    if args.human:
        exam = human_exam(args.human)
        for half, what in ((None, "all"), (False, "held out"), (True, "tuned on")):
            print(
                f"\nPeople's scores, {what}:\n\n| judge | Spearman | pairs, 1 or more apart | pairs, 2 or more apart |"
            )
            print("|---|---|---|---|")
            print("\n".join(people_table(exam, half)))


if __name__ == "__main__":
    main()
