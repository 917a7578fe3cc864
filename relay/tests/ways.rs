//! Members that went different ways from one id: a relay tells them of each other.

mod support;

use bytes::Bytes;
use support::{Device, Group, Line, Running, blobs, envelope, ids};
use sync_types::{
    DeviceMsg, RelayGroupId, RelayMsg,
    message::{Hello, features},
};

#[tokio::test]
async fn who_went_another_way_hears_of_the_one_who_comes_after() {
    let relay = Running::start().await;
    let (phone, laptop) = (Device::new().await, Device::new().await);
    let (old, one, two, three) = (Group::new(1), Group::new(2), Group::new(3), Group::new(4));
    let mut first = session_that_moves(&phone, &relay, &one).await;
    let moving = first.moving(&one, &[(&old, b"one")], &[phone.id()]);
    assert_eq!(first.move_and_hear(moving).await, [""; 0]);
    let mut second = session_that_moves(&laptop, &relay, &two).await;
    let moving = second.moving(&two, &[(&old, b"two")], &[laptop.id()]);
    assert_eq!(second.move_and_hear(moving).await, ["one"], "it comes after");
    assert_eq!(told_aside(&mut first).await, [(old.id(), "two".into())], "it is told at once");
    let mut later = session_that_moves(&phone, &relay, &one).await;
    assert_eq!(told_aside(&mut later).await, [(old.id(), "two".into())], "it was away");

    // Once they are one, there is nothing left to tell, and another group's way is nobody's news.
    let moving = second.moving(&three, &[(&one, b"on"), (&two, b"on")], &[phone.id()]);
    second.try_move(moving).await.expect("in order");
    let mut both = session_that_moves(&phone, &relay, &three).await;
    both.push(&envelope(phone.id(), 1)).await;
    assert_eq!(blobs(&mut both).await, ids(&[envelope(phone.id(), 1)]));
    let moving = both.moving(&Group::new(6), &[(&Group::new(5), b"elsewhere")], &[]);
    assert_eq!(both.move_and_hear(moving).await, [""; 0]);
    both.push(&envelope(phone.id(), 2)).await;
}

/// What was left by those who went another way; what else comes first is passed over.
async fn told_aside(line: &mut Line) -> Vec<(RelayGroupId, Bytes)> {
    loop {
        match line.hear().await {
            Some(RelayMsg::MoveAck(ack)) if ack.id == 0 => {
                return ack.others.0.into_iter().map(|left| (left.group, left.package)).collect();
            }
            Some(RelayMsg::MoveAck(_) | RelayMsg::Notify(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A session of a device that understands MOVE and what comes of it.
async fn session_that_moves(device: &Device, relay: &Running, group: &Group) -> Line {
    let mut line = device.dial(relay).await;
    let hello = Hello { features: features::MOVE, ..line.hello(group) };
    line.say(DeviceMsg::Hello(hello)).await;
    assert!(matches!(line.hear().await, Some(RelayMsg::Welcome(_))));
    line
}
