//! A relay's configuration file.
//!
//! A file that is taken says the same as the variables of the same names would, sets nothing out of bounds, and says
//! the same when it is read twice. A refusal is one short text that names what is wrong.

use sync_relay::Config;
use sync_types::limits::PAYLOAD_LEN_MAX;

/// The bytes are the file.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut config = Config::default();
    match config.apply_file(text) {
        Ok(()) => {
            within_bounds(&config);
            let mut again = config.clone();
            assert_eq!(again.apply_file(text), Ok(()), "twice");
            assert_eq!(again, config, "twice");
            let mut from_variables = Config::default();
            assert_eq!(from_variables.apply_env(variables(text)), Ok(()), "as variables");
            assert_eq!(from_variables, config, "as variables");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn within_bounds(config: &Config) {
    let (storage, cleanup, limits) = (&config.storage, &config.cleanup, &config.limits);
    assert!((1..=PAYLOAD_LEN_MAX as u64).contains(&storage.max_blob_size));
    assert!(!storage.data_dir.as_os_str().is_empty());
    assert!((1..=1_000_000).contains(&storage.max_groups) && (1..=1_000_000).contains(&config.server.max_connections));
    assert!((1..=604_800).contains(&cleanup.interval) && (1..=3_153_600_000).contains(&cleanup.device_expiry));
    let rates = [limits.messages_per_minute, limits.messages_burst, limits.groups_per_ip_hour];
    assert!(rates.iter().all(|rate| (1..=1_000_000_000).contains(rate)));
    let counts = [
        limits.connections_per_ip,
        limits.connections_per_device,
        limits.invites_per_minute,
        limits.claims_per_minute,
        limits.misses_per_minute,
        limits.invite_messages_per_minute,
    ];
    assert!(counts.iter().all(|count| (1..=1_000_000).contains(count)));
}

/// The file's settings as variables.
fn variables(text: &str) -> Vec<(String, String)> {
    let file: toml::Table = text.parse().expect("it was read before");
    let sections = file.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
    let settings = sections.flat_map(|(section, keys)| keys.iter().map(move |(key, value)| (section, key, value)));
    settings
        .map(|(section, key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (format!("SYNC_RELAY_{section}_{key}").to_uppercase(), value)
        })
        .collect()
}
