"""What the report reads from a run's database: one query beside the snapshot.

It counts in SQL, so a large run stays small here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rlaif import stats
from rlaif.report.snapshot import Snapshot, take
from rlaif.report.spread import JUDGED, SCORES
from rlaif.wording import Rows
from stores.store import Store

PAIRS_TO_READ = 10
ANSWERS_TO_READ = 3
BINS = 20  # of the judge's scores, over 0-1
CURVE_POINTS = 150  # a training curve with more steps is averaged down to about so many
LONGEST_TEXT = 2_000  # characters of a text that is printed

# The judge of most pairs, and the one of most marks at the gate.
_LABELS = "SELECT judge_id FROM preferences WHERE judge_id <> '' GROUP BY 1 ORDER BY count(*) DESC, judge_id LIMIT 1"
_GATE = (
    "SELECT judge_id FROM eval_items WHERE metric = 'quality' AND judge_id <> '' "
    "GROUP BY 1 ORDER BY count(*) DESC, judge_id LIMIT 1"
)
_QUERIES = {
    "config": "SELECT config, config_hash FROM runs",
    "policies": "SELECT policy_id, parent_id, reference_id, kind, round, sha256, recipe FROM policies ORDER BY "
    "round, created_at",
    "trained_on": "SELECT policy_id, role, count(*) AS n FROM policy_items GROUP BY ALL ORDER BY ALL",
    "questions": "SELECT dataset, split, count(*) AS n FROM questions GROUP BY ALL ORDER BY ALL",
    "scores": SCORES,
    "confusion": """
        WITH labels AS (SELECT DISTINCT benchmark, target FROM eval_items WHERE metric = 'accuracy' AND target <> '')
        SELECT e.policy_id, e.benchmark, e.split, e.judge_id, e.protocol_hash, e.data_sha256, e.target,
               CASE WHEN l.target IS NULL THEN '' ELSE e.prediction END AS predicted, count(*) AS n
        FROM eval_items e LEFT JOIN labels l ON l.benchmark = e.benchmark AND l.target = e.prediction
        WHERE e.metric = 'accuracy' AND e.target <> '' GROUP BY ALL ORDER BY ALL
    """,
    "macro_f1": "SELECT * FROM leaderboard WHERE metric = 'macro_f1'",
    "histogram": f"SELECT round, least(floor(score * {BINS}), {BINS - 1})::INTEGER AS bin, count(*) AS n FROM "
    f"({JUDGED}) "
    "WHERE score IS NOT NULL GROUP BY ALL ORDER BY ALL",
    "judged": "SELECT round, count(score) AS n, count(*) - count(score) AS unscored, avg(score) AS mean, "
    "median(score) AS median "
    f"FROM ({JUDGED}) GROUP BY round ORDER BY round",
    # Criteria of a prompt by name, those of questions' own rubrics by category: no two questions share them.
    "criteria": """
        SELECT c.round, v.weight < 0 AS fault, count(v.value) AS n, avg((v.value >= 0.5)::INTEGER) AS met,
               CASE WHEN v.source = 'prompt' THEN v.criterion ELSE coalesce(nullif(v.category, ''), 'other') END AS name
        FROM criterion_verdicts v JOIN candidates c ON c.candidate_id = v.candidate_id
        LEFT JOIN (SELECT DISTINCT round, judge_id FROM preferences) l ON l.round = c.round AND l.judge_id = v.judge_id
        WHERE v.replicate = 0 AND (l.judge_id IS NOT NULL OR c.round NOT IN (SELECT round FROM preferences))
        GROUP BY ALL HAVING count(v.value) > 0 ORDER BY ALL
    """,
    # The scores of HealthBench's answers, below 0 too; each set of items, grader and protocol apart.
    "healthbench": """
        SELECT e.policy_id, e.benchmark, e.split, j.model, j.prompt_name, e.judge_id,
               count(*) - count(e.value) AS unscored,
               list(e.value ORDER BY e.item_id) FILTER (e.value IS NOT NULL) AS values
        FROM eval_items e LEFT JOIN judges j USING (judge_id)
        WHERE starts_with(e.benchmark, 'healthbench') AND e.metric = 'quality'
        GROUP BY e.policy_id, e.benchmark, e.split, j.model, j.prompt_name, e.judge_id, e.protocol_hash, e.data_sha256
        HAVING count(e.value) > 0
        ORDER BY e.benchmark, e.split, e.judge_id, len(values) DESC, e.policy_id
    """,
    "lengths": """
        SELECT round, count(*) AS n, quantile_cont(n_tokens, [0.1, 0.25, 0.5, 0.75, 0.9]) AS quantiles,
               avg((finish_reason IN ('length', 'thought'))::INTEGER) AS cut
        FROM candidates GROUP BY round ORDER BY round
    """,
    "chosen_longer": """
        SELECT p.round, count(*) AS n, avg(p.margin) AS margin,
               avg(CASE WHEN a.n_tokens > b.n_tokens THEN 1 WHEN a.n_tokens = b.n_tokens THEN 0.5 ELSE 0 END) AS share
        FROM preferences p JOIN answers a ON a.candidate_id = p.chosen_id JOIN answers b ON b.candidate_id =
               p.rejected_id
        WHERE p.status = 'kept' AND p.kind = 'judged' GROUP BY p.round ORDER BY p.round
    """,
    "curves": f"""
        WITH steps AS (SELECT *, max(step) OVER (PARTITION BY policy_id, name) AS last FROM train_log WHERE
               isfinite(value))
        SELECT policy_id, name, avg(step) AS step, avg(value) AS value FROM steps
        GROUP BY policy_id, name, CASE WHEN last <= {CURVE_POINTS} THEN step ELSE step * {CURVE_POINTS} // last END
        ORDER BY policy_id, name, avg(step)
    """,
    # pair_id is a hash, so its order is a random one that is the same each time.
    "pairs": f"""
        WITH ranked AS (
            SELECT *, row_number() OVER (PARTITION BY round ORDER BY pair_id) AS place FROM preferences WHERE status =
                   'kept'
        ), few AS (SELECT * FROM ranked ORDER BY place, round LIMIT {PAIRS_TO_READ})
        SELECT f.round, f.pair_id, f.chosen_score, f.rejected_score, f.margin, f.reason, j.model AS judge,
               j.prompt_name,
               left(q.question, {LONGEST_TEXT}) AS question, left(q.context, {LONGEST_TEXT}) AS context,
               left(q.reference, {LONGEST_TEXT}) AS reference,
               left(c.text, {LONGEST_TEXT}) AS chosen, length(c.text) AS chosen_length, c.n_tokens AS chosen_tokens,
               left(r.text, {LONGEST_TEXT}) AS rejected, length(r.text) AS rejected_length, r.n_tokens AS
                      rejected_tokens,
               left(vc.rationale, {LONGEST_TEXT}) AS chosen_rationale, left(vr.rationale, {LONGEST_TEXT}) AS
                      rejected_rationale,
               vc.factual_accuracy AS chosen_facts, vr.factual_accuracy AS rejected_facts,
               vc.completeness AS chosen_completeness, vr.completeness AS rejected_completeness,
               vc.key_point_coverage AS chosen_coverage, vr.key_point_coverage AS rejected_coverage
        FROM few f LEFT JOIN questions q ON q.question_id = f.question_id LEFT JOIN judges j ON j.judge_id = f.judge_id
        LEFT JOIN answers c ON c.candidate_id = f.chosen_id LEFT JOIN answers r ON r.candidate_id = f.rejected_id
        LEFT JOIN verdicts vc ON vc.candidate_id = f.chosen_id AND vc.judge_id = f.judge_id AND vc.replicate = 0
        LEFT JOIN verdicts vr ON vr.candidate_id = f.rejected_id AND vr.judge_id = f.judge_id AND vr.replicate = 0
        ORDER BY f.round, f.place
    """,
    # Questions that most policies answered, drawn by a hash; a policy that was scored twice shows its last protocol's.
    "answers_to_read": f"""
        WITH given AS (
            SELECT e.item_id, e.policy_id, left(arg_max(e.prediction, e.protocol_hash) FILTER (e.judge_id = ''),
                   {LONGEST_TEXT}) AS text, avg(e.value) FILTER (e.metric = 'quality') AS quality
            FROM eval_items e JOIN questions q ON q.question_id = e.item_id
            WHERE e.split = 'gate' AND q.label = '' AND e.metric <> 'accuracy' GROUP BY ALL
        )
        SELECT item_id, any_value(left(q.question, {LONGEST_TEXT})) AS question,
               any_value(left(q.reference, {LONGEST_TEXT})) AS reference,
               list({{policy_id: policy_id, text: text, quality: quality}} ORDER BY policy_id) AS answers
        FROM given JOIN questions q ON q.question_id = item_id WHERE text <> '' GROUP BY item_id
        ORDER BY count(*) DESC, md5(item_id) LIMIT {ANSWERS_TO_READ}
    """,
    "gates": "SELECT * FROM gates ORDER BY round, look, condition, benchmark, metric",
    "monitors": "SELECT * FROM monitors ORDER BY name, round",
    "prepared": "SELECT detail FROM stages WHERE round = 0 AND stage = 'prepare' AND status = 'done'",
    "leaks": """
        SELECT kind, count(*) AS n, count(DISTINCT question_id) AS questions, max(similarity) AS similarity
        FROM leaks GROUP BY kind ORDER BY kind
    """,
    "leak_examples": f"""
        SELECT kind, similarity, left(coalesce(nullif(question, ''), question_id), 300) AS question,
               left(coalesce(nullif(matched_question, ''), matched), 300) AS matched
        FROM leaks ORDER BY similarity DESC, question_id, matched LIMIT {PAIRS_TO_READ}
    """,
    "licences": """
        SELECT l.*, j.model, j.prompt_name, s.sittings FROM licences l LEFT JOIN judges j ON j.judge_id = l.judge_id
        LEFT JOIN (SELECT exam, family, count(*) AS sittings FROM exam_sittings GROUP BY ALL) s
               ON s.exam = l.exam AND s.family = j.model
        ORDER BY l.created_at
    """,
    # The pairs of exams that both the labelling and the gate's judge were asked, and who was wrong.
    "together": f"""
        WITH pairs AS (
            SELECT a.exam, (a.outcome <> 'ordered')::BIGINT AS a, (b.outcome <> 'ordered')::BIGINT AS b
            FROM exam_items a JOIN exam_items b USING (exam, item_type, pair)
            WHERE a.judge_id = ({_LABELS}) AND b.judge_id = ({_GATE}) AND a.judge_id <> b.judge_id
              AND a.outcome IN ('ordered', 'tie', 'reversed') AND b.outcome IN ('ordered', 'tie', 'reversed')
        )
        SELECT exam, count(*) AS n, sum(a)::BIGINT AS labels_wrong, sum(b)::BIGINT AS gate_wrong,
               sum(a * b)::BIGINT AS both_wrong,
               CASE WHEN stddev_pop(a) > 0 AND stddev_pop(b) > 0 THEN corr(a, b) END AS phi
        FROM pairs GROUP BY exam ORDER BY exam
    """,
    "marks_together": f"""
        SELECT count(*) AS n,
               CASE WHEN stddev_pop(l.value) > 0 AND stddev_pop(q.value) > 0 THEN corr(l.value, q.value) END AS r
        FROM eval_items l JOIN eval_items q USING (policy_id, benchmark, split, item_id, protocol_hash, data_sha256)
        WHERE l.metric = 'labelling_quality' AND q.metric = 'quality' AND l.value IS NOT NULL AND q.value IS NOT NULL
          AND l.judge_id = ({_LABELS}) AND q.judge_id = ({_GATE})
    """,
    "sealed": "SELECT * FROM sealed_tests ORDER BY opened_at",
    "judges": "SELECT * FROM judges ORDER BY judge_id",
    "prompts": "SELECT kind, name, prompt_sha256 FROM prompts ORDER BY kind, name",
    "sessions": "SELECT * FROM sessions ORDER BY started_at",
}


@dataclass(frozen=True, slots=True)
class Score:
    """Mean of one policy on one metric, 0-1 where the metric is, with its 95% interval (None: under two groups)."""

    policy_id: str
    benchmark: str
    split: str
    metric: str
    protocol: tuple[str, str, str]  # judge_id, protocol_hash, data_sha256: only scores of the same are compared
    mean: float
    low: float | None
    high: float | None
    n: int
    n_groups: int
    unscored: int


@dataclass(frozen=True)
class Data:
    """Everything on the page. `tables` holds the rows of `_QUERIES` by name."""

    snapshot: Snapshot
    config: dict[str, Any]
    config_hash: str
    scores: tuple[Score, ...]
    tables: dict[str, Rows]

    def __getitem__(self, name: str) -> Rows:
        return self.tables[name]


def read(store: Store) -> Data:
    """The state of the run now. RlaifError when the database cannot be read, or holds no run."""
    snapshot = take(store)
    parts = [f'(SELECT list(t) FROM ({sql}) t) AS "{name}"' for name, sql in _QUERIES.items()]
    tables: dict[str, Rows] = {name: rows or [] for name, rows in store.query(f"SELECT {', '.join(parts)}")[0].items()}
    (run,) = tables.pop("config")
    scores = tuple(_score(row) for row in tables.pop("scores"))
    return Data(snapshot, json.loads(run["config"]), str(run["config_hash"]), scores, tables)


def _score(row: dict[str, Any]) -> Score:
    interval = stats.mean_interval(
        row["mean"], row["n"], row["n_groups"], row["squares"], share=row["metric"] == "accuracy"
    )
    low, high = interval or (None, None)
    protocol = (row["judge_id"], row["protocol_hash"], row["data_sha256"])
    keys = (row["policy_id"], row["benchmark"], row["split"], row["metric"], protocol)
    return Score(*keys, row["mean"], low, high, row["n"], row["n_groups"], row["unscored"])
