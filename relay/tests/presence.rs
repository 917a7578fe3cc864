//! Stories of presence: who hears of whom, and until when.

mod support;

use support::{Device, Group, Line, Running, SOON};
use sync_types::{
    DeviceId, DeviceMsg, RelayMsg,
    message::{Presence, features},
};
use tokio::time::{Instant, timeout_at};

/// A session of a device that understands PRESENCE.
async fn enter(device: &Device, relay: &Running, group: &Group) -> Line {
    let mut line = device.dial(relay).await;
    let hello = line.hello(group);
    line.say(DeviceMsg::Hello(sync_types::message::Hello { features: features::PRESENCE, ..hello })).await;
    match line.hear().await {
        Some(RelayMsg::Welcome(welcome)) => assert_eq!(welcome.features & features::PRESENCE, features::PRESENCE),
        other => panic!("not welcomed: {other:?}"),
    }
    line
}

/// Listens until exactly these devices are there.
async fn hears_of(line: &mut Line, expected: &[DeviceId]) {
    let expected: std::collections::BTreeSet<_> = expected.iter().copied().collect();
    let until = Instant::now() + 3 * SOON;
    let mut last = None;
    while last.as_ref() != Some(&expected) {
        let heard = timeout_at(until, line.hear()).await.unwrap_or_else(|_| panic!("at last {last:?}"));
        let Some(RelayMsg::Presence(Presence { devices })) = heard else { panic!("not presence: {heard:?}") };
        last = Some(devices.0.into_iter().collect());
    }
}

#[tokio::test]
async fn devices_of_a_group_hear_who_comes_and_goes() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut one = enter(&phone, &relay, &group).await;
    hears_of(&mut one, &[phone.id()]).await;
    let mut two = enter(&laptop, &relay, &group).await;
    hears_of(&mut two, &[phone.id(), laptop.id()]).await;
    hears_of(&mut one, &[phone.id(), laptop.id()]).await;
    // A second session of a device is no second device, and its end no departure.
    let second = enter(&laptop, &relay, &group).await;
    second.goodbye();
    two.goodbye();
    hears_of(&mut one, &[phone.id()]).await;
}

#[tokio::test]
async fn another_group_hears_nothing() {
    let relay = Running::start().await;
    let (phone, stranger) = (Device::new().await, Device::new().await);
    let mut one = enter(&phone, &relay, &Group::new(1)).await;
    hears_of(&mut one, &[phone.id()]).await;
    let mut other = enter(&stranger, &relay, &Group::new(2)).await;
    hears_of(&mut other, &[stranger.id()]).await;
    assert!(one.is_silent().await && other.is_silent().await);
}

#[tokio::test]
async fn a_device_that_does_not_understand_it_hears_nothing_and_is_seen() {
    let relay = Running::start().await;
    let (old, new, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut quiet = old.session(&relay, &group).await;
    let mut one = enter(&new, &relay, &group).await;
    hears_of(&mut one, &[old.id(), new.id()]).await;
    assert!(quiet.is_silent().await);
}
