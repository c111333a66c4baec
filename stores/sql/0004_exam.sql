-- A judge can sit several exams (embedded, medquad, human): each has its own licence, and its items keep the texts.

CREATE TABLE exam_items_new (
    exam VARCHAR,
    judge_id VARCHAR,
    item_type VARCHAR,
    pair VARCHAR,
    outcome VARCHAR NOT NULL,
    good_score DOUBLE,
    bad_score DOUBLE,
    reason VARCHAR NOT NULL DEFAULT '',
    question VARCHAR NOT NULL DEFAULT '',
    good VARCHAR NOT NULL DEFAULT '',
    bad VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (exam, judge_id, item_type, pair),
    CHECK (outcome <> 'unscored' OR reason <> '')
);
INSERT INTO exam_items_new BY NAME SELECT 'embedded' AS exam, * FROM exam_items;
DROP TABLE exam_items;
ALTER TABLE exam_items_new RENAME TO exam_items;

CREATE TABLE licences_new (
    exam VARCHAR,
    judge_id VARCHAR,
    passed BOOLEAN NOT NULL,
    n BIGINT NOT NULL,
    pair_accuracy DOUBLE,
    lower_bound DOUBLE,
    kappa DOUBLE,
    reasons VARCHAR[] NOT NULL DEFAULT [],  -- why it was refused
    bounds JSON NOT NULL DEFAULT '{}',
    exam_sha256 VARCHAR NOT NULL DEFAULT '',  -- the same for judges that were asked the same
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    PRIMARY KEY (exam, judge_id)
);
INSERT INTO licences_new BY NAME SELECT 'embedded' AS exam, * FROM licences;
DROP TABLE licences;
ALTER TABLE licences_new RENAME TO licences;
