//! `snapshot publish` and `snapshot load`: an app's state, for devices that join later.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

use sync_client::{ClientError, ErrorCode, Event, OpenOptions, SNAPSHOT_LEN_MAX, SyncClient, SyncEvent};
use tokio::time::timeout;

use crate::{
    answer::{Loaded, Published},
    cli::{LoadArgs, PublishArgs, SnapshotCommand},
    error::CliError,
    output::Output,
};

/// Opened for snapshots, and never asked for one.
pub(super) fn options() -> OpenOptions {
    OpenOptions { snapshot_after: Some(u64::MAX), ..OpenOptions::default() }
}

pub(super) async fn run(client: &SyncClient, command: &SnapshotCommand, output: Output) -> Result<(), CliError> {
    match command {
        SnapshotCommand::Publish(args) => publish(client, args, output).await,
        SnapshotCommand::Load(args) => load(client, args, output).await,
    }
}

async fn publish(client: &SyncClient, args: &PublishArgs, output: Output) -> Result<(), CliError> {
    let state = read(&args.file)?;
    let bytes = state.len() as u64;
    let mut events = client.subscribe();
    let up_to = client.status().last_cursor;
    client.publish_snapshot(state, up_to).await?;
    let kept = async {
        while let Some(event) = events.next().await {
            if let SyncEvent::Happened(Event::SnapshotKept { .. }) = event {
                return true;
            }
        }
        false
    };
    let progress = output.progress("telling a relay");
    let on_a_relay = timeout(Duration::from_secs(args.timeout.into()), kept).await.unwrap_or(false);
    progress.finish_and_clear();
    if !on_a_relay {
        output.note("no relay keeps it yet: it goes on by itself when this device is online");
    }
    output.answer(&Published { published: up_to.get(), bytes, on_a_relay })
}

async fn load(client: &SyncClient, args: &LoadArgs, output: Output) -> Result<(), CliError> {
    let mut events = client.subscribe();
    let there = async {
        while client.latest_snapshot().await?.is_none() {
            if client.status().removed {
                return Err(ClientError::Refused(ErrorCode::Removed));
            }
            events.next().await.ok_or(ClientError::Closed)?;
        }
        Ok::<_, ClientError>(())
    };
    let progress = output.progress("asking for a snapshot");
    let waited = timeout(Duration::from_secs(args.timeout.into()), there).await;
    progress.finish_and_clear();
    waited.unwrap_or(Ok(()))?;
    let snapshot = client.latest_snapshot().await?.ok_or(ClientError::Refused(ErrorCode::NoSnapshot))?;
    let taken = !args.refuse;
    if let Some(path) = args.output.as_ref().filter(|_| taken) {
        let unwritable = |source| CliError::Unwritable { what: "the snapshot", source };
        let mut file = File::create(path).map_err(unwritable)?;
        file.write_all(&snapshot.bytes).and_then(|()| file.sync_all()).map_err(unwritable)?;
    }
    client.snapshot_loaded(snapshot.id, taken).await?;
    output.answer(&Loaded {
        snapshot_id: snapshot.id.to_string(),
        sender: snapshot.sender.to_string(),
        time_ms: snapshot.time_ms,
        bytes: snapshot.bytes.len() as u64,
        taken,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |source| CliError::Unreadable { what: "the snapshot", source };
    let mut content = Vec::new();
    let limit = u64::try_from(SNAPSHOT_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content)).map_err(unreadable)?;
    Ok(content)
}
