-- Best-of-k fine-tuning (RAFT) makes policies of a kind of its own.

CREATE TABLE policies_new (
    policy_id VARCHAR PRIMARY KEY,
    parent_id VARCHAR,
    reference_id VARCHAR,
    kind VARCHAR NOT NULL CHECK (kind IN ('base', 'sft', 'raft', 'dpo')),
    round INTEGER NOT NULL,
    path VARCHAR NOT NULL DEFAULT '',
    sha256 VARCHAR NOT NULL DEFAULT '',
    base_sha256 VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    recipe JSON NOT NULL DEFAULT '{}',
    settings JSON DEFAULT '{}'
);
INSERT INTO policies_new BY NAME SELECT * FROM policies;
DROP TABLE policies;
ALTER TABLE policies_new RENAME TO policies;
