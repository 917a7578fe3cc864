//! `ack`: everything up to here has been applied.

use sync_client::{LocalCursor, SyncClient};

use crate::{answer::Acked, cli::AckArgs, error::CliError, output::Output};

pub(super) async fn run(client: &SyncClient, args: &AckArgs, output: Output) -> Result<(), CliError> {
    let cursor = LocalCursor::new(args.cursor);
    client.ack(cursor).await?;
    output.answer(&Acked { last_cursor: client.last_cursor().max(cursor).get() })
}
