//! What strangers may send, tried by the million.
//!
//! Each module is one target: a function that takes any bytes and panics if something that is promised of them does
//! not hold. `cargo xtask fuzz` lets libFuzzer choose the bytes; the test `corpus` tries again what it has kept.
//!
//! Invariant: a target is a function of its bytes. What it finds once it finds again.

mod config;
mod engine;
mod envelope;
mod frame;
mod invite;
mod message;
mod msgpack;
mod session;
mod well_known;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Tries these bytes. Panics if a promise does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: frame::run },
    Target { name: "message", run: message::run },
    Target { name: "envelope", run: envelope::run },
    Target { name: "invite", run: invite::run },
    Target { name: "config", run: config::run },
    Target { name: "well_known", run: well_known::run },
    Target { name: "session", run: session::run },
    Target { name: "engine", run: engine::run },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
