//! `rename-device`: another name for a device, on all devices.

use std::time::Duration;

use sync_client::{Device, ErrorCode, SyncClient};

use crate::{
    answer::{self, Named},
    cli::RenameDeviceArgs,
    error::CliError,
    output::Output,
};

/// How long to try to tell the other devices at once. After that it goes on by itself whenever this device is online.
const TELL_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(client: &SyncClient, args: &RenameDeviceArgs, output: Output) -> Result<(), CliError> {
    let device = named(&client.devices().await?, &args.device)?.device_id;
    client.rename_device(device, &args.name).await?;
    let name = client.devices().await?.into_iter().find(|other| other.device_id == device).map(|device| device.name);
    let renamed = Named { device_id: device.to_string(), name: name.unwrap_or_default() };
    output.answer(&answer::Renamed { renamed })?;
    let progress = output.progress("telling the others");
    // However that ends, the name is safe here.
    let _ = client.sync(TELL_MAX).await;
    progress.finish_and_clear();
    Ok(())
}

/// The one device whose id begins like this.
fn named<'a>(devices: &'a [Device], typed: &str) -> Result<&'a Device, CliError> {
    let typed = typed.to_ascii_lowercase();
    let mut found = devices.iter().filter(|device| device.device_id.to_string().starts_with(&typed));
    match (found.next(), found.next()) {
        (Some(device), None) => Ok(device),
        (Some(_), Some(_)) => Err(CliError::Usage(format!("several devices have an id that begins with {typed}"))),
        (None, _) => Err(sync_client::ClientError::Refused(ErrorCode::DeviceUnknown).into()),
    }
}
