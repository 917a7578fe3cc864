//! What the commands that change the group have in common: which device is meant, and that the others hear of it.

use std::time::Duration;

use sync_client::{ClientError, Device, ErrorCode, SyncClient};

use crate::{error::CliError, output::Output};

/// How long to try to tell the other devices at once. After that it goes on by itself whenever this device is online.
const TELL_MAX: Duration = Duration::from_secs(5);

/// The one device whose id begins like this.
pub(super) fn named<'a>(devices: &'a [Device], typed: &str) -> Result<&'a Device, CliError> {
    let typed = typed.to_ascii_lowercase();
    let mut found = devices.iter().filter(|device| device.device_id.to_string().starts_with(&typed));
    match (found.next(), found.next()) {
        (Some(device), None) => Ok(device),
        (Some(_), Some(_)) => Err(CliError::Usage(format!("several devices have an id that begins with {typed}"))),
        (None, _) => Err(ClientError::Refused(ErrorCode::DeviceUnknown).into()),
    }
}

/// Whoever was removed changes nothing in the group any more.
pub(super) fn still_member(client: &SyncClient) -> Result<(), CliError> {
    if client.status().removed { Err(ClientError::Refused(ErrorCode::Removed).into()) } else { Ok(()) }
}

/// Tries to tell the others. However that ends, what was decided is safe here.
pub(super) async fn tell_the_others(client: &SyncClient, output: Output) {
    let progress = output.progress("telling the others");
    let _ = client.sync(TELL_MAX).await;
    progress.finish_and_clear();
}

/// Learns first what others have decided meanwhile, if a relay answers.
pub(super) async fn hear_the_others(client: &SyncClient, output: Output) -> Result<(), CliError> {
    let progress = output.progress("asking");
    let heard = client.sync(TELL_MAX).await;
    progress.finish_and_clear();
    match heard {
        Err(ClientError::Refused(code @ ErrorCode::Removed)) => Err(ClientError::Refused(code).into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
