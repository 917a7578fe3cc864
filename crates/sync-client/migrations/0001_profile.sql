-- The profile itself. One row, made by `init`.
CREATE TABLE profile (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    profile_id   BLOB    NOT NULL,
    local_log_id BLOB    NOT NULL,
    name         TEXT    NOT NULL,
    app_id       TEXT    NOT NULL,
    secrets      TEXT    NOT NULL,
    group_id     BLOB,                          -- set with device_id, when the profile enters a group
    device_id    BLOB,
    offered      INTEGER NOT NULL DEFAULT 0,
    app_acked    INTEGER NOT NULL DEFAULT 0,
    reused       INTEGER NOT NULL DEFAULT 0     -- another installation uses this device's identity
) STRICT;

-- The relays a person configured, in order of preference, and who answered there first.
CREATE TABLE relay_address (
    place    INTEGER PRIMARY KEY,
    address  TEXT    NOT NULL UNIQUE,
    relay    BLOB,
    hosts    TEXT                               -- host:port, a line each, as the relay last said
) STRICT;

-- What is known of one relay's log.
CREATE TABLE relay_state (
    relay       BLOB    PRIMARY KEY,
    log_id      BLOB    NOT NULL,
    pulled      INTEGER NOT NULL,
    run         BLOB    NOT NULL,
    acked       INTEGER NOT NULL,
    mark_cursor INTEGER,
    mark_run    BLOB,
    refill      INTEGER,
    blob_len_max INTEGER,                       -- what it takes at most, so that a push is refused at once
    paved_head  BLOB,                           -- the commit that the group was moved to there, and a hash of all that
    paved_known BLOB                            -- were known then
) STRICT, WITHOUT ROWID;

-- Devices by a small number, because every held row names one.
CREATE TABLE device (
    no      INTEGER PRIMARY KEY,
    id      BLOB    NOT NULL UNIQUE,
    seen_ms INTEGER                             -- when it was last seen, in Unix milliseconds
) STRICT;

-- How far each sender is held.
CREATE TABLE sender (
    device   INTEGER PRIMARY KEY REFERENCES device (no),
    seq      INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    holes    BLOB    NOT NULL,                  -- pairs of u64, big endian
    expected INTEGER NOT NULL
) STRICT;

-- Every envelope this device holds, in the order they came to rest. Sealed: it is opened when it is read. `sender` is
-- a device's number; that it is one is not checked again for each of a hundred thousand rows.
CREATE TABLE held (
    position INTEGER PRIMARY KEY,
    sender   INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    kind     INTEGER NOT NULL,
    cursor   INTEGER UNIQUE,
    push_id  BLOB    NOT NULL,
    time_ms  INTEGER NOT NULL,
    held_ms  INTEGER NOT NULL,
    late     INTEGER NOT NULL,
    envelope BLOB    NOT NULL,
    UNIQUE (sender, seq)
) STRICT;

-- Envelopes whose predecessor, or whose sender's roster entry, has not come yet.
CREATE TABLE waiting (
    hash     BLOB PRIMARY KEY,
    sender   BLOB NOT NULL,
    envelope BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Envelopes that can't be read here, and why.
CREATE TABLE parked (
    blob_id  BLOB    PRIMARY KEY,
    reason   INTEGER NOT NULL,
    envelope BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- Verified roster entries.
CREATE TABLE roster (
    place INTEGER PRIMARY KEY,
    entry BLOB    NOT NULL UNIQUE
) STRICT;
