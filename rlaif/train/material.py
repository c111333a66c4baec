"""What a preference round learns from: pairs for DPO, and answers for best-of-k fine-tuning. Reads the run, writes
nothing, and needs no torch. All of it is about training questions: gate and sealed ones are in no query here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.config import Config
from rlaif.exam.rules import POOLED, TYPES
from rlaif.run import Run
from rlaif.types import RlaifError, content_id

REFERENCE = "reference"  # kind of a pair whose chosen answer is the question's reference; also its `reason`
REFERENCE_ID = "reference:"  # before the question's id: its reference, as an answer


@dataclass(frozen=True, slots=True)
class Taught:
    """An answer to learn: the policy's own, whose id `item_id` is, or a reference (`REFERENCE_ID` and its question)."""

    item_id: str
    question_id: str
    text: str
    thoughts: str = ""


def best_answers(run: Run, champion: str, round: int, config: Config) -> list[Taught]:
    """What `best_of` trains on: the champion's best answer to each question that it has sampled so far, or the
    reference in its place; in the order of the questions' ids.

    The settings are those of `BestOfConfig`. Answers of the same score: the one that was sampled first. Answers that
    were cut off at the token limit are left out, because training would teach to end there.
    """
    settings, rows = config.best_of, _scored(run, champion, round)
    from_reference = set(drawn(sorted({r["question_id"] for r in rows if r["reference"]}), settings.references, config))
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = best.get(row["question_id"])
        usable = row["ended"] and row["score"] > 0 and row["score"] >= settings.min_score
        if usable and (known is None or row["score"] > known["score"]):
            best[row["question_id"]] = row
    ranked = sorted(best.values(), key=lambda r: (-r["score"], r["question_id"]))
    own = [r for r in ranked[: math.ceil(settings.top * len(ranked))] if r["question_id"] not in from_reference]
    taught = [Taught(r["candidate_id"], r["question_id"], r["text"], r["thoughts"]) for r in own]
    references = {r["question_id"]: r["reference"] for r in rows}
    taught += [Taught(REFERENCE_ID + q, q, references[q]) for q in from_reference]
    return sorted(taught, key=lambda t: t.question_id)


def reference_pairs(
    run: Run, champion: str, round: int, config: Config
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `preferences` of kind "reference", and of `imported_answers` for their chosen answers.

    Each is a question's reference over the champion's worst answer of this round, for the share `dpo.reference_chosen`
    of the round's questions (as in SPIN, Chen et al. 2024, arXiv 2401.01335).

    Nobody judged the reference, so chosen_score and margin are NULL. An answer that was cut off at the token limit is
    rejected in no pair.
    """
    rows = [r for r in _scored(run, champion, round) if r["round"] == round]
    judge_id = _judge(run, round)
    worst: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = worst.get(row["question_id"])
        usable = row["ended"] and row["reference"] and row["text"].strip() != row["reference"].strip()
        if usable and (known is None or row["score"] < known["score"]):
            worst[row["question_id"]] = row
    asked = drawn(sorted({r["question_id"] for r in rows}), config.dpo.reference_chosen, config)
    questions = [q for q in sorted(asked) if q in worst]
    pairs = [
        {
            "pair_id": content_id(REFERENCE, round, q, worst[q]["candidate_id"]),
            "round": round,
            "question_id": q,
            "judge_id": judge_id,
            "status": "kept",
            "reason": REFERENCE,
            "chosen_id": REFERENCE_ID + q,
            "rejected_id": worst[q]["candidate_id"],
            "rejected_score": worst[q]["score"],
            "kind": REFERENCE,
        }
        for q in questions
    ]
    texts = [{"candidate_id": REFERENCE_ID + q, "question_id": q, "text": worst[q]["reference"]} for q in questions]
    return pairs, texts


def dpo_pairs(run: Run, champion: str, round: int, config: Config) -> list[dict[str, Any]]:
    """pair_id, question_id, chosen and rejected of the kept pairs that a round trains on, in the order of their ids.

    They are those of the champion's own answers, of earlier rounds too where it was champion then: after a round that
    changed nothing each try has more to learn from than the last. With `dpo.earlier` "all" the pairs of other policies'
    answers join, but none twice. Imported pairs are trained on too, unless the champion or an ancestor of it was
    already.
    """
    everyone = config.dpo.earlier == "all"
    rows = run.store.query(
        "WITH RECURSIVE line(policy_id) AS (SELECT ? UNION SELECT parent_id FROM policies JOIN line USING (policy_id)) "
        "SELECT p.pair_id, p.question_id, ch.text AS chosen, re.text AS rejected, "
        "coalesce(c.thoughts, '') AS chosen_thoughts, coalesce(r.thoughts, '') AS rejected_thoughts FROM preferences p "
        "JOIN answers ch ON ch.candidate_id = p.chosen_id JOIN answers re ON re.candidate_id = p.rejected_id "
        "LEFT JOIN candidates c ON c.candidate_id = p.chosen_id "
        "LEFT JOIN candidates r ON r.candidate_id = p.rejected_id "
        "LEFT JOIN stages s ON s.round = p.round AND s.stage = 'pairs' "
        # by the rejected answer, because a reference that is chosen is of no policy;
        # the margin again, because the controller may have raised it since the pair was made; where the round's own
        # quantile was enough, it still is
        "WHERE p.status = 'kept' AND (((re.policy_id = ? OR (? AND re.policy_id IS NOT NULL)) AND p.round <= ? "
        "AND coalesce(p.margin, 1) >= least(?, coalesce((s.detail ->> 'quantile_margin')::DOUBLE, 1)) - 1e-9) "
        "OR (p.kind = 'imported' AND p.pair_id NOT IN (SELECT item_id FROM policy_items JOIN line USING "
        "(policy_id)))) ORDER BY p.pair_id",
        [champion, champion, everyone, round, config.pairs.min_margin],
    )
    if not everyone:
        return rows
    # Two policies may have said the same.
    said = {(row["question_id"], row["chosen"], row["rejected"]): row for row in reversed(rows)}
    return [row for row in rows if said[row["question_id"], row["chosen"], row["rejected"]] is row]


def split_heldout(pairs: Sequence[dict[str, Any]], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """The pairs to train on, and those of the share `share` of the questions, at least one, to hold out (none at 0)."""
    questions = sorted({p["question_id"] for p in pairs}, key=lambda q: content_id("heldout", seed, q))
    kept_aside = set(questions[: max(1, round(share * len(questions)))]) if share and len(questions) > 1 else set()
    return (
        [p for p in pairs if p["question_id"] not in kept_aside],
        [p for p in pairs if p["question_id"] in kept_aside],
    )


def label_smoothing(run: Run, round: int, config: Config) -> float:
    """`dpo.label_smoothing` as a number. "judge": of the exam's pairs that the round's labelling judge told apart, the
    share that it ordered the wrong way round, over all exams it has sat. (A tie orders nothing and gives no label.)

    RlaifError when the judge has sat no exam in this run, or orders half of the pairs wrongly or more.
    """
    setting = config.dpo.label_smoothing
    if setting != "judge":
        return float(setting)
    judge_id = _judge(run, round)
    found = run.store.query(
        "SELECT count(*) AS n, count_if(outcome = 'reversed') AS wrong FROM exam_items WHERE judge_id = ? "
        "AND exam IN (SELECT unnest(?)) AND item_type IN (SELECT unnest(?)) AND outcome IN ('ordered', 'reversed')",
        [judge_id, list(TYPES), list(POOLED)],
    )[0]
    if not found["n"]:
        raise RlaifError(
            f'dpo.label_smoothing = "judge": the judge {judge_id} has sat no exam in {run.folder}; examine it with '
            "`judge exam`, or give a number"
        )
    rate = float(found["wrong"] / found["n"])
    if rate >= 0.5:
        raise RlaifError(
            f'dpo.label_smoothing = "judge": the judge {judge_id} ordered {found["wrong"]} of {found["n"]} exam pairs '
            "wrongly, and labels of which half are wrong teach nothing; take another judge"
        )
    return rate


def drawn(question_ids: Sequence[str], share: float, config: Config) -> list[str]:
    """This share of the questions, drawn by the run's seed: the same ones each time."""
    ranked = sorted(question_ids, key=lambda q: content_id(REFERENCE, config.seed, q))
    return ranked[: round(share * len(ranked))]


def _judge(run: Run, round: int) -> str:
    """The judge that labels the round. Only called after the stage `judge`."""
    return str((run.done(round, "judge") or {})["judge_id"])


def _scored(run: Run, champion: str, round: int) -> list[dict[str, Any]]:
    """The champion's answers to training questions up to this round, with the mean score by the round's judge; by
    question and sample. Answers without a score are left out.
    """
    return run.store.query(
        # `answers` has the texts as they were judged: where that is less than was sampled, it does end
        "SELECT c.candidate_id, c.question_id, c.round, a.text, coalesce(c.thoughts, '') AS thoughts, q.reference, "
        "avg(v.score) AS score, "
        "c.finish_reason = 'stop' OR a.text <> c.text AS ended "
        "FROM candidates c JOIN answers a USING (candidate_id) JOIN questions q ON q.question_id = c.question_id "
        "JOIN verdicts v ON v.candidate_id = c.candidate_id "
        "WHERE q.split = 'train' AND c.policy_id = ? AND c.round <= ? AND v.judge_id = ? AND v.status = 'scored' "
        "GROUP BY ALL ORDER BY c.question_id, c.round, min(c.sample_index)",
        [champion, round, _judge(run, round)],
    )
