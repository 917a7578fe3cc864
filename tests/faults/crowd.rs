//! Many at once: a thousand handshakes, readers that stall, a device that comes back again and again.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use iroh::SecretKey;
use sync_tests::{
    Network, Relay, Scratch, eventually, memory, paired,
    stranger::{Goal, Meanwhile, Stranger, closed, kind, pull, push},
};

use crate::diligent::Diligent;

const SOON: Duration = Duration::from_secs(90);
const WINDOW: u32 = 1024 * 1024;
const TOO_MANY_CONNECTIONS: u64 = 15;

fn loopback(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 0, 1 + high, low)
}

/// How a stranger's handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    /// It was let in, and stayed.
    LetIn,
    /// It was told that there is no room, by this code.
    Told(u64),
    /// It got no connection: the relay refuses handshakes beyond what it does at once.
    Refused,
}

#[test]
fn a_thousand_handshakes_at_once_stop_nobody_who_is_in() {
    const PLACES: u16 = 50;
    const EACH: u16 = 20;
    /// Ten of each place are let in.
    const GROWTH_MAX_MIB: u64 = 400;
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut diligent = Diligent::begins(&phone);
    diligent.pushes();
    let before = memory::resident_mib(relay.process().id());
    let goal = Goal::from(&relay);
    // One of the places is where the paired device is too.
    let places: Vec<Ipv4Addr> = std::iter::once(Ipv4Addr::LOCALHOST).chain((1..PLACES).map(loopback)).collect();
    let strangers: Vec<_> =
        places.into_iter().map(|place| network.run(async move { Stranger::at(place, WINDOW).await })).collect();
    let crowd: Vec<Meanwhile<Met>> = strangers
        .iter()
        .flat_map(|stranger| (0..EACH).map(|_| stranger.clone()))
        .map(|stranger| {
            network.meanwhile(async move {
                let Some(connection) = stranger.connect(&goal).await else { return Met::Refused };
                // Who is let in and says nothing is sent away after a while, and told something else.
                match closed(&connection).await {
                    Some(TOO_MANY_CONNECTIONS) => Met::Told(TOO_MANY_CONNECTIONS),
                    _ => Met::LetIn,
                }
            })
        })
        .collect();
    while !crowd.iter().all(Meanwhile::is_over) {
        diligent.pushes();
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut met = BTreeMap::<Met, usize>::new();
    for one in crowd {
        *met.entry(one.outcome(&network)).or_default() += 1;
    }
    assert_eq!(met.values().sum::<usize>(), usize::from(PLACES * EACH));
    assert!(met.get(&Met::LetIn).is_some_and(|count| *count > 0), "{met:?}");
    assert!(
        met.keys().all(|met| matches!(met, Met::LetIn | Met::Refused | Met::Told(TOO_MANY_CONNECTIONS))),
        "{met:?}"
    );
    if let (Some(before), Some(peak)) = (before, memory::peak_mib(relay.process().id())) {
        assert!(peak < before + GROWTH_MAX_MIB, "{before} MiB became {peak} MiB");
    }
    diligent.pushes();
    let pushed = diligent.ends();
    eventually("nobody is left", SOON, || (relay.health()["connections"] == 0).then_some(()));
    assert_eq!(laptop.texts_in_step(), pushed, "and the other gets in again");
}

#[test]
fn readers_that_stall_cost_a_bounded_share_and_hold_nobody_up() {
    const READERS: u8 = 24;
    const BLOBS: u64 = 24;
    /// All that they have not read, of all of them, would be 576 MiB.
    const GROWTH_MAX_MIB: u64 = 300;
    let (scratch, network) = (Scratch::new(), Network::new());
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut diligent = Diligent::begins(&phone);
    diligent.pushes();
    let goal = Goal::from(&relay);
    let group = SecretKey::from_bytes(&[1; 32]);
    let stalled: Vec<_> = (0..READERS)
        .map(|number| {
            let group = group.clone();
            network.run(async move {
                let reader = Stranger::at(loopback(1 + u16::from(number / 3)), 4_096).await;
                let mut line = reader.enter(&goal, &group).await;
                line.say(&pull(1)).await;
                (reader, line)
            })
        })
        .collect();
    let before = memory::resident_mib(relay.process().id());
    network.run(async {
        let writer = Stranger::at(loopback(99), WINDOW).await;
        let mut line = writer.enter(&goal, &group).await;
        for number in 0..BLOBS {
            line.say(&push(1 + number as u32, &writer.envelope(number, 1024 * 1024))).await;
            assert_eq!(
                line.hear().await.map(|frame| frame.kind),
                Some(kind::PUSH_ACK),
                "nobody's reader is waited for"
            );
        }
    });
    for _ in 0..20 {
        diligent.pushes();
    }
    if let (Some(before), Some(peak)) = (before, memory::peak_mib(relay.process().id())) {
        assert!(peak < before + GROWTH_MAX_MIB, "{before} MiB became {peak} MiB");
    }
    assert_eq!(laptop.texts_in_step(), diligent.ends());
    eventually("they are hung up on", SOON, || (relay.health()["connections"] == 0).then_some(()));
    drop(stalled);
}

#[test]
fn a_device_that_comes_back_ten_times_in_seconds_loses_nothing_repeats_nothing_and_leaves_nothing() {
    let scratch = Scratch::new();
    let relay = Relay::start(&scratch);
    let (phone, laptop) = paired(&scratch, relay.url());
    let mut promised = Vec::new();
    // Five times it ends well, and five times it is killed with its session open.
    for round in 0..10 {
        let mut push = phone.spawn(&["push", "--lines"]);
        for number in 0..10 {
            push.say(&format!("{round} {number}"));
        }
        let mut said: Vec<_> = (0..3).map(|_| push.expect("a push", SOON)).collect();
        if round % 2 == 0 {
            said.extend(push.kill());
        } else {
            push.signal(rustix::process::Signal::TERM);
            said.extend(push.finish(SOON).1);
        }
        promised.extend(said.iter().map(|line| line["push_id"].as_str().map(str::to_owned).expect("an id")));
    }
    phone.settles();
    let kept: Vec<String> = phone.log_after(0).into_iter().map(|blob| blob.push_id).collect();
    laptop.settles();
    let arrived: Vec<String> = laptop.log_after(0).into_iter().map(|blob| blob.push_id).collect();
    assert_eq!(arrived, kept, "all of it, once, in its order");
    assert!(promised.len() >= 30 && promised.iter().all(|id| kept.contains(id)), "a promise was broken");
    eventually("no session is left", SOON, || (relay.health()["connections"] == 0).then_some(()));
    assert!(relay.get("/metrics").contains("\nsync_relay_connections_active 0\n"));
}
