"""`judge compare A B`: two judges, or one judge with two prompts, on the same candidates of one run."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from rlaif.review.agreement import flips, length_slope, quadratic_kappa, spearman
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import RlaifError, UsageError

SHOWN = 5  # answers that are shown side by side
Row = dict[str, Any]


def find_judge(run: Run, name: str) -> Row:
    """The judge with scores in this run that `name` means.

    A name is a judge_id or its beginning, a model, a prompt, or "model/prompt". UsageError when there is none, or more
    than one.
    """
    judges = run.store.query(
        "SELECT v.judge_id, coalesce(j.model, '') AS model, coalesce(j.prompt_name, '') AS prompt_name FROM "
        "(SELECT DISTINCT judge_id FROM verdicts WHERE status = 'scored') v LEFT JOIN judges j USING "
        "(judge_id) ORDER BY v.judge_id"
    )
    if not judges:
        raise UsageError(f"{run.folder}: no judge has scored anything here yet; the commands loop and judge rescore do")
    by_id = [j for j in judges if j["judge_id"] == name]
    by_id = by_id or [j for j in judges if name and j["judge_id"].startswith(name)]
    meant = by_id or [j for j in judges if name in (j["model"], j["prompt_name"], f"{j['model']}/{j['prompt_name']}")]
    if len(meant) == 1:
        return meant[0]
    if not meant and name.startswith("person:"):
        raise UsageError(
            f"{name!r} has no scores: a person says which of two answers is better; see the view judge_agreement"
        )
    listed = "; ".join(f"{j['judge_id']} ({j['model']}, prompt {j['prompt_name']})" for j in meant or judges)
    problem = "means several judges" if meant else "is no judge with scores in this run"
    raise UsageError(f"{name!r} {problem}; name one of: {listed}")


def compare(run: Run, a: str, b: str) -> dict[str, Any]:
    """Everything about judges `a` and `b` (see :func:`find_judge`) on the candidates that both scored, JSON-ready.

    Scores are means over the scored replicates. Raises UsageError for a judge that is not there or compared with
    itself, RlaifError where they share no candidate.
    """
    judge_a, judge_b = find_judge(run, a), find_judge(run, b)
    id_a, id_b = judge_a["judge_id"], judge_b["judge_id"]
    if id_a == id_b:
        raise UsageError(f"{a!r} and {b!r} are the same judge, {id_a}; name two")
    rows = _rows(run, id_a, id_b)
    if not rows:
        raise RlaifError(f"{id_a} and {id_b} have scored no candidate in common; judge rescore lets one catch up")
    ids, tokens = [r["candidate_id"] for r in rows], [r["n_tokens"] for r in rows]
    scores_a, scores_b = [r["score_a"] for r in rows], [r["score_b"] for r in rows]
    question_keys = [(r["round"], r["question_id"]) for r in rows]
    questions: dict[Any, list[str]] = defaultdict(list)
    for key, candidate_id in zip(question_keys, ids, strict=True):
        questions[key].append(candidate_id)
    flipped = flips(dict(zip(ids, scores_a, strict=True)), dict(zip(ids, scores_b, strict=True)), questions)
    mean_a, mean_b = sum(scores_a) / len(rows), sum(scores_b) / len(rows)
    slope_a, slope_b = length_slope(scores_a, tokens, question_keys), length_slope(scores_b, tokens, question_keys)
    return {
        "a": judge_a,
        "b": judge_b,
        "candidates": len(rows),
        "questions": len(questions),
        "mean_a": mean_a,
        "mean_b": mean_b,
        "mean_shift": mean_b - mean_a,
        "quadratic_kappa": quadratic_kappa(scores_a, scores_b),
        "spearman": spearman(scores_a, scores_b),
        "length_slope_a": slope_a,
        "length_slope_b": slope_b,
        "length_slope_difference": None if slope_a is None or slope_b is None else slope_b - slope_a,
        "preferences": flipped.pairs,
        "flipped": flipped.flipped,
        "tied": flipped.tied,
        "flip_share": flipped.share,
        "most_different": _most_different(run, id_a, id_b),
    }


# What both judges have scored; a, b, b, a are its parameters.
BOTH = (
    "WITH s AS (SELECT judge_id, candidate_id, avg(score) AS score FROM verdicts "
    "WHERE status = 'scored' AND judge_id IN (?, ?) GROUP BY judge_id, candidate_id), "
    "scored AS (SELECT c.* REPLACE (t.text AS text, t.n_tokens AS n_tokens), x.score AS score_a, y.score AS score_b "
    "FROM s x JOIN s y ON y.candidate_id = x.candidate_id AND y.judge_id = ? "
    "JOIN candidates c ON c.candidate_id = x.candidate_id JOIN answers t ON t.candidate_id = x.candidate_id "
    "WHERE x.judge_id = ?) "
)


def _rows(run: Run, a: str, b: str) -> list[Row]:
    """One row per candidate that both scored, by round, question and sample."""
    return run.store.query(
        BOTH + "SELECT candidate_id, round, question_id, n_tokens, score_a, score_b FROM scored "
        "ORDER BY round, question_id, sample_index, candidate_id",
        [a, b, b, a],
    )


def _most_different(run: Run, a: str, b: str) -> list[Row]:
    """The answers with the largest differences, largest first; an answer that was sampled several times stands once."""
    return run.store.query(
        BOTH + "SELECT c.candidate_id, c.score_a, c.score_b, q.question, c.text AS answer, x.rationale AS rationale_a, "
        "y.rationale AS rationale_b FROM (SELECT *, round(abs(score_a - score_b), 9) AS apart FROM "
        "scored WHERE score_a <> score_b "
        "QUALIFY row_number() OVER (PARTITION BY question_id, text ORDER BY apart DESC, candidate_id) = 1) c "
        "LEFT JOIN questions q ON q.question_id = c.question_id "
        "LEFT JOIN verdicts x ON x.candidate_id = c.candidate_id AND x.judge_id = ? AND x.replicate = 0 "
        "LEFT JOIN verdicts y ON y.candidate_id = c.candidate_id AND y.judge_id = ? AND y.replicate = 0 "
        "ORDER BY c.apart DESC, c.candidate_id LIMIT ?",
        [a, b, b, a, a, b, SHOWN],
    )


def show(result: dict[str, Any], screen: Screen) -> None:
    """The comparison as tables for a person."""
    for side in "ab":
        judge = result[side]
        screen.line(f"{side.upper()}: {judge['model']}, prompt {judge['prompt_name']} ({judge['judge_id'][:8]})")
    ties = f", {result['tied']} more are ties for B" if result["tied"] else ""
    flipped = f"{result['flipped']} of {result['preferences']}{ties}"
    slopes = ", ".join(_number(result[f"length_slope_{k}"], "+") for k in ("a", "b", "difference"))
    rows = [
        ["candidates that both scored", f"{result['candidates']} of {result['questions']} questions"],
        ["quadratic weighted kappa (5 points)", _number(result["quadratic_kappa"])],
        ["Spearman", _number(result["spearman"])],
        ["mean score A, B, shift", f"{result['mean_a']:.4f}, {result['mean_b']:.4f}, {result['mean_shift']:+.4f}"],
        ["score per 100 tokens A, B, difference", slopes],
        ["A's best-against-worst pairs that B turns round", f"{_share(result['flip_share'])} ({flipped})"],
    ]
    screen.table("", ["measure", "value"], rows)
    if result["most_different"]:
        screen.line("")
        cells = [
            [
                f"{r['question'] or ''}\n\n{r['answer']}",
                f"{r['score_a']:.2f}  {r['rationale_a'] or ''}",
                f"{r['score_b']:.2f}  {r['rationale_b'] or ''}",
            ]
            for r in result["most_different"]
        ]
        screen.table("Answers on which they differ most", ["question and answer", "A", "B"], cells, lines=True)


def _number(value: float | None, sign: str = "") -> str:
    return "not defined" if value is None else f"{value:{sign}.4f}"


def _share(value: float | None) -> str:
    return "no pairs" if value is None else f"{value:.1%}"
