//! What every store must do, as one suite that each backend's tests run.

pub(crate) mod moving;
pub(crate) mod snapshots;

use std::{ops::AsyncFn, sync::Arc, time::Duration};

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, DeviceId, ErrorCode, Kind, LogId, RelayCursor, RelayGroupId, Run,
    limits::{RECEIPTS_KEPT_MAX, RECEIPTS_MAX, relay_defaults::CONTROL_RESERVE},
};
use tokio::time::timeout;

use super::{
    Appended, Bounds, ClockMark, Greeted, Greeting, NewBlob, Span, Store, StoreError, StoredRow, Sweep, Swept,
};

/// What the suite expects the store to be opened with.
pub(crate) const BOUNDS: Bounds = Bounds { group_bytes: 20_000, db_bytes: 512 * 1024, groups: 40 };

/// Runs the suite. `open` opens the same store each time, which is closed before.
pub(crate) async fn check(open: impl AsyncFn() -> Arc<dyn Store>) {
    let mut store = open().await;
    appending_numbers_rows_and_chains_them(&*store).await;
    appending_again_answers_the_same_and_burns_nothing(&*store).await;
    a_blob_of_one_group_does_not_block_it_in_another(&*store).await;
    blobs_whose_ids_begin_alike_are_two(&*store).await;
    pages_end_at_their_bounds_and_hold_one_row_at_least(&*store).await;
    readers_see_every_row_in_order_while_others_append(&store).await;
    what_is_expired_is_not_served(&*store).await;
    a_full_group_takes_control_envelopes_only(&*store).await;
    tombstones_stay_until_every_device_has_read_past_them(&*store).await;
    store = a_restart_changes_nothing(store, &open).await;
    empty_groups_make_room_for_new_ones(&*store).await;
    a_full_database_refuses_and_still_serves(&*store).await;
    one_groups_control_envelopes_leave_the_others_their_reserve(&*store).await;
    groups_nobody_visits_are_forgotten_with_all_they_hold(&*store).await;
    forgotten_devices_hold_nothing_up(&*store).await;
    the_newest_receipts_are_kept(&*store).await;
    store.close().await;
}

fn group(n: u8) -> RelayGroupId {
    RelayGroupId::from_bytes([n; 32])
}

fn device(n: u8) -> DeviceId {
    DeviceId::from_bytes([n; 32])
}

async fn enter(store: &dyn Store, group: RelayGroupId, device: DeviceId) -> Greeted {
    enter_at(store, group, device, 0).await.expect("room for a group")
}

async fn enter_at(
    store: &dyn Store,
    group: RelayGroupId,
    device: DeviceId,
    now_ms: u64,
) -> Result<Greeted, StoreError> {
    let new_log_id = LogId::from_bytes([group.as_bytes()[0]; 16]);
    store.greet(Greeting { group, device, read: None, new_log_id, now_ms }).await
}

/// A blob that begins with `n`, as far as there is room.
fn blob(n: u32, len: usize) -> NewBlob {
    let mut envelope = n.to_le_bytes().to_vec();
    envelope.resize(len, u8::try_from(n % 251).expect("below 251"));
    NewBlob {
        blob_id: BlobHash::of_bytes(&envelope).blob_id(),
        kind: Kind::Data,
        sender: device(1),
        envelope: envelope.into(),
        received_ms: u64::from(n),
        expires_ms: None,
    }
}

fn expiring(n: u32, len: usize, expires_ms: u64) -> NewBlob {
    NewBlob { expires_ms: Some(expires_ms), ..blob(n, len) }
}

async fn append(store: &dyn Store, greeted: &Greeted, blob: NewBlob) -> Result<Appended, ErrorCode> {
    store.append(&greeted.log, vec![blob]).await.expect("the store works").remove(0)
}

async fn page(store: &dyn Store, greeted: &Greeted, after: u64, rows_max: usize, now_ms: u64) -> Vec<StoredRow> {
    let span = Span { after: RelayCursor::new(after), rows_max, bytes_max: 5_000 };
    store.rows(&greeted.log, span, now_ms).await.expect("the store works").expect("rows are there")
}

async fn sweep(store: &dyn Store, time_ms: u64, devices_before_ms: u64) -> Swept {
    let clock = ClockMark { time_ms, wall_ms: time_ms };
    let mut all = Swept::default();
    loop {
        let swept = store.sweep(Sweep { clock, devices_before_ms, vacuum: true }).await.expect("the store works");
        all.expired += swept.expired;
        all.dropped += swept.dropped;
        all.covered += swept.covered;
        all.parts += swept.parts;
        all.devices += swept.devices;
        all.groups += swept.groups;
        all.packages += swept.packages;
        if !swept.more {
            return all;
        }
    }
}

async fn appending_numbers_rows_and_chains_them(store: &dyn Store) {
    let log = enter(store, group(1), device(1)).await;
    let mut run = Run::START;
    for n in 1..=5 {
        let appended = append(store, &log, blob(n, 10)).await.expect("room");
        run = run.then(&blob(n, 10).blob_id);
        assert_eq!(appended, Appended { cursor: RelayCursor::new(n.into()), run, received_ms: n.into() });
        assert_eq!(store.run_at(&log.log, appended.cursor).await, Ok(Some(run)));
    }
    assert_eq!(log.head.borrow().run, run);
    assert_eq!(store.run_at(&log.log, RelayCursor::START).await, Ok(Some(Run::START)));
    assert_eq!(store.run_at(&log.log, RelayCursor::new(6)).await, Ok(None));
    assert_eq!(store.get(&log.log, blob(3, 10).blob_id, 0).await, Ok(Some(blob(3, 10).envelope)));
    assert_eq!(store.get(&log.log, blob(9, 10).blob_id, 0).await, Ok(None));
}

async fn appending_again_answers_the_same_and_burns_nothing(store: &dyn Store) {
    let log = enter(store, group(2), device(1)).await;
    let first = append(store, &log, blob(1, 10)).await;
    let blobs_before = store.totals().blobs;
    let again = store.append(&log.log, vec![blob(1, 10), blob(2, 10), blob(2, 10), blob(1, 10)]).await.expect("works");
    assert_eq!(again[0], first);
    assert_eq!(again[3], first);
    assert_eq!(again[1], again[2]);
    assert_eq!(again[1].expect("room").cursor, RelayCursor::new(2));
    assert_eq!(log.head.borrow().cursor, RelayCursor::new(2));
    assert_eq!(store.totals().blobs, blobs_before + 1);
}

async fn a_blob_of_one_group_does_not_block_it_in_another(store: &dyn Store) {
    let (one, other) = (enter(store, group(3), device(1)).await, enter(store, group(4), device(2)).await);
    append(store, &one, blob(7, 10)).await.expect("room");
    append(store, &one, blob(8, 10)).await.expect("room");
    assert_eq!(append(store, &other, blob(8, 10)).await.expect("room").cursor, RelayCursor::new(1));
    assert_eq!(store.get(&other.log, blob(7, 10).blob_id, 0).await, Ok(None), "of another group");
}

async fn blobs_whose_ids_begin_alike_are_two(store: &dyn Store) {
    let log = enter(store, group(13), device(1)).await;
    let alike = |n| {
        let mut id = [7; 16];
        id[15] = n;
        NewBlob { blob_id: BlobId::from_bytes(id), ..blob(u32::from(n), 10) }
    };
    let mut first = Vec::new();
    for n in 1..=40 {
        first.push(append(store, &log, alike(n)).await);
    }
    for n in 1..=40 {
        assert_eq!(append(store, &log, alike(n)).await, first[usize::from(n) - 1]);
    }
    assert_eq!(log.head.borrow().cursor, RelayCursor::new(40));
    let mut id = *blob(1, 10).blob_id.as_bytes();
    append(store, &log, blob(1, 10)).await.expect("room");
    id[15] ^= 1;
    assert_eq!(store.get(&log.log, BlobId::from_bytes(id), 0).await, Ok(None), "half an id is not enough");
}

async fn pages_end_at_their_bounds_and_hold_one_row_at_least(store: &dyn Store) {
    let log = enter(store, group(5), device(1)).await;
    for (n, len) in [(1, 2_000), (2, 2_000), (3, 1_000), (4, 6_000), (5, 1)] {
        append(store, &log, blob(n, len)).await.expect("room");
    }
    let lens = async |after, rows_max| {
        page(store, &log, after, rows_max, 0).await.iter().map(StoredRow::len).collect::<Vec<_>>()
    };
    // Read through the tail kept in memory, and, forgotten there, from the database.
    for _ in 0..2 {
        assert_eq!(lens(0, 9).await, [2_000, 2_000, 1_000], "exactly 5,000 bytes fit");
        assert_eq!(lens(0, 2).await, [2_000, 2_000]);
        assert_eq!(lens(1, 9).await, [2_000, 1_000]);
        assert_eq!(lens(3, 9).await, [6_000], "over the bound, but alone");
        assert_eq!(lens(4, 9).await, [1]);
        assert_eq!(lens(5, 9).await, [0; 0]);
        log.log.tail().clear();
    }
}

async fn readers_see_every_row_in_order_while_others_append(store: &Arc<dyn Store>) {
    const ROWS: u32 = 200;
    let writers = [enter(&**store, group(6), device(1)).await, enter(&**store, group(6), device(2)).await];
    let mut reader = enter(&**store, group(6), device(3)).await;
    let tasks: Vec<_> = writers
        .into_iter()
        .zip([0, 1_000])
        .map(|(log, base)| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for n in 1..=ROWS {
                    append(&*store, &log, blob(base + n, 10)).await.expect("room");
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while seen.len() < 2 * ROWS as usize {
        let rows = page(&**store, &reader, seen.len() as u64, 50, 0).await;
        if rows.is_empty() {
            reader.head.changed().await.expect("the log is open");
        } else if seen.len() % 3 == 0 {
            reader.log.tail().clear();
        }
        for row in rows {
            assert_eq!(row.cursor.get(), seen.len() as u64 + 1);
            seen.push(row.blob_id);
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2 * ROWS as usize, "every blob once");
}

async fn what_is_expired_is_not_served(store: &dyn Store) {
    let log = enter(store, group(7), device(1)).await;
    append(store, &log, expiring(1, 10, 100)).await.expect("room");
    append(store, &log, blob(2, 10)).await.expect("room");
    let held = async |now_ms| {
        page(store, &log, 0, 9, now_ms).await.iter().map(|row| row.envelope.is_some()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(held(99).await, [true, true]);
        assert_eq!(held(100).await, [false, true]);
        log.log.tail().clear();
    }
    assert!(store.get(&log.log, blob(1, 10).blob_id, 99).await.expect("works").is_some());
    assert!(store.get(&log.log, blob(1, 10).blob_id, 100).await.expect("works").is_none());
    assert_eq!(sweep(store, 100, 0).await.expired, 1);
    assert_eq!(held(100).await, [false, true]);
    assert_eq!(append(store, &log, blob(1, 10)).await.expect("known").cursor, RelayCursor::new(1), "still known");
}

async fn a_full_group_takes_control_envelopes_only(store: &dyn Store) {
    let log = enter(store, group(8), device(1)).await;
    append(store, &log, blob(1, 19_000)).await.expect("room");
    append(store, &log, blob(2, 1_000)).await.expect("exactly full");
    assert_eq!(append(store, &log, blob(3, 1)).await, Err(ErrorCode::GroupFull));
    let control = |n, len| NewBlob { kind: Kind::Control, ..blob(n, len) };
    assert_eq!(append(store, &log, control(4, 60_000)).await.expect("reserve").cursor, RelayCursor::new(3));
    let reserve = usize::try_from(CONTROL_RESERVE).expect("fits");
    assert_eq!(append(store, &log, control(5, reserve)).await, Err(ErrorCode::GroupFull), "bounded as well");
    let answers = store.append(&log.log, vec![blob(6, 500), blob(2, 1_000)]).await.expect("works");
    assert_eq!(answers[0], Err(ErrorCode::GroupFull));
    assert!(answers[1].is_ok(), "one refusal is not the next one's");
}

async fn tombstones_stay_until_every_device_has_read_past_them(store: &dyn Store) {
    let slow = enter(store, group(9), device(1)).await;
    let fast = enter(store, group(9), device(2)).await;
    for n in 1..=4 {
        append(store, &slow, expiring(n, 100, 1_000)).await.expect("room");
    }
    append(store, &slow, blob(5, 100)).await.expect("room");
    store.acked(&fast.log, device(2), RelayCursor::new(5), 0);
    assert_eq!(sweep(store, 1_000, 0).await, Swept { expired: 4, ..Swept::default() });
    assert_eq!(page(store, &slow, 0, 9, 1_000).await.len(), 5, "tombstones are served");

    store.acked(&slow.log, device(1), RelayCursor::new(3), 0);
    let run = store.run_at(&slow.log, RelayCursor::new(3)).await.expect("works").expect("there");
    assert_eq!(sweep(store, 1_000, 0).await.dropped, 3);
    let head = slow.head.borrow().clone();
    assert_eq!((head.floor_cursor, head.floor_run), (RelayCursor::new(3), run));
    assert_eq!(store.run_at(&slow.log, RelayCursor::new(3)).await, Ok(Some(run)), "the floor's run is kept");
    slow.log.tail().clear();
    let span = Span { after: RelayCursor::new(1), rows_max: 9, bytes_max: 9_000 };
    assert_eq!(store.rows(&slow.log, span, 1_000).await, Ok(None), "row 2 has left");
    assert_eq!(page(store, &slow, 3, 9, 1_000).await.len(), 2);

    store.acked(&slow.log, device(1), RelayCursor::new(5), 0);
    assert_eq!(sweep(store, 1_000, 0).await.dropped, 1, "a living row is not dropped, read or not");
}

async fn forgotten_devices_hold_nothing_up(store: &dyn Store) {
    let log = enter_at(store, group(10), device(1), 5_000).await.expect("room");
    let _ = enter_at(store, group(10), device(2), 9_000).await.expect("room");
    append(store, &log, expiring(1, 100, 9_500)).await.expect("room");
    store.acked(&log.log, device(2), RelayCursor::new(1), 9_000);
    sweep(store, 9_500, 5_000).await;
    assert_eq!(log.head.borrow().floor_cursor, RelayCursor::START, "device 1 has not read it");
    sweep(store, 9_500, 5_001).await;
    assert_eq!(log.head.borrow().floor_cursor, RelayCursor::new(1), "and is not waited for any more");
}

async fn groups_nobody_visits_are_forgotten_with_all_they_hold(store: &dyn Store) {
    sweep(store, 10_000, 10_000).await;
    assert_eq!((store.totals().groups, store.totals().blobs), (0, 0), "those of the stories so far");
    let (stranger, watched) = (group(11), group(12));
    for held in [stranger, watched] {
        let log = enter_at(store, held, device(1), 20_000).await.expect("room");
        append(store, &log, expiring(1, 100, u64::MAX)).await.expect("room");
    }
    let open = enter(store, watched, device(1)).await;
    assert_eq!(sweep(store, 30_000, 20_000).await.groups, 0, "not long ago");
    assert_eq!(sweep(store, 30_000, 20_001).await.groups, 1);
    assert!(!store.knows(&stranger) && store.knows(&watched));
    drop(open);
    assert_eq!(sweep(store, 30_000, 30_000).await.groups, 0, "whoever was connected was there");
}

/// Of each device the newest, of a group no more than its bound, and none of a device that is forgotten.
async fn the_newest_receipts_are_kept(store: &dyn Store) {
    let nth = |n: u16| {
        let mut id = [0xEE; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(id)
    };
    let (log, other) = (enter(store, group(14), nth(0)).await, enter(store, group(15), nth(0)).await);
    let mut written = log.log.receipts.subscribe();
    let keep = async |n: u16, text: &str| {
        store
            .keep_receipt(&log.log, nth(n), Bytes::copy_from_slice(text.as_bytes()))
            .await
            .expect("works")
            .expect("room");
    };
    let after = async |told| store.receipts(&log.log, &nth(0), told).await.expect("works");
    let all = async || {
        let (mut told, mut envelopes) = (0, Vec::new());
        loop {
            let read = after(told).await;
            if read.envelopes.is_empty() {
                return (told, envelopes);
            }
            assert!(read.envelopes.len() <= RECEIPTS_MAX && read.told > told);
            told = read.told;
            envelopes.extend(read.envelopes);
        }
    };
    keep(1, "old").await;
    keep(2, "other").await;
    keep(1, "new").await;
    keep(0, "own").await;
    // Nobody waits for it, but it is written before long, and that is said.
    timeout(Duration::from_secs(20), written.changed()).await.expect("is written").expect("the log is open");
    let (told, mut envelopes) = all().await;
    envelopes.sort_unstable();
    assert_eq!(envelopes, ["new", "other"].map(|text| Bytes::from_static(text.as_bytes())));
    assert_eq!(after(told).await.envelopes, [] as [Bytes; 0], "nothing is told twice");
    assert_eq!(store.receipts(&other.log, &nth(9), 0).await.expect("works").envelopes, [] as [Bytes; 0]);

    let most = u16::try_from(RECEIPTS_KEPT_MAX).expect("a few hundred");
    for n in 3..most + 20 {
        enter(store, group(14), nth(n)).await;
        keep(n, &n.to_string()).await;
    }
    sweep(store, 0, 0).await;
    let (_, envelopes) = all().await;
    assert_eq!(envelopes.len(), RECEIPTS_KEPT_MAX, "the oldest make room");
    assert_eq!(envelopes.last(), Some(&Bytes::from((most + 19).to_string())));
    sweep(store, 0, 1).await;
    assert_eq!(all().await.1.len(), 0, "nobody is remembered any more");
}

async fn a_restart_changes_nothing(store: Arc<dyn Store>, open: &impl AsyncFn() -> Arc<dyn Store>) -> Arc<dyn Store> {
    let before = enter(&*store, group(9), device(1)).await;
    let (rows, totals) = (page(&*store, &before, 4, 9, 0).await, store.totals());
    let (head, log_id) = (before.log.head(), before.log.log_id);
    store.acked(&before.log, device(1), RelayCursor::new(5), 0);
    store.close().await;
    assert_eq!(append_to_closed(&*store, &before).await, Some(StoreError::Closed));
    drop((store, before));

    let store = open().await;
    assert_eq!(store.clock(), Some(ClockMark { time_ms: 1_000, wall_ms: 1_000 }));
    let after = enter(&*store, group(9), device(1)).await;
    assert_eq!(after.log.log_id, log_id);
    assert_eq!(after.log.head(), super::Head { newest: None, ..head });
    assert_eq!(page(&*store, &after, 4, 9, 0).await, rows);
    assert_eq!((store.totals().blobs, store.totals().groups), (totals.blobs, totals.groups));
    let full = enter(&*store, group(8), device(1)).await;
    assert_eq!(append(&*store, &full, blob(9, 1)).await, Err(ErrorCode::GroupFull), "what is kept was remembered");
    store
}

async fn append_to_closed(store: &dyn Store, greeted: &Greeted) -> Option<StoreError> {
    store.append(&greeted.log, vec![blob(1, 1)]).await.err()
}

async fn empty_groups_make_room_for_new_ones(store: &dyn Store) {
    let watched = enter(store, group(50), device(1)).await;
    let known = u8::try_from(store.totals().groups).expect("few");
    for n in 0..40 - known {
        enter(store, group(100 + n), device(1)).await;
    }
    assert_eq!(store.totals().groups, 40);
    enter(store, group(200), device(1)).await;
    assert!(store.totals().groups < 40, "the empty ones left");
    assert!(store.knows(&group(50)) && store.knows(&group(1)) && !store.knows(&group(100)));
    drop(watched);

    let mut held = Vec::new();
    let refused = loop {
        let n = u8::try_from(held.len()).expect("few");
        match enter_at(store, group(100 + n), device(1), 0).await {
            Ok(greeted) => held.push(greeted),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::TooManyGroups);
}

async fn a_full_database_refuses_and_still_serves(store: &dyn Store) {
    let mut refused = Vec::new();
    for n in (0..=255).filter(|n| store.knows(&group(*n))) {
        let log = enter(store, group(n), device(1)).await;
        let answers = store.append(&log.log, (0..40).map(|i| blob(100_000 + i, 1_000)).collect()).await;
        refused.extend(answers.expect("works").into_iter().filter_map(Result::err));
    }
    assert!(refused.contains(&ErrorCode::GroupFull) && refused.contains(&ErrorCode::StorageFull), "{refused:?}");
    let log = enter(store, group(1), device(1)).await;
    let db_bytes = store.totals().db_bytes;
    // The last row may have been the first of a page, and of a page of an index.
    assert!(db_bytes <= BOUNDS.db_bytes + 2 * 4_096, "{db_bytes}");
    assert!(!page(store, &log, 0, 9, 0).await.is_empty(), "reading goes on");
    let control = NewBlob { kind: Kind::Control, ..blob(99_999, 4_000) };
    assert!(append(store, &log, control).await.is_ok(), "removal works on a full relay");
}

async fn one_groups_control_envelopes_leave_the_others_their_reserve(store: &dyn Store) {
    let control = |n, len| NewBlob { kind: Kind::Control, ..blob(n, len) };
    let greedy = enter(store, group(2), device(1)).await;
    let mut n = 200_000;
    while append(store, &greedy, control(n, 60_000)).await.is_ok() {
        n += 1;
    }
    let other = enter(store, group(3), device(1)).await;
    assert!(append(store, &other, control(200_000, 60_000)).await.is_ok());
}
