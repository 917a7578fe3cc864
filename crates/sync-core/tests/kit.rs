//! Stories of people who have lost every device, and have a kit.

use sync_core::{
    Badge,
    kit::{Kit, KitCode, KitError},
    sim::{Paper, Story},
};
use sync_types::ErrorCode;

/// The group of two devices that have pushed something and made a kit, a while ago: its key was changed three times since.
fn a_while_ago(relays: usize) -> (Story, Paper, Vec<u64>) {
    let mut net = Story::new(2, relays);
    let mut blobs = vec![net.push(0)];
    let paper = net.export_kit(0);
    net.rest();
    for _ in 0..3 {
        net.rotate(1);
        net.rest();
        blobs.extend([net.push(0), net.push(1)]);
        net.rest();
    }
    (net, paper, blobs)
}

fn lose_all(net: &mut Story) {
    net.rest();
    net.die(0);
    net.die(1);
}

/// Lets a device read what there is, and says what it has, in ascending order.
fn reads(net: &mut Story, device: usize) -> Vec<u64> {
    net.wait_ms(40_000);
    let mut log = net.log(device);
    log.sort_unstable();
    log
}

#[test]
fn who_has_lost_every_device_reads_everything_and_goes_on() {
    let (mut net, paper, mut blobs) = a_while_ago(1);
    lose_all(&mut net);
    let device = net.import_kit(&paper, &[0]).expect("gets in");
    blobs.sort_unstable();
    assert_eq!(reads(&mut net, device), blobs);
    assert_eq!(net.badge(device), Badge::Synced);
    let mine = net.push(device);
    let newcomer = net.join();
    assert!(reads(&mut net, newcomer).contains(&mine));
    assert_eq!(net.members(newcomer), 5, "the two that are lost, the kit, and those that came by it");
}

#[test]
fn a_kit_of_a_later_key_leads_back_to_the_first_and_so_does_the_next_one() {
    let mut net = Story::new(2, 1);
    let mut blobs = vec![net.push(0)];
    for _ in 0..2 {
        net.rotate(1);
        net.rest();
        blobs.push(net.push(1));
    }
    let paper = net.export_kit(1);
    net.rest();
    net.rotate(0);
    lose_all(&mut net);
    let first = net.import_kit(&paper, &[0]).expect("gets in");
    assert_eq!(reads(&mut net, first), blobs);
    let next = net.export_kit(first);
    net.rotate(first);
    net.wait_ms(20_000);
    net.die(first);
    let second = net.import_kit(&next, &[0]).expect("gets in by the kit of who came by one");
    assert_eq!(reads(&mut net, second), blobs);
}

#[test]
fn a_kit_is_seen_for_what_it_is_and_nobody_waits_for_it() {
    let (mut net, paper, _) = a_while_ago(1);
    assert!(net.is_kit(0, paper.device) && net.is_kit(1, paper.device));
    let ids = [net.id(0), net.id(1)];
    assert!(ids.iter().all(|id| !net.is_kit(0, *id)));
    assert_eq!((net.badge(0), net.badge(1)), (Badge::Synced, Badge::Synced));
    net.push_for(0, 5);
    net.rest();
    net.wait_ms(20_000);
    let before = net.on_relay(0);
    net.clean_up(0);
    assert!(net.on_relay(0) < before, "what expired is let go of");
    lose_all(&mut net);
    let device = net.import_kit(&paper, &[0]).expect("gets in");
    assert!(net.is_kit(device, paper.device));
    assert!(!net.is_kit(device, net.id(device)), "who came by it is a device");
}

#[test]
fn a_kit_that_was_removed_gets_nothing() {
    let (mut net, paper, _) = a_while_ago(1);
    net.remove_kit(0, paper.device);
    net.rest();
    assert!(!net.is_kit(1, paper.device));
    lose_all(&mut net);
    assert_eq!(net.import_kit(&paper, &[0]), Err(ErrorCode::Removed));
}

#[test]
fn a_kit_that_was_removed_right_away_gets_nothing_either() {
    let mut net = Story::new(2, 1);
    let paper = net.export_kit(0);
    net.rest();
    net.remove_kit(1, paper.device);
    net.rest();
    lose_all(&mut net);
    assert_eq!(net.import_kit(&paper, &[0]), Err(ErrorCode::Removed));
}

#[test]
fn one_relay_that_knows_of_the_removal_is_enough() {
    let (mut net, paper, _) = a_while_ago(2);
    net.cut(0, 1);
    net.cut(1, 1);
    net.remove_kit(0, paper.device);
    net.wait_ms(20_000);
    net.die(0);
    net.die(1);
    assert_eq!(net.import_kit(&paper, &[1, 0]), Err(ErrorCode::Removed));
}

#[test]
fn a_kit_that_is_used_twice_makes_two_devices() {
    let (mut net, paper, mut blobs) = a_while_ago(1);
    lose_all(&mut net);
    let first = net.import_kit(&paper, &[0]).expect("gets in");
    net.wait_ms(20_000);
    let second = net.import_kit(&paper, &[0]).expect("gets in again");
    assert_ne!(net.id(first), net.id(second));
    let more = [net.push(first), net.push(second)];
    blobs.extend(more);
    blobs.sort_unstable();
    assert_eq!([reads(&mut net, first), reads(&mut net, second)], [blobs.clone(), blobs]);
}

#[test]
fn the_one_who_came_by_a_kit_takes_it_out_and_stays() {
    let (mut net, paper, _) = a_while_ago(1);
    lose_all(&mut net);
    let first = net.import_kit(&paper, &[0]).expect("gets in");
    net.wait_ms(20_000);
    net.remove_kit(first, paper.device);
    net.wait_ms(20_000);
    assert_eq!(net.badge(first), Badge::Synced);
    assert_eq!(net.import_kit(&paper, &[0]), Err(ErrorCode::Removed));
    let next = net.export_kit(first);
    let mine = net.push(first);
    net.wait_ms(20_000);
    net.die(first);
    let second = net.import_kit(&next, &[0]).expect("gets in by the new one");
    assert!(reads(&mut net, second).contains(&mine));
}

#[test]
fn a_removed_device_that_leaves_a_key_of_its_own_leads_nobody_astray() {
    let (mut net, paper, mut blobs) = a_while_ago(1);
    // The two remove each other: one of the commits is void, and both are left for whoever comes.
    net.cut(0, 0);
    net.remove(0, 1, true);
    net.remove(1, 0, true);
    net.wait_ms(5_000);
    net.mend(0, 0);
    net.wait_ms(60_000);
    let last = net.push(0);
    net.wait_ms(20_000);
    blobs.push(last);
    net.die(0);
    net.die(1);
    let device = net.import_kit(&paper, &[0]).expect("gets in");
    assert!(net.counts(device, 0) && !net.counts(device, 1), "who made the group stays");
    blobs.sort_unstable();
    assert_eq!(reads(&mut net, device), blobs);
}

#[test]
fn a_relay_that_knows_nothing_of_the_group_says_so_and_one_that_does_is_enough() {
    let (mut net, paper, _) = a_while_ago(2);
    lose_all(&mut net);
    net.stop_relay(0);
    net.wipe_relay(0);
    net.start_relay(0);
    assert_eq!(net.import_kit(&paper, &[0]), Err(ErrorCode::KitUnknown));
    let device = net.import_kit(&paper, &[0, 1]).expect("gets in");
    assert_eq!(reads(&mut net, device).len(), 7);
}

#[test]
fn a_kit_that_no_relay_was_told_of_is_unknown() {
    let mut net = Story::new(1, 1);
    net.cut(0, 0);
    let paper = net.export_kit(0);
    net.wait_ms(10_000);
    net.die(0);
    assert_eq!(net.import_kit(&paper, &[0]), Err(ErrorCode::KitUnknown));
}

#[test]
fn a_wrong_code_opens_nothing() {
    let mut net = Story::new(1, 1);
    let paper = net.export_kit(0);
    let other = net.export_kit(0);
    assert_eq!(Kit::open(&paper.text, &other.code).err(), Some(KitError::WrongCode));
    let code: KitCode = paper.code.to_text().parse().expect("a code");
    assert_eq!(Kit::open(&paper.text, &code).expect("opens").device_id(), paper.device);
}

#[test]
fn where_the_front_of_a_log_is_gone_the_roster_comes_with_a_snapshot() {
    let mut net = Story::with_snapshots(2, 1, 1_000);
    let mut blobs = vec![net.push(0)];
    let paper = net.export_kit(0);
    for device in [1, 0] {
        net.rotate(1);
        net.rest();
        blobs.push(net.push(device));
        net.rest();
        net.make_snapshot(device);
        net.rest();
    }
    blobs.push(net.push(0));
    net.rest();
    let before = net.on_relay(0);
    net.clean_up(0);
    assert!(net.on_relay(0) + 4 < before, "what said who belongs to the group is gone as well");
    lose_all(&mut net);
    let device = net.import_kit(&paper, &[0]).expect("gets in");
    let log = reads(&mut net, device);
    assert_eq!([net.taken(device), log].concat(), blobs);
}
