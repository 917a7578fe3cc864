//! From `push` on one device to the event on another, both connected: three flushes, on each and on the relay.

use std::time::Instant;

use sync_client::{Event, PushOptions, SyncEvent};

use crate::{
    Failure,
    baseline::disk,
    device::{Device, blobs, within_patience},
    relay::Relay,
    report::{Report, Row},
    rows::ROUNDS,
    stats::{median, ms, percentile},
};

const PUSHES: usize = 300;
const FLUSHES: usize = 300;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let relay = Relay::start()?;
    let [sender, receiver] = Device::pair(&relay.address()).await?;
    sender.settled().await?;
    receiver.settled().await?;
    let mut events = receiver.subscribe();
    let (mut took, mut flushes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        flushes.extend(disk::flushes(FLUSHES)?);
        for blob in blobs(PUSHES) {
            let begun = Instant::now();
            let pushed = sender.push(blob, PushOptions::default()).await?;
            let arrived = async {
                while let Some(event) = events.next().await {
                    if let SyncEvent::Happened(Event::BlobAvailable { push_id, .. }) = event
                        && push_id == pushed.push_id
                    {
                        break;
                    }
                }
            };
            within_patience(arrived).await?;
            took.push(ms(begun.elapsed()));
        }
    }
    sender.close().await;
    receiver.close().await;
    let (flush, p50) = (median(&flushes), median(&took));
    let row = Row::new("event/p50", p50, "ms").beside(flush, "fdatasync p50; push on A to event on B");
    report.add(row.at_most(3.0 * flush + 1.0, "3 fdatasync + 1 ms"));
    report.add(Row::new("event/p99", percentile(&took, 99), "ms").beside(p50, "its p50").ratio_at_most(5.0));
    Ok(())
}
