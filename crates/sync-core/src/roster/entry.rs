//! The entries of a roster, as bytes: what a device says of itself, and who vouches for it.
//!
//! ```text
//! 01 genesis   [founding, signature]                             by the device that made the group
//! 02 joined    [request, its signature, welcome, its signature]  by the device that joins and by a member
//! 03 renamed   see [`super::names`]
//! 04 commit    see [`super::commit`]
//! 05 left      [leaving, signature]                              by the device that leaves
//! ```
//! A type byte and a MessagePack array. What is signed travels as a byte string and is verified as such, so it does
//! not matter how a newer build would encode it again.
//!
//! Invariant: an [`Entry`] exists only with signatures that hold. Whether its inviter is a member is the roster's
//! question.

mod copied;

use std::fmt;

use bytes::Bytes;
use serde_bytes::ByteArray;
use sync_types::{
    DeviceId, GroupId,
    envelope::SIGNATURE_LEN,
    limits::{APP_ID_LEN_MAX, COMMIT_PARENTS_MAX, CONTROL_LEN_MAX, DEVICE_NAME_LEN_MAX, PLATFORM_LEN_MAX},
    sign::{self, Purpose},
    wire::{AtMost, decode_exact, message},
};

use super::{
    commit::{self, Commit},
    names::Renamed,
    text::clean,
};
pub use copied::Copied;

use crate::{
    keys::{DeviceKem, DeviceKey, is_kem_public},
    kit,
    passphrase::Derivation,
    seal::signature_holds,
};

const GENESIS: u8 = 1;
const JOINED: u8 = 2;
pub(super) const RENAMED: u8 = 3;
pub(super) const COMMIT: u8 = 4;
const LEFT: u8 = 5;
/// Heads that an inviter names: as many as a commit follows.
const HEADS_MAX: usize = COMMIT_PARENTS_MAX;
/// Longest stored passphrase parameters: version, three costs, a salt, and room.
const PASSPHRASE_LEN_MAX: usize = 128;

/// The hash of an entry's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// `hash = BLAKE3-derive_key("0k-sync/1 roster entry", payload)`; a commit's is over what is signed of it, since its
    /// boxes may come or not.
    pub fn of(payload: &[u8]) -> Self {
        commit::hash_of_payload(payload).unwrap_or_else(|| Self(blake3::derive_key("0k-sync/1 roster entry", payload)))
    }

    /// Wraps the raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({:02x}{:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// Why bytes are not a roster entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not the fields its type has, or one of them too long.
    #[error("roster entry is malformed")]
    Malformed,
    /// Not signed by whom it names.
    #[error("roster entry has a signature that does not hold")]
    BadSignature,
}

/// How a device presents itself to its group.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    name: String,
    platform: String,
    app_id: String,
}

impl Profile {
    /// Cleans and cuts name and platform to what a roster takes. An app id is an identifier and never cut: none if it
    /// is longer than [`APP_ID_LEN_MAX`].
    pub fn new(name: &str, platform: &str, app_id: &str) -> Option<Self> {
        (app_id.len() <= APP_ID_LEN_MAX).then(|| Self {
            name: clean(name, DEVICE_NAME_LEN_MAX),
            platform: clean(platform, PLATFORM_LEN_MAX),
            app_id: app_id.into(),
        })
    }

    /// What its person calls the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it runs on.
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// The app that syncs.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// The same device under another name, which is cleaned already.
    pub(super) fn called(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// The profile in bytes somebody else made, if they are within the limits.
    pub(crate) fn of_stranger(name: &str, platform: &str, app_id: &str) -> Option<Self> {
        let fits = name.len() <= DEVICE_NAME_LEN_MAX && platform.len() <= PLATFORM_LEN_MAX;
        fits.then(|| Self::new(name, platform, app_id)).flatten()
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile(..)")
    }
}

/// An entry whose signatures hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The group was made.
    Genesis(Genesis),
    /// A device joined it.
    Joined(Joined),
    /// A device is called something else.
    Renamed(Renamed),
    /// A new epoch begins, devices are removed, or both.
    Commit(Commit),
    /// A device leaves, and asks to be removed.
    Left(DeviceId),
    /// Something only a newer build understands.
    Unknown,
}

/// The first entry: the device that made the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Its id.
    pub device: DeviceId,
    /// What to seal to it with.
    pub kem_public: Bytes,
    /// What it says of itself. Its app is the group's.
    pub profile: Profile,
    /// How the first epoch's secret comes from a passphrase, where it does: see [`Derivation::read`].
    pub passphrase: Option<Bytes>,
    /// Its clock then, in Unix milliseconds, for people.
    pub created_at_ms: u64,
}

/// A device that a member let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What the device signed.
    pub request: JoinRequest,
    /// The member that let it in.
    pub inviter: DeviceId,
    /// The inviter's clock then, in Unix milliseconds, for people.
    pub joined_at_ms: u64,
    /// The inviter's newest commits then: the device was given their secrets and all before.
    pub heads: Vec<EntryHash>,
    /// It is its inviter itself, as another installation. Both have signed that.
    pub copied: Option<Copied>,
    /// It is a recovery kit that its inviter made. Both have signed that.
    pub is_kit: bool,
}

/// A device's own half of its entry: who it is, signed during one pairing.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// Its id.
    pub device: DeviceId,
    /// What to seal to it with.
    pub kem_public: Bytes,
    /// What it says of itself.
    pub profile: Profile,
    /// The pairing it signed this for: the hash of what was said before.
    pub transcript: [u8; 32],
    signed: Bytes,
    signature: [u8; SIGNATURE_LEN],
}

message! {
    struct GenesisParts {
        founding: Bytes,
        signature: ByteArray<SIGNATURE_LEN>,
    }
}

message! {
    struct Founding {
        app_id: String,
        device: DeviceId,
        kem_public: Bytes,
        name: String,
        platform: String,
        passphrase: Option<Bytes>,
        created_at_ms: u64,
    }
}

message! {
    struct JoinedParts {
        request: Bytes,
        request_signature: ByteArray<SIGNATURE_LEN>,
        welcome: Bytes,
        welcome_signature: ByteArray<SIGNATURE_LEN>,
    }
}

message! {
    struct Request {
        device: DeviceId,
        kem_public: Bytes,
        name: String,
        platform: String,
        app_id: String,
        transcript: ByteArray<32>,
    }
}

message! {
    struct Welcome {
        inviter: DeviceId,
        joined_at_ms: u64,
        heads: AtMost<HEADS_MAX, ByteArray<32>>,
    }
}

message! {
    struct LeftParts {
        leaving: DeviceId,
        signature: ByteArray<SIGNATURE_LEN>,
    }
}

impl Entry {
    /// Reads a control payload and verifies its signatures.
    ///
    /// # Errors
    /// [`EntryError`]. A type of a newer build is no error.
    pub fn read(group: &GroupId, payload: &[u8]) -> Result<Self, EntryError> {
        if payload.len() > CONTROL_LEN_MAX {
            return Err(EntryError::Malformed);
        }
        match payload.split_first() {
            Some((&GENESIS, parts)) => Genesis::read(group, parts).map(Self::Genesis),
            Some((&JOINED, parts)) => Joined::read(group, parts).map(Self::Joined),
            Some((&RENAMED, parts)) => Renamed::read(group, parts).map(Self::Renamed),
            Some((&COMMIT, parts)) => Commit::read(group, parts).map(Self::Commit),
            Some((&LEFT, parts)) => read_left(group, parts).map(Self::Left),
            Some(_) => Ok(Self::Unknown),
            None => Err(EntryError::Malformed),
        }
    }
}

impl Genesis {
    /// The payload of a new group's first entry.
    pub fn create(
        group: &GroupId,
        (device, kem): (&DeviceKey, &DeviceKem),
        profile: &Profile,
        created_at_ms: u64,
    ) -> Bytes {
        Self::create_with(group, (device, kem), profile, None, created_at_ms)
    }

    /// The same of a group whose first epoch's secret comes from a passphrase, if this says how.
    pub fn create_with(
        group: &GroupId,
        (device, kem): (&DeviceKey, &DeviceKem),
        profile: &Profile,
        passphrase: Option<&Derivation>,
        created_at_ms: u64,
    ) -> Bytes {
        Self::sign(group, (device, kem), profile, passphrase.map(Derivation::to_bytes), created_at_ms)
    }

    fn sign(
        group: &GroupId,
        (device, kem): (&DeviceKey, &DeviceKem),
        profile: &Profile,
        passphrase: Option<Bytes>,
        created_at_ms: u64,
    ) -> Bytes {
        let founding = encode(&Founding {
            app_id: profile.app_id.clone(),
            device: device.device_id(),
            kem_public: Bytes::copy_from_slice(&kem.public()),
            name: profile.name.clone(),
            platform: profile.platform.clone(),
            passphrase,
            created_at_ms,
        });
        let signature = device.sign(&Self::message(group, &founding));
        tagged(GENESIS, &GenesisParts { founding, signature: ByteArray::new(signature) })
    }

    fn read(group: &GroupId, parts: &[u8]) -> Result<Self, EntryError> {
        let parts: GenesisParts = decode(parts)?;
        let founding: Founding = decode(&parts.founding)?;
        let profile = Profile::of_stranger(&founding.name, &founding.platform, &founding.app_id);
        let passphrase_fits = founding
            .passphrase
            .as_ref()
            .is_none_or(|bytes| bytes.len() <= PASSPHRASE_LEN_MAX && Derivation::read(bytes).is_ok());
        let (Some(profile), true, true) = (profile, passphrase_fits, is_kem_public(&founding.kem_public)) else {
            return Err(EntryError::Malformed);
        };
        check(&founding.device, &Self::message(group, &parts.founding), &parts.signature)?;
        let Founding { device, kem_public, passphrase, created_at_ms, .. } = founding;
        Ok(Self { device, kem_public, profile, passphrase, created_at_ms })
    }

    fn message(group: &GroupId, founding: &[u8]) -> Vec<u8> {
        sign::message(Purpose::Roster, group.as_bytes(), &[&[GENESIS], founding])
    }
}

impl Joined {
    fn read(group: &GroupId, parts: &[u8]) -> Result<Self, EntryError> {
        let parts: JoinedParts = decode(parts)?;
        let request = JoinRequest::read(group, parts.request, *parts.request_signature)?;
        let welcome: Welcome = decode(&parts.welcome)?;
        if welcome.inviter == request.device {
            return Err(EntryError::Malformed);
        }
        check(&welcome.inviter, &Self::message(group, &request, &parts.welcome), &parts.welcome_signature)?;
        let heads = welcome.heads.0.into_iter().map(|hash| EntryHash::from_bytes(hash.into_array())).collect();
        let copied = Copied::of(&request, &parts.welcome);
        let is_kit = request.transcript == kit::transcript(&welcome.inviter);
        let Welcome { inviter, joined_at_ms, .. } = welcome;
        Ok(Self { request, inviter, joined_at_ms, heads, copied, is_kit })
    }

    /// `02 ‖ u32 length ‖ request ‖ its signature ‖ welcome`
    fn message(group: &GroupId, request: &JoinRequest, welcome: &[u8]) -> Vec<u8> {
        let len = u32::try_from(request.signed.len()).expect("a request is shorter than a control payload");
        let parts: [&[u8]; 5] = [&[JOINED], &len.to_be_bytes(), &request.signed, &request.signature, welcome];
        sign::message(Purpose::Roster, group.as_bytes(), &parts)
    }
}

fn in_welcome(heads: &[EntryHash]) -> AtMost<HEADS_MAX, ByteArray<32>> {
    AtMost(heads.iter().take(HEADS_MAX).map(|hash| ByteArray::new(*hash.as_bytes())).collect())
}

impl JoinRequest {
    /// What a device that wants in says of itself, for the one pairing that `transcript` names.
    pub fn create(
        group: &GroupId,
        (device, kem): (&DeviceKey, &DeviceKem),
        profile: &Profile,
        transcript: [u8; 32],
    ) -> Self {
        let kem_public = Bytes::copy_from_slice(&kem.public());
        let signed = encode(&Request {
            device: device.device_id(),
            kem_public: kem_public.clone(),
            name: profile.name.clone(),
            platform: profile.platform.clone(),
            app_id: profile.app_id.clone(),
            transcript: ByteArray::new(transcript),
        });
        let signature = device.sign(&Self::message(group, &signed));
        Self { device: device.device_id(), kem_public, profile: profile.clone(), transcript, signed, signature }
    }

    /// Reads and verifies what [`Self::signed`] gave.
    pub(crate) fn read(group: &GroupId, signed: Bytes, signature: [u8; SIGNATURE_LEN]) -> Result<Self, EntryError> {
        let request: Request = decode(&signed)?;
        let profile = Profile::of_stranger(&request.name, &request.platform, &request.app_id);
        let (Some(profile), true) = (profile, is_kem_public(&request.kem_public)) else {
            return Err(EntryError::Malformed);
        };
        check(&request.device, &Self::message(group, &signed), &signature)?;
        let Request { device, kem_public, transcript, .. } = request;
        Ok(Self { device, kem_public, profile, transcript: transcript.into_array(), signed, signature })
    }

    /// The bytes the device signed, and its signature.
    pub(crate) fn signed(&self) -> (&Bytes, &[u8; SIGNATURE_LEN]) {
        (&self.signed, &self.signature)
    }

    /// The payload of the roster entry, once a member vouches for the device. `heads` are the newest commits, whose
    /// secrets it will be given; at most [`COMMIT_PARENTS_MAX`] of them.
    pub fn admit(&self, group: &GroupId, inviter: &DeviceKey, joined_at_ms: u64, heads: &[EntryHash]) -> Bytes {
        let heads = in_welcome(heads);
        self.welcomed(group, inviter, encode(&Welcome { inviter: inviter.device_id(), joined_at_ms, heads }))
    }

    fn welcomed(&self, group: &GroupId, inviter: &DeviceKey, welcome: Bytes) -> Bytes {
        let signature = inviter.sign(&Joined::message(group, self, &welcome));
        let parts = JoinedParts {
            request: self.signed.clone(),
            request_signature: ByteArray::new(self.signature),
            welcome,
            welcome_signature: ByteArray::new(signature),
        };
        tagged(JOINED, &parts)
    }

    fn message(group: &GroupId, signed: &[u8]) -> Vec<u8> {
        sign::message(Purpose::Pairing, group.as_bytes(), &[signed])
    }
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinRequest({:?})", self.device)
    }
}

/// Whether this may be an entry that says how a device joined.
pub(crate) fn lets_in(payload: &[u8]) -> bool {
    payload.first() == Some(&JOINED)
}

/// Whether this may be an entry that leads from one epoch to another, or says how somebody joined who is needed for that.
pub(crate) fn leads_on(payload: &[u8]) -> bool {
    lets_in(payload) || payload.first() == Some(&COMMIT)
}

/// The payload by which a device leaves.
pub(crate) fn leave(group: &GroupId, device: &DeviceKey) -> Bytes {
    let leaving = device.device_id();
    let signature = ByteArray::new(device.sign(&left_message(group, &leaving)));
    tagged(LEFT, &LeftParts { leaving, signature })
}

fn read_left(group: &GroupId, parts: &[u8]) -> Result<DeviceId, EntryError> {
    let parts: LeftParts = decode(parts)?;
    check(&parts.leaving, &left_message(group, &parts.leaving), &parts.signature)?;
    Ok(parts.leaving)
}

fn left_message(group: &GroupId, leaving: &DeviceId) -> Vec<u8> {
    sign::message(Purpose::Roster, group.as_bytes(), &[&[LEFT], leaving.as_bytes()])
}

pub(super) fn check(signer: &DeviceId, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), EntryError> {
    if signature_holds(signer, message, signature) { Ok(()) } else { Err(EntryError::BadSignature) }
}

pub(super) fn encode(fields: &impl serde::Serialize) -> Bytes {
    rmp_serde::to_vec(fields).expect("fields always encode into memory").into()
}

pub(super) fn tagged(kind: u8, parts: &impl serde::Serialize) -> Bytes {
    let mut payload = vec![kind];
    rmp_serde::encode::write(&mut payload, parts).expect("fields always encode into memory");
    payload.into()
}

pub(super) fn decode<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, EntryError> {
    decode_exact(bytes).map_err(|_| EntryError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::GroupRoot;

    #[test]
    fn a_device_that_does_not_clean_its_own_name_is_cleaned_by_those_who_read_it() {
        let group = GroupRoot::from_bytes(&[7; 32]).group_id();
        let (device, kem) = (DeviceKey::from_seed(&[1; 32]), DeviceKem::from_bytes(&[1; 32]));
        let found = |name: &str| {
            let profile = Profile { name: name.into(), platform: "test".into(), app_id: "app".into() };
            Entry::read(&group, &Genesis::create(&group, (&device, &kem), &profile, 1))
        };
        let Ok(Entry::Genesis(genesis)) = found("a\u{202e}b") else { panic!("valid") };
        assert_eq!(genesis.profile.name(), "ab");
        assert_eq!(found(&"x".repeat(DEVICE_NAME_LEN_MAX + 1)), Err(EntryError::Malformed));
    }

    #[test]
    fn a_group_that_asks_too_much_for_its_passphrase_is_none() {
        let group = GroupRoot::from_bytes(&[7; 32]).group_id();
        let (device, kem) = (DeviceKey::from_seed(&[1; 32]), DeviceKem::from_bytes(&[1; 32]));
        let profile = Profile::new("phone", "test", "app").expect("a short app id");
        let read = |passphrase: Bytes| {
            let entry = Genesis::sign(&group, (&device, &kem), &profile, Some(passphrase), 1);
            let Entry::Genesis(genesis) = Entry::read(&group, &entry)? else { panic!("a genesis") };
            Ok(genesis.passphrase.expect("it says how"))
        };
        let derivation = Derivation::new(64 * 1024, 3, 1, [7; 16]).expect("within the limits");
        let bytes = derivation.to_bytes();
        let stored = read(bytes.clone()).expect("sound");
        assert_eq!(Derivation::read(&stored), Ok(Some(derivation)));

        let greedy = encode(&(1u8, u32::MAX, 3u32, 1u32, serde_bytes::Bytes::new(&[7; 16])));
        for bad in [greedy, bytes.slice(1..), Bytes::new()] {
            assert_eq!(read(bad), Err(EntryError::Malformed));
        }
        let newer = encode(&(2u8, "something else"));
        assert_eq!(read(newer.clone()), Ok(newer), "a newer build's is kept as it is");
        let endless = encode(&(2u8, "x".repeat(PASSPHRASE_LEN_MAX)));
        assert_eq!(read(endless), Err(EntryError::Malformed));
    }
}
