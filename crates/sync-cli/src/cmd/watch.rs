//! `watch`: what the group's devices push, as it comes.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use sync_client::{ClientError, ErrorCode, Event, EventStream, LocalCursor, PushOptions, SyncClient, SyncEvent};
use tokio::sync::Notify;

use super::{pull::print_after, push::lines};
use crate::{cli::WatchArgs, error::CliError, output::Output};

pub(super) async fn run(client: &SyncClient, args: &WatchArgs, output: Output) -> Result<(), CliError> {
    let after = args.after_cursor.map_or_else(|| client.status().head_cursor, LocalCursor::new);
    let pushed = Notify::new();
    let push = async {
        if args.lines {
            let mut own = pin!(lines(client, PushOptions::default()));
            while own.try_next().await?.is_some() {
                pushed.notify_one();
            }
        }
        Ok(())
    };
    tokio::try_join!(print(client, after, &pushed, output), push)?;
    Ok(())
}

/// Prints the log from a cursor on, whoever it grows by, until the client is closed.
async fn print(client: &SyncClient, mut cursor: LocalCursor, pushed: &Notify, output: Output) -> Result<(), CliError> {
    let mut events = client.subscribe();
    loop {
        cursor = print_after(client, cursor, u64::MAX, output).await?;
        if client.status().removed {
            return Err(ClientError::Refused(ErrorCode::Removed).into());
        }
        tokio::select! {
            open = news(&mut events, cursor) => if !open { return Ok(()) },
            () = pushed.notified() => {}
        }
    }
}

/// Waits until the log may have grown past a cursor by what others pushed, or this device is told that it is removed;
/// false once the client is closed.
async fn news(events: &mut EventStream, seen: LocalCursor) -> bool {
    while let Some(event) = events.next().await {
        match event {
            SyncEvent::Happened(Event::BlobAvailable { cursor, .. }) if cursor <= seen => {}
            SyncEvent::Happened(Event::BlobAvailable { .. }) | SyncEvent::Missed(_) => return true,
            SyncEvent::StatusChanged(status) if status.removed => return true,
            SyncEvent::Happened(_) | SyncEvent::StatusChanged(_) => {}
        }
    }
    false
}
