-- When a device was last seen, in Unix milliseconds.
ALTER TABLE device ADD COLUMN seen_ms INTEGER;
