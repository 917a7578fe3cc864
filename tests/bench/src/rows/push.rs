//! `push(wait: relay)`, one at a time: two flushes one after the other, on the device and on the relay.

use std::time::Instant;

use sync_client::{PushOptions, PushState, Wait};

use crate::{
    Failure,
    baseline::{awake::Awake, disk},
    device::{Device, blobs},
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
    let [device, other] = Device::pair(&relay.address()).await?;
    let _other = other.asleep().await;
    device.settled().await?;
    let (took, flushes) = pushes(&device).await?;
    let row = |name, took: &[f64], flush: f64| {
        let row = Row::new(name, median(took), "ms").beside(flush, "fdatasync p50");
        row.at_most(2.0 * flush + 1.0, "2 fdatasync + 1 ms")
    };
    report.add(row("push/wait for relay p50", &took, median(&flushes)));
    report.add(
        Row::new("push/wait for relay p99", percentile(&took, 99), "ms")
            .beside(percentile(&flushes, 99), "fdatasync p99"),
    );
    if let Some(_awake) = Awake::keep()? {
        let (took, flushes) = pushes(&device).await?;
        report.add(row("push/cores awake p50", &took, median(&flushes)));
    }
    device.close().await;
    Ok(())
}

/// How long pushes took, and flushes in between, in milliseconds.
async fn pushes(device: &Device) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    let (mut took, mut flushes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        flushes.extend(disk::flushes(FLUSHES)?);
        for blob in blobs(PUSHES) {
            let begun = Instant::now();
            let pushed = device.push(blob, PushOptions { wait: Wait::Relay, ..PushOptions::default() }).await?;
            took.push(ms(begun.elapsed()));
            if pushed.state == PushState::Queued {
                return Err("the relay has not got what was pushed".into());
            }
        }
    }
    Ok((took, flushes))
}
