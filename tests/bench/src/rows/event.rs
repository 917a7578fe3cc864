//! From `push` on one device to the event on another, both connected: three flushes, on each and on the relay.

use std::time::Instant;

use sync_client::{Event, PushOptions, SyncEvent};

use crate::{
    Failure,
    baseline::{awake::Awake, disk},
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
    let (took, flushes) = events(&sender, &receiver).await?;
    let row = |name, took: &[f64], flush: f64| {
        let row = Row::new(name, median(took), "ms").beside(flush, "fdatasync p50; push on A to event on B");
        row.at_most(3.0 * flush + 1.0, "3 fdatasync + 1 ms")
    };
    report.add(row("event/p50", &took, median(&flushes)));
    let p99 = Row::new("event/p99", percentile(&took, 99), "ms");
    report.add(p99.beside(median(&took), "its p50").ratio_at_most(5.0));
    if let Some(_awake) = Awake::keep()? {
        let (took, flushes) = events(&sender, &receiver).await?;
        report.add(row("event/cores awake p50", &took, median(&flushes)));
    }
    sender.close().await;
    receiver.close().await;
    Ok(())
}

/// How long events took, and flushes in between, in milliseconds.
async fn events(sender: &Device, receiver: &Device) -> Result<(Vec<f64>, Vec<f64>), Failure> {
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
    Ok((took, flushes))
}
