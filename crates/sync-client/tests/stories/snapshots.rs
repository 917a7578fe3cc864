//! Stories of snapshots: through a real relay, in parts, with interruptions.

use crate::support::*;
use sync_client::{BlobId, Event, LocalCursor, OpenOptions, SNAPSHOT_LEN_MAX, Snapshot, SyncClient, SyncEvent};
use sync_types::ErrorCode;

fn with_snapshots() -> OpenOptions {
    OpenOptions { snapshot_after: Some(1_000), ..OpenOptions::default() }
}

async fn couple(relay: &TestRelay) -> [Device; 2] {
    let [mut phone, mut laptop] = paired(relay).await;
    for device in [&mut phone, &mut laptop] {
        device.close().await;
        device.reopen_with(with_snapshots()).await;
    }
    [phone, laptop]
}

/// Applies so many blobs, which is all there are, and says so. Where that is.
async fn applied(client: &SyncClient, blobs: u64) -> LocalCursor {
    eventually(async || match log(client).await.len() as u64 {
        all if all == blobs => Ok(()),
        other => Err(format!("{other}")),
    })
    .await;
    let up_to = LocalCursor::new(blobs);
    client.ack(up_to).await.expect("is in the log");
    up_to
}

/// Bytes like no others, so that nothing can pack them.
fn state(len: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn kept(client: &SyncClient, publish: impl AsyncFnOnce()) {
    let mut events = client.subscribe();
    publish().await;
    let told = async {
        while !matches!(events.next().await.expect("goes on"), SyncEvent::Happened(Event::SnapshotKept { .. })) {}
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the relay keeps it");
}

async fn to_load(client: &SyncClient) -> Snapshot {
    eventually(async || {
        let there = client.latest_snapshot().await.expect("readable").is_some();
        if there { Ok(()) } else { Err(format!("{:?}", client.status())) }
    })
    .await;
    client.latest_snapshot().await.expect("readable").expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_a_large_state_in_parts_and_goes_on_where_it_was_interrupted() {
    trace();
    let mut relay = TestRelay::start().await;
    let [phone, laptop] = couple(&relay).await;
    for number in 0..50 {
        push(&laptop, &format!("{number}")).await;
    }
    in_step(&laptop).await;
    let up_to = applied(&phone, 50).await;
    let state = state(9 * 1024 * 1024 + 17);
    kept(&phone, async || phone.publish_snapshot(state.clone(), up_to).await.expect("is of now")).await;
    push(&laptop, "after").await;
    in_step(&laptop).await;

    let mut tablet = Device::new("tablet", &relay.url()).await;
    tablet.close().await;
    tablet.reopen_with(with_snapshots()).await;
    let mut events = tablet.subscribe();
    pair(&phone, &tablet).await;
    let some = async {
        loop {
            if let SyncEvent::Happened(Event::SnapshotProgress { done, .. }) = events.next().await.expect("goes on")
                && done > 0
            {
                return done;
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, some).await.expect("parts come");
    tablet.close().await;
    relay.restart().await;
    tablet.reopen_with(OpenOptions { auto_connect: false, ..with_snapshots() }).await;
    let loading = tablet.status().loading.expect("is remembered");
    assert!(loading.done >= done && loading.total == state.len() as u64, "{loading:?} of {done}");
    tablet.connect().await.expect("in a group");

    let snapshot = to_load(&tablet).await;
    assert!(snapshot.bytes == state, "every byte of it");
    assert_eq!(snapshot.sender, phone.device_id().expect("in a group"));
    assert!(texts(&tablet).await.is_empty(), "nothing is read before it is loaded");
    tablet.snapshot_loaded(snapshot.id, true).await.expect("was there");
    holds(&tablet, &["after"]).await;
    in_step(&tablet).await;
    assert_eq!(tablet.latest_snapshot().await.expect("readable"), None);
    push(&tablet, "from the tablet").await;
    eventually(async || {
        let found = texts(&phone).await;
        if found.last().is_some_and(|last| last == "from the tablet") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_snapshot_of_now_is_refused_and_loses_nothing() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = couple(&relay).await;
    push(&laptop, "one").await;
    in_step(&laptop).await;
    holds(&phone, &["one"]).await;
    let head = LocalCursor::new(1);
    assert_eq!(code(phone.publish_snapshot("x", head).await), ErrorCode::SnapshotOutdated, "is not acknowledged");
    phone.ack(head).await.expect("is in the log");
    assert_eq!(code(phone.publish_snapshot("x", LocalCursor::new(7)).await), ErrorCode::SnapshotOutdated);
    let large = vec![0; SNAPSHOT_LEN_MAX + 1];
    assert_eq!(code(phone.publish_snapshot(large, head).await), ErrorCode::SnapshotTooLarge);
    let none = BlobId::from_bytes([7; 16]);
    assert_eq!(code(phone.snapshot_loaded(none, true).await), ErrorCode::NoSnapshot);
    phone.publish_snapshot("", head).await.expect("a state may be empty");

    let mut plain = laptop;
    plain.close().await;
    plain.reopen().await;
    assert_eq!(code(plain.publish_snapshot("x", head).await), ErrorCode::InvalidArgument, "it was opened without");
    holds(&plain, &["one"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_asked_and_an_app_that_makes_none_reads_everything() {
    trace();
    let relay = TestRelay::start().await;
    let [mut phone, laptop] = couple(&relay).await;
    phone.close().await;
    phone.reopen_with(OpenOptions { snapshot_after: Some(10), ..OpenOptions::default() }).await;
    let mut events = phone.subscribe();
    for number in 0..20 {
        push(&laptop, &format!("{number}")).await;
    }
    in_step(&laptop).await;
    let up_to = applied(&phone, 20).await;
    let asked = async {
        loop {
            if let SyncEvent::Happened(Event::SnapshotNeeded { up_to }) = events.next().await.expect("goes on") {
                return up_to;
            }
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await.expect("it is asked");
    assert_eq!(asked, up_to);
    kept(&phone, async || phone.publish_snapshot("all of it", up_to).await.expect("is of now")).await;

    let plain = Device::new("plain", &relay.url()).await;
    pair(&phone, &plain).await;
    eventually(async || match texts(&plain).await.len() {
        20 => Ok(()),
        other => Err(format!("{other}")),
    })
    .await;
}
