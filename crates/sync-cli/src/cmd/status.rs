//! `status`: how things stand.

use std::time::Duration;

use sync_client::{BLOB_STATES_MAX, LocalCursor, SyncClient};

use crate::{
    answer::{self, Contradiction, Disk, Parked, Relay},
    cli::StatusArgs,
    error::CliError,
    output::Output,
};

/// How long to find out whether a relay answers.
const SETTLE_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(client: &SyncClient, args: &StatusArgs, output: Output) -> Result<(), CliError> {
    client.device_id()?; // Without a group there is nothing to stand well or badly.
    if !args.offline {
        let progress = output.progress("asking");
        // However that ends, what is known then is the answer.
        let _ = client.sync(SETTLE_MAX).await;
        progress.finish_and_clear();
    }
    if args.blobs { blobs(client, args.after_cursor, output).await } else { output.answer(&answer(client).await?) }
}

async fn blobs(client: &SyncClient, after: u64, output: Output) -> Result<(), CliError> {
    let head = client.status().head_cursor.get();
    let cursors: Vec<_> = (after.saturating_add(1)..=head).map(LocalCursor::new).collect();
    for cursors in cursors.chunks(BLOB_STATES_MAX) {
        for state in client.blob_states(cursors).await? {
            output.answer(&answer::BlobState::from(state))?;
        }
    }
    Ok(())
}

pub(super) async fn answer(client: &SyncClient) -> Result<answer::Status, CliError> {
    let (status, sizes) = (client.status(), client.sizes().await?);
    let parked = status.parked.iter().map(|(blob, reason)| Parked { blob_id: blob.to_string(), reason: reason.name() });
    let relays = status.relays.iter().map(|relay| Relay {
        relay_id: relay.relay.to_string(),
        connection: relay.connection.name(),
        pulled: relay.pulled.get(),
        max_cursor: relay.max_cursor.get(),
        pending: relay.pending,
        room: relay.room,
        problem: relay.problem.map(|code| code.name()),
        contradictions: Contradiction::all(relay),
    });
    Ok(answer::Status {
        badge: status.badge.name(),
        connection: status.connection.name(),
        pending: status.pending,
        parked: parked.collect(),
        waiting: status.waiting,
        last_cursor: status.last_cursor.get(),
        head_cursor: status.head_cursor.get(),
        disk: Disk {
            database: sizes.database,
            free: sizes.free,
            envelopes: sizes.envelopes,
            waiting: sizes.waiting,
            parked: sizes.parked,
            snapshots: sizes.snapshots,
        },
        relays: relays.collect(),
    })
}
