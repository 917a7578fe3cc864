//! `rotate-key`: new keys for the group.

use sync_client::SyncClient;

use super::named::{hear_the_others, tell_the_others};
use crate::{answer, error::CliError, output::Output};

pub(super) async fn run(client: &SyncClient, output: Output) -> Result<(), CliError> {
    client.device_id()?; // Without a group there are no keys.
    hear_the_others(client, output).await?;
    client.rotate_key().await?;
    output.answer(&answer::Rotated { rotated: true })?;
    tell_the_others(client, output).await;
    Ok(())
}
