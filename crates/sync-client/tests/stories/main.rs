//! Stories of clients and a real relay, in one process on loopback.

mod copies;
mod direct;
mod double;
mod hostile;
mod pairing;
mod snapshots;
mod support;
mod sync;
