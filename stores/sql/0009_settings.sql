-- What a base or a policy says beside its weights: configuration, tokenizer, chat template, generation settings, adapter. Name -> value or
-- SHA-256. Empty in runs from before, until their next session.

ALTER TABLE policies ADD COLUMN settings JSON DEFAULT '{}';
