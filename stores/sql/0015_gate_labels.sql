-- What a person or a careful judge says of the champion's and the challenger's answer to a gate item, side by side and blind:
-- it corrects the gate's judge (gate.labels).

CREATE TABLE gate_labels (
    champion VARCHAR,
    challenger VARCHAR,
    item_id VARCHAR,
    judge_id VARCHAR,
    shown VARCHAR NOT NULL CHECK (shown IN ('champion first', 'challenger first', 'one at a time')),
    champion_mark DOUBLE CHECK (champion_mark BETWEEN 0 AND 1),
    challenger_mark DOUBLE CHECK (challenger_mark BETWEEN 0 AND 1),
    status VARCHAR NOT NULL CHECK (status IN ('scored', 'unparsed', 'failed', 'refused')),
    reason VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())),
    PRIMARY KEY (champion, challenger, item_id, judge_id),
    CHECK ((status = 'scored') = (champion_mark IS NOT NULL AND challenger_mark IS NOT NULL)),
    CHECK (status = 'scored' OR reason <> '')
);
