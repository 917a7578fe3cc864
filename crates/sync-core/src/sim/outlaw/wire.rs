//! How an outlaw talks to relays: at once, and over connections that never break by themselves.

use bytes::Bytes;
use sync_types::{
    BlobHash, DeviceId, Envelope, KeyId, Kind, PushId, RelayGroupId, RelayMsg,
    limits::PROTOCOL_VERSION,
    message::{Hello, Move, Over, Push, features},
    wire::AtMost,
};

use super::Outlaw;
use crate::{
    handover::seal_package,
    keys::{EpochSecret, GroupKeys},
    roster::EntryHash,
    seal::{self, Draft},
    sim::{
        device::WALL_MS,
        network::{Session, SessionId},
        relay::Outgoing,
        world::World,
    },
};

/// Every fourth deed is done over a session that may be over.
const STALE: u64 = 250;

impl World {
    /// Hears what a relay answers the outlaw, and passes on what it says to others.
    fn sort(&mut self, session: SessionId, out: Outgoing) -> Vec<RelayMsg> {
        let (own, others): (Outgoing, Outgoing) = out.into_iter().partition(|(to, _)| *to == session);
        self.send_from_relay(others);
        own.into_iter().map(|(_, message)| message).collect()
    }

    /// A session by the id of a key: one that is open, perhaps without knowing that it is not, or another.
    fn enter(&mut self, outlaw: &mut Outlaw, relay: usize, key_id: KeyId) -> Option<SessionId> {
        let id = self.relays[relay].id;
        let auth = outlaw.keys.get(&key_id)?.secret().relay_auth(&id);
        let group = auth.relay_group_id();
        if let Some(session) = outlaw.sessions.get(&(relay, group))
            && (self.relays[relay].group_of_session(*session).is_some() || self.dice.chance(STALE))
        {
            return Some(*session);
        }
        let device = outlaw.selves[self.dice.index(outlaw.selves.len())].id();
        let session = self.open(relay, device);
        let exporter = Session::exporter(session);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            group,
            auth_public: auth.public(),
            last_cursor: Default::default(),
            log_id: None,
            signature: auth.sign_hello(&device, &id, &exporter).to_vec().into(),
            features: features::PRESENCE | features::MOVE,
        };
        let out = self.relays[relay].receive(session, &exporter, hello.into(), self.now_ms);
        let answers = self.sort(session, out);
        let welcomed = answers.iter().any(|answer| matches!(answer, RelayMsg::Welcome(_)));
        welcomed.then(|| {
            outlaw.sessions.insert((relay, group), session);
            session
        })
    }

    fn open(&mut self, relay: usize, device: DeviceId) -> SessionId {
        self.entries += 1;
        let session = self.entries;
        self.relays[relay].accept(session, device);
        session
    }

    /// Pushes an envelope by the id of a key.
    pub(super) fn push_as(&mut self, outlaw: &mut Outlaw, relay: usize, key_id: KeyId, envelope: Bytes) {
        let Some(session) = self.enter(outlaw, relay, key_id) else { return };
        // What others have sent is on the disk first, so that what comes of this is this alone.
        let out = self.relays[relay].commit(self.now_ms);
        self.send_from_relay(out);
        let push = Push { id: 1, age_s: 0, envelope };
        let out = self.relays[relay].receive(session, &Session::exporter(session), push.into(), self.now_ms);
        self.sort(session, out);
        let out = self.relays[relay].commit(self.now_ms);
        self.sort(session, out);
    }

    /// Seals something as one of those that the outlaw speaks for, under one of its keys, and pushes it there.
    pub(super) fn say(
        &mut self,
        outlaw: &mut Outlaw,
        relay: usize,
        (as_whom, key_id): (usize, KeyId),
        (kind, payload): (Kind, Bytes),
    ) {
        let mut keys = outlaw.keys.share();
        keys.choose(key_id);
        let one = &mut outlaw.selves[as_whom];
        let draft = Draft {
            kind,
            ttl_s: 0,
            seq: one.newest.0.next(),
            prev: one.newest.1,
            push_id: PushId::from_bytes(self.dice.bytes()),
            time_ms: self.dice.range(0, WALL_MS + self.now_ms),
            payload,
            compress: false,
        };
        let sealed = seal::seal(&keys, &one.key, draft, self.dice.rng());
        one.newest = (one.newest.0.next(), BlobHash::of(&sealed));
        self.truth.made_outside(one.id(), BlobHash::of(&sealed));
        self.push_as(outlaw, relay, key_id, sealed.as_bytes().clone());
    }

    /// Says that the ids of these keys are over, and that the group has that of another; and leaves something for those
    /// who still come.
    pub(super) fn move_as(
        &mut self,
        outlaw: &mut Outlaw,
        relay: usize,
        (over, to): (&[KeyId], KeyId),
        entries: &[Bytes],
    ) {
        let id = self.relays[relay].id;
        let device = outlaw.selves[self.dice.index(outlaw.selves.len())].id();
        let session = self.open(relay, device);
        let exporter = Session::exporter(session);
        let Some(target) = outlaw.keys.get(&to).map(|epoch| epoch.secret().relay_auth(&id)) else { return };
        let group = target.relay_group_id();
        let ends = (&device, &id, &exporter);
        let over = over.iter().filter(|key_id| **key_id != to).filter_map(|key_id| {
            let epoch = outlaw.keys.get(key_id)?;
            let package = seal_package(epoch, &outlaw.keys.group_id(), entries);
            let auth = epoch.secret().relay_auth(&id);
            let signature = auth.sign_move(ends, &group, &package).to_vec().into();
            Some(Over { group: auth.relay_group_id(), auth_public: auth.public(), signature, package })
        });
        let moving = Move {
            id: 1,
            group,
            auth_public: target.public(),
            signature: target.sign_move(ends, &group, &[]).to_vec().into(),
            over: AtMost(over.collect()),
            remaining: AtMost(outlaw.selves.iter().map(super::Identity::id).collect()),
        };
        let out = self.relays[relay].receive(session, &exporter, moving.into(), self.now_ms);
        self.sort(session, out);
        self.relays[relay].closed(session);
    }

    /// A new epoch of the outlaw's.
    pub(super) fn coin(&mut self, outlaw: &mut Outlaw, number: u32) -> EpochSecret {
        let bytes: [u8; 32] = self.dice.bytes();
        for keys in [&mut outlaw.keys, &mut self.keys] {
            keys.insert(number, EpochSecret::from_bytes(&bytes));
        }
        EpochSecret::from_bytes(&bytes)
    }

    /// What stands under ids that are none of these keys'.
    pub(super) fn beyond_reach(&self, relay: usize, keys: &GroupKeys) -> Vec<(RelayGroupId, u64)> {
        let id = self.relays[relay].id;
        let own: Vec<_> = keys.epochs().map(|epoch| epoch.secret().relay_auth(&id).relay_group_id()).collect();
        self.relays[relay].heads().into_iter().filter(|(group, _)| !own.contains(group)).collect()
    }

    /// Remembers what the outlaw can read on a relay, so that it can say it again.
    pub(super) fn overhear(&mut self, outlaw: &mut Outlaw, relay: usize) {
        let rows = self.relays[relay].logs().flat_map(|log| &log.rows).filter_map(|row| row.envelope.clone());
        let readable = rows.filter(|bytes| {
            Envelope::parse(bytes.clone()).is_ok_and(|envelope| outlaw.keys.get(&envelope.header().key_id).is_some())
        });
        outlaw.seen = readable.collect();
    }
}

/// The lowest of what can be made in so many tries.
pub(super) fn ground(tries: u64, mut make: impl FnMut(u64) -> Option<Bytes>) -> Option<Bytes> {
    (0..tries).filter_map(&mut make).min_by_key(|entry| EntryHash::of(entry))
}
