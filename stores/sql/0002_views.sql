-- The views that people read.

-- Kept pairs only. Left joins: a missing text shows as NULL and never hides a pair that was trained on.
CREATE VIEW preference_pairs AS
SELECT p.round, p.pair_id, p.question_id, q.question, chosen.text AS chosen, rejected.text AS rejected,
       p.chosen_score, p.rejected_score, p.margin, j.model AS judge_model, j.prompt_name,
       p.chosen_id, p.rejected_id, p.judge_id
FROM preferences p
LEFT JOIN questions q ON q.question_id = p.question_id
LEFT JOIN candidates chosen ON chosen.candidate_id = p.chosen_id
LEFT JOIN candidates rejected ON rejected.candidate_id = p.rejected_id
LEFT JOIN judges j ON j.judge_id = p.judge_id
WHERE p.status = 'kept';

-- One row a round, those in progress included. Verdicts are those of the judge that made the round's pairs (of every
-- judge while there are no pairs yet), first replicate only. pair_yield: kept pairs by questions paired, NULL before.
CREATE VIEW round_summary AS
WITH sampled AS (
    SELECT round, count(*) AS candidates FROM candidates GROUP BY round
), labelled AS (
    SELECT DISTINCT round, judge_id FROM preferences
), judged AS (
    SELECT c.round, count(v.score) AS scored_verdicts, count(*) - count(v.score) AS unscored_verdicts,
           avg(v.score) AS mean_score
    FROM verdicts v
    JOIN candidates c ON c.candidate_id = v.candidate_id
    LEFT JOIN labelled l ON l.round = c.round AND l.judge_id = v.judge_id
    WHERE v.replicate = 0 AND (l.judge_id IS NOT NULL OR c.round NOT IN (SELECT round FROM labelled))
    GROUP BY c.round
), paired AS (
    SELECT round, count_if(status = 'kept') AS pairs_kept, count_if(status = 'dropped') AS pairs_dropped,
           count_if(status = 'kept') / count(*) AS pair_yield
    FROM preferences GROUP BY round
), numbers AS (
    SELECT round FROM rounds UNION SELECT round FROM sampled UNION SELECT round FROM paired
)
SELECT n.round, coalesce(s.candidates, 0) AS candidates, coalesce(v.scored_verdicts, 0) AS scored_verdicts,
       coalesce(v.unscored_verdicts, 0) AS unscored_verdicts, v.mean_score,
       coalesce(p.pairs_kept, 0) AS pairs_kept, coalesce(p.pairs_dropped, 0) AS pairs_dropped, p.pair_yield,
       r.champion_in, r.challenger, r.champion_out, r.decision
FROM numbers n
LEFT JOIN sampled s ON s.round = n.round
LEFT JOIN judged v ON v.round = n.round
LEFT JOIN paired p ON p.round = n.round
LEFT JOIN rounds r ON r.round = n.round
ORDER BY n.round;

-- Means over the items that have a value; the others are counted in n_unscored. Items of different protocols, judges
-- or data files are never averaged together: they give rows of their own. macro_f1 is the plain mean of the F1 of yes,
-- no and maybe over the PubMedQA items with metric accuracy; a class that is neither asked for nor answered is left
-- out, and an answer that is none of the three counts against the class it should have been.
CREATE VIEW leaderboard AS
WITH means AS (
    SELECT policy_id, benchmark, split, metric, avg(value) AS mean, count(value) AS n, count(*) - count(value) AS n_unscored,
           judge_id, protocol_hash, data_sha256
    FROM eval_items GROUP BY ALL
), classes AS (
    SELECT e.policy_id, e.benchmark, e.split, e.judge_id, e.protocol_hash, e.data_sha256, k.class,
           count_if(target = class AND prediction = class) AS tp,
           count_if(target = class) + count_if(prediction = class) AS asked_and_answered
    FROM eval_items e CROSS JOIN (VALUES ('yes'), ('no'), ('maybe')) k(class)
    WHERE e.metric = 'accuracy' AND starts_with(e.benchmark, 'pubmedqa') AND e.value IS NOT NULL
    GROUP BY ALL
), f1 AS (
    -- 2 tp / (2 tp + fp + fn): the denominator is the number asked for plus the number answered.
    SELECT policy_id, benchmark, split, judge_id, protocol_hash, data_sha256, avg(2 * tp / asked_and_answered) AS mean
    FROM classes WHERE asked_and_answered > 0 GROUP BY ALL
), board AS (
    SELECT * FROM means
    UNION ALL BY NAME
    SELECT m.* REPLACE ('macro_f1' AS metric, f.mean AS mean)
    FROM means m JOIN f1 f USING (policy_id, benchmark, split, judge_id, protocol_hash, data_sha256)
    WHERE m.metric = 'accuracy'
)
SELECT b.policy_id, p.kind, p.round, b.benchmark, b.split, b.metric, b.mean, b.n, b.n_unscored,
       b.judge_id, b.protocol_hash, b.data_sha256
FROM board b LEFT JOIN policies p ON p.policy_id = b.policy_id
ORDER BY b.benchmark, b.split, b.metric, b.mean DESC, b.policy_id;

-- Two judges on the same candidates (mean over replicates, scored only). spearman is the correlation of average ranks.
-- same_order: of the pairs of candidates of one question that both judges tell apart (n_ordered), the share that both
-- order the same way.
CREATE VIEW judge_agreement AS
WITH scores AS (
    SELECT v.judge_id, v.candidate_id, c.question_id, c.round, avg(v.score) AS score
    FROM verdicts v LEFT JOIN candidates c ON c.candidate_id = v.candidate_id
    WHERE v.status = 'scored' GROUP BY ALL
), both_scored AS (
    SELECT a.judge_id AS judge_a, b.judge_id AS judge_b, a.candidate_id, a.question_id, a.round,
           a.score AS score_a, b.score AS score_b
    FROM scores a JOIN scores b ON b.candidate_id = a.candidate_id AND a.judge_id < b.judge_id
), ranked AS (
    SELECT *,
           rank() OVER (PARTITION BY judge_a, judge_b ORDER BY score_a)
               + (count(*) OVER (PARTITION BY judge_a, judge_b, score_a) - 1) / 2 AS rank_a,
           rank() OVER (PARTITION BY judge_a, judge_b ORDER BY score_b)
               + (count(*) OVER (PARTITION BY judge_a, judge_b, score_b) - 1) / 2 AS rank_b
    FROM both_scored
), agreed AS (
    SELECT judge_a, judge_b, count(*) AS n, avg(score_a - score_b) AS mean_difference,
           CASE WHEN stddev_pop(score_a) > 0 AND stddev_pop(score_b) > 0 THEN corr(score_a, score_b) END AS pearson,
           CASE WHEN stddev_pop(rank_a) > 0 AND stddev_pop(rank_b) > 0 THEN corr(rank_a, rank_b) END AS spearman
    FROM ranked GROUP BY judge_a, judge_b
), ordered AS (
    SELECT x.judge_a, x.judge_b, count(*) AS n_ordered,
           avg(CASE WHEN (x.score_a > y.score_a) = (x.score_b > y.score_b) THEN 1 ELSE 0 END) AS same_order
    FROM both_scored x
    JOIN both_scored y ON y.judge_a = x.judge_a AND y.judge_b = x.judge_b AND y.question_id = x.question_id
                      AND y.round = x.round AND x.candidate_id < y.candidate_id
    WHERE x.score_a <> y.score_a AND x.score_b <> y.score_b
    GROUP BY x.judge_a, x.judge_b
)
SELECT a.judge_a, a.judge_b, ja.model AS model_a, jb.model AS model_b, ja.prompt_name AS prompt_a, jb.prompt_name AS prompt_b,
       a.n, a.mean_difference, a.pearson, a.spearman, coalesce(o.n_ordered, 0) AS n_ordered, o.same_order
FROM agreed a
LEFT JOIN ordered o ON o.judge_a = a.judge_a AND o.judge_b = a.judge_b
LEFT JOIN judges ja ON ja.judge_id = a.judge_a
LEFT JOIN judges jb ON jb.judge_id = a.judge_b
ORDER BY a.judge_a, a.judge_b;
