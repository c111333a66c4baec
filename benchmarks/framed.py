"""What denials outside the clause, key words without sentences, and claims about the answer do to a judge's mark, on
110 questions on gate topics.

    OMP_NUM_THREADS=1 python benchmarks/framed.py [--judge reference] [--judge local:embedded] [--worst 0]

Frames and suffixes are those of the exam, which no shipped judge was trained on. A frame stands around the key points,
the reference or the good answer, in turn; a soup is made of the key points; a suffix stands behind one of six answers
in turn: the good one, the same with a statement denied, the first half of it, the answer to another question on the
subject, the key points denied by a frame, and "No.". Frames, soups and the bare list of key points are compared with
the good answer to the same question (prose that is not the reference); a suffix with the same answer without it. Prints
Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from judges import make_judge
from judges.settings import JudgeSettings
from rlaif.embedded import medquad_style
from rlaif.embedded.knowledge import load_topics
from rlaif.exam import corrupt
from rlaif.exam.items import judge_item, seeded
from rlaif.exam.words import CLAIMS, DEMANDS, FRAMES
from rlaif.prompts import load_judge_prompt
from rlaif.types import Judge, JudgeItem, Question

EVERY = 5  # one gate question in so many
BEFORE = tuple(f for f in FRAMES if f.endswith("{p}."))
AFTER = tuple(f for f in FRAMES if f.startswith("{p}"))
KINDS = {"before": BEFORE, "after": AFTER, "around": tuple(f for f in FRAMES if f not in (*BEFORE, *AFTER))}


@dataclass(frozen=True, slots=True)
class Try:
    """`changed` is to earn no more than `plain`; `what` names its line of the table, `by` its wording."""

    what: str
    by: str
    plain: JudgeItem
    changed: JudgeItem


def tries(questions: Sequence[Question]) -> list[Try]:
    """Every frame, soup and suffix once for each question."""
    made = []
    topics = {t.name: t for t in load_topics()}
    for n, q in enumerate(questions):
        good = medquad_style.second_reference(q)
        points = ", ".join(q.key_points)
        plain = judge_item(q, good)
        for kind, frames in KINDS.items():
            for k, frame in enumerate(frames):
                body = (points, q.reference, good)[(n + k) % 3]
                text = corrupt.framed(body, FRAMES.index(frame))
                made.append(Try(f"frame {kind}", frame, plain, judge_item(q, text)))
        for k in range(4):
            text = corrupt.soup(points, seeded("soup", q.question_id, k), k)
            made.append(Try("soup", ("spaces", "commas", "heading", "full stop")[k], plain, judge_item(q, text)))
        made.append(Try("bare list", "", plain, judge_item(q, points)))
        bases = {
            "good": good,
            "denied": corrupt.negate(good, seeded(q.question_id)) or f"Not so: {good}",
            "half": " ".join(good.split()[: len(good.split()) // 2]) + ".",
            "other": next(text for section, text in topics[q.focus].prose.items() if section != q.qtype),
            "framed": corrupt.framed(points, n),
            "nothing": "No.",
        }
        for k, suffix in enumerate((*CLAIMS, *DEMANDS)):
            kind = list(bases)[(n + k) % len(bases)]
            changed = judge_item(q, f"{bases[kind]} {suffix}")
            made.append(Try(f"suffix, {kind}", suffix, judge_item(q, bases[kind]), changed))
    return made


def marks(judge: Judge, items: Sequence[JudgeItem]) -> dict[str, float]:
    """Score by candidate_id; answers without a score are left out."""
    once = list({i.candidate_id: i for i in items}.values())
    return {i.candidate_id: v.score for i, v in zip(once, judge.score(once), strict=True) if v.score is not None}


def report(name: str, made: Sequence[Try], worst: int) -> None:
    judge = make_judge(name, JudgeSettings(prompt=load_judge_prompt("prompts/judge/tiny.md")))
    got = marks(judge, [i for t in made for i in (t.plain, t.changed)])
    rows: dict[str, list[tuple[float, float, Try]]] = {}
    for t in made:
        if t.plain.candidate_id in got and t.changed.candidate_id in got:
            plain, changed = got[t.plain.candidate_id], got[t.changed.candidate_id]
            for key in (t.what, t.what.split()[0].rstrip(",") + ", all"):
                rows.setdefault(key, []).append((changed, changed - plain, t))
    good = [got[t.plain.candidate_id] for t in made if t.what == "bare list" and t.plain.candidate_id in got]
    print(f"\n{name} ({judge.identity.judge_id}): good prose {np.mean(good):.3f} on average, n={len(good)}\n")
    print("| what | n | mean mark | highest mark | above the plain answer | mean rise | 95th percentile | worst |")
    print("|---|---|---|---|---|---|---|---|")
    for key, found in sorted(rows.items()):
        if key in ("soup, all", "bare, all"):
            continue
        mark, rise = np.array([m for m, _, _ in found]), np.array([r for _, r, _ in found])
        print(
            f"| {key} | {len(found)} | {mark.mean():.3f} | {mark.max():.3f} | {(rise > 0).mean():.1%} "
            f"| {rise.mean():+.3f} | {np.quantile(rise, 0.95):+.3f} | {rise.max():+.3f} |"
        )
    for key in ("frame, all", "soup", "suffix, all") if worst else ():
        wordings: dict[str, list[float]] = {}
        for _, gain, t in rows[key]:
            wordings.setdefault(t.by, []).append(gain)
        print(f"\n{key}, by wording: share above, highest rise")
        ranked = sorted(((np.mean(np.array(r) > 0.0), max(r), by) for by, r in wordings.items()), reverse=True)
        for share, top, by in ranked[:worst]:
            print(f"  {share:6.1%} {top:+.3f}  {by}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", action="append", help="may be given more than once; both that ship when left out")
    parser.add_argument("--worst", type=int, default=0, help="so many wordings with their figures, worst first")
    args = parser.parse_args()
    made = tries([q for q in medquad_style.load() if q.split == "gate"][::EVERY])
    for name in args.judge or ("reference", "local:embedded"):
        report(name, made, args.worst)


if __name__ == "__main__":
    main()
