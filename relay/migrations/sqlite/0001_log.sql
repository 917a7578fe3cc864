-- One log a group: entries numbered from 1 without a gap, each chained to the one before by its run.
--
-- An entry whose time is over keeps its place and its blob id (envelope NULL) until every known device has
-- read past it. Then the front of the log is cut off, and the floor says where and with which run.

-- A number is never given again: what still comes for a group that was forgotten must not meet another's log.
CREATE TABLE groups (
    no             INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL UNIQUE,
    log_id         BLOB    NOT NULL,
    head_cursor    INTEGER NOT NULL DEFAULT 0,
    head_run       BLOB    NOT NULL,
    floor_cursor   INTEGER NOT NULL DEFAULT 0,
    floor_run      BLOB    NOT NULL,
    bytes          INTEGER NOT NULL DEFAULT 0,
    indexed_cursor INTEGER NOT NULL DEFAULT 0,  -- rows after it are not in blob_ids yet
    visited_ms     INTEGER NOT NULL
) STRICT;

-- A row's place is its group's number and, in the low 35 bits, its cursor: a log is one run of the table, and finding
-- a row takes no index. Not WITHOUT ROWID: that moves what is over a quarter of a page to pages of its own, and an
-- envelope of 1 KiB would take 4.
CREATE TABLE entries (
    place       INTEGER PRIMARY KEY,
    id_high     INTEGER NOT NULL,               -- the two halves of the blob id
    id_low      INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    run         BLOB    NOT NULL,
    size        INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    expires_ms  INTEGER,
    envelope    BLOB
) STRICT;

-- What a group has of its reserve for control envelopes (kind 2).
CREATE INDEX entries_of_control ON entries (place, size) WHERE kind = 2;
CREATE INDEX entries_by_expiry ON entries (expires_ms) WHERE expires_ms IS NOT NULL AND envelope IS NOT NULL;

-- Where a blob stands. No index of `entries`, because blob ids are random: each new row would change a page of it.
-- The writer adds thousands of rows at once instead, in the order of their ids. Half an id is enough to find a few
-- rows, one of which is the blob's.
CREATE TABLE blob_ids (
    id_high INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    PRIMARY KEY (id_high, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    group_no INTEGER NOT NULL,
    device   BLOB    NOT NULL,
    acked    INTEGER NOT NULL,
    seen_ms  INTEGER NOT NULL,
    PRIMARY KEY (group_no, device)
) STRICT, WITHOUT ROWID;

-- How far retention has come; see the relay's retention clock.
CREATE TABLE clock (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    time_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL
) STRICT;
