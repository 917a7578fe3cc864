//! Settings: a default, overridden by a file, by the environment, by flags.
//!
//! Every setting is one line of the table below, and from that line come its place in the file
//! (`[section] key`), its variable (`SYNC_RELAY_SECTION_KEY`), its flag (`--section-key`) and its help. A key
//! nobody knows or a value of the wrong kind is an error that names it the way it was given: a relay that runs
//! with a misspelt limit runs without that limit.

mod schemes;
mod value;

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use axum::http::HeaderName;
use sync_types::limits::{PAYLOAD_LEN_MAX, relay_defaults as defaults};

pub use schemes::Schemes;
pub use value::HostPort;
pub(crate) use value::{Given, Value};

/// Prefix of the environment variables that are settings.
pub const ENV_PREFIX: &str = "SYNC_RELAY_";

/// Why the settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file named by `--config` can't be read.
    #[error("can't read the configuration file (--config): {0}")]
    Unreadable(String),
    /// The file is not TOML.
    #[error("the configuration file is not TOML: {0}")]
    NotToml(String),
    /// No such setting.
    #[error("unknown setting {0}")]
    Unknown(Origin),
    /// The setting exists; its value is of another kind.
    #[error("{origin} must be {expected}")]
    WrongValue {
        /// Which setting, as it was given.
        origin: Origin,
        /// What it takes.
        expected: String,
    },
    /// The flags are wrong; the text is for the person who typed them.
    #[error("{0}")]
    Usage(String),
    /// Nothing is wrong: help or the version was asked for, and this is it.
    #[error("{0}")]
    Asked(String),
}

/// Where a setting came from, spelled as it was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `section.key` in the file.
    File(String),
    /// The name of an environment variable.
    Env(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => write!(f, "`{name}` in the configuration file"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One setting, as the table below defines it.
pub(crate) struct Key {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) default: fn() -> String,
    set: fn(&mut Config, &Given<'_>) -> Result<(), String>,
}

impl Key {
    /// Sets it, or says what it takes.
    pub(crate) fn set(&self, config: &mut Config, given: &Given<'_>, origin: Origin) -> Result<(), ConfigError> {
        (self.set)(config, given).map_err(|expected| ConfigError::WrongValue { origin, expected })
    }

    fn env(&self) -> String {
        format!("{ENV_PREFIX}{}_{}", self.section, self.name).to_uppercase()
    }
}

macro_rules! settings {
    ($($(#[$section_doc:meta])* $section:ident: $Section:ident {
        $($(#[doc = $help:literal])+ $key:ident: $type:ty = $default:expr $(, $from:literal..=$to:expr)?;)*
    })*) => {
        /// Everything an operator can set.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Config {
            $($(#[$section_doc])* pub $section: $Section,)*
        }

        $(
            $(#[$section_doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Section {
                $($(#[doc = $help])+ pub $key: $type,)*
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($key: $default,)* }
                }
            }
        )*

        pub(crate) const KEYS: &[Key] = &[$($(Key {
            section: stringify!($section),
            name: stringify!($key),
            help: concat!($($help),+),
            default: || <$type as Value>::show(&$default),
            set: |config, given| {
                let value = <$type as Value>::read(given).ok_or_else(|| <$type as Value>::EXPECTED.to_owned())?;
                $(if !($from..=$to).contains(&value) {
                    return Err(format!("a whole number from {} to {}", $from, $to));
                })?
                config.$section.$key = value;
                Ok(())
            },
        },)*)*];
    };
}

settings! {
    /// Where the relay listens.
    server: Server {
        /// Address of the QUIC endpoint; `[::]` listens on IPv4 as well.
        quic_bind: SocketAddr = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 4843));
        /// Address of the HTTP server.
        http_bind: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        /// `host:port` under which devices reach the QUIC endpoint, if it is not the host they reach by HTTP.
        public_addr: Option<HostPort> = None;
        /// Connections in all.
        max_connections: u64 = defaults::MAX_CONNECTIONS, 1..=1_000_000;
        /// HTTP header in which a reverse proxy passes on the client's address. Set it only behind a proxy that does.
        trusted_proxy_header: Option<HeaderName> = None;
        /// Whether to serve a page at /join that shows the invite in its own address. Who opens one there trusts this server.
        join_page: bool = false;
        /// How links begin that this page may open an app with, separated by commas; the first for invites that name none.
        join_schemes: Schemes = Schemes::default();
    }

    /// What the relay keeps.
    storage: Storage {
        /// Folder of everything the relay keeps: identity and database.
        data_dir: PathBuf = PathBuf::from("sync-relay-data");
        /// Largest payload, in bytes.
        max_blob_size: u64 = defaults::MAX_BLOB_SIZE, 1..=PAYLOAD_LEN_MAX as u64;
        /// Bytes a group may keep, its snapshots included.
        max_group_storage: u64 = defaults::MAX_GROUP_STORAGE;
        /// Size of the whole database, in bytes.
        max_db_size: u64 = defaults::MAX_DB_SIZE;
        /// Seconds a blob is kept that names no time of its own; 0 for max_ttl.
        default_ttl: u64 = defaults::DEFAULT_TTL;
        /// Seconds a blob may be kept at most; 0 for no limit.
        max_ttl: u64 = defaults::MAX_TTL;
        /// Groups on this relay.
        max_groups: u64 = defaults::MAX_GROUPS, 1..=1_000_000;
    }

    /// When the relay forgets.
    cleanup: Cleanup {
        /// Seconds between two cleanups.
        interval: u64 = defaults::CLEANUP_INTERVAL, 1..=604_800;
        /// Seconds after which a device that never came back is forgotten, and a group nobody came back to with all it holds.
        device_expiry: u64 = defaults::DEVICE_EXPIRY, 1..=3_153_600_000_u64;
        /// Whether a cleanup gives freed space back to the file system.
        vacuum_on_cleanup: bool = true;
    }

    /// What one device or one network address may ask for.
    limits: Limits {
        /// Requests of one device a minute, once its burst is spent.
        messages_per_minute: u64 = defaults::MESSAGES_PER_MINUTE, 1..=1_000_000_000;
        /// Requests of one device at once.
        messages_burst: u64 = defaults::MESSAGES_BURST, 1..=1_000_000_000;
        /// Connections from one network address.
        connections_per_ip: u64 = defaults::CONNECTIONS_PER_IP, 1..=1_000_000;
        /// Connections of one device.
        connections_per_device: u64 = defaults::CONNECTIONS_PER_DEVICE, 1..=1_000_000;
        /// Groups that one network address may start, or give another id, an hour.
        groups_per_ip_hour: u64 = defaults::GROUPS_PER_IP_HOUR, 1..=1_000_000_000;
        /// Invites that one network address may open a minute.
        invites_per_minute: u64 = 5, 1..=1_000_000;
        /// Invites that one network address may look up a minute.
        claims_per_minute: u64 = 10, 1..=1_000_000;
        /// Lookups of one network address a minute that may find nothing.
        misses_per_minute: u64 = 3, 1..=1_000_000;
        /// Requests of one network address a minute to invites it takes part in.
        invite_messages_per_minute: u64 = 300, 1..=1_000_000;
    }
}

impl Config {
    /// Overrides what the file's text sets.
    ///
    /// # Errors
    /// [`ConfigError`], naming the line or the key.
    pub fn apply_file(&mut self, text: &str) -> Result<(), ConfigError> {
        let file: toml::Table =
            text.parse().map_err(|error: toml::de::Error| ConfigError::NotToml(error.to_string()))?;
        for (section, keys) in &file {
            let unknown = || ConfigError::Unknown(Origin::File(section.clone()));
            if !KEYS.iter().any(|key| key.section == section) {
                return Err(unknown());
            }
            for (name, value) in keys.as_table().ok_or_else(unknown)? {
                let origin = Origin::File(format!("{section}.{name}"));
                match KEYS.iter().find(|key| key.section == section && key.name == name) {
                    Some(key) => key.set(self, &Given::Toml(value), origin)?,
                    None => return Err(ConfigError::Unknown(origin)),
                }
            }
        }
        Ok(())
    }

    /// Overrides what the variables set. Those without [`ENV_PREFIX`] are nobody's business here.
    ///
    /// # Errors
    /// [`ConfigError`], naming the variable.
    pub fn apply_env(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
        for (name, value) in variables.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)) {
            let key = KEYS.iter().find(|key| key.env() == name);
            let key = key.ok_or_else(|| ConfigError::Unknown(Origin::Env(name.clone())))?;
            key.set(self, &Given::Text(&value), Origin::Env(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_layer_wins_and_the_others_stay() {
        let mut config = Config::default();
        config.apply_file("[limits]\nmessages_burst = 7\n[server]\nhttp_bind = \"127.0.0.1:1\"").expect("valid");
        config.apply_env([("SYNC_RELAY_LIMITS_MESSAGES_BURST".into(), "9".into())]).expect("valid");
        assert_eq!(config.limits.messages_burst, 9);
        assert_eq!(config.server.http_bind.port(), 1);
        assert_eq!(config.server.quic_bind.port(), 4843);
    }

    #[test]
    fn errors_name_the_setting_the_way_it_was_given() {
        let file = |text: &str| Config::default().apply_file(text).expect_err(text).to_string();
        assert_eq!(file("[server]\nquick_bind = 1"), "unknown setting `server.quick_bind` in the configuration file");
        assert_eq!(file("[sever]\n"), "unknown setting `sever` in the configuration file");
        assert_eq!(file("port = 1"), "unknown setting `port` in the configuration file");
        assert_eq!(
            file("[cleanup]\ninterval = -1"),
            "`cleanup.interval` in the configuration file must be a whole number, not negative"
        );
        assert_eq!(
            file("[storage]\nmax_blob_size = 1048577"),
            "`storage.max_blob_size` in the configuration file must be a whole number from 1 to 1048576"
        );
        assert_eq!(
            file("[server]\npublic_addr = \"relay.example\""),
            "`server.public_addr` in the configuration file must be a host and a port, like relay.example:4843"
        );
        assert_eq!(
            file("[server]\ntrusted_proxy_header = \"X Forwarded For\""),
            "`server.trusted_proxy_header` in the configuration file must be the name of an HTTP header"
        );
        assert!(file("[server").starts_with("the configuration file is not TOML"));

        let env = |name: &str, value: &str| {
            Config::default().apply_env([(name.into(), value.into())]).expect_err(name).to_string()
        };
        assert_eq!(env("SYNC_RELAY_PORT", "1"), "unknown setting environment variable SYNC_RELAY_PORT");
        assert_eq!(
            env("SYNC_RELAY_CLEANUP_VACUUM_ON_CLEANUP", "yes"),
            "environment variable SYNC_RELAY_CLEANUP_VACUUM_ON_CLEANUP must be true or false"
        );
    }

    #[test]
    fn the_shipped_example_is_valid() {
        Config::default().apply_file(include_str!("../config.dev.toml")).expect("valid");
    }
}
