//! A store without a disk: what every store must do, in the plainest words. Other stores are compared to it.

use std::{collections::BTreeMap, sync::Mutex};

use bytes::Bytes;
use sync_core::{
    event::{GONE_BYTES, HeldRow, Load, ParkedRow, RelayState, SenderRow, StoreOp, Stored, StoredSnapshot, WaitingRow},
    identity::Nonce,
};
use sync_types::{BlobHash, BlobId, DeviceId, LocalCursor, LocalLogId, RelayId, Seq};

use super::{
    AddressRow, Damaged, DamagedRow, Lacks, Membership, OWN_HASHES_SPARE, Pin, Placed, ProfileRow, Reach, Sizes, Store,
    StoreError, newest_own,
};

/// See the [module](self).
#[derive(Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    profile: Option<ProfileRow>,
    addresses: Vec<AddressRow>,
    held: Vec<HeldRow>,
    senders: BTreeMap<DeviceId, SenderRow>,
    waiting: BTreeMap<BlobHash, WaitingRow>,
    parked: BTreeMap<BlobId, ParkedRow>,
    relays: BTreeMap<RelayId, RelayState>,
    roster: Vec<Bytes>,
    seen: BTreeMap<DeviceId, u64>,
    receipts: BTreeMap<DeviceId, Bytes>,
    offered: Seq,
    app_acked: LocalCursor,
    held_bytes: u64,
    kept_bytes: u64,
    own_gone: Seq,
    identity_reused: bool,
    nonces: Vec<Nonce>,
    snapshots: BTreeMap<BlobId, (bool, Bytes, BTreeMap<BlobId, Bytes>)>,
}

impl State {
    fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::PutOwn(row) => {
                self.senders.insert(row.sender, newest_own(&row));
                self.hold(row);
            }
            StoreOp::Reseal(row) => {
                let newest = self.senders.get_mut(&row.sender).filter(|newest| newest.seq == row.seq);
                newest.into_iter().for_each(|newest| newest.hash = row.hash);
                let held = self.held.iter_mut().find(|held| held.sender == row.sender && held.seq == row.seq);
                held.into_iter().for_each(|held| *held = row.clone());
            }
            StoreOp::Take(row) => self.hold(row),
            StoreOp::Mend { sender, seq, envelope } => {
                let held = self.held.iter_mut().find(|held| held.sender == sender && held.seq == seq);
                held.into_iter().for_each(|held| held.envelope = envelope.clone());
            }
            StoreOp::LetGo { sender, first, last, bytes } => {
                let gone = self.held.iter_mut().filter(|row| row.sender == sender && (first..=last).contains(&row.seq));
                gone.for_each(|row| row.envelope = Bytes::new());
                self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
                self.own_gone = if self.me() == Some(sender) { self.own_gone.max(last) } else { self.own_gone };
            }
            StoreOp::HeldBytes { at_least } => self.held_bytes = self.held_bytes.max(at_least),
            StoreOp::Sender(row) => drop(self.senders.insert(row.sender, row)),
            StoreOp::Wait(row) => drop(self.waiting.insert(row.hash, row)),
            StoreOp::Unwait { hash } => drop(self.waiting.remove(&hash)),
            StoreOp::Park(row) => drop(self.parked.insert(row.blob_id, row)),
            StoreOp::Unpark { blob_id } => drop(self.parked.remove(&blob_id)),
            StoreOp::Relay { relay, state } => drop(self.relays.insert(relay, state)),
            StoreOp::Offered { through } => self.offered = self.offered.max(through),
            StoreOp::AppAck { cursor } => self.app_acked = self.app_acked.max(cursor),
            StoreOp::IdentityReused => self.identity_reused = true,
            StoreOp::Identity { device, former, nonce } => {
                (self.offered, self.own_gone, self.identity_reused) = (Seq::START, Seq::START, false);
                self.receipts.remove(&former);
                self.nonces.push(nonce);
                let place = self.profile.as_mut().and_then(|profile| profile.membership.as_mut());
                place.into_iter().for_each(|place| place.device = device);
            }
            StoreOp::Adopt { former, seq, row } => {
                self.senders.insert(row.sender, newest_own(&row));
                let held = self.held.iter_mut().find(|held| held.sender == former && held.seq == seq);
                held.into_iter().for_each(|held| *held = row.clone());
            }
            StoreOp::Roster { entry } if self.roster.contains(&entry) => {}
            StoreOp::Roster { entry } => self.roster.push(entry),
            StoreOp::Seen { device, at_ms } => drop(self.seen.insert(device, at_ms)),
            StoreOp::Receipt { device, envelope } => drop(self.receipts.insert(device, envelope)),
            StoreOp::Snapshot { snapshot, own, manifest, parts } => {
                self.snapshots.retain(|_, (other, ..)| *other != own);
                self.snapshots.insert(snapshot, (own, manifest, parts.into_iter().collect()));
            }
            StoreOp::SnapshotPart { snapshot, part, envelope } => {
                let kept = self.snapshots.get_mut(&snapshot);
                kept.into_iter().for_each(|(.., parts)| drop(parts.insert(part, envelope.clone())));
            }
            StoreOp::SnapshotOver { snapshot } => drop(self.snapshots.remove(&snapshot)),
            StoreOp::Superseded { entry } => self.roster.retain(|held| *held != entry),
        }
    }

    fn hold(&mut self, row: HeldRow) {
        self.held_bytes += row.envelope.len() as u64;
        self.kept_bytes += row.envelope.len() as u64;
        self.held.push(row);
    }

    fn head(&self) -> LocalCursor {
        self.held.iter().filter_map(|row| row.cursor).max().unwrap_or_default()
    }

    fn unconfirmed(&self) -> Vec<(Seq, BlobHash)> {
        let confirmed = self.relays.values().map(|known| known.acked).min().unwrap_or(Seq::START);
        let own = self.held.iter().filter(|row| Some(row.sender) == self.me());
        let own = own.filter(|row| row.seq.get() + OWN_HASHES_SPARE > confirmed.get());
        own.map(|row| (row.seq, row.hash)).collect()
    }

    /// In their order, which is not that in which they came to rest where a device was copied.
    fn of(&self, sender: DeviceId, from: Seq, bytes: usize) -> (Vec<HeldRow>, u64) {
        let rows = self.held.iter().enumerate();
        let mut rows: Vec<_> = rows.filter(|(_, row)| row.sender == sender && row.seq >= from).collect();
        rows.sort_by_key(|(_, row)| row.seq);
        fitting(rows.into_iter(), bytes)
    }

    fn me(&self) -> Option<DeviceId> {
        Some(self.profile.as_ref()?.membership?.device)
    }
}

/// The first row whatever its size, and those after it that `bytes` have room for.
fn fitting<'a>(rows: impl Iterator<Item = (usize, &'a HeldRow)>, bytes: usize) -> (Vec<HeldRow>, u64) {
    let (mut taken, mut position, mut sum) = (Vec::new(), 0, 0);
    for (index, row) in rows {
        sum += if row.envelope.is_empty() { GONE_BYTES } else { row.envelope.len() };
        if !taken.is_empty() && sum > bytes {
            break;
        }
        position = u64::try_from(index + 1).expect("a test's rows");
        taken.push(row.clone());
    }
    (taken, position)
}

#[async_trait::async_trait]
impl Store for MemoryStore {
    async fn profile(&self) -> Result<Option<ProfileRow>, StoreError> {
        Ok(self.state.lock().expect("no panics here").profile.clone())
    }

    async fn create_profile(
        &self,
        profile: &ProfileRow,
        relays: &[String],
        roster: &[Bytes],
    ) -> Result<(), StoreError> {
        {
            let mut state = self.state.lock().expect("no panics here");
            state.profile = Some(profile.clone());
            state.addresses = relays.iter().map(|address| AddressRow { address: address.clone(), pin: None }).collect();
        }
        let ops: Vec<_> = roster.iter().map(|entry| StoreOp::Roster { entry: entry.clone() }).collect();
        self.commit(&ops).await
    }

    async fn addresses(&self) -> Result<Vec<AddressRow>, StoreError> {
        Ok(self.state.lock().expect("no panics here").addresses.clone())
    }

    async fn set_addresses(&self, relays: &[String]) -> Result<(), StoreError> {
        let addresses = &mut self.state.lock().expect("no panics here").addresses;
        let before = std::mem::take(addresses);
        let pin = |address: &String| before.iter().find(|row| row.address == *address)?.pin.clone();
        addresses.extend(relays.iter().map(|address| AddressRow { address: address.clone(), pin: pin(address) }));
        Ok(())
    }

    async fn add_addresses(&self, relays: &[String]) -> Result<(), StoreError> {
        let addresses = &mut self.state.lock().expect("no panics here").addresses;
        for address in relays {
            if addresses.iter().all(|row| row.address != *address) {
                addresses.push(AddressRow { address: address.clone(), pin: None });
            }
        }
        Ok(())
    }

    async fn pin(&self, address: &str, pin: &Pin) -> Result<(), StoreError> {
        let mut state = self.state.lock().expect("no panics here");
        if let Some(row) = state.addresses.iter_mut().find(|row| row.address == address) {
            row.pin = Some(pin.clone());
        }
        Ok(())
    }

    async fn enter_group(&self, membership: Membership, ops: &[StoreOp]) -> Result<(), StoreError> {
        if let Some(profile) = &mut self.state.lock().expect("no panics here").profile {
            profile.membership = Some(membership);
        }
        self.commit(ops).await
    }

    async fn leave_group(&self, local_log_id: LocalLogId) -> Result<(), StoreError> {
        let mut state = self.state.lock().expect("no panics here");
        let (profile, addresses) = (state.profile.take(), std::mem::take(&mut state.addresses));
        let profile = profile.map(|profile| ProfileRow { local_log_id, membership: None, ..profile });
        *state = State { profile, addresses, ..State::default() };
        Ok(())
    }

    async fn load(&self) -> Result<Stored, StoreError> {
        let state = self.state.lock().expect("no panics here");
        Ok(Stored {
            head_cursor: state.head(),
            app_acked: state.app_acked,
            held_bytes: state.held_bytes,
            kept_bytes: state.kept_bytes,
            own_gone: state.own_gone,
            offered: state.offered,
            identity_reused: state.identity_reused,
            nonces: state.nonces.clone(),
            own: state.unconfirmed(),
            senders: state.senders.values().cloned().collect(),
            waiting: state.waiting.values().cloned().collect(),
            parked: state.parked.values().map(|row| (row.blob_id, row.reason)).collect(),
            parked_bytes: state.parked.values().map(|row| row.envelope.len() as u64).sum(),
            relays: state.relays.iter().map(|(relay, known)| (*relay, known.clone())).collect(),
            roster: state.roster.clone(),
            seen: state.seen.iter().map(|(device, at_ms)| (*device, *at_ms)).collect(),
            receipts: state.receipts.values().cloned().collect(),
            snapshots: state
                .snapshots
                .values()
                .map(|(own, manifest, parts)| StoredSnapshot {
                    own: *own,
                    manifest: manifest.clone(),
                    parts: parts.keys().copied().collect(),
                })
                .collect(),
        })
    }

    async fn commit(&self, ops: &[StoreOp]) -> Result<(), StoreError> {
        let mut state = self.state.lock().expect("no panics here");
        ops.iter().cloned().for_each(|op| state.apply(op));
        Ok(())
    }

    async fn read(&self, load: Load) -> Result<(Vec<HeldRow>, u64), StoreError> {
        let state = self.state.lock().expect("no panics here");
        let rows = state.held.iter().enumerate();
        Ok(match load {
            Load::Own { from, bytes } => state.me().map(|me| state.of(me, from, bytes)).unwrap_or_default(),
            Load::Of { sender, from, bytes } => (state.of(sender, from, bytes).0, 0),
            Load::Held { relay: _, after, bytes } => {
                fitting(rows.skip(usize::try_from(after).expect("a test's rows")), bytes)
            }
            Load::Front { after, bytes } => {
                let later = rows.skip(usize::try_from(after).expect("a test's rows"));
                fitting(later.filter(|(_, row)| !row.envelope.is_empty()), bytes)
            }
            Load::SnapshotPart { relay: _, snapshot, part } => {
                let part = state.snapshots.get(&snapshot).and_then(|(.., parts)| parts.get(&part));
                (part.cloned().map(HeldRow::unread).into_iter().collect(), 0)
            }
            Load::Parked { after, bytes } => {
                let later = state.parked.values().filter(|row| after.is_none_or(|after| row.blob_id > after));
                let rows: Vec<_> = later.map(|row| HeldRow::unread(row.envelope.clone())).collect();
                (fitting(rows.iter().enumerate(), bytes).0, 0)
            }
        })
    }

    async fn snapshot(&self) -> Result<Option<(Bytes, BTreeMap<BlobId, Bytes>)>, StoreError> {
        let state = self.state.lock().expect("no panics here");
        let loading = state.snapshots.values().find(|(own, ..)| !own);
        Ok(loading.map(|(_, manifest, parts)| (manifest.clone(), parts.clone())))
    }

    async fn log(&self, after: LocalCursor, rows: u32, bytes: usize) -> Result<Vec<HeldRow>, StoreError> {
        let state = self.state.lock().expect("no panics here");
        let later = state.held.iter().enumerate().filter(|(_, row)| row.cursor.is_some_and(|cursor| cursor > after));
        let later = later.filter(|(_, row)| !row.envelope.is_empty());
        Ok(fitting(later.take(usize::try_from(rows).expect("a test's rows")), bytes).0)
    }

    async fn placed(&self, cursors: &[LocalCursor]) -> Result<Vec<Placed>, StoreError> {
        let state = self.state.lock().expect("no panics here");
        let at = |cursor: &LocalCursor| state.held.iter().find(|row| row.cursor == Some(*cursor));
        let placed = |(cursor, row): (LocalCursor, &HeldRow)| Placed {
            cursor,
            push_id: row.push_id,
            sender: row.sender,
            seq: row.seq,
        };
        Ok(cursors.iter().filter_map(|cursor| Some((*cursor, at(cursor)?))).map(placed).collect())
    }

    async fn cursors(&self) -> Result<(LocalCursor, LocalCursor), StoreError> {
        let state = self.state.lock().expect("no panics here");
        Ok((state.head(), state.app_acked))
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check_all(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn damaged(&self) -> Result<Damaged, StoreError> {
        let state = self.state.lock().expect("no panics here");
        let changed = |bytes: &Bytes, name: BlobHash| BlobHash::of_bytes(bytes) != name;
        let unlike = |bytes: &Bytes, name: BlobId| BlobHash::of_bytes(bytes).blob_id() != name;
        let held = state.held.iter().filter(|row| !row.envelope.is_empty() && changed(&row.envelope, row.hash));
        let snapshots = state.snapshots.iter().filter(|(id, (_, manifest, parts))| {
            unlike(manifest, **id) || parts.iter().any(|(id, part)| unlike(part, *id))
        });
        Ok(Damaged {
            held: held
                .map(|row| DamagedRow {
                    sender: row.sender,
                    seq: row.seq,
                    hash: row.hash,
                    cursor: row.cursor,
                    push_id: row.push_id,
                })
                .collect(),
            waiting: state
                .waiting
                .values()
                .filter(|row| changed(&row.envelope, row.hash))
                .map(|row| row.hash)
                .collect(),
            parked: state
                .parked
                .values()
                .filter(|row| unlike(&row.envelope, row.blob_id))
                .map(|row| row.blob_id)
                .collect(),
            snapshots: snapshots.map(|(id, _)| *id).collect(),
        })
    }

    async fn sizes(&self) -> Result<Sizes, StoreError> {
        let state = self.state.lock().expect("no panics here");
        let bytes =
            |envelopes: &mut dyn Iterator<Item = &Bytes>| envelopes.map(|bytes| bytes.len() as u64).sum::<u64>();
        let parts = state.snapshots.values().flat_map(|(_, manifest, parts)| parts.values().chain([manifest]));
        Ok(Sizes {
            database: bytes(&mut state.held.iter().map(|row| &row.envelope)),
            free: 0,
            envelopes: state.held.len() as u64,
            waiting: bytes(&mut state.waiting.values().map(|row| &row.envelope)),
            parked: bytes(&mut state.parked.values().map(|row| &row.envelope)),
            snapshots: bytes(&mut parts.into_iter()),
        })
    }

    async fn lacks(&self, device: &DeviceId, reached: &[Reach]) -> Result<Lacks, StoreError> {
        let state = self.state.lock().expect("no panics here");
        let mut lacks = Lacks::default();
        let blobs = state.held.iter().filter(|row| row.sender != *device);
        for (row, cursor) in blobs.filter_map(|row| Some((row, row.cursor?))) {
            let Some(reach) = reached.iter().find(|reach| reach.sender == row.sender) else { continue };
            if row.seq > reach.received {
                lacks.unreceived += 1;
                lacks.first_unreceived = lacks.first_unreceived.map_or(Some(cursor), |first| Some(first.min(cursor)));
            }
            if row.seq > reach.applied {
                lacks.first_unapplied = lacks.first_unapplied.map_or(Some(cursor), |first| Some(first.min(cursor)));
            }
            lacks.lost += u64::from(reach.missing.iter().any(|(first, last)| (first..=last).contains(&&row.seq)));
        }
        Ok(lacks)
    }

    async fn close(&self) {}
}
