//! `pull`: what the group's devices pushed, from the local log.

use std::time::Duration;

use sync_client::{LocalCursor, SyncClient};

use crate::{
    answer::{Blob, Payload},
    cli::PullArgs,
    error::CliError,
    output::Output,
};

/// How long to ask relays for news first.
const SYNC_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(client: &SyncClient, args: &PullArgs, output: Output) -> Result<(), CliError> {
    if !args.offline {
        let progress = output.progress("asking for news");
        let synced = client.sync(SYNC_MAX).await;
        progress.finish_and_clear();
        if let Err(error) = synced {
            output.note(format_args!("note: {error}; this is what is here"));
        }
    }
    print_after(client, LocalCursor::new(args.after_cursor), args.limit.unwrap_or(u64::MAX), output).await?;
    Ok(())
}

/// Prints at most `limit` blobs after a cursor: the cursor of the last one.
pub(super) async fn print_after(
    client: &SyncClient,
    mut cursor: LocalCursor,
    limit: u64,
    output: Output,
) -> Result<LocalCursor, CliError> {
    let mut left = limit;
    while left > 0 {
        let page = client.pull(cursor, u32::try_from(left).unwrap_or(u32::MAX)).await?;
        for blob in page.blobs {
            cursor = blob.cursor;
            left -= 1;
            output.answer(&answer(blob))?;
        }
        if !page.has_more {
            break;
        }
    }
    Ok(cursor)
}

fn answer(blob: sync_client::Blob) -> Blob {
    Blob {
        cursor: blob.cursor.get(),
        push_id: blob.push_id.to_string(),
        blob_id: blob.blob_id.to_string(),
        sender: blob.sender.to_string(),
        own: blob.own,
        time_ms: blob.time_ms,
        late: blob.late,
        payload: Payload::from_bytes(&blob.payload),
    }
}
