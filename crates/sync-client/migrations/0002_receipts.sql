-- The newest receipt of each device, this one's among them: how far it says to have come. Sealed, as it travels.
CREATE TABLE receipt (
    device   INTEGER PRIMARY KEY REFERENCES device (no),
    envelope BLOB    NOT NULL
) STRICT;
