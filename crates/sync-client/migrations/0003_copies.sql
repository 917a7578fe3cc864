-- What this device's keys follow from, as often as it found that it was copied: see `identity.rs` of the core. The keys
-- themselves follow from those in the keychain, which stay what they are.
CREATE TABLE nonce (
    place INTEGER PRIMARY KEY,
    nonce BLOB    NOT NULL
) STRICT;
