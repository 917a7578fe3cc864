//! Opening the profile, and making it where there is none yet.

use sync_client::{ClientError, OpenOptions, ProfileConfig, RelayBackend, SecretsChoice, SecretsError, SyncClient};

use crate::{
    dto::{Disk, Membership},
    error::BridgeError,
    settings::Settings,
};

/// Opens the profile that the settings name, if it is there.
pub(crate) async fn open_existing(settings: &Settings, connect: bool) -> Result<Option<SyncClient>, BridgeError> {
    match open(settings, connect).await {
        Ok(client) => Ok(Some(client)),
        Err(BridgeError::Client(ClientError::NoProfile)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same, and makes it if it isn't.
pub(crate) async fn open_or_make(settings: &Settings, connect: bool) -> Result<SyncClient, BridgeError> {
    if let Some(client) = open_existing(settings, connect).await? {
        return Ok(client);
    }
    make(settings).await?;
    open(settings, connect).await
}

async fn open(settings: &Settings, connect: bool) -> Result<SyncClient, BridgeError> {
    Ok(SyncClient::open(&settings.dir, options(settings, connect)).await?)
}

fn options(settings: &Settings, connect: bool) -> OpenOptions {
    let (passphrase, unsaid) = (settings.passphrase.clone(), OpenOptions::default());
    OpenOptions {
        auto_connect: connect,
        snapshot_after: settings.snapshot_after,
        snapshot_after_bytes: settings.snapshot_after_bytes,
        rotate_after: settings.rotate_after,
        keep_for: settings.keep_for.unwrap_or(unsaid.keep_for),
        keep_bytes: settings.keep_bytes.unwrap_or(unsaid.keep_bytes),
        passphrase,
        ..unsaid
    }
}

/// Puts a database aside that can't be read. Says where it is.
pub(crate) async fn set_aside(settings: &Settings) -> Result<String, BridgeError> {
    Ok(SyncClient::set_aside(&settings.dir, options(settings, false)).await?.display().to_string())
}

async fn make(settings: &Settings) -> Result<(), BridgeError> {
    let relays = settings.backend.addresses()?;
    let config = |secrets| ProfileConfig {
        dir: settings.dir.clone(),
        name: settings.name.clone(),
        app_id: settings.app_id.clone(),
        backend: RelayBackend::Relay(relays.clone()),
        secrets,
        passphrase: settings.passphrase.clone(),
    };
    let made = match SyncClient::init(config(settings.secrets.unwrap_or_default())).await {
        Err(ClientError::Secrets(SecretsError::Keychain(_))) if falls_back(settings) => {
            tracing::warn!("there is no keychain: this profile keeps its keys in a file, sealed with a passphrase");
            SyncClient::init(config(SecretsChoice::EncryptedFile)).await
        }
        made => made,
    };
    made.map(drop).map_err(BridgeError::from)
}

fn falls_back(settings: &Settings) -> bool {
    settings.secrets.is_none() && settings.passphrase.is_some()
}

/// The profile's place in a group, if it is in one.
pub(crate) fn membership(client: &SyncClient) -> Option<Membership> {
    let (group_id, device_id) = (client.group_id().ok()?, client.device_id().ok()?);
    Some(Membership { group_id: group_id.to_string(), device_id: device_id.to_string() })
}

/// How much room the profile takes, if that can be told.
pub(crate) async fn disk(client: &SyncClient) -> Option<Disk> {
    client.sizes().await.ok().map(Disk::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_an_app_says_of_what_is_kept_goes_before_what_is_usual() {
        let (unsaid, usual) = (Settings::new("folder", "phone", "app"), OpenOptions::default());
        let options = options(&unsaid, false);
        assert_eq!((options.keep_for, options.keep_bytes), (usual.keep_for, usual.keep_bytes));
        let said = Settings { keep_for: Some(Duration::ZERO), keep_bytes: Some(7), ..unsaid };
        let options = super::options(&said, false);
        assert_eq!((options.keep_for, options.keep_bytes), (Duration::ZERO, 7));
    }
}
