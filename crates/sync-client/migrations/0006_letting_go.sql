-- Bytes of the envelopes that are here still, and the last own one that was let go. A row whose envelope was has an empty one.
ALTER TABLE profile ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE profile ADD COLUMN own_gone INTEGER NOT NULL DEFAULT 0;
UPDATE profile SET kept_bytes = (SELECT coalesce(sum(length(envelope)), 0) FROM held);
