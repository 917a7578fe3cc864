//! Stories of snapshots: who is asked for one, who begins with one, and what relays do about them.

use sync_core::{Badge, Event, sim::Story};

fn asked(story: &mut Story, device: usize) -> usize {
    let told = story.told(device);
    told.iter().filter(|event| matches!(event, Event::SnapshotNeeded { .. })).count()
}

#[test]
fn a_newcomer_begins_with_a_snapshot_and_reads_what_came_after() {
    let mut story = Story::with_snapshots(2, 1, 1_000);
    let before: Vec<_> = (0..20).map(|blob| story.push(blob % 2)).collect();
    story.rest();
    story.make_snapshot(0);
    story.rest();
    let after: Vec<_> = (0..3).map(|_| story.push(1)).collect();
    let newcomer = story.join();
    story.rest();
    assert_eq!(story.taken(newcomer), before);
    assert_eq!(story.log(newcomer), after);
    let news = story.push(0);
    story.rest();
    assert_eq!(story.log(newcomer), [after, vec![news]].concat(), "each sender goes on where the snapshot ends");
}

#[test]
fn nothing_is_synced_while_a_snapshot_waits_for_the_app() {
    let mut story = Story::with_snapshots(2, 1, 1_000);
    story.push(1);
    story.rest();
    story.make_snapshot(0);
    story.rest();
    let newcomer = story.join();
    let mut waited = false;
    for _ in 0..100 {
        story.wait_ms(40);
        let status = story.status(newcomer);
        waited |= status.loading.is_some_and(|loading| loading.ready);
        assert!(status.loading.is_none() || status.badge == Badge::Pending, "{status:?}");
    }
    assert!(waited, "it was there to be loaded");
    story.rest();
    assert_eq!(story.badge(newcomer), Badge::Synced);
}

#[test]
fn a_snapshot_that_is_of_no_use_makes_way_for_the_other_and_then_for_the_log() {
    let mut story = Story::with_snapshots(2, 1, 1_000);
    let first = story.push(1);
    story.rest();
    story.make_snapshot(0);
    story.rest();
    let second = story.push(1);
    story.rest();
    story.make_snapshot(1);
    story.rest();
    assert_eq!(story.snapshots_on(0), 2);
    let newcomer = story.join();
    story.refuse_next(newcomer);
    story.rest();
    assert_eq!(
        (story.taken(newcomer), story.log(newcomer)),
        (vec![first], vec![second]),
        "the older one, and the rest"
    );

    let mut story = Story::with_snapshots(2, 1, 1_000);
    let blob = story.push(1);
    story.rest();
    story.make_snapshot(0);
    story.rest();
    let newcomer = story.join();
    story.refuse_next(newcomer);
    story.rest();
    assert_eq!((story.taken(newcomer), story.log(newcomer)), (vec![], vec![blob]));
}

#[test]
fn who_joined_first_is_asked_and_the_next_if_that_one_makes_none() {
    let mut story = Story::with_snapshots(2, 1, 5);
    story.set_online(0, false);
    story.told(0);
    for _ in 0..10 {
        story.push(1);
    }
    story.app_reads_all(1);
    story.wait_ms(30_000);
    assert_eq!(asked(&mut story, 1), 0, "the other goes first");
    story.wait_ms(40_000);
    assert_eq!(asked(&mut story, 1), 1, "and is not there");
    story.make_snapshot(1);
    story.wait_ms(60_000);
    story.set_online(0, true);
    story.wait_ms(2_000);
    story.app_reads_all(0);
    story.wait_ms(30_000);
    assert_eq!((asked(&mut story, 0), asked(&mut story, 1)), (0, 0), "there is one");
}

#[test]
fn an_app_is_asked_by_bytes_and_a_newcomer_counts_what_its_snapshot_stands_for() {
    let mut story = Story::with_snapshots_by_bytes(2, 1, 10_000);
    let push = |story: &mut Story, blobs: usize| {
        for _ in 0..blobs {
            story.push(1);
        }
        story.rest();
        story.app_reads_all(0);
        story.rest();
    };
    // An envelope of these has 419 bytes, and those that made the devices members have a few thousand.
    push(&mut story, 10);
    assert_eq!(asked(&mut story, 0), 0, "is not enough yet");
    push(&mut story, 20);
    assert_eq!(asked(&mut story, 0), 1);
    story.make_snapshot(0);
    story.rest();
    story.told(0);
    let newcomer = story.join();
    story.rest();
    story.app_reads_all(newcomer);
    story.wait_ms(200_000);
    push(&mut story, 5);
    story.app_reads_all(newcomer);
    story.wait_ms(200_000);
    let asks = [0, 1, newcomer].map(|device| asked(&mut story, device));
    assert_eq!(asks, [0, 0, 0], "what the snapshot stands for is in one");
    story.set_online(0, false);
    story.set_online(1, false);
    for _ in 0..30 {
        story.push(newcomer);
    }
    story.wait_ms(200_000);
    assert!(asked(&mut story, newcomer) > 0, "and what came since is in none");
}

#[test]
fn a_relay_that_lost_it_is_sent_the_newest_again() {
    let mut story = Story::with_snapshots(2, 2, 1_000);
    story.push(1);
    story.rest();
    story.make_snapshot(0);
    story.rest();
    assert_eq!([0, 1].map(|relay| story.snapshots_on(relay)), [1, 1], "every relay keeps it");
    story.stop_relay(1);
    story.wipe_relay(1);
    story.start_relay(1);
    story.rest();
    assert_eq!(story.snapshots_on(1), 1);
}

#[test]
fn a_relay_drops_what_both_snapshots_cover_and_everybody_has() {
    let mut story = Story::with_snapshots(2, 1, 1_000);
    let blobs: Vec<_> = (0..10).map(|_| story.push(1)).collect();
    story.rest();
    let all = story.on_relay(0);
    story.make_snapshot(0);
    story.rest();
    story.clean_up(0);
    assert_eq!(story.on_relay(0), all, "should that one be of no use, everything is there");
    let last = story.push(1);
    story.rest();
    story.make_snapshot(0);
    story.rest();
    story.clean_up(0);
    assert_eq!(story.on_relay(0), 1, "what the older one covers is gone");
    let newcomer = story.join();
    story.refuse_next(newcomer);
    story.rest();
    assert_eq!((story.taken(newcomer), story.log(newcomer)), (blobs, vec![last]));
}

#[test]
fn what_was_given_up_for_lost_a_snapshot_brings_after_all() {
    let mut story = Story::with_snapshots(3, 1, 1_000);
    story.set_online(2, false);
    let lost = story.push_for(1, 5);
    let kept = story.push(1);
    story.wait_ms(3_000);
    assert_eq!(story.log(0), [lost, kept]);
    story.make_snapshot(0);
    story.wait_ms(10_000);
    story.clean_up(0);
    story.set_online(2, true);
    story.rest();
    let told = story.told(2);
    assert!(told.iter().any(|event| matches!(event, Event::Gap { .. })), "{told:?}");
    assert_eq!((story.log(2), story.taken(2)), (vec![kept], vec![lost, kept]), "it is in the snapshot");
}

#[test]
fn what_a_snapshot_stands_for_is_let_go_and_who_lacks_it_gets_that() {
    let mut story = Story::with_snapshots_that_keep_nothing(3, 1);
    story.set_online(2, false);
    let blobs: Vec<_> = (0..10).map(|blob| story.push(blob % 2)).collect();
    story.wait_ms(3_000);
    story.app_reads_all(1);
    story.wait_ms(3_000);
    assert_eq!([0, 1].map(|device| story.let_go(device)), [0, 0], "nothing stands for it yet");
    story.make_snapshot(0);
    story.wait_ms(10_000);
    // Each lets go of its own and the other's, and of what made the members members.
    assert!([0, 1].iter().all(|device| story.let_go(*device) > 10));
    let after = story.push(1);
    story.wait_ms(3_000);

    story.stop_relay(0);
    story.wipe_relay(0);
    story.start_relay(0);
    story.set_online(2, true);
    story.rest();
    assert_eq!((story.taken(2), story.log(2)), (blobs.clone(), vec![after]), "no relay has the rows any more");
    let mut read = story.log(1);
    read.sort_unstable();
    assert_eq!(read, [blobs, vec![after]].concat(), "the app has read them long ago");
    let newcomer = story.join();
    story.rest();
    assert_eq!(story.log(newcomer), [after]);
}

#[test]
fn an_own_envelope_that_a_relay_has_not_got_is_kept() {
    let mut story = Story::with_snapshots_that_keep_nothing(2, 2);
    story.stop_relay(1);
    let blobs: Vec<_> = (0..10).map(|_| story.push(0)).collect();
    story.wait_ms(10_000);
    story.app_reads_all(1);
    story.make_snapshot(0);
    story.wait_ms(10_000);
    let own = story.let_go(0);
    assert!(own < 10 && story.let_go(1) >= 10, "the one relay in reach has them, and a snapshot");
    story.start_relay(1);
    story.rest();
    assert!(story.on_relay(1) >= 10 && story.let_go(0) > own);
    assert_eq!(story.log(1), blobs);
}

#[test]
fn a_relay_that_was_restored_from_a_copy_takes_a_snapshot_that_is_of_more_than_it_has() {
    let mut story = Story::with_snapshots_that_keep_nothing(2, 1);
    story.push(1);
    story.rest();
    story.copy_relay(0);
    let blobs: Vec<_> = (0..10).map(|_| story.push(1)).collect();
    story.rest();
    story.make_snapshot(0);
    story.rest();
    story.stop_relay(0);
    story.restore_relay(0);
    story.start_relay(0);
    story.rest();
    assert_eq!(story.snapshots_on(0), 1);
    let newcomer = story.join();
    story.rest();
    assert_eq!(story.taken(newcomer)[1..], blobs);
}
