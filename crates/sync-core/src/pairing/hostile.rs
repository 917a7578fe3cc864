//! What somebody can try who has all that a relay has, or who has the code and sits in between. For tests, of the two sides
//! here and of devices at a relay's double.

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use curve25519_dalek::{edwards::EdwardsBasepointTable, traits::BasepointTable as _};
use rand_core::{Rng, SeedableRng};
use serde_bytes::ByteArray;
use spake2::{Ed25519Group, Group};
use sync_types::{
    GroupId, Invite, InviteCode,
    invite::{Form, MailboxName},
};

pub use super::weakness::{Weakened, Weakness, weakened};
use super::{
    Digits, Joiner, PairingAction, PairingInput,
    noise::{Channel, Handshake},
    pake::{Pake, PakeKey, Side},
    rng::{Seed, Seeded},
    transcript::{Transcript, commitment},
    wire::{self, Answer, Invitation, Opening, Reveal},
};
use crate::{
    keys::{DeviceKem, DeviceKey},
    roster::Profile,
    stored::Secrets,
};

/// Tries codes against a pairing's first two messages, by all that could tell a right one. The one found.
pub fn guess(opening: &Bytes, answer: &Bytes, candidates: impl IntoIterator<Item = InviteCode>) -> Option<InviteCode> {
    let read = Opening::read(opening).expect("as it was left");
    let (answer, _) = Answer::read(answer).expect("as it was left");
    let mut transcript = Transcript::new();
    transcript.add(opening);
    let proven = transcript.with(&Answer::unconfirmed(answer.form, &answer.element, &answer.nonce));
    // Of an element that hides the password behind a scalar somebody knows, this is what the password makes of it.
    let scalar = Ed25519Group::random_scalar(&mut Seeded::new(Seed::default()));
    let known = Ed25519Group::basepoint_mult(&Ed25519Group::scalar_neg(&scalar));
    let element = Ed25519Group::bytes_to_element(&read.element(Form::Code)[1..]).expect("a point");
    let hidden = Ed25519Group::add(&element, &known);
    let blinding = EdwardsBasepointTable::create(&Ed25519Group::const_m());

    candidates.into_iter().find(|code| {
        PakeKey::plain(code.password()).is_confirmed(Side::Joiner, &proven, &answer.confirmation)
            || &Ed25519Group::hash_to_scalar(code.password()) * &blinding == hidden
    })
}

/// Somebody who has the code, in between: a joiner to the device that invites, and to the one that joins the device that
/// invites. What they do not have is the nonce that the other side will reveal; so the digits on the one screen are
/// known only when what shows on the other was committed to long ago.
pub struct Middle {
    as_joiner: Joiner,
    to_creator: Option<Bytes>,
    as_creator: AsCreator,
    app_id: String,
    nonce: [u8; 32],
    /// Whether to look for a nonce that makes the digits equal, whatever was committed to.
    grinds: bool,
    rng: ChaCha20Rng,
}

enum AsCreator {
    Opening(Bytes, Pake),
    Proven(Box<Handshake>, Bytes, [u8; 32]),
    Open(Box<Channel>, [u8; 32]),
    Over,
}

impl std::fmt::Debug for Middle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Middle(..)")
    }
}

impl Middle {
    /// Between two devices of this app.
    pub fn new(code: InviteCode, app_id: &str, grinds: bool) -> Self {
        let mailbox: MailboxName = code.mailbox();
        let (pake, element) = Pake::start(Side::Creator, &mailbox, (Form::Code, code.password()), Seed::new([5; 32]));
        let nonce = [9; 32];
        let opening = Opening { elements: [element; 2], commitment: commitment(&reveal(nonce)) }.to_bytes();
        let secrets =
            Secrets { device: DeviceKey::from_seed(&[3; 32]), kem: DeviceKem::from_bytes(&[3; 32]), group: None };
        let profile = Profile::new("laptop", "linux", app_id).expect("a short app id");
        let mut rng = ChaCha20Rng::from_seed([15; 32]);
        let (as_joiner, _) = Joiner::start(secrets, profile, &Invite::Code(code), &mut rng);
        let as_creator = AsCreator::Opening(opening, pake);
        Self { as_joiner, to_creator: None, as_creator, app_id: app_id.to_owned(), nonce, grinds, rng }
    }

    /// What is handed on in the place of a message that one of the two left.
    pub fn hand_on(&mut self, index: u8, message: &Bytes) -> Bytes {
        match (index, std::mem::replace(&mut self.as_creator, AsCreator::Over)) {
            (0, AsCreator::Opening(opening, pake)) => {
                self.to_creator = self.answer(index, message).0;
                self.as_creator = AsCreator::Opening(opening.clone(), pake);
                opening
            }
            (1, AsCreator::Opening(opening, pake)) => {
                let (read, _) = Answer::read(message).expect("as it was left");
                let key = pake.finish(&read.element).expect("a point");
                let mut transcript = Transcript::new();
                transcript.add(&opening);
                transcript.add(message);
                let confirmation = key.confirmation(Side::Creator, &transcript.hash());
                let prologue = transcript.with(&confirmation);
                let mut handshake = Handshake::new(Side::Creator, &key.psk(), &prologue, Seed::new([6; 32]));
                let group = GroupId::from_bytes([66; 32]);
                let invitation = wire::say(&Invitation { group, app_id: self.app_id.clone() });
                let written = handshake.write(&invitation).expect("its turn");
                let proof = wire::versioned_with(&[&confirmation, &written]);
                self.as_creator = AsCreator::Proven(Box::new(handshake), proof, read.nonce);
                self.to_creator.take().expect("an answer")
            }
            (2, AsCreator::Proven(handshake, proof, nonce)) => {
                self.to_creator = self.answer(index, message).0;
                self.as_creator = AsCreator::Proven(handshake, proof.clone(), nonce);
                proof
            }
            (3, AsCreator::Proven(mut handshake, _, nonce)) => {
                handshake.read(wire::versioned(message).expect("this version")).expect("authentic");
                self.as_creator = AsCreator::Open(Box::new(handshake.finish().expect("done")), nonce);
                self.to_creator.take().expect("a request")
            }
            (4, AsCreator::Open(mut channel, theirs)) => {
                let wanted = self.answer(index, message).1.expect("digits");
                let hash = channel.handshake_hash();
                while self.grinds && Digits::of(&hash, &self.nonce, &theirs) != wanted {
                    self.rng.fill_bytes(&mut self.nonce);
                }
                wire::versioned_with(&[&channel.seal(&reveal(self.nonce))])
            }
            // It is decided by then.
            (_, state) => {
                self.as_creator = state;
                message.clone()
            }
        }
    }

    /// What a joiner says to a message, and the digits on its screen.
    fn answer(&mut self, index: u8, message: &Bytes) -> (Option<Bytes>, Option<Digits>) {
        let (mut answer, mut shown) = (None, None);
        for action in self.as_joiner.handle(PairingInput::Message { index, bytes: message.clone() }) {
            match action {
                PairingAction::Post { message, .. } => answer = Some(message),
                PairingAction::ShowDigits { digits, .. } => shown = Some(digits),
                PairingAction::Create { .. }
                | PairingAction::Claim { .. }
                | PairingAction::Wait { .. }
                | PairingAction::Deliver(_)
                | PairingAction::Burn
                | PairingAction::Done
                | PairingAction::Failed(_) => {}
            }
        }
        (answer, shown)
    }
}

fn reveal(nonce: [u8; 32]) -> Vec<u8> {
    wire::say(&Reveal { nonce: ByteArray::new(nonce), name: "desk".into(), platform: "linux".into() })
}
