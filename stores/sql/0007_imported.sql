-- Preferences that came from a file. Their answers have tables of their own: nobody of this run sampled them, so they count in no round's
-- candidates, lengths or scores.

-- How a pair came to be here, and, where it was imported, from where: file, row, and what the file says of run, judge and policy.
ALTER TABLE preferences ADD COLUMN kind VARCHAR DEFAULT 'judged';
ALTER TABLE preferences ADD COLUMN origin JSON DEFAULT '{}';

CREATE TABLE imported_answers (
    candidate_id VARCHAR PRIMARY KEY,
    question_id VARCHAR NOT NULL,
    text VARCHAR NOT NULL
);

-- All that a preference can point to.
CREATE VIEW answers AS
SELECT candidate_id, question_id, text, policy_id, prompt_sha256, n_tokens FROM candidates
UNION ALL
SELECT candidate_id, question_id, text, NULL, NULL, NULL FROM imported_answers;

-- Kept pairs only. Left joins: a missing text shows as NULL and never hides a pair that was trained on.
CREATE OR REPLACE VIEW preference_pairs AS
SELECT p.round, p.pair_id, p.question_id, q.question, chosen.text AS chosen, rejected.text AS rejected,
       p.chosen_score, p.rejected_score, p.margin, coalesce(j.model, p.origin ->> 'judge') AS judge_model, j.prompt_name,
       p.chosen_id, p.rejected_id, p.judge_id, p.kind
FROM preferences p
LEFT JOIN questions q ON q.question_id = p.question_id
LEFT JOIN answers chosen ON chosen.candidate_id = p.chosen_id
LEFT JOIN answers rejected ON rejected.candidate_id = p.rejected_id
LEFT JOIN judges j ON j.judge_id = p.judge_id
WHERE p.status = 'kept';
