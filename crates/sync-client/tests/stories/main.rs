//! Stories of clients and a real relay, in one process on loopback.

mod pairing;
mod support;
mod sync;
