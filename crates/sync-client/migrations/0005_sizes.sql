-- Bytes of all envelopes that were ever taken in or sealed, and of those that stood in a snapshot that the app took.
ALTER TABLE profile ADD COLUMN held_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE profile SET held_bytes = (SELECT coalesce(sum(length(envelope)), 0) FROM held);
