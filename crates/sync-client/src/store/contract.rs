//! One suite for every store, and what SQLite must do besides.

use bytes::Bytes;
use sync_core::{
    event::{HeldRow, Load, ParkReason, ParkedRow, Paved, RelayState, SenderRow, StoreOp, StoredSnapshot, WaitingRow},
    heads::Contradiction,
    identity::Nonce,
    roster::EntryHash,
};
use sync_types::{
    BlobHash, BlobId, DeviceId, GroupId, Kind, LocalCursor, LocalLogId, LogId, PushId, RelayCursor, RelayId, Run, Seq,
};

use super::{
    AddressRow, Lacks, Membership, Pin, ProfileRow, Reach, SqliteStore, Store, StoreError, memory::MemoryStore,
};
use crate::secrets::SecretsChoice;

mod damage;
mod letting_go;

use damage::what_is_damaged_is_found_and_mended_in_its_place;
use letting_go::what_is_let_go_leaves_its_place;

const ME: DeviceId = DeviceId::from_bytes([1; 32]);
const PEER: DeviceId = DeviceId::from_bytes([2; 32]);
/// Nothing of whose is held.
const STRANGER: DeviceId = DeviceId::from_bytes([99; 32]);
const RELAY: RelayId = RelayId::from_bytes([9; 32]);
const ALL: usize = usize::MAX;

fn profile() -> ProfileRow {
    ProfileRow {
        profile_id: [7; 16],
        local_log_id: LocalLogId::from_bytes([8; 16]),
        name: "laptop".to_owned(),
        app_id: "org.example.app".to_owned(),
        secrets: SecretsChoice::File,
        membership: None,
    }
}

fn row(sender: DeviceId, seq: u64, cursor: Option<u64>) -> HeldRow {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    hash[8..].copy_from_slice(&sender.as_bytes()[8..]);
    HeldRow {
        sender,
        seq: Seq::new(seq),
        hash: BlobHash::from_bytes(hash),
        kind: if cursor.is_some() { Kind::Data } else { Kind::Control },
        cursor: cursor.map(LocalCursor::new),
        push_id: PushId::from_bytes([3; 16]),
        time_ms: u64::MAX - seq,
        held_ms: 1_700_000_000_000,
        late: seq.is_multiple_of(2),
        envelope: Bytes::from(vec![u8::try_from(seq % 256).expect("a byte"); 100]),
    }
}

fn sender(sender: DeviceId, seq: u64) -> SenderRow {
    SenderRow {
        sender,
        seq: Seq::new(seq),
        hash: BlobHash::from_bytes([4; 32]),
        holes: vec![(Seq::new(1), Seq::new(2)), (Seq::new(5), Seq::new(u64::MAX))],
        expected: Seq::new(seq + 1),
    }
}

/// What storing own envelopes says of this device.
fn own(seq: u64) -> SenderRow {
    super::newest_own(&row(ME, seq, None))
}

fn contradiction(device: u8, ours: Option<Run>) -> Contradiction {
    let (cursor, theirs) = (RelayCursor::new(u64::MAX), Run::from_bytes([3; 32]));
    Contradiction { device: DeviceId::from_bytes([device; 32]), cursor, theirs, ours }
}

fn relay_state(pulled: u64) -> RelayState {
    RelayState {
        log_id: LogId::from_bytes([5; 16]),
        pulled: RelayCursor::new(pulled),
        run: Run::from_bytes([6; 32]),
        acked: Seq::new(3),
        mark: Some((RelayCursor::new(17), Run::from_bytes([7; 32]))),
        paved: Some(Paved { head: EntryHash::from_bytes([8; 32]), known: [9; 32] }),
        refill: Some(2),
        compares: true,
        blob_len_max: Some(4_096),
        contradictions: vec![contradiction(1, None), contradiction(2, Some(Run::from_bytes([4; 32])))],
    }
}

fn membership() -> Membership {
    Membership { group: GroupId::from_bytes([0xA; 32]), device: ME }
}

async fn in_a_group(store: &dyn Store) {
    store.create_profile(&profile(), &["http://127.0.0.1:1".to_owned()], &[]).await.expect("a fresh store");
    store.enter_group(membership(), &[]).await.expect("a fresh store");
}

/// A profile keeps what it was made with, gains a group once, and remembers what its addresses led to.
async fn a_profile_keeps_what_it_was_made_with(store: &dyn Store) {
    assert_eq!(store.profile().await.expect("readable"), None);
    let relays = ["http://b".to_owned(), "http://a".to_owned()];
    store.create_profile(&profile(), &relays, &[]).await.expect("a fresh store");
    assert_eq!(store.profile().await.expect("readable"), Some(profile()));

    let genesis = StoreOp::Roster { entry: Bytes::from_static(b"genesis") };
    store.enter_group(membership(), std::slice::from_ref(&genesis)).await.expect("enters");
    let entered = store.profile().await.expect("readable").expect("is there");
    assert_eq!(entered.membership, Some(membership()));
    assert_eq!(store.load().await.expect("readable").roster, [Bytes::from_static(b"genesis")]);

    let pin = Pin { relay: RELAY, hosts: vec!["h:1".to_owned(), "[::1]:2".to_owned()] };
    store.pin("http://a", &pin).await.expect("pins");
    let rows = store.addresses().await.expect("readable");
    assert_eq!(rows[0], AddressRow { address: "http://b".to_owned(), pin: None });
    assert_eq!(rows[1], AddressRow { address: "http://a".to_owned(), pin: Some(pin.clone()) });

    store.add_addresses(&["http://a".to_owned(), "http://c".to_owned()]).await.expect("adds");
    let rows = store.addresses().await.expect("readable");
    assert_eq!(rows.iter().map(|row| row.address.as_str()).collect::<Vec<_>>(), ["http://b", "http://a", "http://c"]);
    assert_eq!(rows[1].pin, Some(pin.clone()), "what is there is left as it is");

    store.set_addresses(&["http://d".to_owned(), "http://a".to_owned()]).await.expect("replaces");
    let rows = store.addresses().await.expect("readable");
    assert_eq!(rows[0], AddressRow { address: "http://d".to_owned(), pin: None });
    assert_eq!(rows[1], AddressRow { address: "http://a".to_owned(), pin: Some(pin) }, "what stays is known still");
    assert_eq!(rows.len(), 2);
    store.set_addresses(&[]).await.expect("replaces");
    assert_eq!(store.addresses().await.expect("readable"), []);
}

/// A profile may be made together with its group.
async fn a_profile_may_be_in_a_group_from_the_start(store: &dyn Store) {
    let founder = ProfileRow { membership: Some(membership()), ..profile() };
    let genesis = Bytes::from_static(b"genesis");
    store.create_profile(&founder, &["http://a".to_owned()], std::slice::from_ref(&genesis)).await.expect("fresh");
    assert_eq!(store.profile().await.expect("readable"), Some(founder));
    assert_eq!(store.load().await.expect("readable").roster, [genesis]);
}

/// Everything an engine asked to keep is what the next engine is opened from.
async fn what_was_committed_is_loaded(store: &dyn Store) {
    in_a_group(store).await;
    let waiting = |seed| WaitingRow {
        sender: PEER,
        hash: BlobHash::from_bytes([seed; 32]),
        envelope: Bytes::from(vec![seed; 40]),
    };
    let parked = |seed, reason| ParkedRow {
        blob_id: BlobId::from_bytes([seed; 16]),
        reason,
        envelope: Bytes::from(vec![seed; 50]),
    };
    let receipt = |device, text: &'static [u8]| StoreOp::Receipt { device, envelope: Bytes::from_static(text) };
    let entry = |text: &'static str| StoreOp::Roster { entry: Bytes::from_static(text.as_bytes()) };
    let ops = [
        StoreOp::PutOwn(row(ME, 1, None)),
        StoreOp::PutOwn(row(ME, 2, Some(1))),
        StoreOp::Take(row(PEER, 1, Some(2))),
        StoreOp::Sender(sender(PEER, 1)),
        StoreOp::Sender(sender(PEER, 2)),
        StoreOp::Wait(waiting(1)),
        StoreOp::Wait(waiting(2)),
        StoreOp::Unwait { hash: waiting(1).hash },
        StoreOp::Park(parked(1, ParkReason::TooNew)),
        StoreOp::Park(parked(2, ParkReason::KeyMissing)),
        StoreOp::Unpark { blob_id: parked(1, ParkReason::TooNew).blob_id },
        StoreOp::Relay { relay: RELAY, state: relay_state(1) },
        StoreOp::Relay { relay: RELAY, state: relay_state(2) },
        StoreOp::Offered { through: Seq::new(2) },
        StoreOp::AppAck { cursor: LocalCursor::new(1) },
        StoreOp::IdentityReused,
        entry("genesis"),
        entry("an old name"),
        entry("joined"),
        entry("genesis"),
        StoreOp::Superseded { entry: Bytes::from_static(b"an old name") },
        StoreOp::Seen { device: PEER, at_ms: 7 },
        StoreOp::Seen { device: STRANGER, at_ms: 5 },
        StoreOp::Seen { device: PEER, at_ms: 9 },
        receipt(PEER, b"first"),
        receipt(ME, b"own"),
        receipt(PEER, b"second"),
    ];
    store.commit(&ops).await.expect("commits");

    let stored = store.load().await.expect("readable");
    assert_eq!(stored.head_cursor, LocalCursor::new(2));
    assert_eq!(stored.app_acked, LocalCursor::new(1));
    assert_eq!(stored.held_bytes, 300);
    assert_eq!(stored.offered, Seq::new(2));
    assert_eq!(stored.senders, [own(2), sender(PEER, 2)]);
    assert_eq!(stored.waiting, [waiting(2)]);
    assert!(stored.identity_reused);
    assert_eq!(stored.parked, [(BlobId::from_bytes([2; 16]), ParkReason::KeyMissing)]);
    assert_eq!(stored.parked_bytes, 50);
    let both = [1, 2].map(|seq| (Seq::new(seq), row(ME, seq, None).hash));
    assert_eq!(stored.own, both, "the only relay has them all, and some are kept in mind");
    assert_eq!(stored.relays, [(RELAY, relay_state(2))]);
    assert_eq!(stored.roster, [Bytes::from_static(b"genesis"), Bytes::from_static(b"joined")]);
    let mut seen = stored.seen;
    seen.sort_unstable();
    assert_eq!(seen, [(PEER, 9), (STRANGER, 5)]);
    let mut receipts = stored.receipts;
    receipts.sort_unstable();
    assert_eq!(receipts, [Bytes::from_static(b"own"), Bytes::from_static(b"second")]);
    assert_eq!(store.cursors().await.expect("readable"), (LocalCursor::new(2), LocalCursor::new(1)));

    let page = |after, bytes| store.read(Load::Parked { after, bytes });
    let (parked_rows, _) = page(None, 1).await.expect("readable");
    assert_eq!(parked_rows.len(), 1);
    assert_eq!(parked_rows[0].envelope, vec![2; 50]);
    assert_eq!(page(Some(BlobId::from_bytes([2; 16])), 1).await.expect("readable").0, []);
    assert_eq!(page(Some(BlobId::from_bytes([1; 16])), 1).await.expect("readable").0.len(), 1);

    // Marks that are absent come back absent.
    let plain =
        RelayState { mark: None, refill: None, blob_len_max: None, contradictions: Vec::new(), ..relay_state(3) };
    store.commit(&[StoreOp::Relay { relay: RELAY, state: plain.clone() }]).await.expect("commits");
    assert_eq!(store.load().await.expect("readable").relays, [(RELAY, plain)]);

    // What a snapshot stands for counts with what came before it, not besides, and what comes after it is added.
    let ops = [
        StoreOp::Take(row(PEER, 2, Some(3))),
        StoreOp::HeldBytes { at_least: 1_000 },
        StoreOp::HeldBytes { at_least: 500 },
        StoreOp::Take(row(PEER, 3, Some(4))),
    ];
    store.commit(&ops).await.expect("commits");
    assert_eq!(store.load().await.expect("readable").held_bytes, 1_100);
    store.commit(&[StoreOp::HeldBytes { at_least: 500 }]).await.expect("commits");
    assert_eq!(store.load().await.expect("readable").held_bytes, 1_100);

    let other = RelayState { acked: Seq::new(1), ..relay_state(3) };
    store.commit(&[StoreOp::Relay { relay: RelayId::from_bytes([8; 32]), state: other }]).await.expect("commits");
    assert_eq!(store.load().await.expect("readable").own, both);
}

/// Of snapshots there is this device's and one that is being loaded; the next takes the place of either.
async fn snapshots_are_kept_part_by_part(store: &dyn Store) {
    in_a_group(store).await;
    let id = |seed| BlobId::from_bytes([seed; 16]);
    let bytes = |seed| Bytes::from(vec![seed; 10]);
    let of = |seed, own, parts: &[u8]| StoreOp::Snapshot {
        snapshot: id(seed),
        own,
        manifest: bytes(seed),
        parts: parts.iter().map(|part| (id(*part), bytes(*part))).collect(),
    };
    let part = |snapshot, part| StoreOp::SnapshotPart { snapshot: id(snapshot), part: id(part), envelope: bytes(part) };
    let first = [of(1, true, &[11, 12]), of(2, false, &[]), part(2, 21)];
    store.commit(&first).await.expect("commits");
    store.commit(&[part(2, 22), part(2, 22)]).await.expect("commits");
    let stored = async || {
        let mut snapshots = store.load().await.expect("readable").snapshots;
        snapshots.sort_by_key(|snapshot| !snapshot.own);
        snapshots.iter_mut().for_each(|snapshot| snapshot.parts.sort_unstable());
        snapshots
    };
    let kept = |own, seed, parts: &[u8]| StoredSnapshot {
        own,
        manifest: bytes(seed),
        parts: parts.iter().map(|part| id(*part)).collect(),
    };
    assert_eq!(stored().await, [kept(true, 1, &[11, 12]), kept(false, 2, &[21, 22])]);
    let parts = [21, 22].map(|part| (id(part), bytes(part))).into();
    assert_eq!(store.snapshot().await.expect("readable"), Some((bytes(2), parts)));
    let load = |snapshot, part| store.read(Load::SnapshotPart { relay: RELAY, snapshot: id(snapshot), part: id(part) });
    assert_eq!(load(1, 12).await.expect("readable").0, [HeldRow::unread(bytes(12))]);
    assert_eq!(load(2, 12).await.expect("readable").0, [], "of another");

    let next = [of(3, true, &[31]), StoreOp::SnapshotOver { snapshot: id(2) }];
    store.commit(&next).await.expect("commits");
    assert_eq!(stored().await, [kept(true, 3, &[31])]);
    assert_eq!(store.snapshot().await.expect("readable"), None);
    assert_eq!(load(1, 12).await.expect("readable").0, [], "its parts went with it");
}

/// A device that was copied is another one in one transaction, and what it takes over keeps its place in the local log.
async fn a_device_that_becomes_another_keeps_its_log(store: &dyn Store) {
    in_a_group(store).await;
    let receipt = |device, text: &'static [u8]| StoreOp::Receipt { device, envelope: Bytes::from_static(text) };
    let ops = [
        StoreOp::PutOwn(row(ME, 1, None)),
        StoreOp::PutOwn(row(ME, 2, Some(1))),
        StoreOp::Take(row(PEER, 1, Some(2))),
        StoreOp::PutOwn(row(ME, 3, Some(3))),
        StoreOp::Offered { through: Seq::new(3) },
        receipt(ME, b"as before"),
        receipt(PEER, b"theirs"),
    ];
    store.commit(&ops).await.expect("commits");
    let nonce = Nonce::from_bytes([5; 32]);
    let shared = SenderRow { expected: Seq::START, ..own(1) };
    let ops = [StoreOp::Sender(shared.clone()), StoreOp::Identity { device: STRANGER, former: ME, nonce }];
    store.commit(&ops).await.expect("commits");

    let stored = store.load().await.expect("readable");
    assert_eq!((stored.offered, stored.own, &stored.nonces[..]), (Seq::START, vec![], &[nonce][..]));
    assert_eq!(stored.receipts, [Bytes::from_static(b"theirs")]);
    let profile = store.profile().await.expect("readable").expect("is there");
    assert_eq!(profile.membership, Some(Membership { device: STRANGER, ..membership() }));
    let of = |sender| store.read(Load::Of { sender, from: Seq::new(2), bytes: ALL });
    assert_eq!(of(ME).await.expect("readable").0, [row(ME, 2, Some(1)), row(ME, 3, Some(3))]);

    // Its first own comes to rest behind what it takes over.
    let adopted = |seq, cursor| HeldRow { push_id: row(ME, seq, None).push_id, ..row(STRANGER, seq, cursor) };
    let ops = [
        StoreOp::PutOwn(row(STRANGER, 1, None)),
        StoreOp::Adopt { former: ME, seq: Seq::new(2), row: adopted(2, Some(1)) },
        StoreOp::Adopt { former: ME, seq: Seq::new(3), row: adopted(3, Some(3)) },
    ];
    store.commit(&ops).await.expect("commits");
    let theirs = vec![row(STRANGER, 1, None), adopted(2, Some(1)), adopted(3, Some(3))];
    let (own, _) = store.read(Load::Own { from: Seq::new(1), bytes: ALL }).await.expect("readable");
    assert_eq!(own, theirs, "in their own order");
    assert_eq!(of(ME).await.expect("readable").0, []);
    let log = store.log(LocalCursor::START, 10, ALL).await.expect("readable");
    assert_eq!(log, [adopted(2, Some(1)), row(PEER, 1, Some(2)), adopted(3, Some(3))]);
    let newest = SenderRow { sender: STRANGER, ..sender(STRANGER, 3) };
    let senders = store.load().await.expect("readable").senders;
    let newest_of = |id| senders.iter().find(|row| row.sender == id).map(|row| (row.seq, row.hash));
    assert_eq!(newest_of(ME), Some((shared.seq, shared.hash)));
    assert_eq!(newest_of(STRANGER), Some((newest.seq, adopted(3, None).hash)));

    store.leave_group(LocalLogId::from_bytes([6; 16])).await.expect("leaves");
    assert_eq!(store.load().await.expect("readable").nonces, [], "another group begins with other keys");
}

/// Rows come back as they went in, in the order asked for, as many as the bytes have room for and at least one.
async fn rows_are_read_in_order_and_by_the_byte(store: &dyn Store) {
    in_a_group(store).await;
    let rows: Vec<_> = (1..=300).map(|seq| row(ME, seq, Some(2 * seq - 1))).collect();
    let theirs: Vec<_> = (1..=300).map(|seq| row(PEER, seq, Some(2 * seq))).collect();
    let mut all = Vec::new();
    for (mine, theirs) in rows.iter().zip(&theirs) {
        all.push(mine.clone());
        all.push(theirs.clone());
    }
    let ops: Vec<_> = all
        .iter()
        .map(|row| if row.sender == ME { StoreOp::PutOwn(row.clone()) } else { StoreOp::Take(row.clone()) })
        .collect();
    store.commit(&ops).await.expect("commits");

    let own = |from, bytes| store.read(Load::Own { from: Seq::new(from), bytes });
    let (found, last) = own(1, ALL).await.expect("readable");
    assert_eq!((found.as_slice(), last), (rows.as_slice(), 599));
    assert_eq!(own(300, ALL).await.expect("readable").0, rows[299..]);
    assert_eq!(own(301, ALL).await.expect("readable"), (vec![], 0));
    assert_eq!(own(5, 0).await.expect("readable").0, rows[4..5], "at least one");
    assert_eq!(own(5, 299).await.expect("readable").0, rows[4..6]);
    assert_eq!(own(5, 300).await.expect("readable").0, rows[4..7]);

    let held = |after, bytes| store.read(Load::Held { relay: RELAY, after, bytes });
    let (found, last) = held(0, ALL).await.expect("readable");
    assert_eq!((found.as_slice(), last), (all.as_slice(), 600));
    let (found, last) = held(597, 200).await.expect("readable");
    assert_eq!((found.as_slice(), last), (&all[597..599], 599));
    assert_eq!(held(600, ALL).await.expect("readable"), (vec![], 0));

    let log = |after, limit, bytes| store.log(LocalCursor::new(after), limit, bytes);
    assert_eq!(log(0, 1_000, ALL).await.expect("readable"), all);
    assert_eq!(log(598, 1_000, ALL).await.expect("readable"), all[598..]);
    assert_eq!(log(10, 3, ALL).await.expect("readable"), all[10..13]);
    assert_eq!(log(10, 3, 150).await.expect("readable"), all[10..11]);
    assert_eq!(log(600, 3, ALL).await.expect("readable"), []);

    let cursors = [600, 0, 1, 601, u64::MAX, 10].map(LocalCursor::new);
    let placed = store.placed(&cursors).await.expect("readable");
    let names = |row: &HeldRow| (row.cursor, row.sender, row.seq, row.push_id);
    let found = placed.iter().map(|it| (Some(it.cursor), it.sender, it.seq, it.push_id));
    assert_eq!(found.collect::<Vec<_>>(), [599, 0, 9].map(|place| names(&all[place])), "in the order of the question");
}

/// What a device lacks is counted in blobs and named by places in the local log, going by what it says of each sender.
async fn what_a_device_lacks_is_told_in_places_of_the_local_log(store: &dyn Store) {
    in_a_group(store).await;
    let third = DeviceId::from_bytes([3; 32]);
    let mut ops = vec![StoreOp::PutOwn(row(ME, 1, None))];
    ops.extend((2..=4).map(|seq| StoreOp::PutOwn(row(ME, seq, Some(seq - 1)))));
    ops.extend((1..=3).map(|seq| StoreOp::Take(row(PEER, seq, Some(3 + seq)))));
    ops.extend((1..=2).map(|seq| StoreOp::Take(row(third, seq, Some(6 + seq)))));
    ops.extend([StoreOp::Sender(sender(PEER, 3)), StoreOp::Sender(sender(third, 2))]);
    store.commit(&ops).await.expect("commits");

    let reach = |sender, received, applied| Reach {
        sender,
        received: Seq::new(received),
        applied: Seq::new(applied),
        missing: Vec::new(),
    };
    let lacks = async |reached: &[Reach]| store.lacks(&PEER, reached).await.expect("readable");
    let all = [reach(ME, 4, 4), reach(PEER, 0, 0), reach(third, 9, u64::MAX)];
    assert_eq!(lacks(&all).await, Lacks::default(), "of its own it lacks nothing");
    let some = lacks(&[reach(ME, 2, 1), reach(PEER, 0, 0), reach(third, 2, 1)]).await;
    let cursor = |cursor| Some(LocalCursor::new(cursor));
    let expected = Lacks { unreceived: 2, first_unreceived: cursor(2), first_unapplied: cursor(1), lost: 0 };
    assert_eq!(some, expected);
    let lost =
        Reach { missing: vec![(Seq::new(1), Seq::new(3)), (Seq::new(9), Seq::new(u64::MAX))], ..reach(ME, 4, 4) };
    assert_eq!(lacks(&[lost]).await, Lacks { lost: 2, ..Lacks::default() }, "what is no blob is nobody's loss");
}

/// Runs every rule on a store that `fresh` makes, beside whatever has to outlive it.
async fn keeps_the_contract<S: Store, G>(fresh: impl AsyncFn() -> (S, G)) {
    let (store, _guard) = fresh().await;
    a_profile_keeps_what_it_was_made_with(&store).await;
    let (store, _guard) = fresh().await;
    a_profile_may_be_in_a_group_from_the_start(&store).await;
    let (store, _guard) = fresh().await;
    what_is_damaged_is_found_and_mended_in_its_place(&store).await;
    let (store, _guard) = fresh().await;
    what_was_committed_is_loaded(&store).await;
    let (store, _guard) = fresh().await;
    rows_are_read_in_order_and_by_the_byte(&store).await;
    let (store, _guard) = fresh().await;
    what_a_device_lacks_is_told_in_places_of_the_local_log(&store).await;
    let (store, _guard) = fresh().await;
    a_device_that_becomes_another_keeps_its_log(&store).await;
    let (store, _guard) = fresh().await;
    snapshots_are_kept_part_by_part(&store).await;
    let (store, _guard) = fresh().await;
    what_is_let_go_leaves_its_place(&store).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    keeps_the_contract(async || (MemoryStore::default(), ())).await;
}

/// A SQLite store and the folder that lives as long as it.
async fn sqlite() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    (SqliteStore::open(dir.path(), true).await.expect("opens"), dir)
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    keeps_the_contract(sqlite).await;
}

#[tokio::test]
async fn a_failed_batch_leaves_nothing_behind() {
    let (store, _dir) = sqlite().await;
    in_a_group(&store).await;
    store.commit(&[StoreOp::PutOwn(row(ME, 1, Some(1)))]).await.expect("commits");

    // The last of these collides with what is there.
    let batch =
        [StoreOp::Take(row(PEER, 1, Some(2))), StoreOp::Sender(sender(PEER, 1)), StoreOp::PutOwn(row(ME, 1, None))];
    store.commit(&batch).await.expect_err("two envelopes in one place");
    let stored = store.load().await.expect("readable");
    assert_eq!((stored.head_cursor, stored.senders), (LocalCursor::new(1), vec![own(1)]));

    // And the next one is not hampered by what it thought it knew.
    store.commit(&batch[..2]).await.expect("commits");
    assert_eq!(store.load().await.expect("readable").senders, [own(1), sender(PEER, 1)]);
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_gets_better() {
    let (store, dir) = sqlite().await;
    in_a_group(&store).await;
    let limit = |pages: u32| sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    store.execute(limit(60)).await;
    let big = |seq| StoreOp::PutOwn(HeldRow { envelope: vec![0; 100_000].into(), ..row(ME, seq, Some(seq)) });
    // Again and again: each time it is a transaction of its own that is given up.
    for _ in 0..3 {
        let error = store.commit(&[big(1), big(2), big(3)]).await.expect_err("no room");
        assert!(matches!(error, StoreError::Full), "{error:?}");
    }
    assert_eq!(store.load().await.expect("readable").head_cursor, LocalCursor::START);

    store.execute(limit(1_000_000)).await;
    store.commit(&[big(1), big(2), big(3)]).await.expect("there is room again");
    store.close().await;
    let again = SqliteStore::open(dir.path(), false).await.expect("opens");
    assert_eq!(again.load().await.expect("readable").head_cursor, LocalCursor::new(3));
}

#[tokio::test]
async fn damage_and_the_future_are_told_apart() {
    let (store, dir) = sqlite().await;
    in_a_group(&store).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', 1, x'00', 0)";
    store.execute(newer).await;
    store.close().await;
    let error = SqliteStore::open(dir.path(), false).await.err().expect("newer");
    assert!(matches!(error, StoreError::TooNew), "{error:?}");

    let path = dir.path().join("profile.db");
    std::fs::write(&path, vec![0x5A; 40_000]).expect("writable");
    let error = SqliteStore::open(dir.path(), false).await.err().expect("damaged");
    assert!(matches!(error, StoreError::Corrupt), "{error:?}");
}

#[tokio::test]
async fn a_missing_database_is_not_made_by_opening() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    assert!(SqliteStore::open(dir.path(), false).await.is_err());
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 0);
}

/// The part a child process plays: it commits batch after batch until it is killed.
#[tokio::test]
async fn as_a_child_commit_until_killed() {
    let Some(dir) = std::env::var_os("SYNC_TEST_COMMIT") else { return };
    let store = SqliteStore::open(std::path::Path::new(&dir), true).await.expect("opens");
    in_a_group(&store).await;
    for batch in 0u64.. {
        let rows = (1..=20).map(|nth| StoreOp::PutOwn(row(ME, batch * 20 + nth, Some(batch * 20 + nth))));
        let mut ops: Vec<_> = rows.collect();
        ops.push(StoreOp::Sender(sender(PEER, batch * 20 + 20)));
        store.commit(&ops).await.expect("commits");
        std::fs::write(std::path::Path::new(&dir).join("committed"), (batch * 20 + 20).to_string()).expect("writable");
    }
}

#[tokio::test]
async fn a_killed_process_leaves_whole_batches_and_all_that_were_confirmed() {
    for pause_ms in [80, 150, 310] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "store::contract::as_a_child_commit_until_killed"])
            .env("SYNC_TEST_COMMIT", dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        let confirmed = || std::fs::read_to_string(dir.path().join("committed")).ok()?.parse::<u64>().ok();
        while confirmed().is_none() {
            assert!(child.try_wait().expect("a child").is_none(), "the child ended by itself");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        child.kill().expect("it runs");
        child.wait().expect("it ends");

        let store = SqliteStore::open(dir.path(), false).await.expect("opens");
        let stored = store.load().await.expect("readable");
        let head = stored.head_cursor.get();
        // Killed between truncating and writing, the note may be empty: then any whole number of batches will do.
        assert!(head >= confirmed().unwrap_or(20), "{head} of {:?} confirmed", confirmed());
        assert_eq!(head % 20, 0, "half a batch");
        assert_eq!(stored.senders, [own(head), sender(PEER, head)]);
        let (rows, _) = store.read(Load::Own { from: Seq::new(1), bytes: ALL }).await.expect("readable");
        assert_eq!(rows.len() as u64, head);
    }
}

/// Not a benchmark: a guard against a statement for every row, which takes ten times as long.
#[tokio::test]
async fn fifty_thousand_rows_go_in_quickly() {
    let (store, _dir) = sqlite().await;
    in_a_group(&store).await;
    let started = std::time::Instant::now();
    for page in 0..50 {
        let ops: Vec<_> =
            (1..=1_000).map(|nth| StoreOp::Take(row(PEER, page * 1_000 + nth, Some(page * 1_000 + nth)))).collect();
        store.commit(&ops).await.expect("commits");
    }
    println!("50,000 rows in 50 batches: {:?}", started.elapsed());
    assert_eq!(store.cursors().await.expect("readable").0, LocalCursor::new(50_000));
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}
