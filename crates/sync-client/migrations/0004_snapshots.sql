-- The app's state as a snapshot: this device's newest, for the relays, and one that is being loaded. As they travel, sealed.
CREATE TABLE snapshot (
    id       BLOB    PRIMARY KEY,               -- of the manifest
    own      INTEGER NOT NULL UNIQUE,
    manifest BLOB    NOT NULL
) STRICT;

CREATE TABLE snapshot_part (
    snapshot BLOB NOT NULL REFERENCES snapshot (id) ON DELETE CASCADE,
    id       BLOB NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (snapshot, id)
) STRICT;
