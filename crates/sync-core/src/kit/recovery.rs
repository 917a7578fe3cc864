//! A person has a kit and no device: from nothing but the paper and what relays have, a new device becomes a member.
//!
//! The new device comes under its own name, and asks as whoever holds the group's key. It begins with the epoch that the
//! kit has, is answered MOVED where the group went on, finds the kit's box in what was left there, and so walks from key to
//! key to the group's log. Out of that it reads all that says who belongs to the group.
//!
//! Nothing of this can be weighed on the way: what says so is sealed under the very keys that are looked for. So all keys
//! are taken that anything offers, and all entries; what they are worth is decided at the end, by a roster that begins with
//! the one entry which the kit names, as for any device. A key that no valid commit brought is forgotten again. Nothing is
//! stored and nothing said before that, so whatever ends it in the middle, it is begun again.
//!
//! Then the kit lets the new device in, as a device does by pairing. Only that device goes on: the kit's own keys are not
//! kept on it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use rand_core::{CryptoRng, SeedableRng};
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, Envelope, ErrorCode, KeyId, Kind, RelayCursor, RelayId, RelayMsg, Run,
    limits::{PAGE_ROWS_MAX, PARKED_BYTES_MAX, PROTOCOL_VERSION},
    message::{Get, Hello, Page, Pull, RowKind, features},
};

use super::Kit;
use crate::{
    context::{Context, LocalLog},
    event::Now,
    handover::open_package,
    identity::Identity,
    keys::{DeviceKem, DeviceKey, Epoch, EpochSecret, GroupKeys},
    pairing::Membership,
    protection::Protections,
    roster::{Commit, Entry, EntryHash, JoinRequest, Profile, Roster, RosterError, Standing, lets_in},
    seal,
    seal::Verifier,
    snapshot,
    stored::Secrets,
};

/// Keys by which one relay is asked. A group that changed its key more often since the kit was made walks that many of
/// them at a time.
const ASKS_MAX: usize = 256;
/// Keys that are taken out of one package: the newest lead on, and what they follow is found in the log. Whoever has an
/// old key can leave packages, and has the kit follow it for so long and no longer.
const PACKAGE_KEYS_MAX: usize = 4;
/// How often relays may say that the group was moved just now.
const MOVES_MAX: usize = 8;
/// What a relay is to know of the requests here: there is one at a time.
const PULL: u32 = 1;
const GET: u32 = 2;

/// What a message comes to.
#[derive(Debug)]
pub enum Heard {
    /// Nothing yet.
    More,
    /// Say this.
    Say(DeviceMsg),
    /// This connection is of no more use: connect again, if [`Recovery::wants`] says so.
    Over,
}

/// One attempt to get back in: [`Self::connected`] and [`Self::hear`] for one relay after the other, as long as there is
/// something that it [wants](Self::wants), and then [`Self::finish`].
#[derive(Debug)]
pub struct Recovery {
    kit: Kit,
    kit_key: DeviceKey,
    kit_kem: DeviceKem,
    device: DeviceKey,
    kem: DeviceKem,
    profile: Profile,
    /// All that anything offered, whether it counts or not.
    keys: GroupKeys,
    commits: BTreeMap<EntryHash, Commit>,
    entries: BTreeMap<EntryHash, Bytes>,
    /// Control envelopes under keys that are not known.
    sealed: BTreeMap<BlobId, Envelope>,
    bytes: u64,
    /// In which order the keys are asked by: the newest of each package before the next one of any, and of those that were
    /// found first. So nobody's packages crowd out another's.
    order: BTreeMap<KeyId, (usize, usize)>,
    asked: BTreeSet<(RelayId, KeyId)>,
    /// What the group uses, by all that was read so far.
    chosen: Option<KeyId>,
    /// The relays whose log was read to its end under the key that counts.
    read: BTreeSet<RelayId>,
    /// How often a group was moved while it was asked for.
    moves: usize,
    talk: Option<Talk>,
}

/// A conversation with one relay.
#[derive(Debug)]
struct Talk {
    relay: RelayId,
    under: KeyId,
    at: RelayCursor,
    run: Run,
    is_welcome: bool,
    /// The log's front is gone: snapshots have what was in it of the roster.
    cut: bool,
    /// Manifests, and then parts of the roster, to be asked for.
    todo: Vec<(BlobId, bool)>,
    /// The one that is.
    asked: Option<(BlobId, bool)>,
}

impl Recovery {
    /// For a new device that presents itself like this.
    ///
    /// # Errors
    /// `other_app`.
    pub fn new(kit: Kit, profile: Profile, rng: &mut impl CryptoRng) -> Result<Self, ErrorCode> {
        if profile.app_id() != kit.app_id {
            return Err(ErrorCode::OtherApp);
        }
        Ok(Self {
            kit_key: kit.seed.device_key(),
            kit_kem: kit.seed.kem(),
            device: DeviceKey::generate(rng),
            kem: DeviceKem::generate(rng),
            profile,
            keys: kit.keys.share(),
            kit,
            commits: BTreeMap::new(),
            entries: BTreeMap::new(),
            sealed: BTreeMap::new(),
            bytes: 0,
            order: BTreeMap::new(),
            asked: BTreeSet::new(),
            chosen: None,
            read: BTreeSet::new(),
            moves: 0,
            talk: None,
        })
    }

    /// Who comes to the relays: the new device.
    pub fn device_key(&self) -> &DeviceKey {
        &self.device
    }

    /// Whether there is more to ask this relay for.
    pub fn wants(&self, relay: &RelayId) -> bool {
        !self.read.contains(relay) && self.next_key(relay).is_some()
    }

    /// The next that this relay was not asked by.
    fn next_key(&self, relay: &RelayId) -> Option<KeyId> {
        if self.asked.range((*relay, KeyId::from_bytes([0; 16]))..=(*relay, KeyId::from_bytes([0xff; 16]))).count()
            >= ASKS_MAX
        {
            return None;
        }
        let is_open = |key_id: &KeyId| self.keys.get(key_id).is_some() && !self.asked.contains(&(*relay, *key_id));
        if let Some(chosen) = self.chosen.filter(is_open) {
            return Some(chosen);
        }
        let open = self.keys.epochs().filter(|epoch| is_open(&epoch.key_id()));
        // Those that only a log has led to come after those that were left to lead on.
        let order = |epoch: &&Epoch| self.order.get(&epoch.key_id()).copied().unwrap_or((PACKAGE_KEYS_MAX, 0));
        open.min_by_key(|epoch| (order(epoch), Reverse(epoch.number()))).map(|epoch| epoch.key_id())
    }

    /// A connection is up. What to say on it.
    pub fn connected(&mut self, relay: RelayId, exporter: &[u8; 32]) -> Option<DeviceMsg> {
        let under = self.next_key(&relay)?;
        self.asked.insert((relay, under));
        let auth = self.keys.get(&under)?.secret().relay_auth(&relay);
        self.talk = Some(Talk {
            relay,
            under,
            at: RelayCursor::START,
            run: Run::START,
            is_welcome: false,
            cut: false,
            todo: Vec::new(),
            asked: None,
        });
        let hello = Hello {
            version: PROTOCOL_VERSION,
            group: auth.relay_group_id(),
            auth_public: auth.public(),
            last_cursor: RelayCursor::START,
            log_id: None,
            signature: auth.sign_hello(&self.device.device_id(), &relay, exporter).to_vec().into(),
            features: features::MOVE | features::SNAPSHOTS,
        };
        Some(hello.into())
    }

    /// The relay says something.
    ///
    /// # Errors
    /// What it refuses, `malformed`, or `group_too_large` if there is more to keep than any group has.
    pub fn hear(&mut self, message: RelayMsg) -> Result<Heard, ErrorCode> {
        self.listen(message).inspect_err(|_| {
            // What fills the room with what nobody can open leaves it to the next.
            self.sealed.clear();
            self.bytes = self.entries.values().map(|entry| entry.len() as u64).sum();
        })
    }

    fn listen(&mut self, message: RelayMsg) -> Result<Heard, ErrorCode> {
        let Some(talk) = self.talk.as_mut() else { return Ok(Heard::Over) };
        match message {
            RelayMsg::Welcome(welcome) if !talk.is_welcome => {
                if welcome.version != PROTOCOL_VERSION {
                    return Err(ErrorCode::VersionUnsupported);
                }
                if welcome.relay != talk.relay {
                    return Err(ErrorCode::RelayIdentityChanged);
                }
                talk.is_welcome = true;
                Ok(Heard::Say(talk.pull()))
            }
            RelayMsg::Moved(moved) if !talk.is_welcome => {
                let under = talk.under;
                for package in moved.packages.0 {
                    self.package(under, &package)?;
                }
                Ok(self.over())
            }
            RelayMsg::Page(page) if talk.is_welcome => self.page(page),
            RelayMsg::Gap(gap) if talk.is_welcome && gap.floor_cursor > talk.at => {
                (talk.at, talk.run, talk.cut) = (gap.floor_cursor, gap.floor_run, true);
                Ok(Heard::Say(talk.pull()))
            }
            RelayMsg::Snapshots(snapshots) if talk.is_welcome => {
                // The newest is asked for first.
                talk.todo = snapshots.manifests.0.into_iter().map(|id| (id, true)).collect();
                Ok(Heard::More)
            }
            RelayMsg::Got(got) if talk.is_welcome && got.id == GET => self.got(&got.envelope),
            RelayMsg::Refused(refused) if refused.id == GET => self.read_through(),
            RelayMsg::Refused(refused) => {
                let code = refused.error();
                let no_room = [ErrorCode::RateLimited, ErrorCode::TooManyGroups, ErrorCode::StorageFull];
                if code == ErrorCode::GroupMoved && self.moves < MOVES_MAX {
                    // Somebody moved it just now.
                    self.moves += 1;
                    self.asked.remove(&(talk.relay, talk.under));
                } else if talk.is_welcome || !no_room.contains(&code) {
                    return Err(code);
                }
                // Where it knows no group of this key, and makes none, it may know that of the next.
                Ok(self.over())
            }
            RelayMsg::Welcome(_) | RelayMsg::Moved(_) | RelayMsg::Page(_) | RelayMsg::Gap(_) => {
                Err(ErrorCode::Malformed)
            }
            RelayMsg::PushAck(_)
            | RelayMsg::Snapshots(_)
            | RelayMsg::SnapshotAck(_)
            | RelayMsg::MoveAck(_)
            | RelayMsg::Got(_)
            | RelayMsg::Presence(_)
            | RelayMsg::Notify(_)
            | RelayMsg::Receipts(_)
            | RelayMsg::ReceiptAck(_) => Ok(Heard::More),
        }
    }

    fn over(&mut self) -> Heard {
        self.talk = None;
        Heard::Over
    }

    fn page(&mut self, page: Page) -> Result<Heard, ErrorCode> {
        let talk = self.talk.as_mut().ok_or(ErrorCode::Internal)?;
        if page.after != talk.at {
            return Err(ErrorCode::Malformed);
        }
        let is_empty = page.rows.0.is_empty();
        let mut control = Vec::new();
        for row in page.rows.0 {
            let blob_id = match RowKind::from_number(row.kind) {
                Some(RowKind::Blob) => {
                    let envelope = Envelope::parse(row.bytes.clone()).ok();
                    let hash = BlobHash::of_bytes(&row.bytes);
                    control.extend(envelope.filter(|envelope| envelope.header().kind == Kind::Control));
                    hash.blob_id()
                }
                Some(RowKind::Expired) => BlobId::from_slice(&row.bytes).ok_or(ErrorCode::Malformed)?,
                Some(RowKind::Yours) | None => return Err(ErrorCode::Malformed),
            };
            (talk.at, talk.run) = (talk.at.next(), talk.run.then(&blob_id));
        }
        let at = talk.at;
        let again = talk.pull();
        for envelope in control {
            self.unseal(envelope)?;
        }
        if at < page.max_cursor && is_empty {
            return Err(ErrorCode::Malformed);
        }
        if at < page.max_cursor { Ok(Heard::Say(again)) } else { self.read_through() }
    }

    /// The log is read to its end; where its front is gone, the roster in the snapshots is read as well.
    fn read_through(&mut self) -> Result<Heard, ErrorCode> {
        self.learn()?;
        let talk = self.talk.as_mut().ok_or(ErrorCode::Internal)?;
        if talk.cut
            && let Some((blob_id, is_manifest)) = talk.todo.pop()
        {
            talk.asked = Some((blob_id, is_manifest));
            return Ok(Heard::Say(Get { id: GET, blob_id }.into()));
        }
        let (relay, under) = (talk.relay, talk.under);
        // Another key may lead further, if this is not the one that the group uses, as it says itself.
        self.chosen = self.use_of_keys();
        if self.chosen == Some(under) {
            self.read.insert(relay);
        }
        Ok(self.over())
    }

    /// A manifest, or a part of the roster.
    fn got(&mut self, envelope: &Bytes) -> Result<Heard, ErrorCode> {
        let talk = self.talk.as_mut().ok_or(ErrorCode::Internal)?;
        let (blob_id, is_manifest) = talk.asked.take().ok_or(ErrorCode::Malformed)?;
        if BlobHash::of_bytes(envelope).blob_id() != blob_id {
            return Err(ErrorCode::Malformed);
        }
        if is_manifest {
            let manifest = snapshot::Sealed::open(&self.keys, envelope.clone()).map(|sealed| sealed.manifest);
            let parts = manifest.iter().flat_map(|manifest| manifest.roster());
            talk.todo.extend(parts.map(|part| (*part, false)));
        } else {
            for entry in snapshot::open_roster_part(&self.keys, envelope).into_iter().flatten() {
                self.take(entry)?;
            }
        }
        self.read_through()
    }

    /// What a copy of a lost device's profile has: its roster's entries, and control envelopes. It is weighed with what relays
    /// tell, and counts for as much.
    ///
    /// # Errors
    /// `group_too_large` if there is more to keep than any group has.
    pub fn read_backup(
        &mut self,
        entries: impl IntoIterator<Item = Bytes>,
        control: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), ErrorCode> {
        for entry in entries {
            self.take(entry)?;
        }
        for bytes in control {
            let envelope = Envelope::parse(bytes).ok().filter(|envelope| envelope.header().kind == Kind::Control);
            if let Some(envelope) = envelope {
                self.unseal(envelope)?;
            }
        }
        self.learn()?;
        self.chosen = self.use_of_keys();
        Ok(())
    }

    /// The key that the group uses, by all that was read so far.
    fn use_of_keys(&self) -> Option<KeyId> {
        self.weigh().and_then(|mut context| context.learn_epochs()).map(|chosen| chosen.key_id)
    }

    // ── Gathering ──

    fn room(&mut self, len: usize) -> Result<(), ErrorCode> {
        self.bytes += len as u64;
        if self.bytes > PARKED_BYTES_MAX { Err(ErrorCode::GroupTooLarge) } else { Ok(()) }
    }

    /// What somebody left for holders of an old key: the keys that it has boxes for, the newest of them.
    fn package(&mut self, under: KeyId, package: &Bytes) -> Result<(), ErrorCode> {
        let group = self.kit.group_id();
        let me = self.kit_key.device_id();
        let entries = self.keys.get(&under).and_then(|epoch| open_package(epoch, &group, package));
        let mut offered = BTreeMap::new();
        for entry in entries.into_iter().flatten() {
            let hash = EntryHash::of(&entry);
            self.take(entry)?;
            if let Some(commit) = self.commits.get(&hash) {
                offered.insert((commit.number, hash), hash);
            }
        }
        let found = self.order.values().map(|(_, found)| found + 1).max().unwrap_or(1);
        let mut taken = 0;
        for hash in offered.into_values().rev() {
            let commit = &self.commits[&hash];
            let Some(key) = commit.key.as_ref().filter(|key| self.keys.get(&key.key_id).is_none()) else { continue };
            let Some(secret) = commit.secret(&group, (&me, &self.kit_kem)) else { continue };
            self.keys.insert(commit.number, secret);
            self.order.insert(key.key_id, (taken, found));
            taken += 1;
            if taken == PACKAGE_KEYS_MAX {
                break;
            }
        }
        Ok(())
    }

    /// An entry, wherever it comes from: it says itself who made it.
    fn take(&mut self, payload: Bytes) -> Result<(), ErrorCode> {
        let hash = EntryHash::of(&payload);
        // A commit is one with its boxes and without.
        if self.entries.get(&hash).is_some_and(|known| known.len() >= payload.len()) {
            return Ok(());
        }
        let Ok(entry) = Entry::read(&self.kit.group_id(), &payload) else { return Ok(()) };
        self.room(payload.len())?;
        if let Entry::Commit(commit) = entry {
            self.commits.insert(hash, commit);
        }
        self.entries.insert(hash, payload);
        Ok(())
    }

    /// Takes what is in a control envelope, or keeps it until its key is known.
    fn unseal(&mut self, envelope: Envelope) -> Result<(), ErrorCode> {
        match seal::open(&self.keys, &envelope) {
            Ok(body) => seal::unpack(&body).map_or(Ok(()), |entry| self.take(entry)),
            Err(seal::OpenError::UnknownKey) => {
                let (id, len) = (envelope.blob_id(), envelope.as_bytes().len());
                if self.sealed.insert(id, envelope).is_none() { self.room(len) } else { Ok(()) }
            }
            Err(seal::OpenError::NotAuthentic | seal::OpenError::Malformed) => Ok(()),
        }
    }

    /// The keys that the commits of a log offer, and the entries that those open, until there is no more.
    fn learn(&mut self) -> Result<(), ErrorCode> {
        loop {
            let before = (self.keys.epochs().len(), self.entries.len());
            let group = self.kit.group_id();
            let me = self.kit_key.device_id();
            for commit in self.commits.values() {
                let Some(key) = &commit.key else { continue };
                if self.keys.get(&key.key_id).is_none() {
                    let Some(secret) = commit.secret(&group, (&me, &self.kit_kem)) else { continue };
                    self.keys.insert(commit.number, secret);
                }
                let Some(epoch) = self.keys.get(&key.key_id) else { continue };
                let older = commit.older(&group, epoch.secret(), |key_id| self.keys.get(key_id).is_none());
                for (_, secret) in older {
                    self.keys.insert(commit.number.saturating_sub(1), secret);
                }
            }
            for (_, envelope) in std::mem::take(&mut self.sealed) {
                let len = envelope.as_bytes().len() as u64;
                self.bytes = self.bytes.saturating_sub(len);
                self.unseal(envelope)?;
            }
            if (self.keys.epochs().len(), self.entries.len()) == before {
                return Ok(());
            }
        }
    }

    // ── Weighing ──

    /// The kit as a member like any other, with what counts of all that came. None if its group's beginning is not there.
    fn weigh(&self) -> Option<Context> {
        let mut roster = Roster::new(self.kit.group_id());
        roster.apply(self.entries.get(&self.kit.genesis)?.clone()).ok()?;
        let rest = self.entries.iter().filter(|(hash, _)| **hash != self.kit.genesis);
        // Who joined, then what follows from what, then the others.
        let (mut joined, mut others): (Vec<_>, Vec<_>) = rest.partition(|(_, entry)| lets_in(entry));
        // One that waits for whoever let it in may find no room to do so before the others are there.
        loop {
            let before = joined.len();
            joined.retain(|(_, entry)| roster.apply(Bytes::clone(entry)) == Err(RosterError::Full));
            if joined.len() == before || joined.is_empty() {
                break;
            }
        }
        let number = |hash: &EntryHash| self.commits.get(hash).map_or(u32::MAX, |commit| commit.number);
        others.sort_by_key(|(hash, _)| (number(hash), **hash));
        for (_, entry) in others {
            // Anybody who ever had a key may have left it.
            let _ = roster.apply(entry.clone());
        }
        let identity_key = DeviceKey::from_seed(self.kit_key.seed()).into();
        let kem = DeviceKem::from_bytes(self.kit_kem.as_bytes()).into();
        Some(Context {
            me: self.kit_key.device_id(),
            identity: Identity::new(identity_key, kem, &[]),
            keys: self.kit.keys.share().into(),
            roster,
            local: LocalLog::default(),
            rng: rand_chacha::ChaCha20Rng::from_seed([0; 32]),
            verifier: Verifier::default(),
            protections: Protections::default(),
        })
    }

    /// Makes the new device a member, by what the relays have told.
    ///
    /// # Errors
    /// `removed` if somebody removed the kit; `kit_unknown` if no relay has the group, or the kit in it; `stale_key` if
    /// what leads on to the group's key is not there (yet); `group_too_large`.
    pub fn finish(self, now: Now) -> Result<Membership, ErrorCode> {
        let me = self.kit_key.device_id();
        let Some(mut context) = self.weigh() else { return Err(self.why_not(&me)) };
        let chosen = context.learn_epochs();
        let roster = &context.roster;
        match roster.standing(&me) {
            Standing::Removed(_) => return Err(ErrorCode::Removed),
            Standing::Stranger => return Err(self.why_not(&me)),
            Standing::Member if roster.smuggled().contains(&me) => return Err(ErrorCode::Removed),
            Standing::Member => {}
        }
        let chosen = chosen.ok_or(ErrorCode::StaleKey)?;
        if roster.is_full() {
            return Err(ErrorCode::GroupTooLarge);
        }
        let group = roster.group_id();
        let heads: Vec<_> = chosen.head.into_iter().collect();
        let transcript = blake3::derive_key("0k-sync/1 recovered", me.as_bytes());
        let request = JoinRequest::create(&group, (&self.device, &self.kem), &self.profile, transcript);
        let entry = request.admit(&group, &self.kit_key, now.wall_ms, &heads);
        context.roster.apply(entry).map_err(|error| error.code())?;
        let mut keys = context.keys.share();
        // It is known by its number, which no commit says.
        if let Some(first) = keys.get(&self.kit.first) {
            let secret = EpochSecret::from_bytes(first.secret().as_bytes());
            keys.insert(0, secret);
        }
        keys.choose(chosen.key_id);
        Ok(Membership {
            secrets: Secrets { device: self.device, kem: self.kem, group: Some(keys) },
            roster: context.roster.entries().map(|(_, entry)| entry.clone()).collect(),
            missing: Vec::new(),
            frontier: Vec::new(),
            relays: self.kit.relays.clone(),
        })
    }

    /// Why there is no group with the kit in it. One that was removed is left a commit that says so, and no key that leads
    /// on to what would prove that. It is taken at its word: nothing follows from it but this error.
    fn why_not(&self, me: &DeviceId) -> ErrorCode {
        if self.commits.values().any(|commit| commit.removed.contains_key(me)) {
            ErrorCode::Removed
        } else if self.commits.is_empty() || !self.read.is_empty() {
            ErrorCode::KitUnknown
        } else {
            ErrorCode::StaleKey
        }
    }
}

impl Talk {
    fn pull(&self) -> DeviceMsg {
        Pull { id: PULL, after: self.at, run: self.run, limit: PAGE_ROWS_MAX, follow: false }.into()
    }
}
