//! Stories: a [`World`] in which only that goes wrong which the story says.

use bytes::Bytes;
use sync_types::{DeviceId, KeyId, Kind, LocalCursor, PushId, RelayMsg, message::Receipts};

use super::{
    check,
    plan::Plan,
    world::{Happening, World},
};
use crate::{
    event::{Event, Input, Wait},
    keys::{EpochSecret, GroupKeys, GroupRoot},
    receipt::Reached,
    seal::{self, Draft},
    status::{Badge, Holders, Status},
};

/// Names a device of a story; the first one made the group.
pub type DeviceIndex = usize;
/// Names a relay of a story.
pub type RelayIndex = usize;

/// A world to tell stories in. A guarantee that does not hold ends the story with a panic that says which.
#[derive(Debug)]
pub struct Story(World);

impl Story {
    /// Devices that are paired already, and relays, all at rest.
    pub fn new(devices: usize, relays: usize) -> Self {
        Self::of(Plan::calm(1, devices, relays))
    }

    fn of(plan: Plan) -> Self {
        let mut story = Self(World::new(plan, None));
        story.rest();
        story
    }

    pub(super) fn world(&mut self) -> &mut World {
        &mut self.0
    }

    /// The same with apps that make snapshots after so many envelopes, and load them.
    pub fn with_snapshots(devices: usize, relays: usize, after: u64) -> Self {
        Self::of(Plan { snapshot_after: Some(after), ..Plan::calm(1, devices, relays) })
    }

    /// The same, after so many bytes of envelopes.
    pub fn with_snapshots_by_bytes(devices: usize, relays: usize, after: u64) -> Self {
        Self::of(Plan { snapshot_after_bytes: Some(after), ..Plan::calm(1, devices, relays) })
    }

    /// The same, on devices that let go of what a snapshot stands for as soon as they may.
    pub fn with_snapshots_that_keep_nothing(devices: usize, relays: usize) -> Self {
        Self::of(Plan { snapshot_after: Some(1_000), keep: (0, 0), ..Plan::calm(1, devices, relays) })
    }

    /// The same, with keys that are renewed when they are so old.
    pub fn with_keys_for_ms(devices: usize, relays: usize, after_ms: u64) -> Self {
        Self::of(Plan { rotate_after_ms: Some(after_ms), ..Plan::calm(1, devices, relays) })
    }

    /// How many envelopes a device has let go.
    pub fn let_go(&self, device: DeviceIndex) -> usize {
        self.0.devices[device].disk.gone.len()
    }

    /// The app on a device reads its log to the end, acknowledges it, and makes a snapshot.
    pub fn make_snapshot(&mut self, device: DeviceIndex) {
        self.0.make_snapshot(device).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// The app on a device can't use the next snapshot.
    pub fn refuse_next(&mut self, device: DeviceIndex) {
        self.0.devices[device].app.refuses = true;
    }

    /// The numbers of the blobs that came to an app by snapshots.
    pub fn taken(&self, device: DeviceIndex) -> Vec<u64> {
        self.0.devices[device].app.taken.iter().copied().collect()
    }

    /// How many snapshots a relay keeps.
    pub fn snapshots_on(&self, relay: RelayIndex) -> usize {
        self.0.relays[relay].snapshots()
    }

    /// Lets time pass.
    pub fn wait_ms(&mut self, ms: u64) {
        let until = self.0.now_ms + ms;
        self.0.play_until(until).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Lets time pass until nobody has anything left to do, and checks everything that must hold then.
    pub fn rest(&mut self) {
        self.0.come_to_rest().unwrap_or_else(|violation| panic!("{violation}"));
        check::at_rest(&self.0).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Bytes on all connections for receipts, and in all, since this was last asked; the first time nothing is counted yet.
    pub fn carried(&mut self) -> (u64, u64) {
        self.0.carried.replace((0, 0)).unwrap_or_default()
    }

    /// How many receipts were sent to relays so far, by all devices.
    pub fn receipts(&self) -> u64 {
        self.0.report.receipts
    }

    /// The app on a device pushes a blob. Returns its number, by which [`Self::log`] shows it.
    pub fn push(&mut self, device: DeviceIndex) -> u64 {
        self.push_for(device, 0)
    }

    /// The same, for a blob that relays keep for so many seconds.
    pub fn push_for(&mut self, device: DeviceIndex, ttl_s: u32) -> u64 {
        let number = self.0.push(device, ttl_s, Wait::Local).unwrap_or_else(|violation| panic!("{violation}"));
        number.expect("the device runs")
    }

    /// The blobs in a device's local log, in its order.
    pub fn log(&self, device: DeviceIndex) -> Vec<u64> {
        let number = |envelope: &Bytes| {
            let envelope = sync_types::Envelope::parse(envelope.clone()).expect("stored envelopes parse");
            let payload = seal::open(&self.0.keys, &envelope).map(|body| body.payload);
            let payload = payload.expect("stored envelopes open");
            u64::from_be_bytes(payload.as_ref().try_into().expect("stories push numbers"))
        };
        self.0.devices[device].disk.after(LocalCursor::START).map(|row| number(&row.envelope)).collect()
    }

    /// Where a device's blobs stand: cursor and name, as its app sees them.
    pub fn cursors(&self, device: DeviceIndex) -> Vec<(LocalCursor, PushId)> {
        let rows = self.0.devices[device].disk.after(LocalCursor::START);
        rows.filter_map(|row| row.cursor.map(|cursor| (cursor, row.push_id))).collect()
    }

    /// What a device says of itself.
    pub fn status(&self, device: DeviceIndex) -> Status {
        self.0.devices[device].engine.as_ref().expect("the device runs").status()
    }

    /// Its one word.
    pub fn badge(&self, device: DeviceIndex) -> Badge {
        self.status(device).badge
    }

    /// A person gives a device another name, on some device.
    pub fn rename(&mut self, on: DeviceIndex, device: DeviceIndex, name: &str) {
        self.0.rename(on, device, name).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// What a device calls another.
    pub fn name(&self, on: DeviceIndex, device: DeviceIndex) -> String {
        let engine = self.0.devices[on].engine.as_ref().expect("the device runs");
        let member = engine.roster().member(&self.0.devices[device].id).expect("a member");
        member.profile.name().to_owned()
    }

    /// Whether a device takes another to be there, and for how many milliseconds it has not seen it.
    pub fn sees(&self, on: DeviceIndex, device: DeviceIndex) -> (bool, Option<u64>) {
        let state = &self.0.devices[on];
        let (now, id) = (state.now(self.0.now_ms), self.0.devices[device].id);
        let mut devices = state.engine.as_ref().expect("the device runs").devices(now);
        let seen = devices.find(|other| other.member.device == id).expect("a member");
        (seen.online, seen.last_seen_ms.map(|at_ms| now.wall_ms - at_ms))
    }

    /// What a device has heard another say of the first one's envelopes.
    pub fn says(&self, on: DeviceIndex, device: DeviceIndex) -> Option<Reached> {
        let (state, other) = (&self.0.devices[on], self.0.devices[device].id);
        let mut devices = state.engine.as_ref().expect("the device runs").devices(state.now(self.0.now_ms));
        let receipt = devices.find(|known| known.member.device == other).and_then(|known| known.receipt)?;
        receipt.of_sender(&self.0.devices[0].id).cloned()
    }

    /// Who a device takes to have its newest envelope.
    pub fn holders_of_newest(&self, device: DeviceIndex) -> Holders {
        let state = &self.0.devices[device];
        let newest = state.disk.own().last().expect("it has sealed something").seq;
        state.engine.as_ref().expect("the device runs").holders(&state.id, newest)
    }

    /// How many envelopes a device has sealed.
    pub fn own_head(&self, device: DeviceIndex) -> u64 {
        self.0.devices[device].disk.own().last().map_or(0, |row| row.seq.get())
    }

    /// The newest receipt that a device has sealed.
    pub fn receipt_of(&self, device: DeviceIndex) -> Bytes {
        let state = &self.0.devices[device];
        state.disk.receipts.get(&state.id).cloned().expect("it has said something")
    }

    /// A relay tells a device this receipt.
    pub fn tell_receipt(&mut self, device: DeviceIndex, envelope: Bytes) {
        let relay = self.0.relays[0].id;
        let message = RelayMsg::from(Receipts { envelopes: vec![envelope].into() });
        let told = self.0.feed(device, Input::Received { relay, message });
        told.unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// The app on a device reads its log to the end, and says that it has applied it.
    pub fn app_reads_all(&mut self, device: DeviceIndex) {
        let cursor = LocalCursor::new(self.0.devices[device].disk.log.len() as u64);
        let acked = self.0.feed(device, Input::AppAck { cursor });
        acked.unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Sets a device's clock ahead by so many milliseconds, or back.
    pub fn set_clock(&mut self, device: DeviceIndex, ahead_ms: i64) {
        self.0.devices[device].clock_ms = ahead_ms;
    }

    /// How many roster entries a device has on its disk.
    pub fn roster_len(&self, device: DeviceIndex) -> usize {
        self.0.devices[device].disk.roster.len()
    }

    /// Everything a device told its app since the last time this was asked.
    pub fn told(&mut self, device: DeviceIndex) -> Vec<Event> {
        std::mem::take(&mut self.0.devices[device].told)
    }

    /// The device's process ends, with everything that was not stored. It comes back by itself within seconds.
    pub fn crash(&mut self, device: DeviceIndex) {
        self.0.crash(device);
    }

    /// The device is gone for good.
    pub fn die(&mut self, device: DeviceIndex) {
        self.0.crash(device);
        self.0.devices[device].dead = true;
    }

    /// The device takes nothing to its disk any more, until [`Self::rest`].
    pub fn fill_disk(&mut self, device: DeviceIndex) {
        self.0.devices[device].disk_is_full = true;
    }

    /// The app takes the device offline, or online again.
    pub fn set_online(&mut self, device: DeviceIndex, online: bool) {
        self.0.devices[device].online = online;
        self.0.feed(device, Input::Online { online }).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Nothing passes between a device and a relay, until [`Self::mend`].
    pub fn cut(&mut self, device: DeviceIndex, relay: RelayIndex) {
        self.0.cuts.cut(device, relay);
    }

    /// It passes again.
    pub fn mend(&mut self, device: DeviceIndex, relay: RelayIndex) {
        self.0.cuts.mend(device, relay);
    }

    /// The relay's process ends.
    pub fn stop_relay(&mut self, relay: RelayIndex) {
        self.0.stop_relay(relay);
    }

    /// It starts again.
    pub fn start_relay(&mut self, relay: RelayIndex) {
        self.0.relays[relay].up = true;
    }

    /// A stopped relay loses its database.
    pub fn wipe_relay(&mut self, relay: RelayIndex) {
        self.0.relays[relay].wipe();
        self.0.truth.lost(&self.0.relays[relay], &self.0.devices);
    }

    /// A copy of the relay's database is put aside.
    pub fn copy_relay(&mut self, relay: RelayIndex) {
        self.0.relays[relay].copy();
    }

    /// A stopped relay is started from the copy.
    pub fn restore_relay(&mut self, relay: RelayIndex) {
        assert!(self.0.relays[relay].roll_back(), "there is a copy");
        self.0.truth.lost(&self.0.relays[relay], &self.0.devices);
    }

    /// The relay shows a device another history than the others from now on: nothing of what these push, and, with
    /// `drop`, a row less of what the device has not read.
    pub fn lie(&mut self, relay: RelayIndex, device: DeviceIndex, drop: bool) {
        self.0.lie(relay, device, drop);
    }

    /// The relay shows everybody the same again.
    pub fn be_true(&mut self) {
        self.0.be_true_to_all().unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Whom a device takes to have read something else on a relay than it is shown there, and in which way.
    pub fn contradicted(&self, on: DeviceIndex, relay: RelayIndex) -> Vec<(DeviceIndex, &'static str)> {
        let id = self.0.relays[relay].id;
        let relays = self.status(on).relays;
        let named = relays.iter().filter(|known| known.relay == id).flat_map(|known| &known.contradictions);
        let device = |id| self.0.devices.iter().position(|device| device.id == id).expect("a device of the story");
        named.map(|named| (device(named.device), named.kind())).collect()
    }

    /// The relay answers nobody who asks for its log, and is there for everything else; or is well again.
    pub fn mute_relay(&mut self, relay: RelayIndex, mute: bool) {
        self.0.relays[relay].mute = mute;
    }

    /// The relay tells a device that its log has so many more rows, and shows none of them.
    pub fn name_more(&mut self, relay: RelayIndex, device: DeviceIndex, rows: u64) {
        let id = self.0.devices[device].id;
        let out = self.0.relays[relay].name_more(&id, rows);
        self.0.send_from_relay(out);
    }

    /// The relay forgets that a device reads on in its log.
    pub fn forget_follower(&mut self, relay: RelayIndex, device: DeviceIndex) {
        let id = self.0.devices[device].id;
        self.0.relays[relay].forget_follower(&id);
    }

    /// The relay takes no new envelopes for want of room, or does again.
    pub fn fill_relay(&mut self, relay: RelayIndex, full: bool) {
        self.0.relays[relay].full = if full { 1_000 } else { 0 };
    }

    /// The relay lets go of what has expired.
    pub fn clean_up(&mut self, relay: RelayIndex) {
        let now_ms = self.0.now_ms;
        self.0.relays[relay].clean_up(now_ms);
    }

    /// How many envelopes the relay's log holds.
    pub fn on_relay(&self, relay: RelayIndex) -> usize {
        let rows = self.0.relays[relay].largest().map(|log| &log.rows);
        rows.map_or(0, |rows| rows.iter().filter(|row| row.envelope.is_some()).count())
    }

    /// Another device joins, let in by the first that runs.
    pub fn join(&mut self) -> DeviceIndex {
        let device = self.0.add_device();
        self.0.later(0, Happening::Join { device });
        self.wait_ms(1);
        device
    }

    /// A person on a device removes another: with new keys for those who are left, or by striking it off.
    pub fn remove(&mut self, on: DeviceIndex, device: DeviceIndex, rekey: bool) {
        self.0.remove(on, device, rekey).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// A person on a device gives the group new keys.
    pub fn rotate(&mut self, on: DeviceIndex) {
        self.0.rotate(on).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// A person takes a device out of the group.
    pub fn leave(&mut self, device: DeviceIndex) {
        self.0.leave(device).unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Whether a device takes another for a member.
    pub fn counts(&self, on: DeviceIndex, device: DeviceIndex) -> bool {
        let engine = self.0.devices[on].engine.as_ref().expect("the device runs");
        engine.roster().is_member(&self.0.devices[device].id)
    }

    /// The key that a device seals under.
    pub fn key(&self, device: DeviceIndex) -> KeyId {
        self.0.devices[device].engine.as_ref().expect("the device runs").keys().current().key_id()
    }

    /// Whether a device has a key.
    pub fn has_key(&self, device: DeviceIndex, key: KeyId) -> bool {
        self.0.devices[device].engine.as_ref().expect("the device runs").keys().get(&key).is_some()
    }

    /// The key that the newest envelope of a device is sealed under.
    pub fn sealed_under(&self, device: DeviceIndex) -> KeyId {
        sync_types::Envelope::parse(self.newest_of(device)).expect("stored envelopes parse").header().key_id
    }

    /// A copy of a device's profile is started as well, elsewhere and offline.
    pub fn copy_device(&mut self, device: DeviceIndex) -> DeviceIndex {
        let copy = self.0.copy_device(device);
        self.0.start(copy).unwrap_or_else(|violation| panic!("{violation}"));
        copy
    }

    /// Who a device is by now.
    pub fn id(&self, device: DeviceIndex) -> DeviceId {
        self.0.devices[device].id
    }

    /// Of whom a device takes another to be a copy.
    pub fn copy_of(&self, on: DeviceIndex, device: DeviceIndex) -> Option<DeviceId> {
        let engine = self.0.devices[on].engine.as_ref().expect("the device runs");
        engine.roster().copied(&self.0.devices[device].id).map(|(former, _)| former)
    }

    /// Whether a device takes a member for a kit.
    pub fn is_kit(&self, on: DeviceIndex, device: DeviceId) -> bool {
        let engine = self.0.devices[on].engine.as_ref().expect("the device runs");
        engine.roster().member(&device).is_some_and(|member| member.is_kit)
    }

    /// A person on a device removes a kit.
    pub fn remove_kit(&mut self, on: DeviceIndex, device: DeviceId) {
        let removed = self.0.feed(on, Input::Remove { device, rekey: true });
        removed.unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// How many members a device knows.
    pub fn members(&self, on: DeviceIndex) -> usize {
        self.0.devices[on].engine.as_ref().expect("the device runs").roster().members().len()
    }

    /// The relay hands this to a device as one more row of the log it follows, as a hostile one might.
    pub fn inject(&mut self, relay: RelayIndex, envelope: Bytes) {
        let now_ms = self.0.now_ms;
        let out = self.0.relays[relay].inject(&envelope, now_ms);
        self.0.send_from_relay(out);
    }

    /// What a device would seal next, under an epoch that nobody else has the key of.
    pub fn sealed_under_another_key(&mut self, device: DeviceIndex) -> Bytes {
        let root = GroupRoot::from_bytes(self.0.keys.root().as_bytes());
        let keys = GroupKeys::new(root, 1, EpochSecret::generate(self.0.dice.rng()));
        let state = &self.0.devices[device];
        let newest = &state.disk.senders[&state.id];
        let draft = Draft {
            kind: Kind::Data,
            ttl_s: 0,
            seq: newest.seq.next(),
            prev: newest.hash,
            push_id: PushId::from_bytes([7; 16]),
            time_ms: 0,
            payload: Bytes::from_static(b"8 bytes."),
            compress: false,
        };
        seal::seal(&keys, &state.key, draft, self.0.dice.rng()).as_bytes().clone()
    }

    /// The same as a device of a newer version would, as far as this one can tell.
    pub fn sealed_by_a_newer_version(&self, device: DeviceIndex) -> Bytes {
        self.0.sealed_by_a_newer_version(device).expect("it has sealed its entry, at least")
    }

    /// The newest envelope a device sealed.
    pub fn newest_of(&self, device: DeviceIndex) -> Bytes {
        self.0.devices[device].newest().expect("it has sealed its entry, at least")
    }
}
