-- macro-F1 of labels that are the reader's own (own_labels) beside that of PubMedQA.

-- One row per policy, benchmark, split and metric, best first. macro_f1: the unweighted mean of F1 over the labels that the items
-- ask for; an answer that is none of them counts against the label it should have been.
CREATE OR REPLACE VIEW leaderboard AS
WITH means AS (
    SELECT policy_id, benchmark, split, metric, avg(value) AS mean, count(value) AS n, count(*) - count(value) AS n_unscored,
           judge_id, protocol_hash, data_sha256
    FROM eval_items GROUP BY ALL
), answers AS (
    SELECT policy_id, benchmark, split, judge_id, protocol_hash, data_sha256, target, prediction
    FROM eval_items
    WHERE metric = 'accuracy' AND value IS NOT NULL
      AND (starts_with(benchmark, 'pubmedqa') OR starts_with(benchmark, 'own_labels'))
), asked AS (
    SELECT DISTINCT policy_id, benchmark, split, judge_id, protocol_hash, data_sha256, target AS class FROM answers
), f1 AS (
    -- 2 tp / (2 tp + fp + fn): the denominator is the number asked for plus the number answered.
    SELECT policy_id, benchmark, split, judge_id, protocol_hash, data_sha256, avg(of_class) AS mean
    FROM (
        SELECT k.policy_id, k.benchmark, k.split, k.judge_id, k.protocol_hash, k.data_sha256, class,
               2 * count_if(target = class AND prediction = class) / (count_if(target = class) + count_if(prediction = class))
                   AS of_class
        FROM asked k JOIN answers USING (policy_id, benchmark, split, judge_id, protocol_hash, data_sha256)
        GROUP BY ALL
    ) GROUP BY ALL
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
