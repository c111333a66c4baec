-- Where a judge was asked: two servers may serve other models under one name, and a licence holds for one of them.

-- One server that judge `judge_id` was examined at, or first asked at. The judge's newest row is the one that counts.
CREATE TABLE judge_servers (
    judge_id VARCHAR,
    server VARCHAR,  -- hash of the address
    host VARCHAR NOT NULL,
    model_sha256 VARCHAR NOT NULL DEFAULT '',  -- of what the server's list of models says about this one; '' without a list
    probe VARCHAR NOT NULL DEFAULT '',  -- the marks it gave to fixed answers, as JSON; '' where they are drawn (temperature)
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    PRIMARY KEY (judge_id, server)
);
