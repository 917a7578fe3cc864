//! A new device joins a large group: with the app's state of a moment ago and what came after it, and with everything.
//!
//! Both are measured from `open()`, after the pairing, until the app has it all: read from the local log and acknowledged, and
//! the snapshot taken.

use std::time::Instant;

use rand_core::{Rng as _, SeedableRng as _};
use sync_client::{Event, LocalCursor, OpenOptions, SyncEvent};

use crate::{
    Failure,
    device::{Device, within_patience},
    relay::Relay,
    report::{Report, Row},
    rows::ROUNDS,
    stats::median,
};

/// Blobs in the log.
const BLOBS: usize = 200_000;
/// Those that the snapshot covers.
const COVERED: usize = 199_000;
/// The app's state: documents that so many edits have made, random bytes here, which nothing can pack.
const STATE_LEN: usize = 1024 * 1024;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let relay = Relay::start()?;
    let writer = Device::new_with(&relay.address(), loading()).await?;
    writer.create_group().await?;
    writer.push_many(COVERED).await?;
    writer.settled().await?;
    let mut state = vec![0; STATE_LEN];
    rand_chacha::ChaCha8Rng::from_seed([9; 32]).fill_bytes(&mut state);
    let mut events = writer.subscribe();
    writer.publish_snapshot(state, LocalCursor::new(COVERED as u64)).await?;
    let kept =
        async { while !matches!(events.next().await, Some(SyncEvent::Happened(Event::SnapshotKept { .. })) | None) {} };
    within_patience(kept).await?;
    writer.push_many(BLOBS - COVERED).await?;
    writer.settled().await?;
    let mut newcomers = Vec::new();
    for _ in 0..2 * ROUNDS {
        let quiet = OpenOptions { auto_connect: false, ..OpenOptions::default() };
        newcomers.push(writer.joined_by_another_with(&relay.address(), quiet).await?.asleep().await);
    }
    writer.settled().await?;
    writer.close().await;

    let (mut joined, mut replayed) = (Vec::new(), Vec::new());
    let (mut joined_mib, mut replayed_mib) = (Vec::new(), Vec::new());
    for (round, newcomer) in newcomers.into_iter().enumerate() {
        let loads = round % 2 == 1;
        let before = relay.transferred()?;
        let begun = Instant::now();
        let newcomer = newcomer.awake_with(if loads { loading() } else { OpenOptions::default() }).await?;
        if loads {
            load(&newcomer).await?;
        }
        within_patience(apply(&newcomer, if loads { BLOBS - COVERED } else { BLOBS })).await??;
        let took = begun.elapsed().as_secs_f64();
        newcomer.close().await;
        let mib = (relay.transferred()? - before) as f64 / f64::from(1 << 20);
        let (times, sizes) = if loads { (&mut joined, &mut joined_mib) } else { (&mut replayed, &mut replayed_mib) };
        times.push(took);
        sizes.push(mib);
    }
    report.add(
        Row::new("snapshot/join", median(&joined), "s")
            .beside(median(&replayed), "a device that reads it all; 200000 blobs, 1 MiB of state that covers 199000")
            .ratio_at_most(0.05),
    );
    report.add(
        Row::new("snapshot/bytes", median(&joined_mib), "MiB")
            .beside(median(&replayed_mib), "a device that reads it all; frames in both directions"),
    );
    Ok(())
}

/// An app that loads snapshots, and is never asked for one.
fn loading() -> OpenOptions {
    OpenOptions { snapshot_after: Some(u64::MAX), ..OpenOptions::default() }
}

/// What an app does with a snapshot: gets it, keeps it, says so.
async fn load(device: &Device) -> Result<(), Failure> {
    device.until(|status| status.loading.is_some_and(|loading| loading.ready)).await?;
    let snapshot = device.latest_snapshot().await?.ok_or("the snapshot is not there")?;
    if snapshot.bytes.len() != STATE_LEN {
        return Err("the snapshot is not what was published".into());
    }
    Ok(device.snapshot_loaded(snapshot.id, true).await?)
}

/// What an app does with its log: reads on while there is more to come, and says how far it has come.
async fn apply(device: &Device, blobs: usize) -> Result<(), Failure> {
    let mut cursor = LocalCursor::START;
    let all = LocalCursor::new(blobs as u64);
    while cursor < all {
        device.until(|status| status.head_cursor > cursor).await?;
        let page = device.pull(cursor, sync_client::PAGE_BLOBS_MAX).await?;
        cursor = page.blobs.last().map_or(cursor, |blob| blob.cursor);
    }
    Ok(device.ack(cursor).await?)
}
