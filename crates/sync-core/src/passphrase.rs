//! A group's first keys from a passphrase.
//!
//! ```text
//! epoch_secret[0] = HKDF-SHA256(Argon2id(NFKC(passphrase), salt), "0k-sync/1 passphrase")
//! ```
//! Nobody gets in by it: the group's root is random, and a device is let in by pairing alone. The salt and the costs are
//! in the group's genesis, which travels sealed, so a relay has nothing to try passphrases against. Who holds a member's
//! database does, and who knows the passphrase opens with that what the first epoch sealed, and nothing newer.
//!
//! The costs are chosen once, by the device that makes the group: others would give every device another secret.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bytes::Bytes;
use rand_core::CryptoRng;
use serde_bytes::ByteArray;
use sync_types::{
    limits::{
        PASSPHRASE_LANES_MAX, PASSPHRASE_LEN_MAX, PASSPHRASE_MEMORY_KIB_MAX, PASSPHRASE_PASSES_MAX, PASSPHRASE_SALT_LEN,
    },
    wire::{decode_exact, message},
};
use unicode_normalization::{UnicodeNormalization as _, char::is_public_assigned};
use zeroize::Zeroizing;

use crate::{
    keys::{EpochSecret, GroupKeys, GroupRoot, derive},
    roster::EntryError,
};

/// The only way to derive so far: Argon2id 1.3 of the passphrase in NFKC, 32 bytes.
const VERSION: u8 = 1;
const GIB: u64 = 1024 * 1024 * 1024;

/// What a person knows, in the one form in which it is hashed.
pub struct Passphrase(Zeroizing<String>);

/// Why a text is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// There is nothing in it.
    #[error("the passphrase is empty")]
    Empty,
    /// It has more than [`PASSPHRASE_LEN_MAX`] bytes.
    #[error("the passphrase has more than {PASSPHRASE_LEN_MAX} bytes; take a shorter one")]
    TooLong,
    /// It has a line break or another control character. Few can be typed, and none is meant.
    #[error("a passphrase is one line of text, without tabs and other control characters")]
    Control,
    /// It has a character that Unicode has not given a meaning yet, or leaves to private agreements. What it is
    /// normalised to may change.
    #[error("the passphrase has a character that can't be relied on to mean the same later; take another one")]
    Unassigned,
}

impl Passphrase {
    /// Takes a text as a passphrase. NFKC makes one of what keyboards and systems write differently and people can't
    /// tell apart: accents apart from their letters, ligatures, wide letters, blanks that don't break. Case and blanks
    /// count.
    ///
    /// # Errors
    /// [`PassphraseError`]. How easy it is to guess is for the caller to judge.
    pub fn new(text: &str) -> Result<Self, PassphraseError> {
        if text.len() > PASSPHRASE_LEN_MAX {
            return Err(PassphraseError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PassphraseError::Control);
        }
        if !text.chars().all(is_public_assigned) {
            return Err(PassphraseError::Unassigned);
        }
        // Large enough from the start: a string that grows leaves its old bytes behind.
        let mut normal = Zeroizing::new(String::with_capacity(PASSPHRASE_LEN_MAX));
        for char in text.nfkc() {
            if normal.len() + char.len_utf8() > PASSPHRASE_LEN_MAX {
                return Err(PassphraseError::TooLong);
            }
            normal.push(char);
        }
        if normal.is_empty() { Err(PassphraseError::Empty) } else { Ok(Self(normal)) }
    }

    /// The text that is hashed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How an epoch's secret comes from a passphrase. Within the limits, whoever wrote it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Derivation {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; PASSPHRASE_SALT_LEN],
}

message! {
    struct Stored {
        version: u8,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: ByteArray<PASSPHRASE_SALT_LEN>,
    }
}

message! {
    struct AnyVersion {
        version: u8,
    }
}

impl Derivation {
    /// For a new group: as dear as a device with so many bytes of memory affords. One that doesn't say how many it has
    /// is taken for a small one. All three withstand guessing about equally well or better than is asked of a password's
    /// hash.
    pub fn choose(memory: Option<u64>, rng: &mut impl CryptoRng) -> Self {
        // A machine has a little less than it says on its box.
        let (memory_mib, passes) = match memory.unwrap_or(0) {
            bytes if bytes >= 3 * GIB => (64, 3),
            bytes if bytes >= GIB => (46, 1),
            _ => (19, 2),
        };
        let mut salt = [0; PASSPHRASE_SALT_LEN];
        rng.fill_bytes(&mut salt);
        Self { memory_kib: memory_mib * 1024, passes, lanes: 1, salt }
    }

    /// The derivation of these costs, if they are within the limits.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32, salt: [u8; PASSPHRASE_SALT_LEN]) -> Option<Self> {
        let within = (1..=PASSPHRASE_LANES_MAX).contains(&lanes)
            && (8 * lanes..=PASSPHRASE_MEMORY_KIB_MAX).contains(&memory_kib)
            && (1..=PASSPHRASE_PASSES_MAX).contains(&passes);
        within.then_some(Self { memory_kib, passes, lanes, salt })
    }

    /// The memory it takes, in KiB.
    pub fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// How often it goes over that.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// `[version, memory_kib, passes, lanes, salt]`, as a group's genesis keeps it.
    pub fn to_bytes(&self) -> Bytes {
        let Self { memory_kib, passes, lanes, salt } = *self;
        let stored = Stored { version: VERSION, memory_kib, passes, lanes, salt: ByteArray::new(salt) };
        rmp_serde::to_vec(&stored).expect("fields always encode into memory").into()
    }

    /// Reads what somebody else wrote. None if a newer build derives in a way that this one doesn't know.
    ///
    /// # Errors
    /// [`EntryError::Malformed`] if it is not a derivation, or is over the limits.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, EntryError> {
        let AnyVersion { version } = decode_exact(bytes).map_err(|_| EntryError::Malformed)?;
        if version != VERSION {
            return if version > VERSION { Ok(None) } else { Err(EntryError::Malformed) };
        }
        let stored: Stored = decode_exact(bytes).map_err(|_| EntryError::Malformed)?;
        let read = Self::new(stored.memory_kib, stored.passes, stored.lanes, stored.salt.into_array());
        read.map(Some).ok_or(EntryError::Malformed)
    }
}

impl std::fmt::Debug for Derivation {
    /// Without the salt: who doesn't have it can't begin to guess.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { memory_kib, passes, lanes, salt: _ } = self;
        write!(f, "Derivation({memory_kib} KiB, {passes} passes, {lanes} lanes)")
    }
}

impl EpochSecret {
    /// `epoch_secret = HKDF(Argon2id(passphrase, salt), "0k-sync/1 passphrase")`. Takes as long and as much memory as
    /// the derivation says.
    pub fn from_passphrase(passphrase: &Passphrase, derivation: &Derivation) -> Self {
        let Derivation { memory_kib, passes, lanes, salt } = derivation;
        let mut hash = Zeroizing::new([0; 32]);
        let params = Params::new(*memory_kib, *passes, *lanes, Some(hash.len())).expect("they are within the limits");
        let mut blocks = Zeroizing::new(vec![Block::new(); params.block_count()]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.as_str().as_bytes(),
                salt,
                hash.as_mut_slice(),
                blocks.as_mut_slice(),
            )
            .expect("salt, output and memory have the lengths that were asked for");
        Self::from_bytes(&derive(&hash, "0k-sync/1 passphrase", &[]))
    }
}

impl GroupKeys {
    /// A new group whose first epoch comes from a passphrase. Its root is as random as any group's. Store the derivation
    /// in its genesis.
    pub fn from_passphrase(passphrase: &Passphrase, derivation: &Derivation, rng: &mut impl CryptoRng) -> Self {
        Self::new(GroupRoot::generate(rng), 0, EpochSecret::from_passphrase(passphrase, derivation))
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).expect("a line of text")
    }

    /// As cheap as it gets.
    fn cheap(salt: u8) -> Derivation {
        Derivation::new(8, 1, 1, [salt; PASSPHRASE_SALT_LEN]).expect("within the limits")
    }

    fn secret(text: &str, derivation: &Derivation) -> [u8; 32] {
        *EpochSecret::from_passphrase(&passphrase(text), derivation).as_bytes()
    }

    #[test]
    fn the_same_passphrase_and_derivation_are_the_same_secret_and_anything_else_is_another() {
        let ours = secret("correct horse", &cheap(1));
        assert_eq!(secret("correct horse", &cheap(1)), ours);
        let dearer =
            |memory, passes, lanes| Derivation::new(memory, passes, lanes, [1; 16]).expect("within the limits");
        let others = [
            secret("correct  horse", &cheap(1)),
            secret("Correct horse", &cheap(1)),
            secret(" correct horse", &cheap(1)),
            secret("correct horse", &cheap(2)),
            secret("correct horse", &dearer(16, 1, 1)),
            secret("correct horse", &dearer(8, 2, 1)),
            secret("correct horse", &dearer(16, 1, 2)),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(*other, ours, "{index}");
        }
    }

    #[test]
    fn what_people_can_not_tell_apart_is_one_passphrase() {
        for (one, other) in [
            ("Z\u{fc}rich", "Zu\u{308}rich"),
            ("\u{fb01}nal \u{212b}ngstr\u{f6}m", "final \u{c5}ngstr\u{f6}m"),
            ("\u{ff21}\u{ff22}\u{ff23} \u{ff11}", "ABC 1"),
            ("no\u{a0}break", "no break"),
            ("\u{1100}\u{1161}", "\u{ac00}"),
        ] {
            assert_eq!(passphrase(one).as_str(), passphrase(other).as_str());
        }
    }

    #[test]
    fn what_is_no_passphrase_is_said_to_be_so() {
        use PassphraseError::{Control, Empty, TooLong, Unassigned};
        let longest = "x".repeat(PASSPHRASE_LEN_MAX);
        assert_eq!(passphrase(&longest).as_str(), longest);
        for (text, error) in [
            (String::new(), Empty),
            (format!("{longest}x"), TooLong),
            // Eighteen letters once it is normalised.
            ("\u{fdfa}".repeat(100), TooLong),
            ("two\nlines".to_owned(), Control),
            ("a\tb".to_owned(), Control),
            ("nul\0".to_owned(), Control),
            ("\u{378}".to_owned(), Unassigned),
            ("\u{e000}".to_owned(), Unassigned),
        ] {
            assert_eq!(Passphrase::new(&text).err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn a_device_pays_what_its_memory_affords() {
        let costs = |memory| {
            let chosen = Derivation::choose(memory, &mut rng(1));
            assert_eq!(Derivation::read(&chosen.to_bytes()), Ok(Some(chosen)));
            assert_eq!(chosen.lanes, 1);
            (chosen.memory_kib / 1024, chosen.passes)
        };
        assert_eq!(costs(None), (19, 2));
        assert_eq!(costs(Some(GIB / 2)), (19, 2));
        assert_eq!(costs(Some(GIB)), (46, 1));
        assert_eq!(costs(Some(4 * GIB - GIB / 4)), (64, 3));
        assert_eq!(costs(Some(u64::MAX)), (64, 3));
        let [one, other] = [1, 2].map(|seed| Derivation::choose(None, &mut rng(seed)));
        assert_ne!(one.salt, other.salt);
    }

    #[test]
    fn what_others_write_is_bounded() {
        let bytes = |version: u8, memory: u32, passes: u32, lanes: u32, salt: &[u8]| {
            rmp_serde::to_vec(&(version, memory, passes, lanes, serde_bytes::Bytes::new(salt))).expect("encodes")
        };
        let salt = [7; PASSPHRASE_SALT_LEN];
        let largest = (PASSPHRASE_MEMORY_KIB_MAX, PASSPHRASE_PASSES_MAX, PASSPHRASE_LANES_MAX);
        for (memory, passes, lanes) in [largest, (8, 1, 1), (128, 1, 16)] {
            let read = Derivation::read(&bytes(1, memory, passes, lanes, &salt));
            assert_eq!(read, Ok(Derivation::new(memory, passes, lanes, salt)));
            assert!(read.is_ok_and(|read| read.is_some()));
        }
        for (what, bad) in [
            ("too much memory", bytes(1, PASSPHRASE_MEMORY_KIB_MAX + 1, 1, 1, &salt)),
            ("more than there is", bytes(1, u32::MAX, 1, 1, &salt)),
            ("no memory", bytes(1, 0, 1, 1, &salt)),
            ("less than its lanes take", bytes(1, 15, 1, 2, &salt)),
            ("too many passes", bytes(1, 8, PASSPHRASE_PASSES_MAX + 1, 1, &salt)),
            ("no pass", bytes(1, 8, 0, 1, &salt)),
            ("too many lanes", bytes(1, 65_536, 1, PASSPHRASE_LANES_MAX + 1, &salt)),
            ("no lane", bytes(1, 8, 1, 0, &salt)),
            ("a short salt", bytes(1, 8, 1, 1, &salt[1..])),
            ("a long salt", bytes(1, 8, 1, 1, &[7; PASSPHRASE_SALT_LEN + 1])),
            ("a version that never was", bytes(0, 8, 1, 1, &salt)),
            ("nothing", Vec::new()),
            ("something else", vec![0xC0]),
        ] {
            assert_eq!(Derivation::read(&bad), Err(EntryError::Malformed), "{what}");
        }
        // Of a newer build's nothing is known but that it is one.
        assert_eq!(Derivation::read(&bytes(2, u32::MAX, 0, 0, &[])), Ok(None));
        let mut longer = bytes(1, 8, 1, 1, &salt);
        longer[0] += 1;
        longer.push(0xC3);
        assert_eq!(Derivation::read(&longer), Ok(Derivation::new(8, 1, 1, salt)), "a newer build may append");
    }

    #[test]
    fn a_passphrase_makes_no_group_known_and_does_not_print() {
        let (phrase, derivation) = (passphrase("correct horse"), cheap(1));
        let [one, other] = [1, 2].map(|seed| GroupKeys::from_passphrase(&phrase, &derivation, &mut rng(seed)));
        assert_ne!(one.group_id(), other.group_id(), "the root is random");
        assert_eq!(one.current().secret().as_bytes(), other.current().secret().as_bytes());
        assert_eq!((one.current().number(), one.epochs().len()), (0, 1));
        let printed = "Passphrase(..) Derivation(8 KiB, 1 passes, 1 lanes)";
        assert_eq!(format!("{phrase:?} {derivation:?}"), printed);
    }
}
