"""Which questions a round samples: unused ones first, then those the policy knows least."""

from __future__ import annotations

import random

from rlaif.records import load_questions
from rlaif.run import Run
from rlaif.types import Question

POOL = "split = 'train' AND label = '' AND reference <> ''"  # the questions to draw from


def draw(run: Run, round: int) -> list[Question]:
    """The round's questions, in the order of their ids: `sampling.questions` of the free-text training questions.

    Drawn from what earlier rounds left, shuffled by (seed, round); when that does not suffice, the used ones of lowest
    mean score join.
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
    used = [q for q in pool if q.question_id in mean_scores]
    used.sort(key=lambda q: (mean_scores[q.question_id] or 0.0, q.question_id))
    return sorted((fresh + used)[: run.config.sampling.questions], key=lambda q: q.question_id)
