//! Stories of logs: what is kept, in which order it is read, and what is said of what has left.

mod support;

use std::time::Duration;

use support::{Device, Group, Line, Running, envelope, expiring, made, row_id, run_of, sized};
use sync_types::{
    ErrorCode, Kind, RelayCursor, RelayMsg, Run,
    limits::{ENVELOPE_LEN_MAX, ENVELOPE_OVERHEAD_MAX, PAGE_BYTES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
    message::{Page, RowKind},
};

/// Pages until caught up; the rows of all, and how many each had.
async fn pages(line: &mut Line, limit: u32) -> (Vec<sync_types::message::Row>, Vec<usize>) {
    let (mut rows, mut lens, mut run) = (Vec::new(), Vec::new(), Run::START);
    loop {
        let page = line.pull(rows.len() as u64, run, limit).await;
        assert_eq!(page.after.get(), rows.len() as u64);
        run = page.rows.0.iter().fold(run, |run, row| run.then(&row_id(row)));
        lens.push(page.rows.0.len());
        rows.extend(page.rows.0);
        if rows.len() as u64 == page.max_cursor.get() {
            return (rows, lens);
        }
    }
}

#[tokio::test]
async fn one_who_polls_while_two_devices_push_sees_every_acknowledged_blob() {
    const EACH: u64 = 300;
    let relay = Running::start().await;
    let (reader, group) = (Device::new().await, Group::new(1));
    let mut pushing = Vec::new();
    for _ in 0..2 {
        let device = Device::new().await;
        let mut line = device.session(&relay, &group).await;
        pushing.push(tokio::spawn(async move {
            let mut acked = Vec::new();
            for n in 0..EACH {
                acked.push(line.push(&envelope(device.id(), n)).await);
            }
            acked
        }));
    }
    let mut line = reader.session(&relay, &group).await;
    let (mut seen, mut run) = (Vec::new(), Run::START);
    while seen.len() < 2 * EACH as usize {
        let page = line.pull(seen.len() as u64, run, 50).await;
        for row in &page.rows.0 {
            run = run.then(&row_id(row));
            seen.push((row_id(row), run));
        }
    }
    for task in pushing {
        let acked = task.await.expect("no panic");
        assert!(acked.is_sorted_by_key(|ack| ack.cursor), "one sender's blobs keep their order");
        for ack in acked {
            let place = usize::try_from(ack.cursor.get() - 1).expect("fits");
            assert_eq!(seen[place], (ack.blob_id, ack.run));
        }
    }
}

#[tokio::test]
async fn pipelined_pushes_keep_their_order() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let mut ids = Vec::new();
    for n in 0..500 {
        ids.push(line.begin_push(&envelope(phone.id(), n)).await);
    }
    for (n, id) in (1..).zip(ids) {
        match line.hear().await {
            Some(RelayMsg::PushAck(ack)) => assert_eq!((ack.id, ack.cursor), (id, RelayCursor::new(n))),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn pages_are_exact_around_their_limit() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let mut blobs = Vec::new();
    for (total, expected) in
        [(9, vec![9]), (10, vec![10]), (11, vec![10, 1]), (20, vec![10, 10]), (21, vec![10, 10, 1])]
    {
        while blobs.len() < total {
            blobs.push(envelope(phone.id(), blobs.len() as u64));
            line.push(blobs.last().expect("not empty")).await;
        }
        let (rows, lens) = pages(&mut line, 10).await;
        assert_eq!(lens, expected);
        assert!(rows.iter().map(row_id).eq(blobs.iter().map(|blob| blob.blob_id())));
    }
    let (_, lens) = pages(&mut line, 1).await;
    assert_eq!(lens, [1; 21]);
}

#[tokio::test]
async fn a_page_has_a_default_and_a_largest_size() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    for n in 0..=u64::from(PAGE_ROWS_MAX) {
        line.begin_push(&envelope(phone.id(), n)).await;
    }
    relay.health_becomes("blobs_stored", u64::from(PAGE_ROWS_MAX) + 1).await;
    let mut line = laptop.session(&relay, &group).await;
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len(), PAGE_ROWS_DEFAULT as usize);
    assert_eq!(line.pull(0, Run::START, u32::MAX).await.rows.0.len(), PAGE_ROWS_MAX as usize);
}

#[tokio::test]
async fn a_page_is_exact_around_its_bytes() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let half = PAGE_BYTES_MAX / 2;
    for (n, len) in [(1, half), (2, half), (3, half), (4, half + 1), (5, ENVELOPE_LEN_MAX), (6, 500)] {
        line.push(&sized(phone.id(), n, len)).await;
    }
    let (rows, lens) = pages(&mut laptop.session(&relay, &group).await, 0).await;
    assert_eq!(lens, [2, 1, 1, 1, 1]);
    assert_eq!(rows[4].bytes.len(), ENVELOPE_LEN_MAX);
}

#[tokio::test]
async fn the_largest_envelope_passes_and_a_larger_one_is_told_so() {
    let relay = Running::with(|config| config.storage.max_blob_size = 10_000).await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let largest = 10_000 + ENVELOPE_OVERHEAD_MAX;
    line.push(&sized(phone.id(), 1, largest)).await;
    assert_eq!(line.try_push(&sized(phone.id(), 2, largest + 1)).await, Err(ErrorCode::BlobTooLarge));
    line.push(&envelope(phone.id(), 3)).await;
}

#[tokio::test]
async fn what_is_no_envelope_is_refused_by_itself() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let good = envelope(phone.id(), 1);
    let altered = |at: usize, byte: u8| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = byte;
        bytes
    };
    for (bytes, code) in [
        (good.as_bytes()[..200].to_vec(), ErrorCode::BadEnvelope),
        (altered(2, 77), ErrorCode::BadEnvelope),
        (altered(0, 9), ErrorCode::Unsupported),
        (vec![1; ENVELOPE_LEN_MAX + 1], ErrorCode::BlobTooLarge),
    ] {
        let id = line.id();
        line.say(sync_types::message::Push { id, age_s: 0, envelope: bytes.into() }).await;
        assert_eq!(line.refusal().await, (id, code));
    }
    assert_eq!(line.push(&good).await.cursor, RelayCursor::new(1));
}

#[tokio::test]
async fn a_repeated_push_is_answered_the_same_and_burns_nothing() {
    let relay = Running::start().await;
    let (phone, laptop, group, other) = (Device::new().await, Device::new().await, Group::new(1), Group::new(2));
    let blob = envelope(phone.id(), 1);
    let first = phone.session(&relay, &group).await.push(&blob).await;
    let again = laptop.session(&relay, &group).await.push(&blob).await;
    assert_eq!((again.cursor, again.run, again.timestamp_ms), (first.cursor, first.run, first.timestamp_ms));
    assert_eq!(relay.health("blobs_stored").await, 1);

    let mut elsewhere = phone.session(&relay, &other).await;
    assert_eq!(elsewhere.get(blob.blob_id()).await, Err(ErrorCode::NotFound), "another group's blob is not served");
    elsewhere.push(&envelope(phone.id(), 2)).await;
    assert_eq!(elsewhere.push(&blob).await.cursor, RelayCursor::new(2), "nor is its id taken");
    let next = phone.session(&relay, &group).await.push(&envelope(phone.id(), 3)).await;
    assert_eq!(next.cursor, RelayCursor::new(2), "no cursor was burnt");
}

#[tokio::test]
async fn a_blob_whose_time_is_over_is_not_served_though_no_cleanup_ran() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let (brief, lasting) = (expiring(phone.id(), 1, 2), expiring(phone.id(), 2, 60));
    line.push(&brief).await;
    line.push(&lasting).await;
    // As old when it comes as it may become, by its device's clock: it is kept for a while all the same.
    let id = line.begin_push_aged(&expiring(phone.id(), 3, 60), 60).await;
    assert!(matches!(line.hear().await, Some(RelayMsg::PushAck(ack)) if ack.id == id));

    let mut reader = Device::new().await.session(&relay, &group).await;
    let kinds = |page: &Page| page.rows.0.iter().map(|row| row.kind).collect::<Vec<_>>();
    let (blob, expired) = (RowKind::Blob as u8, RowKind::Expired as u8);
    assert_eq!(kinds(&reader.pull(0, Run::START, 0).await), [blob, blob, blob]);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let page = reader.pull(0, Run::START, 0).await;
    assert_eq!(kinds(&page), [expired, blob, blob]);
    assert_eq!(row_id(&page.rows.0[0]), brief.blob_id());
    assert_eq!(reader.get(brief.blob_id()).await, Err(ErrorCode::NotFound));
    assert!(reader.get(lasting.blob_id()).await.is_ok());
}

#[tokio::test]
async fn a_time_to_live_has_a_default_and_a_cap_that_control_envelopes_ignore() {
    let relay = Running::with(|config| {
        config.storage.default_ttl = 1;
        config.storage.max_ttl = 2;
    })
    .await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    for blob in [
        envelope(phone.id(), 1),
        expiring(phone.id(), 2, 3_600),
        made(phone.id(), 3, 500, Kind::Control, 1),
        expiring(phone.id(), 4, 2),
    ] {
        line.push(&blob).await;
    }
    let mut reader = Device::new().await.session(&relay, &group).await;
    let mut living = async |wait| {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let page = reader.pull(0, Run::START, 0).await;
        page.rows.0.iter().map(|row| row.kind == RowKind::Blob as u8).collect::<Vec<_>>()
    };
    assert_eq!(living(0).await, [true; 4]);
    assert_eq!(living(1_100).await, [false, true, true, true]);
    assert_eq!(living(1_000).await, [false, false, true, false]);
}

#[tokio::test]
async fn what_everybody_has_read_past_leaves_and_leaves_a_gap() {
    let relay = Running::with(|config| config.cleanup.interval = 1).await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let (mut line, welcome) = phone.enter(&relay, &group).await;
    assert_eq!(welcome.floor_cursor, RelayCursor::START);
    let blobs = [expiring(phone.id(), 1, 1), expiring(phone.id(), 2, 1), envelope(phone.id(), 3)];
    for blob in &blobs {
        line.push(blob).await;
    }
    relay.health_becomes("blobs_stored", 1).await;
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len(), 3, "tombstones until the device has acked");
    line.ack(3).await;

    let gap = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        line.say_pull(0, Run::START, 0, false).await;
        match line.hear().await {
            Some(RelayMsg::Gap(gap)) => break gap,
            Some(RelayMsg::Page(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((gap.floor_cursor, gap.floor_run), (RelayCursor::new(2), run_of(&blobs[..2])));
    let page = line.pull(2, gap.floor_run, 0).await;
    assert_eq!((page.rows.0.len(), row_id(&page.rows.0[0])), (1, blobs[2].blob_id()));
    let (_, welcome) = Device::new().await.enter(&relay, &group).await;
    assert_eq!((welcome.floor_cursor, welcome.pending_count), (RelayCursor::new(2), 1));
}

#[tokio::test]
async fn a_reader_whose_log_is_another_is_told_so() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let blobs = [envelope(phone.id(), 1), envelope(phone.id(), 2), envelope(phone.id(), 3)];
    for blob in &blobs {
        line.push(blob).await;
    }
    let other = run_of(&[envelope(phone.id(), 1), envelope(phone.id(), 9)]);
    for (after, run) in [(2, other), (2, Run::START), (0, other), (3, run_of(&blobs[..2])), (4, run_of(&blobs))] {
        let id = line.say_pull(after, run, 0, true).await;
        assert_eq!(line.refusal().await, (id, ErrorCode::LogForked), "after {after}");
    }
    assert_eq!(line.pull(2, run_of(&blobs[..2]), 0).await.rows.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_just_acknowledged_is_known_to_every_session() {
    let relay = Running::start().await;
    let (phone, laptop, group) = (Device::new().await, Device::new().await, Group::new(1));
    let (mut one, mut two) = (phone.session(&relay, &group).await, laptop.session(&relay, &group).await);
    for n in 0..500 {
        let ack = one.push(&envelope(phone.id(), n)).await;
        let page = two.pull(ack.cursor.get(), ack.run, 0).await;
        assert_eq!((page.rows.0, page.max_cursor), (Vec::new(), ack.cursor));
    }
}

#[tokio::test]
async fn a_relay_restored_from_a_backup_is_found_out_even_after_it_moved_on() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let (mut line, before) = phone.enter(&relay, &group).await;
    line.push(&envelope(phone.id(), 1)).await;
    let folder = relay.stop().await;
    let backup = tempfile::tempdir().expect("temporary folder");
    for entry in std::fs::read_dir(folder.path()).expect("there") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), backup.path().join(entry.file_name())).expect("copied");
    }

    let lost = [envelope(phone.id(), 1), envelope(phone.id(), 2), envelope(phone.id(), 3)];
    let relay = Running::on(folder, |_| {}).await;
    let mut line = phone.session(&relay, &group).await;
    line.push(&lost[1]).await;
    line.push(&lost[2]).await;
    relay.stop().await;

    let relay = Running::on(backup, |_| {}).await;
    let (mut line, after) = phone.enter(&relay, &group).await;
    assert_eq!((after.log_id, after.max_cursor), (before.log_id, RelayCursor::new(1)));
    let id = line.say_pull(3, run_of(&lost), 0, true).await;
    assert_eq!(line.refusal().await, (id, ErrorCode::LogForked));
    for n in 10..15 {
        line.push(&envelope(phone.id(), n)).await;
    }
    let id = line.say_pull(3, run_of(&lost), 0, true).await;
    assert_eq!(line.refusal().await, (id, ErrorCode::LogForked));
}

#[tokio::test]
async fn a_wiped_relay_is_the_same_relay_with_another_log() {
    let relay = Running::start().await;
    let (phone, group, id) = (Device::new().await, Group::new(1), relay.id);
    let (mut line, before) = phone.enter(&relay, &group).await;
    line.push(&envelope(phone.id(), 1)).await;
    let folder = relay.stop().await;
    std::fs::remove_file(folder.path().join("relay.db")).expect("there");

    let relay = Running::on(folder, |_| {}).await;
    assert_eq!(relay.id, id);
    let (_, after) = phone.enter(&relay, &group).await;
    assert_ne!(after.log_id, before.log_id);
    assert_eq!(after.max_cursor, RelayCursor::START);
}

#[tokio::test]
async fn a_restart_keeps_the_log_and_says_what_is_pending() {
    let relay = Running::start().await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let (mut line, before) = phone.enter(&relay, &group).await;
    let blobs: Vec<_> = (0..10).map(|n| envelope(phone.id(), n)).collect();
    for blob in &blobs {
        line.push(blob).await;
    }
    let relay = relay.restart(|_| {}).await;
    let mut line = phone.dial(&relay).await;
    let hello = sync_types::message::Hello {
        last_cursor: RelayCursor::new(4),
        log_id: Some(before.log_id),
        ..line.hello(&group)
    };
    line.say(sync_types::DeviceMsg::Hello(hello)).await;
    let Some(RelayMsg::Welcome(after)) = line.hear().await else { panic!("not welcomed") };
    assert_eq!((after.log_id, after.max_cursor.get(), after.pending_count), (before.log_id, 10, 6));
    assert_eq!(line.pull(4, run_of(&blobs[..4]), 0).await.rows.0.len(), 6);
    assert_eq!(line.push(&envelope(phone.id(), 10)).await.cursor, RelayCursor::new(11));
}

#[tokio::test]
async fn a_full_group_says_so_and_still_takes_control_envelopes() {
    let relay = Running::with(|config| config.storage.max_group_storage = 2_000).await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    line.push(&sized(phone.id(), 1, 2_000)).await;
    assert_eq!(line.try_push(&envelope(phone.id(), 2)).await, Err(ErrorCode::GroupFull));
    line.push(&made(phone.id(), 3, 1_000, Kind::Control, 0)).await;
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len(), 2);
    let other = Group::new(2);
    phone.session(&relay, &other).await.push(&sized(phone.id(), 1, 2_000)).await;
}

#[tokio::test]
async fn a_full_database_says_so_and_still_answers_pulls() {
    let relay = Running::with(|config| config.storage.max_db_size = 300_000).await;
    let (phone, group) = (Device::new().await, Group::new(1));
    let mut line = phone.session(&relay, &group).await;
    let mut kept = 0;
    let refused = loop {
        match line.try_push(&sized(phone.id(), kept, 10_000)).await {
            Ok(_) => kept += 1,
            Err(code) => break code,
        }
    };
    assert_eq!(refused, ErrorCode::StorageFull);
    assert!((15..30).contains(&kept), "{kept}");
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len() as u64, kept);
    line.push(&made(phone.id(), 1_000, 1_000, Kind::Control, 0)).await;
}

#[tokio::test]
async fn a_relay_with_as_many_groups_as_it_takes_forgets_empty_ones_first() {
    let relay = Running::with(|config| config.storage.max_groups = 2).await;
    let phone = Device::new().await;
    let mut line = phone.session(&relay, &Group::new(1)).await;
    line.push(&envelope(phone.id(), 1)).await;
    phone.session(&relay, &Group::new(2)).await.goodbye();
    relay.health_becomes("connections", 1).await;
    let mut third = phone.session(&relay, &Group::new(3)).await;
    third.push(&envelope(phone.id(), 1)).await;

    let mut fourth = phone.dial(&relay).await;
    let hello = fourth.hello(&Group::new(4));
    fourth.say(sync_types::DeviceMsg::Hello(hello)).await;
    assert_eq!(fourth.refusal().await, (0, ErrorCode::TooManyGroups));
    assert_eq!(line.pull(0, Run::START, 0).await.rows.0.len(), 1);
}
