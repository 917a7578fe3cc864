//! One device with a long queue and a connection at last: how fast the queue is on the relay's disk.

use crate::{
    Failure,
    baseline::{nats, redis, sqlite},
    device::Device,
    relay::Relay,
    report::{Report, Row},
    rows::ROUNDS,
    stats::{median, rate},
};

const QUEUED: usize = 50_000;
/// Unanswered at once, of what we are beside.
const DEPTH: usize = 256;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let (mut drained, mut queued, mut sqlite) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sqlite.push(sqlite::log(QUEUED)?);
        let relay = Relay::start()?;
        let [device, other] = Device::pair(&relay.address()).await?;
        let _other = other.asleep().await;
        device.settled().await?;
        device.disconnect().await?;
        device.until(|status| !crate::device::is_connected(status)).await?;
        let begun = std::time::Instant::now();
        device.push_many(QUEUED).await?;
        queued.push(rate(QUEUED, begun.elapsed()));
        let begun = std::time::Instant::now();
        device.connect().await?;
        device.until(|status| status.pending == 0).await?;
        drained.push(rate(QUEUED, begun.elapsed()));
        device.close().await;
    }
    let sqlite = median(&sqlite);
    let drained = median(&drained);
    report.add(
        Row::new("drain/relay", drained, "blobs/s")
            .beside(sqlite, "SQLite alone; 50000 queued, then connected")
            .ratio_at_least(0.10),
    );
    report.add(
        Row::new("drain/queue", median(&queued), "blobs/s")
            .beside(sqlite, "SQLite alone; push(), sealed and durable locally"),
    );
    let others = [
        ("drain/redis streams, 256", redis::appends(QUEUED, DEPTH)?, redis::DURABILITY),
        ("drain/redis streams, 1", redis::appends(QUEUED / 25, 1)?, redis::DURABILITY),
        ("drain/nats jetstream, 256", nats::publishes(QUEUED, DEPTH)?, nats::DURABILITY),
        ("drain/nats jetstream, 1", nats::publishes(QUEUED / 25, 1)?, nats::DURABILITY),
    ];
    for (name, rate, durability) in others {
        match rate {
            Some(rate) => report.add(Row::new(name, rate, "blobs/s").remark(durability)),
            None => report.note(&format!("{name}: not installed, not measured")),
        }
    }
    Ok(())
}
