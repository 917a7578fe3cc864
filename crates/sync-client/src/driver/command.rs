//! What handles ask of the driver.

use bytes::Bytes;
use sync_core::{
    Input,
    event::{Token, Wait},
    status::DeviceStatus,
};
use sync_types::{ErrorCode, LocalCursor, RelayId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    blob_state::{HoldersAnswer, Place},
    callers::Answer,
    store::AddressRow,
};

/// What a handle asks of the driver.
pub(crate) enum Command {
    /// Push a blob; see [`sync_core::Input::Push`].
    Push { token: Token, payload: Bytes, ttl_s: u32, wait: Wait, answer: Answer, room: OwnedSemaphorePermit },
    /// The caller of that push waits no longer; it still gets its answer.
    GiveUp { token: Token },
    /// The app has applied everything up to here. Answered when that is durable.
    AppAck { cursor: LocalCursor, answer: Done },
    /// A person decides something about the group: an input that the engine answers with [`Action::Admitted`]. Answered
    /// when that is durable, or with why it is not done.
    ///
    /// [`Action::Admitted`]: sync_core::Action::Admitted
    Decide { input: Box<Input>, answer: Done },
    /// Connect and stay connected, or don't.
    Online { online: bool },
    /// Try now what would be tried later.
    Nudge,
    /// Use these relays, in order of preference, and no others. Answered when the status counts with them.
    Relays { rows: Vec<AddressRow>, answer: Done },
    /// The group's devices.
    Devices { answer: oneshot::Sender<Result<Vec<DeviceStatus>, ErrorCode>> },
    /// Who has these envelopes.
    Holders { places: Vec<Place>, answer: HoldersAnswer },
    /// How many envelopes each relay was offered by the comparison that was asked for last; none of one that is not through.
    Compared { answer: ComparedAnswer },
    /// Store what is left to store, say goodbye to the relays, and end.
    Close,
}

/// Answered with a number for each relay.
pub(crate) type ComparedAnswer = oneshot::Sender<Result<Vec<(RelayId, Option<u64>)>, ErrorCode>>;

/// Answered when a request is done.
pub(crate) type Done = oneshot::Sender<Result<(), ErrorCode>>;
