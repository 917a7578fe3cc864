//! What a device can ask for, one file a request: read it, make one call, answer.

pub(crate) mod ack;
pub(crate) mod get;
pub(crate) mod hello;
pub(crate) mod moving;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod receipt;
pub(crate) mod snapshot;
pub(crate) mod write;
