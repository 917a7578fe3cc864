//! Eight sessions that send into one group at once, into a short log and into a long one.
//!
//! The envelopes are sealed beforehand and the sessions are bare: eight clients on this machine, each storing what
//! the seven others push, would measure themselves.

use std::time::Instant;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    Failure,
    baseline::sqlite,
    relay::Relay,
    report::{Report, Row},
    rows::ROUNDS,
    stats::{median, rate},
    wire::{Identity, Session},
};

const SESSIONS: usize = 8;
/// Blobs in the log before the first measurement.
const SHORT: usize = 1_000;
/// And before the second.
const LONG: usize = 200_000;
const MEASURED: usize = 40_000;

/// Measures it.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    let crowd = Identity::crowd(SESSIONS, (LONG + MEASURED) / SESSIONS);
    let (mut short, mut long, mut sqlite) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sqlite.push(sqlite::log(MEASURED)?);
        let relay = Relay::start()?;
        let mut sessions = Vec::new();
        for (identity, envelopes) in &crowd {
            sessions.push((Session::open(&relay, identity).await?, envelopes.clone().into_iter()));
        }
        let mut push = async |blobs: usize| {
            let begun = Instant::now();
            let mut pushing = JoinSet::new();
            for (mut session, mut rest) in sessions.drain(..) {
                let envelopes: Vec<Bytes> = rest.by_ref().take(blobs / SESSIONS).collect();
                pushing.spawn(async move { session.push(&envelopes).await.map(|()| (session, rest)) });
            }
            for pushed in pushing.join_all().await {
                sessions.push(pushed?);
            }
            Ok::<_, Failure>(rate(blobs, begun.elapsed()))
        };
        push(SHORT).await?;
        short.push(push(MEASURED).await?);
        push(LONG - SHORT - MEASURED).await?;
        long.push(push(MEASURED).await?);
        for (session, _) in sessions {
            session.close().await;
        }
    }
    let (short, long) = (median(&short), median(&long));
    report.add(
        Row::new("crowd/short log", short, "blobs/s")
            .beside(median(&sqlite), "SQLite alone; 8 sessions, one group")
            .ratio_at_least(0.15),
    );
    report.add(
        Row::new("crowd/long log", long, "blobs/s")
            .beside(short, "the short log; behind 200000 blobs")
            .ratio_at_least(0.80),
    );
    Ok(())
}
