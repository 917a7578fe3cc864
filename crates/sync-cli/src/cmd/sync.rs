//! `sync`: until nothing is pending.

use std::{future, time::Duration};

use indicatif::ProgressBar;
use sync_client::{EventStream, SyncClient, SyncEvent};

use super::status;
use crate::{cli::SyncArgs, error::CliError, output::Output};

pub(super) async fn run(client: &SyncClient, args: &SyncArgs, output: Output) -> Result<(), CliError> {
    let progress = output.progress("syncing");
    let synced = tokio::select! {
        synced = client.sync(Duration::from_secs(args.timeout.into())) => synced,
        never = show(client.subscribe(), &progress) => match never {},
    };
    progress.finish_and_clear();
    synced?;
    output.answer(&status::answer(client).await?)
}

/// Shows what is still to be sent, for as long as somebody looks.
async fn show(mut events: EventStream, progress: &ProgressBar) -> std::convert::Infallible {
    while let Some(event) = events.next().await {
        match event {
            SyncEvent::StatusChanged(status) => progress.set_prefix(format!("{} to send", status.pending)),
            SyncEvent::Happened(_) | SyncEvent::Missed(_) => {}
        }
    }
    future::pending().await
}
