//! What an app says about its sync: in `tauri.conf.json`, or to the [`Builder`](crate::Builder), which has the last word.

use std::{num::NonZeroU32, time::Duration};

use serde::Deserialize;
use sync_bridge::{Backend, SecretsChoice};

/// `plugins.sync` in `tauri.conf.json`. A misspelt name is an error at the start of the app.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// What kind of relay carries the blobs; `relay` if nothing is said.
    pub tier: Option<Tier>,
    /// The relays of a new profile, by address. Once it is made, `configure` changes them.
    pub relays: Vec<String>,
    /// The profile that commands use which name none; `default` if nothing is said.
    pub profile: Option<String>,
    /// Further profiles, which commands may name. Each is a device of its own, in a group of its own.
    pub profiles: Vec<String>,
    /// Connect by itself, from the start; so if nothing is said.
    pub auto_connect: Option<bool>,
    /// After how many blobs that are in no snapshot the app is asked for one of its state, for devices that join later.
    pub snapshot_after: Option<u64>,
    /// After how many bytes of such blobs, sealed, it is asked, if that is sooner. If nothing is said of either the app neither
    /// makes snapshots nor loads any, and such a device reads everything there is.
    pub snapshot_after_bytes: Option<u64>,
    /// For how many days what a snapshot stands for is kept on this device all the same, to be given to a relay that loses it; 7 if
    /// nothing is said.
    pub keep_days: Option<u32>,
    /// How many of the newest bytes are kept for longer than that; 64 MiB if nothing is said.
    pub keep_bytes: Option<u64>,
    /// After how many days the group gets new keys by itself; never if nothing is said.
    pub rotate_after_days: Option<NonZeroU32>,
    /// How the app's invite links begin; `zerok` if nothing is said.
    pub link_scheme: Option<String>,
    /// What this device is called on the others, until it is renamed; the machine's name if nothing is said.
    pub device_name: Option<String>,
    /// Where the keys of a new profile rest; the keychain if nothing is said, or, on a machine without one, a file that
    /// is sealed with the builder's passphrase, if there is one.
    pub secrets: Option<Secrets>,
}

fn of_days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3_600)
}

/// See [`Config::tier`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Relays one runs oneself, or somebody runs for one.
    #[default]
    Relay,
    /// Devices alone, through nobody. Not built yet: everything fails with `unsupported_tier`.
    Iroh,
    /// A relay that is rented. Not built yet.
    Cloud,
    /// A relay that asks an organisation who may use it. Not built yet.
    Enterprise,
}

impl Config {
    /// This, and the other's where this says nothing.
    pub(crate) fn over(self, other: Self) -> Self {
        let or = |ours: Vec<String>, others| if ours.is_empty() { others } else { ours };
        Self {
            tier: self.tier.or(other.tier),
            relays: or(self.relays, other.relays),
            profile: self.profile.or(other.profile),
            profiles: or(self.profiles, other.profiles),
            auto_connect: self.auto_connect.or(other.auto_connect),
            snapshot_after: self.snapshot_after.or(other.snapshot_after),
            snapshot_after_bytes: self.snapshot_after_bytes.or(other.snapshot_after_bytes),
            keep_days: self.keep_days.or(other.keep_days),
            keep_bytes: self.keep_bytes.or(other.keep_bytes),
            rotate_after_days: self.rotate_after_days.or(other.rotate_after_days),
            link_scheme: self.link_scheme.or(other.link_scheme),
            device_name: self.device_name.or(other.device_name),
            secrets: self.secrets.or(other.secrets),
        }
    }

    pub(crate) fn rotate_after(&self) -> Option<Duration> {
        self.rotate_after_days.map(|days| of_days(days.get()))
    }

    pub(crate) fn keep_for(&self) -> Option<Duration> {
        self.keep_days.map(of_days)
    }

    pub(crate) fn backend(&self) -> Backend {
        match self.tier.unwrap_or_default() {
            Tier::Relay => Backend::Relay { relays: self.relays.clone() },
            Tier::Iroh => Backend::Iroh,
            Tier::Cloud => Backend::Cloud,
            Tier::Enterprise => Backend::Enterprise,
        }
    }
}

/// See [`Config::secrets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Secrets {
    /// The system's keychain.
    Keychain,
    /// A file that is sealed with the builder's passphrase.
    EncryptedFile,
    /// A file that only its owner can read. For development: whoever can copy the folder can read the group.
    File,
    /// A snapshot of IOTA Stronghold under the builder's passphrase. Takes the feature `stronghold`.
    Stronghold,
}

impl From<Secrets> for SecretsChoice {
    fn from(secrets: Secrets) -> Self {
        match secrets {
            Secrets::Keychain => Self::Keychain,
            Secrets::EncryptedFile => Self::EncryptedFile,
            Secrets::File => Self::File,
            Secrets::Stronghold => Self::Stronghold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apps_configuration_is_read_and_a_misspelt_name_is_an_error() {
        let json = r#"{ "relays": ["https://relay.example.org"], "autoConnect": false, "secrets": "encryptedFile",
            "profile": "home", "profiles": ["work"], "linkScheme": "org.example.notes", "deviceName": "kiosk",
            "rotateAfterDays": 30, "keepDays": 0, "keepBytes": 1000 }"#;
        let config: Config = serde_json::from_str(json).expect("reads");
        assert_eq!(config.backend(), Backend::Relay { relays: vec!["https://relay.example.org".to_owned()] });
        assert_eq!((config.auto_connect, config.secrets), (Some(false), Some(Secrets::EncryptedFile)));
        assert_eq!(config.rotate_after(), Some(Duration::from_secs(30 * 24 * 3_600)));
        assert_eq!((config.keep_for(), config.keep_bytes), (Some(Duration::ZERO), Some(1_000)));
        assert!(
            serde_json::from_str::<Config>(r#"{ "rotateAfterDays": 0 }"#).is_err(),
            "none is said by saying nothing"
        );
        assert!(serde_json::from_str::<Config>(r#"{ "relay": "https://relay.example.org" }"#).is_err());
        assert_eq!(serde_json::from_str::<Config>(r#"{ "tier": "iroh" }"#).expect("reads").backend(), Backend::Iroh);
    }
}
