-- Whether a relay that lost nothing is compared with what is held here.
ALTER TABLE relay_state ADD COLUMN compares INTEGER NOT NULL DEFAULT 0;
