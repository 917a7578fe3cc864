//! The machine: what the baselines come to by themselves.

use std::time::Duration;

use crate::{
    Failure,
    baseline::{disk, echo, sqlite},
    report::{Report, Row},
    rows::ROUNDS,
    stats::{median, ms, percentile, rate},
};

const ROWS: usize = 50_000;
const FLUSHES: usize = 500;
const ROUND_TRIPS: usize = 2_000;
const PIPELINED: usize = 100_000;
const DEPTH: usize = 256;

/// Measures them.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let [mut logs, mut piles] = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        logs.push(sqlite::log(ROWS)?);
        piles.push(sqlite::pile(ROWS)?);
    }
    let how = "WAL, FULL, 1000 a transaction";
    report.add(Row::new("machine/sqlite, a log by group", median(&logs), "rows/s").remark(how));
    report.add(Row::new("machine/sqlite, a pile", median(&piles), "rows/s").remark(how));
    let flushes = disk::flushes(FLUSHES)?;
    report.add(Row::new("machine/fdatasync p50", median(&flushes), "ms"));
    report.add(Row::new("machine/fdatasync p99", percentile(&flushes, 99), "ms"));
    let server = echo::Server::start()?;
    let mut line = echo::Line::open(&server).await?;
    let mut took = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let one: Duration = line.round_trips(1, 1).await?;
        took.push(ms(one));
    }
    report.add(Row::new("machine/iroh echo p50", median(&took), "ms").remark("300 bytes, one framed stream"));
    let pipelined = line.round_trips(PIPELINED, DEPTH).await?;
    report.add(Row::new("machine/iroh echo", rate(PIPELINED, pipelined), "1/s").remark("256 under way"));
    line.close().await;
    Ok(())
}
