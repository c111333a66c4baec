"""How far the answers to one question agree with each other: the second half of a label. Pure.

An answer that says what the policy's other answers say is the better bet: it has the highest expected agreement with
whatever is right, as far as the policy knows it (minimum Bayes risk: Kumar and Byrne 2004; over samples, Eikema and
Aziz 2022, arXiv 2108.04718; learned by DPO, Yang et al. 2024, arXiv 2311.08380). It needs no judge and no reference,
and it errs on other answers than a judge does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from rlaif.text_metrics import token_f1
from rlaif.types import Candidate


def consensus(candidates: Sequence[Candidate]) -> dict[str, float]:
    """candidate_id -> the mean token F1 (0-1) of its text with each other answer to the same question; without those
    that are alone.
    """
    questions: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        questions[candidate.question_id].append(candidate)
    totals: dict[str, float] = {}
    for answers in questions.values():
        for a, b in combinations(answers, 2):
            agreement = token_f1(a.text, b.text)
            for one in (a, b):
                totals[one.candidate_id] = totals.get(one.candidate_id, 0.0) + agreement
    return {c.candidate_id: totals[c.candidate_id] / (len(questions[c.question_id]) - 1)
            for c in candidates if c.candidate_id in totals}  # fmt: skip
