-- A licence belongs to the data that its exam was made of, may be restricted, and says how often a judge of its kind has sat.

ALTER TABLE licences ADD COLUMN data_sha256 VARCHAR DEFAULT '';  -- of the source that the exam was made of; '': embedded, or older
ALTER TABLE licences ADD COLUMN limits VARCHAR[] DEFAULT [];  -- the rules that it failed and may label without

-- Each sitting of an exam. `family` is the judge's model, whatever its prompt, weights and temperature.
CREATE TABLE exam_sittings (
    exam_sha256 VARCHAR,
    judge_id VARCHAR,
    number BIGINT,  -- of this judge on these items, from 1
    exam VARCHAR NOT NULL,
    family VARCHAR NOT NULL,
    passed BOOLEAN NOT NULL,
    limits VARCHAR[] NOT NULL DEFAULT [],
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    PRIMARY KEY (exam_sha256, judge_id, number)
);
INSERT INTO exam_sittings BY NAME
SELECT l.exam_sha256, l.judge_id, 1 AS number, l.exam, coalesce(j.model, l.judge_id) AS family, l.passed, l.created_at
FROM licences l LEFT JOIN judges j ON j.judge_id = l.judge_id;
