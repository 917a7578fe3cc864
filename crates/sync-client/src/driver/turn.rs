//! What one turn of the loop gathers, sorted into what has to be durable first and what is done after.

use sync_core::{
    Action, Event,
    event::{Load, PushState, Pushed, StoreOp, Token},
};
use sync_types::{DeviceMsg, ErrorCode, RelayId};

use super::Done;

/// Inputs in one turn.
const TURN_INPUTS_MAX: usize = 1_024;
/// Bytes to store in one turn, roughly.
const TURN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What one turn of the loop is to do, in order: first store, then the rest.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) inputs: usize,
    pub(super) bytes: usize,
    pub(super) ops: Vec<StoreOp>,
    pub(super) must_store: bool,
    pub(super) sealed: Vec<Token>,
    pub(super) todo: Vec<Todo>,
    /// The engine is over: nothing more is gathered for it.
    pub(super) is_last: bool,
    /// What the last entry for the roster came to.
    pub(super) admitted: Option<Result<(), ErrorCode>>,
}

/// What is done once everything before it is durable.
pub(super) enum Todo {
    Load(Load),
    Connect(RelayId),
    Disconnect(RelayId),
    Send(RelayId, DeviceMsg),
    Reply(Token, Result<Pushed, ErrorCode>),
    Emit(Event),
    Reopen,
    GiveUp(Token),
    Done(Done, Result<(), ErrorCode>),
}

impl Turn {
    pub(super) fn has_room(&self) -> bool {
        self.inputs < TURN_INPUTS_MAX && self.bytes < TURN_BYTES_MAX && !self.is_last
    }

    pub(super) fn take(&mut self, action: Action) {
        match action {
            Action::Store(ops) => {
                self.must_store = true;
                self.store(ops);
            }
            Action::Note(ops) => self.store(ops),
            Action::Load(load) => self.todo.push(Todo::Load(load)),
            Action::Connect { relay } => self.todo.push(Todo::Connect(relay)),
            Action::Disconnect { relay } => self.todo.push(Todo::Disconnect(relay)),
            Action::Send { relay, message } => self.todo.push(Todo::Send(relay, message)),
            Action::Reply { token, result } => self.todo.push(Todo::Reply(token, result)),
            Action::Admitted { result } => self.admitted = Some(result),
            Action::Reopen => {
                self.is_last = true;
                self.todo.push(Todo::Reopen);
            }
            Action::Emit(event) => self.todo.push(Todo::Emit(event)),
        }
    }

    fn store(&mut self, ops: Vec<StoreOp>) {
        for op in &ops {
            if let StoreOp::PutOwn(row) | StoreOp::Reseal(row) | StoreOp::Adopt { row, .. } | StoreOp::Take(row) = op {
                self.bytes += row.envelope.len();
            }
            if let StoreOp::SnapshotPart { envelope, .. } | StoreOp::Mend { envelope, .. } = op {
                self.bytes += envelope.len();
            }
            if let StoreOp::Snapshot { parts, .. } = op {
                self.bytes += parts.iter().map(|(_, part)| part.len()).sum::<usize>();
            }
        }
        self.ops.extend(ops);
    }
}

/// What the caller of a push is told, if the change is that push.
pub(super) fn own_blob(op: &StoreOp) -> Option<Pushed> {
    match op {
        StoreOp::PutOwn(row) => Some(Pushed { push_id: row.push_id, cursor: row.cursor?, state: PushState::Queued }),
        StoreOp::Take(_)
        | StoreOp::Mend { .. }
        | StoreOp::Reseal(_)
        | StoreOp::Sender(_)
        | StoreOp::Wait(_)
        | StoreOp::Unwait { .. }
        | StoreOp::Park(_)
        | StoreOp::Unpark { .. }
        | StoreOp::Relay { .. }
        | StoreOp::Offered { .. }
        | StoreOp::AppAck { .. }
        | StoreOp::IdentityReused
        | StoreOp::Identity { .. }
        | StoreOp::Adopt { .. }
        | StoreOp::Roster { .. }
        | StoreOp::Seen { .. }
        | StoreOp::Receipt { .. }
        | StoreOp::Superseded { .. }
        | StoreOp::Snapshot { .. }
        | StoreOp::SnapshotPart { .. }
        | StoreOp::SnapshotOver { .. }
        | StoreOp::HeldBytes { .. }
        | StoreOp::LetGo { .. } => None,
    }
}
