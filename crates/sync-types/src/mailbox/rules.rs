//! What two sides may do with one mailbox, wherever it is kept: on a relay, or on the device that invites.
//!
//! Time, waiting, and how often somebody may ask are for whoever keeps it.

use bytes::Bytes;
use subtle::ConstantTimeEq as _;

use super::Token;
use crate::{
    code::ErrorCode,
    limits::{MAILBOX_MESSAGE_LEN_MAX, MAILBOX_MESSAGES_MAX},
};

/// One mailbox: who may use it, and what is in it.
#[derive(Debug)]
pub struct Mailbox {
    creator: Token,
    joiner: Option<Token>,
    messages: Vec<Bytes>,
}

/// Which of the two a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who opened the mailbox.
    Creator,
    /// Who claimed it.
    Joiner,
}

impl Side {
    /// They take turns, and the creator began.
    fn posts(self, index: usize) -> bool {
        match self {
            Self::Creator => index.is_multiple_of(2),
            Self::Joiner => !index.is_multiple_of(2),
        }
    }
}

impl Mailbox {
    /// Opens one with its first message.
    ///
    /// # Errors
    /// [`ErrorCode::InviteConflict`] if the message is too large.
    pub fn open(creator: Token, message: Bytes) -> Result<Self, ErrorCode> {
        if message.len() > MAILBOX_MESSAGE_LEN_MAX {
            return Err(ErrorCode::InviteConflict);
        }
        Ok(Self { creator, joiner: None, messages: vec![message] })
    }

    /// Whether this is what it was opened with: a repeated request is no error.
    pub fn was_opened_with(&self, creator: &Token, message: &Bytes) -> bool {
        same(&self.creator, creator) && self.messages.first() == Some(message)
    }

    /// Whose token this is, if it is of any use here.
    pub fn side(&self, token: &Token) -> Option<Side> {
        if same(&self.creator, token) {
            return Some(Side::Creator);
        }
        self.joiner.filter(|joiner| same(joiner, token)).map(|_| Side::Joiner)
    }

    /// Whether the joiner's side is anybody's yet.
    pub fn is_claimed(&self) -> bool {
        self.joiner.is_some()
    }

    /// Takes the joiner's side: message 0. The same token is answered the same again.
    ///
    /// # Errors
    /// [`ErrorCode::InviteClaimed`] if it is another's.
    pub fn claim(&mut self, token: &Token) -> Result<Bytes, ErrorCode> {
        let joiner = self.joiner.get_or_insert(*token);
        if same(joiner, token) { Ok(self.messages[0].clone()) } else { Err(ErrorCode::InviteClaimed) }
    }

    /// Leaves message number `index`, if there is `room` for so many bytes: how many of them it took, which is none if
    /// it was left before.
    ///
    /// # Errors
    /// [`ErrorCode::InviteConflict`] if it is not this side's next message or is too large,
    /// [`ErrorCode::TooManyInvites`] if there is no room.
    pub fn post(&mut self, side: Side, index: u8, message: Bytes, room: usize) -> Result<usize, ErrorCode> {
        let index = usize::from(index);
        if let Some(there) = self.messages.get(index) {
            let repeated = side.posts(index) && *there == message;
            return if repeated { Ok(0) } else { Err(ErrorCode::InviteConflict) };
        }
        let next = index == self.messages.len() && index < MAILBOX_MESSAGES_MAX;
        if !next || !side.posts(index) || message.len() > MAILBOX_MESSAGE_LEN_MAX {
            return Err(ErrorCode::InviteConflict);
        }
        if message.len() > room {
            return Err(ErrorCode::TooManyInvites);
        }
        let len = message.len();
        self.messages.push(message);
        Ok(len)
    }

    /// The messages from a number on.
    pub fn messages_from(&self, first: u8) -> Vec<Bytes> {
        self.messages.iter().skip(usize::from(first)).cloned().collect()
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(Bytes::len).sum()
    }
}

fn same(one: &Token, other: &Token) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
