//! Stories of groups that get another id: where their logs go, who is told, and who is sent away.

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use support::{
    Device, Group, Line, Running, SOON, blobs, envelope, expiring, http, ids, is_refused, made, row_id, run_of, sized,
};
use sync_types::{
    BlobId, DeviceMsg, ErrorCode, Kind, RelayCursor, RelayMsg, Run,
    limits::{MOVED_BYTES_MAX, MOVED_PACKAGES_MAX},
    message::{Hello, Move, Presence, Push, features},
};
use tokio::time::timeout;

#[tokio::test]
async fn a_log_goes_on_under_the_new_id() {
    let relay = Running::start().await;
    let (phone, laptop, old, new) = (Device::new().await, Device::new().await, Group::new(1), Group::new(2));
    let (mut line, before) = phone.enter(&relay, &old).await;
    let sent: Vec<_> = (0..3).map(|n| envelope(phone.id(), n)).collect();
    for blob in &sent {
        line.push(blob).await;
    }
    let moving = line.moving(&new, &[(&old, b"sealed")], &[phone.id(), laptop.id()]);
    assert_eq!(line.try_move(moving).await, Ok(()));
    assert_eq!(is_refused(line).await, ErrorCode::GroupMoved, "its own session is over, once it was answered");

    let mut line = phone.dial(&relay).await;
    let hello = Hello { last_cursor: RelayCursor::new(2), log_id: Some(before.log_id), ..line.hello(&new) };
    line.say(DeviceMsg::Hello(hello)).await;
    let Some(RelayMsg::Welcome(after)) = line.hear().await else { panic!("not welcomed") };
    assert_eq!((after.log_id, after.max_cursor.get(), after.pending_count), (before.log_id, 3, 1));
    assert_eq!(after.features & features::MOVE, features::MOVE);
    assert_eq!(line.pull(2, run_of(&sent[..2]), 0).await.rows.0.len(), 1, "a position in it is still one");
    assert_eq!(line.push(&sent[1]).await.cursor, RelayCursor::new(2));
    assert_eq!(line.push(&envelope(phone.id(), 9)).await.cursor, RelayCursor::new(4));
    assert_eq!((relay.health("groups").await, relay.health("blobs_stored").await), (1, 4));
    let (_, metrics) = http(relay.http, "GET", "/metrics", &[], "").await;
    assert!(metrics.contains("\nsync_relay_groups_moved_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn whoever_comes_by_the_old_id_is_told_what_was_left_there_and_makes_nothing() {
    let relay = Running::start().await;
    let (phone, late, old, new) = (Device::new().await, Device::new().await, Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &old).await;
    let moving = line.moving(&new, &[(&old, b"one")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    let mut line = phone.session(&relay, &new).await;
    let moving = line.moving(&new, &[(&old, b"two")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    assert_eq!(late.is_told(&relay, &old).await, ["one", "two"]);
    assert_eq!(line.push(&envelope(phone.id(), 1)).await.cursor.get(), 1, "the session under the new id goes on");

    // An older device has no word for that, and a stranger is none that anything was left for.
    let mut older = late.dial(&relay).await;
    let hello = older.hello(&old);
    older.say(DeviceMsg::Hello(hello)).await;
    assert_eq!(is_refused(older).await, ErrorCode::GroupMoved);
    let mut stranger = late.dial(&relay).await;
    let signature = stranger.hello(&Group::new(3)).signature;
    let hello = Hello { signature, features: features::MOVE, ..stranger.hello(&old) };
    stranger.say(DeviceMsg::Hello(hello)).await;
    assert_eq!(is_refused(stranger).await, ErrorCode::AuthFailed);
    relay.health_becomes("connections", 1).await;
    assert_eq!(relay.health("groups").await, 1);
}

#[tokio::test]
async fn a_slow_line_is_given_the_time_it_takes() {
    let relay = Running::start().await;
    let (phone, old, new) = (Device::new().await, Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &new).await;
    let large = vec![7; MOVED_BYTES_MAX];
    let moving = line.moving(&new, &[(&old, large.as_slice())], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    let mut slow = Device::with_window(16 * 1024).await.dial(&relay).await;
    let hello = Hello { features: features::MOVE, ..slow.hello(&old) };
    slow.say(DeviceMsg::Hello(hello)).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let Some(RelayMsg::Moved(moved)) = slow.hear().await else { panic!("not told") };
    assert_eq!(moved.packages.0, [Bytes::from(large)]);
    // It is no session, and keeps a relay that stops from nothing.
    let mut silent = Device::with_window(16 * 1024).await.dial(&relay).await;
    let hello = Hello { features: features::MOVE, ..silent.hello(&old) };
    silent.say(DeviceMsg::Hello(hello)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    relay.stop().await;
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_old_ids_sessions_are_told_ended_and_can_do_nothing_more() {
    let relay = Running::start().await;
    let (phone, removed, idle, follower) =
        (Device::new().await, Device::new().await, Device::new().await, Device::new().await);
    let (old, new) = (Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &new).await;
    let mut out = removed.session(&relay, &old).await;
    let idle = idle.session(&relay, &old).await;
    let mut follower = follower.session(&relay, &old).await;
    follower.say_pull(0, Run::START, 0, true).await;
    follower.page().await;
    out.push(&envelope(removed.id(), 1)).await;
    assert_eq!(follower.page().await.rows.0.len(), 1);

    let moving = line.moving(&new, &[(&old, b"")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    assert_eq!(is_refused(follower).await, ErrorCode::GroupMoved);
    let mut idle = idle;
    assert!(matches!(idle.hear().await, Some(RelayMsg::Notify(_))));
    assert_eq!(is_refused(idle).await, ErrorCode::GroupMoved);
    // Whatever it says now is refused, or not even read.
    for n in 2..100 {
        let envelope = envelope(removed.id(), n).as_bytes().clone();
        let push = DeviceMsg::from(Push { id: 9, age_s: 0, envelope });
        if out.send.write_all(&push.to_frame()).await.is_err() {
            break;
        }
    }
    loop {
        match out.hear().await {
            Some(RelayMsg::Refused(refused)) => assert_eq!(refused.error(), ErrorCode::GroupMoved),
            None => break,
            other => panic!("{other:?}"),
        }
    }
    line.push(&envelope(phone.id(), 1)).await;
    assert_eq!(blobs(&mut line).await, ids(&[envelope(removed.id(), 1), envelope(phone.id(), 1)]));
    assert_eq!(removed.is_told(&relay, &old).await, [""]);
    relay.health_becomes("connections", 1).await;
}

#[tokio::test]
async fn logs_become_one_and_those_who_read_it_hear_of_it() {
    let relay = Running::start().await;
    let (phone, laptop, tablet) = (Device::new().await, Device::new().await, Device::new().await);
    let (one, two, new) = (Group::new(1), Group::new(2), Group::new(3));
    let sent: Vec<_> = (0..6).map(|n| envelope(phone.id(), n)).collect();
    let mut first = phone.session(&relay, &one).await;
    let mut second = phone.session(&relay, &two).await;
    for blob in &sent[..3] {
        first.push(blob).await;
    }
    for blob in &sent[2..5] {
        second.push(blob).await;
    }
    let mut line = laptop.session(&relay, &new).await;
    line.push(&sent[5]).await;
    let mut following = tablet.session(&relay, &new).await;
    following.say_pull(0, Run::START, 0, true).await;
    let page = following.page().await;
    assert_eq!(page.rows.0.iter().map(row_id).collect::<Vec<_>>(), ids(&sent[5..]));

    let moving = line.moving(&new, &[(&one, b"1"), (&two, b"2")], &[phone.id(), laptop.id()]);
    line.try_move(moving).await.expect("in order");
    let merged: Vec<_> = sent[5..].iter().chain(&sent[..5]).cloned().collect();
    let mut seen = 1;
    while seen < 6 {
        let page = following.page().await;
        assert_ne!(page.rows.0, [], "a page that tells nothing");
        assert_eq!(page.rows.0.iter().map(row_id).collect::<Vec<_>>(), ids(&merged[seen..seen + page.rows.0.len()]));
        seen += page.rows.0.len();
    }
    assert_eq!(line.pull(6, run_of(&merged), 0).await.rows.0, [], "chained like any rows");
    assert_eq!(line.push(&sent[0]).await.cursor, RelayCursor::new(2), "known");
    for (line, group) in [(first, &one), (second, &two)] {
        assert_eq!(is_refused(line).await, ErrorCode::GroupMoved);
        assert_eq!(phone.is_told(&relay, group).await.len(), 1);
    }
    assert_eq!((relay.health("groups").await, relay.health("blobs_stored").await), (1, 6));
}

#[tokio::test]
async fn one_move_ends_a_chain_of_ids_and_none_of_them_lives_again() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new);
    let mut line = phone.session(&relay, &group(1)).await;
    line.push(&envelope(phone.id(), 1)).await;
    let moving = line.moving(&group(2), &[(&group(1), b"1")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");

    // The relay has missed two ids, and hears of them all at once, from a session of any group.
    let mut line = phone.session(&relay, &group(50)).await;
    let ended = [(&group(2), b"2".as_slice()), (&group(1), b"1, too"), (&group(3), b"3"), (&group(4), b"4")];
    let moving = line.moving(&group(5), &ended, &[phone.id()]);
    let again = Move { id: 77, ..moving.clone() };
    line.try_move(moving).await.expect("in order");
    line.try_move(again).await.expect("repeated");
    assert_eq!(phone.is_told(&relay, &group(1)).await, ["1", "1, too"]);
    for n in 2..=4 {
        assert_eq!(phone.is_told(&relay, &group(n)).await.len(), 1);
    }
    assert_eq!(blobs(&mut phone.session(&relay, &group(5)).await).await, ids(&[envelope(phone.id(), 1)]));

    // Nor by being moved to, from elsewhere or from where it went.
    let backwards = line.moving(&group(3), &[(&group(50), b"")], &[phone.id()]);
    assert_eq!(line.try_move(backwards).await, Err(ErrorCode::GroupMoved));
    assert_eq!(phone.is_told(&relay, &group(3)).await.len(), 1);
    let mut line = phone.session(&relay, &group(5)).await;
    let in_a_circle = line.moving(&group(3), &[(&group(5), b"")], &[phone.id()]);
    assert_eq!(line.try_move(in_a_circle).await, Err(ErrorCode::GroupMoved));
    line.push(&envelope(phone.id(), 2)).await;
}

#[tokio::test]
async fn a_move_takes_every_key_it_names_on_this_very_connection() {
    let relay = Running::start().await;
    let (phone, stranger, old, new) = (Device::new().await, Device::new().await, Group::new(1), Group::new(2));
    let mut member = phone.session(&relay, &old).await;
    member.push(&envelope(phone.id(), 1)).await;
    let overheard = member.moving(&new, &[(&old, b"left")], &[phone.id()]);

    let mut line = stranger.session(&relay, &Group::new(9)).await;
    let theirs = Group::new(8);
    let alter = |change: &dyn Fn(&mut Move), line: &mut Line| {
        let mut moving = line.moving(&new, &[(&Group::new(7), b"7"), (&old, b"left")], &[]);
        change(&mut moving);
        moving
    };
    let forged = |line: &mut Line| line.moving(&theirs, &[(&theirs, b"left")], &[]);
    let (forged_over, forged_new) = (forged(&mut line).over.0[0].clone(), forged(&mut line));
    let to_another = line.moving(&theirs, &[(&old, b"left")], &[]).over.0[0].signature.clone();
    type Change<'a> = &'a dyn Fn(&mut Move);
    let bad: [(&str, Change<'_>); 8] = [
        ("signed by another key than the id's", &|moving| moving.over.0[1].signature = forged_over.signature.clone()),
        ("another key under the id", &|moving| moving.over.0[1].auth_public = forged_over.auth_public),
        ("another package", &|moving| moving.over.0[1].package = Bytes::from_static(b"right")),
        ("ended in favour of another", &|moving| moving.over.0[1].signature = to_another.clone()),
        ("the new id without its key", &|moving| moving.signature = forged_new.signature.clone()),
        ("another key under the new id", &|moving| moving.auth_public = forged_new.auth_public),
        ("another new id", &|moving| moving.group = forged_new.group),
        ("half a signature", &|moving| moving.signature.truncate(32)),
    ];
    for (what, change) in bad {
        let moving = alter(change, &mut line);
        assert_eq!(line.try_move(moving).await, Err(ErrorCode::AuthFailed), "{what}");
    }
    assert_eq!(line.try_move(overheard.clone()).await, Err(ErrorCode::AuthFailed), "made on another connection");
    // With a key of one's own everything can be signed, but for another's id.
    let moving = line.moving(&theirs, &[(&old.opened_by(&theirs), b"left")], &[]);
    assert_eq!(line.try_move(moving).await, Err(ErrorCode::AuthFailed), "the key is not the id's");
    let moving = line.moving(&new.opened_by(&theirs), &[(&theirs, b"left")], &[]);
    assert_eq!(line.try_move(moving).await, Err(ErrorCode::AuthFailed), "nor the new id's");

    let onto_itself = line.moving(&new, &[(&old, b""), (&new, b"")], &[]);
    assert_eq!(line.try_move(onto_itself).await, Err(ErrorCode::Malformed));
    let half = vec![0; MOVED_BYTES_MAX / 2 + 1];
    let too_large = line.moving(&new, &[(&old, half.as_slice()), (&theirs, half.as_slice())], &[]);
    assert_eq!(line.try_move(too_large).await, Err(ErrorCode::Malformed));
    line.push(&envelope(stranger.id(), 1)).await;

    // Nothing of it was done.
    member.push(&envelope(phone.id(), 2)).await;
    assert_eq!(relay.health("groups").await, 2);
    assert_eq!(member.try_move(overheard).await, Ok(()));
}

#[tokio::test]
async fn a_group_is_moved_before_the_greeting_and_entered_by_its_new_id() {
    let relay = Running::start().await;
    let (phone, old, new) = (Device::new().await, Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &old).await;
    line.push(&envelope(phone.id(), 1)).await;
    line.goodbye();

    let mut line = phone.dial(&relay).await;
    let moving = line.moving(&new, &[(&old, b"left")], &[phone.id()]);
    line.try_move(moving).await.expect("its signatures say all there is to know");
    line.greet(&new).await;
    assert_eq!(blobs(&mut line).await.len(), 1, "the log came along");
}

#[tokio::test]
async fn who_moves_a_group_hears_of_who_did_so_before() {
    let relay = Running::start().await;
    let (phone, laptop) = (Device::new().await, Device::new().await);
    let [old, one, other] = [1, 2, 3].map(Group::new);
    let mut line = phone.session(&relay, &old).await;
    let moving = line.moving(&one, &[(&old, b"by the phone")], &[]);
    assert!(line.move_and_hear(moving).await.is_empty());
    let mut line = laptop.dial(&relay).await;
    let moving = line.moving(&other, &[(&old, b"by the laptop")], &[]);
    assert_eq!(line.move_and_hear(moving).await, [Bytes::from_static(b"by the phone")]);
}

#[tokio::test]
async fn who_is_behind_itself_is_refused_and_told_where_the_group_went_by_its_greeting() {
    let relay = Running::start().await;
    let (phone, laptop) = (Device::new().await, Device::new().await);
    let [first, second, third] = [1, 2, 3].map(Group::new);
    let mut line = phone.session(&relay, &second).await;
    line.push(&envelope(phone.id(), 1)).await;
    let moving = line.moving(&third, &[(&second, b"on")], &[]);
    line.try_move(moving).await.expect("in order");
    let mut line = laptop.session(&relay, &first).await;
    line.push(&envelope(laptop.id(), 1)).await;
    let moving = line.moving(&second, &[(&first, b"to where it is no more")], &[]);
    assert_eq!(line.try_move(moving).await, Err(ErrorCode::GroupMoved));
    assert_eq!(laptop.is_told(&relay, &second).await, [Bytes::from_static(b"on")]);
    let mut line = laptop.session(&relay, &first).await;
    let moving = line.moving(&third, &[(&first, b"to where it is")], &[]);
    line.try_move(moving).await.expect("in order");
    let mut line = phone.session(&relay, &third).await;
    assert_eq!(blobs(&mut line).await.len(), 2);
}

#[tokio::test]
async fn what_a_full_relay_cannot_keep_it_moves_all_the_same() {
    let relay = Running::with(|config| config.storage.max_db_size = 300_000).await;
    let (phone, old, new) = (Device::new().await, Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &old).await;
    let mut n = 0;
    while line.try_push(&sized(phone.id(), n, 10_000)).await.is_ok() {
        n += 1;
    }
    assert_eq!(line.try_push(&sized(phone.id(), n, 10_000)).await, Err(ErrorCode::StorageFull));
    // Nobody's ids find no room on it, a group's do.
    let large = vec![7; MOVED_BYTES_MAX];
    let nobodys = line.moving(&Group::new(9), &[(&Group::new(8), large.as_slice())], &[phone.id()]);
    assert_eq!(line.try_move(nobodys).await, Err(ErrorCode::StorageFull));
    let moving = line.moving(&new, &[(&old, large.as_slice())], &[phone.id()]);
    line.try_move(moving).await.expect("removal works on a full relay");
    let mut line = phone.session(&relay, &new).await;
    assert_eq!(blobs(&mut line).await.len() as u64, n);
    line.push(&made(phone.id(), 1_000, 1_000, Kind::Control, 0)).await;
    assert_eq!(phone.is_told(&relay, &old).await, [Bytes::from(large)], "as much as there may be, all of it");
}

#[tokio::test]
async fn leaving_something_costs_an_address_what_a_group_does_and_repeating_it_nothing() {
    let relay = Running::with(|config| config.limits.groups_per_ip_hour = 4).await;
    let (phone, group) = (Device::new().await, Group::new);
    let mut line = phone.session(&relay, &group(1)).await;
    // One for the group, and one for all ids of a MOVE.
    let ended: Vec<_> = (10..40).map(group).collect();
    let ended: Vec<_> = ended.iter().map(|group| (group, b"".as_slice())).collect();
    let moving = line.moving(&group(1), &ended, &[phone.id()]);
    assert_eq!(line.try_move(moving.clone()).await, Ok(()));
    for _ in 0..10 {
        assert_eq!(line.try_move(moving.clone()).await, Ok(()), "that it is so already costs nothing");
    }
    for _ in 0..10 {
        let backwards = line.moving(ended[0].0, &[(&group(1), b"")], &[]);
        assert_eq!(line.try_move(backwards).await, Err(ErrorCode::GroupMoved), "nor does what is refused");
    }
    for n in [40, 41] {
        let moving = line.moving(&group(1), &[(&group(n), b"")], &[phone.id()]);
        assert_eq!(line.try_move(moving).await, Ok(()));
    }
    let one_more = line.moving(&group(1), &[(&group(42), b"")], &[phone.id()]);
    line.say(one_more).await;
    let Some(RelayMsg::Refused(refused)) = line.hear().await else { panic!("refused") };
    assert_eq!(refused.error(), ErrorCode::RateLimited);
    assert!((800_000..=900_001).contains(&refused.retry_after_ms), "{}", refused.retry_after_ms);
    assert_eq!(line.try_move(moving).await, Ok(()), "and still it costs nothing");
    // Nor does coming by an id that is over.
    assert_eq!(phone.is_told(&relay, &group(41)).await.len(), 1);
}

#[tokio::test]
async fn a_move_is_one_of_a_devices_requests() {
    let relay = Running::with(|config| {
        config.limits.messages_burst = 2;
        config.limits.messages_per_minute = 1;
    })
    .await;
    let (phone, old, new) = (Device::new().await, Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &Group::new(9)).await;
    let moving = line.moving(&new, &[(&old, b"")], &[phone.id()]);
    let wrong = Move { signature: Bytes::new(), ..moving.clone() };
    assert_eq!(line.try_move(wrong).await, Err(ErrorCode::AuthFailed));
    assert_eq!(line.try_move(moving.clone()).await, Ok(()));
    assert_eq!(line.try_move(moving).await, Err(ErrorCode::RateLimited));
}

#[tokio::test]
async fn a_restart_keeps_what_was_left_and_an_id_keeps_so_many() {
    let relay = Running::start().await;
    let (phone, old, new) = (Device::new().await, Group::new(1), Group::new(2));
    phone.session(&relay, &old).await.push(&envelope(phone.id(), 1)).await;
    let mut line = phone.session(&relay, &new).await;
    let package = |n: usize| n.to_be_bytes();
    for n in 0..=MOVED_PACKAGES_MAX {
        let moving = line.moving(&new, &[(&old, &package(n))], &[phone.id()]);
        line.try_move(moving).await.expect("in order");
    }
    let expected: Vec<_> = (1..=MOVED_PACKAGES_MAX).map(|n| Bytes::copy_from_slice(&package(n))).collect();
    assert_eq!(phone.is_told(&relay, &old).await, expected);
    let relay = relay.restart(|_| {}).await;
    assert_eq!(phone.is_told(&relay, &old).await, expected);
    assert_eq!(blobs(&mut phone.session(&relay, &new).await).await, ids(&[envelope(phone.id(), 1)]));
    assert_eq!(relay.health("groups").await, 1);
}

#[tokio::test]
async fn a_device_that_is_gone_is_waited_for_no_longer() {
    let relay = Running::with(|config| config.cleanup.interval = 1).await;
    let (phone, removed, old, new) = (Device::new().await, Device::new().await, Group::new(1), Group::new(2));
    removed.session(&relay, &old).await.goodbye();
    let mut line = phone.session(&relay, &old).await;
    line.push(&expiring(phone.id(), 1, 1)).await;
    line.ack(1).await;
    relay.health_becomes("blobs_stored", 0).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len(), 1, "its place is kept for the other device");
    let moving = line.moving(&new, &[(&old, b"")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    let mut line = phone.session(&relay, &new).await;
    let gone = async {
        loop {
            line.say_pull(0, Run::START, 0, false).await;
            match line.hear().await {
                Some(RelayMsg::Gap(gap)) => break gap,
                Some(RelayMsg::Page(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(timeout(SOON, gone).await.expect("it leaves").floor_cursor, RelayCursor::new(1));
}

#[tokio::test]
async fn who_is_there_is_told_under_the_new_id_alone() {
    let relay = Running::start().await;
    let (phone, removed, old, new) = (Device::new().await, Device::new().await, Group::new(1), Group::new(2));
    let out = removed.session(&relay, &old).await;
    let mut line = phone.session(&relay, &old).await;
    let moving = line.moving(&new, &[(&old, b"")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    let mut line = phone.dial(&relay).await;
    let hello = Hello { features: features::PRESENCE, ..line.hello(&new) };
    line.say(DeviceMsg::Hello(hello)).await;
    assert!(matches!(line.hear().await, Some(RelayMsg::Welcome(_))));
    let Some(RelayMsg::Presence(Presence { devices })) = line.hear().await else { panic!("not presence") };
    assert_eq!(devices.0, [phone.id()]);
    assert_eq!(is_refused(out).await, ErrorCode::GroupMoved);
}

#[tokio::test]
async fn pushes_before_a_move_are_in_its_log_and_those_behind_it_are_refused() {
    let relay = Running::start().await;
    let (phone, old, new) = (Device::new().await, Group::new(1), Group::new(2));
    let mut line = phone.session(&relay, &old).await;
    let moving = line.moving(&new, &[(&old, b"")], &[phone.id()]);
    let sent: Vec<_> = (0..20).map(|n| envelope(phone.id(), n)).collect();
    // One piece, so that the relay reads all of it before it does any of it.
    let mut said = Vec::new();
    for (id, blob) in (1_000..).zip(&sent) {
        if id == 1_010 {
            said.extend(DeviceMsg::from(moving.clone()).to_frame());
        }
        let push = Push { id, age_s: 0, envelope: blob.as_bytes().clone() };
        said.extend(DeviceMsg::from(push).to_frame());
    }
    line.send.write_all(&said).await.expect("written");
    let (mut acked, mut refused, mut moved) = (Vec::new(), 0, false);
    loop {
        match line.hear().await {
            Some(RelayMsg::PushAck(ack)) => {
                assert!(!moved, "a push was acknowledged after the move");
                acked.push(ack.blob_id);
            }
            Some(RelayMsg::MoveAck(_)) => moved = true,
            Some(RelayMsg::Refused(refusal)) => {
                assert_eq!((refusal.error(), moved), (ErrorCode::GroupMoved, true));
                refused += usize::from(refusal.id != 0);
            }
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(moved && refused <= 10);
    assert_eq!(acked, ids(&sent[..10]));
    assert_eq!(blobs(&mut phone.session(&relay, &new).await).await, acked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_pushes_that_race_a_move_none_is_acknowledged_and_lost() {
    const DEVICES: u64 = 4;
    const EACH: u64 = 250;
    let relay = Running::start().await;
    let phone = Device::new().await;
    // Two ids end at once, one log is renamed and the other merged into it, while both are pushed to.
    let (one, two, new) = (Group::new(1), Group::new(2), Group::new(3));
    let mut racing = Vec::new();
    for n in 0..DEVICES {
        let device = Device::new().await;
        let mut line = device.session(&relay, if n % 2 == 0 { &one } else { &two }).await;
        racing.push(tokio::spawn(async move {
            let mut acknowledged = BTreeSet::new();
            let mut waiting = 0;
            for n in 0..EACH {
                // As far ahead as a device goes that empties its queue.
                let push = sync_types::message::Push {
                    id: 9,
                    age_s: 0,
                    envelope: envelope(device.id(), n).as_bytes().clone(),
                };
                if line.send.write_all(&DeviceMsg::from(push).to_frame()).await.is_err() {
                    break;
                }
                waiting += 1;
                while waiting > 32 && heard(&mut line, &mut acknowledged).await {
                    waiting -= 1;
                }
            }
            while heard(&mut line, &mut acknowledged).await {}
            acknowledged
        }));
    }
    let mut line = phone.session(&relay, &Group::new(9)).await;
    while relay.health("blobs_stored").await < DEVICES * EACH / 8 {
        tokio::task::yield_now().await;
    }
    let moving = line.moving(&new, &[(&one, b"1"), (&two, b"2")], &[phone.id()]);
    line.try_move(moving).await.expect("in order");
    let mut acknowledged = BTreeSet::new();
    for device in racing {
        acknowledged.extend(timeout(SOON, device).await.expect("it ends").expect("no panic"));
    }
    let mut line = phone.session(&relay, &new).await;
    let kept: BTreeSet<_> = blobs(&mut line).await.into_iter().collect();
    assert!(
        acknowledged.is_subset(&kept),
        "{} of {} are lost",
        acknowledged.difference(&kept).count(),
        acknowledged.len()
    );
    assert!((1..DEVICES * EACH).contains(&(kept.len() as u64)), "{} came before it", kept.len());
    assert_eq!(relay.health("blobs_stored").await, kept.len() as u64);
}

/// Hears one answer to a push; false once the session is over.
async fn heard(line: &mut Line, acknowledged: &mut BTreeSet<BlobId>) -> bool {
    match line.hear().await {
        Some(RelayMsg::PushAck(ack)) => acknowledged.insert(ack.blob_id),
        Some(RelayMsg::Refused(refused)) => {
            assert_eq!(refused.error(), ErrorCode::GroupMoved);
            refused.id != 0
        }
        Some(RelayMsg::Notify(_)) => true,
        None => false,
        other => panic!("{other:?}"),
    }
}
