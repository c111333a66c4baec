-- What a judge was shown, and a policy trained on, of answers that ended at the token limit, and several pairs per question.

-- An answer up to its last full sentence (pairs.truncated = "cut"); `candidates` keeps it as it was sampled.
CREATE TABLE cut_answers (
    candidate_id VARCHAR PRIMARY KEY,
    text VARCHAR NOT NULL,
    n_tokens INTEGER NOT NULL  -- in proportion to the characters, end token included
);

-- All that a preference can point to, as it was judged and is trained on.
CREATE OR REPLACE VIEW answers AS
SELECT c.candidate_id, c.question_id, coalesce(k.text, c.text) AS text, c.policy_id, c.prompt_sha256,
       coalesce(k.n_tokens, c.n_tokens) AS n_tokens
FROM candidates c LEFT JOIN cut_answers k ON k.candidate_id = c.candidate_id
UNION ALL
SELECT candidate_id, question_id, text, NULL, NULL, NULL FROM imported_answers;

-- What became of each question of a round, as far as the judge's marks made its pairs: a reference that was chosen says
-- nothing of the yield.
CREATE VIEW pair_outcomes AS
WITH coded AS (
    SELECT round, question_id, status, trim(split_part(reason, ':', 1)) AS code FROM preferences
    WHERE kind IS DISTINCT FROM 'reference'
)
SELECT round, question_id, count_if(status = 'kept') AS pairs_kept,
       CASE WHEN count_if(status = 'kept') = 0 THEN min(code)
            ELSE coalesce(nullif(min(code) FILTER (WHERE status = 'kept'), ''), 'kept') END AS outcome
FROM coded GROUP BY round, question_id;

-- One row a round, those in progress included. Verdicts are those of the judge that made the round's pairs (of every
-- judge while there are no pairs yet), first replicate only. pair_yield: questions with a kept pair by questions paired, NULL
-- before. Pairs whose chosen answer is the reference are in neither: no mark of the judge made them.
CREATE OR REPLACE VIEW round_summary AS
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
           count(DISTINCT question_id) FILTER (status = 'kept') / count(DISTINCT question_id) AS pair_yield
    FROM preferences WHERE kind IS DISTINCT FROM 'reference' GROUP BY round
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
