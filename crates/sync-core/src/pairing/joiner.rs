//! The side that comes.

use bytes::Bytes;
use rand_core::CryptoRng;
use serde_bytes::ByteArray;
use sync_types::{GroupId, Invite, invite::Form, limits::MAILBOX_MESSAGES_MAX};
use zeroize::Zeroizing;

use super::{
    Digits, Membership, PairingAction, PairingError, PairingInput,
    grant::{FIRST_PART, GRANT_LEN_MAX, Granted},
    noise::{Channel, Handshake},
    pake::{ELEMENT_LEN, Pake, PakeKey, Side},
    rng::{Seed, seed},
    transcript::{Transcript, commitment},
    weakness::{self, Weakness},
    wire::{self, Answer, Invitation, Opening, Request, Reveal, Signal},
};
use crate::{
    roster::{JoinRequest, Profile},
    stored::Secrets,
};

type Action = PairingAction<Box<Membership>>;
type Step = Result<(State, Vec<Action>), PairingError>;

/// One attempt to join, from a typed code to membership.
///
/// [`PairingAction::Deliver`] gives the [`Membership`]; the action after it tells the inviter that it is durable.
pub struct Joiner {
    secrets: Option<Secrets>,
    profile: Profile,
    nonce: [u8; 32],
    transcript: Transcript,
    state: State,
}

enum State {
    /// For message 0.
    AwaitOpening { form: Form, pake: Pake, element: [u8; ELEMENT_LEN], noise_seed: Seed },
    /// For message 2.
    AwaitProof { key: PakeKey, commitment: [u8; 32], noise_seed: Seed },
    /// For message 4.
    AwaitReveal { channel: Channel, group: GroupId, commitment: [u8; 32] },
    /// Both screens show the digits.
    Deciding { channel: Channel, group: GroupId },
    /// This person confirmed. The parts of the grant so far, and the number of the next.
    AwaitGrant { channel: Channel, group: GroupId, grant: Zeroizing<Vec<u8>>, next: u8 },
    /// Done, or failed.
    Over,
}

impl Joiner {
    /// Starts an attempt with the keys this device made for it, and what its person was given. Secrets that hold a
    /// group's keys already are not for joining.
    pub fn start(
        secrets: Secrets,
        profile: Profile,
        invite: &Invite,
        rng: &mut impl CryptoRng,
    ) -> (Self, Vec<PairingAction<Box<Membership>>>) {
        let (mailbox, form) = (invite.mailbox(), invite.form());
        let (pake, element) = Pake::start(Side::Joiner, &mailbox, (form, invite.password()), seed(rng));
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let joiner = Self {
            secrets: Some(secrets),
            profile,
            nonce,
            transcript: Transcript::new(),
            state: State::AwaitOpening { form, pake, element, noise_seed: seed(rng) },
        };
        (joiner, vec![Action::Claim { name: mailbox }])
    }

    /// Feeds one input. The caller performs the returned actions in order and to the end.
    pub fn handle(&mut self, input: PairingInput) -> Vec<PairingAction<Box<Membership>>> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if matches!(state, State::Over) {
            return Vec::new();
        }
        let step = match input {
            PairingInput::Message { index, bytes } => self.receive(state, index, &bytes),
            PairingInput::Approve => Ok(approve(state)),
            PairingInput::Deny => return deny(state),
            PairingInput::Gone => return vec![Action::Failed(why_gone(&state))],
            PairingInput::Expired => Err(PairingError::Expired),
        };
        match step {
            Ok((state, actions)) => {
                self.state = state;
                actions
            }
            Err(error) => vec![Action::Burn, Action::Failed(error)],
        }
    }

    fn receive(&mut self, state: State, index: u8, message: &[u8]) -> Step {
        match (state, index) {
            (State::AwaitOpening { form, pake, element, noise_seed }, 0) => {
                self.opened(form, pake, &element, noise_seed, message)
            }
            (State::AwaitProof { key, commitment, noise_seed }, 2) => {
                self.proven(&key, commitment, noise_seed, message)
            }
            (State::AwaitReveal { channel, group, commitment }, 4) => {
                self.revealed(channel, group, commitment, message)
            }
            (State::AwaitGrant { channel, group, grant, next }, index) if index == next => {
                self.granted(channel, group, grant, next, message)
            }
            (
                State::AwaitOpening { .. }
                | State::AwaitProof { .. }
                | State::AwaitReveal { .. }
                | State::Deciding { .. }
                | State::AwaitGrant { .. }
                | State::Over,
                _,
            ) => Err(PairingError::Broken),
        }
    }

    /// Message 0. Message 1 proves the password, and gives the other side its one guess.
    fn opened(
        &mut self,
        form: Form,
        pake: Pake,
        element: &[u8; ELEMENT_LEN],
        noise_seed: Seed,
        message: &[u8],
    ) -> Step {
        let opening = Opening::read(message)?;
        let key = pake.finish(opening.element(form)).map_err(|_| PairingError::Broken)?;
        self.transcript.add(message);
        let unconfirmed = Answer::unconfirmed(form, element, &self.nonce);
        let confirmation = key.confirmation(Side::Joiner, &self.transcript.with(&unconfirmed));
        let message = Bytes::from([&unconfirmed[..], &confirmation].concat());
        self.transcript.add(&message);
        let actions = vec![Action::Post { index: 1, message }, Action::Wait { from: 2 }];
        Ok((State::AwaitProof { key, commitment: opening.commitment, noise_seed }, actions))
    }

    /// Message 2: the other side had the password too, and says where the invite leads. Message 3 says who asks.
    fn proven(&mut self, key: &PakeKey, commitment: [u8; 32], noise_seed: Seed, message: &[u8]) -> Step {
        let (confirmation, opening) = wire::read_proof(message)?;
        if !key.is_confirmed(Side::Creator, &self.transcript.hash(), &confirmation) {
            return Err(PairingError::Broken);
        }
        let prologue = self.transcript.with(&confirmation);
        let mut handshake = Handshake::new(Side::Joiner, &key.psk(), &prologue, noise_seed);
        let text = handshake.read(opening).map_err(|_| PairingError::Broken)?;
        let Invitation { group, app_id } = wire::hear(&text)?;
        self.transcript.add(message);

        if app_id != self.profile.app_id() {
            // Told rather than just gone, so that both people learn what went wrong.
            let error = PairingError::OtherApp;
            let answer = handshake.write(&wire::say_refusal(error)).map_err(|_| PairingError::Broken)?;
            let message = wire::versioned_with(&[&answer]);
            return Ok((State::Over, vec![Action::Post { index: 3, message }, Action::Failed(error)]));
        }
        let secrets = self.secrets.as_ref().ok_or(PairingError::Broken)?;
        let request =
            JoinRequest::create(&group, (&secrets.device, &secrets.kem), &self.profile, self.transcript.hash());
        let (signed, signature) = request.signed();
        let request = wire::say(&Request { signed: signed.clone(), signature: ByteArray::new(*signature) });
        let answer = handshake.write(&request).map_err(|_| PairingError::Broken)?;
        let channel = handshake.finish().map_err(|_| PairingError::Broken)?;
        let message = wire::versioned_with(&[&answer]);
        let actions = vec![Action::Post { index: 3, message }, Action::Wait { from: 4 }];
        Ok((State::AwaitReveal { channel, group, commitment }, actions))
    }

    /// Message 4: what message 0 committed to. It fixes the digits.
    fn revealed(&mut self, mut channel: Channel, group: GroupId, committed: [u8; 32], message: &[u8]) -> Step {
        let text = open(&mut channel, message)?;
        let Reveal { nonce, name, platform } = wire::hear(&text)?;
        if commitment(&text) != committed && !weakness::has(Weakness::NoCommitment) {
            return Err(PairingError::Broken);
        }
        let host = Profile::of_stranger(&name, &platform, self.profile.app_id()).ok_or(PairingError::Broken)?;
        let show = Action::ShowDigits {
            digits: Digits::of(&channel.handshake_hash(), &nonce, &self.nonce),
            name: host.name().into(),
            platform: host.platform().into(),
        };
        // Nothing is due before this side confirms, but the creator may go.
        Ok((State::Deciding { channel, group }, vec![show, Action::Wait { from: FIRST_PART }]))
    }

    /// Messages 6, 8, …: the grant, piece by piece.
    fn granted(
        &mut self,
        mut channel: Channel,
        group: GroupId,
        mut grant: Zeroizing<Vec<u8>>,
        index: u8,
        message: &[u8],
    ) -> Step {
        let text = open(&mut channel, message)?;
        let (is_last, piece) = wire::hear_part(&text)?;
        if grant.len() + piece.len() > GRANT_LEN_MAX {
            return Err(PairingError::Broken);
        }
        grant.extend_from_slice(piece);
        if !is_last {
            if usize::from(index) + 2 >= MAILBOX_MESSAGES_MAX {
                return Err(PairingError::Broken);
            }
            let message = seal(&mut channel, &wire::say_signal(Signal::More));
            let actions = vec![Action::Post { index: index + 1, message }, Action::Wait { from: index + 2 }];
            return Ok((State::AwaitGrant { channel, group, grant, next: index + 2 }, actions));
        }
        let mut secrets = self.secrets.take().ok_or(PairingError::Broken)?;
        let granted = Granted::read(&grant, &group, self.profile.app_id(), &secrets.device.device_id())?;
        secrets.group = Some(granted.keys);
        let Granted { roster, missing, frontier, relays, .. } = granted;
        let membership = Membership { secrets, roster, missing, frontier, relays };
        let message = seal(&mut channel, &wire::say_signal(Signal::Stored));
        let actions =
            vec![Action::Deliver(Box::new(membership)), Action::Post { index: index + 1, message }, Action::Done];
        Ok((State::Over, actions))
    }
}

fn approve(state: State) -> (State, Vec<Action>) {
    match state {
        State::Deciding { mut channel, group } => {
            let message = seal(&mut channel, &wire::say_signal(Signal::Confirm));
            // As large as it can get: a vector that grows leaves its old bytes behind.
            let grant = Zeroizing::new(Vec::with_capacity(GRANT_LEN_MAX));
            let actions = vec![Action::Post { index: 5, message }, Action::Wait { from: FIRST_PART }];
            (State::AwaitGrant { channel, group, grant, next: FIRST_PART }, actions)
        }
        // There is nothing to approve yet, or it was approved before.
        State::AwaitOpening { .. }
        | State::AwaitProof { .. }
        | State::AwaitReveal { .. }
        | State::AwaitGrant { .. }
        | State::Over => (state, Vec::new()),
    }
}

/// Ends it from this side. Where it is this side's turn the other one is told why, and removes the mailbox when it
/// has read that; otherwise the mailbox just goes.
fn deny(state: State) -> Vec<Action> {
    let error = PairingError::Denied;
    match state {
        State::Deciding { mut channel, .. } => {
            let message = seal(&mut channel, &wire::say_refusal(error));
            vec![Action::Post { index: 5, message }, Action::Failed(error)]
        }
        State::AwaitOpening { .. }
        | State::AwaitProof { .. }
        | State::AwaitReveal { .. }
        | State::AwaitGrant { .. }
        | State::Over => vec![Action::Burn, Action::Failed(error)],
    }
}

/// A creator ends a pairing out of turn by removing the mailbox: at a wrong password, or because its person said no.
fn why_gone(state: &State) -> PairingError {
    match state {
        State::AwaitOpening { .. } => PairingError::NotFound,
        State::AwaitProof { .. } => PairingError::WrongCode,
        State::AwaitReveal { .. } | State::Deciding { .. } => PairingError::Denied,
        State::AwaitGrant { grant, .. } if grant.is_empty() => PairingError::Denied,
        State::AwaitGrant { .. } | State::Over => PairingError::Broken,
    }
}

fn open(channel: &mut Channel, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, PairingError> {
    channel.open(wire::versioned(message)?).map_err(|_| PairingError::Broken)
}

fn seal(channel: &mut Channel, text: &[u8]) -> Bytes {
    wire::versioned_with(&[&channel.seal(text)])
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::keys::{DeviceKem, DeviceKey};

    fn invite() -> Invite {
        "ABCD-EFGH-JKMN-PQRS".parse().expect("a code")
    }

    fn joiner() -> Joiner {
        let secrets =
            Secrets { device: DeviceKey::from_seed(&[4; 32]), kem: DeviceKem::from_bytes(&[4; 32]), group: None };
        let profile = Profile::new("phone", "android", "app").expect("a short app id");
        Joiner::start(secrets, profile, &invite(), &mut ChaCha20Rng::from_seed([2; 32])).0
    }

    /// A joiner whose person confirmed, and the other end of its channel.
    fn confirmed() -> (Joiner, Channel) {
        let mut joiner = joiner();
        let handshake = |side| Handshake::new(side, &[1; 32], &[2; 32], Seed::new([side as u8 + 1; 32]));
        let (mut theirs, mut ours) = (handshake(Side::Creator), handshake(Side::Joiner));
        ours.read(&theirs.write(b"").expect("its turn")).expect("authentic");
        theirs.read(&ours.write(b"").expect("its turn")).expect("authentic");
        let channel = ours.finish().expect("done");
        joiner.state = State::Deciding { channel, group: GroupId::from_bytes([7; 32]) };
        let mut theirs = theirs.finish().expect("done");
        let actions = joiner.handle(PairingInput::Approve);
        let [Action::Post { index: 5, message }, Action::Wait { from: 6 }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert!(open(&mut theirs, message).is_ok());
        (joiner, theirs)
    }

    fn feed(joiner: &mut Joiner, creator: &mut Channel, index: u8, is_last: bool, piece: &[u8]) -> Vec<Action> {
        let bytes = seal(creator, &wire::say_part(is_last, piece));
        joiner.handle(PairingInput::Message { index, bytes })
    }

    #[test]
    fn a_creator_that_does_not_prove_the_key_is_refused_whatever_it_says_under_it() {
        let invite = invite();
        for proves in [true, false] {
            let mut joiner = joiner();
            let password = (Form::Code, invite.password());
            let (pake, element) = Pake::start(Side::Creator, &invite.mailbox(), password, Seed::new([5; 32]));
            let opening = Opening { elements: [element; 2], commitment: [0; 32] }.to_bytes();
            let actions = joiner.handle(PairingInput::Message { index: 0, bytes: opening.clone() });
            let [Action::Post { index: 1, message: answer }, Action::Wait { from: 2 }] = &actions[..] else {
                panic!("{actions:?}")
            };
            let key = pake.finish(&Answer::read(answer).expect("an answer").0.element).expect("a point");
            let mut transcript = Transcript::new();
            transcript.add(&opening);
            transcript.add(answer);
            let mut confirmation = key.confirmation(Side::Creator, &transcript.hash());
            confirmation[0] ^= u8::from(!proves);
            let prologue = transcript.with(&confirmation);
            let mut handshake = Handshake::new(Side::Creator, &key.psk(), &prologue, Seed::new([6; 32]));
            let invitation = wire::say(&Invitation { group: GroupId::from_bytes([7; 32]), app_id: "app".into() });
            let opening = handshake.write(&invitation).expect("its turn");
            let bytes = wire::versioned_with(&[&confirmation, &opening]);
            let actions = joiner.handle(PairingInput::Message { index: 2, bytes });
            assert_eq!(matches!(actions[..], [Action::Post { index: 3, .. }, Action::Wait { from: 4 }]), proves);
            assert_eq!(matches!(actions[..], [Action::Burn, Action::Failed(PairingError::Broken)]), !proves);
        }
    }

    #[test]
    fn a_grant_without_an_end_is_refused() {
        let (mut joiner, mut creator) = confirmed();
        for index in [6, 8, 10, 12] {
            let actions = feed(&mut joiner, &mut creator, index, false, b"");
            assert!(matches!(actions[..], [Action::Post { .. }, Action::Wait { .. }]), "{index}: {actions:?}");
        }
        let actions = feed(&mut joiner, &mut creator, 14, false, b"");
        assert!(matches!(actions[..], [Action::Burn, Action::Failed(PairingError::Broken)]), "{actions:?}");
    }

    #[test]
    fn a_grant_that_is_none_makes_no_member() {
        let (mut joiner, mut creator) = confirmed();
        let actions = feed(&mut joiner, &mut creator, 6, true, &[0x96]);
        assert!(matches!(actions[..], [Action::Burn, Action::Failed(PairingError::Broken)]), "{actions:?}");
    }

    #[test]
    fn a_creator_that_goes_while_it_is_asked_has_said_no() {
        let (mut joiner, _) = confirmed();
        let actions = joiner.handle(PairingInput::Gone);
        assert!(matches!(actions[..], [Action::Failed(PairingError::Denied)]), "{actions:?}");

        // Once it has begun to hand over it had said yes.
        let (mut joiner, mut creator) = confirmed();
        feed(&mut joiner, &mut creator, 6, false, b"piece");
        let actions = joiner.handle(PairingInput::Gone);
        assert!(matches!(actions[..], [Action::Failed(PairingError::Broken)]), "{actions:?}");
    }
}
