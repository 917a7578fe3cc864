//! What a device can do in its session.

use arbitrary::Arbitrary;

/// One thing a device does.
#[derive(Arbitrary, Debug)]
pub(super) enum Step {
    /// Greets, properly or nearly.
    Hello { twist: Twist },
    /// Pushes an envelope.
    Push { shape: Shape, age_s: u32 },
    /// Pushes one again.
    PushAgain { which: u8, age_s: u32 },
    /// Reads from a row that it knows, or from anywhere.
    Pull { after: Option<u64>, limit: u32, follow: bool },
    /// Says how far it has read.
    Ack { cursor: u64 },
    /// Asks for an envelope it pushed, or for another.
    Get { which: Option<u8> },
    /// Waits for all answers.
    Settle,
    /// Alters a byte of the next message.
    Alter { at: u16, with: u8 },
    /// Sends a frame that anybody made up.
    Raw { kind: u8, content: Vec<u8> },
    /// Sends bytes that need not be a frame.
    Bytes { bytes: Vec<u8> },
    /// Says that the group is known by one of its ids from now on, and that others are over: one bit for each.
    Move { to: u8, over: u8, flaw: Flaw },
    /// Publishes a snapshot of so many of the parts that it pushed last, which covers all up to a row.
    Publish { shape: Shape, parts: u8, covers: Option<u64> },
    /// Hangs up and comes again, by one of the group's ids.
    Again { id: u8 },
}

/// How a MOVE is wrong.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// The new id's key has signed nothing.
    Unsigned,
    /// Signed for another connection.
    Replayed,
    /// Signed by the new id's key in the place of the old one's.
    Squatted,
    /// The new id is over, too.
    OntoItself,
}

/// How a greeting is wrong.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    None,
    /// It has read this log before, so far.
    KnownLog {
        log: u8,
        cursor: u64,
    },
    Version {
        version: u16,
    },
    /// Signed for another connection.
    Replayed,
    /// Another group's id.
    Squatted,
    /// A signature of this length.
    Cut {
        len: u8,
    },
    /// Of a device that knows of no MOVE.
    Older,
}

/// What an envelope is like that a device pushes. Nobody but a member can tell whether it opens.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) kind: u8,
    pub(super) own: bool,
    pub(super) ttl_s: u32,
    /// Bytes of its body beyond the least there may be; less than that for a negative number.
    pub(super) more: i16,
    pub(super) version: Option<u8>,
}
