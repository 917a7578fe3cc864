//! What can happen to a device.

use arbitrary::Arbitrary;
use sync_core::event::Wait;

/// One thing that happens. Which relay is `false` for the first, `true` for the second.
#[derive(Arbitrary, Debug)]
pub(super) enum Step {
    /// The app pushes so many bytes.
    Push { len: u8, wait: PushWait },
    /// A relay says something that fits what it was asked, or nearly.
    Say { relay: bool, saying: Saying },
    /// A connection that was asked for comes up.
    Up { relay: bool },
    /// A connection breaks, or does not come up.
    Down { relay: bool, reason: u16 },
    /// A relay sends a frame that anybody made up.
    Raw { relay: bool, kind: u8, content: Vec<u8> },
    /// Time passes.
    Wait { ms: u16 },
    /// Time passes until the engine wants to be woken.
    Timer,
    /// The app has focus.
    Nudge,
    /// The person switches the network on or off.
    Online { online: bool },
    /// The app has applied something.
    AppAck { cursor: u8 },
    /// A person lets a device in.
    Admit,
    /// The process ends and starts again. In a crash, what was only noted is gone.
    Restart { crash: bool },
}

/// What a push waits for.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum PushWait {
    Local,
    Relay,
    All,
}

impl From<PushWait> for Wait {
    fn from(wait: PushWait) -> Self {
        match wait {
            PushWait::Local => Self::Local,
            PushWait::Relay => Self::Relay,
            PushWait::All => Self::All,
        }
    }
}

/// What a relay says. An `Option` that is none stands for what an honest relay would say there.
#[derive(Arbitrary, Debug)]
pub(super) enum Saying {
    Welcome {
        log: bool,
        max: Option<u8>,
        version: Option<u16>,
        stranger: bool,
    },
    /// Rows, from where the device has read on.
    Page {
        after: Option<u8>,
        rows: Vec<RowSaying>,
        max: Option<u8>,
    },
    /// An acknowledgement of one of the pushes that are not answered.
    PushAck {
        which: u8,
        blob: bool,
        cursor: Option<u8>,
    },
    Gap {
        floor: u8,
        other_pull: bool,
    },
    Refused {
        what: Refusing,
        code: u16,
        retry_after_ms: u32,
    },
    Notify,
}

/// What is refused.
#[derive(Arbitrary, Debug)]
pub(super) enum Refusing {
    Connection,
    Pull,
    Push { which: u8 },
    Nothing { id: u32 },
}

/// A row of a page.
#[derive(Arbitrary, Debug)]
pub(super) enum RowSaying {
    /// One of the envelopes that are made up beforehand, members' and others'.
    Made { which: u8 },
    /// The same with a byte altered.
    Altered { which: u8, at: u16, with: u8 },
    /// One of the device's own.
    Own { which: u8 },
    /// An id where an envelope might be: expired, or the device's own.
    Id { yours: bool, own: bool, which: u8 },
    /// Anything.
    Raw { kind: u8, bytes: Vec<u8> },
}
