-- What others say to have read of the log and is not shown here, as sync-core encodes it.
ALTER TABLE relay_state ADD COLUMN contradictions BLOB NOT NULL DEFAULT x'90';

-- The newest receipt of each device, this one's among them: how far it says to have come. Sealed, as it travels.
CREATE TABLE receipt (
    device   INTEGER PRIMARY KEY REFERENCES device (no),
    envelope BLOB    NOT NULL
) STRICT;
