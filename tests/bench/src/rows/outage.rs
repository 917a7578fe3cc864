//! The relay is killed while a device uses it: when the device notices, and when it is in step again.

use std::time::{Duration, Instant};

use sync_client::{PushOptions, Status};
use tokio::task::JoinHandle;

use crate::{
    Failure,
    device::{Device, blobs, is_connected},
    relay::Relay,
    report::{Report, Row},
    stats::{max, ms},
};

/// A device in use pushes so often.
const EVERY: Duration = Duration::from_millis(100);
/// How long the relay is away.
const OUTAGES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
];
const NOTICED_S: f64 = 6.0;
const BACK_S: f64 = 1.0;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let mut relay = Relay::start()?;
    let [device, other] = Device::pair(&relay.address()).await?;
    let _other = other.asleep().await;
    device.settled().await?;
    let using = use_it(&device);
    let mut back = Vec::new();
    for outage in OUTAGES {
        device.until(|status| is_connected(status) && status.pending == 0).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        relay.kill();
        tokio::time::sleep(outage).await;
        relay.start_again()?;
        let took = device.until(in_step).await?;
        crate::report::progress(
            "outage",
            &format!("{:.1} s away, back {:.0} ms after its return", outage.as_secs_f64(), ms(took)),
        );
        back.push(took.as_secs_f64());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    relay.kill();
    let begun = Instant::now();
    device.until(|status| !is_connected(status)).await?;
    let noticed = begun.elapsed().as_secs_f64();
    using.abort();
    device.close().await;
    report.add(
        Row::new("outage/noticed", noticed, "s").at_most(NOTICED_S, "").remark("after SIGKILL, pushing every 100 ms"),
    );
    report.add(
        Row::new("outage/back", max(&back), "s").at_most(BACK_S, "").remark("worst of outages of 0.5, 1, 2, 4 and 5 s"),
    );
    Ok(())
}

/// Everything pushed up to now is on the relay.
fn in_step(status: &Status) -> bool {
    is_connected(status) && status.pending <= 1 && status.relays.iter().all(|relay| relay.pulled == relay.max_cursor)
}

fn use_it(device: &Device) -> JoinHandle<()> {
    let client = (**device).clone();
    tokio::spawn(async move {
        for blob in blobs(usize::MAX) {
            tokio::time::sleep(EVERY).await;
            if client.push(blob, PushOptions::default()).await.is_err() {
                break;
            }
        }
    })
}
