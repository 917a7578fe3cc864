//! What the contract can't see: files, crashes, and where the numbers end.

mod mending;

use sync_types::{BlobHash, Kind};

use super::*;
use crate::store::contract;

async fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(&folder.join("relay.db"), contract::BOUNDS).await.expect("opens")
}

#[tokio::test]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().expect("temporary folder");
    contract::check(async || {
        let store = open(folder.path()).await;
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_of_moves() {
    let folder = tempfile::tempdir().expect("temporary folder");
    contract::moving::check(async || {
        let store = open(folder.path()).await;
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_of_moves_where_room_is_short() {
    let folder = tempfile::tempdir().expect("temporary folder");
    contract::moving::check_where_room_is_short(async || {
        let store = open(folder.path()).await;
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn keeps_the_contract_of_moves_where_it_is_crowded() {
    let folder = tempfile::tempdir().expect("temporary folder");
    contract::moving::check_where_it_is_crowded(async || {
        let store = open(folder.path()).await;
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn keeps_the_contract_of_snapshots() {
    let folder = tempfile::tempdir().expect("temporary folder");
    contract::snapshots::check(async || {
        let store = open(folder.path()).await;
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("relay.db"), [7; 8_192]).expect("written");
    let opened = SqliteStore::open(&folder.path().join("relay.db"), contract::BOUNDS).await;
    assert_eq!(opened.err(), Some(StoreError::Corrupt));
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("temporary folder");
    open(folder.path()).await.close().await;
    let path = folder.path().join("relay.db");
    let mut db = SqliteConnectOptions::new().filename(&path).connect().await.expect("opens");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&mut db)
    .await
    .expect("written");
    drop(db);
    let opened = SqliteStore::open(&path, contract::BOUNDS).await;
    assert_eq!(opened.err(), Some(StoreError::TooNew));
}

fn greeting(n: u8) -> Greeting {
    let (group, device) = (RelayGroupId::from_bytes([n; 32]), DeviceId::from_bytes([n; 32]));
    Greeting { group, device, read: None, new_log_id: LogId::from_bytes([n; 16]), now_ms: 0 }
}

fn blob(n: u8) -> NewBlob {
    let envelope = Bytes::from(vec![n; 400]);
    NewBlob {
        blob_id: BlobHash::of_bytes(&envelope).blob_id(),
        kind: Kind::Data,
        sender: DeviceId::from_bytes([n; 32]),
        envelope,
        received_ms: 0,
        expires_ms: None,
    }
}

#[tokio::test]
async fn what_comes_late_for_a_forgotten_group_meets_no_other_log() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bounds = Bounds { groups: 1, ..contract::BOUNDS };
    let store = SqliteStore::open(&folder.path().join("relay.db"), bounds).await.expect("opens");
    let gone = store.greet(greeting(1)).await.expect("room").log;
    // Its session is over. Its push waits for the writer with the greeting that takes the group's place.
    let late = [blob(7)].into();
    let (pushed, entered) = tokio::join!(store.append(&gone, late), store.greet(greeting(2)));
    assert_eq!(pushed, Ok(vec![Err(ErrorCode::NotFound)]));
    let entered = entered.expect("room");
    assert_ne!(entered.log.no, gone.no);
    let span = Span { after: RelayCursor::START, rows_max: 9, bytes_max: 9_000 };
    assert_eq!(store.rows(&entered.log, span, 0).await, Ok(Some(Vec::new())));
    let first = store.append(&entered.log, vec![blob(9)]).await.expect("works").remove(0);
    assert_eq!(first.expect("room").cursor, RelayCursor::new(1));
}

#[tokio::test]
async fn a_group_whose_rows_cannot_be_written_fails_alone() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    let [damaged, sound] = [1, 2].map(greeting).map(|greeting| store.greet(greeting));
    let (damaged, sound) = (damaged.await.expect("room"), sound.await.expect("room"));
    let other = SqliteConnectOptions::new().filename(folder.path().join("relay.db"));
    sqlx::query(
        "INSERT INTO entries (place, id_high, id_low, kind, run, size, received_ms) VALUES (?, 0, 0, 1, x'00', 0, 0)",
    )
    .bind(place(damaged.log.no, RelayCursor::new(1)))
    .execute(&mut other.connect().await.expect("opens"))
    .await
    .expect("written");
    let (one, two) = ([blob(1)].into(), [blob(2)].into());
    let (failed, appended) = tokio::join!(store.append(&damaged.log, one), store.append(&sound.log, two));
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    assert_eq!(appended.expect("works")[0].expect("room").cursor, RelayCursor::new(1));
}

fn expiring(n: u8) -> NewBlob {
    NewBlob { expires_ms: Some(1), ..blob(n) }
}

async fn count(folder: &Path, query: &'static str) -> i64 {
    let db = SqliteConnectOptions::new().filename(folder.join("relay.db"));
    let row = sqlx::query(query).fetch_one(&mut db.connect().await.expect("opens")).await.expect("read");
    row.try_get(0).expect("a number")
}

#[tokio::test]
async fn a_blob_is_known_in_memory_in_the_index_and_after_a_crash() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut store = open(folder.path()).await;
    let mut log = store.greet(greeting(1)).await.expect("room");
    let mut first = Vec::new();
    for n in 1..=40 {
        first.extend(store.append(&log.log, vec![expiring(n)]).await.expect("works"));
    }
    let known = async |store: &SqliteStore, log: &Greeted| {
        let again = store.append(&log.log, (1..=40).map(expiring).collect()).await;
        assert_eq!(again, Ok(first.clone()));
        for n in 1..=40 {
            assert_eq!(store.get(&log.log, blob(n).blob_id, 0).await, Ok(Some(blob(n).envelope)));
        }
    };
    known(&store, &log).await;
    let indexed = count(folder.path(), "SELECT COUNT(*) FROM blob_ids").await;
    assert!(indexed > 0 && store.shared.fresh().len() == 40 - usize::try_from(indexed).expect("few"));
    assert!(!store.shared.fresh().is_empty(), "both places are tried");

    // Not closed: what it knew in memory is gone.
    drop((store, log));
    store = open(folder.path()).await;
    log = store.greet(greeting(1)).await.expect("room");
    known(&store, &log).await;

    let all = RelayCursor::new(40);
    store.acked(&log.log, greeting(1).device, all, 0);
    let clock = ClockMark { time_ms: 2, wall_ms: 2 };
    let swept = store.sweep(Sweep { clock, devices_before_ms: 0, vacuum: false }).await.expect("works");
    assert_eq!((swept.dropped, log.head.borrow().floor_cursor), (40, all));
    assert_eq!(count(folder.path(), "SELECT COUNT(*) FROM blob_ids").await, 0, "what left is not remembered");
    assert!(store.shared.fresh().is_empty());
    let again = store.append(&log.log, vec![blob(1)]).await.expect("works").remove(0);
    assert_eq!(again.expect("room").cursor, RelayCursor::new(41));
}

/// Publishes a snapshot of one part, and leaves another part that nothing names.
async fn publish(store: &SqliteStore, log: &Arc<GroupLog>, n: u8) {
    let [part, unnamed, manifest] = [1, 2, 3].map(|other| Bytes::from([n, other].repeat(8)));
    let id = |envelope: &Bytes| BlobHash::of_bytes(envelope).blob_id();
    for envelope in [part.clone(), unnamed] {
        let part = NewPart { blob_id: id(&envelope), envelope, now_ms: 0 };
        assert_eq!(store.keep_part(log, part).await, Ok(Ok(())));
    }
    let (parts, covers, run) = (vec![id(&part)], RelayCursor::START, Run::START);
    let snapshot = NewSnapshot { blob_id: id(&manifest), envelope: manifest, parts, covers, run, now_ms: 0 };
    assert_eq!(store.publish_snapshot(log, snapshot).await, Ok(Ok(())));
}

/// How many snapshots there are, names of what they are made of, and envelopes.
async fn of_snapshots(folder: &Path) -> [i64; 3] {
    [
        count(folder, "SELECT COUNT(*) FROM snapshots").await,
        count(folder, "SELECT COUNT(*) FROM snapshot_names").await,
        count(folder, "SELECT COUNT(*) FROM snapshot_blobs").await,
    ]
}

#[tokio::test]
async fn a_forgotten_group_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    for n in [1, 2] {
        let log = store.greet(greeting(n)).await.expect("room").log;
        store.append(&log, (1..=30).map(blob).collect()).await.expect("works");
        store.append(&log, (31..=35).map(blob).collect()).await.expect("works");
        publish(&store, &log, n).await;
    }
    let clock = ClockMark { time_ms: 9, wall_ms: 9 };
    let swept = store.sweep(Sweep { clock, devices_before_ms: 9, vacuum: false }).await.expect("works");
    assert_eq!(swept.groups, 2);
    let left = "SELECT (SELECT COUNT(*) FROM blob_ids) + (SELECT COUNT(*) FROM entries)";
    assert_eq!(count(folder.path(), left).await, 0);
    assert_eq!(of_snapshots(folder.path()).await, [0; 3]);
    assert!(store.shared.fresh().is_empty());
}

fn moving(over: &[u8], to: u8) -> Moving {
    let over = over.iter().map(|n| (greeting(*n).group, Bytes::from_static(b"left"))).collect();
    Moving { group: greeting(to).group, over, remaining: Vec::new(), may_add: true, now_ms: 0 }
}

#[tokio::test]
async fn a_merged_log_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    let mut gone = Vec::new();
    for n in [1, 2, 3] {
        let log = store.greet(greeting(n)).await.expect("room").log;
        store.append(&log, (n * 50..n * 50 + 20).map(blob).collect()).await.expect("works");
        store.append(&log, (100..105).map(blob).collect()).await.expect("works");
        publish(&store, &log, n).await;
        gone.push(log.no);
    }
    gone.pop();
    let moved = store.move_group(moving(&[1, 2], 3)).await.expect("works").expect("in order");
    assert_eq!(moved.merged, 20 + 15, "five of one are the other's");
    let kept = 20 + 15 + 25;
    assert_eq!(count(folder.path(), "SELECT COUNT(*) FROM entries").await, kept);
    assert_eq!(count(folder.path(), "SELECT COUNT(*) FROM blob_ids").await, kept, "each is in the index, once");
    // One of the others', with its part, and the kept log's with what waits there.
    assert_eq!(of_snapshots(folder.path()).await, [2, 4, 5]);
    let others = "SELECT (SELECT COUNT(*) FROM devices) + (SELECT COUNT(*) FROM groups)";
    assert_eq!(count(folder.path(), others).await, 1 + 1);
    assert!(store.shared.fresh().is_empty() && store.totals().blobs == kept.cast_unsigned());
    let log = store.greet(greeting(3)).await.expect("known").log;
    let again = store.append(&log, (50..70).chain(100..120).chain(150..170).map(blob).collect()).await;
    let mut cursors: Vec<_> = again.expect("works").into_iter().map(|answer| answer.expect("known").cursor).collect();
    cursors.sort_unstable();
    cursors.dedup();
    assert_eq!(cursors.len(), 60);
    assert_eq!(log.head().cursor.get(), kept.cast_unsigned(), "all were known");
}

#[tokio::test]
async fn a_move_has_its_turn_among_what_waits() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    let log = store.greet(greeting(1)).await.expect("room").log;
    let (before, behind) = ([blob(1)].into(), [blob(2)].into());
    let (before, entered, moved, behind, late, new) = tokio::join!(
        store.append(&log, before),
        store.greet(greeting(1)),
        store.move_group(moving(&[1], 2)),
        store.append(&log, behind),
        store.greet(greeting(1)),
        store.greet(greeting(2)),
    );
    assert_eq!(before.expect("works")[0].expect("room").cursor, RelayCursor::new(1));
    assert!(entered.expect("known").log.is_over(), "it came in time to be told");
    assert_eq!(moved.expect("works").expect("in order").logs, 1);
    assert_eq!(behind, Ok(vec![Err(ErrorCode::GroupMoved)]));
    assert_eq!(late.err(), Some(StoreError::GroupMoved));
    let new = new.expect("known");
    assert_eq!((new.log.no, new.head.borrow().cursor), (log.no, RelayCursor::new(1)));
}

#[tokio::test]
async fn a_group_without_a_row_is_kept_for_what_leads_to_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bounds = Bounds { groups: 1, ..contract::BOUNDS };
    let store = SqliteStore::open(&folder.path().join("relay.db"), bounds).await.expect("opens");
    store.greet(greeting(1)).await.expect("room");
    store.move_group(moving(&[1], 2)).await.expect("works").expect("in order");
    assert_eq!(store.greet(greeting(3)).await.err(), Some(StoreError::TooManyGroups));
    assert!(store.knows(&greeting(2).group));
}

#[tokio::test]
async fn a_move_that_cannot_be_written_has_not_happened() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    let [one, two] = [1, 2].map(greeting).map(|greeting| store.greet(greeting));
    let (one, two) = (one.await.expect("room"), two.await.expect("room"));
    store.append(&one.log, (1..=30).map(blob).collect()).await.expect("works");
    store.append(&two.log, (31..=60).map(blob).collect()).await.expect("works");
    let other = SqliteConnectOptions::new().filename(folder.path().join("relay.db"));
    let mut other = other.connect().await.expect("opens");
    let rule = "CREATE TRIGGER no_more BEFORE INSERT ON moved BEGIN SELECT RAISE(FAIL, 'no more'); END";
    sqlx::query(rule).execute(&mut other).await.expect("made");
    let failed = store.move_group(moving(&[1, 2], 3)).await;
    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    for (greeted, first, next) in [(&one, 1, 71), (&two, 31, 72)] {
        assert!(!greeted.log.is_over() && store.knows(&greeted.log.group));
        let again = store.append(&greeted.log, vec![blob(first), blob(next)]).await.expect("works");
        assert_eq!([1, 31], [0, 1].map(|n: usize| again[n].expect("room").cursor.get()));
    }
    sqlx::query("DROP TRIGGER no_more").execute(&mut other).await.expect("gone");
    assert_eq!(store.move_group(moving(&[1, 2], 3)).await.expect("works").expect("in order").merged, 31);
}

#[tokio::test]
async fn there_is_an_end_to_places() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = open(folder.path()).await;
    store.greet(greeting(1)).await.expect("room");
    store.close().await;
    let db = SqliteConnectOptions::new().filename(folder.path().join("relay.db"));
    let mut db = db.connect().await.expect("opens");
    let last = place::CURSOR_MAX.get() - 1;
    sqlx::query("UPDATE groups SET head_cursor = ?1, floor_cursor = ?1, indexed_cursor = ?1")
        .bind(signed(last))
        .execute(&mut db)
        .await
        .expect("written");
    sqlx::query("UPDATE sqlite_sequence SET seq = ?").bind(place::GROUP_MAX).execute(&mut db).await.expect("written");
    drop(db);
    let store = open(folder.path()).await;
    let log = store.greet(greeting(1)).await.expect("known").log;
    let answers = store.append(&log, vec![blob(1), blob(2)]).await.expect("works");
    assert_eq!(answers[0].expect("the last place").cursor, place::CURSOR_MAX);
    assert_eq!(answers[1], Err(ErrorCode::GroupFull));
    assert_eq!(store.greet(greeting(2)).await.err(), Some(StoreError::TooManyGroups));
}

#[tokio::test]
async fn logs_that_have_no_places_together_stay_two() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut store = open(folder.path()).await;
    for n in [1, 2] {
        let log = store.greet(greeting(n)).await.expect("room").log;
        store.append(&log, vec![blob(n), blob(n + 10)]).await.expect("works");
    }
    store.close().await;
    let last = signed(place::CURSOR_MAX.get() - 1);
    let db = SqliteConnectOptions::new().filename(folder.path().join("relay.db"));
    sqlx::query("UPDATE groups SET head_cursor = ?1, floor_cursor = ?1 - 9, indexed_cursor = ?1 WHERE no = 2")
        .bind(last)
        .execute(&mut db.connect().await.expect("opens"))
        .await
        .expect("written");
    for _ in 0..2 {
        store = open(folder.path()).await;
        assert_eq!(store.move_group(moving(&[1, 2], 3)).await, Ok(Err(ErrorCode::GroupFull)));
        assert_eq!([1, 2, 3].map(|n| store.knows(&greeting(n).group)), [true, true, false]);
        store.close().await;
    }
}
