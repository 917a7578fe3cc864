//! What the disk changes: found, served to nobody, and no reason to lose what is whole.

use sync_types::Run;

use super::*;

const ALL: Span = Span { after: RelayCursor::START, rows_max: 100, bytes_max: 1 << 20 };

/// What happens to a file behind the relay's back.
async fn changed(folder: &Path, query: &'static str) {
    let db = SqliteConnectOptions::new().filename(folder.join("relay.db"));
    let done = sqlx::query(query).execute(&mut db.connect().await.expect("opens")).await.expect("works");
    assert_eq!(done.rows_affected(), 1, "{query}");
}

/// A relay that was stopped with a log of forty rows, two snapshots and two devices in its file, and is started again.
async fn stopped(folder: &Path) -> SqliteStore {
    let store = open(folder).await;
    let log = store.greet(greeting(1)).await.expect("room").log;
    store.greet(Greeting { device: DeviceId::from_bytes([2; 32]), ..greeting(1) }).await.expect("room");
    store.append(&log, (1..=40).map(blob).collect()).await.expect("works");
    store.acked(&log, greeting(1).device, RelayCursor::new(40), 0);
    publish(&store, &log, 1).await;
    publish(&store, &log, 2).await;
    let other = store.greet(greeting(9)).await.expect("room").log;
    store.append(&other, (1..=5).map(blob).collect()).await.expect("works");
    drop((log, other));
    store.close().await;
    open(folder).await
}

async fn enter(store: &SqliteStore) -> Greeted {
    store.greet(Greeting { new_log_id: LogId::from_bytes([7; 16]), ..greeting(1) }).await.expect("known")
}

/// The log has these blobs, numbered and chained anew, in one that is not the log it was.
async fn begins_anew_with(store: &SqliteStore, old: &GroupLog, numbers: &[u8]) -> Greeted {
    assert!(old.is_over());
    assert_eq!(store.rows(old, ALL, 0).await, Err(StoreError::GroupMoved));
    let new = enter(store).await;
    assert!(new.log.no != old.no && new.log.log_id != old.log_id);
    assert_ne!(new.log.log_id, LogId::from_bytes([7; 16]), "it is there for whoever greets");
    let rows = store.rows(&new.log, ALL, 0).await.expect("works").expect("from the start");
    assert_eq!(rows.iter().map(|row| row.blob_id).collect::<Vec<_>>(), ids_of(numbers));
    let mut run = Run::START;
    for (row, n) in rows.iter().zip(numbers) {
        run = run.then(&row.blob_id);
        assert_eq!(store.run_at(&new.log, row.cursor).await, Ok(Some(run)));
        assert_eq!(row.envelope, Some(blob(*n).envelope));
        assert_eq!(store.get(&new.log, row.blob_id, 0).await, Ok(Some(blob(*n).envelope)));
    }
    assert_eq!((new.log.head().run, new.log.head().floor_cursor), (run, RelayCursor::START));
    new
}

fn ids_of(numbers: &[u8]) -> Vec<BlobId> {
    numbers.iter().map(|n| blob(*n).blob_id).collect()
}

fn all_but(n: u8) -> Vec<u8> {
    (1..=40).filter(|other| *other != n).collect()
}

#[tokio::test]
async fn a_log_goes_on_without_what_is_damaged_and_takes_it_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = stopped(folder.path()).await;
    let old = enter(&store).await.log;
    let snapshots = old.snapshots.borrow().clone();
    assert_eq!(snapshots.len(), 2);
    changed(folder.path(), "UPDATE entries SET envelope = zeroblob(400) WHERE place = (1 << 35) + 17").await;
    assert_eq!(store.rows(&old, ALL, 0).await, Err(StoreError::GroupMoved));

    let new = begins_anew_with(&store, &old, &all_but(17)).await;
    assert_eq!((store.totals().damaged, store.totals().blobs, store.totals().groups), (1, 39 + 5, 2));
    assert_eq!(*new.log.snapshots.borrow(), snapshots);
    let devices = "SELECT COUNT(*) FROM devices WHERE acked = 0 AND group_no = (SELECT MAX(no) FROM groups)";
    assert_eq!(count(folder.path(), devices).await, 2, "each is waited for, as having read nothing");
    for (n, cursor) in [(16, 16), (18, 17), (40, 39), (17, 40)] {
        let again = store.append(&new.log, vec![blob(n)]).await.expect("works").remove(0);
        assert_eq!(again.expect("room").cursor, RelayCursor::new(cursor));
    }
    // What came late for the log that is over met no other.
    store.acked(&old, greeting(1).device, RelayCursor::new(40), 0);
    assert_eq!(store.append(&old, vec![blob(50)]).await, Ok(vec![Err(ErrorCode::GroupMoved)]));
    store.close().await;

    let store = open(folder.path()).await;
    let log = enter(&store).await.log;
    let rows = store.rows(&log, ALL, 0).await.expect("works").expect("from the start");
    assert_eq!(rows.len(), 40);
    assert_eq!(log.log_id, new.log.log_id);
    assert_eq!(count(folder.path(), devices).await, 2);
    let left = "SELECT COUNT(*) FROM blob_ids WHERE place NOT IN (SELECT place FROM entries)";
    assert_eq!(count(folder.path(), left).await, 0, "the index has what is there");
}

#[tokio::test]
async fn a_name_or_a_run_that_is_damaged_costs_no_more_than_that() {
    let damages: [(&str, Vec<u8>); 5] = [
        ("UPDATE entries SET id_low = id_low + 1 WHERE place = (1 << 35) + 9", all_but(9)),
        ("UPDATE entries SET id_high = id_high + 1 WHERE place = (1 << 35) + 40", all_but(40)),
        ("UPDATE entries SET run = zeroblob(32) WHERE place = (1 << 35) + 9", (1..=40).collect()),
        ("UPDATE entries SET run = zeroblob(32) WHERE place = (1 << 35) + 1", (1..=40).collect()),
        ("DELETE FROM entries WHERE place = (1 << 35) + 30", all_but(30)),
    ];
    for (damage, left) in damages {
        let folder = tempfile::tempdir().expect("temporary folder");
        let store = stopped(folder.path()).await;
        let old = enter(&store).await.log;
        changed(folder.path(), damage).await;
        assert_eq!(store.inspect(1 << 20).await, Ok(()));
        begins_anew_with(&store, &old, &left).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_by_name_is_looked_at_as_well() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = stopped(folder.path()).await;
    let old = enter(&store).await.log;
    changed(folder.path(), "UPDATE entries SET envelope = zeroblob(400) WHERE place = (1 << 35) + 3").await;
    assert_eq!(store.get(&old, blob(2).blob_id, 0).await, Ok(Some(blob(2).envelope)));
    assert_eq!(store.get(&old, blob(3).blob_id, 0).await, Err(StoreError::GroupMoved));
    begins_anew_with(&store, &old, &all_but(3)).await;
}

#[tokio::test]
async fn what_is_whole_stays_what_it_is() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = stopped(folder.path()).await;
    // A few rows at a time, from one start to the next, and around again.
    let place = || count(folder.path(), "SELECT place FROM inspection");
    let mut stops = vec![place().await];
    let mut store = store;
    loop {
        assert_eq!(store.inspect(1).await, Ok(()));
        stops.push(place().await);
        if place().await == 0 {
            break;
        }
        store.close().await;
        store = open(folder.path()).await;
    }
    assert!(stops.len() >= 45 / 4 && stops[..stops.len() - 1].is_sorted(), "{stops:?}");
    let log = enter(&store).await.log;
    assert!(!log.is_over());
    // Somebody says that it is damaged, and it is not.
    assert_eq!(store.mend(&log).await, StoreError::Corrupt);
    assert_eq!((log.is_over(), store.totals().damaged), (false, 0));
    assert_eq!(store.rows(&log, ALL, 0).await.expect("works").map(|rows| rows.len()), Some(40));
}

#[tokio::test]
async fn a_front_that_is_gone_is_not_missed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    let log = store.greet(greeting(1)).await.expect("room").log;
    store.append(&log, (1..=5).map(expiring).chain((6..=9).map(blob)).collect()).await.expect("works");
    store.acked(&log, greeting(1).device, RelayCursor::new(9), 0);
    let clock = ClockMark { time_ms: 2, wall_ms: 2 };
    let swept = store.sweep(Sweep { clock, devices_before_ms: 0, vacuum: false }).await.expect("works");
    assert_eq!(swept.dropped, 5);
    assert_eq!(store.mend(&log).await, StoreError::Corrupt, "nothing is wrong with it");
    changed(folder.path(), "UPDATE entries SET envelope = zeroblob(400) WHERE place = (1 << 35) + 8").await;
    assert_eq!(store.mend(&log).await, StoreError::GroupMoved);
    begins_anew_with(&store, &log, &[6, 7, 9]).await;
}

#[tokio::test]
async fn a_snapshot_with_a_damaged_part_is_let_go_of() {
    for nobody_asks in [false, true] {
        a_damaged_part(nobody_asks).await;
    }
}

async fn a_damaged_part(nobody_asks: bool) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = stopped(folder.path()).await;
    let log = enter(&store).await.log;
    let part = |n: u8| BlobHash::of_bytes(&[n, 1].repeat(8)).blob_id();
    let before = log.snapshots.borrow().clone();
    changed(
        folder.path(),
        "UPDATE snapshot_blobs SET envelope = zeroblob(16) WHERE envelope = x'01010101010101010101010101010101'",
    )
    .await;
    if nobody_asks {
        assert_eq!(store.inspect(1 << 20).await, Ok(()));
    }
    assert_eq!(store.get(&log, part(1), 0).await, Ok(None));
    assert_eq!(*log.snapshots.borrow(), before[1..], "whoever listens is told");
    assert!(store.get(&log, part(2), 0).await.expect("works").is_some());
    assert_eq!((log.is_over(), store.totals().damaged), (false, 1));
    // Whoever has it publishes it again: it is no longer there already.
    publish(&store, &log, 1).await;
    assert!(store.get(&log, part(1), 0).await.expect("works").is_some());
    assert_eq!(log.snapshots.borrow().len(), 2);
}
