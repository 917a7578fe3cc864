-- What a relay takes at most, so that a push is refused at once and not when the relay is next met.
ALTER TABLE relay_state ADD COLUMN blob_len_max INTEGER;
