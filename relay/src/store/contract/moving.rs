//! What every store must do when a group gets another id.

use std::{collections::BTreeSet, ops::AsyncFn, sync::Arc};

use bytes::Bytes;
use sync_types::{
    BlobHash, ErrorCode, Header, KeyId, Kind, LogId, RelayCursor, RelayGroupId, Run,
    envelope::{HEADER_LEN, SIGNATURE_LEN, TAG_LEN},
    limits::{BODY_LEN_MIN, MOVED_BYTES_MAX, MOVED_PACKAGES_MAX, MOVED_TTL_S, relay_defaults::CONTROL_RESERVE},
};

use super::{BOUNDS, append, blob, device, enter, enter_at, expiring, group, page, sweep};
use crate::store::{Greeted, Moved, Moving, NewBlob, Span, Store, StoreError};

/// Runs the suite. `open` opens the same store each time, which is closed before.
pub(crate) async fn check(open: impl AsyncFn() -> Arc<dyn Store>) {
    let store = open().await;
    what_leads_nowhere_leaves_in_time(&*store).await;
    what_leads_nowhere_makes_room_among_itself(&*store).await;
    a_renamed_log_stays_what_it_is(&*store).await;
    by_an_id_that_is_over_nothing_is_read_written_or_begun(&*store).await;
    logs_become_one_behind_the_one_that_is_there(&*store).await;
    of_several_logs_the_largest_stays(&*store).await;
    devices_that_do_not_remain_are_waited_for_no_longer(&*store).await;
    repeating_changes_nothing_and_needs_no_leave(&*store).await;
    nothing_is_moved_onto_an_id_that_is_over(&*store).await;
    where_nothing_is_nothing_is_made(&*store).await;
    rows_that_race_a_move_are_in_the_log_or_refused(&store).await;
    an_id_has_so_many_packages_and_bytes(&*store).await;
    store.close().await;
    drop(store);
    let store = open().await;
    a_restart_keeps_what_was_left(&*store).await;
    store.close().await;
}

/// Runs what takes a store in which nothing is yet: what leads to a log is kept, and fills it.
pub(crate) async fn check_where_room_is_short(open: impl AsyncFn() -> Arc<dyn Store>) {
    let store = open().await;
    it_works_where_there_is_no_room(&*store).await;
    a_group_has_its_share_and_no_other_can_take_it(&*store).await;
    store.close().await;
}

/// Runs what takes many groups.
pub(crate) async fn check_where_it_is_crowded(open: impl AsyncFn() -> Arc<dyn Store>) {
    let store = open().await;
    a_group_that_is_here_is_not_crowded_out(&*store).await;
    store.close().await;
}

/// An id of this suite, which nobody has a log under yet.
fn id(n: u16) -> RelayGroupId {
    let mut bytes = [0xEE; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    RelayGroupId::from_bytes(bytes)
}

fn package(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Everybody remains, and each id is left a package that names it.
fn moving(over: &[RelayGroupId], to: RelayGroupId) -> Moving {
    let over = over.iter().map(|id| (*id, package(&format!("{id:?}")))).collect();
    Moving { group: to, over, remaining: (1..=9).map(device).collect(), may_add: true, now_ms: 0 }
}

async fn moved(store: &dyn Store, moving: Moving) -> Moved {
    store.move_group(moving).await.expect("the store works").expect("it is in order")
}

async fn refused(store: &dyn Store, moving: Moving) -> ErrorCode {
    store.move_group(moving).await.expect("the store works").expect_err("refused")
}

async fn left(store: &dyn Store, id: &RelayGroupId) -> Option<Vec<Bytes>> {
    assert!(!store.knows(id) || store.packages(id).await == Ok(None), "an id with a log is not over");
    store.packages(id).await.expect("the store works")
}

/// The blobs of a log, in their order, and its run, which is what they make it.
async fn blobs(store: &dyn Store, greeted: &Greeted) -> Vec<NewBlob> {
    greeted.log.tail().clear();
    let (mut blobs, mut run) = (Vec::new(), greeted.log.head().floor_run);
    let floor = greeted.log.head().floor_cursor.get();
    loop {
        let rows = page(store, greeted, floor + blobs.len() as u64, 50, 0).await;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            run = run.then(&row.blob_id);
            assert_eq!(store.run_at(&greeted.log, row.cursor).await, Ok(Some(run)));
            assert_eq!(store.get(&greeted.log, row.blob_id, 0).await, Ok(row.envelope.clone()));
            blobs.push(NewBlob {
                blob_id: row.blob_id,
                expires_ms: row.expires_ms,
                received_ms: row.received_ms,
                ..NewBlob { envelope: row.envelope.unwrap_or_default(), ..blob(0, 0) }
            });
        }
    }
    assert_eq!(greeted.log.head().run, run);
    assert_eq!(greeted.log.head().cursor.get(), floor + blobs.len() as u64);
    blobs
}

/// Fills a group's log with blobs made from these numbers.
async fn filled(store: &dyn Store, id: RelayGroupId, numbers: impl IntoIterator<Item = u32>) -> Greeted {
    let greeted = enter(store, id, device(1)).await;
    for n in numbers {
        append(store, &greeted, blob(n, 10)).await.expect("room");
    }
    greeted
}

fn numbers(blobs: &[NewBlob]) -> Vec<u32> {
    let number = |blob: &NewBlob| u32::try_from(blob.received_ms).expect("it is the number");
    blobs.iter().map(number).collect()
}

/// A blob that is an envelope.
fn sealed(n: u32) -> NewBlob {
    let header = Header {
        kind: Kind::Data,
        epoch: 0,
        key_id: KeyId::from_bytes([0; 16]),
        sender: device(7),
        ttl_s: 0,
        nonce: [0; 24],
    };
    let mut envelope = header.to_bytes().to_vec();
    envelope.resize(HEADER_LEN + BODY_LEN_MIN + TAG_LEN + SIGNATURE_LEN, 0);
    envelope[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&n.to_le_bytes());
    NewBlob { blob_id: BlobHash::of_bytes(&envelope).blob_id(), envelope: envelope.into(), ..blob(n, 0) }
}

async fn a_renamed_log_stays_what_it_is(store: &dyn Store) {
    let old = filled(store, id(1), 1..=40).await;
    let (head, rows) = (old.log.head(), blobs(store, &old).await);
    let totals = store.totals();
    assert_eq!(moved(store, moving(&[id(1)], id(2))).await, Moved { packages: 1, logs: 1, merged: 0 });
    assert_eq!((store.totals().groups, store.totals().blobs), (totals.groups, totals.blobs));

    let new = enter_under_another_id(store, id(2), 0xFF).await;
    assert_eq!((new.log.log_id, new.log.head()), (old.log.log_id, head));
    let same = blobs(store, &new).await;
    assert_eq!(numbers(&same), numbers(&rows));
    assert_eq!(append(store, &new, blob(7, 10)).await.expect("known").cursor, RelayCursor::new(7));
    assert_eq!(append(store, &new, blob(41, 10)).await.expect("room").cursor, RelayCursor::new(41));
}

/// Enters, offering a log id that only a new log takes.
async fn enter_under_another_id(store: &dyn Store, group: RelayGroupId, log_id: u8) -> Greeted {
    let greeting = crate::store::Greeting {
        group,
        device: device(1),
        read: None,
        new_log_id: LogId::from_bytes([log_id; 16]),
        now_ms: 0,
    };
    store.greet(greeting).await.expect("room")
}

async fn by_an_id_that_is_over_nothing_is_read_written_or_begun(store: &dyn Store) {
    let old = filled(store, id(3), 1..=3).await;
    let other = filled(store, id(4), 4..=5).await;
    moved(store, moving(&[id(3), id(4)], id(5))).await;
    let new = enter(store, id(5), device(1)).await;
    append(store, &new, blob(9, 10)).await.expect("room");
    for log in [&old, &other] {
        assert!(log.log.is_over());
        assert_eq!(append(store, log, blob(10, 10)).await, Err(ErrorCode::GroupMoved));
        assert_eq!(append(store, log, blob(1, 10)).await, Err(ErrorCode::GroupMoved), "known or not");
        let span = Span { after: RelayCursor::START, rows_max: 9, bytes_max: 9_000 };
        assert_eq!(store.rows(&log.log, span, 0).await, Err(StoreError::GroupMoved));
        assert_eq!(store.get(&log.log, blob(9, 10).blob_id, 0).await, Err(StoreError::GroupMoved));
        for cursor in [RelayCursor::START, RelayCursor::new(1), log.log.head().cursor] {
            assert_eq!(store.run_at(&log.log, cursor).await, Err(StoreError::GroupMoved));
        }
        store.acked(&log.log, device(1), RelayCursor::new(3), 0);
    }
    for over in [id(3), id(4)] {
        assert!(!store.knows(&over));
        assert_eq!(enter_at(store, over, device(1), 0).await.err(), Some(StoreError::GroupMoved));
        assert_eq!(left(store, &over).await, Some(vec![package(&format!("{over:?}"))]));
    }
    assert_eq!(left(store, &id(5)).await, None);
    assert_eq!(numbers(&blobs(store, &new).await), [1, 2, 3, 4, 5, 9]);
}

async fn logs_become_one_behind_the_one_that_is_there(store: &dyn Store) {
    let mut there = filled(store, id(10), 1..=30).await;
    let one = filled(store, id(11), 25..=50).await;
    append(store, &one, expiring(51, 10, 7_777)).await.expect("room");
    append(store, &one, expiring(52, 10, 1)).await.expect("room");
    append(store, &one, blob(53, 10)).await.expect("room");
    let two = filled(store, id(12), [60, 50, 1]).await;
    append(store, &two, sealed(61)).await.expect("room");
    let _ = (one, two);
    assert_eq!(sweep(store, 1, 0).await.expired, 1, "the envelope of 52");
    let blobs_before = store.totals().blobs;
    there.head.borrow_and_update();

    let did = moved(store, moving(&[id(11), id(12)], id(10))).await;
    assert_eq!(did, Moved { packages: 2, logs: 2, merged: 24 });
    assert!(there.head.has_changed().expect("open"), "whoever reads it is told");
    assert_eq!(there.head.borrow().cursor, RelayCursor::new(54));
    let newest = there.head.borrow().newest.expect("it is known");
    assert_eq!((newest.blob_id, newest.sender, newest.received_ms), (sealed(61).blob_id, device(7), 61));
    let rows = blobs(store, &there).await;
    let expected: Vec<u32> = (1..=30).chain(31..=51).chain([53, 60, 61]).collect();
    assert_eq!(numbers(&rows), expected);
    for (row, n) in rows.iter().zip(expected) {
        let envelope = if n == 61 { sealed(n).envelope } else { blob(n, 10).envelope };
        assert_eq!((&row.envelope, row.received_ms), (&envelope, n.into()));
    }
    assert_eq!(rows.iter().filter_map(|row| row.expires_ms).collect::<Vec<_>>(), [7_777]);
    assert_eq!(store.totals().blobs, blobs_before - 6 - 2, "those that were in two logs");
    for (cursor, known) in [(30, blob(30, 10)), (31, blob(31, 10)), (52, blob(53, 10)), (54, sealed(61))] {
        assert_eq!(append(store, &there, known).await.expect("known").cursor, RelayCursor::new(cursor));
    }
    assert_eq!(append(store, &there, blob(52, 10)).await.expect("new here").cursor, RelayCursor::new(55));
    // What is kept was added up.
    let kept = 54 * 10 + sealed(61).envelope.len();
    append(store, &there, blob(70, BOUNDS_GROUP - kept)).await.expect("exactly full");
    assert_eq!(append(store, &there, blob(71, 1)).await, Err(ErrorCode::GroupFull));
}

const BOUNDS_GROUP: usize = 20_000;
const _: () = assert!(BOUNDS.group_bytes == BOUNDS_GROUP as u64);

async fn of_several_logs_the_largest_stays(store: &dyn Store) {
    let small = filled(store, id(20), [1]).await;
    let first = filled(store, id(21), [2, 3, 4]).await;
    let second = filled(store, id(22), [5, 6, 7]).await;
    let _ = (small, second);
    moved(store, moving(&[id(20), id(21), id(22), id(21)], id(23))).await;
    let new = enter_under_another_id(store, id(23), 0xFF).await;
    assert_eq!(new.log.log_id, first.log.log_id, "of two alike the first");
    assert_eq!(numbers(&blobs(store, &new).await), [2, 3, 4, 1, 5, 6, 7]);
    assert_eq!(store.run_at(&new.log, RelayCursor::new(3)).await, Ok(Some(first.log.head().run)));
}

async fn devices_that_do_not_remain_are_waited_for_no_longer(store: &dyn Store) {
    let expired = |n| expiring(n, 10, 5);
    let floor = async |greeted: &Greeted| {
        sweep(store, 5, 0).await;
        greeted.log.head().floor_cursor.get()
    };
    // Renamed: device 2 is removed, 3 has read two rows, 1 all.
    let old = enter(store, id(30), device(1)).await;
    for n in 2..=3 {
        enter(store, id(30), device(n)).await;
    }
    for n in 1..=4 {
        append(store, &old, expired(n)).await.expect("room");
    }
    store.acked(&old.log, device(1), RelayCursor::new(4), 0);
    store.acked(&old.log, device(3), RelayCursor::new(2), 0);
    assert_eq!(floor(&old).await, 0, "device 2 has read nothing");
    let remaining = vec![device(1), device(3)];
    moved(store, Moving { remaining: remaining.clone(), ..moving(&[id(30)], id(31)) }).await;
    let new = enter(store, id(31), device(1)).await;
    assert_eq!(floor(&new).await, 2, "what device 3 has read is known");

    // Merged into another: device 3 is known there, as one that has read nothing; 2 is not.
    let there = enter(store, id(32), device(1)).await;
    append(store, &there, expired(9)).await.expect("room");
    store.acked(&there.log, device(1), RelayCursor::new(1), 0);
    let both = [device(2), device(3)].map(|device| enter(store, id(31), device));
    for entering in both {
        entering.await;
    }
    moved(store, Moving { remaining, ..moving(&[id(31)], id(32)) }).await;
    assert_eq!(floor(&there).await, 0);
    store.acked(&there.log, device(3), RelayCursor::new(1), 0);
    assert_eq!(floor(&there).await, 1, "and nobody else is waited for");
}

async fn repeating_changes_nothing_and_needs_no_leave(store: &dyn Store) {
    filled(store, id(40), [1]).await;
    let not_allowed = Moving { may_add: false, ..moving(&[id(40)], id(41)) };
    assert_eq!(refused(store, not_allowed.clone()).await, ErrorCode::RateLimited);
    assert!(store.knows(&id(40)) && left(store, &id(40)).await.is_none(), "nothing has happened");
    moved(store, Moving { may_add: true, ..not_allowed.clone() }).await;
    let totals = store.totals();
    assert_eq!(moved(store, not_allowed.clone()).await, Moved::default());
    assert_eq!(left(store, &id(40)).await.map(|packages| packages.len()), Some(1));
    assert_eq!(store.totals(), totals);

    let mut more = not_allowed;
    more.over.push((id(40), package("another")));
    assert_eq!(refused(store, more.clone()).await, ErrorCode::RateLimited, "this one is new");
    assert_eq!(moved(store, Moving { may_add: true, ..more }).await.packages, 1);
    let packages = left(store, &id(40)).await.expect("it is over");
    assert_eq!(packages, [package(&format!("{:?}", id(40))), package("another")], "the oldest first");
}

async fn nothing_is_moved_onto_an_id_that_is_over(store: &dyn Store) {
    filled(store, id(45), [1]).await;
    filled(store, id(47), [2]).await;
    moved(store, moving(&[id(45)], id(46))).await;
    assert_eq!(refused(store, moving(&[id(46)], id(45))).await, ErrorCode::GroupMoved, "in a circle");
    assert_eq!(refused(store, moving(&[id(47)], id(45))).await, ErrorCode::GroupMoved);
    assert!(store.knows(&id(46)) && store.knows(&id(47)) && !store.knows(&id(45)));
    let untouched = enter(store, id(46), device(1)).await;
    assert_eq!(numbers(&blobs(store, &untouched).await), [1]);
    moved(store, moving(&[id(47)], id(46))).await;
    // Three at once, of which only the newest has a log.
    moved(store, moving(&[id(44), id(45), id(46)], id(48))).await;
    for over in [id(44), id(45), id(46)] {
        assert!(left(store, &over).await.is_some(), "{over:?}");
        assert_eq!(enter_at(store, over, device(1), 0).await.err(), Some(StoreError::GroupMoved));
    }
    let new = enter(store, id(48), device(1)).await;
    assert_eq!(numbers(&blobs(store, &new).await), [1, 2]);
}

async fn where_nothing_is_nothing_is_made(store: &dyn Store) {
    let groups = store.totals().groups;
    assert_eq!(moved(store, moving(&[id(50)], id(51))).await, Moved { packages: 1, logs: 0, merged: 0 });
    assert_eq!(store.totals().groups, groups);
    assert!(!store.knows(&id(50)) && !store.knows(&id(51)));
    assert!(left(store, &id(50)).await.is_some() && left(store, &id(51)).await.is_none());
    let new = enter(store, id(51), device(1)).await;
    assert_eq!(new.log.head().cursor, RelayCursor::START);
}

async fn an_id_has_so_many_packages_and_bytes(store: &dyn Store) {
    filled(store, id(60), [1]).await;
    let leave = async |package: Bytes| {
        let over = vec![(id(60), package)];
        moved(store, Moving { over, ..moving(&[], id(61)) }).await
    };
    for n in 0..MOVED_PACKAGES_MAX + 3 {
        leave(package(&format!("{n}"))).await;
    }
    let expected: Vec<_> = (3..MOVED_PACKAGES_MAX + 3).map(|n| package(&format!("{n}"))).collect();
    assert_eq!(left(store, &id(60)).await, Some(expected), "the oldest made room");
    let half = |n| Bytes::from(vec![n; MOVED_BYTES_MAX / 2]);
    for n in 1..=3 {
        leave(half(n)).await;
    }
    assert_eq!(left(store, &id(60)).await, Some(vec![half(2), half(3)]));
    let whole = Bytes::from(vec![9; MOVED_BYTES_MAX]);
    leave(whole.clone()).await;
    assert_eq!(left(store, &id(60)).await, Some(vec![whole]));
    leave(package("")).await;
    assert_eq!(left(store, &id(60)).await.expect("over").len(), 2, "one of no bytes takes a place all the same");
}

async fn a_group_that_is_here_is_not_crowded_out(store: &dyn Store) {
    const MANY: u16 = MOVED_PACKAGES_MAX as u16;
    let leave = async |text: &str, to: u16| {
        let over = vec![(id(110), package(text))];
        moved(store, Moving { over, ..moving(&[], id(to)) }).await
    };
    let junk = |numbers: std::ops::Range<u16>| numbers.map(|n| package(&format!("junk {n}"))).collect::<Vec<_>>();
    filled(store, id(110), [1]).await;
    leave("old", 111).await;
    leave("ours", 111).await;
    // Whoever still has the key of the id that is over leads nowhere, as often as it likes.
    for n in 200..200 + 3 * MANY {
        leave(&format!("junk {n}"), n).await;
    }
    let newest = junk(200 + 2 * MANY + 1..200 + 3 * MANY);
    assert_eq!(left(store, &id(110)).await, Some([vec![package("ours")], newest].concat()));
    // Or to logs that it makes.
    for n in 300..300 + MANY {
        enter(store, id(n), device(1)).await;
        leave(&format!("junk {n}"), n).await;
    }
    let newest = junk(300..300 + MANY);
    assert_eq!(left(store, &id(110)).await, Some(newest.clone()));
    let aside: Vec<_> = store.aside(&id(111)).await.expect("readable").into_iter().map(|(_, left)| left).collect();
    assert_eq!(aside, newest.into_iter().rev().collect::<Vec<_>>(), "so the group hears, and repeats what it left");
    leave("ours", 111).await;
    assert_eq!(left(store, &id(110)).await, Some([junk(301..300 + MANY), vec![package("ours")]].concat()));
    // What leads to a log comes before what does not.
    leave("nowhere", 400).await;
    assert!(!left(store, &id(110)).await.expect("it is over").contains(&package("nowhere")));
}

async fn rows_that_race_a_move_are_in_the_log_or_refused(store: &Arc<dyn Store>) {
    const ROWS: u32 = 300;
    let sources = [id(70), id(71)];
    let mut tasks = Vec::new();
    for (source, base) in sources.into_iter().zip([0, 1_000]) {
        let (store, log) = (Arc::clone(store), enter(&**store, source, device(1)).await);
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = BTreeSet::new();
            for n in 1..=ROWS {
                match append(&*store, &log, blob(base + n, 10)).await {
                    Ok(_) => assert!(acknowledged.insert(base + n)),
                    Err(code) => assert_eq!(code, ErrorCode::GroupMoved),
                }
            }
            acknowledged
        }));
    }
    let mut watching = enter(&**store, sources[0], device(2)).await.head;
    watching.wait_for(|head| head.cursor >= RelayCursor::new(50)).await.expect("it is pushed to");
    moved(&**store, moving(&sources, id(72))).await;
    let mut acknowledged = BTreeSet::new();
    for task in tasks {
        acknowledged.extend(task.await.expect("no panic"));
    }
    assert!(acknowledged.len() < 2 * ROWS as usize, "it came in the middle");
    let new = enter(&**store, id(72), device(1)).await;
    assert_eq!(numbers(&blobs(&**store, &new).await).into_iter().collect::<BTreeSet<_>>(), acknowledged);
}

async fn a_restart_keeps_what_was_left(store: &dyn Store) {
    let packages = left(store, &id(40)).await.expect("it is over");
    assert_eq!(packages.len(), 2);
    assert_eq!(enter_at(store, id(40), device(1), 0).await.err(), Some(StoreError::GroupMoved));
    assert!(store.knows(&id(41)));
    let merged = enter(store, id(10), device(1)).await;
    assert_eq!(numbers(&blobs(store, &merged).await).len(), 56);
    assert_eq!(append(store, &merged, sealed(61)).await.expect("known").cursor, RelayCursor::new(54));
}

async fn what_leads_nowhere_leaves_in_time(store: &dyn Store) {
    let ttl_ms = MOVED_TTL_S * 1_000;
    enter(store, id(80), device(1)).await;
    moved(store, Moving { now_ms: 500, ..moving(&[id(80)], id(81)) }).await;
    moved(store, Moving { now_ms: 500, ..moving(&[id(85)], id(86)) }).await;
    let later = vec![(id(85), package("later"))];
    moved(store, Moving { now_ms: 900, over: later, ..moving(&[], id(86)) }).await;
    sweep(store, ttl_ms + 500, 0).await;
    assert_eq!(left(store, &id(85)).await.expect("not long ago").len(), 2);
    assert_eq!(sweep(store, ttl_ms + 501, 0).await.packages, 1);
    assert_eq!(left(store, &id(85)).await, Some(vec![package("later")]));
    assert_eq!(enter_at(store, id(85), device(1), 0).await.err(), Some(StoreError::GroupMoved));
    assert_eq!(sweep(store, ttl_ms + 901, 0).await.packages, 1);
    assert_eq!(left(store, &id(85)).await, None);
    let fresh = enter(store, id(85), device(1)).await;
    assert_eq!(fresh.log.head().run, Run::START, "what it was is forgotten");
    // Its group is there.
    assert_eq!(left(store, &id(80)).await.expect("it is over").len(), 1);
    assert_eq!(enter_at(store, id(80), device(1), 0).await.err(), Some(StoreError::GroupMoved));
}

async fn what_leads_nowhere_makes_room_among_itself(store: &dyn Store) {
    let strays = usize::try_from(16 * BOUNDS.groups).expect("few");
    enter(store, id(82), device(1)).await;
    moved(store, moving(&[id(82)], id(83))).await;
    moved(store, moving(&[id(83)], id(84))).await;
    let ids: Vec<_> = (1_000..).map(id).take(strays + 32).collect();
    for (n, ids) in (2_000..).zip(ids.chunks(32)) {
        moved(store, moving(ids, id(n))).await;
    }
    assert_eq!(left(store, &ids[31]).await, None);
    assert!(left(store, &ids[32]).await.is_some() && left(store, &ids[strays + 31]).await.is_some());
    assert!(left(store, &id(82)).await.is_some() && left(store, &id(83)).await.is_some(), "these lead to a log");
}

async fn it_works_where_there_is_no_room(store: &dyn Store) {
    let full = filled(store, id(90), [1]).await;
    let other = filled(store, id(92), [2]).await;
    let mut n = 1_000;
    'fill: for filler in 0..40 {
        let Ok(log) = enter_at(store, group(filler), device(1), 0).await else { break };
        loop {
            n += 1;
            match append(store, &log, blob(n, 4_000)).await {
                Ok(_) => {}
                Err(ErrorCode::StorageFull) => break 'fill,
                Err(code) => {
                    assert_eq!(code, ErrorCode::GroupFull);
                    break;
                }
            }
        }
    }
    assert_eq!(append(store, &full, blob(n, 4_000)).await, Err(ErrorCode::StorageFull));
    let large = || Bytes::from(vec![n.to_le_bytes()[0]; MOVED_BYTES_MAX]);
    let strays = Moving { over: vec![(id(94), large())], ..moving(&[], id(95)) };
    assert_eq!(refused(store, strays).await, ErrorCode::StorageFull, "of no group here");
    moved(store, Moving { over: vec![(id(90), large())], ..moving(&[], id(91)) }).await;
    // And whoever comes next is no worse off.
    moved(store, Moving { over: vec![(id(92), large())], ..moving(&[], id(93)) }).await;
    let _ = other;
    let new = enter(store, id(93), device(1)).await;
    let control = NewBlob { kind: Kind::Control, ..blob(3, 1_000) };
    append(store, &new, control).await.expect("removal works on a full relay");
}

async fn a_group_has_its_share_and_no_other_can_take_it(store: &dyn Store) {
    let share = usize::try_from(CONTROL_RESERVE).expect("fits") / MOVED_BYTES_MAX;
    for n in [100, 101] {
        enter(store, id(n), device(1)).await;
    }
    moved(store, moving(&[id(100)], id(102))).await;
    // Another group leaves a lot: what goes is its own, and an id that has lost its package is over all the same.
    for n in 0..=u16::try_from(share).expect("few") {
        let over = vec![(id(110 + n), Bytes::from(vec![7; MOVED_BYTES_MAX]))];
        moved(store, Moving { over, ..moving(&[], id(101)) }).await;
    }
    assert_eq!(left(store, &id(110)).await, Some(Vec::new()));
    assert_eq!(enter_at(store, id(110), device(1), 0).await.err(), Some(StoreError::GroupMoved));
    assert_eq!(left(store, &id(111)).await.expect("over").len(), 1);
    assert_eq!(left(store, &id(100)).await.expect("over").len(), 1);
    let ids: Vec<_> = (200..200 + 600).map(id).collect();
    for ids in ids.chunks(30) {
        moved(store, moving(ids, id(101))).await;
    }
    assert_eq!(left(store, &id(111)).await, None, "of ids as well there are so many");
    assert!(left(store, &id(799)).await.is_some() && left(store, &id(100)).await.is_some());
}
