//! The side that invites.

use std::collections::VecDeque;

use bytes::Bytes;
use rand_core::CryptoRng;
use serde_bytes::ByteArray;
use sync_types::{DeviceId, GroupId, InviteCode, InviteLink, invite::Form};
use zeroize::Zeroizing;

use super::{
    Digits, Grant, PairingAction, PairingError, PairingInput,
    grant::FIRST_PART,
    noise::{Channel, Handshake},
    pake::{Pake, Side},
    rng::{Seed, seed},
    transcript::{Transcript, commitment},
    wire::{self, Answer, Invitation, Opening, Request, Reveal, Signal},
};
use crate::roster::{JoinRequest, Profile};

type Action = PairingAction<JoinRequest>;
type Step = Result<(State, Vec<Action>), PairingError>;

/// One invite, from the code on this device's screen to a new member.
///
/// When both people agreed, [`PairingAction::Deliver`] gives the joiner's [`JoinRequest`]: make its roster entry with
/// [`JoinRequest::admit`], have the engine publish it durably, then call [`Creator::grant`].
pub struct Creator {
    group: GroupId,
    app_id: String,
    /// What message 0 committed to: the nonce, and how this device presents itself.
    reveal: Vec<u8>,
    nonce: [u8; 32],
    transcript: Transcript,
    state: State,
}

enum State {
    /// For message 1, which says whose password it answers.
    AwaitAnswer { code: Pake, link: Pake, noise_seed: Seed },
    /// For message 3.
    AwaitRequest { handshake: Handshake, joiner_nonce: [u8; 32] },
    /// Both screens show the digits; message 5 says that the other person confirmed.
    Deciding { channel: Channel, request: JoinRequest, approved: bool, confirmed: bool },
    /// The joiner is being entered in the roster.
    Admitting { channel: Channel, joiner: DeviceId },
    /// The part before the one numbered `next` is out, and its answer is due.
    Granting { channel: Channel, parts: VecDeque<Zeroizing<Vec<u8>>>, next: u8 },
    /// Done, or failed.
    Over,
}

impl Creator {
    /// Starts an invite into `group`: a mailbox, and the two passwords to it. Both share the one guess that an invite
    /// allows.
    pub fn start(
        group: GroupId,
        profile: &Profile,
        code: &InviteCode,
        link: &InviteLink,
        rng: &mut impl CryptoRng,
    ) -> (Self, Vec<PairingAction<JoinRequest>>) {
        let mailbox = code.mailbox();
        let mut begin = |password: (Form, &[u8])| Pake::start(Side::Creator, &mailbox, password, seed(rng));
        let (code, for_code) = begin((Form::Code, code.password()));
        let (link, for_link) = begin((Form::Link, link.password()));
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let reveal = wire::say(&Reveal {
            nonce: ByteArray::new(nonce),
            name: profile.name().into(),
            platform: profile.platform().into(),
        });
        let message = Opening { elements: [for_code, for_link], commitment: commitment(&reveal) }.to_bytes();
        let mut transcript = Transcript::new();
        transcript.add(&message);
        let creator = Self {
            group,
            app_id: profile.app_id().into(),
            reveal,
            nonce,
            transcript,
            state: State::AwaitAnswer { code, link, noise_seed: seed(rng) },
        };
        (creator, vec![Action::Create { name: mailbox, message }, Action::Wait { from: 1 }])
    }

    /// Feeds one input. The caller performs the returned actions in order and to the end.
    pub fn handle(&mut self, input: PairingInput) -> Vec<PairingAction<JoinRequest>> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if matches!(state, State::Over) {
            return Vec::new();
        }
        match input {
            PairingInput::Message { index, bytes } => {
                let step = self.receive(state, index, &bytes);
                self.take(step)
            }
            PairingInput::Approve => {
                let step = approve(state);
                self.take(step)
            }
            PairingInput::Deny => self.deny(state),
            PairingInput::Gone => vec![Action::Failed(why_gone(&state))],
            PairingInput::Expired => vec![Action::Burn, Action::Failed(PairingError::Expired)],
        }
    }

    /// Hands the secrets over, once the joiner's entry is durable. Answers [`PairingAction::Deliver`].
    pub fn grant(&mut self, grant: Grant<'_>) -> Vec<PairingAction<JoinRequest>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Admitting { channel, joiner } => match grant.to_parts(&joiner) {
                Ok(parts) => {
                    let step = Ok(send_part(channel, parts.into(), FIRST_PART));
                    self.take(step)
                }
                Err(error) => refuse(State::Admitting { channel, joiner }, error),
            },
            state @ (State::AwaitAnswer { .. }
            | State::AwaitRequest { .. }
            | State::Deciding { .. }
            | State::Granting { .. }
            | State::Over) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    /// Once both agreed it is too late: the joiner is in the roster, and leaves it by being removed.
    fn deny(&mut self, state: State) -> Vec<Action> {
        match state {
            State::AwaitAnswer { .. } | State::AwaitRequest { .. } | State::Deciding { .. } => {
                refuse(state, PairingError::Denied)
            }
            State::Admitting { .. } | State::Granting { .. } | State::Over => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn take(&mut self, step: Step) -> Vec<Action> {
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
            (State::AwaitAnswer { code, link, noise_seed }, 1) => self.answered(code, link, noise_seed, message),
            (State::AwaitRequest { handshake, joiner_nonce }, 3) => self.requested(handshake, joiner_nonce, message),
            (State::Deciding { mut channel, request, approved, confirmed: false }, 5) => {
                wire::hear_signal(Signal::Confirm, &open(&mut channel, message)?)?;
                let (state, mut actions) = decided(channel, request, approved, true);
                // Not that anything is due before this side goes on, but the joiner may go.
                actions.insert(0, Action::Wait { from: FIRST_PART + 1 });
                Ok((state, actions))
            }
            (State::Granting { mut channel, parts, next }, index) if index == next - 1 => {
                let text = open(&mut channel, message)?;
                if parts.is_empty() {
                    wire::hear_signal(Signal::Stored, &text)?;
                    return Ok((State::Over, vec![Action::Burn, Action::Done]));
                }
                wire::hear_signal(Signal::More, &text)?;
                Ok(send_part(channel, parts, next))
            }
            (
                State::AwaitAnswer { .. }
                | State::AwaitRequest { .. }
                | State::Deciding { .. }
                | State::Admitting { .. }
                | State::Granting { .. }
                | State::Over,
                _,
            ) => Err(PairingError::Broken),
        }
    }

    /// Message 1: the one guess at the password. Message 2 proves ours.
    fn answered(&mut self, code: Pake, link: Pake, noise_seed: Seed, message: &[u8]) -> Step {
        let (answer, unconfirmed) = Answer::read(message)?;
        let pake = match answer.form {
            Form::Code => code,
            Form::Link => link,
        };
        let key = pake.finish(&answer.element).map_err(|_| PairingError::Broken)?;
        if !key.is_confirmed(Side::Joiner, &self.transcript.with(unconfirmed), &answer.confirmation) {
            return Err(PairingError::WrongCode);
        }
        self.transcript.add(message);
        let confirmation = key.confirmation(Side::Creator, &self.transcript.hash());

        let prologue = self.transcript.with(&confirmation);
        let mut handshake = Handshake::new(Side::Creator, &key.psk(), &prologue, noise_seed);
        let invitation = wire::say(&Invitation { group: self.group, app_id: self.app_id.clone() });
        let opening = handshake.write(&invitation).map_err(|_| PairingError::Broken)?;
        let message = wire::versioned_with(&[&confirmation, &opening]);
        self.transcript.add(&message);
        Ok((
            State::AwaitRequest { handshake, joiner_nonce: answer.nonce },
            vec![Action::Post { index: 2, message }, Action::Wait { from: 3 }],
        ))
    }

    /// Message 3: who wants in. Message 4 reveals what fixes the digits.
    fn requested(&mut self, mut handshake: Handshake, joiner_nonce: [u8; 32], message: &[u8]) -> Step {
        let text = handshake.read(wire::versioned(message)?).map_err(|_| PairingError::Broken)?;
        let mut channel = handshake.finish().map_err(|_| PairingError::Broken)?;
        let Request { signed, signature } = wire::hear(&text)?;
        let request =
            JoinRequest::read(&self.group, signed, signature.into_array()).map_err(|_| PairingError::Broken)?;
        if request.transcript != self.transcript.hash() {
            return Err(PairingError::Broken);
        }
        if request.profile.app_id() != self.app_id {
            return Err(PairingError::OtherApp);
        }
        let message = seal(&mut channel, &self.reveal);
        let show = Action::ShowDigits {
            digits: Digits::of(&channel.handshake_hash(), &self.nonce, &joiner_nonce),
            name: request.profile.name().into(),
            platform: request.profile.platform().into(),
        };
        let actions = vec![Action::Post { index: 4, message }, show, Action::Wait { from: 5 }];
        Ok((State::Deciding { channel, request, approved: false, confirmed: false }, actions))
    }
}

fn approve(state: State) -> Step {
    match state {
        State::Deciding { channel, request, confirmed, .. } => Ok(decided(channel, request, true, confirmed)),
        // There is nothing to approve yet, or it was approved before.
        State::AwaitAnswer { .. }
        | State::AwaitRequest { .. }
        | State::Admitting { .. }
        | State::Granting { .. }
        | State::Over => Ok((state, Vec::new())),
    }
}

fn decided(channel: Channel, request: JoinRequest, approved: bool, confirmed: bool) -> (State, Vec<Action>) {
    if approved && confirmed {
        (State::Admitting { channel, joiner: request.device }, vec![Action::Deliver(request)])
    } else {
        (State::Deciding { channel, request, approved, confirmed }, Vec::new())
    }
}

fn send_part(mut channel: Channel, mut parts: VecDeque<Zeroizing<Vec<u8>>>, index: u8) -> (State, Vec<Action>) {
    let part = parts.pop_front().expect("a grant has a part, and an answer to the last is not asked for more");
    let message = seal(&mut channel, &part);
    let actions = vec![Action::Post { index, message }, Action::Wait { from: index + 1 }];
    (State::Granting { channel, parts, next: index + 2 }, actions)
}

/// Ends it from this side. Where it is this side's turn the other one is told why, and removes the mailbox when it
/// has read that; otherwise the mailbox just goes.
fn refuse(state: State, error: PairingError) -> Vec<Action> {
    match state {
        State::Deciding { mut channel, confirmed: true, .. } | State::Admitting { mut channel, .. } => {
            let message = seal(&mut channel, &wire::say_refusal(error));
            vec![Action::Post { index: FIRST_PART, message }, Action::Failed(error)]
        }
        State::AwaitAnswer { .. }
        | State::AwaitRequest { .. }
        | State::Deciding { .. }
        | State::Granting { .. }
        | State::Over => vec![Action::Burn, Action::Failed(error)],
    }
}

/// The joiner ends a pairing out of turn by removing the mailbox, which only its person has a reason to. Before there
/// is a joiner only the relay can have.
fn why_gone(state: &State) -> PairingError {
    match state {
        State::Deciding { .. } => PairingError::Denied,
        State::AwaitAnswer { .. } => PairingError::Expired,
        State::AwaitRequest { .. } | State::Admitting { .. } | State::Granting { .. } | State::Over => {
            PairingError::Broken
        }
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
    use sync_types::Invite;

    use super::*;
    use crate::{
        keys::{DeviceKem, DeviceKey},
        pairing::Joiner,
        stored::Secrets,
    };

    fn code() -> InviteCode {
        "ABCD-EFGH-JKMN-PQRS".parse().expect("a code")
    }

    fn start() -> (Creator, Bytes) {
        let profile = Profile::new("desk", "linux", "app").expect("a short app id");
        let code = code();
        let link = InviteLink::new(code.mailbox(), [8; 32]);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let group = GroupId::from_bytes([7; 32]);
        let (creator, actions) = Creator::start(group, &profile, &code, &link, &mut rng);
        let [Action::Create { message, .. }, Action::Wait { from: 1 }] = &actions[..] else { panic!("{actions:?}") };
        (creator, message.clone())
    }

    /// A joiner that is through with the PAKE, and then asks like this.
    fn ask(creator: &mut Creator, request: &JoinRequest) -> Result<Vec<Action>, PairingError> {
        let handshake = |side| Handshake::new(side, &[1; 32], &[2; 32], Seed::new([side as u8 + 1; 32]));
        let (mut ours, mut theirs) = (handshake(Side::Creator), handshake(Side::Joiner));
        let first = ours.write(b"").expect("its turn");
        theirs.read(&first).expect("authentic");
        let (signed, signature) = request.signed();
        let text = wire::say(&Request { signed: signed.clone(), signature: ByteArray::new(*signature) });
        let message = wire::versioned_with(&[&theirs.write(&text).expect("its turn")]);
        creator.requested(ours, [3; 32], &message).map(|(_, actions)| actions)
    }

    fn request(group: GroupId, app: &str, transcript: [u8; 32]) -> JoinRequest {
        let (device, kem) = (DeviceKey::from_seed(&[4; 32]), DeviceKem::from_bytes(&[4; 32]));
        let profile = Profile::new("phone", "android", app).expect("a short app id");
        JoinRequest::create(&group, (&device, &kem), &profile, transcript)
    }

    #[test]
    fn a_request_counts_for_the_pairing_group_and_app_it_was_signed_for() {
        let (mut creator, _) = start();
        let (group, transcript) = (creator.group, creator.transcript.hash());
        assert!(ask(&mut creator, &request(group, "app", transcript)).is_ok());
        let replayed = request(group, "app", [9; 32]);
        assert_eq!(ask(&mut creator, &replayed).err(), Some(PairingError::Broken));
        let elsewhere = request(GroupId::from_bytes([9; 32]), "app", transcript);
        assert_eq!(ask(&mut creator, &elsewhere).err(), Some(PairingError::Broken));
        let other = request(group, "other", transcript);
        assert_eq!(ask(&mut creator, &other).err(), Some(PairingError::OtherApp));
    }

    #[test]
    fn a_reveal_that_was_not_committed_to_shows_no_digits() {
        let (mut creator, mut to_joiner) = start();
        // What somebody in between would do who has seen the joiner's part of the digits.
        creator.reveal =
            wire::say(&Reveal { nonce: ByteArray::new([9; 32]), name: "desk".into(), platform: "linux".into() });
        let secrets =
            Secrets { device: DeviceKey::from_seed(&[4; 32]), kem: DeviceKem::from_bytes(&[4; 32]), group: None };
        let profile = Profile::new("phone", "android", "app").expect("a short app id");
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let (mut joiner, _) = Joiner::start(secrets, profile, &Invite::Code(code()), &mut rng);

        for index in [0, 2] {
            let actions = joiner.handle(PairingInput::Message { index, bytes: to_joiner });
            let [PairingAction::Post { message, .. }, PairingAction::Wait { .. }] = &actions[..] else {
                panic!("{actions:?}")
            };
            let actions = creator.handle(PairingInput::Message { index: index + 1, bytes: message.clone() });
            let [Action::Post { message, .. }, ..] = &actions[..] else { panic!("{actions:?}") };
            to_joiner = message.clone();
        }
        let actions = joiner.handle(PairingInput::Message { index: 4, bytes: to_joiner });
        assert!(matches!(actions[..], [PairingAction::Burn, PairingAction::Failed(PairingError::Broken)]));
    }
}
