//! What every store must do with snapshots.

use std::{ops::AsyncFn, sync::Arc};

use bytes::Bytes;
use sync_types::{BlobId, ErrorCode, Kind, LogId, RelayCursor, RelayGroupId, Run, limits::SNAPSHOT_PART_TTL_S};

use super::{BOUNDS, append, blob, device, enter, enter_at, expiring, group, page, sweep};
use crate::store::{
    ClockMark, Greeted, Greeting, Moving, NewBlob, NewPart, NewSnapshot, Span, Store, StoreError, Sweep,
};

/// Runs the suite. `open` opens the same store each time, which is closed before.
pub(crate) async fn check(open: impl AsyncFn() -> Arc<dyn Store>) {
    let store = open().await;
    what_is_published_is_listed_and_read(&*store).await;
    two_are_kept_and_what_they_name(&*store).await;
    one_that_is_of_no_use_here_is_refused(&*store).await;
    it_has_its_share_of_the_groups_room(&*store).await;
    parts_that_nothing_names_leave(&*store).await;
    what_two_cover_and_all_have_read_leaves(&*store).await;
    a_long_front_leaves_in_steps(&*store).await;
    a_renamed_log_keeps_them(&*store).await;
    logs_that_become_one_keep_the_newest_of_each(&*store).await;
    of_an_id_that_is_over_nothing_is_kept(&*store).await;
    store.close().await;
    drop(store);
    let store = open().await;
    a_restart_keeps_them(&*store).await;
    a_group_of_nothing_but_snapshots_stays(&*store).await;
    a_full_database_takes_none(&*store).await;
    store.close().await;
}

/// An envelope of as many bytes as its number says, 100 at least.
fn part(n: u32, now_ms: u64) -> NewPart {
    let NewBlob { blob_id, envelope, .. } = blob(n, usize::try_from(n.max(100)).expect("few"));
    NewPart { blob_id, envelope, now_ms }
}

fn id(n: u32) -> BlobId {
    part(n, 0).blob_id
}

/// A manifest of these parts, which covers all up to a row of this log.
async fn manifest(store: &dyn Store, log: &Greeted, n: u32, parts: &[u32], covers: u64) -> NewSnapshot {
    let covers = RelayCursor::new(covers);
    let run = store.run_at(&log.log, covers).await.expect("works").unwrap_or(Run::START);
    let NewPart { blob_id, envelope, now_ms } = part(n, 0);
    NewSnapshot { blob_id, envelope, parts: parts.iter().copied().map(id).collect(), covers, run, now_ms }
}

async fn keep(store: &dyn Store, log: &Greeted, part: NewPart) -> Result<(), ErrorCode> {
    store.keep_part(&log.log, part).await.expect("the store works")
}

async fn publish(store: &dyn Store, log: &Greeted, n: u32, parts: &[u32], covers: u64) -> Result<(), ErrorCode> {
    let snapshot = manifest(store, log, n, parts, covers).await;
    store.publish_snapshot(&log.log, snapshot).await.expect("the store works")
}

fn listed(log: &Greeted) -> Vec<BlobId> {
    log.log.snapshots.borrow().clone()
}

fn ids(numbers: &[u32]) -> Vec<BlobId> {
    numbers.iter().copied().map(id).collect()
}

/// Which of these can be read.
async fn there(store: &dyn Store, log: &Greeted, numbers: &[u32]) -> Vec<u32> {
    let mut there = Vec::new();
    for n in numbers {
        if let Some(envelope) = store.get(&log.log, id(*n), 0).await.expect("works") {
            assert_eq!(envelope, part(*n, 0).envelope);
            there.push(*n);
        }
    }
    there
}

/// Whether the group counts so many bytes: as many more as there is room for fit, and not one beyond.
async fn counts(store: &dyn Store, log: &Greeted, bytes: usize) {
    let room = usize::try_from(BOUNDS.group_bytes).expect("few") - bytes;
    append(store, log, blob(9_000, room)).await.expect("exactly full");
    assert_eq!(append(store, log, blob(9_001, 1)).await, Err(ErrorCode::GroupFull));
}

async fn what_is_published_is_listed_and_read(store: &dyn Store) {
    let (log, other) = (enter(store, group(1), device(1)).await, enter(store, group(2), device(2)).await);
    let mut told = log.log.snapshots.subscribe();
    assert_eq!(listed(&log), []);
    for n in [1_001, 1_002, 1_001] {
        keep(store, &log, part(n, 0)).await.expect("room");
    }
    assert_eq!(
        publish(store, &log, 10, &[1_001, 1_003, 1_002], 0).await,
        Err(ErrorCode::NotFound),
        "a part is missing"
    );
    assert!(!told.has_changed().expect("open"));
    keep(store, &log, part(1_003, 0)).await.expect("room");
    publish(store, &log, 10, &[1_003, 1_001, 1_002, 1_001], 0).await.expect("all are there");
    assert!(told.has_changed().expect("open"));
    assert_eq!(*told.borrow_and_update(), ids(&[10]));
    assert_eq!(there(store, &log, &[1_001, 1_002, 1_003, 10, 4]).await, [1_001, 1_002, 1_003, 10]);
    assert_eq!(publish(store, &log, 10, &[1_001], 0).await, Ok(()), "again");
    assert_eq!(listed(&log), ids(&[10]));
    assert_eq!((listed(&other), there(store, &other, &[1_001, 10]).await), (vec![], vec![]), "of another group");
    assert_eq!(log.head.borrow().cursor, RelayCursor::START, "it is in no log");
    counts(store, &log, 1_001 + 1_002 + 1_003 + 100).await;
}

async fn two_are_kept_and_what_they_name(store: &dyn Store) {
    let log = enter(store, group(3), device(1)).await;
    for n in 1_001..=1_005 {
        keep(store, &log, part(n, 0)).await.expect("room");
    }
    publish(store, &log, 10, &[1_001, 1_002], 0).await.expect("in order");
    publish(store, &log, 11, &[1_002, 1_003], 0).await.expect("in order");
    assert_eq!(listed(&log), ids(&[10, 11]));
    publish(store, &log, 12, &[1_004], 0).await.expect("in order");
    assert_eq!(listed(&log), ids(&[11, 12]), "the newest last");
    assert_eq!(
        there(store, &log, &[1_001, 1_002, 1_003, 1_004, 1_005, 10, 11, 12]).await,
        [1_002, 1_003, 1_004, 1_005, 11, 12]
    );
    counts(store, &log, 1_002 + 1_003 + 1_004 + 1_005 + 2 * 100).await;
}

async fn one_that_is_of_no_use_here_is_refused(store: &dyn Store) {
    let log = enter(store, group(4), device(1)).await;
    for n in 1..=6 {
        append(store, &log, if n <= 2 { expiring(n, 10, 5) } else { blob(n, 10) }).await.expect("room");
    }
    store.acked(&log.log, device(1), RelayCursor::new(6), 0);
    assert_eq!(sweep(store, 5, 0).await.dropped, 2);
    let forked = NewSnapshot { run: Run::START.then(&id(1)), ..manifest(store, &log, 10, &[], 4).await };
    for covers in [2, 4, 6, 7, u64::MAX] {
        let forked = NewSnapshot { covers: RelayCursor::new(covers), ..forked.clone() };
        assert_eq!(store.publish_snapshot(&log.log, forked).await, Ok(Err(ErrorCode::LogForked)), "{covers}");
    }
    assert_eq!(publish(store, &log, 11, &[], 1).await, Err(ErrorCode::LogForked), "that row has left");
    assert_eq!(publish(store, &log, 12, &[], 2).await, Ok(()), "of the last that left the run is known");
    assert_eq!(publish(store, &log, 13, &[], 6).await, Ok(()));
    assert_eq!(publish(store, &log, 14, &[], 5).await, Err(ErrorCode::SnapshotOutdone));
    assert_eq!(publish(store, &log, 15, &[], 1).await, Err(ErrorCode::SnapshotOutdone), "nor is its row there");
    assert_eq!(publish(store, &log, 16, &[], 0).await, Err(ErrorCode::SnapshotOutdone));
    assert_eq!(publish(store, &log, 12, &[], 2).await, Ok(()), "one that is kept is no news");
    assert_eq!(listed(&log), ids(&[12, 13]));
    assert_eq!(publish(store, &log, 17, &[], 6).await, Ok(()), "no less than the newest");
    assert_eq!(listed(&log), ids(&[13, 17]));
}

async fn it_has_its_share_of_the_groups_room(store: &dyn Store) {
    let log = enter(store, group(5), device(1)).await;
    keep(store, &log, part(19_800, 0)).await.expect("room");
    assert_eq!(keep(store, &log, part(201, 0)).await, Err(ErrorCode::GroupFull));
    keep(store, &log, part(2, 0)).await.expect("room");
    assert_eq!(
        publish(store, &log, 110, &[19_800], 0).await,
        Err(ErrorCode::GroupFull),
        "its manifest is of 110 bytes"
    );
    assert_eq!(append(store, &log, blob(1, 101)).await, Err(ErrorCode::GroupFull), "together with the log");
    assert_eq!(keep(store, &log, part(19_800, 0)).await, Ok(()), "it is there already");
    assert_eq!(listed(&log), []);
    assert_eq!(there(store, &log, &[19_800, 2, 110]).await, [19_800, 2], "what is refused is not kept");
}

async fn parts_that_nothing_names_leave(store: &dyn Store) {
    let log = enter(store, group(6), device(1)).await;
    let ttl_ms = SNAPSHOT_PART_TTL_S * 1_000;
    for n in 1..=40 {
        keep(store, &log, part(n, 500)).await.expect("room");
    }
    keep(store, &log, part(41, 500)).await.expect("room");
    keep(store, &log, part(41, 501)).await.expect("said again");
    publish(store, &log, 50, &[1, 2], 0).await.expect("in order");
    sweep(store, ttl_ms + 499, 0).await;
    assert_eq!(sweep(store, ttl_ms + 500, 0).await.parts, 0);
    let clock = ClockMark { time_ms: ttl_ms + 501, wall_ms: 0 };
    let step = store.sweep(Sweep { clock, devices_before_ms: 0, vacuum: false }).await.expect("works");
    assert!(step.more && step.parts < 38, "{step:?}");
    assert_eq!(sweep(store, ttl_ms + 501, 0).await.parts + step.parts, 38);
    assert_eq!(there(store, &log, &(1..=50).collect::<Vec<_>>()).await, [1, 2, 41, 50]);
    assert_eq!(sweep(store, ttl_ms + 502, 0).await.parts, 1);
    assert_eq!(listed(&log), ids(&[50]));
    counts(store, &log, 3 * 100).await;
}

async fn what_two_cover_and_all_have_read_leaves(store: &dyn Store) {
    let (one, two) = (enter(store, group(7), device(1)).await, enter(store, group(7), device(2)).await);
    let rows = [blob(1, 10), NewBlob { kind: Kind::Control, ..blob(2, 20) }, expiring(3, 30, 5), blob(4, 40)];
    for row in rows.into_iter().chain((5..=30).map(|n| blob(n, 10))) {
        append(store, &one, row).await.expect("room");
    }
    assert_eq!(sweep(store, 5, 0).await.expired, 1);
    let run = async |cursor| store.run_at(&one.log, RelayCursor::new(cursor)).await.expect("works");
    let (floor_run, end_run) = (run(4).await.expect("there"), run(30).await.expect("there"));
    let cut = async |acks: [u64; 2]| {
        for (n, acked) in (1..).zip(acks) {
            store.acked(&one.log, device(n), RelayCursor::new(acked), 0);
        }
        let swept = sweep(store, 5, 0).await;
        let head = one.log.head();
        (head.floor_cursor.get(), swept.dropped, swept.covered)
    };
    publish(store, &one, 100, &[], 20).await.expect("in order");
    assert_eq!(cut([30, 0]).await, (0, 0, 0));
    assert_eq!(cut([30, 4]).await, (0, 0, 0), "one snapshot may be of no use");
    publish(store, &one, 101, &[], 25).await.expect("in order");
    let blobs_before = store.totals().blobs;
    assert_eq!(cut([30, 4]).await, (4, 4, 3), "what device 2 has not read stays");
    assert_eq!(one.log.head().floor_run, floor_run);
    assert_eq!(store.totals().blobs, blobs_before - 3);
    assert_eq!(store.get(&one.log, blob(2, 20).blob_id, 0).await, Ok(None));
    assert!(store.get(&one.log, blob(5, 10).blob_id, 0).await.expect("works").is_some());
    two.log.tail().clear();
    let span = Span { after: RelayCursor::START, rows_max: 9, bytes_max: 9_000 };
    assert_eq!(store.rows(&two.log, span, 0).await, Ok(None));
    assert_eq!(page(store, &two, 4, 50, 0).await.len(), 26);
    assert_eq!(cut([30, 30]).await, (20, 16, 16), "up to what the older covers");
    assert_eq!(append(store, &one, blob(20, 10)).await.expect("room").cursor, RelayCursor::new(31), "forgotten");
    publish(store, &one, 102, &[], 30).await.expect("in order");
    assert_eq!(cut([31, 31]).await, (25, 5, 5));
    publish(store, &one, 103, &[], 30).await.expect("in order");
    assert_eq!(cut([31, 31]).await, (30, 5, 5));
    assert_eq!(one.log.head().floor_run, end_run);
    counts(store, &one, 10 + 102 + 103).await;
}

async fn a_long_front_leaves_in_steps(store: &dyn Store) {
    let log = enter(store, group(8), device(1)).await;
    for first in (1..1_200).step_by(200) {
        let rows = (first..first + 200).map(|n| blob(n, 10)).collect();
        assert!(store.append(&log.log, rows).await.expect("works").iter().all(Result::is_ok));
    }
    publish(store, &log, 10, &[], 1_200).await.expect("in order");
    publish(store, &log, 20, &[], 1_200).await.expect("in order");
    store.acked(&log.log, device(1), RelayCursor::new(1_200), 0);
    let mut steps = Vec::new();
    loop {
        let clock = ClockMark::default();
        let swept = store.sweep(Sweep { clock, devices_before_ms: 0, vacuum: false }).await.expect("works");
        steps.push(swept.covered);
        if !swept.more {
            break;
        }
    }
    assert_eq!(steps, [500, 500, 200]);
    assert_eq!(log.head.borrow().floor_cursor, log.head.borrow().cursor);
    counts(store, &log, 2 * 100).await;
}

fn named(n: u8) -> RelayGroupId {
    RelayGroupId::from_bytes([n; 32])
}

async fn move_to(store: &dyn Store, over: &[u8], to: u8) {
    let over = over.iter().map(|n| (named(*n), Bytes::from_static(b"left"))).collect();
    let moving = Moving { group: named(to), over, remaining: vec![device(1)], may_add: true, now_ms: 0 };
    store.move_group(moving).await.expect("works").expect("in order");
}

/// A log of so many rows, of which these snapshots cover so much; each names a part of its own, of the number behind it.
async fn covered(store: &dyn Store, n: u8, rows: u32, snapshots: &[(u32, u64)]) -> Greeted {
    let log = enter(store, named(n), device(1)).await;
    for row in 1..=rows {
        append(store, &log, blob(u32::from(n) * 1_000 + row, 10)).await.expect("room");
    }
    for (snapshot, covers) in snapshots {
        keep(store, &log, part(snapshot + 1, 0)).await.expect("room");
        publish(store, &log, *snapshot, &[snapshot + 1], *covers).await.expect("in order");
    }
    log
}

async fn moved_to(store: &dyn Store, n: u8) -> Greeted {
    let greeting = Greeting {
        group: named(n),
        device: device(1),
        read: None,
        new_log_id: LogId::from_bytes([0xFF; 16]),
        now_ms: 0,
    };
    store.greet(greeting).await.expect("it is there")
}

async fn a_renamed_log_keeps_them(store: &dyn Store) {
    let old = covered(store, 20, 6, &[(10, 4), (20, 6)]).await;
    keep(store, &old, part(30, 0)).await.expect("room");
    move_to(store, &[20], 21).await;
    let new = moved_to(store, 21).await;
    assert_eq!(listed(&new), ids(&[10, 20]));
    assert_eq!(there(store, &new, &[10, 11, 20, 21, 30]).await, [10, 11, 20, 21, 30]);
    assert_eq!(store.get(&old.log, id(10), 0).await, Err(StoreError::GroupMoved));
    store.acked(&new.log, device(1), RelayCursor::new(6), 0);
    assert_eq!(sweep(store, 0, 0).await.covered, 4, "they cover what they covered");
}

async fn logs_that_become_one_keep_the_newest_of_each(store: &dyn Store) {
    // The one that is kept has none: the other's newest is there, and covers nothing.
    let small = covered(store, 30, 2, &[]).await;
    covered(store, 31, 1, &[(10, 1), (20, 1)]).await;
    let mut told = small.log.snapshots.subscribe();
    move_to(store, &[31], 30).await;
    assert!(told.has_changed().expect("open"));
    assert_eq!(*told.borrow_and_update(), ids(&[20]));
    assert_eq!(there(store, &small, &[10, 11, 20, 21]).await, [20, 21]);
    publish(store, &small, 40, &[], 3).await.expect("in order");
    store.acked(&small.log, device(1), RelayCursor::new(3), 0);
    assert_eq!(sweep(store, 0, 0).await.covered, 0, "of the two the older covers nothing");
    counts(store, &small, 3 * 10 + 200 + 100).await;

    // Both have some.
    let kept = covered(store, 32, 5, &[(50, 3), (60, 4)]).await;
    let other = covered(store, 33, 3, &[(70, 2), (80, 3)]).await;
    keep(store, &other, part(90, 0)).await.expect("room");
    move_to(store, &[32, 33], 34).await;
    let new = moved_to(store, 34).await;
    assert_eq!(new.log.log_id, kept.log.log_id);
    assert_eq!(listed(&new), ids(&[80, 60]), "the kept log's is the newest");
    assert_eq!(there(store, &new, &[50, 51, 60, 61, 70, 71, 80, 81, 90]).await, [60, 61, 80, 81]);
    publish(store, &new, 100, &[], 8).await.expect("in order");
    assert_eq!(listed(&new), ids(&[60, 100]));
    store.acked(&new.log, device(1), RelayCursor::new(8), 0);
    assert_eq!(sweep(store, 0, 0).await.covered, 4);
    counts(store, &new, 4 * 10 + 200 + 100).await;

    // Both have the same.
    covered(store, 35, 2, &[(110, 2)]).await;
    covered(store, 36, 1, &[(110, 1)]).await;
    move_to(store, &[35, 36], 37).await;
    let new = moved_to(store, 37).await;
    assert_eq!((listed(&new), there(store, &new, &[110, 111]).await), (ids(&[110]), vec![110, 111]));
    counts(store, &new, 3 * 10 + 110 + 111).await;
}

async fn of_an_id_that_is_over_nothing_is_kept(store: &dyn Store) {
    let old = covered(store, 40, 1, &[]).await;
    move_to(store, &[40], 41).await;
    assert_eq!(keep(store, &old, part(1, 0)).await, Err(ErrorCode::GroupMoved));
    let snapshot =
        NewSnapshot { covers: RelayCursor::START, ..manifest(store, &moved_to(store, 41).await, 2, &[], 0).await };
    assert_eq!(store.publish_snapshot(&old.log, snapshot).await, Ok(Err(ErrorCode::GroupMoved)));
}

async fn a_restart_keeps_them(store: &dyn Store) {
    let log = enter(store, group(3), device(1)).await;
    assert_eq!(listed(&log), ids(&[11, 12]));
    assert_eq!(there(store, &log, &[1_002, 1_003, 1_004, 11, 12]).await, [1_002, 1_003, 1_004, 11, 12]);
    let full = enter(store, group(1), device(1)).await;
    assert_eq!(append(store, &full, blob(9_001, 1)).await, Err(ErrorCode::GroupFull), "what they count was remembered");
    assert_eq!(listed(&moved_to(store, 34).await), ids(&[60, 100]));
}

async fn a_group_of_nothing_but_snapshots_stays(store: &dyn Store) {
    let log = enter(store, group(60), device(1)).await;
    keep(store, &log, part(1, 0)).await.expect("room");
    publish(store, &log, 2, &[1], 0).await.expect("in order");
    drop(log);
    for n in 100..=u8::MAX {
        enter_at(store, group(n), device(1), 0).await.expect("empty ones make room");
    }
    assert!(store.knows(&group(60)));
    assert_eq!(there(store, &enter(store, group(60), device(1)).await, &[1, 2]).await, [1, 2]);
}

async fn a_full_database_takes_none(store: &dyn Store) {
    let log = enter(store, group(60), device(1)).await;
    let (mut refused, mut held) = (Vec::new(), Vec::new());
    for n in 100..=u8::MAX {
        let Ok(other) = enter_at(store, group(n), device(1), 0).await else { break };
        for n in 1..=6 {
            refused.extend(keep(store, &other, part(4_000 + n, 0)).await.err());
        }
        // A group of nothing but parts makes room for a new one, unless somebody is there.
        held.push(other);
    }
    assert!(refused.contains(&ErrorCode::GroupFull) && refused.contains(&ErrorCode::StorageFull), "{refused:?}");
    assert_eq!(keep(store, &log, part(4_003, 0)).await, Err(ErrorCode::StorageFull));
    let large = manifest(store, &log, 4_004, &[1], 0).await;
    assert_eq!(store.publish_snapshot(&log.log, large).await, Ok(Err(ErrorCode::StorageFull)));
    assert_eq!(there(store, &log, &[1, 2, 4_003, 4_004]).await, [1, 2], "reading goes on");
    let db_bytes = store.totals().db_bytes;
    assert!(db_bytes <= BOUNDS.db_bytes + 2 * 4_096, "{db_bytes}");
}
