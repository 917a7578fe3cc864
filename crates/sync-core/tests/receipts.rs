//! Stories of what devices say to have received and applied, and who hears of it.

use sync_core::{Event, receipt::Reached, sim::Story, status::Holders};
use sync_types::Seq;

/// What a device says of the first one's envelopes: how many it has received and applied, and how many are missing.
fn said(reached: Option<Reached>) -> Option<(u64, u64, u64)> {
    let reached = reached?;
    let missing = |(first, last): &(Seq, Seq)| last.get() - first.get() + 1;
    Some((reached.received.get(), reached.applied.get(), reached.missing.0.iter().map(missing).sum()))
}

#[test]
fn a_device_says_what_it_has_once_things_are_quiet_and_again_when_its_app_has_applied_it() {
    let mut net = Story::new(2, 1);
    let before = said(net.says(0, 1)).map_or(0, |(received, ..)| received);
    for _ in 0..5 {
        net.push(0);
    }
    net.wait_ms(1_000);
    assert_eq!(said(net.says(0, 1)).map_or(0, |(received, ..)| received), before, "not while things move");
    net.told(0);
    net.wait_ms(35_000);
    let (received, applied, missing) = said(net.says(0, 1)).expect("it has said so");
    assert_eq!((received, missing), (before + 5, 0));
    assert!(applied < received);
    assert!(net.told(0).iter().any(|event| matches!(event, Event::ReceivedBy { .. })));
    net.app_reads_all(1);
    net.wait_ms(35_000);
    assert_eq!(said(net.says(0, 1)), Some((received, received, 0)));
}

/// In a minute in which every device pushes so many blobs every four seconds, what receipts are of all bytes, in
/// thousandths, and how many there were for each device.
fn share_of_receipts(devices: usize, relays: usize, blobs: usize) -> (u64, u64) {
    let mut net = Story::new(devices, relays);
    net.wait_ms(60_000);
    let _ = net.carried();
    let before = net.receipts();
    for _ in 0..15 {
        for device in 0..devices {
            for _ in 0..blobs {
                net.push(device);
            }
        }
        net.wait_ms(4_000);
    }
    let (of_receipts, all) = net.carried();
    (1_000 * of_receipts / all, (net.receipts() - before) / (devices * relays) as u64)
}

#[test]
fn receipts_are_a_hundredth_of_what_is_carried_or_two_a_minute() {
    for (devices, relays) in [(2, 1), (3, 3), (6, 1)] {
        let (share, count) = share_of_receipts(devices, relays, 100);
        assert!(share <= 10, "{share} thousandths with {devices} devices and {relays} relays");
        assert!(count > 3, "{count} where much is carried, which is told of sooner");
        let (_, count) = share_of_receipts(devices, relays, 1);
        assert!((1..=3).contains(&count), "{count} with {devices} devices and {relays} relays that carry little");
    }
}

#[test]
fn where_an_own_blob_is_follows_from_what_relays_and_devices_say() {
    let mut net = Story::new(3, 3);
    net.wait_ms(60_000);
    net.cut(0, 2);
    net.set_online(2, false);
    net.wait_ms(6_000);
    net.push(0);
    assert_eq!(net.holders_of_newest(0), Holders::default(), "it is on this device's disk alone");
    net.wait_ms(10_000);
    let holders = net.holders_of_newest(0);
    assert_eq!((holders.relays.len(), holders.received.len(), holders.applied.len()), (2, 1, 0));
    net.app_reads_all(1);
    net.set_online(2, true);
    net.mend(0, 2);
    net.wait_ms(120_000);
    let holders = net.holders_of_newest(0);
    assert_eq!((holders.relays.len(), holders.received.len(), holders.applied.len()), (3, 2, 1));
    assert!(holders.lost.is_empty());
}

#[test]
fn what_a_device_has_it_says_before_it_goes_offline() {
    let mut net = Story::new(2, 1);
    net.wait_ms(60_000);
    let before = said(net.says(0, 1)).map_or(0, |(received, ..)| received);
    net.push(0);
    net.wait_ms(1_000);
    net.set_online(1, false);
    net.wait_ms(1_000);
    assert_eq!(said(net.says(0, 1)).map(|(received, ..)| received), Some(before + 1));
}

#[test]
fn what_expired_before_it_came_is_no_reason_to_look_behind_for_ever() {
    let mut net = Story::new(2, 1);
    net.set_online(1, false);
    net.wait_ms(6_000);
    net.push(0);
    net.push_for(0, 5);
    net.wait_ms(40_000);
    net.clean_up(0);
    net.set_online(1, true);
    net.rest();
    let (received, _, missing) = said(net.says(0, 1)).expect("it has said so");
    assert_eq!(received, net.own_head(0), "nothing follows that would show it");
    assert_eq!(missing, 1);
    assert_eq!(net.holders_of_newest(0).lost.len(), 1);
    assert!(net.told(1).iter().any(|event| matches!(event, Event::Gap { .. })));
}

#[test]
fn a_relay_that_was_wiped_or_restored_is_told_again() {
    let mut net = Story::new(3, 1);
    net.push(0);
    net.rest();
    net.copy_relay(0);
    net.push(0);
    net.rest();
    for wipe in [true, false] {
        net.stop_relay(0);
        if wipe {
            net.wipe_relay(0);
        } else {
            net.copy_relay(0);
            net.restore_relay(0);
        }
        net.start_relay(0);
        // Nobody has anything new to say, and whoever comes now is told all the same.
        let newcomer = net.join();
        net.rest();
        let has = said(net.says(newcomer, 1)).map(|(received, ..)| received);
        assert_eq!(has, Some(net.own_head(0)));
    }
}

#[test]
fn an_old_receipt_changes_nothing_and_a_strangers_neither() {
    let mut net = Story::new(2, 1);
    net.push(0);
    net.rest();
    let old = net.receipt_of(1);
    net.push(0);
    net.rest();
    let now = net.says(0, 1);
    assert_ne!(net.receipt_of(1), old);
    net.tell_receipt(0, old);
    net.wait_ms(1_000);
    assert_eq!(net.says(0, 1), now);
    let mut forged = net.receipt_of(1).to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    net.tell_receipt(0, forged.into());
    net.wait_ms(1_000);
    assert_eq!(net.says(0, 1), now);
    net.rest();
}
