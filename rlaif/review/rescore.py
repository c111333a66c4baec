"""`judge rescore`: candidates that are there already, scored by another judge, and the pairs that would result.

The verdicts are stored under the new judge_id, beside the old ones. `preferences` stays as it is: this shows, it does
not label.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from typing import Any

from judges import kind_of, make_judge
from judges.jury import Jury
from rlaif.config import Config, flat
from rlaif.config_file import apply_override, validate
from rlaif.judging.announce import announce, time_here
from rlaif.judging.configured import SETTLED, judge_item, judge_rows, judge_settings, members
from rlaif.judging.cut import as_judged, cut_ids, store_cut
from rlaif.judging.noise import known_noise
from rlaif.judging.server import moved_servers
from rlaif.judging.stage import chunk_size, judge_chunk
from rlaif.loop.pairs import prefer
from rlaif.records import load_questions, load_verdicts
from rlaif.run import Run, unflat
from rlaif.screen import Screen
from rlaif.types import Candidate, Judge, JudgeItem, Preference, Question, RlaifError, UsageError, Verdict
from stores.cache import AnswerCache


def configured(run: Run, overrides: Sequence[str]) -> Config:
    """The run's configuration with `key=value` overrides of the judge or the pair rules. UsageError for any other key,
    and for a `pairs.truncated` by which another text than the run's would be judged.

    A prompt or an address that the run's own judge reads is left out where the new judge reads none.
    """
    tree = unflat(flat(run.config))
    keys = [text.partition("=")[0].strip() for text in overrides]
    for text, key in zip(overrides, keys, strict=True):
        if not key.startswith(("judge.", "pairs.")):
            allowed = "judge rescore scores what is there, so only judge.* and pairs.* can be set"
            raise UsageError(f"--set {text}: {allowed}")
        apply_override(tree, text)
    judge, unread = tree["judge"], {"prompt": "", "base_url": "", "urls": []}
    kind = kind_of(judge["model"], judge["base_url"] or judge["urls"])
    if kind == "local":
        unread = {"urls": []}
    if kind in ("words", "plugin", "local"):
        judge |= {key: value for key, value in unread.items() if f"judge.{key}" not in keys}
    config = validate(tree, where="--set")
    mine, theirs = run.config.pairs.truncated, config.pairs.truncated
    if (mine == "cut") != (theirs == "cut"):
        raise UsageError(
            f"--set pairs.truncated={theirs}: this run has {mine!r}, and verdicts on cut and on whole answers do not "
            "mix; leave it out"
        )
    return config


def make(run: Run, config: Config) -> Judge:
    return make_judge(config.judge.model, judge_settings(config), AnswerCache(run.store))


def rescore(
    run: Run,
    config: Config,
    screen: Screen,
    *,
    round: int | None = None,
    limit: int = 0,
    dry_run: bool = False,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Score the candidates of `round` (None: of all rounds) and pair them anew; returns JSON-ready figures.

    At most those of `limit` questions (0: all) are scored. What this judge has answered before is not asked again. It
    is announced first what this will take; `dry_run` stops there. Raises UsageError where there are no candidates,
    RlaifError when more than judge.failure_limit ends without a score (what was answered is stored), and JudgeStopped.
    """
    judge = judge or make(run, config)
    judge_id = judge.identity.judge_id
    candidates, questions = _candidates(run, round, limit)
    candidates = as_judged(candidates, run.config.pairs)
    rounds = sorted({c.round for c in candidates})
    settled = {v.candidate_id for r in rounds for v in load_verdicts(run, r, judge_id) if v.status in SETTLED}
    items = [judge_item(questions[c.question_id], c) for c in candidates if c.candidate_id not in settled]
    identity = judge.identity
    screen.line(f"judge {judge_id}: {identity.model}, prompt {identity.prompt_name}")
    for line in moved_servers(run, judge):
        screen.line(f"warning: {line}; the verdicts of both stand under judge {judge_id}", style="yellow")
    n_questions = len({c.question_id for c in candidates})
    screen.line(f"{len(candidates)} candidates of {n_questions} questions, {len(items)} to be judged")
    if items:
        announce(screen, judge, lambda chat_judge: chat_judge.forecast(items))
        for line in time_here(run, judge, len(items)):
            screen.line(f"  {line}")
    if dry_run:
        return {
            "judge_id": judge_id,
            "model": identity.model,
            "prompt_name": identity.prompt_name,
            "to_judge": len(items),
        }
    store_cut(run, candidates)
    _judge(run, judge, items, screen, cut_ids(candidates))
    candidate_ids = {c.candidate_id for c in candidates}
    verdicts = {r: [v for v in load_verdicts(run, r, judge_id) if v.candidate_id in candidate_ids] for r in rounds}
    unscored = [v for of_round in verdicts.values() for v in of_round if v.status != "scored"]
    if len(unscored) > config.judge.failure_limit * len(candidates):
        raise RlaifError(
            f"{len(unscored)} of {len(candidates)} verdicts have no score (judge.failure_limit "
            f"{config.judge.failure_limit:.1%}; e.g. "
            f"{unscored[0].status}: {unscored[0].reason}); mend the judge and run the same command again"
        )
    pairs: list[Preference] = []
    for r in rounds:
        pairs += _pairs(run, judge, config, r, [c for c in candidates if c.round == r], verdicts[r])
    dropped = Counter(p.reason.split(":")[0] for p in pairs if p.status == "dropped")
    return {
        "judge_id": judge_id,
        "model": identity.model,
        "prompt_name": identity.prompt_name,
        "candidates": len(candidates),
        "judged_now": len(items),
        "unscored": len(unscored),
        "mean_score": _mean([v.score for of_round in verdicts.values() for v in of_round if v.score is not None]),
        "questions": len({p.question_id for p in pairs}),
        "kept": sum(p.status == "kept" for p in pairs),
        "dropped": dict(dropped.most_common()),
        "recorded": _against_recorded(run, rounds, pairs, verdicts),
    }


def _judge(run: Run, judge: Judge, items: Sequence[JudgeItem], screen: Screen, cut: Container[str]) -> None:
    for known_judge in (judge, *members(judge)):
        run.store.write(judge_rows(known_judge))
    size = chunk_size(judge)
    bar = screen.bar("judge", len(items))
    for start in range(0, len(items), size):
        bar.step(len(judge_chunk(run, judge, items[start : start + size], cut)))
    bar.finish(f"{len(items)} answers judged")


def _pairs(
    run: Run, judge: Judge, config: Config, round: int, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]
) -> list[Preference]:
    # Without pairwise confirmation, which would ask more than was announced.
    settings = config.pairs.model_copy(update={"confirm_below": 0.0})
    members = None
    if isinstance(judge, Jury):
        members = {m.identity.judge_id: load_verdicts(run, round, m.identity.judge_id) for m in judge.members}
    judge_id = judge.identity.judge_id
    sem = known_noise(run, judge).sem
    return prefer(candidates, verdicts, judge_id=judge_id, round=round, sem=sem, settings=settings, members=members)


def _against_recorded(
    run: Run, rounds: Sequence[int], pairs: Sequence[Preference], verdicts: dict[int, list[Verdict]]
) -> dict[str, int]:
    """What the new judge makes of the pairs that the run has kept, as far as it scored both answers."""
    scores: dict[str, list[float]] = defaultdict(list)
    for verdict in (v for of_round in verdicts.values() for v in of_round):
        if verdict.score is not None:
            scores[verdict.candidate_id].append(verdict.score)
    means = {candidate_id: sum(values) / len(values) for candidate_id, values in scores.items()}
    recorded = run.store.query(
        "SELECT chosen_id, rejected_id FROM preferences WHERE status = 'kept' AND list_contains(?, round)",
        [list(rounds)],
    )
    recorded_ids = [(row["chosen_id"], row["rejected_id"]) for row in recorded]
    scored = [(chosen, rejected) for chosen, rejected in recorded_ids if chosen in means and rejected in means]
    new_kept = {(p.chosen_id, p.rejected_id) for p in pairs if p.status == "kept"}
    return {
        "pairs": len(scored),
        "flipped": sum(means[chosen] < means[rejected] for chosen, rejected in scored),
        "tied": sum(means[chosen] == means[rejected] for chosen, rejected in scored),
        "kept_again": sum(pair in new_kept for pair in scored),
    }


def _candidates(run: Run, round: int | None, limit: int) -> tuple[list[Candidate], dict[str, Question]]:
    rows = run.store.query(
        "SELECT * FROM candidates WHERE round = coalesce(?, round) ORDER BY round, question_id, "
        "sample_index, candidate_id",
        [round],
    )
    if not rows:
        rounds = [r["round"] for r in run.store.query("SELECT DISTINCT round FROM candidates ORDER BY round")]
        of_round = "" if round is None else f" of round {round}"
        raise UsageError(f"{run.folder} has no candidates{of_round}; rounds with some: {rounds or 'none'}")
    places = list(dict.fromkeys((row["round"], row["question_id"]) for row in rows))
    taken = set(places[: limit or None])
    candidates = [
        Candidate(**row | {"sampling": json.loads(row["sampling"])})
        for row in rows
        if (row["round"], row["question_id"]) in taken
    ]
    asked = list({c.question_id for c in candidates})
    questions = load_questions(run, "list_contains(?, question_id)", [asked])
    return candidates, {q.question_id: q for q in questions}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def show(result: dict[str, Any], screen: Screen) -> None:
    """The figures of :func:`rescore` for a person."""
    recorded = result["recorded"]
    mean = result["mean_score"]
    rows = [
        ["judge", f"{result['judge_id']} ({result['model']}, prompt {result['prompt_name']})"],
        [
            "candidates",
            f"{result['candidates']}, judged now {result['judged_now']}, without a score {result['unscored']}",
        ],
        ["mean score", "none" if mean is None else f"{mean:.4f}"],
        ["pairs that would be kept", f"{result['kept']} from {result['questions']} questions"],
        *([f"  dropped: {reason}", str(n)] for reason, n in result["dropped"].items()),
        ["recorded pairs that it scored too", str(recorded["pairs"])],
        ["  turned round by it", str(recorded["flipped"])],
        ["  ties for it", str(recorded["tied"])],
        ["  it would keep as they are", str(recorded["kept_again"])],
    ]
    screen.table("", ["what", "value"], rows)
    screen.line("preferences are as they were: nothing was labelled anew")
