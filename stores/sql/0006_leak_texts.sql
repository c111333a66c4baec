-- What leaked, in words: a question that was dropped for it has no row in `questions`.

ALTER TABLE leaks ADD COLUMN question VARCHAR DEFAULT '';
ALTER TABLE leaks ADD COLUMN matched_question VARCHAR DEFAULT '';
ALTER TABLE leaks ADD COLUMN dropped VARCHAR DEFAULT '';  -- which of the two went: question or matched
