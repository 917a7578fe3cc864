//! `devices`: who is in the group, and who of them is there.

use std::time::Duration;

use sync_client::{LocalCursor, SyncClient};

use crate::{answer, cli::DevicesArgs, error::CliError, output::Output};

/// How long to find out who is there. A relay says so before anything else.
const SETTLE_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(client: &SyncClient, args: &DevicesArgs, output: Output) -> Result<(), CliError> {
    client.device_id()?; // Without a group there is nobody to look for.
    if !args.offline {
        let progress = output.progress("asking");
        // However that ends, what is known then is the answer.
        let _ = client.sync(SETTLE_MAX).await;
        progress.finish_and_clear();
    }
    let devices = client.devices().await?;
    let name_len = devices.iter().map(|device| device.name.chars().count()).max().unwrap_or_default();
    for device in devices {
        output.answer(&answer::Device {
            device_id: device.device_id.to_string(),
            name: device.name,
            platform: device.platform,
            joined_by: device.joined_by.map(|device| device.to_string()),
            copy_of: device.copy_of.map(|former| former.to_string()),
            joined_at: device.joined_at_ms,
            online: device.online,
            last_seen: device.last_seen_ms,
            received_up_to: device.received_up_to.map(LocalCursor::get),
            applied_up_to: device.applied_up_to.map(LocalCursor::get),
            behind: device.behind,
            lost: device.lost,
            kit: device.kit,
            this: device.this,
            name_len,
        })?;
    }
    Ok(())
}
