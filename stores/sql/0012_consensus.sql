-- How far an answer agrees with the other answers to its question (pairs.consensus): the part of a label that is no judge's.

CREATE TABLE consensus (
    candidate_id VARCHAR PRIMARY KEY,
    token_f1 DOUBLE NOT NULL  -- mean with each other answer to the question, 0-1
);
