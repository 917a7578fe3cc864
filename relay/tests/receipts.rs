//! Stories of receipts: what a relay keeps of them, whom it tells, and what it refuses.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Device, Group, Line, Running, SOON, envelope, made};
use sync_types::{
    DeviceId, DeviceMsg, Envelope, ErrorCode, Kind, RelayMsg, Run,
    limits::{BODY_LEN_MIN, RECEIPT_LEN_MAX},
    message::{Hello, Receipt, Receipts, features},
};
use tokio::time::{Instant, timeout_at};

/// A session of a device that understands receipts and follows its log. Its first page has come, and what was told before.
async fn follow(device: &Device, relay: &Running, group: &Group) -> (Line, Vec<Bytes>) {
    let mut line = device.dial(relay).await;
    let hello = line.hello(group);
    line.say(DeviceMsg::Hello(Hello { features: features::RECEIPTS, ..hello })).await;
    match line.hear().await {
        Some(RelayMsg::Welcome(welcome)) => assert_eq!(welcome.features & features::RECEIPTS, features::RECEIPTS),
        other => panic!("not welcomed: {other:?}"),
    }
    line.say_pull(0, Run::START, 0, true).await;
    let mut told = Vec::new();
    loop {
        match line.hear().await {
            Some(RelayMsg::Receipts(receipts)) => told.extend(receipts.envelopes.0),
            Some(RelayMsg::Page(_)) => return (line, told),
            other => panic!("neither: {other:?}"),
        }
    }
}

fn receipt(sender: DeviceId, n: u64) -> Envelope {
    made(sender, n, 83 + BODY_LEN_MIN + 16 + 64, Kind::Receipt, 0)
}

async fn say(line: &mut Line, envelope: &[u8]) -> Result<(), ErrorCode> {
    let id = line.id();
    line.say(Receipt { id, envelope: Bytes::copy_from_slice(envelope) }).await;
    loop {
        match line.hear().await {
            Some(RelayMsg::ReceiptAck(ack)) if ack.id == id => return Ok(()),
            Some(RelayMsg::Refused(refused)) if refused.id == id => return Err(refused.error()),
            Some(RelayMsg::Page(_) | RelayMsg::Receipts(_)) => {}
            other => panic!("not an answer to a receipt: {other:?}"),
        }
    }
}

/// Listens until this is what was told last.
async fn hears(line: &mut Line, expected: &Envelope) {
    let until = Instant::now() + SOON;
    loop {
        let heard = timeout_at(until, line.hear()).await.expect("it is told in time");
        let Some(RelayMsg::Receipts(Receipts { envelopes })) = heard else { continue };
        if envelopes.0.last() == Some(expected.as_bytes()) {
            return;
        }
    }
}

#[tokio::test]
async fn the_newest_of_each_device_is_told_to_the_others_and_to_whoever_comes_later() {
    let relay = Running::start().await;
    let (phone, laptop, tablet, group) = (Device::new().await, Device::new().await, Device::new().await, Group::new(1));
    let (mut one, told) = follow(&phone, &relay, &group).await;
    assert_eq!(told, [] as [Bytes; 0]);
    let (mut two, _) = follow(&laptop, &relay, &group).await;
    for n in 1..=3 {
        say(&mut one, receipt(phone.id(), n).as_bytes()).await.expect("kept");
    }
    hears(&mut two, &receipt(phone.id(), 3)).await;
    say(&mut two, receipt(laptop.id(), 9).as_bytes()).await.expect("kept");
    hears(&mut one, &receipt(laptop.id(), 9)).await;
    let (_line, mut told) = follow(&tablet, &relay, &group).await;
    told.sort_unstable();
    let mut newest = [receipt(phone.id(), 3), receipt(laptop.id(), 9)].map(|receipt| receipt.as_bytes().clone());
    newest.sort_unstable();
    assert_eq!(told, newest);
    one.goodbye();
    let (_line, told) = follow(&phone, &relay, &group).await;
    assert_eq!(told, [receipt(laptop.id(), 9).as_bytes().clone()], "nobody is told its own");
}

#[tokio::test]
async fn it_outlives_the_relay_and_is_no_other_groups_business() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (mut one, _) = follow(&phone, &relay, &group).await;
    say(&mut one, receipt(phone.id(), 1).as_bytes()).await.expect("kept");
    let relay = relay.restart(|_| {}).await;
    let (_line, told) = follow(&laptop, &relay, &group).await;
    assert_eq!(told, [receipt(phone.id(), 1).as_bytes().clone()]);
    let (mut other, told) = follow(&laptop, &relay, &Group::new(2)).await;
    assert_eq!(told, [] as [Bytes; 0]);
    assert!(other.is_silent().await);
}

#[tokio::test]
async fn a_device_that_does_not_understand_them_hears_none() {
    let relay = Running::start().await;
    let (phone, old, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (mut one, _) = follow(&phone, &relay, &group).await;
    say(&mut one, receipt(phone.id(), 1).as_bytes()).await.expect("kept");
    let mut line = old.session(&relay, &group).await;
    line.say_pull(0, Run::START, 0, true).await;
    line.page().await;
    say(&mut one, receipt(phone.id(), 2).as_bytes()).await.expect("kept");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(line.is_silent().await);
}

#[tokio::test]
async fn what_is_none_is_refused_and_a_log_takes_none() {
    let relay = Running::start().await;
    let (phone, stranger, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (mut line, _) = follow(&phone, &relay, &group).await;
    assert_eq!(say(&mut line, receipt(stranger.id(), 1).as_bytes()).await, Err(ErrorCode::BadEnvelope), "another's");
    assert_eq!(say(&mut line, envelope(phone.id(), 1).as_bytes()).await, Err(ErrorCode::BadEnvelope), "a blob");
    assert_eq!(say(&mut line, b"nothing of the kind").await, Err(ErrorCode::BadEnvelope));
    let large = made(phone.id(), 1, RECEIPT_LEN_MAX + 1, Kind::Receipt, 0);
    assert_eq!(say(&mut line, large.as_bytes()).await, Err(ErrorCode::BlobTooLarge));
    let largest = made(phone.id(), 1, RECEIPT_LEN_MAX, Kind::Receipt, 0);
    assert_eq!(say(&mut line, largest.as_bytes()).await, Ok(()));
    assert_eq!(line.try_push(&receipt(phone.id(), 2)).await, Err(ErrorCode::BadEnvelope));
}

#[tokio::test]
async fn they_end_with_the_id_that_they_were_sealed_for() {
    let relay = Running::start().await;
    let (phone, laptop, [old, new]) = (Device::new().await, Device::new().await, [1, 2].map(Group::new));
    let (mut one, _) = follow(&phone, &relay, &old).await;
    say(&mut one, receipt(phone.id(), 1).as_bytes()).await.expect("kept");
    let mut mover = laptop.session(&relay, &old).await;
    let moving = mover.moving(&new, &[(&old, b"package")], &[phone.id(), laptop.id()]);
    mover.try_move(moving).await.expect("moved");
    let (mut two, told) = follow(&laptop, &relay, &new).await;
    assert_eq!(told, [] as [Bytes; 0]);
    let (mut one, _) = follow(&phone, &relay, &new).await;
    say(&mut one, receipt(phone.id(), 2).as_bytes()).await.expect("kept");
    hears(&mut two, &receipt(phone.id(), 2)).await;
}

/// Whoever takes nothing in is told less often, and holds up nobody.
#[tokio::test]
async fn a_reader_that_stalls_while_others_say_much_keeps_nobody_waiting() {
    let relay = Running::start().await;
    let (phone, slow, group) = (Device::new().await, Device::with_window(1024).await, Group::new(1));
    let (mut one, _) = follow(&phone, &relay, &group).await;
    let (mut stalled, _) = follow(&slow, &relay, &group).await;
    for n in 1..=200 {
        let large = made(phone.id(), n, RECEIPT_LEN_MAX, Kind::Receipt, 0);
        say(&mut one, large.as_bytes()).await.expect("kept");
        one.push(&envelope(phone.id(), n)).await;
    }
    // It can still push: what it was to be told waits on the relay's disk, and nowhere else.
    stalled.begin_push(&envelope(slow.id(), 1_000)).await;
    hears(&mut stalled, &made(phone.id(), 200, RECEIPT_LEN_MAX, Kind::Receipt, 0)).await;
}
