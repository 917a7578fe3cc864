//! The sixteen characters a person reads from one screen and types into another.
//!
//! `XXXX-XXXX-XXXX-XXXX` in Crockford's base32 (<https://www.crockford.com/base32.html>): the first eight name a
//! mailbox, the last eight are the password that never leaves the two devices. Lower case, blanks and hyphens
//! don't matter, and O, I and L are read as 0, 1 and 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const HALF: usize = 8;

/// Text that is no pairing code: wrong length, or a character codes don't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pairing code has sixteen letters and digits")]
pub struct ParseCodeError;

/// The public half of a code: what a relay knows an invite by.
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

/// A whole code. It holds a secret: it zeroizes, and only [`InviteCode::to_text`] shows it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct InviteCode {
    mailbox: [u8; HALF],
    password: [u8; HALF],
}

impl InviteCode {
    /// Eighty random bits as a code: forty for the mailbox, forty for the password.
    pub fn from_random(mailbox: [u8; 5], password: [u8; 5]) -> Self {
        Self { mailbox: encode(mailbox), password: encode(password) }
    }

    /// What the relay may know.
    pub fn mailbox(&self) -> MailboxName {
        MailboxName(self.mailbox)
    }

    /// What it may not: eight characters, as both sides feed them to the password-authenticated key exchange.
    pub fn password(&self) -> &[u8] {
        &self.password
    }

    /// `XXXX-XXXX-XXXX-XXXX`, for a person's eyes.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(19);
        for (index, byte) in self.mailbox.iter().chain(&self.password).enumerate() {
            if index > 0 && index % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(*byte));
        }
        text
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(..)")
    }
}

impl FromStr for InviteCode {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        let mut both: [u8; 2 * HALF] = normal(text)?;
        let mut code = Self { mailbox: [0; HALF], password: [0; HALF] };
        code.mailbox.copy_from_slice(&both[..HALF]);
        code.password.copy_from_slice(&both[HALF..]);
        both.zeroize();
        Ok(code)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_ways_people_type() {
        let code = InviteCode::from_random([0x00, 0x44, 0x32, 0x14, 0xC7], [0xFF; 5]);
        assert_eq!(code.to_text(), "0123-4567-ZZZZ-ZZZZ");
        for typed in ["0123-4567-ZZZZ-ZZZZ", "o123 4567 zzzz zzzz", "OL234567zzzzzzzz\n", "0i23-4567--ZZZZ-ZZZZ"] {
            let parsed: InviteCode = typed.parse().expect(typed);
            assert_eq!(parsed.to_text(), code.to_text(), "{typed}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for typed in ["", "0123", "0123-4567-ZZZZ-ZZZU", "0123-4567-ZZZZ-ZZZZ-0", "0123-4567-ZZZZ-ZZZé"] {
            assert_eq!(typed.parse::<InviteCode>().err(), Some(ParseCodeError), "{typed}");
        }
    }

    #[test]
    fn a_code_does_not_print() {
        let code = InviteCode::from_random([1; 5], [2; 5]);
        assert!(!format!("{code:?} {:?}", code.mailbox()).contains(code.mailbox().as_str()));
    }
}
