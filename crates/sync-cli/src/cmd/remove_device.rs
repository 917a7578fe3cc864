//! `remove-device`: takes a device out of the group.

use sync_client::{Rekey, SyncClient};

use super::named::{hear_the_others, named, tell_the_others};
use crate::{
    answer::{self, Named},
    cli::RemoveDeviceArgs,
    error::CliError,
    output::Output,
};

pub(super) async fn run(client: &SyncClient, args: &RemoveDeviceArgs, output: Output) -> Result<(), CliError> {
    client.device_id()?; // Without a group there is nobody to remove.
    hear_the_others(client, output).await?;
    let devices = client.devices().await?;
    let device = named(&devices, &args.device)?;
    let rekey = if args.keep_key { Rekey::Keep } else { Rekey::New };
    client.remove_device(device.device_id, rekey).await?;
    let removed = Named { device_id: device.device_id.to_string(), name: device.name.clone() };
    output.answer(&answer::Removed { removed, keys: if args.keep_key { "kept" } else { "new" } })?;
    tell_the_others(client, output).await;
    Ok(())
}
