"""What the report says of the judges: their exams, and how far the one that labels errs where the gate's errs. Pure."""

from __future__ import annotations

import json
from typing import Any

from judges import WORD_JUDGES
from rlaif import wording as words
from rlaif.evals.healthbench import EXAM, bootstrap_std, clipped_mean
from rlaif.report.data import Data
from rlaif.report.table import Table

TOGETHER = 2.0  # times the joint errors of independent judges: from here on the report warns


def exams(data: Data) -> Table | None:
    """Each exam on record: by whom, when, of which data, and what came of it; None without any."""
    rows = [
        (
            f"{words.hide_places(r['model'] or r['judge_id'])} {r['prompt_name'] or ''}".strip(),
            str(r.get("exam", "")),
            f"{r['created_at']:%Y-%m-%d %H:%M}",
            _result(r),
            f"{words.number(r['pair_accuracy'])} (> {words.number(r['lower_bound'])})",
            f"{r['n']:,}",
            (r.get("data_sha256") or r.get("exam_sha256") or words.NONE)[:12],
            str(r.get("sittings") or 1),
        )
        for r in data["licences"]
    ]
    columns = ("judge", "exam", "held (UTC)", "result", "pair accuracy", "n", "data or items", "sittings of its family")
    note = "pair accuracy with its one-sided 95% bound; the hash is of the data, or of the items of the embedded exam"
    return Table("Exams of the judges", columns, tuple(rows), note=note) if rows else None


def _result(row: dict[str, Any]) -> str:
    if not row["passed"]:
        return "failed"
    return f"restricted (rules failed: {len(row['limits'])})" if row.get("limits") else "passed"


def healthbench(data: Data) -> Table | None:
    """HealthBench's published figure of each policy, and who graded; None where nothing was graded."""
    names = words.policy_names(data["policies"])
    agreed = {
        r["judge_id"]: json.loads(r["bounds"])["agreement"]["balanced_accuracy"]
        for r in data["licences"]
        if r.get("exam") == EXAM
    }
    rows = [
        (
            f"{r['benchmark']} {r['split']}",
            names.get(r["policy_id"], r["policy_id"][:8]),
            words.number(clipped_mean(r["values"])),
            words.number(bootstrap_std(r["values"])),
            f"{len(r['values']):,}",
            f"{r['unscored']:,}",
            f"{words.hide_places(r['model'] or '')}, {r['prompt_name'] or words.NONE} ({r['judge_id']})",
            words.number(agreed.get(r["judge_id"])),
        )
        for r in data["healthbench"]
    ]
    columns = ("items", "policy", "score", "bootstrap std", "n", "unscored", "graded by", "agrees with physicians")
    note = (
        "the mean over the answers, clipped to 0 and 1, and its bootstrap standard deviation, as published. The gate "
        "compares the means before clipping. Agreement: balanced accuracy in the exam healthbench_meta"
    )
    return Table("HealthBench", columns, tuple(rows), note=note) if rows else None


def together(data: Data) -> Table | None:
    """Joint errors of the labelling and the gate's judge on exam pairs of this run that both were asked; None where
    there are none.
    """
    rows = []
    for r in data["together"]:
        phi = words.number(r["phi"]) if r["phi"] is not None else words.NONE
        shares = (f"{r[side] / r['n']:.1%}" for side in ("labels_wrong", "gate_wrong", "both_wrong"))
        expected = r["labels_wrong"] * r["gate_wrong"] / r["n"] ** 2
        rows.append((r["exam"], f"{r['n']:,}", *shares, f"{expected:.1%}", phi))
    columns = ("exam", "pairs", "labelling judge errs", "gate's judge errs", "both", "if independent", "correlation")
    note = "an error is a pair that is not ordered as it should be"
    marks = data["marks_together"]
    n, corr = (marks[0]["n"], marks[0]["r"]) if marks else (0, None)
    if n > 2 and corr is not None:
        note += f"; on {n:,} answers of this run that both marked, their marks correlate {corr:.2f}"
    return Table("Errors that the two judges share", columns, tuple(rows), note=note) if rows else None


def warnings(data: Data) -> list[str]:
    """What a reader has to know of the judges before believing the rest."""
    found = []
    refused = {words.hide_places(row["model"] or row["judge_id"]) for row in data["licences"] if not row["passed"]}
    if refused:
        found.append(f"Failed an exam for judges: {words.join(sorted(refused))}.")
    for decision in data.snapshot.decisions:
        if decision["kind"] == "licence" and decision["action"] in ("RESTRICTED", "OTHER_DATA"):
            reason = words.hide_places(decision["reason"])
            # It begins with the judge's name, which has the letters that it has; not so in a run of an older version.
            of_judge = not reason.startswith("fewer than ")
            found.append(f"The judge {reason}." if of_judge else f"{reason[0].upper()}{reason[1:]}.")
    labels, gate = (str(data.config.get(key) or "") for key in ("judge.model", "evaluation.judge"))
    if shared := _kinds(labels) & _kinds(gate):
        kind, labeller, marker = (words.hide_places(name) for name in (words.join(sorted(shared)), labels, gate))
        found.append(
            f"The judge that labels ({labeller}) and the gate's ({marker}) are of one kind ({kind}): what fools one "
            "may fool the other."
        )
    for r in data["together"]:
        expected = r["labels_wrong"] * r["gate_wrong"] / r["n"]
        if expected and r["both_wrong"] / expected >= TOGETHER:
            found.append(
                f"The two judges err on the same {r['both_wrong'] / r['n']:.1%} of the {r['exam']} exam's pairs, "
                f"{r['both_wrong'] / expected:.1f} times what independent ones would (correlation {r['phi']:.2f})."
            )
    return found


def _kinds(models: str) -> set[str]:
    """What the members of a judge go by: comparing words, or the model."""
    return {"comparing words" if m in WORD_JUDGES else m for m in models.split(",") if m}
