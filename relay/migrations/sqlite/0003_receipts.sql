-- How far devices say to have come: the newest of each device of a group, under its current id. A number is never given
-- again, so whoever was told up to one knows what is new by the numbers alone.
CREATE TABLE receipts (
    no       INTEGER PRIMARY KEY AUTOINCREMENT,
    group_no INTEGER NOT NULL,
    device   BLOB    NOT NULL,
    envelope BLOB    NOT NULL,
    UNIQUE (group_no, device)
) STRICT;
