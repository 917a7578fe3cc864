//! The words a 0k-Sync device and its relay share.
//!
//! Ids, cursors, envelopes, messages, the frames they travel in, every limit and every error code. Both sides
//! link this crate, and the relay links nothing else of ours: what can't be expressed here, a relay can't know.
//!
//! **Absent on purpose:** keys and ciphers (sync-core), sockets and clocks (sync-client, the relay). Hashing is
//! here because a hash is how things are named. Decoding never panics and never allocates past [`limits`].

pub mod code;
pub mod cursor;
pub mod describe;
pub mod envelope;
pub mod frame;
pub mod id;
pub mod invite;
pub mod limits;
pub mod mailbox;
pub mod message;
pub mod sign;
pub mod well_known;
#[doc(hidden)]
pub mod wire;

pub use code::{ErrorCode, Reaction};
pub use cursor::{LocalCursor, RelayCursor, Seq};
pub use envelope::{Body, Codec, Envelope, EnvelopeError, Header, Kind};
pub use frame::{DecodeError, FrameBuffer, FrameError, RawFrame};
pub use id::{
    AuthPublic, BlobHash, BlobId, DeviceId, GroupId, KeyId, LocalLogId, LogId, PushId, RelayGroupId, RelayId,
    RequestId, Run,
};
pub use invite::{Invite, InviteCode, InviteLink};
pub use message::{DeviceMsg, RelayMsg};
