//! `devices`: who is in the group.

use sync_client::SyncClient;

use crate::{answer, error::CliError, output::Output};

pub(super) async fn run(client: &SyncClient, output: Output) -> Result<(), CliError> {
    for device in client.devices().await? {
        output.answer(&answer::Device {
            device_id: device.device_id.to_string(),
            name: device.name,
            platform: device.platform,
            joined_by: device.joined_by.map(|device| device.to_string()),
            joined_at: device.joined_at_ms,
            this: device.this,
        })?;
    }
    Ok(())
}
