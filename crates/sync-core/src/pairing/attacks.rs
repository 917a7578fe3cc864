//! What somebody can do with all that a relay sees of a pairing, and somebody who has the code with all that both
//! sides say. Each attack is also tried where a piece of the protocol is missing, and succeeds there.

use std::ops::Range;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use sync_types::{GroupId, Invite, InviteCode, InviteLink};

use super::{
    Creator, Digits, Joiner, PairingAction, PairingError, PairingInput,
    hostile::{self, Middle, Weakness, weakened},
};
use crate::{
    keys::{DeviceKem, DeviceKey},
    roster::Profile,
    stored::Secrets,
};

/// A code of which somebody knows all but the last twenty bits.
fn code(last: u32) -> InviteCode {
    let mailbox = "ABCD-EFGH".parse().expect("a name");
    let [_, high, middle, low] = last.to_be_bytes();
    assert!(high < 16, "twenty bits");
    InviteCode::new(mailbox, [0x5a, 0xa5, 0x50 | high, middle, low])
}

const SECRET: u32 = 0xb217;
const CANDIDATES: u32 = 1 << 20;

fn profile(name: &str) -> Profile {
    Profile::new(name, "linux", "app").expect("a short app id")
}

fn creator() -> (Creator, Bytes) {
    let link = InviteLink::new(code(SECRET).mailbox(), [8; 32]);
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let group = GroupId::from_bytes([7; 32]);
    let (creator, actions) = Creator::start(group, &profile("desk"), &code(SECRET), &link, &mut rng);
    let [PairingAction::Create { message, .. }, PairingAction::Wait { from: 1 }] = &actions[..] else {
        panic!("{actions:?}")
    };
    (creator, message.clone())
}

fn joiner(name: &str, seed: u8) -> Joiner {
    let secrets =
        Secrets { device: DeviceKey::from_seed(&[seed; 32]), kem: DeviceKem::from_bytes(&[seed; 32]), group: None };
    let invite = Invite::Code(code(SECRET));
    Joiner::start(secrets, profile(name), &invite, &mut ChaCha20Rng::from_seed([seed; 32])).0
}

/// What came of an input: the message to leave, the digits on the screen, how it ended.
#[derive(Default)]
struct Said {
    message: Option<Bytes>,
    digits: Option<Digits>,
    failed: Option<PairingError>,
}

fn say<T>(actions: Vec<PairingAction<T>>) -> Said {
    let mut said = Said::default();
    for action in actions {
        match action {
            PairingAction::Post { message, .. } => said.message = Some(message),
            PairingAction::ShowDigits { digits, .. } => said.digits = Some(digits),
            PairingAction::Failed(error) => said.failed = Some(error),
            PairingAction::Create { .. }
            | PairingAction::Claim { .. }
            | PairingAction::Wait { .. }
            | PairingAction::Deliver(_)
            | PairingAction::Burn
            | PairingAction::Done => {}
        }
    }
    said
}

fn message(index: u8, bytes: &Bytes) -> PairingInput {
    PairingInput::Message { index, bytes: bytes.clone() }
}

/// An honest pairing up to the digits, as the relay has it.
fn record(weakness: Option<Weakness>) -> Vec<Bytes> {
    let _weakened = weakened(weakness);
    let (mut creator, first) = creator();
    let mut joiner = joiner("laptop", 2);
    let mut messages = vec![first];
    for index in 0..4 {
        let input = message(index, messages.last().expect("one at least"));
        let said = if index % 2 == 0 { say(joiner.handle(input)) } else { say(creator.handle(input)) };
        messages.push(said.message.expect("an answer"));
    }
    messages
}

/// Tries passwords against a record. The one found.
fn guess(record: &[Bytes], passwords: Range<u32>) -> Option<u32> {
    let mut tried = passwords.clone();
    let found = hostile::guess(&record[0], &record[1], passwords.map(code))?;
    tried.find(|password| code(*password).password() == found.password())
}

// Two tests, so that two cores have something to do.
#[test]
fn a_record_tells_nothing_about_half_a_million_passwords() {
    assert_eq!(guess(&record(None), 0..CANDIDATES / 2), None);
}

#[test]
fn a_record_tells_nothing_about_another_half_million() {
    assert_eq!(guess(&record(None), CANDIDATES / 2..CANDIDATES), None);
}

#[test]
fn a_record_tells_the_password_where_there_is_no_exchange() {
    for weakness in [Weakness::PlainKey, Weakness::FixedScalar] {
        assert_eq!(guess(&record(Some(weakness)), 0..CANDIDATES), Some(SECRET), "{weakness:?}");
    }
}

/// Somebody with the code stands in between: the laptop to the desk, and the desk to the laptop. The digits on the
/// desk's screen are known once it has revealed its nonce; then, if they grind, a nonce is looked for that puts the same
/// ones on the laptop's.
fn stand_in_between(grinds: bool) -> (Digits, Said) {
    let mut between = Middle::new(code(SECRET), "app", grinds);
    let (mut desk, mut left) = creator();
    let mut laptop = joiner("laptop", 2);
    let mut on_the_desk = None;
    for index in 0..4 {
        let handed = message(index, &between.hand_on(index, &left));
        let said = if index % 2 == 0 { say(laptop.handle(handed)) } else { say(desk.handle(handed)) };
        on_the_desk = on_the_desk.or(said.digits);
        left = said.message.expect("an answer");
    }
    (on_the_desk.expect("digits"), say(laptop.handle(message(4, &between.hand_on(4, &left)))))
}

#[test]
fn whoever_has_the_code_can_not_make_the_digits_equal() {
    let (on_the_desk, on_the_laptop) = stand_in_between(false);
    assert_ne!(on_the_laptop.digits.expect("digits"), on_the_desk, "what was committed to");
    let (_, on_the_laptop) = stand_in_between(true);
    assert_eq!((on_the_laptop.digits, on_the_laptop.failed), (None, Some(PairingError::Broken)), "what fits");
}

#[test]
fn without_a_commitment_they_could() {
    let _weakened = weakened(Some(Weakness::NoCommitment));
    let (on_the_desk, on_the_laptop) = stand_in_between(true);
    assert_eq!(on_the_laptop.digits, Some(on_the_desk));
}
