"""Answers of base, SFT and champion to the same questions, side by side: what the figures mean in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rlaif import wording as words
from rlaif.report.data import Data
from rlaif.report.snapshot import champion
from rlaif.report.verdict import RESULTS


@dataclass(frozen=True, slots=True)
class Answer:
    """`title` says whose it is and what became of that policy; `quality` is a judge's mark in 0-1, None without one."""

    title: str
    text: str
    quality: float | None


@dataclass(frozen=True, slots=True)
class Asked:
    question: str
    reference: str
    answers: tuple[Answer, ...]


def side_by_side(data: Data) -> list[Asked]:
    """A few of the gate's questions, drawn by a hash, each with the answers of up to three policies: base, SFT and the
    champion. Where SFT is the champion, the third is the newest challenger. Empty where no free text was answered.
    """
    shown = _titles(data)
    found: dict[str, Asked] = {}
    for row in data["answers_to_read"]:
        given = {a["policy_id"]: a for a in row["answers"]}
        answers = tuple(
            Answer(title, given[policy_id]["text"], given[policy_id]["quality"])
            for policy_id, title in shown.items()
            if policy_id in given
        )
        if len(answers) > 1:
            found[row["item_id"]] = Asked(row["question"] or "", row["reference"] or "", answers)
    return list(found.values())


def _titles(data: Data) -> dict[str, str]:
    """policy_id -> title, in the order shown."""
    names, best = words.policy_names(data["policies"]), champion(data.snapshot)
    kinds = {p["policy_id"]: p["kind"] for p in data["policies"]}
    results = {r["challenger"]: RESULTS.get(r["decision"] or "", "undecided") for r in data.snapshot.rounds}
    chosen = [next((i for i, kind in kinds.items() if kind == wanted), None) for wanted in ("base", "sft")]
    third = best["policy_id"] if best else None
    if third in chosen:
        later = [r["challenger"] for r in data.snapshot.rounds if r["round"] > 0 and r["challenger"]]
        third = later[-1] if later else None
    titles = {}
    for policy_id in (*chosen, third):
        if policy_id in names:
            name = names[policy_id]
            state = "champion" if best and policy_id == best["policy_id"] else results.get(policy_id, "")
            titles[policy_id] = f"{name[0].upper()}{name[1:]}" + (f", {state}" if state else "")
    return titles
