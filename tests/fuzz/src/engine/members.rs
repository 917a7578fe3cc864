//! A group, and everything that its members, former friends and strangers may have sealed: made once, because
//! signatures are slow and the same bytes have to mean the same.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sync_core::{
    keys::{DeviceKem, DeviceKey, EpochSecret, GroupKeys, GroupRoot},
    roster::{Genesis, JoinRequest, Profile},
    seal::{Draft, seal},
};
use sync_types::{BlobHash, Envelope, Kind, PushId, Seq, envelope::SIGNATURE_LEN};

/// Blobs of each sender.
const CHAIN_LEN: u64 = 5;

/// See the [module](self).
pub(super) struct Members {
    /// The device that is tried.
    pub(super) me: Arc<DeviceKey>,
    pub(super) keys: Arc<GroupKeys>,
    /// The roster as `me` has it at first: itself and one more.
    pub(super) roster: Vec<Bytes>,
    /// This device's other key.
    pub(super) kem: Arc<DeviceKem>,
    /// What a third device says of itself, which that other member let in.
    pub(super) request: JoinRequest,
    /// What a relay can show.
    pub(super) envelopes: Vec<Bytes>,
}

pub(super) fn members() -> &'static Members {
    static MEMBERS: OnceLock<Members> = OnceLock::new();
    MEMBERS.get_or_init(make)
}

fn make() -> Members {
    let keys = group(2);
    let group_id = keys.group_id();
    let [me, other, joiner, stranger] = [11, 12, 13, 14].map(|n| DeviceKey::from_seed(&[n; 32]));
    let genesis = Genesis::create(&group_id, (&other, &DeviceKem::from_bytes(&[12; 32])), &profile(), 0);
    let request = |device: &DeviceKey, n: u8| {
        let kem = DeviceKem::from_bytes(&[n; 32]);
        JoinRequest::create(&group_id, (device, &kem), &profile(), [n; 32])
    };
    let (me_asking, joiner_asking) = (request(&me, 11), request(&joiner, 13));
    let [mine, theirs] = [&me_asking, &joiner_asking].map(|request| request.admit(&group_id, &other, 0, &[]));

    let mut envelopes = Vec::new();
    let mut sealer = Sealer { keys: &keys, rng: ChaCha20Rng::from_seed([1; 32]), named: 0 };
    envelopes.extend(sealer.chain(&other, &genesis));
    envelopes.extend(sealer.chain(&joiner, &theirs));
    envelopes.extend(sealer.chain(&stranger, &theirs));
    // Second ones for places that are taken, a copy of this very device, and an entry that is none.
    envelopes.extend([&other, &joiner, &me].map(|device| sealer.seal(device, Kind::Data, 2, BlobHash::ZERO, b"fork")));
    envelopes.push(sealer.seal(&other, Kind::Control, CHAIN_LEN + 2, BlobHash::ZERO, b"\x01no entry"));
    envelopes.push(sealer.seal(&other, Kind::Control, CHAIN_LEN + 3, BlobHash::ZERO, b"\x7fa newer build's"));
    envelopes.push(sealer.seal(&other, Kind::Data, u64::MAX, BlobHash::ZERO, b"the last there can be"));
    // Another group's, under a key that is not known here.
    let elsewhere = group(3);
    let mut sealer = Sealer { keys: &elsewhere, rng: ChaCha20Rng::from_seed([2; 32]), named: 100 };
    envelopes.push(sealer.seal(&other, Kind::Data, 1, BlobHash::ZERO, b"elsewhere"));
    // A newer build's: of another version, signed by nobody.
    let mut newer = envelopes[1].to_vec();
    newer[0] = 2;
    newer.truncate(newer.len() - SIGNATURE_LEN);
    newer.extend([0; SIGNATURE_LEN]);
    envelopes.push(newer.into());
    Members {
        me: Arc::new(me),
        kem: Arc::new(DeviceKem::from_bytes(&[11; 32])),
        keys: Arc::new(keys),
        roster: vec![genesis, mine],
        request: joiner_asking,
        envelopes,
    }
}

fn group(n: u8) -> GroupKeys {
    GroupKeys::new(GroupRoot::from_bytes(&[1; 32]), 0, EpochSecret::from_bytes(&[n; 32]))
}

fn profile() -> Profile {
    Profile::new("device", "fuzz", "org.example.fuzz").expect("short enough")
}

struct Sealer<'a> {
    keys: &'a GroupKeys,
    rng: ChaCha20Rng,
    named: u8,
}

impl Sealer<'_> {
    /// A device's first envelopes, each naming the one before.
    fn chain(&mut self, device: &DeviceKey, entry: &Bytes) -> Vec<Bytes> {
        let mut chain = vec![self.seal(device, Kind::Control, 1, BlobHash::ZERO, entry)];
        for seq in 2..=CHAIN_LEN + 1 {
            let prev = chain.last().map_or(BlobHash::ZERO, |last| BlobHash::of_bytes(last));
            chain.push(self.seal(device, Kind::Data, seq, prev, b"blob"));
        }
        chain
    }

    fn seal(&mut self, device: &DeviceKey, kind: Kind, seq: u64, prev: BlobHash, payload: &[u8]) -> Bytes {
        self.named += 1;
        let draft = Draft {
            kind,
            ttl_s: 0,
            seq: Seq::new(seq),
            prev,
            push_id: PushId::from_bytes([self.named; 16]),
            time_ms: 0,
            payload: Bytes::copy_from_slice(payload),
            compress: false,
        };
        let envelope: Envelope = seal(self.keys, device, draft, &mut self.rng);
        envelope.as_bytes().clone()
    }
}
