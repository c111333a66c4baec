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
    """The judge with scores in this run that `name` means: a judge_id or its beginning, a model, a prompt, or
    "model/prompt".

    UsageError when there is none, or more than one.
    """
    known = run.store.query(
        "SELECT v.judge_id, coalesce(j.model, '') AS model, coalesce(j.prompt_name, '') AS prompt_name FROM "
        "(SELECT DISTINCT judge_id FROM verdicts WHERE status = 'scored') v LEFT JOIN judges j USING "
        "(judge_id) ORDER BY v.judge_id"
    )
    if not known:
        raise UsageError(f"{run.folder}: no judge has scored anything here yet; the commands loop and judge rescore do")
    found = [j for j in known if j["judge_id"] == name] or [j for j in known if name and j["judge_id"].startswith(name)]
    found = found or [j for j in known if name in (j["model"], j["prompt_name"], f"{j['model']}/{j['prompt_name']}")]
    if len(found) == 1:
        return found[0]
    if not found and name.startswith("person:"):
        raise UsageError(
            f"{name!r} has no scores: a person says which of two answers is better; see the view judge_agreement"
        )
    listed = "; ".join(f"{j['judge_id']} ({j['model']}, prompt {j['prompt_name']})" for j in found or known)
    problem = "means several judges" if found else "is no judge with scores in this run"
    raise UsageError(f"{name!r} {problem}; name one of: {listed}")


def compare(run: Run, a: str, b: str) -> dict[str, Any]:
    """Everything about judges `a` and `b` (see :func:`find_judge`) on the candidates that both scored, JSON-ready.

    Scores are means over the scored replicates. Raises UsageError for a judge that is not there or compared with
    itself, RlaifError where they share no candidate.
    """
    one, two = find_judge(run, a), find_judge(run, b)
    if one["judge_id"] == two["judge_id"]:
        raise UsageError(f"{a!r} and {b!r} are the same judge, {one['judge_id']}; name two")
    rows = _rows(run, one["judge_id"], two["judge_id"])
    if not rows:
        raise RlaifError(
            f"{one['judge_id']} and {two['judge_id']} have scored no candidate in common; judge rescore "
            "lets one catch up"
        )
    x, y, tokens = [r["score_a"] for r in rows], [r["score_b"] for r in rows], [r["n_tokens"] for r in rows]
    where = [(r["round"], r["question_id"]) for r in rows]
    questions: dict[Any, list[str]] = defaultdict(list)
    for place, row in zip(where, rows, strict=True):
        questions[place].append(row["candidate_id"])
    turned = flips(
        {r["candidate_id"]: r["score_a"] for r in rows}, {r["candidate_id"]: r["score_b"] for r in rows}, questions
    )
    slope_a, slope_b = length_slope(x, tokens, where), length_slope(y, tokens, where)
    return {
        "a": one,
        "b": two,
        "candidates": len(rows),
        "questions": len(questions),
        "mean_a": sum(x) / len(x),
        "mean_b": sum(y) / len(y),
        "mean_shift": sum(y) / len(y) - sum(x) / len(x),
        "quadratic_kappa": quadratic_kappa(x, y),
        "spearman": spearman(x, y),
        "length_slope_a": slope_a,
        "length_slope_b": slope_b,
        "length_slope_difference": None if slope_a is None or slope_b is None else slope_b - slope_a,
        "preferences": turned.pairs,
        "flipped": turned.flipped,
        "tied": turned.tied,
        "flip_share": turned.share,
        "most_different": _most_different(run, one["judge_id"], two["judge_id"]),
    }


# What both judges have scored; a, b, b, a are its parameters.
BOTH = (
    "WITH s AS (SELECT judge_id, candidate_id, avg(score) AS score FROM verdicts "
    "WHERE status = 'scored' AND judge_id IN (?, ?) GROUP BY judge_id, candidate_id), "
    "scored AS (SELECT c.*, x.score AS score_a, y.score AS score_b FROM s x JOIN s y ON y.candidate_id = "
    "x.candidate_id AND y.judge_id = ? "
    "JOIN candidates c ON c.candidate_id = x.candidate_id WHERE x.judge_id = ?) "
)


def _rows(run: Run, a: str, b: str) -> list[Row]:
    """One row a candidate that both scored, by round, question and sample."""
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
    a, b = (
        f"{side}: {result[side]['model']}, prompt {result[side]['prompt_name']} ({result[side]['judge_id'][:8]})"
        for side in "ab"
    )
    screen.line(a.upper()[0] + a[1:])
    screen.line(b.upper()[0] + b[1:])
    flipped = f"{result['flipped']} of {result['preferences']}" + (
        f", {result['tied']} more are ties for B" if result["tied"] else ""
    )
    rows = [
        ["candidates that both scored", f"{result['candidates']} of {result['questions']} questions"],
        ["quadratic weighted kappa (5 points)", _number(result["quadratic_kappa"])],
        ["Spearman", _number(result["spearman"])],
        ["mean score A, B, shift", f"{result['mean_a']:.4f}, {result['mean_b']:.4f}, {result['mean_shift']:+.4f}"],
        [
            "score per 100 tokens A, B, difference",
            ", ".join(_number(result[f"length_slope_{k}"], "+") for k in ("a", "b", "difference")),
        ],
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
