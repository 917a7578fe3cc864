//! What a device says of itself: how far it holds what each member sealed, and how far its app has applied that.
//!
//! A receipt is sealed and signed like an envelope, for a purpose of its own. It is in no log: a relay keeps the newest of
//! each device, and its count says which of two is newer, whatever order they come in. What a device says of itself is
//! how far its own envelopes are on every relay that it uses; and of each relay, how far it has read the log there.
//!
//! Invariant: what is said to be held is held. What is known to be missing is named, and no device says more than that
//! of a sender of whom it does not remember all that is missing.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand_core::CryptoRng;
use sync_types::{
    BlobHash, DeviceId, Envelope, Kind, PushId, Seq,
    limits::{MEMBERS_MAX, RECEIPT_HOLES_MAX, RECEIPT_LEN_MAX, RELAYS_MAX},
    wire::{AtMost, decode_exact, message},
};

use crate::{
    event::Now,
    heads::Head,
    keys::{DeviceKey, GroupKeys},
    ranges::Ranges,
    seal,
};

message! {
    /// How far a device has come with what others sealed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Receipt {
        /// Each sender once.
        pub reached: AtMost<MEMBERS_MAX, Reached>,
        /// How far it has read each relay's log.
        pub heads: AtMost<RELAYS_MAX, Head>,
    }
}

message! {
    /// How far with one sender's.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Reached {
        /// Whose.
        pub sender: DeviceId,
        /// Everything up to here is held, but for `missing`.
        pub received: Seq,
        /// The hash of that one; zeros where it is not known. Two that differ are a sender's two histories.
        pub hash: BlobHash,
        /// Everything up to here is applied, but for `missing`.
        pub applied: Seq,
        /// Given up for lost: first and last of each run, ascending.
        pub missing: AtMost<RECEIPT_HOLES_MAX, (Seq, Seq)>,
    }
}

/// How far a sender is held here, with what is missing of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) seq: Seq,
    /// The hash of that one; zeros if it is missing itself.
    pub(crate) hash: BlobHash,
    pub(crate) holes: Ranges,
}

/// A receipt that was sealed, or opened.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    /// Counts the device's receipts: of two the higher one is newer.
    pub(crate) count: Seq,
    pub(crate) receipt: Receipt,
    pub(crate) envelope: Envelope,
}

impl Default for Receipt {
    fn default() -> Self {
        Self { reached: AtMost(Vec::new()), heads: AtMost(Vec::new()) }
    }
}

impl Receipt {
    /// What there is to say, as much as a receipt has room for: beyond what can't be named any more nothing is claimed.
    pub(crate) fn of(reached: &BTreeMap<DeviceId, Reach>, applied: &BTreeMap<DeviceId, Seq>, heads: Vec<Head>) -> Self {
        let mut room = RECEIPT_HOLES_MAX;
        let said = reached.iter().take(MEMBERS_MAX).map(|(sender, reach)| {
            let holes = reach.holes.to_runs();
            let named = holes.len().min(room);
            room -= named;
            let (received, hash) = match holes.get(named) {
                Some((first, _)) => (Seq::new(first.get().saturating_sub(1)), BlobHash::ZERO),
                None => (reach.seq, reach.hash),
            };
            let applied = applied.get(sender).copied().unwrap_or_default().min(received);
            Reached { sender: *sender, received, hash, applied, missing: holes[..named].to_vec().into() }
        });
        let reached = said.filter(|reached| reached.received > Seq::START).collect::<Vec<_>>();
        Self { reached: reached.into(), heads: heads.into() }
    }

    /// How far with one sender's.
    pub fn of_sender(&self, sender: &DeviceId) -> Option<&Reached> {
        self.reached.0.iter().find(|reached| reached.sender == *sender)
    }
}

impl Signed {
    /// Seals what a device says, as its receipt of this count.
    pub(crate) fn seal(
        (keys, device): (&GroupKeys, &DeviceKey),
        now: Now,
        count: Seq,
        receipt: Receipt,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let payload = rmp_serde::to_vec(&receipt).expect("a receipt always encodes into memory");
        let draft = seal::Draft {
            kind: Kind::Receipt,
            ttl_s: 0,
            seq: count,
            prev: BlobHash::ZERO,
            push_id: PushId::from_bytes([0; PushId::LEN]),
            time_ms: now.wall_ms,
            payload: payload.into(),
            compress: false,
        };
        Self { count, receipt, envelope: seal::seal(keys, device, draft, rng) }
    }

    /// Whose receipt these bytes say to be, if they are like one.
    pub(crate) fn sender_of(bytes: &Bytes) -> Option<DeviceId> {
        let envelope = Envelope::parse(bytes.clone()).ok().filter(|_| bytes.len() <= RECEIPT_LEN_MAX)?;
        (envelope.header().kind == Kind::Receipt).then_some(envelope.header().sender)
    }

    /// Opens a receipt. Says that a member sealed it, not which: that takes its signature.
    pub(crate) fn open(keys: &GroupKeys, bytes: Bytes) -> Option<Self> {
        Self::sender_of(&bytes)?;
        let envelope = Envelope::parse(bytes).ok()?;
        let body = seal::open(keys, &envelope).ok()?;
        let receipt = decode_exact(&seal::unpack(&body).ok()?).ok()?;
        Some(Self { count: body.seq, receipt, envelope })
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;

    use sync_types::{LogId, RelayCursor, Run};

    use super::*;
    use crate::seal::Verifier;

    const SENDER: DeviceId = DeviceId::from_bytes([7; 32]);

    fn reach(seq: u64, holes: &[(u64, u64)]) -> Reach {
        let runs: Vec<_> = holes.iter().map(|(first, last)| (Seq::new(*first), Seq::new(*last))).collect();
        Reach { seq: Seq::new(seq), hash: BlobHash::from_bytes([9; 32]), holes: Ranges::from_runs(&runs) }
    }

    #[test]
    fn the_largest_receipt_is_no_larger_than_a_relay_takes() {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
        let (keys, device) = (GroupKeys::generate(&mut rng), DeviceKey::generate(&mut rng));
        let holes: Vec<_> = (1..=RECEIPT_HOLES_MAX as u64).map(|n| (u64::MAX - 4 * n, u64::MAX - 4 * n)).collect();
        let mut reached: BTreeMap<_, _> = (0..2 * MEMBERS_MAX).map(|n| (id(n), reach(u64::MAX, &[]))).collect();
        reached.insert(id(0), reach(u64::MAX, &holes));
        let applied = reached.keys().map(|sender| (*sender, Seq::new(u64::MAX))).collect();
        let head = Head {
            log_id: LogId::from_bytes([9; 16]),
            cursor: RelayCursor::new(u64::MAX),
            run: Run::from_bytes([9; 32]),
        };
        let receipt = Receipt::of(&reached, &applied, vec![head; RELAYS_MAX]);
        assert_eq!((receipt.reached.0.len(), receipt.reached.0[0].missing.0.len()), (MEMBERS_MAX, RECEIPT_HOLES_MAX));
        let now = Now { mono_ms: 0, wall_ms: u64::MAX };
        let signed = Signed::seal((&keys, &device), now, Seq::new(u64::MAX), receipt.clone(), &mut rng);
        assert!(signed.envelope.as_bytes().len() <= RECEIPT_LEN_MAX);
        let opened = Signed::open(&keys, signed.envelope.as_bytes().clone()).expect("opens");
        assert_eq!((opened.count, opened.receipt), (Seq::new(u64::MAX), receipt));
        assert!(Verifier::default().verify(&keys.group_id(), &opened.envelope));
    }

    fn id(n: usize) -> DeviceId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(id)
    }

    #[test]
    fn what_can_not_be_named_any_more_ends_what_is_claimed() {
        let holes: Vec<_> = (1..=RECEIPT_HOLES_MAX as u64 + 1).map(|n| (10 * n, 10 * n + 1)).collect();
        let reached = [(SENDER, reach(1_000_000, &holes))].into();
        let receipt = Receipt::of(&reached, &[(SENDER, Seq::new(999_999))].into(), Vec::new());
        let said = receipt.of_sender(&SENDER).expect("it is there");
        let before_the_last = Seq::new(10 * (RECEIPT_HOLES_MAX as u64 + 1) - 1);
        assert_eq!((said.received, said.applied, said.hash), (before_the_last, before_the_last, BlobHash::ZERO));
        assert_eq!(said.missing.0.len(), RECEIPT_HOLES_MAX);
    }

    #[test]
    fn an_envelope_is_no_receipt_and_a_receipt_no_envelope() {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([2; 32]);
        let (keys, device) = (GroupKeys::generate(&mut rng), DeviceKey::generate(&mut rng));
        let now = Now { mono_ms: 0, wall_ms: 0 };
        let signed = Signed::seal((&keys, &device), now, Seq::new(1), Receipt::default(), &mut rng);
        let mut bytes = signed.envelope.as_bytes().to_vec();
        bytes[2] = Kind::Data as u8;
        let as_data = Envelope::parse(bytes.into()).expect("has the shape");
        assert!(!Verifier::default().verify(&keys.group_id(), &as_data), "signed for another purpose");
        assert!(Signed::open(&keys, as_data.as_bytes().clone()).is_none());
    }
}
