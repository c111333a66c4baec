-- Criteria as data: the rubric of a question, and what a judge says of each criterion.

-- What answers to one question are checked for. weight: points, below 0 for a fault.
CREATE TABLE rubrics (
    question_id VARCHAR,
    place INTEGER,
    criterion VARCHAR NOT NULL,
    weight DOUBLE NOT NULL CHECK (isfinite(weight)),
    category VARCHAR NOT NULL DEFAULT '',
    source VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (question_id, place)
);

-- One row per answer, judge, replicate and criterion. candidate_id is that of `candidates`; answers of an evaluation, which are no
-- candidates, have policy_id/question_id. value: 1 is met, also for a fault.
CREATE TABLE criterion_verdicts (
    candidate_id VARCHAR,
    judge_id VARCHAR,
    replicate INTEGER,
    place INTEGER,
    criterion VARCHAR NOT NULL,
    weight DOUBLE NOT NULL CHECK (isfinite(weight)),
    category VARCHAR NOT NULL DEFAULT '',
    source VARCHAR NOT NULL DEFAULT '',
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unparsed', 'failed', 'refused')),
    value DOUBLE CHECK (value BETWEEN 0 AND 1),
    reason VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (candidate_id, judge_id, replicate, place),
    CHECK ((status = 'scored') = (value IS NOT NULL)),
    CHECK (status = 'scored' OR reason <> '')
);

-- The share of the criteria's weight that was judged, 0-1. NULL where that is not known, as in all verdicts from before.
ALTER TABLE verdicts ADD COLUMN judged_weight DOUBLE;

-- The messages of a conversation, [role, text] each; `question` then holds all of them as one text.
ALTER TABLE questions ADD COLUMN turns JSON DEFAULT '[]';

-- What the policy wrote between <think> and </think>, which `text` and `n_tokens` leave out.
ALTER TABLE candidates ADD COLUMN thoughts VARCHAR DEFAULT '';
ALTER TABLE candidates ADD COLUMN thought_tokens INTEGER DEFAULT 0;

-- How often each criterion is met, by policy and judge. answers: 'sampled' (candidates of a round) or 'measured' (an evaluation).
-- met: share of the answers with a value of at least 0.5; failed: share in which a wanted thing is missing or a fault is there.
CREATE VIEW criteria_met AS
WITH placed AS (
    SELECT coalesce(c.policy_id, split_part(v.candidate_id, '/', 1)) AS policy_id, c.round,
           CASE WHEN c.candidate_id IS NULL THEN 'measured' ELSE 'sampled' END AS answers,
           v.judge_id, v.criterion, v.category, v.weight, v.value
    FROM criterion_verdicts v LEFT JOIN candidates c ON c.candidate_id = v.candidate_id
    WHERE v.replicate = 0
)
SELECT l.policy_id, coalesce(l.round, p.round) AS round, l.answers, l.judge_id, l.criterion, l.category, l.weight,
       count(l.value) AS n, count(*) - count(l.value) AS unjudged,
       avg((l.value >= 0.5)::INTEGER) AS met, avg(l.value) AS mean_value,
       avg(((l.value >= 0.5) <> (l.weight > 0))::INTEGER) AS failed
FROM placed l LEFT JOIN policies p ON p.policy_id = l.policy_id
GROUP BY ALL
ORDER BY l.policy_id, l.answers, l.judge_id, failed DESC, n DESC, l.criterion;
