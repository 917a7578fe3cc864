//! `leave-group`: this device out of its group.

use sync_client::SyncClient;

use crate::{answer, cli::LeaveGroupArgs, error::CliError, output::Output};

pub(super) async fn run(client: &SyncClient, args: &LeaveGroupArgs, output: Output) -> Result<(), CliError> {
    let device_id = client.device_id()?.to_string();
    let progress = output.progress("leaving");
    let left = client.leave_group(args.force).await;
    progress.finish_and_clear();
    left?;
    output.answer(&answer::Left { left: device_id })
}
