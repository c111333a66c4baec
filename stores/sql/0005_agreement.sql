-- judge_agreement over a million verdicts without grouping by texts, and with those who say which of two answers is better
-- (pairwise judges and people) beside those who score.

-- Two judges on the same candidates. n: candidates that both judged, by a score or within a pair. mean_difference, pearson and
-- spearman (correlation of average ranks) are over the candidates that both scored (mean over replicates, scored only), and NULL
-- where one of the two gives no scores. same_order: of the pairs of candidates of one question that both judges tell apart
-- (n_ordered), the share that both order the same way. Two answers are told apart by unequal scores, or by a pairwise verdict that
-- is no tie and, where both orders were shown, the same in both.
CREATE OR REPLACE VIEW judge_agreement AS
WITH scores AS (
    SELECT judge_id, candidate_id, avg(score) AS score FROM verdicts WHERE status = 'scored' GROUP BY judge_id, candidate_id
), both_scored AS (
    SELECT a.judge_id AS judge_a, b.judge_id AS judge_b, a.candidate_id, a.score AS score_a, b.score AS score_b
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
), placed AS (
    SELECT s.judge_a, s.judge_b, s.candidate_id, s.score_a, s.score_b, c.question_id, c.round
    FROM both_scored s JOIN candidates c ON c.candidate_id = s.candidate_id
), votes AS (  -- 1: the candidate with the smaller id is better, -1: the other one, 0: a tie
    SELECT judge_id, least(candidate_a, candidate_b) AS one, greatest(candidate_a, candidate_b) AS two,
           CASE WHEN winner = 'tie' THEN 0 WHEN (winner = 'a') = (candidate_a < candidate_b) THEN 1 ELSE -1 END AS vote
    FROM pairwise_verdicts WHERE status = 'scored'
), told AS (
    SELECT judge_id, one, two, CASE WHEN min(vote) = max(vote) THEN min(vote) ELSE 0 END AS said FROM votes GROUP BY ALL
), told_beside AS (
    SELECT t.judge_id, s.judge_id AS other, t.one, t.two, t.said,
           CASE WHEN s.score > z.score THEN 1 WHEN s.score < z.score THEN -1 ELSE 0 END AS other_said
    FROM told t
    JOIN scores s ON s.candidate_id = t.one
    JOIN scores z ON z.candidate_id = t.two AND z.judge_id = s.judge_id
    WHERE s.judge_id <> t.judge_id
    UNION ALL
    SELECT t.judge_id, u.judge_id, t.one, t.two, t.said, u.said
    FROM told t JOIN told u ON u.one = t.one AND u.two = t.two AND t.judge_id < u.judge_id
), told_candidates AS (
    SELECT least(judge_id, other) AS judge_a, greatest(judge_id, other) AS judge_b, count(DISTINCT candidate_id) AS n
    FROM (SELECT judge_id, other, unnest([one, two]) AS candidate_id FROM told_beside)
    GROUP BY ALL
), orders AS (
    SELECT x.judge_a, x.judge_b, (x.score_a > y.score_a) = (x.score_b > y.score_b) AS same
    FROM placed x
    JOIN placed y ON y.judge_a = x.judge_a AND y.judge_b = x.judge_b AND y.question_id = x.question_id
                 AND y.round = x.round AND x.candidate_id < y.candidate_id
    WHERE x.score_a <> y.score_a AND x.score_b <> y.score_b
    UNION ALL
    SELECT least(judge_id, other), greatest(judge_id, other), said = other_said
    FROM told_beside WHERE said <> 0 AND other_said <> 0
), ordered AS (
    SELECT judge_a, judge_b, count(*) AS n_ordered, avg(CASE WHEN same THEN 1 ELSE 0 END) AS same_order
    FROM orders GROUP BY judge_a, judge_b
), met AS (
    SELECT judge_a, judge_b FROM agreed UNION SELECT judge_a, judge_b FROM told_candidates
)
SELECT m.judge_a, m.judge_b, ja.model AS model_a, jb.model AS model_b, ja.prompt_name AS prompt_a, jb.prompt_name AS prompt_b,
       coalesce(a.n, t.n) AS n, a.mean_difference, a.pearson, a.spearman, coalesce(o.n_ordered, 0) AS n_ordered, o.same_order
FROM met m
LEFT JOIN agreed a ON a.judge_a = m.judge_a AND a.judge_b = m.judge_b
LEFT JOIN told_candidates t ON t.judge_a = m.judge_a AND t.judge_b = m.judge_b
LEFT JOIN ordered o ON o.judge_a = m.judge_a AND o.judge_b = m.judge_b
LEFT JOIN judges ja ON ja.judge_id = m.judge_a
LEFT JOIN judges jb ON jb.judge_id = m.judge_b
ORDER BY m.judge_a, m.judge_b;
