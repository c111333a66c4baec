"""How far a stored mean can be trusted: its spread over groups of items, counted in SQL, and the 95% interval of it.

The formula is that of `rlaif.stats.mean_interval`. What is counted here is small, so `status` stays quick.
"""

from __future__ import annotations

from typing import Any

Interval = tuple[float, float] | None
KEYS = "policy_id, benchmark, split, metric, judge_id, protocol_hash, data_sha256"
_CELL = "policy_id, benchmark, split, judge_id, protocol_hash, data_sha256"  # where labels were given

# The spread of the group sums around their share of the mean: what a standard error clustered by group needs.
SCORES = f"""
    WITH items AS (
        SELECT e.*, coalesce(q.group_id, e.item_id) AS g FROM eval_items e LEFT JOIN questions q ON q.question_id =
               e.item_id
    ), means AS (
        SELECT {KEYS}, avg(value) AS mean, count(*) - count(value) AS unscored FROM items GROUP BY ALL
    ), groups AS (
        SELECT {KEYS}, g, count(value) AS n, sum(value) AS total FROM items WHERE value IS NOT NULL GROUP BY ALL
    )
    SELECT {KEYS}, any_value(m.mean) AS mean, any_value(m.unscored) AS unscored, sum(n)::BIGINT AS n, count(*) AS
           n_groups,
           sum((total - n * m.mean) ** 2) AS squares
    FROM groups JOIN means m USING ({KEYS}) GROUP BY {KEYS} ORDER BY {KEYS}
"""

# Macro-F1 is no mean of items, so its spread is that of its first-order change by each group (the delta method;
# Takahashi et al. 2022, Applied Intelligence 52, 4961): of a label with F1 = 2 tp / s, a group adds
# (2 tp_g - F1 s_g) / s.
_MACRO_F1 = f"""
    WITH answers AS (
        SELECT {", ".join(f"e.{key}" for key in _CELL.split(", "))}, target, prediction,
               coalesce(q.group_id, e.item_id) AS g
        FROM eval_items e LEFT JOIN questions q ON q.question_id = e.item_id
        WHERE metric = 'accuracy' AND value IS NOT NULL AND target <> '' AND e.split = 'gate'
    ), asked AS (
        SELECT DISTINCT {_CELL}, target AS label FROM answers
    ), cells AS (
        SELECT {_CELL}, label, g, count(*) AS n, count_if(target = label AND prediction = label) AS tp,
               count_if(target = label) + count_if(prediction = label) AS s
        FROM answers JOIN asked USING ({_CELL}) GROUP BY ALL
    ), labels AS (
        SELECT {_CELL}, label, sum(s) AS s, 2 * sum(tp) / sum(s) AS f1 FROM cells GROUP BY ALL
    ), changes AS (
        SELECT {_CELL}, g, avg((2 * c.tp - f1 * c.s) / l.s) AS change, any_value(n) AS n
        FROM cells c JOIN labels l USING ({_CELL}, label) GROUP BY ALL
    )
    SELECT {_CELL}, 'macro_f1' AS metric, count(*) AS n_groups, sum(change ** 2) * sum(n) ** 2 AS squares
    FROM changes GROUP BY {_CELL}
"""

# The leaderboard's rows of the gate's items, those with the most items first.
MEANS = f"""
    WITH spreads AS (
        SELECT {KEYS}, n_groups, squares FROM ({SCORES}) UNION ALL BY NAME SELECT * FROM ({_MACRO_F1})
    )
    SELECT l.*, s.n_groups, s.squares FROM leaderboard l LEFT JOIN spreads s USING ({KEYS})
    WHERE split = 'gate' AND mean IS NOT NULL ORDER BY n DESC
"""

# Verdicts of the judge that made a round's pairs, of every judge while there are none yet; as in the view
# round_summary.
JUDGED = """
    SELECT c.round, c.question_id, v.score FROM verdicts v JOIN candidates c ON c.candidate_id = v.candidate_id
    LEFT JOIN (SELECT DISTINCT round, judge_id FROM preferences) l ON l.round = c.round AND l.judge_id = v.judge_id
    WHERE v.replicate = 0 AND (l.judge_id IS NOT NULL OR c.round NOT IN (SELECT round FROM preferences))
"""

# The view round_summary, with the spread of its mean score over questions.
ROUNDS = f"""
    WITH marks AS (
        SELECT round, question_id, count(score) AS n, sum(score) AS total FROM ({JUDGED}) WHERE score IS NOT NULL
        GROUP BY ALL
    ), spreads AS (
        SELECT m.round, sum(n)::BIGINT AS n, count(*) AS n_groups, sum((total - n * r.mean_score) ** 2) AS squares
        FROM marks m JOIN round_summary r ON r.round = m.round GROUP BY m.round
    )
    SELECT r.*, s.n, s.n_groups, s.squares FROM round_summary r LEFT JOIN spreads s ON s.round = r.round
    ORDER BY r.round
"""


def interval_of(row: dict[str, Any], mean: str = "mean") -> Interval:
    """95% interval of the mean in a row that has its n, n_groups and squares, within 0-1 where the metric is.

    None where nothing is known of its spread.
    """
    if row[mean] is None or not row["n_groups"]:
        return None
    from rlaif.stats import mean_interval  # brings numpy and scipy, which `runs` has no use for

    share = row.get("metric") == "accuracy"
    found = mean_interval(row[mean], row["n"], row["n_groups"], row["squares"], share=share)
    return found and (max(found[0], 0.0), min(found[1], 1.0))


def bare(row: dict[str, Any], mean: str = "mean") -> dict[str, Any]:
    """The row for other programs: `<mean>_low` and `<mean>_high` in the place of what they are computed from."""
    low, high = interval_of(row, mean) or (None, None)
    rest = {key: value for key, value in row.items() if key not in ("squares", "n_groups")}
    return rest | {f"{mean}_low": low, f"{mean}_high": high}
