//! Stories of disks that change what is on them, of relays that lack something, and of a copy of a disk that is all there is.

use sync_core::{Badge, sim::Story};
use sync_types::ErrorCode;

#[test]
fn what_is_damaged_is_mended_in_its_place_be_it_ones_own_or_anothers() {
    let mut net = Story::new(2, 1);
    let blobs = vec![net.push(0), net.push(1), net.push(0), net.push(1)];
    net.rest();
    let (before, log) = (net.cursors(1), net.log(1));
    for cursor in [1, 2, 4] {
        net.damage(1, cursor);
    }
    assert_eq!(net.damaged(1), 3);
    net.repair(1);
    net.rest();
    assert_eq!((net.damaged(1), net.cursors(1), net.log(1)), (0, before, log), "of {blobs:?}");
    assert_eq!(net.compared(1), [Some(0)], "the relay had all of it");
    assert_eq!(net.badge(1), Badge::Synced);
}

#[test]
fn a_repair_that_a_crash_ends_is_asked_for_again() {
    let mut net = Story::new(2, 1);
    net.push(0);
    net.rest();
    net.damage(1, 1);
    net.repair(1);
    net.crash(1);
    net.rest();
    assert_eq!(net.damaged(1), 1, "who has forgotten what is damaged takes nothing for it");
    net.repair(1);
    net.rest();
    assert_eq!(net.damaged(1), 0);
}

#[test]
fn a_relay_is_given_what_it_never_had_and_not_what_is_damaged() {
    let mut net = Story::new(2, 2);
    net.cut(1, 1);
    net.cut(0, 1);
    net.push(1);
    net.push(1);
    net.wait_ms(20_000);
    net.mend(0, 1);
    net.wait_ms(20_000);
    let has = net.on_relay(1);
    // What others push goes to their relays, and by nobody else to more.
    net.damage(0, 1);
    net.stop_relay(0);
    net.repair(0);
    net.wait_ms(20_000);
    assert_eq!(net.on_relay(1), has + 1, "one is damaged, and is offered to nobody");
    net.start_relay(0);
    net.wait_ms(60_000);
    assert_eq!((net.damaged(0), net.compared(0)), (0, vec![Some(0), Some(1)]));
    net.repair(0);
    net.wait_ms(60_000);
    assert_eq!((net.on_relay(1), net.compared(0)), (has + 2, vec![Some(0), Some(1)]));
    net.mend(1, 1);
    net.rest();
}

#[test]
fn what_a_relay_lacks_it_is_given_though_a_crash_comes_between() {
    let mut net = Story::new(2, 2);
    net.cut(1, 1);
    net.push(1);
    net.push(1);
    net.wait_ms(20_000);
    let has = net.on_relay(1);
    net.repair(0);
    net.crash(0);
    net.wait_ms(60_000);
    assert_eq!(net.on_relay(1), has + 2);
    net.mend(1, 1);
    net.rest();
}

#[test]
fn what_expired_is_not_brought_back() {
    let mut net = Story::new(2, 1);
    net.push_for(0, 5);
    net.push_for(1, 5);
    net.push(0);
    net.rest();
    net.wait_ms(20_000);
    net.clean_up(0);
    let there = net.on_relay(0);
    net.repair(0);
    net.rest();
    assert_eq!((net.compared(0), net.on_relay(0)), (vec![Some(0)], there));
}

#[test]
fn what_snapshots_cover_is_not_brought_back_where_everybody_has_it() {
    let mut net = Story::with_snapshots(2, 1, 1_000);
    for device in [1, 0] {
        net.push(device);
        net.rest();
        net.make_snapshot(device);
        net.rest();
    }
    net.push(0);
    net.rest();
    net.wait_ms(60_000);
    let before = net.on_relay(0);
    net.clean_up(0);
    let there = net.on_relay(0);
    assert!(there < before, "the front of the log is gone");
    net.repair(0);
    net.rest();
    assert_eq!((net.compared(0), net.on_relay(0)), (vec![Some(0)], there));
}

#[test]
fn a_kit_and_a_copy_of_one_disk_are_enough() {
    let mut net = Story::new(3, 1);
    let mut blobs = vec![net.push(0), net.push(2)];
    let paper = net.export_kit(0);
    net.rest();
    for device in [1, 2] {
        net.rotate(device);
        net.rest();
        blobs.extend([net.push(0), net.push(1), net.push(2)]);
        net.rest();
    }
    (0..3).for_each(|device| net.die(device));
    net.stop_relay(0);
    net.wipe_relay(0);
    net.start_relay(0);
    assert_eq!(net.import_kit(&paper, &[0]), Err(ErrorCode::KitUnknown));
    let device = net.import_kit_with(&paper, &[0], 1).expect("gets in");
    let reads = |net: &mut Story, device| {
        net.wait_ms(60_000);
        let mut log = net.log(device);
        log.sort_unstable();
        log
    };
    blobs.sort_unstable();
    assert_eq!(reads(&mut net, device), blobs);
    assert_eq!(net.badge(device), Badge::Synced);
    let next = net.import_kit(&paper, &[0]).expect("the relay has everything again");
    assert_eq!(reads(&mut net, next), blobs);
}

#[test]
fn what_only_a_copy_has_goes_to_a_relay_that_was_read_to_its_end_before() {
    let mut net = Story::new(2, 1);
    let first = net.push(0);
    net.rest();
    net.cut(1, 0);
    let never_sent = net.push(1);
    net.wait_ms(5_000);
    net.die(1);
    net.take_backup(0, 1);
    net.take_backup(0, 1);
    net.wait_ms(20_000);
    assert_eq!(net.log(0), [first, never_sent]);
    let newcomer = net.join();
    net.wait_ms(40_000);
    assert_eq!(net.log(newcomer), [first, never_sent]);
}

#[test]
fn a_kit_that_was_removed_gets_nothing_by_a_copy_that_knows_of_it_or_a_relay_that_does() {
    let mut net = Story::new(2, 2);
    let paper = net.export_kit(0);
    net.rest();
    net.set_online(1, false);
    net.remove_kit(0, paper.device);
    net.wait_ms(20_000);
    net.die(0);
    net.die(1);
    assert_eq!(net.import_kit_with(&paper, &[], 0), Err(ErrorCode::Removed), "this one did it");
    assert_eq!(
        net.import_kit_with(&paper, &[0], 1),
        Err(ErrorCode::Removed),
        "this one had not heard, and the relay had"
    );
}
