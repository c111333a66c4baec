"""Narrow pairs shown to a pairwise judge, in both orders, before they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from judges.pairwise import ORDERS, PairwiseJudge, PairwiseStopped, PairwiseVerdict, outcome
from rlaif.judging.configured import SETTLED, judge_rows
from rlaif.run import Run
from rlaif.types import JudgeItem, Preference, RlaifError


def confirm(
    run: Run, judge: PairwiseJudge, pairs: Sequence[Preference], items: Mapping[str, JudgeItem]
) -> dict[str, str]:
    """pair_id -> why the pair falls, for `rlaif.loop.pairs.prefer`; a pair whose chosen answer wins in both orders is
    not in it.

    `items`: candidate_id -> what a judge sees of it. Every answer is stored in `pairwise_verdicts`, and none is asked
    for twice. Raises PairwiseStopped, and RlaifError when more than judge.failure_limit of the questions got no answer:
    what was answered is stored, and the same command goes on.
    """
    run.store.write(judge_rows(judge))  # type: ignore[arg-type]  # it reads identity and prompt only
    judge_id = judge.identity.judge_id
    known = _known(run, judge_id)
    todo = [p for p in pairs if _both(known, p) is None]
    try:
        new = judge.compare([(items[str(p.chosen_id)], items[str(p.rejected_id)]) for p in todo])
    except PairwiseStopped as error:
        _store(run, error.verdicts)
        raise
    _store(run, new)
    failed = [v for v in new if v.status not in SETTLED]
    if len(failed) > run.config.judge.failure_limit * len(pairs) * len(ORDERS):
        raise RlaifError(
            f"{len(failed)} of {len(new)} pairwise questions got no answer (e.g. {failed[0].reason}); "
            "run the same command again"
        )
    known |= {(v.candidate_a, v.candidate_b, v.order): v for v in new}
    return {p.pair_id: why for p in pairs if (why := _fault(known, p))}


_Known = dict[tuple[str, str, str], PairwiseVerdict]


def _known(run: Run, judge_id: str) -> _Known:
    rows: list[dict[str, Any]] = run.store.query("SELECT * FROM pairwise_verdicts WHERE judge_id = ?", [judge_id])
    verdicts = [PairwiseVerdict(**row) for row in rows if row["status"] in SETTLED]
    return {(v.candidate_a, v.candidate_b, v.order): v for v in verdicts}


def _both(known: _Known, pair: Preference) -> tuple[PairwiseVerdict, PairwiseVerdict] | None:
    found = [known.get((str(pair.chosen_id), str(pair.rejected_id), order)) for order in ORDERS]
    one, two = found
    return (one, two) if one and two else None


def _fault(known: _Known, pair: Preference) -> str:
    both = _both(known, pair)
    if both is None:
        return "no answer in one of the two orders"
    said = outcome(*both)
    if said == "a":
        return ""
    if said is None:
        unanswered = next(v for v in both if v.winner is None)
        return f"no winner, {unanswered.status}: {unanswered.reason}"
    if said == "b":
        return f"the rejected answer wins in both orders, margin {pair.margin:.2f}"
    turned = {v.winner for v in both} == {"a", "b"}
    return ("the winner turns with the order" if turned else "a tie") + f", margin {pair.margin:.2f}"


def _store(run: Run, verdicts: Sequence[PairwiseVerdict]) -> None:
    if verdicts:
        run.store.write({"pairwise_verdicts": verdicts}, replace=["pairwise_verdicts"])
