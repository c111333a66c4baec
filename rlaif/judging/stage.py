"""The loop's side of judging: settings from the configuration, what is said beforehand, and the stage `judge` of a
round.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from judges.jury import Jury
from judges.settings import JudgeStopped
from rlaif.cluster.judge import JudgeWanted, judge_wanted, judged
from rlaif.cluster.pool import Pool
from rlaif.judging.announce import describe
from rlaif.judging.configured import SETTLED, chat_judges, judge_item, judge_rows, members
from rlaif.judging.cut import CUT, cut_ids, store_cut
from rlaif.records import criteria_of, load_verdicts
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Candidate, Judge, JudgeItem, Question, RlaifError, Verdict

JUDGE_CHUNK = 256  # candidates judged between two writes


def judge_round(
    run: Run,
    judge: Judge,
    round: int,
    questions: Sequence[Question],
    candidates: Sequence[Candidate],
    screen: Screen,
    workers: Pool | None = None,
) -> list[Verdict]:
    """Verdicts of the labelling judge on all candidates of the round, which are as `rlaif.judging.cut.as_judged` gives
    them.

    What was answered stays, however the stage ends; what failed is asked again and replaced. Raises RlaifError when
    more than the configured share ends without a score: such a round would train on a biased rest; and when the judge
    had to stop (JudgeStopped).
    """
    identity = judge.identity
    done = run.done(round, "judge")
    judge_id = done["judge_id"] if done else identity.judge_id
    if done is None:
        by_id = {q.question_id: q for q in questions}
        with run.stage(round, "judge") as stage:
            for one in (judge, *members(judge)):
                run.store.write(judge_rows(one))
            settled = {v.candidate_id for v in load_verdicts(run, round, judge_id) if v.status in SETTLED}
            todo = [c for c in candidates if c.candidate_id not in settled]
            items = [judge_item(by_id[c.question_id], c) for c in todo]
            store_cut(run, candidates)
            for asks in chat_judges(judge):
                if items:
                    screen.line(f"  to judge               {describe(asks.forecast(items))}")
            size = chunk_size(judge)
            bar = screen.bar("judge", len(todo))
            chunks = [items[start : start + size] for start in range(0, len(items), size)]
            held = judge_wanted(run.config.judge.model, judge) if workers else None
            for verdicts in stage.timed(_judged(run, judge, chunks, cut_ids(candidates), workers, held)):
                scores = [v.score for v in verdicts if v.score is not None]
                notes = [f"mean score {sum(scores) / len(scores):.3f}" if scores else "no score"]
                notes += [workers.note()] if workers and held else []
                bar.step(len(verdicts), note="  ".join(notes))
            verdicts = load_verdicts(run, round, judge_id)
            unscored = [v for v in verdicts if v.status != "scored"]
            share = len(unscored) / max(len(verdicts), 1)
            if share > run.config.judge.failure_limit:
                example = f"e.g. {unscored[0].status}: {unscored[0].reason}"
                raise RlaifError(
                    f"round {round}: {len(unscored)} of {len(verdicts)} verdicts have no score ({share:.1%} > "
                    f"judge.failure_limit {run.config.judge.failure_limit:.1%}; {example}); mend the "
                    "judge and run the same command again"
                )
            scores = [v.score for v in verdicts if v.score is not None]
            mean = sum(scores) / max(len(scores), 1)
            stage.detail = {
                "judge_id": judge_id,
                "verdicts": len(verdicts),
                "unscored": len(unscored),
                "mean_score": mean,
            }
        bar.finish(f"{len(verdicts)} verdicts by {identity.model}, mean score {mean:.3f}")
    return load_verdicts(run, round, judge_id)


def _judged(
    run: Run,
    judge: Judge,
    chunks: Sequence[Sequence[JudgeItem]],
    cut: Container[str],
    workers: Pool | None,
    held: JudgeWanted | None,
) -> Iterator[list[Verdict]]:
    """The verdicts on each chunk, stored: by this process, or by workers where they can hold the judge."""
    if workers and held:
        for _, verdicts in judged(workers, held, chunks):
            verdicts = _marked(verdicts, cut)
            write_verdicts(run, verdicts)
            yield verdicts
    else:
        for chunk in chunks:
            yield judge_chunk(run, judge, chunk, cut)


def chunk_size(judge: Judge) -> int:
    """How many answers are judged between two writes; fewer where a network is waited for, so that a person sees it
    move, and never fewer than may be asked at once.
    """
    asked = [one.settings.at_once for one in chat_judges(judge)]
    return min(max(JUDGE_CHUNK, *asked), 8 * min(asked)) if asked else JUDGE_CHUNK


def judge_chunk(run: Run, judge: Judge, items: Sequence[JudgeItem], cut: Container[str] = ()) -> list[Verdict]:
    """Judge the items and store the verdicts, those of a jury's members too; returns the judge's own.

    Verdicts on the candidates in `cut` get the flag "cut". When the judge has to stop, what it had finished is stored.
    Raises JudgeStopped.
    """
    try:
        given = judge.score_all(items) if isinstance(judge, Jury) else {judge.identity.judge_id: judge.score(items)}
    except JudgeStopped as error:
        if error.verdicts:
            write_verdicts(run, _marked(error.verdicts, cut))
        raise
    given = {judge_id: _marked(verdicts, cut) for judge_id, verdicts in given.items()}
    write_verdicts(run, [verdict for verdicts in given.values() for verdict in verdicts])
    return given[judge.identity.judge_id]


def _marked(verdicts: Sequence[Verdict], cut: Container[str]) -> list[Verdict]:
    return [replace(v, flags=(*v.flags, CUT)) if v.candidate_id in cut else v for v in verdicts]


def write_verdicts(run: Run, verdicts: Sequence[Verdict]) -> None:
    """Keep the verdicts and what they say of each criterion, in the place of earlier ones."""
    tables = {"verdicts": verdicts, **criteria_of(verdicts)}
    run.store.write(tables, replace=list(tables))
