//! Two devices that share nothing but a code become members of one group.
//!
//! Each side is a state machine without I/O: [`Creator`] on the device that invites, [`Joiner`] on the one that comes.
//! Both take a [`PairingInput`] and return [`PairingAction`]s to perform in order. The messages travel through a relay's
//! mailbox, or later directly: nothing here knows the difference. An invite has two passwords, one that a person can
//! type and one in a link or QR code; the joiner says which of them it was given, and that is all that differs.
//!
//! | who could be in between | what stops them |
//! | --- | --- |
//! | someone without the code, the relay included | SPAKE2 with confirmation: one guess, then the code is burnt |
//! | someone with the code | six digits on both screens, which a commitment keeps from being steered |
//! | someone who records everything, and has a quantum computer later | ML-KEM beside X25519, under the PAKE's key |
//!
//! Invariants: the group's secrets leave the creator only after both people agreed, and only once the joiner is in the
//! roster, where it can be seen and removed. A pairing that went wrong anywhere is over: its state is in memory only,
//! and there is no second guess.

use std::fmt;

use bytes::Bytes;
use sync_types::{ErrorCode, invite::MailboxName};

pub use self::{
    creator::Creator,
    grant::{Grant, Membership, Place},
    joiner::Joiner,
    transcript::Digits,
};

#[cfg(test)]
mod attacks;
mod creator;
mod grant;
#[cfg(any(test, feature = "test-utils"))]
pub mod hostile;
mod joiner;
mod kem;
mod noise;
mod pake;
mod rng;
mod transcript;
#[cfg_attr(not(any(test, feature = "test-utils")), expect(unreachable_pub, reason = "only tests take pieces away"))]
mod weakness;
mod wire;

/// Something that happened.
#[derive(Clone)]
pub enum PairingInput {
    /// A message of the other side came.
    Message {
        /// Its number.
        index: u8,
        /// Its bytes.
        bytes: Bytes,
    },
    /// This device's person confirmed the digits.
    Approve,
    /// They did not, or gave up.
    Deny,
    /// The mailbox is not there (any more), though its time is not over.
    Gone,
    /// Its time is over.
    Expired,
}

/// Something to do, in the order given. After [`Self::Done`] or [`Self::Failed`] there is nothing more.
pub enum PairingAction<Outcome> {
    /// Open a mailbox with the first message in it. If the name is taken, start over with another code.
    Create {
        /// Its name.
        name: MailboxName,
        /// Message 0.
        message: Bytes,
    },
    /// Take the joiner's side of a mailbox, and feed message 0.
    Claim {
        /// Its name.
        name: MailboxName,
    },
    /// Leave a message. If the mailbox is not there for it, feed [`PairingInput::Gone`].
    Post {
        /// Its number.
        index: u8,
        /// Its bytes.
        message: Bytes,
    },
    /// Wait for the other side's message and feed it, or [`PairingInput::Gone`]. Goes on while a person is asked, and
    /// ends with the next message to leave.
    Wait {
        /// Its number.
        from: u8,
    },
    /// Ask the person whether the other screen shows the same. Feed [`PairingInput::Approve`] or
    /// [`PairingInput::Deny`].
    ShowDigits {
        /// What both screens show.
        digits: Digits,
        /// What the other device calls itself.
        name: String,
        /// What it runs on.
        platform: String,
    },
    /// What it was all for. Make it durable before the next action.
    Deliver(Outcome),
    /// Remove the mailbox.
    Burn,
    /// It worked.
    Done,
    /// It did not.
    Failed(PairingError),
}

impl fmt::Debug for PairingInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { index, bytes } => write!(f, "Message({index}, {} bytes)", bytes.len()),
            Self::Approve => f.write_str("Approve"),
            Self::Deny => f.write_str("Deny"),
            Self::Gone => f.write_str("Gone"),
            Self::Expired => f.write_str("Expired"),
        }
    }
}

impl<Outcome> fmt::Debug for PairingAction<Outcome> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { message, .. } => write!(f, "Create({} bytes)", message.len()),
            Self::Claim { .. } => f.write_str("Claim"),
            Self::Post { index, message } => write!(f, "Post({index}, {} bytes)", message.len()),
            Self::Wait { from } => write!(f, "Wait({from})"),
            Self::ShowDigits { .. } => f.write_str("ShowDigits(..)"),
            Self::Deliver(_) => f.write_str("Deliver(..)"),
            Self::Burn => f.write_str("Burn"),
            Self::Done => f.write_str("Done"),
            Self::Failed(error) => write!(f, "Failed({error:?})"),
        }
    }
}

macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident = $reason:literal, $code:ident, $text:literal;)*) => {
        /// Why a pairing is over. None of them leaves anything shared, but for a grant that was under way.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum PairingError { $($(#[$doc])* #[error($text)] $variant,)* }

        impl PairingError {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What front ends branch on.
            pub const fn code(self) -> ErrorCode {
                match self { $(Self::$variant => ErrorCode::$code,)* }
            }

            /// Its number in a refusal.
            const fn reason(self) -> u8 {
                match self { $(Self::$variant => $reason,)* }
            }

            /// A reason of a newer build is as good as none.
            const fn from_reason(reason: u8) -> Self {
                match reason { $($reason => Self::$variant,)* _ => Self::Broken }
            }
        }
    };
}

errors! {
    /// There is no such invite.
    NotFound = 1, InviteNotFound, "there is no such invite";
    /// The joiner typed another password.
    WrongCode = 2, WrongCode, "the code was wrong";
    /// Ten minutes are over.
    Expired = 3, CodeExpired, "the code is no longer valid";
    /// One of the two people said no.
    Denied = 4, PairingDenied, "pairing was declined";
    /// The joiner runs another app than the group.
    OtherApp = 5, OtherApp, "the invite belongs to another app";
    /// The group takes no more devices, or what a joiner has to know no longer fits a mailbox.
    GroupTooLarge = 6, GroupTooLarge, "the group is too large";
    /// What came was not what an honest device sends: altered, cut off, repeated or out of order.
    Broken = 7, PairingFailed, "the other side did not follow the protocol";
}
