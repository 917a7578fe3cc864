//! What we are compared with: things that have no more to do than they must, and what others built.

pub(crate) mod awake;
pub(crate) mod disk;
pub(crate) mod echo;
pub(crate) mod nats;
pub(crate) mod redis;
pub(crate) mod sqlite;
