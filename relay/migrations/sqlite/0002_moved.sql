-- Ids that a group is known by no longer, with what its members left there for holders of the old key, in the order in
-- which it came. An id that is here is never one of `groups` as well.
CREATE TABLE moved (
    no       INTEGER PRIMARY KEY,
    id       BLOB    NOT NULL,
    target   BLOB    NOT NULL,                  -- what the group is known by now
    moved_ms INTEGER NOT NULL,
    package  BLOB                               -- NULL once newer ones needed its room
) STRICT;

CREATE INDEX moved_by_id ON moved (id);
CREATE INDEX moved_by_target ON moved (target);
CREATE INDEX moved_by_time ON moved (moved_ms);
