"""Which questions a round samples: those that nothing was trained on first, then those the policy knows least."""

from __future__ import annotations

import random

from rlaif.records import load_questions
from rlaif.run import Run
from rlaif.types import Question

# The questions to draw from: those that an answer can be held against something.
POOL = "split = 'train' AND label = '' AND (reference <> '' OR question_id IN (SELECT r.question_id FROM rubrics r))"
NOTHING_TO_SAMPLE = (
    "the loop ends after round 0: a preference round samples answers to training questions, and those of this run have "
    "labels instead of answers; give questions with written answers too (--data FILE) for more rounds"
)


def draw(run: Run, round: int) -> list[Question]:
    """The round's questions, in the order of their ids: `sampling.questions` of the free-text training questions.

    Drawn from what earlier rounds left, shuffled by (seed, round): first the questions that SFT was not trained on,
    because only there are the policy's answers like those to new questions; then its training questions; when that
    does not suffice, the used ones of lowest mean score join.
    """
    pool = load_questions(run, POOL, [])
    sampled = run.store.query(
        "SELECT c.question_id, avg(v.score) AS mean_score FROM candidates c LEFT JOIN verdicts v USING (candidate_id) "
        "WHERE c.round < ? GROUP BY c.question_id",
        [round],
    )
    mean_scores = {row["question_id"]: row["mean_score"] for row in sampled}
    fresh = [q for q in pool if q.question_id not in mean_scores]
    random.Random(f"draw/{run.config.seed}/{round}").shuffle(fresh)
    taught = {row["item_id"] for row in run.store.query("SELECT item_id FROM policy_items WHERE role = 'sft'")}
    unseen_first = sorted(fresh, key=lambda q: q.question_id in taught)
    used = [q for q in pool if q.question_id in mean_scores]
    used.sort(key=lambda q: (mean_scores[q.question_id] or 0.0, q.question_id))
    begun = run.store.query("SELECT DISTINCT question_id FROM candidates WHERE round = ?", [round])
    size = run.config.sampling.questions
    drawn = (unseen_first + used)[:size]
    if {row["question_id"] for row in begun} - {q.question_id for q in drawn}:
        # A version that drew without regard to SFT has begun this round: it goes on with that version's questions.
        drawn = (fresh + used)[:size]
    return sorted(drawn, key=lambda q: q.question_id)
