//! A recovery kit: what is on paper lets a person back into the group who has lost every device.
//!
//! A kit is a member of its own. Whoever makes one signs for it as for a device that it lets in, with keys that follow
//! from a seed which only the paper has. So every commit seals the new key to it, it shows among the devices, and
//! removing it takes it out like any of them. It never connects, and so nobody waits for it.
//!
//! ```text
//! device key = Ed25519 from seed HKDF(kit seed, "0k-sync/1 kit device")
//! KEM key    = X-Wing from seed HKDF(kit seed, "0k-sync/1 kit kem")
//! content    = MessagePack [app id, group root, genesis, first key id, kit seed, number, epoch secret, relays]
//! sealed     = XChaCha20-Poly1305(key ‖ nonce = HKDF(code [16], "0k-sync/1 kit"), aad = version, content)
//! text       = "ZEROK:KIT:1:" ‖ Crockford base32 of sealed ‖ check [4]
//! code       = Crockford base32 of 128 random bits ‖ 12 bits of check
//! ```
//! The code is made for one text and has 128 random bits, so nothing stretches it and no two texts share a key. Each of the
//! two has a check of its own, which is none of what is secret: so a typing error is told from a code of another kit.
//!
//! The person who uses a kit gets another device, see [`Recovery`]: the paper stays what it is, and can be removed.

mod letters;
mod recovery;

use std::{fmt, str::FromStr};

use bytes::Bytes;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use serde_bytes::ByteArray;
use sha2::Sha256;
use sync_types::{
    DeviceId, ErrorCode, GroupId, KeyId,
    envelope::{NONCE_LEN, TAG_LEN},
    limits::{APP_ID_LEN_MAX, KIT_LEN_MAX, KIT_RELAYS_LEN_MAX, LINK_RELAYS_MAX, RELAY_NAME_LEN_MAX},
    wire::{AtMost, decode_exact, message},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::recovery::{Heard, Recovery};
use crate::{
    keys::{DeviceKem, DeviceKey, EpochSecret, GroupKeys, GroupRoot, derive},
    roster::{EntryHash, JoinRequest, Profile, Roster},
    secret::{SecretBytes, secret},
};

/// The only version so far.
const VERSION: u8 = 1;
/// What a text begins with, before its version.
const PREFIX: &str = "ZEROK:KIT:";
/// Of a text's check.
const CHECK_LEN: usize = 4;
/// What a kit says that it runs on.
const PLATFORM: &str = "paper";
/// What it is called until a person calls it something else.
const NAME: &str = "Recovery kit";

secret! {
    /// What a kit's keys follow from.
    KitSeed
}

/// Why a text and a code are no kit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KitError {
    /// The text is cut off or altered, or something else.
    #[error("this is not a whole recovery kit")]
    Damaged,
    /// The text was made by a newer build.
    #[error("the recovery kit was made by a newer version of this app")]
    TooNew,
    /// The code is none: a character is wrong or missing.
    #[error("this is not a recovery kit's code")]
    InvalidCode,
    /// The code is one, and this text's is another.
    #[error("this code belongs to another recovery kit")]
    WrongCode,
}

impl KitError {
    /// What a front end may branch on.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Damaged => ErrorCode::InvalidKit,
            Self::TooNew => ErrorCode::KitTooNew,
            Self::InvalidCode => ErrorCode::InvalidKitCode,
            Self::WrongCode => ErrorCode::WrongKitCode,
        }
    }
}

/// What opens one kit's text. It is a secret: it zeroizes, and only [`KitCode::to_text`] shows it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KitCode([u8; Self::LEN]);

impl KitCode {
    /// Bytes of one.
    pub const LEN: usize = 16;
    /// Characters of one, without the hyphens.
    const CHARS: usize = 28;

    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut code = Self([0; Self::LEN]);
        rng.fill_bytes(&mut code.0);
        code
    }

    /// The code of these bits. The caller wipes its own.
    pub const fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self(*bytes)
    }

    /// `XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX`, for a person's eyes.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; Self::LEN + 2]);
        bytes[..Self::LEN].copy_from_slice(&self.0);
        bytes[Self::LEN..].copy_from_slice(&self.check());
        let letters = Zeroizing::new(letters::encode(&*bytes));
        // What is left of the last byte holds nothing.
        let mut text = Zeroizing::new(String::with_capacity(Self::CHARS + Self::CHARS / 4));
        for (index, letter) in letters.chars().take(Self::CHARS).enumerate() {
            if index > 0 && index % 4 == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        text
    }

    /// Twelve bits.
    fn check(&self) -> [u8; 2] {
        let hash = blake3::derive_key("0k-sync/1 kit code", &self.0);
        [hash[0], hash[1] & 0xf0]
    }

    fn cipher(&self) -> (XChaCha20Poly1305, XNonce) {
        let mut okm = Zeroizing::new([0; 32 + NONCE_LEN]);
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(b"0k-sync/1 kit", okm.as_mut_slice())
            .expect("a few dozen bytes are far below HKDF's limit");
        let (key, nonce) = okm.split_first_chunk::<32>().expect("it is longer");
        let nonce: [u8; NONCE_LEN] = nonce.try_into().expect("that is what is left");
        (XChaCha20Poly1305::new(key.into()), XNonce::from(nonce))
    }
}

impl fmt::Debug for KitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KitCode(..)")
    }
}

impl FromStr for KitCode {
    type Err = KitError;

    fn from_str(text: &str) -> Result<Self, KitError> {
        let mut letters = Zeroizing::new(letters::plain(text, Self::CHARS + 1).ok_or(KitError::InvalidCode)?);
        if letters.len() != Self::CHARS {
            return Err(KitError::InvalidCode);
        }
        letters.push('0');
        let bytes = Zeroizing::new(letters::decode(&letters).ok_or(KitError::InvalidCode)?);
        let (code, check) = bytes.split_first_chunk().ok_or(KitError::InvalidCode)?;
        let code = Self(*code);
        if code.check() != *check {
            return Err(KitError::InvalidCode);
        }
        Ok(code)
    }
}

/// What is on the paper, opened.
#[derive(Debug)]
pub struct Kit {
    seed: KitSeed,
    /// The group's root and one epoch: the newest, when the kit was made.
    keys: GroupKeys,
    /// The entry that the group began with. Nothing that does not follow from it counts.
    genesis: EntryHash,
    /// What names the group's first epoch, which no commit began.
    first: KeyId,
    app_id: String,
    relays: Vec<String>,
}

message! {
    struct Content {
        app_id: String,
        root: SecretBytes,
        genesis: ByteArray<32>,
        first: KeyId,
        seed: SecretBytes,
        number: u32,
        secret: SecretBytes,
        relays: AtMost<LINK_RELAYS_MAX, String>,
    }
}

impl KitSeed {
    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut_slice());
        Self::from_bytes(&bytes)
    }

    /// What the kit signs with.
    fn device_key(&self) -> DeviceKey {
        DeviceKey::from_seed(&derive(self.as_bytes(), "0k-sync/1 kit device", &[]))
    }

    /// What others seal new keys to it with.
    fn kem(&self) -> DeviceKem {
        DeviceKem::from_bytes(&derive(self.as_bytes(), "0k-sync/1 kit kem", &[]))
    }

    /// The kit's half of its roster entry: for this member, which is to let it in, and no other.
    pub fn request(&self, group: &GroupId, inviter: &DeviceId, app_id: &str) -> Option<JoinRequest> {
        let profile = Profile::new(NAME, PLATFORM, app_id)?;
        Some(JoinRequest::create(group, (&self.device_key(), &self.kem()), &profile, transcript(inviter)))
    }
}

/// What a kit has signed in the place of a pairing: that it is one, and who made it. So a device that was paired never
/// passes for one.
pub(crate) fn transcript(inviter: &DeviceId) -> [u8; 32] {
    blake3::derive_key("0k-sync/1 recovery kit", inviter.as_bytes())
}

impl Kit {
    /// The kit of this seed, which is in the roster by now, with the newest of these keys. Of the relays those come
    /// along that a page has room for, in this order. None if the roster has no beginning.
    pub fn new(seed: KitSeed, keys: &GroupKeys, roster: &Roster, relays: &[String]) -> Option<Self> {
        let history = roster.history();
        let first = keys.epochs().filter(|epoch| epoch.number() == 0).map(|epoch| epoch.key_id());
        let first = first.into_iter().find(|key_id| history.of_key(key_id).is_none())?;
        let current = keys.current();
        let root = GroupRoot::from_bytes(keys.root().as_bytes());
        let secret = EpochSecret::from_bytes(current.secret().as_bytes());
        let mut room = KIT_RELAYS_LEN_MAX;
        let fitting = relays.iter().filter(|relay| match room.checked_sub(relay.len()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        });
        Some(Self {
            seed,
            keys: GroupKeys::new(root, current.number(), secret),
            genesis: roster.genesis()?,
            first,
            app_id: roster.app_id()?.to_owned(),
            relays: fitting.take(LINK_RELAYS_MAX).cloned().collect(),
        })
    }

    /// Which member it is.
    pub fn device_id(&self) -> DeviceId {
        self.seed.device_key().device_id()
    }

    /// The app whose group it is of.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Which group.
    pub fn group_id(&self) -> GroupId {
        self.keys.group_id()
    }

    /// The relays that the group used, as a person would name them.
    pub fn relays(&self) -> &[String] {
        &self.relays
    }

    /// The text for the page. One code seals one text.
    pub fn seal(&self, code: &KitCode) -> Zeroizing<String> {
        let epoch = self.keys.current();
        let content = Content {
            app_id: self.app_id.clone(),
            root: SecretBytes(*self.keys.root().as_bytes()),
            genesis: ByteArray::new(*self.genesis.as_bytes()),
            first: self.first,
            seed: SecretBytes(*self.seed.as_bytes()),
            number: epoch.number(),
            secret: SecretBytes(*epoch.secret().as_bytes()),
            relays: AtMost(self.relays.clone()),
        };
        // Large enough from the start: a vector that grows leaves its old bytes behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KIT_LEN_MAX));
        rmp_serde::encode::write(&mut *bytes, &content).expect("a kit always encodes into memory");
        let (cipher, nonce) = code.cipher();
        let tag = cipher
            .encrypt_inout_detached(&nonce, &[VERSION], bytes.as_mut_slice().into())
            .expect("far below the cipher's limit");
        bytes.extend_from_slice(&tag);
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        Zeroizing::new(format!("{PREFIX}{VERSION}:{}", letters::encode(&bytes)))
    }

    /// Opens a text as somebody typed, pasted or scanned it.
    ///
    /// # Errors
    /// [`KitError`].
    pub fn open(text: &str, code: &KitCode) -> Result<Self, KitError> {
        let bytes = Self::sealed(text)?;
        let (body, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(KitError::Damaged)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let (cipher, nonce) = code.cipher();
        cipher
            .decrypt_inout_detached(&nonce, &[VERSION], plain.as_mut_slice().into(), &Tag::from(*tag))
            .map_err(|_| KitError::WrongCode)?;
        let content: Content = decode_exact(&plain).map_err(|_| KitError::Damaged)?;
        let relays_fit = content.relays.0.iter().all(|relay| relay.len() <= RELAY_NAME_LEN_MAX);
        if content.app_id.len() > APP_ID_LEN_MAX || !relays_fit {
            return Err(KitError::Damaged);
        }
        let root = GroupRoot::from_bytes(&content.root.0);
        Ok(Self {
            seed: KitSeed::from_bytes(&content.seed.0),
            keys: GroupKeys::new(root, content.number, EpochSecret::from_bytes(&content.secret.0)),
            genesis: EntryHash::from_bytes(*content.genesis),
            first: content.first,
            app_id: content.app_id,
            relays: content.relays.0,
        })
    }

    /// Whether a text is whole, as far as that can be told without its code.
    ///
    /// # Errors
    /// [`KitError`].
    pub fn check(text: &str) -> Result<(), KitError> {
        Self::sealed(text).map(drop)
    }

    fn sealed(text: &str) -> Result<Bytes, KitError> {
        if text.len() > 2 * KIT_LEN_MAX {
            return Err(KitError::Damaged);
        }
        let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let text = text.to_ascii_uppercase();
        let (version, letters) =
            text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(KitError::Damaged)?;
        let version: u8 = version.parse().map_err(|_| KitError::Damaged)?;
        if version > VERSION {
            return Err(KitError::TooNew);
        }
        let letters = letters::plain(letters, KIT_LEN_MAX).ok_or(KitError::Damaged)?;
        let bytes = letters::decode(&letters).ok_or(KitError::Damaged)?;
        let (sealed, checked) = bytes.split_last_chunk::<CHECK_LEN>().ok_or(KitError::Damaged)?;
        if version != VERSION || check(sealed) != *checked {
            return Err(KitError::Damaged);
        }
        Ok(Bytes::copy_from_slice(sealed))
    }
}

fn check(sealed: &[u8]) -> [u8; CHECK_LEN] {
    let hash = blake3::derive_key("0k-sync/1 kit text", sealed);
    *hash.first_chunk().expect("a hash is longer")
}

#[cfg(test)]
mod tests;
