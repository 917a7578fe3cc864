//! `rename-device`: another name for a device, on all devices.

use sync_client::SyncClient;

use super::named::{named, still_member, tell_the_others};
use crate::{
    answer::{self, Named},
    cli::RenameDeviceArgs,
    error::CliError,
    output::Output,
};

pub(super) async fn run(client: &SyncClient, args: &RenameDeviceArgs, output: Output) -> Result<(), CliError> {
    still_member(client)?;
    let device = named(&client.devices().await?, &args.device)?.device_id;
    client.rename_device(device, &args.name).await?;
    let name = client.devices().await?.into_iter().find(|other| other.device_id == device).map(|device| device.name);
    let renamed = Named { device_id: device.to_string(), name: name.unwrap_or_default() };
    output.answer(&answer::Renamed { renamed })?;
    tell_the_others(client, output).await;
    Ok(())
}
