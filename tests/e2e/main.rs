//! What the product promises, on real processes: a relay and devices on loopback, killed where it hurts.

mod contract;
mod copies;
mod devices;
mod keychain;
mod kit;
mod offline;
mod ordering;
mod pairing;
mod passphrase;
mod push_pull;
mod relays;
mod removal;
mod repair;
mod restart;
mod snapshots;
mod trace;
