//! Relays that show one device another history than the others are found out by what devices say to have read.

use sync_core::{
    Badge, Event,
    sim::{RelayIndex, Story},
};
use sync_types::ErrorCode;

fn is_named(event: &Event) -> bool {
    matches!(event, Event::RelayContradicted { .. })
}

fn is_silent(event: &Event) -> bool {
    matches!(event, Event::Disconnected { reason: Some(ErrorCode::TimedOut), .. })
}

const LIAR: RelayIndex = 0;

#[test]
fn a_relay_that_withholds_its_newest_rows_from_a_device_is_named() {
    let mut net = Story::new(3, 2);
    net.lie(LIAR, 1, false);
    net.push(0);
    net.wait_ms(20_000);
    assert_eq!(net.contradicted(1, LIAR), [], "it may only be late");
    net.wait_ms(60_000);
    let mut named = net.contradicted(1, LIAR);
    named.sort_unstable();
    assert_eq!(named, [(0, "withheld"), (2, "withheld")]);
    assert_eq!(net.contradicted(1, 1), [], "the other relay shows the truth");
    assert_eq!(net.told(1).iter().filter(|event| is_named(event)).count(), 2, "once for each who has read it");
    net.be_true();
    net.rest();
    assert_eq!(net.contradicted(1, LIAR), []);
    assert_eq!(net.badge(1), Badge::Synced);
}

#[test]
fn a_device_is_not_synced_while_others_have_read_more_than_it_is_shown() {
    let mut net = Story::new(3, 2);
    net.wait_ms(60_000);
    net.lie(LIAR, 1, false);
    net.push(0);
    net.wait_ms(10_000);
    assert_eq!(net.badge(1), Badge::Pending);
}

#[test]
fn two_histories_of_one_log_are_named_where_they_part() {
    let mut net = Story::new(2, 1);
    net.wait_ms(60_000);
    net.lie(LIAR, 1, false);
    // Each goes on with what the other is not shown, and tells so over the relay that lies.
    net.push(0);
    net.push(1);
    net.push(1);
    net.wait_ms(90_000);
    let kinds: Vec<_> = [0, 1].map(|device| net.contradicted(device, LIAR)).concat();
    assert!(kinds.iter().any(|(_, kind)| *kind == "forked"), "{kinds:?}");
    net.be_true();
    net.rest();
    assert_eq!([net.contradicted(0, LIAR), net.contradicted(1, LIAR)], [[], []]);
}

#[test]
fn a_row_that_is_missing_in_the_middle_is_named() {
    let mut net = Story::new(2, 2);
    net.wait_ms(60_000);
    net.cut(1, LIAR);
    net.wait_ms(10_000);
    for _ in 0..3 {
        net.push(0);
    }
    net.wait_ms(60_000);
    net.lie(LIAR, 1, true);
    net.mend(1, LIAR);
    net.push(1);
    net.wait_ms(90_000);
    assert_eq!(net.contradicted(1, LIAR), [(0, "forked")]);
}

/// Before a relay is named it is asked.
#[test]
fn a_relay_that_shows_what_is_missing_when_it_is_asked_is_not_named() {
    let mut net = Story::new(2, 2);
    net.wait_ms(60_000);
    net.forget_follower(LIAR, 1);
    let blob = net.push(0);
    net.wait_ms(90_000);
    assert_eq!((net.badge(1), net.log(1)), (Badge::Synced, vec![blob]));
    assert!(!net.told(1).iter().any(is_named) && net.contradicted(1, LIAR).is_empty());
}

/// Such a one has to come up with its log, or it could hold that back for ever and never be found out.
#[test]
fn a_relay_that_tells_everything_but_its_log_is_taken_for_a_silent_one() {
    let mut net = Story::new(3, 2);
    net.set_online(1, false);
    net.wait_ms(6_000);
    net.mute_relay(LIAR, true);
    net.set_online(1, true);
    for round in 0..9 {
        net.push(0);
        net.set_online(2, round % 2 == 0); // Which everybody is told.
        net.wait_ms(10_000);
    }
    assert_eq!(net.told(1).iter().filter(|event| is_silent(event)).count(), 1);
    assert_eq!(net.log(1).len(), 9, "the other relay has it all");
    net.mute_relay(LIAR, false);
    net.rest();
    assert_eq!(net.badge(1), Badge::Synced);
}

/// The same of one that names ever more of it: what is still to come is not withheld, so it has to come.
#[test]
fn a_relay_that_names_more_of_its_log_than_it_comes_up_with_is_taken_for_a_silent_one() {
    let mut net = Story::new(2, 2);
    net.wait_ms(60_000);
    net.lie(LIAR, 1, false);
    net.push(0);
    for rows in 1..=9 {
        net.name_more(LIAR, 1, rows);
        net.wait_ms(10_000);
    }
    assert_eq!(net.told(1).iter().filter(|event| is_silent(event)).count(), 1);
    net.wait_ms(120_000);
    assert_eq!(net.contradicted(1, LIAR), [(0, "withheld")], "which it does not do on the next connection");
}

#[test]
fn what_was_found_is_known_after_a_crash() {
    let mut net = Story::new(3, 2);
    net.lie(LIAR, 1, false);
    net.push(0);
    net.wait_ms(90_000);
    let named = net.contradicted(1, LIAR);
    assert_eq!(named.len(), 2);
    net.crash(1);
    net.wait_ms(6_000);
    assert_eq!(net.contradicted(1, LIAR), named);
}

#[test]
fn who_is_no_member_any_more_contradicts_nobody() {
    let mut net = Story::new(3, 2);
    net.lie(LIAR, 1, false);
    net.cut(2, 1);
    net.push(0);
    net.wait_ms(90_000);
    assert_eq!(net.contradicted(1, LIAR).len(), 2);
    net.remove(1, 0, false); // With no new keys it is the same log as before.
    assert_eq!(net.contradicted(1, LIAR), [(2, "withheld")]);
}
