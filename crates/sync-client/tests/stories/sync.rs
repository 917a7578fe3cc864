//! Stories of devices that stay in step through a real relay.

use std::time::{Duration, Instant};

use crate::support::*;
use sync_client::{Badge, Event, PushOptions, PushState, SyncEvent, Wait};
use sync_types::{ErrorCode, LocalCursor, limits::PAYLOAD_LEN_MAX};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_device_pushes_the_other_sees() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    push(&phone, "from the phone").await;
    push(&laptop, "from the laptop").await;
    for device in [&phone, &laptop] {
        holds(device, &["from the phone", "from the laptop"]).await;
        in_step(device).await;
        assert_eq!(device.status().badge, Badge::Synced, "{:?}", device.status());
    }
    let names = |client: Vec<sync_client::Device>| client.into_iter().map(|device| device.name).collect::<Vec<_>>();
    let mut at_phone = names(phone.devices().await.expect("in a group"));
    at_phone.sort();
    assert_eq!(at_phone, ["laptop", "phone"]);
    phone.close().await;
    laptop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_queue_survives_a_restart_and_drains() {
    trace();
    let mut relay = TestRelay::start().await;
    let [mut phone, laptop] = paired(&relay).await;
    relay.stop().await;
    for number in 0..20 {
        let pushed = phone.push(format!("{number}"), PushOptions::default()).await.expect("offline is fine");
        assert_eq!(pushed.state, PushState::Queued);
    }
    assert_ne!(phone.status().badge, Badge::Synced);
    phone.close().await;

    phone.reopen().await;
    assert_eq!(texts(&phone).await.len(), 20, "own blobs are readable offline");
    assert!(phone.status().pending >= 20, "{:?}", phone.status());
    relay.restart().await;
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    eventually(async || {
        let found = texts(&laptop).await;
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    in_step(&phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_waits_for_the_relay_if_asked_and_is_never_taken_back() {
    trace();
    let mut relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    let wait = |timeout| PushOptions { wait: Wait::Relay, timeout, ..PushOptions::default() };
    let pushed = phone.push("kept", wait(PATIENCE)).await.expect("the relay is up");
    assert_eq!(pushed.state, PushState::All);

    relay.stop().await;
    let started = Instant::now();
    let pushed = phone.push("later", wait(Duration::from_millis(300))).await.expect("is queued all the same");
    assert_eq!(pushed.state, PushState::Queued);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    relay.restart().await;
    holds(&laptop, &["kept", "later"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tasks_share_one_client() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let phone = phone.clone();
            tokio::spawn(async move {
                for number in 0..50 {
                    push(&phone, &format!("{task}/{number}")).await;
                    phone.pull(LocalCursor::START, 10).await.expect("readable");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("pushes");
    }
    let expected: Vec<_> = (0..8).flat_map(|task| (0..50).map(move |number| format!("{task}/{number}"))).collect();
    holds(&laptop, &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let blobs = log(&laptop).await;
    for task in 0..8 {
        let of_task = blobs.iter().map(|blob| String::from_utf8_lossy(&blob.payload).into_owned());
        let of_task: Vec<_> = of_task.filter(|text| text.starts_with(&format!("{task}/"))).collect();
        assert_eq!(of_task, (0..50).map(|number| format!("{task}/{number}")).collect::<Vec<_>>());
    }
    assert!(blobs.iter().zip(1..).all(|(blob, place)| blob.cursor == LocalCursor::new(place)), "no holes");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_in_the_queue_are_the_order_on_the_other_side() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    let mut pending = Vec::new();
    let started = Instant::now();
    for number in 0..5_000 {
        pending.push(phone.enqueue(format!("{number}"), PushOptions::default()).await.expect("queued"));
    }
    for push in pending {
        push.done().await.expect("stored");
    }
    println!("5,000 pushes stored in {:?}", started.elapsed());
    let expected: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
    eventually(
        async || {
            if laptop.status().head_cursor.get() == 5_000 { Ok(()) } else { Err(format!("{:?}", laptop.status())) }
        },
    )
    .await;
    println!("and on the other device in {:?}", started.elapsed());
    assert_eq!(texts(&laptop).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_restarts_is_found_again() {
    trace();
    let mut relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    for round in 0..3 {
        push(&phone, &format!("before {round}")).await;
        relay.restart().await;
        push(&phone, &format!("after {round}")).await;
    }
    let rounds = ["before 0", "after 0", "before 1", "after 1", "before 2", "after 2"];
    holds(&laptop, &rounds).await;
    assert_eq!(texts(&laptop).await, rounds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_relay_is_filled_again() {
    trace();
    let mut relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    for text in ["one", "two", "three"] {
        push(&phone, text).await;
    }
    holds(&laptop, &["one", "two", "three"]).await;
    laptop.close().await;
    relay.wipe(true).await;
    push(&phone, "four").await;
    in_step(&phone).await;

    // A device that comes later finds everything, though the relay had lost it.
    let tablet = Device::new("tablet", &relay.url()).await;
    pair(&phone, &tablet).await;
    holds(&tablet, &["one", "two", "three", "four"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_relay_at_the_address_is_not_accepted() {
    trace();
    let mut relay = TestRelay::start().await;
    let [mut phone, _laptop] = paired(&relay).await;
    in_step(&phone).await;
    relay.wipe(false).await;
    push(&phone, "not for strangers").await;
    assert_eq!(code(phone.sync(PATIENCE).await), ErrorCode::RelayIdentityChanged);
    assert_eq!(phone.status().badge, Badge::Failed);
    phone.close().await;

    phone.reopen().await;
    assert_eq!(code(phone.sync(PATIENCE).await), ErrorCode::RelayIdentityChanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_reached_by_ticket_and_by_id_too() {
    trace();
    let relay = TestRelay::start().await;
    let phone = Device::new("phone", &relay.ticket).await;
    let laptop = Device::new("laptop", &relay.direct()).await;
    pair(&phone, &laptop).await;
    push(&phone, "hello").await;
    holds(&laptop, &["hello"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_relay_is_reached_while_its_web_side_is_away() {
    trace();
    let relay = TestRelay::start().await;
    let [mut phone, mut laptop] = paired(&relay).await;
    in_step(&phone).await;
    phone.close().await;
    laptop.close().await;
    repoint(&phone.dir.path().join("profile.db"), "http://127.0.0.1:9").await;
    phone.reopen().await;
    laptop.reopen().await;
    push(&phone, "by the kept place").await;
    holds(&laptop, &["by the kept place"]).await;
    in_step(&phone).await;
}

/// Makes the profile's one relay address another one, keeping what it led to.
async fn repoint(database: &std::path::Path, address: &str) {
    use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await.expect("opens");
    let done = sqlx::query("UPDATE relay_address SET address = ?").bind(address).execute(&mut connection).await;
    assert_eq!(done.expect("a profile").rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_may_be_empty_and_of_the_largest_size_but_no_larger() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    let too_large = vec![0; PAYLOAD_LEN_MAX + 1];
    assert_eq!(code(phone.push(too_large, PushOptions::default()).await), ErrorCode::BlobTooLarge);
    phone.push("", PushOptions::default()).await.expect("empty is fine");
    phone.push(vec![7; PAYLOAD_LEN_MAX], PushOptions::default()).await.expect("the largest there is");
    in_step(&phone).await;
    eventually(async || {
        let sizes: Vec<_> = log(&laptop).await.iter().map(|blob| blob.payload.len()).collect();
        if sizes == [0, PAYLOAD_LEN_MAX] { Ok(()) } else { Err(format!("{sizes:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_cut_where_asked_and_cursors_of_elsewhere_are_refused() {
    trace();
    let relay = TestRelay::start().await;
    let [mut phone, _laptop] = paired(&relay).await;
    for number in 1..=7 {
        push(&phone, &number.to_string()).await;
    }
    let page = phone.pull(LocalCursor::new(2), 3).await.expect("readable");
    assert_eq!(page.blobs.iter().map(|blob| blob.cursor.get()).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(page.has_more && page.blobs.iter().all(|blob| blob.own));
    let page = phone.pull(LocalCursor::new(4), 3).await.expect("readable");
    assert_eq!((page.blobs.len(), page.has_more), (3, false));
    assert!(phone.pull(LocalCursor::new(7), 3).await.expect("readable").blobs.is_empty());
    assert_eq!(code(phone.pull(LocalCursor::new(8), 3).await), ErrorCode::CursorUnknown);

    assert_eq!(code(phone.ack(LocalCursor::new(8)).await), ErrorCode::CursorUnknown);
    phone.ack(LocalCursor::new(5)).await.expect("acknowledged");
    phone.ack(LocalCursor::new(3)).await.expect("never moves back");
    assert_eq!(phone.last_cursor(), LocalCursor::new(5));
    phone.close().await;
    phone.reopen_offline().await;
    assert_eq!(phone.last_cursor(), LocalCursor::new(5));
    assert_eq!(phone.status().head_cursor, LocalCursor::new(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_of_blobs_and_the_slow_are_told_what_they_missed() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    let (mut quick, mut slow) = (laptop.subscribe(), laptop.subscribe());
    for number in 0..1_500 {
        phone.enqueue(number.to_string(), PushOptions::default()).await.expect("queued").done().await.expect("stored");
        if number == 0 {
            let first = loop {
                match quick.next().await.expect("an event") {
                    SyncEvent::Happened(Event::BlobAvailable { cursor, .. }) => break cursor,
                    SyncEvent::Happened(_) | SyncEvent::StatusChanged(_) | SyncEvent::Missed(_) => {}
                }
            };
            assert_eq!(first, LocalCursor::new(1));
        }
    }
    eventually(
        async || {
            if laptop.status().head_cursor.get() == 1_500 { Ok(()) } else { Err(format!("{:?}", laptop.status())) }
        },
    )
    .await;
    let missed = slow.next().await.expect("an event");
    assert!(matches!(missed, SyncEvent::Missed(count) if count > 400), "{missed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_that_a_device_has_left_its_group_and_of_the_next_one() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    in_step(&laptop).await;
    let mut events = laptop.subscribe();
    let told = async |events: &mut sync_client::EventStream, relays: usize| {
        let told = async {
            loop {
                match events.next().await.expect("an event") {
                    SyncEvent::StatusChanged(status) if status.relays.len() == relays => break,
                    SyncEvent::Happened(_) | SyncEvent::StatusChanged(_) | SyncEvent::Missed(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("is told")
    };
    laptop.leave_group(false).await.expect("everything is synced");
    told(&mut events, 0).await;
    assert_eq!(code(laptop.device_id()), ErrorCode::NoGroup);
    pair(&phone, &laptop).await;
    told(&mut events, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnected_means_nothing_goes_out_until_connected_again() {
    trace();
    let relay = TestRelay::start().await;
    let [phone, laptop] = paired(&relay).await;
    in_step(&phone).await;
    phone.disconnect().await.expect("in a group");
    push(&phone, "kept back").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(texts(&laptop).await.is_empty());
    assert_eq!(phone.status().badge, Badge::Offline);
    phone.connect().await.expect("in a group");
    holds(&laptop, &["kept back"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_talk_to_is_offline_and_closing_is_quick_all_the_same() {
    trace();
    let mut relay = TestRelay::start().await;
    let [phone, _laptop] = paired(&relay).await;
    in_step(&phone).await;
    relay.stop().await;
    let started = Instant::now();
    push(&phone, "later").await;
    assert_eq!(code(phone.sync(PATIENCE).await), ErrorCode::Offline);
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    let started = Instant::now();
    phone.close().await;
    assert!(started.elapsed() < Duration::from_millis(1_200), "{:?}", started.elapsed());
    assert_eq!(code(phone.push("no more", PushOptions::default()).await), ErrorCode::Closed);
}
