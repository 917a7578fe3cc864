//! What a person opens, pastes or scans.
//!
//! ```text
//! zerok://join#<base64url of: MessagePack [version, mailbox, password [32], [relay, …], direct?] ‖ check [4]>
//! ```
//! The last field is where the device that invites can be reached itself, see [`Direct`]. A link needn't have it, and
//! one that this build can't read is as good as none: the relays are there still.
//!
//! Any scheme will do, an app's own among them, and any address that ends in `/join`: all that counts comes after the
//! `#`, which browsers don't send to servers. There, too, an app's scheme may stand first, as
//! `https://relay.example/join#scheme:…`, for the page at such an address to open the app with. The check is the start of a BLAKE3 hash, so that half a link is told from
//! a wrong one before it costs the one guess that an invite allows.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use serde_bytes::ByteArray;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Direct, MailboxName};
use crate::{
    limits::{LINK_LEN_MAX, LINK_RELAYS_MAX, RELAY_NAME_LEN_MAX},
    wire::{AtMost, decode_exact, message},
};

/// The only version so far.
const VERSION: u8 = 1;
const CHECK_LEN: usize = 4;

/// Text that is no invite link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseLinkError {
    /// Cut off or altered on the way, or something else.
    #[error("this is not a whole invite link")]
    Damaged,
    /// Made by a newer build.
    #[error("the invite link was made by a newer version of this app")]
    TooNew,
}

/// A whole link. It holds a secret: it zeroizes, and only [`InviteLink::to_text`] shows it.
#[derive(ZeroizeOnDrop)]
pub struct InviteLink {
    #[zeroize(skip)]
    mailbox: MailboxName,
    password: [u8; 32],
    #[zeroize(skip)]
    relays: Vec<String>,
    #[zeroize(skip)]
    direct: Option<Direct>,
}

message! {
    struct Content {
        version: u8,
        mailbox: MailboxName,
        password: ByteArray<32>,
        relays: AtMost<LINK_RELAYS_MAX, String>,
    }
}

message! {
    struct WithDirect {
        version: u8,
        mailbox: MailboxName,
        password: ByteArray<32>,
        relays: AtMost<LINK_RELAYS_MAX, String>,
        direct: Direct,
    }
}

impl InviteLink {
    /// The scheme of a link that no app has made its own.
    pub const SCHEME: &str = "zerok";

    /// The link to a mailbox, with 256 random bits for the password. It names no relay yet.
    pub fn new(mailbox: MailboxName, password: [u8; 32]) -> Self {
        Self { mailbox, password, relays: Vec::new(), direct: None }
    }

    /// The same, with the addresses of relays that have the mailbox: at most [`LINK_RELAYS_MAX`] of at most
    /// [`RELAY_NAME_LEN_MAX`] bytes.
    #[must_use]
    pub fn with_relays(mut self, relays: Vec<String>) -> Self {
        self.relays = relays;
        self
    }

    /// The same, with the place where the device that invites answers itself.
    #[must_use]
    pub fn with_direct(mut self, direct: Direct) -> Self {
        self.direct = Some(direct);
        self
    }

    /// What the relay may know.
    pub fn mailbox(&self) -> MailboxName {
        self.mailbox
    }

    /// What it may not.
    pub fn password(&self) -> &[u8; 32] {
        &self.password
    }

    /// Where the mailbox is.
    pub fn relays(&self) -> &[String] {
        &self.relays
    }

    /// Where the device that invites answers itself.
    pub fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// `scheme://join#…`, for a person to open, paste or scan. See [`Self::SCHEME`].
    pub fn to_text(&self, scheme: &str) -> String {
        let (version, mailbox, relays) = (VERSION, self.mailbox, self.relays.clone().into());
        let password = ByteArray::new(self.password);
        let mut bytes = Zeroizing::new(Vec::new());
        let (written, password) = match self.direct.clone() {
            Some(direct) => {
                let content = WithDirect { version, mailbox, password, relays, direct };
                (rmp_serde::encode::write(&mut *bytes, &content), content.password)
            }
            None => {
                let content = Content { version, mailbox, password, relays };
                (rmp_serde::encode::write(&mut *bytes, &content), content.password)
            }
        };
        written.expect("a link always encodes into memory");
        password.into_array().zeroize();
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        format!("{scheme}://join#{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for InviteLink {
    type Err = ParseLinkError;

    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        let text = text.trim();
        let (address, payload) = text.split_once('#').ok_or(ParseLinkError::Damaged)?;
        if text.len() > LINK_LEN_MAX || !address.ends_with("/join") {
            return Err(ParseLinkError::Damaged);
        }
        let payload = payload.split_once(':').map_or(payload, |(_scheme, payload)| payload);
        let bytes = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| ParseLinkError::Damaged)?;
        let bytes = Zeroizing::new(bytes);
        let (content, checked) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(ParseLinkError::Damaged)?;
        if check(content) != *checked {
            return Err(ParseLinkError::Damaged);
        }
        // An array, and then its first element: a small number, in one byte. What else a newer version has is its own.
        if content.get(1).is_some_and(|version| *version > VERSION && *version < 0x80) {
            return Err(ParseLinkError::TooNew);
        }
        let direct = decode_exact(content).ok().map(|WithDirect { password, direct, .. }| {
            password.into_array().zeroize();
            direct
        });
        let content: Content = decode_exact(content).map_err(|_| ParseLinkError::Damaged)?;
        if content.version != VERSION || content.relays.0.iter().any(|relay| relay.len() > RELAY_NAME_LEN_MAX) {
            return Err(ParseLinkError::Damaged);
        }
        let password = content.password.into_array();
        Ok(Self { mailbox: content.mailbox, password, relays: content.relays.0, direct })
    }
}

impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteLink(..)")
    }
}

fn check(content: &[u8]) -> [u8; CHECK_LEN] {
    let hash = blake3::derive_key("0k-sync/1 invite link", content);
    *hash.first_chunk().expect("a hash is longer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LINK_ADDRESSES_MAX;

    fn link() -> InviteLink {
        InviteLink::new(MailboxName::from_random([1; 5]), [7; 32]).with_relays(vec!["https://relay.example".to_owned()])
    }

    /// Text with this content, whatever it is.
    fn text_of(content: &[u8]) -> String {
        format!("zerok://join#{}", BASE64URL_NOPAD.encode(&[content, &check(content)].concat()))
    }

    #[test]
    fn a_link_survives_the_ways_it_is_handed_over() {
        let text = link().to_text(InviteLink::SCHEME);
        assert!(text.starts_with("zerok://join#"), "{text}");
        let payload = text.split_once('#').expect("a link").1;
        for text in [
            text.clone(),
            format!(" {text}\n"),
            format!("org.example.notes://join#{payload}"),
            format!("https://relay.example/join#{payload}"),
            format!("https://relay.example/join#org.example.notes:{payload}"),
        ] {
            let parsed: InviteLink = text.parse().expect(&text);
            assert_eq!(parsed.mailbox(), link().mailbox());
            assert_eq!(parsed.password(), link().password());
            assert_eq!(parsed.relays(), link().relays());
        }
    }

    fn direct() -> Direct {
        let addresses = ["192.168.1.20:40000", "[2001:db8::1]:40001"];
        Direct { endpoint: [9; 32], addresses: addresses.map(|address| address.parse().expect("an address")).to_vec() }
    }

    #[test]
    fn a_link_may_say_where_the_device_that_invites_answers_itself() {
        let parsed = |link: &InviteLink| link.to_text(InviteLink::SCHEME).parse::<InviteLink>().expect("a link");
        assert_eq!(parsed(&link()).direct(), None);
        let with = parsed(&link().with_direct(direct()));
        assert_eq!((with.direct(), with.relays()), (Some(&direct()), link().relays()));
    }

    #[test]
    fn a_place_that_can_not_be_read_is_as_good_as_none() {
        let plain = Content {
            version: VERSION,
            mailbox: link().mailbox(),
            password: ByteArray::new([7; 32]),
            relays: link().relays().to_vec().into(),
        };
        let mut bytes = rmp_serde::to_vec(&plain).expect("encodes");
        assert_eq!(bytes[0], 0x94, "four fields");
        bytes[0] = 0x95;
        let too_many = Direct { addresses: vec![direct().addresses[0]; LINK_ADDRESSES_MAX + 1], ..direct() };
        let too_many = rmp_serde::to_vec(&too_many).expect("encodes");
        let of_no_kind: &[u8] = &[0x92, 0xC4, 0x01, 0x09, 0x91, 0xC4, 0x03, 1, 2, 3];
        for place in [&[0xC0], of_no_kind, &too_many[..]] {
            let link: InviteLink = text_of(&[&bytes, place].concat()).parse().expect("a link");
            assert_eq!((link.direct(), link.relays().len()), (None, 1));
        }
    }

    #[test]
    fn half_a_link_or_an_altered_one_is_told_before_it_is_tried() {
        let text = link().to_text(InviteLink::SCHEME);
        let damaged =
            |text: &str| assert_eq!(text.parse::<InviteLink>().err(), Some(ParseLinkError::Damaged), "{text}");
        for len in 0..text.len() {
            damaged(&text[..len]);
        }
        for place in 13..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            damaged(std::str::from_utf8(&altered).expect("ASCII"));
        }
        damaged(&text.replace("join", "jo1n"));
        damaged(&format!("{text}{}", "A".repeat(LINK_LEN_MAX)));
        damaged(&text_of(b""));
        damaged(&text_of(&[0x94, 1, 0xC0, 0xC0, 0xC0]));
    }

    #[test]
    fn a_newer_link_is_told_from_a_damaged_one() {
        let newer = text_of(&[0x92, VERSION + 1, 0xC0]);
        assert_eq!(newer.parse::<InviteLink>().err(), Some(ParseLinkError::TooNew));
    }

    #[test]
    fn a_link_that_names_too_much_is_refused() {
        let name = MailboxName::from_random([1; 5]);
        let many = vec!["a".to_owned(); LINK_RELAYS_MAX + 1];
        let long = vec!["a".repeat(RELAY_NAME_LEN_MAX + 1)];
        for relays in [many, long] {
            let text = InviteLink::new(name, [7; 32]).with_relays(relays).to_text(InviteLink::SCHEME);
            assert_eq!(text.parse::<InviteLink>().err(), Some(ParseLinkError::Damaged));
        }
    }

    #[test]
    fn a_link_does_not_print() {
        assert_eq!(format!("{:?}", link()), "InviteLink(..)");
    }
}
