//! Stories of devices that are removed, leave, and remove one another, and of new keys.

use sync_core::{Badge, sim::Story};

#[test]
fn a_removed_device_is_told_and_stops_and_the_others_go_on_under_a_key_it_lacks() {
    let mut net = Story::new(3, 1);
    let before = net.push(1);
    net.rest();
    let old = net.key(0);
    net.remove(0, 2, true);
    net.rest();
    net.wait_ms(10_000); // Nobody waits for the removed one to hear of it.
    assert!(net.status(2).removed);
    assert_eq!(net.badge(2), Badge::Failed);
    assert!(!net.counts(0, 2) && !net.counts(1, 2));
    let after = net.push(1);
    net.push(2); // Refused: it knows that it is out.
    net.rest();
    let new = net.sealed_under(1);
    assert_ne!(new, old);
    assert!(net.has_key(0, new) && !net.has_key(2, new));
    assert_eq!(net.log(0), [before, after]);
    assert_eq!(net.log(2), [before]);
}

#[test]
fn what_a_device_pushes_that_does_not_know_of_its_removal_is_taken_by_nobody() {
    let mut net = Story::new(3, 1);
    net.set_online(2, false);
    net.wait_ms(6_000);
    net.remove(0, 2, true);
    net.push(2);
    net.rest();
    let after = net.push(0);
    net.set_online(2, true);
    net.rest();
    net.wait_ms(10_000);
    assert!(net.status(2).removed);
    assert_eq!((net.log(0), net.log(1)), (vec![after], vec![after]));
}

#[test]
fn a_member_that_was_away_for_three_rotations_catches_up() {
    let mut net = Story::new(3, 1);
    net.set_online(2, false);
    net.wait_ms(6_000);
    let mut blobs = Vec::new();
    for device in [0, 1, 0] {
        blobs.push(net.push(device));
        net.wait_ms(2_000);
        net.rotate(device);
        net.wait_ms(5_000);
        blobs.push(net.push(device));
        net.wait_ms(2_000);
    }
    assert_ne!(net.key(2), net.key(0));
    net.rest();
    let mut log = net.log(2);
    log.sort_unstable();
    assert_eq!(log, blobs);
    assert_eq!((net.key(2), net.key(1)), (net.key(0), net.key(0)));
    assert_eq!(net.badge(2), Badge::Synced);
}

#[test]
fn what_was_pushed_offline_is_sealed_again_under_the_new_key() {
    let mut net = Story::new(3, 1);
    net.set_online(1, false);
    net.wait_ms(6_000);
    let draft = net.push(1);
    let old = net.sealed_under(1);
    let place = net.cursors(1);
    net.remove(0, 2, true);
    net.wait_ms(5_000);
    net.rest();
    assert_ne!(net.sealed_under(1), old);
    assert_eq!(net.sealed_under(1), net.key(0));
    assert!(!net.has_key(2, net.sealed_under(1)));
    assert_eq!(net.cursors(1), place, "the app was told where it is, and under which name");
    assert_eq!(net.log(0), [draft]);
}

#[test]
fn striking_a_device_off_keeps_the_key() {
    let mut net = Story::new(3, 1);
    let key = net.key(0);
    net.remove(0, 2, false);
    net.rest();
    net.wait_ms(10_000);
    assert!(net.status(2).removed);
    let draft = net.push(1);
    net.rest();
    assert_eq!((net.key(0), net.key(1)), (key, key));
    assert_eq!((net.log(0), net.log(2)), (vec![draft], vec![]));
}

#[test]
fn who_leaves_is_removed_by_those_who_stay() {
    let mut net = Story::new(3, 1);
    let before = net.push(2);
    net.rest();
    let old = net.key(0);
    net.leave(2);
    net.rest();
    net.wait_ms(10_000);
    assert!(net.status(2).removed);
    assert!(!net.counts(0, 2) && !net.counts(1, 2));
    assert_ne!(net.key(0), old);
    assert!(!net.has_key(2, net.key(0)));
    let after = net.push(0);
    net.rest();
    assert_eq!((net.log(1), net.log(2)), (vec![before, after], vec![before]));
}

#[test]
fn two_who_rotate_at_once_end_under_one_key() {
    let mut net = Story::new(3, 1);
    for device in [0, 1] {
        net.set_online(device, false);
    }
    net.wait_ms(6_000);
    net.rotate(0);
    net.rotate(1);
    let mut blobs = vec![net.push(0), net.push(1), net.push(2)];
    net.rest();
    assert_eq!((net.key(1), net.key(2)), (net.key(0), net.key(0)));
    for device in 0..3 {
        let mut log = net.log(device);
        log.sort_unstable();
        blobs.sort_unstable();
        assert_eq!(log, blobs);
    }
}

/// One of them had no relay when it did so, and the others went on with its rival. Whichever it is, all hear of it.
#[test]
fn who_removed_each_other_end_in_one_group_whoever_comes_late() {
    for (first, late) in [(1, 2), (2, 1)] {
        let mut net = Story::new(4, 1);
        net.set_online(late, false);
        net.wait_ms(6_000);
        net.remove(late, first, true);
        net.remove(first, late, true);
        net.wait_ms(6_000);
        assert!(net.counts(0, first) && net.counts(3, first) && !net.counts(0, late));
        let meanwhile = net.push(3);
        net.wait_ms(6_000);
        net.set_online(late, true);
        net.rest();
        net.wait_ms(60_000);
        net.rest();
        let (stays, goes) = if net.counts(0, late) { (late, first) } else { (first, late) };
        assert!(net.counts(3, stays) && !net.counts(3, goes) && !net.counts(0, goes));
        assert!(net.status(goes).removed);
        assert_eq!((net.key(3), net.key(stays)), (net.key(0), net.key(0)));
        let after = net.push(stays);
        net.rest();
        net.wait_ms(6_000);
        assert!(net.log(0).contains(&meanwhile) && net.log(0).contains(&after));
        // Both of them are known to know of the removal by now, so nothing is kept from the one that was to be removed.
        assert!(net.log(stays).contains(&meanwhile), "{stays} stays: {:?}", net.log(stays));
        assert!(!net.has_key(goes, net.sealed_under(stays)));
    }
}

/// What it was told under one key before it could ask by the others is old by the time that it asks again.
#[test]
fn who_is_removed_by_mistake_and_could_not_ask_on_asks_by_all_of_its_keys_the_next_time() {
    let mut net = Story::new(4, 1);
    net.rotate(0);
    net.rest();
    net.rotate(0);
    net.rest();
    net.cut(0, 0);
    net.remove(0, 3, true);
    net.wait_ms(6_000);
    net.remove(3, 1, true);
    while !net.status(1).removed {
        net.wait_ms(1);
    }
    net.stop_relay(0);
    net.wait_ms(60_000);
    net.start_relay(0);
    net.rest();
    net.wait_ms(700_000);
    assert!(!net.status(1).removed && net.counts(0, 1) && !net.counts(2, 3));
}

/// One member lets somebody in and removes it again, and another is away and makes keys meanwhile. That one hears of the
/// newcomer first, and hands on to it what it has: nothing of what those seal who know better.
#[test]
fn nothing_is_sealed_under_the_keys_of_a_member_that_has_not_heard_of_a_removal() {
    let mut net = Story::new(2, 1);
    net.set_online(1, false);
    net.wait_ms(6_000);
    net.rotate(1);
    net.rotate(1);
    let unaware = net.key(1);
    let newcomer = net.join();
    net.wait_ms(6_000);
    net.set_online(0, false);
    net.set_online(1, true);
    net.wait_ms(6_000);
    assert!(net.counts(1, newcomer));
    net.set_online(1, false);
    net.remove(0, newcomer, true);
    net.push(0);
    net.set_online(0, true);
    for _ in 0..600 {
        net.wait_ms(10);
        assert_ne!(net.key(0), unaware);
    }
    net.rotate(1);
    net.set_online(1, true);
    net.rest();
    assert!(net.has_key(newcomer, unaware), "it was handed on");
    assert!(net.status(newcomer).removed && !net.has_key(newcomer, net.key(0)));
    assert_eq!(net.key(0), net.key(1));
}

#[test]
fn keys_that_are_old_are_renewed_though_nobody_does_anything() {
    const AGE_MS: u64 = 600_000;
    let mut net = Story::with_keys_for_ms(2, 1, AGE_MS);
    net.push(0);
    net.rest();
    let first = net.key(0);
    net.wait_ms(AGE_MS / 2);
    assert_eq!((net.key(0), net.key(1)), (first, first));
    net.wait_ms(AGE_MS / 2 + 10_000);
    let second = net.key(0);
    assert!(second != first && net.key(1) == second);
    net.wait_ms(AGE_MS + 10_000);
    assert!(net.key(0) != second && net.key(1) == net.key(0), "and those in their turn");
    net.rest();
}
