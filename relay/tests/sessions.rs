//! Stories of sessions: who is let in, what holds whom up, and how it ends.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use support::{Device, Group, Line, Running, SOON, envelope, is_closed_with, is_refused, row_id, run_of, sized};
use sync_types::{
    DeviceMsg, ErrorCode, RelayCursor, RelayMsg, Run,
    limits::{ALPN, ALPN_INVITE, ENVELOPE_LEN_MAX, FRAME_LEN_MAX, PROTOCOL_VERSION},
    message::{Hello, Page, Pull, RowKind},
};
use tokio::{net::UdpSocket, task::JoinSet, time::timeout};

#[tokio::test]
async fn what_one_device_pushes_the_other_pulls_and_follows() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut one = phone.session(&relay, &group).await;
    let (first, second) = (envelope(phone.id(), 1), envelope(phone.id(), 2));
    let ack = one.push(&first).await;
    assert_eq!(
        (ack.cursor, ack.run, ack.blob_id),
        (RelayCursor::new(1), run_of(std::slice::from_ref(&first)), first.blob_id())
    );

    let (mut two, welcome) = laptop.enter(&relay, &group).await;
    assert_eq!((welcome.max_cursor, welcome.floor_cursor, welcome.pending_count), (ack.cursor, RelayCursor::START, 1));
    assert_eq!((welcome.relay, welcome.limits.blob_len_max), (relay.id, 1 << 20));
    two.say_pull(0, Run::START, 0, true).await;
    let page = two.page().await;
    assert_eq!((page.rows.0.len(), page.max_cursor), (1, ack.cursor));
    assert_eq!(page.rows.0[0].bytes, *first.as_bytes());

    one.push(&second).await;
    let live = two.page().await;
    assert_eq!((live.after, live.max_cursor), (RelayCursor::new(1), RelayCursor::new(2)));
    assert_eq!(live.rows.0[0].bytes, *second.as_bytes());
    assert_eq!(relay.health("blobs_stored").await, 2);
}

#[tokio::test]
async fn a_follower_who_has_everything_is_told_so_at_once() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    line.say_pull(0, Run::START, 0, true).await;
    assert_eq!(line.page().await.rows.0, []);
    assert!(line.is_silent().await);
}

#[tokio::test]
async fn a_group_is_opened_by_its_key_and_by_nothing_else() {
    let relay = Running::start().await;
    let (member, stranger) = (Device::new().await, Device::new().await);
    let (group, other) = (Group::new(1), Group::new(2));
    member.session(&relay, &group).await.push(&envelope(member.id(), 1)).await;

    let attempt = async |forge: &dyn Fn(&Line) -> Hello| {
        let mut line = stranger.dial(&relay).await;
        let hello = forge(&line);
        line.say(DeviceMsg::Hello(hello)).await;
        is_refused(line).await
    };
    let named_only = attempt(&|line| Hello { group: group.id(), ..line.hello(&other) }).await;
    let wrong_key = attempt(&|line| {
        let (claimed, signed) = (line.hello(&group), line.hello(&other));
        Hello { signature: signed.signature, ..claimed }
    })
    .await;
    let own_key = attempt(&|line| line.hello(&group.opened_by(&other))).await;
    assert_eq!([named_only, wrong_key, own_key], [ErrorCode::AuthFailed; 3]);

    // A greeting that was overheard is worth nothing on another connection.
    let overheard = member.dial(&relay).await.hello(&group);
    assert_eq!(attempt(&|_| overheard.clone()).await, ErrorCode::AuthFailed);
    let another_version = attempt(&|line| Hello { version: PROTOCOL_VERSION + 1, ..line.hello(&group) }).await;
    assert_eq!(another_version, ErrorCode::VersionUnsupported);

    // With a key of one's own there is only a group of one's own, and it is empty.
    let (_, welcome) = stranger.enter(&relay, &other).await;
    assert_eq!(welcome.max_cursor, RelayCursor::START);
}

#[tokio::test]
async fn nothing_is_answered_before_the_greeting() {
    let relay = Running::start().await;
    let mut line = Device::new().await.dial(&relay).await;
    line.say_pull(0, Run::START, 0, false).await;
    assert_eq!(is_refused(line).await, ErrorCode::NotGreeted);
}

#[tokio::test]
async fn a_connection_that_never_greets_is_closed() {
    let relay = Running::start().await;
    let mut line = Device::new().await.dial(&relay).await;
    line.send.write_all(&[0]).await.expect("written");
    let begun = Instant::now();
    assert_eq!(is_refused(line).await, ErrorCode::IdleTimeout);
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn goodbye_frees_the_session_at_once() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let lines = [phone.session(&relay, &group).await, phone.session(&relay, &group).await];
    assert_eq!(relay.health("connections").await, 2);
    for line in lines {
        line.goodbye();
    }
    relay.health_becomes("connections", 0).await;
}

#[tokio::test]
async fn a_finished_stream_gets_its_answers_first() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    for n in 0..50 {
        line.begin_push(&envelope(phone.id(), n)).await;
    }
    line.say_pull(0, Run::START, 0, false).await;
    line.send.finish().expect("open");
    let (mut acked, mut pages) = (0, 0);
    loop {
        match line.hear().await {
            Some(RelayMsg::PushAck(ack)) => {
                acked += 1;
                assert_eq!(ack.cursor, RelayCursor::new(acked));
            }
            Some(RelayMsg::Page(_)) => pages += 1,
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((acked, pages), (50, 1));
    relay.health_becomes("connections", 0).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_in_holds_nobody_up() {
    let relay = Running::start().await;
    let (writer, slow, quick, group) = (Device::new().await, Device::new().await, Device::new().await, Group::new(1));
    let mut stalled = slow.session(&relay, &group).await;
    stalled.say_pull(0, Run::START, 1_000, true).await;
    let mut reading = quick.session(&relay, &group).await;
    reading.say_pull(0, Run::START, 1_000, true).await;
    let mut writing = writer.session(&relay, &group).await;

    // More than any window holds, so that the relay is stuck on its stalled reader before the end.
    let blobs: Vec<_> = (0..40).map(|n| sized(writer.id(), n, 400_000)).collect();
    let begun = Instant::now();
    let mut seen = Vec::new();
    for blob in &blobs {
        writing.push(blob).await;
        while seen.last() != Some(&blob.blob_id()) {
            seen.extend(reading.page().await.rows.0.iter().map(row_id));
        }
    }
    assert_eq!(seen.len(), blobs.len());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    // And its own pushes are taken all the same.
    stalled.begin_push(&envelope(slow.id(), 99)).await;
    relay.health_becomes("blobs_stored", 41).await;
    // Once it reads, it finds every row, in order.
    let mut caught_up = 0;
    while caught_up < 41 {
        let page = stalled.page().await;
        assert_eq!(page.after.get(), caught_up);
        caught_up += page.rows.0.len() as u64;
    }
}

/// Pushes without reading the answers until it has to wait, its relay stuck on them, with as much pushed as a
/// session may hold.
async fn stuck(relay: &Running, n: u8) -> Line {
    let device = Device::with_window(256).await;
    let mut line = device.session(relay, &Group::new(n)).await;
    let small = (0..600).map(|n| envelope(device.id(), n % 2));
    let large = (0..8).map(|n| sized(device.id(), 10 + n, ENVELOPE_LEN_MAX));
    let pushing = async {
        for push in small.chain(large) {
            line.begin_push(&push).await;
        }
    };
    assert!(timeout(Duration::from_secs(5), pushing).await.is_err(), "more than any window holds");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_byte_now_and_then_hold_no_push_up_and_are_hung_up_on() {
    let relay = Arc::new(Running::start().await);
    // What each of them may hold is together more than the relay takes at once.
    let mut strangers = JoinSet::new();
    for n in 1..=20 {
        let relay = Arc::clone(&relay);
        strangers.spawn(async move { stuck(&relay, n).await });
    }
    let mut lines = strangers.join_all().await;
    let (phone, group) = (Device::new().await, Group::new(200));
    let mut line = phone.session(&relay, &group).await;
    let pushed = timeout(Duration::from_secs(2), line.push(&sized(phone.id(), 1, 200_000))).await;
    assert!(pushed.is_ok(), "it waits for nobody's reader");

    let mut dripping = lines.swap_remove(0);
    let read = async {
        while let Ok(Some(_)) = dripping.receive.read_chunk(32).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    assert!(timeout(SOON, read).await.is_ok(), "less than a line so slow that nobody has it");
}

#[tokio::test]
async fn half_a_frame_blocks_neither_the_session_nor_others_and_ends_it_in_time() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut half = phone.session(&relay, &group).await;
    half.say_pull(0, Run::START, 0, true).await;
    assert_eq!(half.page().await.rows.0, []);
    half.send.write_all(&[0, 0, 1, 0, 0x10, 7]).await.expect("written");
    let begun = Instant::now();

    laptop.session(&relay, &group).await.push(&envelope(laptop.id(), 1)).await;
    assert_eq!(half.page().await.rows.0.len(), 1, "pages still come");
    assert_eq!(is_refused(half).await, ErrorCode::IdleTimeout);
    assert!((9..14).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    relay.health_becomes("connections", 0).await;
}

#[tokio::test]
async fn a_second_stream_is_not_to_be_had() {
    let relay = Running::start().await;
    let line = Device::new().await.session(&relay, &Group::new(1)).await;
    assert!(timeout(Duration::from_millis(500), line.connection.open_bi()).await.is_err());
    assert!(timeout(Duration::from_millis(500), line.connection.open_uni()).await.is_err());
}

#[tokio::test]
async fn what_is_no_message_ends_the_session_and_what_is_unknown_does_not() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));

    let mut line = phone.session(&relay, &group).await;
    // Type 0x7E, the array [9, nil].
    line.send.write_all(&[0, 0, 0, 4, 0x7E, 0x92, 9, 0xC0]).await.expect("written");
    assert_eq!(line.refusal().await, (9, ErrorCode::Unsupported));
    line.push(&envelope(phone.id(), 1)).await;

    // A PULL of one field.
    line.send.write_all(&[0, 0, 0, 3, 0x20, 0x91, 9]).await.expect("written");
    assert_eq!(is_refused(line).await, ErrorCode::Malformed);

    let mut line = phone.session(&relay, &group).await;
    let too_large = u32::try_from(FRAME_LEN_MAX + 1).expect("fits").to_be_bytes();
    line.send.write_all(&too_large).await.expect("written");
    assert_eq!(is_refused(line).await, ErrorCode::FrameTooLarge);

    let mut line = phone.session(&relay, &group).await;
    let again = line.hello(&group);
    line.say(DeviceMsg::Hello(again)).await;
    assert_eq!(is_refused(line).await, ErrorCode::Malformed);
}

#[tokio::test]
async fn a_device_over_its_rate_is_told_when_and_stays_connected() {
    let relay = Running::with(|config| {
        config.limits.messages_burst = 3;
        config.limits.messages_per_minute = 60;
    })
    .await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    for n in 0..3 {
        line.push(&envelope(phone.id(), n)).await;
    }
    line.say_pull(0, Run::START, 0, false).await;
    let Some(RelayMsg::Refused(refused)) = line.hear().await else { panic!("refused") };
    assert_eq!(refused.error(), ErrorCode::RateLimited);
    assert!((1..=1_001).contains(&refused.retry_after_ms), "{}", refused.retry_after_ms);

    // A new connection is no new allowance, and another device has its own.
    let mut again = phone.session(&relay, &group).await;
    assert_eq!(again.try_push(&envelope(phone.id(), 9)).await, Err(ErrorCode::RateLimited));
    laptop.session(&relay, &group).await.push(&envelope(laptop.id(), 1)).await;

    tokio::time::sleep(Duration::from_millis(refused.retry_after_ms.into())).await;
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len(), 4);
}

#[tokio::test]
async fn connections_are_capped_for_a_device_for_an_address_and_in_all() {
    let group = Group::new(1);
    let relay = Running::with(|config| config.limits.connections_per_device = 2).await;
    let phone = Device::new().await;
    let first = phone.session(&relay, &group).await;
    let _second = phone.session(&relay, &group).await;
    let mut third = phone.dial(&relay).await;
    let hello = third.hello(&group);
    third.say(DeviceMsg::Hello(hello)).await;
    assert_eq!(is_refused(third).await, ErrorCode::TooManyConnections);
    first.goodbye();
    relay.health_becomes("connections", 1).await;
    phone.session(&relay, &group).await;

    for (each, all) in [(2, 1_000), (1_000, 2)] {
        let relay = Running::with(|config| {
            config.limits.connections_per_ip = each;
            config.server.max_connections = all;
        })
        .await;
        let one = phone.session(&relay, &group).await;
        let _two = Device::new().await.session(&relay, &group).await;
        // At once, before it has said a word: whoever says none would stay for as long as he may be silent.
        let (device, begun) = (Device::new().await, Instant::now());
        is_closed_with(&device.connect(relay.id, relay.quic, ALPN).await, ErrorCode::TooManyConnections).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        // Mailboxes are another matter, and their connections take no session's place.
        let _inviting = device.connect(relay.id, relay.quic, ALPN_INVITE).await;
        one.goodbye();
        relay.health_becomes("connections", 1).await;
        device.session(&relay, &group).await;
    }
}

/// Begins so many handshakes from 127.0.0.1 and leaves them open. Of the relay's answers only the first gets through,
/// which asks for a proof of address, and not even that for one who has forged it.
async fn leave_handshakes_open(relay: &Running, count: usize, forged: bool) {
    const RETRY: u8 = 0xB0; // A long header of that type, RFC 9000, 17.2.5.
    let hole = UdpSocket::bind("127.0.0.1:0").await.expect("binds");
    let (id, quic, through) = (relay.id, relay.quic, hole.local_addr().expect("bound"));
    tokio::spawn(async move {
        let (mut datagram, mut stranger) = ([0; 2_048], quic);
        while let Ok((len, from)) = hole.recv_from(&mut datagram).await {
            let to = if from == quic { stranger } else { quic };
            if from != quic {
                stranger = from;
            } else if forged || datagram[0] & RETRY != RETRY {
                continue;
            }
            hole.send_to(&datagram[..len], to).await.expect("sent");
        }
    });
    let stranger = Arc::new(Device::new().await);
    for _ in 0..count {
        let stranger = Arc::clone(&stranger);
        tokio::spawn(async move { stranger.try_connect(id, through, ALPN).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[cfg(target_os = "linux")] // Elsewhere a machine's own address is one only.
#[tokio::test]
async fn handshakes_that_one_address_leaves_open_keep_no_other_out() {
    for forged in [false, true] {
        let relay = Running::with(|config| config.limits.connections_per_ip = 10).await;
        leave_handshakes_open(&relay, 40, forged).await;
        let (neighbour, other) = (Device::new().await, Device::at([127, 0, 0, 2].into()).await);
        let session = timeout(Duration::from_secs(3), other.session(&relay, &Group::new(1))).await;
        assert!(session.is_ok(), "it has places of its own");
        let entered = timeout(Duration::from_millis(500), neighbour.try_connect(relay.id, relay.quic, ALPN)).await;
        assert_eq!(matches!(entered, Ok(Some(_))), forged, "only who is there can take all of an address's places");
    }
}

#[tokio::test]
async fn an_address_starts_so_many_groups_and_no_more() {
    let relay = Running::with(|config| config.limits.groups_per_ip_hour = 2).await;
    let phone = Device::new().await;
    for n in [1, 2, 1, 2] {
        phone.session(&relay, &Group::new(n)).await.goodbye();
        relay.health_becomes("connections", 0).await;
    }
    let mut line = phone.dial(&relay).await;
    let hello = line.hello(&Group::new(3));
    line.say(DeviceMsg::Hello(hello)).await;
    assert_eq!(is_refused(line).await, ErrorCode::RateLimited);
    assert_eq!(relay.health("groups").await, 2);
}

#[tokio::test]
async fn one_who_does_not_follow_is_notified_once_of_the_newest_row() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut idle = laptop.session(&relay, &group).await;
    let mut line = phone.session(&relay, &group).await;
    let last = envelope(phone.id(), 20);
    for n in 1..20 {
        line.begin_push(&envelope(phone.id(), n)).await;
    }
    line.begin_push(&last).await;

    let mut notices = 0;
    let notify = loop {
        match idle.hear().await {
            Some(RelayMsg::Notify(notify)) if notify.cursor == RelayCursor::new(20) => break notify,
            Some(RelayMsg::Notify(_)) => notices += 1,
            other => panic!("{other:?}"),
        }
    };
    assert!(notices < 20);
    assert_eq!((notify.blob_id, notify.sender), (last.blob_id(), phone.id()));
    assert_eq!(notify.size as usize, last.as_bytes().len());
    assert!(idle.is_silent().await, "and of that once");

    // Its own rows are no news to a device; another's are, although its own came after them.
    idle.push(&envelope(laptop.id(), 1)).await;
    idle.goodbye();
}

#[tokio::test]
async fn own_pushes_come_back_as_their_ids_on_the_connection_they_came_by_only() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (own, others) = (envelope(phone.id(), 1), envelope(laptop.id(), 1));
    let mut line = phone.session(&relay, &group).await;
    line.push(&own).await;
    // Handing on what another device made is no reason not to be shown it.
    line.push(&others).await;
    let kinds = |page: &Page| page.rows.0.iter().map(|row| row.kind).collect::<Vec<_>>();
    let page = line.pull(0, Run::START, 0).await;
    assert_eq!(kinds(&page), [RowKind::Yours as u8, RowKind::Blob as u8]);
    assert_eq!(row_id(&page.rows.0[0]), own.blob_id());
    let page = phone.session(&relay, &group).await.pull(0, Run::START, 0).await;
    assert_eq!(kinds(&page), [RowKind::Blob as u8, RowKind::Blob as u8], "as a cloned device would see it");
}

#[tokio::test]
async fn a_new_pull_takes_the_place_of_the_one_that_follows() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    line.say_pull(0, Run::START, 0, true).await;
    line.page().await;
    let second = line.say_pull(0, Run::START, 0, true).await;
    assert_eq!(line.page().await.id, second);
    laptop.session(&relay, &group).await.push(&envelope(laptop.id(), 1)).await;
    let page = line.page().await;
    assert_eq!((page.id, page.rows.0.len()), (second, 1));
    assert!(line.is_silent().await, "one page, not two");
}

#[tokio::test]
async fn requests_are_answered_while_a_pull_follows() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let blob = sized(phone.id(), 1, ENVELOPE_LEN_MAX);
    line.push(&blob).await;
    line.say(Pull {
        id: 5,
        after: RelayCursor::new(1),
        run: run_of(std::slice::from_ref(&blob)),
        limit: 0,
        follow: true,
    })
    .await;
    line.page().await;
    assert_eq!(line.get(blob.blob_id()).await.as_ref(), Ok(blob.as_bytes()));
    assert_eq!(line.get(envelope(phone.id(), 9).blob_id()).await, Err(ErrorCode::NotFound));
}

#[tokio::test]
async fn stopping_commits_what_was_pushed_and_says_why_it_ends() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let blobs: Vec<_> = (0..200).map(|n| envelope(phone.id(), n)).collect();
    for blob in &blobs {
        line.begin_push(blob).await;
    }
    assert!(matches!(line.hear().await, Some(RelayMsg::PushAck(_))));
    let begun = Instant::now();
    relay.begin_to_stop();
    let mut acked = 1;
    let refused = loop {
        match line.hear().await {
            Some(RelayMsg::PushAck(_)) => acked += 1,
            Some(RelayMsg::Refused(refused)) => break refused,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((refused.id, refused.error()), (0, ErrorCode::ShuttingDown));
    let relay = relay.restart(|_| {}).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let (mut line, welcome) = phone.enter(&relay, &group).await;
    assert!(welcome.max_cursor.get() >= acked);
    let page = line.pull(0, Run::START, 1_000).await;
    assert_eq!(page.rows.0.len() as u64, welcome.max_cursor.get());
}
