//! Mailboxes: where two devices that share nothing but a code leave each other sixteen messages.
//!
//! One store on the relay, reached in two ways: as frames on the ALPN [`crate::limits::ALPN_INVITE`], for relays
//! known by id, and over HTTP for relays known by address. The device that invites answers the same frames itself, but
//! for the first, while a link leads to it:
//!
//! | request | frame | HTTP | answer |
//! | --- | --- | --- | --- |
//! | [`Create`] | 60 | `POST /invite` | 61 [`Created`] |
//! | [`Claim`] | 62 | `GET /invite/{name}` | 63 [`Claimed`] |
//! | [`Post`] | 64 | `POST /invite/{name}/messages` | 65 [`Done`] |
//! | [`Wait`] | 66 | `GET /invite/{name}/messages?from=N&wait_ms=M` | 67 [`Messages`] |
//! | [`Burn`] | 68 | `DELETE /invite/{name}` | 65 [`Done`] |
//!
//! Over HTTP the token travels as `Authorization: Bearer <hex>`, bodies are the same fields as a JSON object with
//! messages in base64, and a refusal is `{"error":{"code","message"}}` with a status that fits. The messages of a
//! mailbox are numbered from 0; the creator's first comes with [`Create`]. Creator and joiner alternate.

mod rules;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::{
    frame::{DecodeError, RawFrame, encode_frame},
    id::RequestId,
    invite::MailboxName,
    limits::MAILBOX_MESSAGES_MAX,
    message::{Refused, messages},
    wire::{AtMost, message},
};

pub use self::rules::{Mailbox, Side};

/// What opens a mailbox: sixteen random bytes, each side's own. It does not print. Compare in constant time where a
/// stranger may try.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(ByteArray<16>);

impl Token {
    /// Wraps the raw bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(ByteArray::new(bytes))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

message! {
    /// Open a mailbox and leave the first message in it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Create {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// Chosen by the creator. One that is taken is `invite_name_taken`.
        ///
        /// A relay needs it to find the mailbox. It is the first half of the code; the second, the password, never
        /// leaves the devices.
        pub name: MailboxName,
        /// Chosen by the creator, so that a repeated request is recognised.
        ///
        /// A relay needs it to let only the creator be the creator.
        pub token: Token,
        /// Message 0.
        ///
        /// A relay needs it to hand it to the joiner. It allows no guess at the password.
        pub message: Bytes,
    }
}

message! {
    /// The mailbox is open.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Created {
        /// The request's.
        pub id: RequestId,
        /// Seconds until it is gone.
        pub expires_in_s: u32,
    }
}

message! {
    /// Take the joiner's side. The same token gets the same answer; any other is `invite_claimed`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Claim {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// The mailbox.
        ///
        /// A relay needs it to find it.
        pub name: MailboxName,
        /// Chosen by the joiner.
        ///
        /// A relay needs it to let only one joiner in.
        pub token: Token,
    }
}

message! {
    /// The joiner's side is this device's.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Claimed {
        /// The request's.
        pub id: RequestId,
        /// Seconds until the mailbox is gone.
        pub expires_in_s: u32,
        /// Message 0.
        pub message: Bytes,
    }
}

message! {
    /// Leave the next message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Post {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// The mailbox.
        ///
        /// A relay needs it to find it.
        pub name: MailboxName,
        /// The creator's or the joiner's.
        ///
        /// A relay needs it to let only the two sides write.
        pub token: Token,
        /// Its number. The same bytes under the same number again are no error; others are `invite_conflict`.
        ///
        /// A relay needs it to keep the messages in order, and to see a repetition.
        pub index: u8,
        /// The message.
        ///
        /// A relay needs it to hand it to the other side. From the third on it is encrypted between the two.
        pub message: Bytes,
    }
}

message! {
    /// It is done.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Done {
        /// The request's.
        pub id: RequestId,
    }
}

message! {
    /// Read the messages from a number on; wait for one if there is none yet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Wait {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// The mailbox.
        ///
        /// A relay needs it to find it.
        pub name: MailboxName,
        /// The creator's or the joiner's.
        ///
        /// A relay needs it to let only the two sides read.
        pub token: Token,
        /// The first number wanted.
        ///
        /// A relay needs it to send each message once.
        pub from: u8,
        /// How long to wait at most, up to [`crate::limits::MAILBOX_WAIT_MAX`]. Then the answer is empty.
        ///
        /// A relay needs it to answer when the device still listens.
        pub wait_ms: u32,
    }
}

message! {
    /// The messages from the asked number on.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Messages {
        /// The request's.
        pub id: RequestId,
        /// In order; empty if none came in time.
        pub messages: AtMost<MAILBOX_MESSAGES_MAX, Bytes>,
    }
}

message! {
    /// Remove the mailbox: the code is used up.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Burn {
        /// Repeated by the answer.
        ///
        /// A relay needs it to say which request it answers.
        pub id: RequestId,
        /// The mailbox.
        ///
        /// A relay needs it to find it.
        pub name: MailboxName,
        /// The creator's or the joiner's.
        ///
        /// A relay needs it to let only the two sides remove it.
        pub token: Token,
    }
}

messages! {
    /// From a device to a relay.
    pub enum MailboxRequest {
        /// See [`Create`].
        Create = 0x60,
        /// See [`Claim`].
        Claim = 0x62,
        /// See [`Post`].
        Post = 0x64,
        /// See [`Wait`].
        Wait = 0x66,
        /// See [`Burn`].
        Burn = 0x68,
    }
}

messages! {
    /// From a relay to a device.
    pub enum MailboxReply {
        /// See [`Created`].
        Created = 0x61,
        /// See [`Claimed`].
        Claimed = 0x63,
        /// See [`Done`].
        Done = 0x65,
        /// See [`Messages`].
        Messages = 0x67,
        /// See [`Refused`].
        Refused = 0xFF,
    }
}
