//! Stories about one device, one relay, one thing going wrong at a time.

use bytes::Bytes;
use sync_core::{Badge, Connection, Event, sim::Story};

#[test]
fn a_connection_that_carries_nothing_is_kept() {
    let mut net = Story::new(2, 1);
    net.push(0);
    net.rest();
    net.told(1);
    net.wait_ms(600_000);
    let told = net.told(1);
    assert!(!told.iter().any(|event| matches!(event, Event::Disconnected { .. })), "{told:?}");
}

#[test]
fn what_one_device_pushes_the_others_have() {
    let mut net = Story::new(3, 1);
    let draft = net.push(0);
    net.rest();
    assert_eq!(net.log(1), [draft]);
    assert_eq!(net.log(2), [draft]);
}

#[test]
fn a_push_survives_losing_its_ack_and_then_the_process() {
    let mut net = Story::new(2, 1);
    let draft = net.push(0);
    net.wait_ms(70); // On the relay, or nearly; the answer is not here yet.
    net.cut(0, 0);
    net.crash(0);
    net.mend(0, 0);
    net.rest();
    assert_eq!(net.log(1), [draft]);
    assert_eq!(net.log(0), [draft]);
}

#[test]
fn an_own_push_does_not_hide_what_came_before_it() {
    let mut net = Story::new(2, 1);
    net.cut(1, 0);
    let theirs: Vec<_> = (0..5).map(|_| net.push(0)).collect();
    net.wait_ms(6_000);
    net.mend(1, 0);
    let own = net.push(1);
    net.rest();
    assert_eq!(net.log(1), [&[own], theirs.as_slice()].concat());
}

#[test]
fn cursors_stay_as_they_were_handed_out() {
    let mut net = Story::new(2, 1);
    for _ in 0..4 {
        net.push(0);
        net.push(1);
    }
    net.rest();
    let before = net.cursors(1);
    net.crash(1);
    net.stop_relay(0);
    net.wipe_relay(0);
    net.start_relay(0);
    net.rest();
    assert_eq!(net.cursors(1), before);
}

#[test]
fn offline_is_said_and_what_is_pushed_meanwhile_is_sent_later() {
    let mut net = Story::new(2, 1);
    net.stop_relay(0);
    net.wait_ms(6_000);
    let draft = net.push(0);
    assert_eq!(net.badge(0), Badge::Offline);
    assert_eq!(net.status(0).pending, 1);
    net.start_relay(0);
    net.rest();
    assert_eq!((net.badge(0), net.log(1)), (Badge::Synced, vec![draft]));
}

#[test]
fn synced_is_not_said_before_the_relay_has_it() {
    let mut net = Story::new(2, 1);
    net.push(0);
    assert_eq!(net.badge(0), Badge::Pending);
    net.rest();
    assert_eq!(net.badge(0), Badge::Synced);
}

#[test]
fn a_wiped_relay_is_filled_again_though_the_one_who_pushed_is_gone() {
    let mut net = Story::new(3, 1);
    let draft = net.push(1);
    net.rest();
    net.set_online(2, false);
    net.die(1);
    let on_relay = net.on_relay(0);
    net.stop_relay(0);
    net.wipe_relay(0);
    net.start_relay(0);
    net.rest();
    assert_eq!(net.on_relay(0), on_relay);
    let newcomer = net.join();
    net.rest();
    assert_eq!(net.log(newcomer), [draft]);
}

#[test]
fn a_wiped_relay_is_given_what_another_has_still_to_show() {
    // Which of the two is read first is a matter of milliseconds.
    for blobs in 1..=40 {
        let mut net = Story::new(2, 2);
        net.set_online(0, false);
        for _ in 0..blobs {
            net.push(1);
        }
        net.wait_ms(20_000);
        net.die(1);
        net.stop_relay(0);
        net.wipe_relay(0);
        net.start_relay(0);
        net.set_online(0, true);
        net.rest();
        assert_eq!((net.log(0).len(), net.on_relay(0)), (blobs, net.on_relay(1)));
    }
}

#[test]
fn a_wiped_relay_is_given_what_waits_though_nothing_else_is_held() {
    let mut net = Story::new(1, 1);
    let pusher = net.join();
    net.set_online(0, false);
    let pushed = net.push(pusher);
    net.wait_ms(6_000);
    let envelope = net.newest_of(pusher);
    net.die(pusher);
    let wiped = |net: &mut Story| {
        net.stop_relay(0);
        net.wipe_relay(0);
        net.start_relay(0);
    };
    wiped(&mut net);
    net.set_online(0, true);
    net.wait_ms(2_000);
    // Of what it pushed only the last has come through: its introduction is lost.
    net.inject(0, envelope);
    net.wait_ms(2_000);
    assert_eq!((net.status(0).waiting, net.log(0)), (1, vec![]));
    wiped(&mut net);
    net.rest();
    let newcomer = net.join();
    net.rest();
    assert_eq!(net.log(newcomer), [pushed]);
}

#[test]
fn a_relay_restored_from_a_copy_is_noticed_even_when_it_has_grown_past_what_was_read() {
    let mut net = Story::new(2, 1);
    net.copy_relay(0);
    let lost = net.push(0);
    net.rest();
    net.set_online(0, false);
    net.set_online(1, false);
    net.wait_ms(6_000);
    net.stop_relay(0);
    net.restore_relay(0);
    net.start_relay(0);
    // The one that was not told grows the log past what the other had read of the lost one.
    let newcomer = net.join();
    let new: Vec<_> = (0..6).map(|_| net.push(newcomer)).collect();
    net.wait_ms(2_000);
    net.told(1);
    net.rest();
    assert!(net.told(1).iter().any(|event| matches!(event, Event::RelayRegressed { .. })));
    for device in [0, 1, newcomer] {
        let log = net.log(device);
        assert!(log.contains(&lost) && new.iter().all(|blob| log.contains(blob)), "{device}: {log:?}");
    }
}

#[test]
fn that_a_relay_lost_rows_outlasts_a_crash_though_they_are_there_again_by_then() {
    let mut net = Story::new(3, 2);
    net.copy_relay(0);
    net.push(0);
    net.wait_ms(20_000);
    // What follows the first reads nowhere, and the second by the other relay alone.
    net.cut(0, 1);
    net.set_online(0, false);
    net.cut(1, 0);
    net.wait_ms(6_000);
    let lost = net.push(2);
    net.wait_ms(6_000);
    assert!(net.log(1).contains(&lost));
    net.die(2);
    net.stop_relay(0);
    net.restore_relay(0);
    net.start_relay(0);
    net.told(1);
    net.mend(1, 0);
    let regressed = |net: &mut Story| net.told(1).iter().any(|event| matches!(event, Event::RelayRegressed { .. }));
    let noticed = (0..30_000).any(|_| {
        net.wait_ms(1);
        regressed(&mut net)
    });
    assert!(noticed);
    net.crash(1);
    net.set_online(1, false);
    // All that the second had read there is there again.
    net.set_online(0, true);
    net.wait_ms(60_000);
    assert_eq!(net.on_relay(0) + 1, net.on_relay(1));
    net.rest();
    assert_eq!(net.on_relay(0), net.on_relay(1));
}

#[test]
fn what_expired_before_it_was_read_is_a_gap_and_what_follows_is_handed_out() {
    let mut net = Story::new(2, 1);
    net.set_online(1, false);
    net.wait_ms(6_000);
    net.push_for(0, 5);
    let lasting = net.push(0);
    net.wait_ms(10_000);
    net.clean_up(0);
    net.told(1);
    net.rest();
    assert_eq!(net.log(1), [lasting]);
    let gaps = net.told(1).into_iter().filter(|event| matches!(event, Event::Gap { .. })).count();
    assert_eq!(gaps, 1);
}

#[test]
fn a_full_relay_refuses_by_name_and_is_drained_once_it_has_room() {
    let mut net = Story::new(2, 1);
    let before = net.push(1);
    net.rest();
    net.fill_relay(0, true);
    let draft = net.push(0);
    net.wait_ms(2_000);
    assert_eq!(net.badge(0), Badge::Failed);
    assert_eq!(net.status(0).relays[0].problem.map(|code| code.name()), Some("storage_full"));
    net.fill_relay(0, false);
    net.rest();
    assert_eq!(net.log(1), [before, draft]);
}

#[test]
fn a_full_disk_loses_nothing_that_was_confirmed() {
    let mut net = Story::new(2, 1);
    let first = net.push(0);
    net.fill_disk(0);
    net.push(0); // Never confirmed: nobody was told that it is safe.
    net.wait_ms(5_000);
    net.rest();
    let last = net.push(0);
    net.rest();
    assert_eq!(net.log(1), [first, last]);
}

#[test]
fn what_no_member_sealed_is_dropped_and_disturbs_nobody() {
    let mut net = Story::new(2, 1);
    let draft = net.push(0);
    net.rest();
    let mut forged = net.newest_of(0).to_vec();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    net.inject(0, Bytes::from(forged));
    net.inject(0, Bytes::from_static(b"not an envelope"));
    net.wait_ms(2_000);
    assert_eq!(net.log(1), [draft]);
    assert_eq!(net.badge(1), Badge::Synced);
    assert_eq!(net.status(1).parked, []);
}

#[test]
fn a_replayed_envelope_is_handed_out_once() {
    let mut net = Story::new(2, 1);
    let draft = net.push(0);
    net.rest();
    net.inject(0, net.newest_of(0));
    net.wait_ms(2_000);
    assert_eq!(net.log(1), [draft]);
    assert_eq!(net.log(0), [draft]);
}

#[test]
fn a_newcomer_has_the_whole_history() {
    let mut net = Story::new(2, 2);
    let blobs: Vec<_> = (0..30).map(|index| net.push(index % 2)).collect();
    net.rest();
    let newcomer = net.join();
    net.rest();
    let mut log = net.log(newcomer);
    log.sort_unstable();
    assert_eq!(log, blobs);
}

#[test]
fn what_a_member_signed_and_nobody_can_read_is_parked_and_shown_never_skipped() {
    let mut net = Story::new(2, 1);
    let unreadable = net.sealed_under_another_key(0);
    net.inject(0, unreadable);
    let newer = net.sealed_by_a_newer_version(0);
    net.inject(0, newer);
    net.wait_ms(2_000);
    let mut reasons: Vec<_> = net.status(1).parked.iter().map(|(_, reason)| reason.name()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["key_missing", "too_new"]);
    assert_eq!(net.badge(1), Badge::Failed);
    // It is tried again at every start, and told only once.
    net.told(1);
    net.crash(1);
    net.wait_ms(6_000);
    assert_eq!(net.status(1).parked.len(), 2);
    assert!(!net.told(1).iter().any(|event| matches!(event, Event::Parked { .. })));
}

#[test]
fn with_one_of_two_relays_gone_a_device_is_connected_and_goes_on() {
    let mut net = Story::new(2, 2);
    let before = net.cursors(1);
    net.stop_relay(0);
    net.wait_ms(6_000);
    let draft = net.push(0);
    net.wait_ms(2_000);
    assert_eq!(net.status(1).connection, Connection::Connected);
    assert_eq!((net.log(1), before.len()), (vec![draft], 0));
    // Not everywhere yet, and it says so.
    assert_eq!((net.badge(0), net.status(0).pending), (Badge::Pending, 1));
    net.start_relay(0);
    net.rest();
    assert_eq!(net.log(1), [draft]);
}

#[test]
fn a_copied_device_that_fell_behind_goes_on_as_another_and_loses_nothing() {
    let mut net = Story::new(2, 1);
    let copy = net.copy_device(0);
    let was = net.id(copy);
    let theirs: Vec<_> = (0..3).map(|_| net.push(copy)).collect();
    let ours: Vec<_> = (0..3).map(|_| net.push(0)).collect();
    net.wait_ms(2_000);
    net.told(1);
    net.set_online(copy, true);
    net.rest();
    assert_eq!(net.id(0), was, "the original never noticed");
    assert_ne!(net.id(copy), was, "the later one did");
    for device in [0, 1, copy] {
        let mut log = net.log(device);
        log.sort_unstable();
        assert_eq!(log, [theirs.clone(), ours.clone()].concat());
        assert_eq!(net.badge(device), Badge::Synced);
        assert_eq!(net.copy_of(device, copy), Some(was));
        assert_eq!(net.copy_of(device, 0), None);
    }
    // What the copy pushed before keeps its place in its own log, and its app hears who it is by now.
    assert_eq!(net.log(copy)[..3], theirs);
    let changed = net.told(copy).into_iter().filter(|event| matches!(event, Event::IdentityChanged { .. })).count();
    assert_eq!(changed, 1);
    let joined = net.told(1).into_iter().filter(|event| matches!(event, Event::DeviceJoined { .. })).count();
    assert_eq!(joined, 1, "the others see it as a device that joined");
    // Both go on, through a crash as well.
    net.crash(copy);
    let later = net.push(0);
    net.rest();
    let last = net.push(copy);
    net.rest();
    for device in [0, 1, copy] {
        assert!([later, last].iter().all(|number| net.log(device).contains(number)));
    }
}

#[test]
fn of_two_installations_that_push_at_once_both_go_on_as_others_and_nothing_is_left_aside() {
    let mut net = Story::new(2, 1);
    let copy = net.copy_device(0);
    let was = net.id(0);
    net.set_online(copy, true);
    net.wait_ms(2_000);
    let mut pushed = vec![net.push(copy), net.push(0)];
    pushed.sort_unstable();
    net.rest();
    assert!(net.id(0) != was && net.id(copy) != was && net.id(0) != net.id(copy));
    for device in [0, 1, copy] {
        let mut log = net.log(device);
        log.sort_unstable();
        assert_eq!(log, pushed, "device {device} has each of the two once");
        assert_eq!(net.badge(device), Badge::Synced);
        assert_eq!((net.copy_of(device, 0), net.copy_of(device, copy)), (Some(was), Some(was)));
    }
}

#[test]
fn a_copy_of_a_copy_is_another_device_again_and_has_the_keys_of_all_it_was() {
    let mut net = Story::new(2, 1);
    let first = net.copy_device(0);
    let ours = net.push(0);
    net.wait_ms(1_000);
    net.set_online(first, true);
    net.rest();
    // New keys are sealed to the copy by now.
    net.rotate(1);
    net.rest();
    let before = net.id(first);
    let second = net.copy_device(first);
    let theirs = [net.push(first), net.push(second)];
    net.wait_ms(1_000);
    net.set_online(second, true);
    net.rest();
    assert_eq!(net.copy_of(1, second), Some(before));
    for device in [0, 1, first, second] {
        assert_eq!(net.log(device).len(), 3);
        assert!([ours, theirs[0], theirs[1]].iter().all(|number| net.log(device).contains(number)));
        assert_eq!(net.key(device), net.key(1));
    }
    net.crash(second);
    net.rest();
    assert_eq!(net.key(second), net.key(1), "and again from what is stored");
}

#[test]
fn a_removed_device_brings_no_copy_of_itself_in() {
    let mut net = Story::new(3, 1);
    let copy = net.copy_device(2);
    net.push(copy);
    net.push(2);
    net.wait_ms(1_000);
    net.remove(0, 2, true);
    net.wait_ms(2_000);
    let was = net.id(copy);
    net.set_online(copy, true);
    net.wait_ms(30_000);
    assert_eq!(net.id(copy), was, "it hears that it is removed, and stays what it was");
    assert!(net.status(copy).removed);
    let members = net.members(0);
    assert_eq!(members, net.members(1));
    assert_eq!(members, 2);
}

#[test]
fn a_new_name_is_on_all_devices_and_survives_a_crash() {
    let mut net = Story::new(3, 1);
    net.told(2);
    net.rename(1, 0, "Ann's laptop");
    net.rest();
    let renamed = net.told(2).into_iter().filter(|event| matches!(event, Event::DeviceRenamed { .. })).count();
    assert_eq!(renamed, 1);
    for device in 0..3 {
        net.crash(device);
    }
    net.rest();
    let newcomer = net.join();
    net.rest();
    for device in [0, 1, 2, newcomer] {
        assert_eq!(net.name(device, 0), "Ann's laptop");
        assert_eq!(net.badge(device), Badge::Synced);
    }
}

#[test]
fn two_names_given_at_once_become_one_and_a_hundred_leave_one_entry() {
    let mut net = Story::new(3, 1);
    net.cut(0, 0);
    net.cut(1, 0);
    net.rename(0, 2, "his");
    net.rename(1, 2, "hers");
    net.mend(0, 0);
    net.mend(1, 0);
    net.rest();
    let name = net.name(2, 2);
    assert!(["his", "hers"].contains(&name.as_str()));
    assert_eq!([net.name(0, 2), net.name(1, 2)], [name.clone(), name]);
    let before = net.roster_len(1);
    for number in 0..100 {
        net.rename(2, 2, &format!("name {number}"));
    }
    net.rest();
    assert_eq!((net.name(1, 2), net.roster_len(1)), ("name 99".to_owned(), before));
}

/// Who let the newcomer in had no relay, so nobody else ever gets to know the name that it gave.
#[test]
fn a_name_given_by_a_device_that_is_removed_is_everybodys_or_nobodys() {
    let mut net = Story::new(3, 1);
    net.cut(0, 0);
    net.wait_ms(6_000);
    net.rename(0, 1, "hers");
    let newcomer = net.join();
    net.wait_ms(6_000);
    assert!(net.counts(1, newcomer), "it has introduced itself");
    assert_eq!([net.name(newcomer, 1), net.name(2, 1)], ["hers", "device 1"]);
    net.remove(1, 0, true);
    net.rest();
    assert_eq!([net.name(newcomer, 1), net.name(1, 1), net.name(2, 1)], ["hers", "hers", "hers"]);
}

#[test]
fn who_is_connected_is_seen_and_who_went_was_seen_then() {
    let mut net = Story::new(3, 1);
    net.rest();
    assert_eq!((net.sees(0, 1), net.sees(0, 0)), ((true, Some(0)), (true, Some(0))));
    net.told(0);
    net.set_online(1, false);
    net.wait_ms(10_000);
    let (online, ago_ms) = net.sees(0, 1);
    assert!(!online && ago_ms.is_some_and(|ms| (8_000..=10_000).contains(&ms)), "{ago_ms:?}");
    let told = net.told(0).into_iter().filter(|event| matches!(event, Event::DevicePresence { online: false, .. }));
    assert_eq!(told.count(), 1);
    net.crash(0);
    net.wait_ms(8_000);
    let (online, ago_ms) = net.sees(0, 1);
    assert!(!online && ago_ms.is_some_and(|ms| (16_000..=90_000).contains(&ms)), "{ago_ms:?}, to the minute");
    // Offline oneself, nobody is there.
    net.set_online(0, false);
    assert_eq!((net.sees(0, 2).0, net.sees(0, 0).0), (false, false));
}

#[test]
fn an_envelope_shows_when_its_device_was_there_by_no_clock_that_is_ahead() {
    let mut net = Story::new(3, 1);
    net.set_online(2, false);
    net.wait_ms(200_000);
    net.set_clock(1, 3_600_000);
    net.push(1);
    net.wait_ms(5_000);
    net.set_online(1, false);
    net.wait_ms(100_000);
    net.set_online(2, true);
    net.wait_ms(5_000);
    // Its own clock is an hour ahead; the relay had the envelope 110 seconds ago.
    let (online, ago_ms) = net.sees(2, 1);
    assert!(!online && ago_ms.is_some_and(|ms| (100_000..=112_000).contains(&ms)), "{ago_ms:?}");
}
