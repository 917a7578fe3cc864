//! A new device reads a long log: every envelope opened, verified and durable in its own log.

use std::time::Instant;

use sync_client::LocalCursor;

use crate::{
    Failure,
    baseline::sqlite,
    device::Device,
    relay::Relay,
    report::{Report, Row},
    rows::ROUNDS,
    stats::{median, rate},
};

const BLOBS: usize = 100_000;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let relay = Relay::start()?;
    let writer = Device::new(&relay.address()).await?;
    let mut readers = Vec::new();
    for _ in 0..ROUNDS {
        readers.push(writer.joined_by_another(&relay.address()).await?.asleep().await);
    }
    writer.push_many(BLOBS).await?;
    writer.settled().await?;
    writer.close().await;
    let (mut took, mut sqlite) = (Vec::new(), Vec::new());
    for reader in readers {
        sqlite.push(sqlite::log(BLOBS)?);
        let begun = Instant::now();
        let reader = reader.awake().await?;
        let all = LocalCursor::new(BLOBS as u64);
        reader.until(|status| status.head_cursor == all).await?;
        took.push(rate(BLOBS, begun.elapsed()));
        if reader.pull(LocalCursor::new(BLOBS as u64 - 1), 2).await?.blobs.len() != 1 {
            return Err("the last blob is not in the log".into());
        }
        reader.close().await;
    }
    let row = Row::new("read/new device", median(&took), "blobs/s")
        .beside(median(&sqlite), "SQLite alone; 100000 blobs, from open()");
    report.add(row.ratio_at_least(0.25));
    Ok(())
}
