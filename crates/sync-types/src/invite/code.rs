//! The sixteen characters a person reads from one screen and types into another.
//!
//! `XXXX-XXXX-XXXX-XXXX` in Crockford's base32 (<https://www.crockford.com/base32.html>): the first eight name a
//! mailbox, the last eight are the password that never leaves the two devices. Lower case, blanks and hyphens
//! don't matter, and O, I and L are read as 0, 1 and 1.

use std::{fmt, str::FromStr};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{HALF, MailboxName, encode, normal};

/// Text that is no pairing code: wrong length, or a character codes don't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pairing code has sixteen letters and digits")]
pub struct ParseCodeError;

/// A whole code. It holds a secret: it zeroizes, and only [`InviteCode::to_text`] shows it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct InviteCode {
    mailbox: [u8; HALF],
    password: [u8; HALF],
}

impl InviteCode {
    /// The code of a mailbox, with forty random bits for the password.
    pub fn new(mailbox: MailboxName, password: [u8; 5]) -> Self {
        Self { mailbox: mailbox.0, password: encode(password) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_ways_people_type() {
        let code = InviteCode::new(MailboxName::from_random([0x00, 0x44, 0x32, 0x14, 0xC7]), [0xFF; 5]);
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
        let code = InviteCode::new(MailboxName::from_random([1; 5]), [2; 5]);
        assert!(!format!("{code:?} {:?}", code.mailbox()).contains(code.mailbox().as_str()));
    }
}
