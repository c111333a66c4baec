"""How far a judge's score of one answer varies when it is asked again: the noise that a pair's margin has to exceed."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlaif.judging.announce import describe
from rlaif.judging.configured import SETTLED, chat_judges, judge_item
from rlaif.judging.cut import cut_ids
from rlaif.judging.stage import chunk_size, judge_chunk
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Candidate, Judge, Question, RlaifError

DETERMINISTIC = "deterministic: no chat model is asked, and the same answer gets the same score"
UNMEASURED = "not measured: nothing was judged twice (pairs.noise_sample)"


@dataclass(frozen=True, slots=True)
class Noise:
    """`sem`: standard error of one score under re-judging, 0-1; `origin`: where it comes from, in words; `judged`: how
    many answers were judged again for it now.
    """

    sem: float
    origin: str
    judged: int = 0


def pooled(scores: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation of one score about its answer's mean, pooled over answers that were scored twice or more:
    the root of the sum of squares within answers by its degrees of freedom (one less than the scores, per answer).
    None where no answer was.
    """
    repeated = [s for s in scores if len(s) > 1]
    if not repeated:
        return None
    squares = math.fsum((x - math.fsum(s) / len(s)) ** 2 for s in repeated for x in s)
    return math.sqrt(squares / sum(len(s) - 1 for s in repeated))


def known_noise(run: Run, judge: Judge) -> Noise:
    """The judge's noise by what the run holds of it: 0.0 for one that is deterministic, and where nothing was judged
    twice. Asks nobody.

    A chat model is never taken to be deterministic: at temperature 0 servers still differ from call to call.
    """
    if not chat_judges(judge):
        return Noise(0.0, DETERMINISTIC)
    rows = run.store.query(
        "SELECT candidate_id, score FROM verdicts WHERE judge_id = ? AND status = 'scored' "
        "ORDER BY candidate_id, replicate",
        [judge.identity.judge_id],
    )
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        scores[row["candidate_id"]].append(row["score"])
    sem = pooled(list(scores.values()))
    if sem is None:
        return Noise(0.0, UNMEASURED)
    return Noise(sem, f"measured, answers judged twice: {sum(len(s) > 1 for s in scores.values())}")


def measure_noise(
    run: Run, judge: Judge, round: int, questions: Sequence[Question], candidates: Sequence[Candidate], screen: Screen
) -> Noise:
    """The judge's noise, and with pairs.noise_sample so many scored answers of the round judged once more for it.

    Only the first round of a run that gets here asks: whichever answers have a second verdict by then count for the
    later ones. The second verdicts are replicate 1, which is part of what a judge's cache knows an answer by, and they
    are within the run's budget. What was answered is stored, however this ends. Raises JudgeStopped, and RlaifError
    where no answer got a second score.
    """
    wanted = run.config.pairs.noise_sample
    if not chat_judges(judge) or not wanted:
        return known_noise(run, judge)
    judge_id = judge.identity.judge_id
    rows = run.store.query(
        "SELECT v.candidate_id, v.replicate, v.status, c.round FROM verdicts v JOIN candidates c USING (candidate_id) "
        "WHERE v.judge_id = ?",
        [judge_id],
    )
    again = {(r["round"], r["candidate_id"]) for r in rows if r["replicate"] > 0 and r["status"] in SETTLED}
    if any(r != round for r, _ in again):
        return known_noise(run, judge)
    scored = {r["candidate_id"] for r in rows if r["replicate"] == 0 and r["status"] == "scored"}
    able = sorted((c for c in candidates if c.candidate_id in scored), key=lambda c: c.candidate_id)
    sample = random.Random(f"noise/{run.config.seed}/{round}").sample(able, min(wanted, len(able)))
    by_id = {q.question_id: q for q in questions}
    items = [
        replace(judge_item(by_id[c.question_id], c), replicate=1)
        for c in sample
        if (round, c.candidate_id) not in again
    ]
    for asks in chat_judges(judge):
        if items:
            screen.line(f"  to judge again         {describe(asks.forecast(items))}")
    size = chunk_size(judge)
    for start in range(0, len(items), size):
        judge_chunk(run, judge, items[start : start + size], cut_ids(sample))
    noise = known_noise(run, judge)
    if sample and noise.origin == UNMEASURED:
        raise RlaifError(
            f"round {round}: none of {len(sample)} answers got a second score, so the judge's noise is not known; mend "
            "the judge and run the same command again, or set pairs.noise_sample to 0"
        )
    if items:
        screen.line(f"  noise of the judge     standard error {noise.sem:.3f}, {noise.origin}")
    return replace(noise, judged=len(items))
