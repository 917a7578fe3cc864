//! How long the relay takes to be ready, and the client to be connected, when both were there before.

use std::time::Instant;

use crate::{
    Failure,
    device::{Device, is_connected},
    relay::Relay,
    report::{Report, Row},
    stats::{median, ms},
};

const STARTS: usize = 15;
const BLOBS: usize = 1_000;
const MOST_MS: f64 = 50.0;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let mut relay = Relay::start()?;
    let [device, other] = Device::pair(&relay.address()).await?;
    let _other = other.asleep().await;
    device.push_many(BLOBS).await?;
    device.settled().await?;
    let mut asleep = device.asleep().await;
    let mut opened = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let device = asleep.awake().await?;
        device.until(is_connected).await?;
        opened.push(ms(begun.elapsed()));
        asleep = device.asleep().await;
    }
    let mut started = Vec::new();
    for _ in 0..STARTS {
        relay.kill();
        started.push(ms(relay.start_again()?));
    }
    report.add(
        Row::new("start/relay", median(&started), "ms").at_most(MOST_MS, "").remark("to its ready line, after SIGKILL"),
    );
    report.add(Row::new("start/client", median(&opened), "ms").at_most(MOST_MS, "").remark("open() to connected"));
    Ok(())
}
