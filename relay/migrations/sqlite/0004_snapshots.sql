-- Snapshots: manifests and the parts they name, all of them sealed, and in no log. The newest of a group's covers the
-- most, and of two that cover the same it has the higher number, which is never given again.
CREATE TABLE snapshots (
    no       INTEGER PRIMARY KEY AUTOINCREMENT,
    group_no INTEGER NOT NULL,
    id       BLOB    NOT NULL,                  -- its manifest's
    covers   INTEGER NOT NULL,
    UNIQUE (group_no, id)
) STRICT;

-- What a snapshot is made of: its manifest and its parts. Two may name the same.
CREATE TABLE snapshot_names (
    snapshot INTEGER NOT NULL,
    id       BLOB    NOT NULL,
    PRIMARY KEY (snapshot, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshot_blobs (
    no       INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL,
    id       BLOB    NOT NULL,
    waits_ms INTEGER,                           -- since when for a snapshot that names it; NULL once one does
    size     INTEGER NOT NULL,
    envelope BLOB    NOT NULL,
    UNIQUE (group_no, id)
) STRICT;

CREATE INDEX snapshot_blobs_that_wait ON snapshot_blobs (waits_ms) WHERE waits_ms IS NOT NULL;
