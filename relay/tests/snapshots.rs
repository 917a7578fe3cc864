//! Stories of snapshots: what a relay keeps of them, whom it tells, what it refuses, and which rows they let go.

mod support;

use std::time::Duration;

use support::{Device, Group, Line, Running, SOON, envelope, made, run_of};
use sync_types::{
    BlobId, DeviceId, DeviceMsg, Envelope, ErrorCode, Kind, RelayCursor, RelayMsg, RequestId, Run,
    limits::{BODY_LEN_MIN, PAYLOAD_LEN_MAX, SNAPSHOT_PARTS_MAX, relay_defaults::MAX_BLOB_SIZE},
    message::{Hello, Snapshot, SnapshotPart, Snapshots, Welcome, features},
};
use tokio::time::{Instant, timeout_at};

/// A session of a device that understands snapshots, and what it is told before anything else.
async fn enter(device: &Device, relay: &Running, group: &Group) -> (Line, Vec<BlobId>) {
    let mut line = device.dial(relay).await;
    let hello = Hello { features: features::SNAPSHOTS, ..line.hello(group) };
    line.say(DeviceMsg::Hello(hello)).await;
    // Asked at once, and answered after it.
    let pulled = line.say_pull(0, Run::START, 0, false).await;
    match line.hear().await {
        Some(RelayMsg::Welcome(Welcome { features, .. })) => {
            assert_eq!(features & features::SNAPSHOTS, features::SNAPSHOTS)
        }
        other => panic!("not welcomed: {other:?}"),
    }
    let told = match line.hear().await {
        Some(RelayMsg::Snapshots(Snapshots { manifests })) => manifests.0,
        other => panic!("not told: {other:?}"),
    };
    assert_eq!(answer(&mut line, pulled).await, Ok(()));
    (line, told)
}

/// What a request is answered, whatever else is heard before.
async fn answer(line: &mut Line, asked: RequestId) -> Result<(), ErrorCode> {
    loop {
        match line.hear().await {
            Some(RelayMsg::SnapshotAck(ack)) if ack.id == asked => return Ok(()),
            Some(RelayMsg::Page(page)) if page.id == asked => return Ok(()),
            Some(RelayMsg::Gap(gap)) if gap.id == asked => return Ok(()),
            Some(RelayMsg::Refused(refused)) if refused.id == asked => return Err(refused.error()),
            Some(RelayMsg::Snapshots(_) | RelayMsg::Notify(_) | RelayMsg::Page(_)) => {}
            other => panic!("not an answer: {other:?}"),
        }
    }
}

fn part(sender: DeviceId, n: u64) -> Envelope {
    of_size(sender, n, 83 + BODY_LEN_MIN + 16 + 64)
}

fn of_size(sender: DeviceId, n: u64, len: usize) -> Envelope {
    made(sender, n, len, Kind::Snapshot, 0)
}

async fn keep(line: &mut Line, envelope: &Envelope) -> Result<(), ErrorCode> {
    let id = line.id();
    line.say(SnapshotPart { id, envelope: envelope.as_bytes().clone() }).await;
    answer(line, id).await
}

async fn publish(
    line: &mut Line,
    manifest: &Envelope,
    parts: &[&Envelope],
    (covers, run): (u64, Run),
) -> Result<(), ErrorCode> {
    let id = line.id();
    let parts: Vec<_> = parts.iter().map(|part| part.blob_id()).collect();
    let envelope = manifest.as_bytes().clone();
    line.say(Snapshot { id, envelope, parts: parts.into(), covers: RelayCursor::new(covers), run }).await;
    answer(line, id).await
}

const NOTHING: (u64, Run) = (0, Run::START);

/// Listens until these are what was told last.
async fn hears(line: &mut Line, expected: &[&Envelope]) {
    let expected: Vec<_> = expected.iter().map(|manifest| manifest.blob_id()).collect();
    let until = Instant::now() + SOON;
    loop {
        let heard = timeout_at(until, line.hear()).await.expect("it is told in time");
        if matches!(heard, Some(RelayMsg::Snapshots(Snapshots { manifests })) if manifests.0 == expected) {
            return;
        }
    }
}

#[tokio::test]
async fn it_is_told_to_all_who_are_there_and_to_whoever_comes_and_read_by_them() {
    let relay = Running::start().await;
    let (phone, laptop, tablet, group) = (Device::new().await, Device::new().await, Device::new().await, Group::new(1));
    let (mut one, told) = enter(&phone, &relay, &group).await;
    assert_eq!(told, []);
    let (mut two, _) = enter(&laptop, &relay, &group).await;
    let (manifest, parts) = (part(phone.id(), 1), [part(phone.id(), 2), of_size(phone.id(), 3, 100_000)]);
    assert_eq!(publish(&mut one, &manifest, &[&parts[0], &parts[1]], NOTHING).await, Err(ErrorCode::NotFound));
    for part in &parts {
        keep(&mut one, part).await.expect("kept");
        keep(&mut one, part).await.expect("repeating it is harmless");
    }
    assert_eq!(publish(&mut one, &manifest, &[&parts[0]], NOTHING).await, Ok(()));
    hears(&mut one, &[&manifest]).await;
    hears(&mut two, &[&manifest]).await;
    assert_eq!(publish(&mut one, &manifest, &[&parts[0]], NOTHING).await, Ok(()), "again");
    let (mut three, told) = enter(&tablet, &relay, &group).await;
    assert_eq!(told, [manifest.blob_id()]);
    for envelope in parts.iter().chain([&manifest]) {
        assert_eq!(three.get(envelope.blob_id()).await.as_ref(), Ok(envelope.as_bytes()));
    }
    assert!(two.is_silent().await, "what is kept already is no news");
    assert_eq!(relay.health("blobs_stored").await, 0, "it is in no log");
}

#[tokio::test]
async fn two_are_kept_and_the_third_takes_the_place_of_the_oldest() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let (mut line, _) = enter(&phone, &relay, &group).await;
    let [first, second, third, own, shared] = [1, 2, 3, 4, 5].map(|n| part(phone.id(), n));
    for part in [&own, &shared] {
        keep(&mut line, part).await.expect("kept");
    }
    publish(&mut line, &first, &[&own, &shared], NOTHING).await.expect("kept");
    publish(&mut line, &second, &[&shared], NOTHING).await.expect("kept");
    publish(&mut line, &third, &[], NOTHING).await.expect("kept");
    hears(&mut line, &[&second, &third]).await;
    for gone in [&first, &own] {
        assert_eq!(line.get(gone.blob_id()).await, Err(ErrorCode::NotFound));
    }
    for kept in [&second, &third, &shared] {
        assert_eq!(line.get(kept.blob_id()).await.as_ref(), Ok(kept.as_bytes()));
    }
    let relay = relay.restart(|_| {}).await;
    let (mut line, told) = enter(&phone, &relay, &group).await;
    assert_eq!(told, [second.blob_id(), third.blob_id()]);
    assert_eq!(line.get(shared.blob_id()).await.as_ref(), Ok(shared.as_bytes()), "it outlives the relay");
}

#[tokio::test]
async fn changes_are_told_at_most_once_a_second() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (mut line, _) = enter(&phone, &relay, &group).await;
    let began = Instant::now();
    let (mut listening, _) = enter(&laptop, &relay, &group).await;
    let mut n = 0;
    while began.elapsed() < Duration::from_millis(2_500) {
        n += 1;
        publish(&mut line, &part(phone.id(), n), &[], NOTHING).await.expect("kept");
    }
    let mut told = 0;
    loop {
        let heard = listening.hear().await;
        let Some(RelayMsg::Snapshots(Snapshots { manifests })) = heard else { panic!("{heard:?}") };
        told += 1;
        if manifests.0.last() == Some(&part(phone.id(), n).blob_id()) {
            break;
        }
    }
    assert!(told >= 2 && u128::from(told as u64) <= began.elapsed().as_millis() / 1_000, "{told} times, of {n}");
}

#[tokio::test]
async fn it_is_no_other_groups_business_and_not_told_to_who_does_not_understand_it() {
    let relay = Running::start().await;
    let (phone, stranger, old) = (Device::new().await, Device::new().await, Device::new().await);
    let [group, other] = [1, 2].map(Group::new);
    let (mut one, _) = enter(&phone, &relay, &group).await;
    let (mut elsewhere, told) = enter(&stranger, &relay, &other).await;
    let mut before = old.session(&relay, &group).await;
    let (manifest, piece) = (part(phone.id(), 1), part(phone.id(), 2));
    keep(&mut one, &piece).await.expect("kept");
    publish(&mut one, &manifest, &[&piece], NOTHING).await.expect("kept");
    let mut after = old.session(&relay, &group).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(before.is_silent().await && after.is_silent().await);
    assert_eq!(told, []);
    assert!(elsewhere.is_silent().await);
    for envelope in [&manifest, &piece] {
        assert_eq!(elsewhere.get(envelope.blob_id()).await, Err(ErrorCode::NotFound));
    }
    assert_eq!(publish(&mut elsewhere, &part(stranger.id(), 3), &[&piece], NOTHING).await, Err(ErrorCode::NotFound));
}

#[tokio::test]
async fn what_is_none_is_refused_and_a_log_takes_none() {
    let relay = Running::start().await;
    let (phone, stranger, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (mut line, _) = enter(&phone, &relay, &group).await;
    let receipt = made(phone.id(), 1, 83 + BODY_LEN_MIN + 16 + 64, Kind::Receipt, 0);
    for wrong in [&part(stranger.id(), 1), &envelope(phone.id(), 1), &receipt] {
        assert_eq!(keep(&mut line, wrong).await, Err(ErrorCode::BadEnvelope));
        assert_eq!(publish(&mut line, wrong, &[], NOTHING).await, Err(ErrorCode::BadEnvelope));
    }
    assert_eq!(line.try_push(&part(phone.id(), 2)).await, Err(ErrorCode::BadEnvelope));
    let largest = of_size(phone.id(), 3, PAYLOAD_LEN_MAX);
    keep(&mut line, &largest).await.expect("as large as a push");
    let names: Vec<_> = (10..).take(SNAPSHOT_PARTS_MAX).map(|n| part(phone.id(), n)).collect();
    for name in &names {
        keep(&mut line, name).await.expect("kept");
    }
    let names: Vec<_> = names.iter().collect();
    assert_eq!(publish(&mut line, &part(phone.id(), 4), &names, NOTHING).await, Ok(()), "as many as one may have");

    let relay = relay.restart(|config| config.storage.max_blob_size = MAX_BLOB_SIZE / 4).await;
    let (mut line, _) = enter(&phone, &relay, &group).await;
    assert_eq!(keep(&mut line, &of_size(phone.id(), 5, PAYLOAD_LEN_MAX)).await, Err(ErrorCode::BlobTooLarge));
}

#[tokio::test]
async fn it_counts_among_what_the_group_may_keep_and_a_device_may_say() {
    let relay = Running::with(|config| {
        config.storage.max_group_storage = 100_000;
        config.limits.messages_burst = 6;
        config.limits.messages_per_minute = 1;
    })
    .await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let (mut line, _) = enter(&phone, &relay, &group).await;
    let half = of_size(phone.id(), 1, 50_000);
    keep(&mut line, &half).await.expect("room");
    assert_eq!(keep(&mut line, &of_size(phone.id(), 2, 50_001)).await, Err(ErrorCode::GroupFull));
    line.push(&support::sized(phone.id(), 1, 50_000)).await;
    assert_eq!(publish(&mut line, &part(phone.id(), 3), &[&half], NOTHING).await, Err(ErrorCode::GroupFull));
    assert_eq!(keep(&mut line, &half).await, Ok(()), "it is there");
    assert_eq!(keep(&mut line, &half).await, Err(ErrorCode::RateLimited));
    assert_eq!(publish(&mut line, &part(phone.id(), 3), &[], NOTHING).await, Err(ErrorCode::RateLimited));
}

#[tokio::test]
async fn what_is_covered_leaves_once_all_have_it_and_whoever_comes_later_is_told_where_the_log_begins() {
    let relay = Running::with(|config| config.cleanup.interval = 1).await;
    let (phone, laptop, tablet, group) = (Device::new().await, Device::new().await, Device::new().await, Group::new(1));
    let (mut one, _) = enter(&phone, &relay, &group).await;
    let (mut two, _) = enter(&laptop, &relay, &group).await;
    let mut log: Vec<_> = (1..=10).map(|n| envelope(phone.id(), n)).collect();
    log[3] = made(phone.id(), 4, 83 + BODY_LEN_MIN + 16 + 64, Kind::Control, 0);
    for envelope in &log {
        one.push(envelope).await;
    }
    let up_to = |n: usize| (n as u64, run_of(&log[..n]));
    let [first, second, third] = [1, 2, 3].map(|n| part(phone.id(), 100 + n));
    for forked in [(8, run_of(&log[..7])), (11, run_of(&log)), (u64::MAX, run_of(&log))] {
        assert_eq!(publish(&mut one, &first, &[], forked).await, Err(ErrorCode::LogForked));
    }
    publish(&mut one, &first, &[], up_to(6)).await.expect("kept");
    one.ack(10).await;
    two.ack(10).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(relay.health("blobs_stored").await, 10, "one may be of no use");
    assert_eq!(publish(&mut two, &part(laptop.id(), 9), &[], up_to(5)).await, Err(ErrorCode::SnapshotOutdone));
    publish(&mut two, &part(laptop.id(), 10), &[], up_to(8)).await.expect("anybody's");
    relay.health_becomes("blobs_stored", 4).await;

    // A device that has just come has read nothing, and is waited for.
    let (mut three, _) = enter(&tablet, &relay, &group).await;
    three.say_pull(0, Run::START, 0, false).await;
    let gap = three.gap().await;
    assert_eq!((gap.floor_cursor.get(), gap.floor_run), up_to(6));
    publish(&mut one, &second, &[], up_to(10)).await.expect("kept");
    publish(&mut one, &third, &[], up_to(10)).await.expect("kept");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(relay.health("blobs_stored").await, 4);
    let page = three.pull(6, up_to(6).1, 0).await;
    assert_eq!(page.rows.0.len(), 4);
    three.ack(9).await;
    relay.health_becomes("blobs_stored", 1).await;
    assert_eq!(two.get(log[3].blob_id()).await, Err(ErrorCode::NotFound), "control has left as well");
    assert_eq!(one.push(&envelope(phone.id(), 11)).await.cursor.get(), 11);
}

#[tokio::test]
async fn they_go_with_the_group_when_it_is_known_by_another_id() {
    let relay = Running::start().await;
    let (phone, laptop, [old, new]) = (Device::new().await, Device::new().await, [1, 2].map(Group::new));
    let (mut one, _) = enter(&phone, &relay, &old).await;
    let (manifest, piece) = (part(phone.id(), 1), part(phone.id(), 2));
    keep(&mut one, &piece).await.expect("kept");
    publish(&mut one, &manifest, &[&piece], NOTHING).await.expect("kept");
    // Somebody has come by the new id already: the log there is the one that is kept.
    let (mut early, told) = enter(&laptop, &relay, &new).await;
    assert_eq!(told, []);
    let mut mover = laptop.session(&relay, &old).await;
    let moving = mover.moving(&new, &[(&old, b"package")], &[phone.id(), laptop.id()]);
    mover.try_move(moving).await.expect("moved");
    hears(&mut early, &[&manifest]).await;
    assert_eq!(early.get(piece.blob_id()).await.as_ref(), Ok(piece.as_bytes()));
    let last = Group::new(3);
    let mut mover = laptop.session(&relay, &new).await;
    let moving = mover.moving(&last, &[(&new, b"package")], &[phone.id(), laptop.id()]);
    mover.try_move(moving).await.expect("moved");
    let (mut line, told) = enter(&phone, &relay, &last).await;
    assert_eq!(told, [manifest.blob_id()]);
    assert_eq!(line.get(piece.blob_id()).await.as_ref(), Ok(piece.as_bytes()));
}
