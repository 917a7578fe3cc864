//! What a profile is made of and opened with, as a front end says it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sync_client::{Passphrase, RelayAddr, SecretsChoice};

use crate::{dto::Configuration, error::BridgeError};

/// How links begin that no app has a word of its own for: `zerok://join#…`.
pub(crate) const SCHEME: &str = "zerok";

/// What a profile is made of, the first time it is needed, and opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that holds it. Made if it isn't there.
    pub dir: PathBuf,
    /// What this device is called on the others, until it is renamed.
    pub name: String,
    /// The app whose data it is: devices of another app can't join its groups.
    pub app_id: String,
    /// What carries the blobs. Once the profile is made, [`crate::SyncHandle::configure`] changes it.
    pub backend: Backend,
    /// Where its secrets rest. None for the keychain, or, on a machine without one, for a file that is sealed with
    /// [`Self::passphrase`], if there is that.
    pub secrets: Option<SecretsChoice>,
    /// What its secrets are sealed with, where they rest in a file that is.
    pub passphrase: Option<Arc<Passphrase>>,
    /// Connect, and keep connected, from the start.
    pub auto_connect: bool,
    /// After how many blobs and notes that are in no snapshot the app is asked for one of its state. None for as many as there
    /// may be.
    pub snapshot_after: Option<u64>,
    /// After how many bytes of them it is asked, if that is sooner. An app that sets neither neither makes nor loads any.
    pub snapshot_after_bytes: Option<u64>,
    /// How long what a snapshot stands for is kept here all the same, once the app has acknowledged it. None for seven days.
    pub keep_for: Option<Duration>,
    /// So many of the newest bytes are kept for longer than that. None for 64 MiB.
    pub keep_bytes: Option<u64>,
    /// Gives the group new keys when those it has are this old, by the clocks of those who make them. None for never.
    pub rotate_after: Option<Duration>,
    /// How the app's invite links begin.
    pub link_scheme: String,
}

impl Settings {
    /// A profile in this folder, without a relay, that connects by itself and keeps its keys in the keychain.
    pub fn new(dir: impl Into<PathBuf>, name: &str, app_id: &str) -> Self {
        Self {
            dir: dir.into(),
            name: name.to_owned(),
            app_id: app_id.to_owned(),
            backend: Backend::default(),
            secrets: None,
            passphrase: None,
            auto_connect: true,
            snapshot_after: None,
            snapshot_after_bytes: None,
            keep_for: None,
            keep_bytes: None,
            rotate_after: None,
            link_scheme: SCHEME.to_owned(),
        }
    }
}

impl Settings {
    /// How a profile will be set up that nobody has made yet.
    pub(crate) fn configuration(&self) -> Configuration {
        Configuration {
            backend: self.backend.clone(),
            secrets: self.secrets.unwrap_or_default().name().to_owned(),
            name: self.name.clone(),
        }
    }
}

/// What carries blobs between devices: `{ tier, … }`. Changing it is changing one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tier", rename_all = "lowercase")]
pub enum Backend {
    /// Relays one runs oneself, or somebody runs for one, by address and in order of preference.
    Relay {
        /// Web addresses, tickets, or `id@host:port`.
        #[serde(default)]
        relays: Vec<String>,
    },
    /// Devices alone, through nobody. Not built yet.
    Iroh,
    /// A relay that is rented. Not built yet.
    Cloud,
    /// A relay that asks an organisation who may use it. Not built yet.
    Enterprise,
}

impl Default for Backend {
    /// No relay yet.
    fn default() -> Self {
        Self::Relay { relays: Vec::new() }
    }
}

impl Backend {
    /// Its relays.
    pub(crate) fn addresses(&self) -> Result<Vec<RelayAddr>, BridgeError> {
        match self {
            Self::Relay { relays } => Ok(relays.iter().map(|relay| relay.parse()).collect::<Result<_, _>>()?),
            Self::Iroh | Self::Cloud | Self::Enterprise => Err(BridgeError::Tier),
        }
    }
}

#[cfg(test)]
mod tests {
    use sync_client::ErrorCode;

    use super::*;

    fn backend(json: &str) -> Backend {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn a_tier_is_one_value_and_one_that_is_not_built_says_so() {
        let relay = backend(r#"{ "tier": "relay", "relays": ["https://relay.example.org"] }"#);
        assert_eq!(relay.addresses().expect("is built").len(), 1);
        for later in [r#"{ "tier": "iroh" }"#, r#"{ "tier": "cloud", "apiKey": "k" }"#, r#"{ "tier": "enterprise" }"#] {
            let error = backend(later).addresses().expect_err("is not built");
            assert_eq!(error.code(), ErrorCode::UnsupportedTier, "{later}");
        }
        assert!(serde_json::from_str::<Backend>(r#"{ "tier": "pigeons" }"#).is_err());
        let nowhere = Backend::Relay { relays: vec!["pigeons".to_owned()] };
        assert_eq!(nowhere.addresses().expect_err("names none").code(), ErrorCode::RelayUnknown);
    }
}
