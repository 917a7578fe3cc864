//! What one person carries from a device that invites to one that joins: a short code, or a link.
//!
//! Both name a mailbox and hold a password that no relay sees; they differ in how many bits a person can carry. A
//! code is typed; a link is opened, pasted, or drawn as a QR code. Neither holds a secret of the group.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    code::{InviteCode, ParseCodeError},
    direct::Direct,
    link::{InviteLink, ParseLinkError},
};

mod code;
mod direct;
mod link;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const HALF: usize = 8;

/// Which of an invite's two passwords a joiner was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// The forty bits of an [`InviteCode`].
    Code = 0,
    /// The 256 bits of an [`InviteLink`].
    Link = 1,
}

impl Form {
    /// The form of this number, if it is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Code),
            1 => Some(Self::Link),
            _ => None,
        }
    }

    /// Its name in what both sides feed the key exchange.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Link => "link",
        }
    }
}

/// An invite as a person hands it over, in either form.
#[derive(Debug)]
pub enum Invite {
    /// Typed.
    Code(InviteCode),
    /// Opened, pasted or scanned.
    Link(InviteLink),
}

/// Text that is neither a pairing code nor an invite link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseInviteError {
    /// No code, and nothing that looks like a link.
    #[error(transparent)]
    Code(#[from] ParseCodeError),
    /// A link, but not a whole one.
    #[error(transparent)]
    Link(#[from] ParseLinkError),
}

impl Invite {
    /// The mailbox it leads to.
    pub fn mailbox(&self) -> MailboxName {
        match self {
            Self::Code(code) => code.mailbox(),
            Self::Link(link) => link.mailbox(),
        }
    }

    /// Its form.
    pub fn form(&self) -> Form {
        match self {
            Self::Code(_) => Form::Code,
            Self::Link(_) => Form::Link,
        }
    }

    /// What no relay may know: the bytes that both sides feed the password-authenticated key exchange.
    pub fn password(&self) -> &[u8] {
        match self {
            Self::Code(code) => code.password(),
            Self::Link(link) => link.password(),
        }
    }
}

impl FromStr for Invite {
    type Err = ParseInviteError;

    fn from_str(text: &str) -> Result<Self, ParseInviteError> {
        // No code holds what every link does.
        if text.contains('#') { Ok(Self::Link(text.parse()?)) } else { Ok(Self::Code(text.parse()?)) }
    }
}

/// The public part of an invite: what a relay knows it by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName([u8; HALF]);

impl MailboxName {
    /// Forty random bits as a name.
    pub fn from_random(random: [u8; 5]) -> Self {
        Self(encode(random))
    }

    /// The eight characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailboxName(..)")
    }
}

impl FromStr for MailboxName {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        normal(text).map(Self)
    }
}

impl Serialize for MailboxName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MailboxName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn encode(random: [u8; 5]) -> [u8; HALF] {
    let bits = random.iter().fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
    std::array::from_fn(|index| ALPHABET[usize::try_from((bits >> (35 - 5 * index)) & 31).expect("five bits")])
}

/// The one spelling of what a person typed.
fn normal<const N: usize>(text: &str) -> Result<[u8; N], ParseCodeError> {
    let mut normal = [0; N];
    let mut len = 0;
    for byte in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ' | b'\t' | b'\r' | b'\n')) {
        let byte = match byte.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        if len == N || !ALPHABET.contains(&byte) {
            return Err(ParseCodeError);
        }
        normal[len] = byte;
        len += 1;
    }
    if len == N { Ok(normal) } else { Err(ParseCodeError) }
}
