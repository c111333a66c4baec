-- Ids are content hashes, times are UTC. No foreign keys: DuckDB turns updates of rows that others point to into errors,
-- and the inserts are idempotent by primary key. Columns that are part of a key are NOT NULL, with '' for "none".

CREATE TABLE runs (
    run_id VARCHAR PRIMARY KEY,
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    profile VARCHAR NOT NULL,
    config JSON NOT NULL,
    config_hash VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    sealed_opened_at_round INTEGER
);

CREATE TABLE sessions (
    session_id VARCHAR PRIMARY KEY,
    started_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    ended_at TIMESTAMP,
    pid BIGINT,
    argv VARCHAR[] NOT NULL DEFAULT [],
    versions JSON NOT NULL DEFAULT '{}',
    "commit" VARCHAR NOT NULL DEFAULT '',
    overrides JSON NOT NULL DEFAULT '{}',
    exit_code INTEGER
);

CREATE TABLE rounds (
    round INTEGER PRIMARY KEY,
    champion_in VARCHAR,
    challenger VARCHAR,
    champion_out VARCHAR,
    decision VARCHAR
);

CREATE TABLE stages (
    round INTEGER,
    stage VARCHAR,
    status VARCHAR NOT NULL,
    started_at TIMESTAMP,
    finished_at TIMESTAMP,
    seconds DOUBLE,
    model_seconds DOUBLE,
    peak_memory_mb DOUBLE,
    detail JSON NOT NULL DEFAULT '{}',
    PRIMARY KEY (round, stage)
);

CREATE TABLE policies (
    policy_id VARCHAR PRIMARY KEY,
    parent_id VARCHAR,
    reference_id VARCHAR,
    kind VARCHAR NOT NULL CHECK (kind IN ('base', 'sft', 'dpo')),
    round INTEGER NOT NULL,
    path VARCHAR NOT NULL DEFAULT '',
    sha256 VARCHAR NOT NULL DEFAULT '',
    base_sha256 VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    recipe JSON NOT NULL DEFAULT '{}'
);

CREATE TABLE policy_items (
    policy_id VARCHAR,
    item_id VARCHAR,
    role VARCHAR,
    PRIMARY KEY (policy_id, item_id, role)
);

CREATE TABLE questions (
    question_id VARCHAR PRIMARY KEY,
    dataset VARCHAR NOT NULL,
    split VARCHAR NOT NULL CHECK (split IN ('train', 'gate', 'sealed')),
    source_id VARCHAR NOT NULL,
    group_id VARCHAR NOT NULL,
    focus VARCHAR NOT NULL DEFAULT '',
    qtype VARCHAR NOT NULL DEFAULT '',
    question VARCHAR NOT NULL,
    context VARCHAR NOT NULL DEFAULT '',
    reference VARCHAR NOT NULL DEFAULT '',
    key_points VARCHAR[] NOT NULL DEFAULT [],
    label VARCHAR NOT NULL DEFAULT '',
    flags VARCHAR[] NOT NULL DEFAULT []
);

CREATE TABLE prompts (
    prompt_sha256 VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL CHECK (kind IN ('policy', 'judge')),
    name VARCHAR NOT NULL,
    text VARCHAR NOT NULL
);

CREATE TABLE candidates (
    candidate_id VARCHAR PRIMARY KEY,
    round INTEGER NOT NULL,
    question_id VARCHAR NOT NULL,
    policy_id VARCHAR NOT NULL,
    prompt_sha256 VARCHAR NOT NULL,
    sample_index INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    text VARCHAR NOT NULL,
    n_tokens INTEGER NOT NULL,
    finish_reason VARCHAR NOT NULL,
    logprob DOUBLE,
    sampling JSON NOT NULL DEFAULT '{}'
);

CREATE TABLE judges (
    judge_id VARCHAR PRIMARY KEY,
    model VARCHAR NOT NULL,
    weights_sha256 VARCHAR NOT NULL DEFAULT '',
    prompt_name VARCHAR NOT NULL DEFAULT '',
    prompt_sha256 VARCHAR NOT NULL DEFAULT '',
    decoding JSON NOT NULL DEFAULT '{}'
);

CREATE TABLE verdicts (
    candidate_id VARCHAR,
    judge_id VARCHAR,
    replicate INTEGER,
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unparsed', 'failed', 'refused')),
    -- NaN sorts above every number in DuckDB, so BETWEEN refuses it too.
    score DOUBLE CHECK (score BETWEEN 0 AND 1),
    factual_accuracy DOUBLE CHECK (factual_accuracy BETWEEN 0 AND 1),
    completeness DOUBLE CHECK (completeness BETWEEN 0 AND 1),
    key_point_coverage DOUBLE CHECK (key_point_coverage BETWEEN 0 AND 1),
    rationale VARCHAR NOT NULL DEFAULT '',
    raw VARCHAR NOT NULL DEFAULT '',
    reason VARCHAR NOT NULL DEFAULT '',
    flags VARCHAR[] NOT NULL DEFAULT [],
    attempts INTEGER NOT NULL DEFAULT 1,
    tokens_in BIGINT NOT NULL DEFAULT 0,
    tokens_out BIGINT NOT NULL DEFAULT 0,
    cost DOUBLE NOT NULL DEFAULT 0,
    seconds DOUBLE NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    PRIMARY KEY (candidate_id, judge_id, replicate),
    -- A judge that failed gives no number, ever; a judge that scored gives at least the overall one.
    CHECK (status <> 'scored' OR score IS NOT NULL),
    CHECK (status = 'scored' OR (score IS NULL AND factual_accuracy IS NULL AND completeness IS NULL
                                 AND key_point_coverage IS NULL)),
    CHECK (status = 'scored' OR reason <> '')
);

CREATE TABLE pairwise_verdicts (
    judge_id VARCHAR,
    candidate_a VARCHAR,
    candidate_b VARCHAR,
    "order" VARCHAR,
    winner VARCHAR CHECK (winner IN ('a', 'b', 'tie')),
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unparsed', 'failed', 'refused')),
    reason VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (judge_id, candidate_a, candidate_b, "order"),
    CHECK ((status = 'scored') = (winner IS NOT NULL)),
    CHECK (status = 'scored' OR reason <> '')
);

CREATE TABLE preferences (
    pair_id VARCHAR PRIMARY KEY,
    round INTEGER NOT NULL,
    question_id VARCHAR NOT NULL,
    judge_id VARCHAR NOT NULL,
    chosen_id VARCHAR,
    rejected_id VARCHAR,
    chosen_score DOUBLE,
    rejected_score DOUBLE,
    margin DOUBLE,
    status VARCHAR NOT NULL CHECK (status IN ('kept', 'dropped')),
    reason VARCHAR NOT NULL DEFAULT '',
    CHECK (status = 'kept' OR reason <> ''),
    CHECK (status = 'dropped' OR (chosen_id IS NOT NULL AND rejected_id IS NOT NULL AND chosen_id <> rejected_id))
);

CREATE TABLE eval_items (
    policy_id VARCHAR,
    benchmark VARCHAR,
    split VARCHAR,
    item_id VARCHAR,
    metric VARCHAR,
    prediction VARCHAR NOT NULL DEFAULT '',
    target VARCHAR NOT NULL DEFAULT '',
    value DOUBLE,
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unparsed', 'failed')),
    reason VARCHAR NOT NULL DEFAULT '',
    judge_id VARCHAR DEFAULT '',
    protocol_hash VARCHAR DEFAULT '',
    data_sha256 VARCHAR DEFAULT '',
    -- The last three are in the key: results of another protocol, judge or data file stand beside the old ones.
    PRIMARY KEY (policy_id, benchmark, split, item_id, metric, judge_id, protocol_hash, data_sha256),
    CHECK (status <> 'scored' OR value IS NOT NULL),
    CHECK (value IS NOT NULL OR reason <> '')
);

CREATE TABLE gates (
    round INTEGER,
    look INTEGER,
    champion VARCHAR NOT NULL,
    challenger VARCHAR,
    condition VARCHAR,
    benchmark VARCHAR DEFAULT '',
    metric VARCHAR DEFAULT '',
    test VARCHAR DEFAULT '',
    n BIGINT,
    n_clusters BIGINT,
    b BIGINT,
    c BIGINT,
    champion_mean DOUBLE,
    challenger_mean DOUBLE,
    delta DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    p_value DOUBLE,
    p_adjusted DOUBLE,
    alpha DOUBLE,
    threshold DOUBLE,
    mde DOUBLE,
    passed BOOLEAN,
    detail VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (round, look, challenger, condition, benchmark, metric, test)
);

CREATE TABLE monitors (
    round INTEGER,
    name VARCHAR,
    value DOUBLE,
    threshold VARCHAR NOT NULL DEFAULT '',  -- text, because some are ranges
    red BOOLEAN NOT NULL,
    PRIMARY KEY (round, name)
);

CREATE TABLE decisions (
    seq BIGINT PRIMARY KEY,  -- the store numbers rows that come without one
    round INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    reason VARCHAR NOT NULL CHECK (reason <> ''),
    evidence JSON NOT NULL DEFAULT '{}',
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now()))
);

CREATE TABLE sealed_tests (
    session_id VARCHAR,
    round INTEGER,
    opened_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    policies VARCHAR[] NOT NULL,
    PRIMARY KEY (session_id, round)
);

CREATE TABLE train_log (
    policy_id VARCHAR,
    step INTEGER,
    name VARCHAR,
    value DOUBLE,
    PRIMARY KEY (policy_id, step, name)
);

CREATE TABLE leaks (
    question_id VARCHAR,
    kind VARCHAR,
    matched VARCHAR,
    similarity DOUBLE,
    PRIMARY KEY (question_id, kind, matched)
);

CREATE TABLE exam_items (
    judge_id VARCHAR,
    item_type VARCHAR,
    pair VARCHAR,
    outcome VARCHAR NOT NULL,
    good_score DOUBLE,
    bad_score DOUBLE,
    reason VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (judge_id, item_type, pair)
);

CREATE TABLE licences (
    judge_id VARCHAR PRIMARY KEY,
    passed BOOLEAN NOT NULL,
    n BIGINT NOT NULL,
    pair_accuracy DOUBLE,
    lower_bound DOUBLE,
    bounds JSON NOT NULL DEFAULT '{}',
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now()))
);
