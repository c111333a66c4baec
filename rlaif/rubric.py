"""Rubrics: what an answer is checked for, and the score that follows. Pure.

The arithmetic is that of HealthBench (Arora et al. 2025, arXiv 2505.08775; simple-evals, healthbench_eval.py): the
points of the criteria that are met, faults with their points below 0 among them, over the sum of the points above 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rlaif.types import Criterion, CriterionVerdict, UsageError, Verdict

MET = 0.5  # a value from here on is met
MIN_JUDGED = 0.5  # of the weight; a score over less of a rubric would say little
KEY_POINTS = "key_points"  # the source of criteria that were drawn from key points
STATES = "States this, in whatever words:"
MOST = 12  # criteria drawn from one reference
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\n+")
_LINE = re.compile(r"-\s*(?P<name>[^():\n]{1,60}?)\s*\((?P<weight>[-+]?\d+(?:\.\d+)?)\)\s*:\s*(?P<text>\S.*)")


def possible(weights: Iterable[float]) -> float:
    """The points that a perfect answer has: the sum of those above 0. One that is 1 but for rounding is 1."""
    total = sum(weight for weight in weights if weight > 0)
    return 1.0 if abs(total - 1) <= 1e-6 else total


def points(weights: Sequence[float], values: Sequence[float]) -> float | None:
    """Points reached over points possible: at most 1, below 0 where faults outweigh the rest. None where no criterion
    has points above 0. `values`: 1 for met, 0 for not, or between.
    """
    total = possible(weights)
    if total == 0:
        return None
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / total


def clipped(score: float) -> float:
    """`score` within 0-1, as HealthBench clips its means."""
    return min(1.0, max(0.0, score))


def judged_share(weights: Sequence[float], judged: Sequence[bool]) -> float:
    """The share of the weight, signs aside, whose criteria were judged; 0 for an empty rubric."""
    total = math.fsum(map(abs, weights))
    known = math.fsum(abs(weight) for weight, is_known in zip(weights, judged, strict=True) if is_known)
    return known / total if total else 0.0


def verdict_of(given: Verdict, criteria: Sequence[CriterionVerdict]) -> Verdict:
    """`given`, an unscored verdict on an answer, with the score that its `criteria` make, of those that were judged.

    Criteria that are key points, and nothing else, give key_point_coverage too, and completeness, as such a list is
    what a complete answer names. It stays without a score where less than MIN_JUDGED of the weight was judged, or none
    has points above 0: then its status is the worst of the criteria's, and its reason says what was missing.
    """
    known = [c for c in criteria if c.value is not None]
    share = judged_share([c.weight for c in criteria], [c.value is not None for c in criteria])
    score = points([c.weight for c in known], [c.value or 0.0 for c in known])
    with_criteria = replace(given, criteria=tuple(criteria), judged_weight=round(share, 6))
    if score is not None and share >= MIN_JUDGED:
        told = sum((c.value or 0.0) >= MET for c in known)
        covered = round(clipped(score), 6) if all(c.source == KEY_POINTS for c in criteria) else None
        words = f"{told} of {len(known)} criteria met" + (f", {share:.0%} of the weight judged" if share < 1 else "")
        return replace(
            with_criteria,
            status="scored",
            score=round(clipped(score), 6),
            completeness=covered,
            key_point_coverage=covered,
            reason="",
            rationale=f"{given.rationale}; {words}" if given.rationale else words,
        )
    missing = [c for c in criteria if c.value is None]
    if not missing:
        why = "no criterion has points above 0, so there is no score (HealthBench gives none either)"
        return replace(with_criteria, status="failed", reason=why)
    worst = max((c.status for c in missing), key=("scored", "unparsed", "refused", "failed").index)
    why = f"{len(missing)} of {len(criteria)} criteria not judged, {share:.0%} of the weight was ({missing[0].reason})"
    return replace(with_criteria, status=worst, reason=why)


def marked(
    verdict: Verdict, names: Sequence[str], weights: Sequence[float], values: Mapping[str, float], reason: str = ""
) -> Verdict:
    """`verdict` of a prompt with criteria of its own, with a row per criterion. `values`: name -> 0-1; none of them
    unless it is scored.
    """
    scored = verdict.status == "scored"
    rows = tuple(
        CriterionVerdict(
            verdict.candidate_id,
            verdict.judge_id,
            verdict.replicate,
            place,
            name,
            weight,
            "",
            "prompt",
            verdict.status,
            round(values[name], 6) if scored else None,
            reason if scored else verdict.reason,
        )
        for place, (name, weight) in enumerate(zip(names, weights, strict=True))
    )
    return replace(verdict, criteria=rows, judged_weight=1.0 if scored else 0.0)


def drawn(key_points: Sequence[str], reference: str) -> tuple[Criterion, ...]:
    """A rubric for a question that has none: one criterion per key point, else per sentence of the reference (its first
    MOST that have four words or more), all of the same weight.
    """
    if key_points:
        return tuple(Criterion(f"{STATES} {point}", 1.0, "key point", KEY_POINTS) for point in key_points)
    sentences = [" ".join(s.split()) for s in _SENTENCE.split(reference) if len(s.split()) >= 4]
    return tuple(Criterion(f"{STATES} {s}", 1.0, "reference", "reference") for s in dict.fromkeys(sentences[:MOST]))


def read_criteria(text: str, where: str) -> tuple[Criterion, ...]:
    """The criteria of a prompt's part `# criteria`, one a line: "- name (points): what a met criterion is".

    Raises UsageError for a line of another form, with its words, for points of 0 and for a criterion that stands twice.
    """
    found: dict[str, Criterion] = {}
    for line in filter(str.strip, text.splitlines()):
        match = _LINE.fullmatch(line.strip())
        if match is None or float(match["weight"]) == 0:
            raise UsageError(
                f"{where}: {line.strip()!r:.80} is no criterion; write '- name (points): text', with points above 0 "
                "for what is wanted and below 0 for a fault, such as '- dose (-5): Names a dose that is wrong'"
            )
        if match["text"] in found:
            raise UsageError(f"{where}: the criterion {match['text']!r:.60} stands twice; keep one")
        found[match["text"]] = Criterion(match["text"], float(match["weight"]), match["name"], "prompt")
    return tuple(found.values())
