//! What somebody can do with all that a relay sees of a pairing, and somebody who has the code with all that both
//! sides say. Each attack is also tried where a piece of the protocol is missing, and succeeds there.

use std::ops::Range;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use curve25519_dalek::{edwards::EdwardsBasepointTable, traits::BasepointTable as _};
use rand_core::{Rng, SeedableRng};
use serde_bytes::ByteArray;
use spake2::{Ed25519Group, Group};
use sync_types::{GroupId, Invite, InviteCode, InviteLink, invite::Form};

use super::{
    Creator, Digits, Joiner, PairingAction, PairingError, PairingInput,
    noise::{Channel, Handshake},
    pake::{Pake, PakeKey, Side},
    rng::{Seed, Seeded},
    transcript::{Transcript, commitment},
    weakness::{self, Weakness},
    wire::{self, Answer, Invitation, Opening, Reveal},
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
    weakness::with(weakness, || {
        let (mut creator, first) = creator();
        let mut joiner = joiner("laptop", 2);
        let mut messages = vec![first];
        for index in 0..4 {
            let input = message(index, messages.last().expect("one at least"));
            let said = if index % 2 == 0 { say(joiner.handle(input)) } else { say(creator.handle(input)) };
            messages.push(said.message.expect("an answer"));
        }
        messages
    })
}

/// Tries passwords against a record, by all that could tell a right one. The one found.
fn guess(record: &[Bytes], passwords: Range<u32>) -> Option<u32> {
    let opening = Opening::read(&record[0]).expect("as it was left");
    let (answer, _) = Answer::read(&record[1]).expect("as it was left");
    let mut transcript = Transcript::new();
    transcript.add(&record[0]);
    let proven = transcript.with(&Answer::unconfirmed(answer.form, &answer.element, &answer.nonce));
    // Of an element that hides the password behind a scalar somebody knows, this is what the password makes of it.
    let scalar = Ed25519Group::random_scalar(&mut Seeded::new(Seed::default()));
    let known = Ed25519Group::basepoint_mult(&Ed25519Group::scalar_neg(&scalar));
    let element = Ed25519Group::bytes_to_element(&opening.element(Form::Code)[1..]).expect("a point");
    let hidden = Ed25519Group::add(&element, &known);
    let blinding = EdwardsBasepointTable::create(&Ed25519Group::const_m());

    passwords.into_iter().find(|candidate| {
        let code = code(*candidate);
        PakeKey::plain(code.password()).is_confirmed(Side::Joiner, &proven, &answer.confirmation)
            || &Ed25519Group::hash_to_scalar(code.password()) * &blinding == hidden
    })
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

/// Somebody who has the code, as "desk" to the laptop.
struct Impostor {
    opening: Bytes,
    pake: Pake,
    nonce: [u8; 32],
}

impl Impostor {
    fn new() -> Self {
        let nonce = [9; 32];
        let mailbox = code(SECRET).mailbox();
        let (pake, element) =
            Pake::start(Side::Creator, &mailbox, (Form::Code, code(SECRET).password()), Seed::new([5; 32]));
        let opening = Opening { elements: [element; 2], commitment: commitment(&Self::reveal(nonce)) }.to_bytes();
        Self { opening, pake, nonce }
    }

    fn reveal(nonce: [u8; 32]) -> Vec<u8> {
        wire::say(&Reveal { nonce: ByteArray::new(nonce), name: "desk".into(), platform: "linux".into() })
    }

    /// Gets as far as the reveal. The channel to the laptop, the laptop's nonce, and the nonce it committed to.
    fn meet(self, laptop: &mut Joiner) -> (Channel, [u8; 32], [u8; 32]) {
        let answer = say(laptop.handle(message(0, &self.opening))).message.expect("an answer");
        let (read, _) = Answer::read(&answer).expect("as it was left");
        let key = self.pake.finish(&read.element).expect("a point");
        let mut transcript = Transcript::new();
        transcript.add(&self.opening);
        transcript.add(&answer);
        let confirmation = key.confirmation(Side::Creator, &transcript.hash());
        let prologue = transcript.with(&confirmation);
        let mut handshake = Handshake::new(Side::Creator, &key.psk(), &prologue, Seed::new([6; 32]));
        let invitation = wire::say(&Invitation { group: GroupId::from_bytes([66; 32]), app_id: "app".into() });
        let proof = wire::versioned_with(&[&confirmation, &handshake.write(&invitation).expect("its turn")]);
        let request = say(laptop.handle(message(2, &proof))).message.expect("a request");
        handshake.read(wire::versioned(&request).expect("this version")).expect("authentic");
        (handshake.finish().expect("done"), read.nonce, self.nonce)
    }
}

/// Somebody with the code stands in between: the laptop to the desk, and the desk to the laptop. The digits on the
/// desk's screen are known once it has revealed its nonce; then a nonce is looked for that puts the same ones on the
/// laptop's.
fn stand_in_between(grind: bool) -> (Digits, Said) {
    let (mut desk, first) = creator();
    let mut as_laptop = joiner("laptop", 3);
    let answer = say(as_laptop.handle(message(0, &first))).message.expect("an answer");
    let proof = say(desk.handle(message(1, &answer))).message.expect("a proof");
    let request = say(as_laptop.handle(message(2, &proof))).message.expect("a request");
    let on_the_desk = say(desk.handle(message(3, &request))).digits.expect("digits");

    let mut laptop = joiner("laptop", 2);
    let (mut channel, theirs, committed) = Impostor::new().meet(&mut laptop);
    let (hash, mut rng) = (channel.handshake_hash(), ChaCha20Rng::from_seed([15; 32]));
    let mut nonce = committed;
    while grind && Digits::of(&hash, &nonce, &theirs) != on_the_desk {
        rng.fill_bytes(&mut nonce);
    }
    let reveal = wire::versioned_with(&[&channel.seal(&Impostor::reveal(nonce))]);
    (on_the_desk, say(laptop.handle(message(4, &reveal))))
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
    let (on_the_desk, on_the_laptop) = weakness::with(Some(Weakness::NoCommitment), || stand_in_between(true));
    assert_eq!(on_the_laptop.digits, Some(on_the_desk));
}
