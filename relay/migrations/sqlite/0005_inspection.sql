-- How far the file was looked through for what the disk has changed, from one start to the next: the places of rows, and the
-- numbers of what snapshots are made of.
CREATE TABLE inspection (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    place INTEGER NOT NULL,
    part  INTEGER NOT NULL
) STRICT;

INSERT INTO inspection (only, place, part) VALUES (1, 0, 0);
