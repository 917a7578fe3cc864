//! Two devices, their people and a mailbox; and somebody who may read and change what lies in it.

use std::collections::VecDeque;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use sync_core::{
    keys::{DeviceKem, DeviceKey, GroupKeys},
    pairing::{Creator, Grant, Joiner, Membership, PairingAction, PairingError, PairingInput, Place},
    roster::{Change, Genesis, JoinRequest, Profile, Roster},
    stored::Secrets,
};
use sync_types::{
    BlobHash, DeviceId, InviteCode, InviteLink, Seq,
    limits::{MAILBOX_MESSAGE_LEN_MAX, MAILBOX_MESSAGES_MAX},
};

pub(crate) const APP: &str = "org.example.notes";
pub(crate) const CODE: &str = "ABCD-EFGH-JKMN-PQRS";

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    ChaCha20Rng::from_seed(bytes)
}

/// The other form of the same invite.
pub(crate) fn link() -> InviteLink {
    let code: InviteCode = CODE.parse().expect("a code");
    InviteLink::new(code.mailbox(), [5; 32]).with_relays(vec!["http://relay.example".into()])
}

/// A device that is a member, and what it knows of its group.
pub(crate) struct Host {
    pub(crate) secrets: Secrets,
    pub(crate) profile: Profile,
    pub(crate) roster: Roster,
    pub(crate) frontier: Vec<Place>,
    pub(crate) relays: Vec<String>,
}

impl Host {
    pub(crate) fn found(seed: u64) -> Self {
        let mut rng = rng(seed);
        let (device, kem) = (DeviceKey::generate(&mut rng), DeviceKem::generate(&mut rng));
        let keys = GroupKeys::generate(&mut rng);
        let profile = Profile::new("host", "linux", APP).expect("a short app id");
        let mut roster = Roster::new(keys.group_id());
        let genesis = Genesis::create(&keys.group_id(), (&device, &kem), &profile, 1);
        assert!(matches!(roster.apply(genesis), Ok(Change::Added(_))));
        let place = Place { sender: device.device_id(), seq: Seq::new(3), hash: BlobHash::from_bytes([3; 32]) };
        let secrets = Secrets { device, kem, group: Some(keys) };
        Self { secrets, profile, roster, frontier: vec![place], relays: vec!["http://relay.example".into()] }
    }

    pub(crate) fn keys(&self) -> &GroupKeys {
        self.secrets.group.as_ref().expect("a host has a group")
    }

    pub(crate) fn invite(&self, seed: u64) -> (Creator, Vec<PairingAction<JoinRequest>>) {
        let code = CODE.parse().expect("a code");
        Creator::start(self.keys().group_id(), &self.profile, &code, &link(), &mut rng(seed))
    }

    pub(crate) fn grant(&self) -> Grant<'_> {
        Grant { keys: self.keys(), roster: &self.roster, frontier: &self.frontier, relays: &self.relays }
    }
}

/// A device whose person typed a code, or opened a link.
pub(crate) fn join(typed: &str, profile: Profile, seed: u64) -> (Joiner, Vec<PairingAction<Box<Membership>>>) {
    let mut rng = rng(seed);
    let secrets = Secrets { device: DeviceKey::generate(&mut rng), kem: DeviceKem::generate(&mut rng), group: None };
    Joiner::start(secrets, profile, &typed.parse().expect("an invite"), &mut rng)
}

pub(crate) fn laptop() -> Profile {
    Profile::new("laptop", "android", APP).expect("a short app id")
}

/// What a person was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) digits: String,
    pub(crate) name: String,
    pub(crate) platform: String,
}

/// What a person says to the digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// Not before the other side's next message.
    LateNo,
    /// And takes it back.
    YesThenNo,
    /// Nothing.
    Silence,
}

/// Sees the messages so far and the next one, and may put another in its place.
type Between<'a> = Box<dyn FnMut(&[Bytes], Bytes) -> Bytes + 'a>;

/// How one pairing goes, and what is done to it.
pub(crate) struct Story<'a> {
    pub(crate) typed: &'a str,
    pub(crate) joiner: Profile,
    pub(crate) creator_says: Answer,
    pub(crate) joiner_says: Answer,
    pub(crate) between: Between<'a>,
}

impl Default for Story<'_> {
    fn default() -> Self {
        let between = Box::new(|_: &[Bytes], message| message);
        Self { typed: CODE, joiner: laptop(), creator_says: Answer::Yes, joiner_says: Answer::Yes, between }
    }
}

/// How it ended.
pub(crate) struct End {
    /// Of creator and joiner; none for one that still waits.
    pub(crate) results: [Option<Result<(), PairingError>>; 2],
    pub(crate) shown: [Option<Shown>; 2],
    pub(crate) admitted: Option<DeviceId>,
    pub(crate) membership: Option<Membership>,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) burnt: bool,
}

impl End {
    pub(crate) fn assert_nothing_was_shared(&self) {
        assert!(self.membership.is_none() && self.admitted.is_none());
        assert!(self.messages.len() < 7 || self.messages[6].len() < 64, "at most a refusal");
    }
}

impl<'a> Story<'a> {
    /// Meddles with messages.
    pub(crate) fn between(between: impl FnMut(&[Bytes], Bytes) -> Bytes + 'a) -> Self {
        Self { between: Box::new(between), ..Self::default() }
    }

    /// The people answer so.
    pub(crate) fn answered(creator_says: Answer, joiner_says: Answer) -> Self {
        Self { creator_says, joiner_says, ..Self::default() }
    }

    pub(crate) fn play(self, host: &mut Host, seed: u64) -> End {
        let mut mailbox = Mailbox { messages: Vec::new(), burnt: false, between: self.between };
        let (creator, first) = host.invite(seed);
        let mut creator = Party::new(Inviting { creator, host, admitted: None }, first, self.creator_says);
        let (joiner, first) = join(self.typed, self.joiner, seed + 1);
        let mut joiner = Party::new(Joining { joiner, membership: None }, first, self.joiner_says);
        while creator.step(&mut mailbox) || joiner.step(&mut mailbox) {}
        End {
            results: [creator.result, joiner.result],
            shown: [creator.shown, joiner.shown],
            admitted: creator.side.admitted,
            membership: joiner.side.membership,
            messages: mailbox.messages,
            burnt: mailbox.burnt,
        }
    }
}

struct Mailbox<'a> {
    messages: Vec<Bytes>,
    burnt: bool,
    between: Between<'a>,
}

impl Mailbox<'_> {
    fn post(&mut self, index: u8, message: Bytes) {
        assert_eq!(usize::from(index), self.messages.len(), "sides alternate");
        assert!(index < u8::try_from(MAILBOX_MESSAGES_MAX).expect("a few"));
        assert!(message.len() <= MAILBOX_MESSAGE_LEN_MAX);
        let message = (self.between)(&self.messages, message);
        self.messages.push(message);
    }
}

/// What the two sides have in common.
trait Side {
    type Outcome;
    fn handle(&mut self, input: PairingInput) -> Vec<PairingAction<Self::Outcome>>;
    fn deliver(&mut self, outcome: Self::Outcome) -> Vec<PairingAction<Self::Outcome>>;
}

struct Inviting<'a> {
    creator: Creator,
    host: &'a mut Host,
    admitted: Option<DeviceId>,
}

impl Side for Inviting<'_> {
    type Outcome = JoinRequest;

    fn handle(&mut self, input: PairingInput) -> Vec<PairingAction<JoinRequest>> {
        self.creator.handle(input)
    }

    fn deliver(&mut self, request: JoinRequest) -> Vec<PairingAction<JoinRequest>> {
        assert!(self.admitted.replace(request.device).is_none(), "delivered once");
        let entry = request.admit(&self.host.keys().group_id(), &self.host.secrets.device, 2, &[]);
        assert_eq!(self.host.roster.apply(entry), Ok(Change::Added(vec![request.device])));
        self.creator.grant(self.host.grant())
    }
}

struct Joining {
    joiner: Joiner,
    membership: Option<Membership>,
}

impl Side for Joining {
    type Outcome = Box<Membership>;

    fn handle(&mut self, input: PairingInput) -> Vec<PairingAction<Box<Membership>>> {
        self.joiner.handle(input)
    }

    fn deliver(&mut self, membership: Box<Membership>) -> Vec<PairingAction<Box<Membership>>> {
        assert!(self.membership.replace(*membership).is_none(), "delivered once");
        Vec::new()
    }
}

/// A side, its person, and what it has yet to do.
struct Party<S: Side> {
    side: S,
    says: Answer,
    actions: VecDeque<PairingAction<S::Outcome>>,
    inputs: VecDeque<PairingInput>,
    waits: Option<u8>,
    shown: Option<Shown>,
    result: Option<Result<(), PairingError>>,
}

impl<S: Side> Party<S> {
    fn new(side: S, first: Vec<PairingAction<S::Outcome>>, says: Answer) -> Self {
        let (actions, inputs) = (first.into(), VecDeque::new());
        Self { side, says, actions, inputs, waits: None, shown: None, result: None }
    }

    /// Does one thing, if there is one to do.
    fn step(&mut self, mailbox: &mut Mailbox<'_>) -> bool {
        if let Some(action) = self.actions.pop_front() {
            self.perform(action, mailbox);
            return true;
        }
        if self.result.is_some() {
            for input in [PairingInput::Approve, PairingInput::Deny, PairingInput::Gone, PairingInput::Expired] {
                assert!(self.side.handle(input).is_empty(), "what has ended stays so");
            }
            return false;
        }
        let Some(input) = self.inputs.pop_front().or_else(|| self.look_into(mailbox)) else { return false };
        if matches!(input, PairingInput::Message { .. }) && self.shown.is_some() && self.says == Answer::LateNo {
            self.inputs.push_back(PairingInput::Deny);
        }
        self.actions.extend(self.side.handle(input));
        true
    }

    fn look_into(&mut self, mailbox: &Mailbox<'_>) -> Option<PairingInput> {
        let index = self.waits?;
        let input = match mailbox.messages.get(usize::from(index)) {
            _ if mailbox.burnt => PairingInput::Gone,
            Some(bytes) => PairingInput::Message { index, bytes: bytes.clone() },
            None => return None,
        };
        self.waits = None;
        Some(input)
    }

    fn perform(&mut self, action: PairingAction<S::Outcome>, mailbox: &mut Mailbox<'_>) {
        assert_eq!(self.result, None, "{action:?} after the end");
        match action {
            PairingAction::Create { message, .. } => mailbox.post(0, message),
            PairingAction::Claim { .. } => self.waits = Some(0),
            PairingAction::Post { .. } if mailbox.burnt => self.inputs.push_back(PairingInput::Gone),
            PairingAction::Post { index, message } => {
                self.waits = None;
                mailbox.post(index, message);
            }
            PairingAction::Wait { from } => self.waits = Some(from),
            PairingAction::ShowDigits { digits, name, platform } => {
                self.shown = Some(Shown { digits: digits.to_string(), name, platform });
                match self.says {
                    Answer::Yes => self.inputs.push_back(PairingInput::Approve),
                    Answer::No => self.inputs.push_back(PairingInput::Deny),
                    Answer::YesThenNo => self.inputs.extend([PairingInput::Approve, PairingInput::Deny]),
                    Answer::LateNo | Answer::Silence => {}
                }
            }
            PairingAction::Deliver(outcome) => self.actions.extend(self.side.deliver(outcome)),
            PairingAction::Burn => mailbox.burnt = true,
            PairingAction::Done => self.result = Some(Ok(())),
            PairingAction::Failed(error) => self.result = Some(Err(error)),
        }
    }
}
