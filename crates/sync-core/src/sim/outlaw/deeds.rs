//! What an outlaw does.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use bytes::Bytes;
use sync_types::{BlobHash, DeviceId, KeyId, Kind, Seq};

use super::{Identity, Outlaw, learn, wire::ground};
use crate::{
    keys::{DeviceKem, DeviceKey, Epoch, EpochSecret},
    roster::{Cutoff, Draft, EntryHash, JoinRequest},
    sim::{check::Violation, device::WALL_MS, world::World},
};

/// Tries at an entry with a low hash, and at a commit, which costs more.
const GRIND: u64 = 24;
const GRIND_COMMIT: u64 = 3;
/// More commits that wait than there is room for.
const WAITING: usize = 70;

#[derive(Clone, Copy, Debug)]
enum Deed {
    PushOn,
    Forge,
    Replay,
    LetIn,
    VouchAnew,
    Beside,
    Squat,
    Flood,
}

const DEEDS: [Deed; 10] = [
    Deed::PushOn,
    Deed::Forge,
    Deed::Replay,
    Deed::LetIn,
    Deed::LetIn,
    Deed::VouchAnew,
    Deed::Beside,
    Deed::Beside,
    Deed::Squat,
    Deed::Flood,
];

impl World {
    /// The outlaw does something, at some relay that is there.
    pub(in crate::sim) fn deed(&mut self, index: usize) -> Result<(), Violation> {
        let relay = self.dice.index(self.relays.len());
        let deed = DEEDS[self.dice.index(DEEDS.len())];
        if !self.relays[relay].up {
            return Ok(());
        }
        let mut outlaw = self.outlaws.remove(index);
        let guests = self.join_up(&mut outlaw);
        learn(self, &mut outlaw);
        // What others have sent is on the disk first, so that what comes of this is this alone.
        let out = self.relays[relay].commit(self.now_ms);
        self.send_from_relay(out);
        let before = self.beyond_reach(relay, &outlaw.keys);
        self.do_it(&mut outlaw, relay, deed);
        let after = self.beyond_reach(relay, &outlaw.keys);
        let id = outlaw.selves[0].id();
        self.part(&outlaw.selves.splice(guests, []).collect::<Vec<_>>());
        self.outlaws.insert(index, outlaw);
        if before != after {
            let what = format!("by {deed:?}, {id:?} wrote into a log that it has no key of");
            return Err(Violation::new("5 membership", what));
        }
        Ok(())
    }

    /// Outlaws who work together have all keys that one of them has, and this one speaks for the others' devices as well.
    /// Which of those that it speaks for by now are the others'.
    fn join_up(&mut self, outlaw: &mut Outlaw) -> Range<usize> {
        let own = outlaw.selves.len();
        for other in self.outlaws.iter().filter(|_| self.plan.faults.gang) {
            for epoch in other.keys.epochs() {
                outlaw.keys.insert(epoch.number(), EpochSecret::from_bytes(epoch.secret().as_bytes()));
            }
            for (_, entry) in other.roster.entries() {
                let _ = outlaw.roster.apply(entry.clone());
            }
            outlaw.selves.extend(other.selves.iter().cloned());
        }
        own..outlaw.selves.len()
    }

    /// What these have sealed meanwhile is theirs.
    fn part(&mut self, guests: &[Identity]) {
        for one in self.outlaws.iter_mut().flat_map(|outlaw| &mut outlaw.selves) {
            one.newest = guests.iter().find(|guest| guest.id() == one.id()).map_or(one.newest, |guest| guest.newest);
        }
    }

    fn do_it(&mut self, outlaw: &mut Outlaw, relay: usize, deed: Deed) {
        let key_id = self.one_of_its_keys(outlaw);
        let whom = self.dice.index(outlaw.selves.len());
        match deed {
            Deed::PushOn => {
                let payload = self.payload();
                self.say(outlaw, relay, (whom, key_id), (Kind::Data, payload));
            }
            Deed::Forge => {
                let victim = self.dice.index(self.devices.len());
                let mut keys = outlaw.keys.share();
                keys.choose(key_id);
                if let Some(envelope) = self.forged(victim, &keys) {
                    self.push_as(outlaw, relay, key_id, envelope);
                }
            }
            Deed::Replay => {
                self.overhear(outlaw, relay);
                for _ in 0..5 {
                    if !outlaw.seen.is_empty() {
                        let old = outlaw.seen[self.dice.index(outlaw.seen.len())].clone();
                        self.push_as(outlaw, relay, key_id, old);
                    }
                }
            }
            Deed::LetIn => {
                let entry = self.let_in(outlaw, whom);
                self.spread(outlaw, relay, (whom, key_id), vec![entry]);
            }
            Deed::VouchAnew => {
                if let Some(entry) = self.vouch_anew(outlaw) {
                    self.spread(outlaw, relay, (whom, key_id), vec![entry]);
                }
            }
            Deed::Beside => {
                let mut entries = Vec::new();
                // So that its committer counts where it is not known.
                if whom > 0 || self.dice.chance(300) {
                    entries.push(self.let_in(outlaw, 0));
                }
                entries.extend(self.beside(outlaw, whom));
                self.spread(outlaw, relay, (whom, key_id), entries);
            }
            Deed::Squat => self.squat(outlaw, relay),
            Deed::Flood => self.flood(outlaw, relay, (whom, key_id)),
        }
    }

    fn one_of_its_keys(&mut self, outlaw: &Outlaw) -> KeyId {
        let keys: Vec<_> = outlaw.keys.epochs().map(Epoch::key_id).collect();
        keys[self.dice.index(keys.len())]
    }

    fn payload(&mut self) -> Bytes {
        let token = self.next_token();
        self.truth.pushes.insert(token, false);
        Bytes::copy_from_slice(&token.to_be_bytes())
    }

    /// When it says that something was: long before its removal.
    fn back_date(&mut self) -> u64 {
        WALL_MS + self.dice.range(0, self.now_ms)
    }

    /// Vouches for a device that it makes up.
    fn let_in(&mut self, outlaw: &mut Outlaw, inviter: usize) -> Bytes {
        let key = DeviceKey::generate(self.dice.rng()).into();
        let kem = DeviceKem::generate(self.dice.rng()).into();
        outlaw.selves.push(Identity { key, kem, newest: (Seq::START, BlobHash::ZERO) });
        self.vouch(outlaw, inviter, outlaw.selves.len() - 1)
    }

    fn vouch(&mut self, outlaw: &Outlaw, inviter: usize, whom: usize) -> Bytes {
        let (group, one) = (self.keys.group_id(), &outlaw.selves[whom]);
        let profile = Self::profile(0);
        let request = JoinRequest::create(&group, (&one.key, &one.kem), &profile, self.dice.bytes());
        let known: Vec<_> = outlaw.roster.history().commits().map(|commit| commit.hash).collect();
        let heads: Vec<_> = if known.is_empty() || self.dice.chance(500) {
            Vec::new()
        } else {
            vec![known[self.dice.index(known.len())]]
        };
        let (inviter, at_ms) = (&outlaw.selves[inviter].key, self.back_date());
        let made = ground(GRIND, |n| Some(request.admit(&group, inviter, at_ms.saturating_sub(n), &heads)));
        made.expect("it tries at least once")
    }

    /// One that it speaks for vouches for another, by an entry that is lower than it was.
    fn vouch_anew(&mut self, outlaw: &mut Outlaw) -> Option<Bytes> {
        let count = outlaw.selves.len();
        let inviter = self.dice.index(count);
        let whom = (inviter + 1 + self.dice.index(count.checked_sub(1).filter(|others| *others > 0)?)) % count;
        Some(self.vouch(outlaw, inviter, whom))
    }

    /// A commit beside the one that removes it: of nothing, or of those who know of that.
    fn beside(&mut self, outlaw: &mut Outlaw, committer: usize) -> Option<Bytes> {
        let group = self.keys.group_id();
        let history = outlaw.roster.history();
        let known = history.commits().filter(|commit| !history.is_within(&outlaw.removal, &commit.hash));
        let mut parents: Vec<EntryHash> = known.map(|commit| commit.hash).collect();
        if !parents.is_empty() {
            let one = parents[self.dice.index(parents.len())];
            parents = vec![one];
        }
        let parent = parents.first().and_then(|hash| history.get(hash));
        let me = outlaw.selves[committer].id();
        let mut kems: BTreeMap<DeviceId, Bytes> = BTreeMap::new();
        let members = outlaw.roster.members().map(|member| member.device);
        for device in members.chain(parent.into_iter().flat_map(|parent| parent.remaining.iter().copied())) {
            kems.extend(outlaw.roster.kem_public_of(&device).map(|kem| (device, kem.clone())));
        }
        let everybody: Vec<_> = kems.keys().copied().filter(|device| *device != me).collect();
        let out: BTreeSet<DeviceId> = match self.dice.index(4) {
            0 => BTreeSet::new(),
            1 => [outlaw.remover].into(),
            2 if !everybody.is_empty() => [everybody[self.dice.index(everybody.len())]].into(),
            _ => everybody.into_iter().filter(|device| outlaw.selves.iter().all(|one| one.id() != *device)).collect(),
        };
        for one in &outlaw.selves {
            kems.insert(one.id(), Bytes::copy_from_slice(&one.kem.public()));
        }
        kems.retain(|device, _| !out.contains(device));
        let number = parent.map_or(0, |parent| parent.number) + 1;
        let older: Vec<_> = outlaw.keys.epochs().map(Epoch::key_id).collect();
        let rekey = self.dice.chance(800);
        let at_ms = self.back_date();
        let secret = self.coin(outlaw, number);
        let older: Vec<_> = older.iter().filter_map(|key_id| outlaw.keys.get(key_id)).take(4).collect();
        let key = &outlaw.selves[committer].key;
        ground(GRIND_COMMIT, |n| {
            let draft = Draft {
                parents: parents.clone(),
                number,
                removed: out.iter().filter(|device| **device != me).map(|id| (*id, Cutoff::default())).collect(),
                remaining: kems.clone(),
                made_at_ms: at_ms.saturating_sub(n),
                key: rekey.then(|| (&secret, older.clone())),
            };
            draft.sign(&group, key, self.dice.rng())
        })
    }

    /// Lets members hear of entries: in a log that it may still write to, or by what it leaves at ids that are over.
    fn spread(&mut self, outlaw: &mut Outlaw, relay: usize, (whom, key_id): (usize, KeyId), entries: Vec<Bytes>) {
        if self.dice.chance(600) {
            for entry in &entries {
                self.say(outlaw, relay, (whom, key_id), (Kind::Control, entry.clone()));
            }
        }
        if self.dice.chance(600) {
            let (over, to) = self.a_way(outlaw);
            self.lead_away(outlaw, relay, (&over, to), &entries);
        }
    }

    /// Ids that are to be over, and one that the group is to have: its own, or any.
    fn a_way(&mut self, outlaw: &mut Outlaw) -> (Vec<KeyId>, KeyId) {
        let over = (0..self.dice.range(1, 4)).map(|_| self.one_of_its_keys(outlaw)).collect::<BTreeSet<_>>();
        let to = if self.dice.chance(500) {
            let coined = self.coin(outlaw, 1);
            coined.key_id(&self.keys.group_id())
        } else {
            self.one_of_its_keys(outlaw)
        };
        (over.into_iter().filter(|key_id| *key_id != to).collect(), to)
    }

    /// Moves a log away, if nobody was there before. To the members it is one that was lost.
    fn lead_away(&mut self, outlaw: &mut Outlaw, relay: usize, (over, to): (&[KeyId], KeyId), entries: &[Bytes]) {
        let id = self.relays[relay].id;
        let target = outlaw.keys.get(&to).map(|epoch| epoch.secret().relay_auth(&id).relay_group_id());
        let heads = self.relays[relay].heads();
        let id_of = |key_id: &KeyId| Some(outlaw.keys.get(key_id)?.secret().relay_auth(&id).relay_group_id());
        let takes = over.iter().filter_map(id_of).any(|group| heads.contains_key(&group));
        self.move_as(outlaw, relay, (over, to), entries);
        if let Some(target) = target.filter(|_| takes) {
            self.relays[relay].took(&target);
            self.truth.lost(&self.relays[relay], &self.devices);
        }
    }

    /// Makes logs under ids of its own and of old keys, and has them become one with whatever there is.
    fn squat(&mut self, outlaw: &mut Outlaw, relay: usize) {
        let mine = self.coin(outlaw, 1).key_id(&self.keys.group_id());
        for _ in 0..3 {
            let payload = self.payload();
            self.say(outlaw, relay, (0, mine), (Kind::Data, payload));
        }
        let old = self.one_of_its_keys(outlaw);
        let payload = self.payload();
        self.say(outlaw, relay, (0, old), (Kind::Data, payload));
        let (over, to) = if self.dice.chance(700) { (mine, old) } else { (old, mine) };
        self.lead_away(outlaw, relay, (&[over], to), &[]);
    }

    /// More of everything than there is room for.
    fn flood(&mut self, outlaw: &mut Outlaw, relay: usize, (whom, key_id): (usize, KeyId)) {
        match self.dice.index(4) {
            // Packages, of which an id has room for so many.
            0 => {
                for _ in 0..20 {
                    let (over, to) = self.a_way(outlaw);
                    let junk = Bytes::copy_from_slice(&self.dice.bytes::<32>());
                    self.lead_away(outlaw, relay, (&over, to), &[junk]);
                }
            }
            // Commits that wait for what never comes.
            1 => {
                let group = self.keys.group_id();
                let parents: Vec<[u8; 32]> = (0..WAITING).map(|_| self.dice.bytes()).collect();
                let me = &outlaw.selves[whom];
                let waiting = |parent| Draft {
                    parents: vec![EntryHash::from_bytes(parent)],
                    number: 9,
                    removed: BTreeMap::new(),
                    remaining: [(me.id(), Bytes::new())].into(),
                    made_at_ms: 0,
                    key: None,
                };
                let entries =
                    parents.into_iter().filter_map(|parent| waiting(parent).sign(&group, &me.key, self.dice.rng()));
                let entries = entries.collect();
                self.spread(outlaw, relay, (whom, key_id), entries);
            }
            // Commits that are void.
            2 => {
                let entries = (0..10).filter_map(|_| self.beside(outlaw, whom)).collect();
                self.spread(outlaw, relay, (whom, key_id), entries);
            }
            // Devices.
            _ => {
                let kem = std::sync::Arc::clone(&outlaw.selves[whom].kem);
                let (group, profile) = (self.keys.group_id(), Self::profile(0));
                let entries = (0..40).map(|_| {
                    let key = DeviceKey::generate(self.dice.rng());
                    let request = JoinRequest::create(&group, (&key, &kem), &profile, self.dice.bytes());
                    request.admit(&group, &outlaw.selves[whom].key, 0, &[])
                });
                let entries = entries.collect();
                self.spread(outlaw, relay, (whom, key_id), entries);
            }
        }
    }
}
