//! What a person types as a pairing code, or pastes as a link.
//!
//! Whatever is taken has one spelling, which is taken again; which codes are taken is decided here a second time.

use std::net::{IpAddr, SocketAddr};

use sync_types::{
    Invite, InviteCode, InviteLink,
    invite::{Direct, MailboxName},
    limits::{LINK_ADDRESSES_MAX, LINK_RELAYS_MAX, RELAY_NAME_LEN_MAX},
};

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The bytes are a text, and random bits for a new code.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let expected = spelled(&text);
    let code = text.parse::<InviteCode>().ok();
    assert_eq!(code.as_ref().map(plain), expected.clone().filter(|code| code.len() == 16), "as a code");
    if let Some(code) = code {
        let again: InviteCode = code.to_text().parse().expect("a code's own text is a code");
        assert_eq!(plain(&again), plain(&code));
    }
    let name = text.parse::<MailboxName>().ok();
    assert_eq!(name.map(|name| name.to_string()), expected.filter(|name| name.len() == 8), "as a mailbox");

    if let Some((mailbox, rest)) = data.split_first_chunk::<5>()
        && let Some(password) = rest.first_chunk::<5>()
    {
        let name = MailboxName::from_random(*mailbox);
        let code = InviteCode::new(name, *password);
        assert_eq!(bits(&plain(&code)), [mailbox.as_slice(), password].concat(), "no bit is lost");
        assert_eq!(code.mailbox(), name);
    }
    link(&text);
    made(data);
}

/// Whatever is taken as a link is within its bounds, and its own text is taken for the same.
fn link(text: &str) {
    if let Ok(Invite::Link(link)) = text.parse::<Invite>() {
        assert!(link.relays().len() <= LINK_RELAYS_MAX);
        assert!(link.relays().iter().all(|relay| relay.len() <= RELAY_NAME_LEN_MAX));
        assert!(link.direct().is_none_or(|direct| direct.addresses.len() <= LINK_ADDRESSES_MAX));
        same(&link);
    }
}

/// A link made of the bytes, which the check would keep the fuzzer from finding by itself.
fn made(data: &[u8]) {
    let Some((mailbox, rest)) = data.split_first_chunk::<5>() else { return };
    let Some((password, rest)) = rest.split_first_chunk::<32>() else { return };
    let relays = rest.split(|byte| *byte == b'\n').map(|relay| String::from_utf8_lossy(relay).into_owned());
    let fits = |relay: &String| relay.len() <= RELAY_NAME_LEN_MAX;
    let relays = relays.filter(fits).take(LINK_RELAYS_MAX).collect();
    let link = InviteLink::new(MailboxName::from_random(*mailbox), *password).with_relays(relays);
    same(&link);
    if let Some((endpoint, rest)) = rest.split_first_chunk::<32>() {
        let direct = Direct { endpoint: *endpoint, addresses: addresses(rest) };
        let link = link.with_direct(direct.clone());
        same(&link);
        assert_eq!(link.direct(), Some(&direct));
    }
}

/// As many addresses as a link holds: a byte says of each whether it is one of IPv4.
fn addresses(mut data: &[u8]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    while let Some(([kind, ip @ .., high, low], rest)) = data.split_first_chunk::<19>()
        && addresses.len() < LINK_ADDRESSES_MAX
    {
        let ip: [u8; 16] = *ip;
        let v4 = [ip[0], ip[1], ip[2], ip[3]];
        let ip = if kind % 2 == 0 { IpAddr::from(v4) } else { IpAddr::from(ip) };
        addresses.push(SocketAddr::new(ip, u16::from_be_bytes([*high, *low])));
        data = rest;
    }
    addresses
}

fn same(link: &InviteLink) {
    let again: InviteLink = link.to_text(InviteLink::SCHEME).parse().expect("a link's own text is a link");
    assert_eq!((again.mailbox(), again.password()), (link.mailbox(), link.password()));
    assert_eq!((again.relays(), again.direct()), (link.relays(), link.direct()));
}

/// The characters of a code.
fn plain(code: &InviteCode) -> String {
    let plain = format!("{}{}", code.mailbox(), std::str::from_utf8(code.password()).expect("ASCII"));
    assert_eq!(code.to_text().replace('-', ""), plain);
    plain
}

/// What a text spells, if all of its characters are a code's.
pub(crate) fn spelled(text: &str) -> Option<String> {
    let typed = text.chars().filter(|char| !"- \t\r\n".contains(*char));
    typed
        .map(|char| match char {
            'o' | 'O' => Some('0'),
            'i' | 'I' | 'l' | 'L' => Some('1'),
            char => Some(char.to_ascii_uppercase()).filter(|char| ALPHABET.contains(*char)),
        })
        .collect()
}

/// The bits that a code's characters stand for, eight characters in five bytes.
fn bits(code: &str) -> Vec<u8> {
    let digits: Vec<u64> = code.chars().map(|char| ALPHABET.find(char).expect("a code's character") as u64).collect();
    let halves = digits.chunks(8).map(|half| half.iter().fold(0, |bits, digit| bits << 5 | digit));
    halves.flat_map(|bits| bits.to_be_bytes()[3..].to_vec()).collect()
}
