-- What language-model judges answered and used, so that nothing is asked or paid for twice and a budget holds over all sessions.

-- One answer of a model, as it came. `key` hashes judge, content and attempt ("first", "repair").
CREATE TABLE judge_cache (
    key VARCHAR PRIMARY KEY,
    judge_id VARCHAR NOT NULL,
    attempt VARCHAR NOT NULL,
    raw VARCHAR NOT NULL,
    finish VARCHAR NOT NULL DEFAULT '',  -- why the model stopped: stop, length, refusal, ...
    tokens_in BIGINT NOT NULL DEFAULT 0,
    tokens_out BIGINT NOT NULL DEFAULT 0,
    cost DOUBLE NOT NULL DEFAULT 0,
    seconds DOUBLE NOT NULL DEFAULT 0,
    calls INTEGER NOT NULL DEFAULT 1,  -- requests it took, those that failed included
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now()))
);

-- What was used, calls that failed included: one row a batch of calls. The budget adds these up.
CREATE TABLE judge_usage (
    usage_id VARCHAR PRIMARY KEY,
    judge_id VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    tokens_in BIGINT NOT NULL,
    tokens_out BIGINT NOT NULL,
    cost DOUBLE NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now()))
);
