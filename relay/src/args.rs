//! The command line: a flag for every setting, and the four that are not settings.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::config::{Config, ConfigError, ENV_PREFIX, Given, KEYS, Origin};

/// What the command line, the environment and the file say together.
#[derive(Clone, Debug)]
pub struct Args {
    /// The settings.
    pub config: Config,
    /// Whether to say "ready" as a line of JSON.
    pub json: bool,
    /// What to log, as a `tracing` filter.
    pub log: String,
}

/// Settings that have a second, short flag.
const SHORT: [(&str, &str, &str); 3] =
    [("server", "quic_bind", "quic-bind"), ("server", "http_bind", "http-bind"), ("storage", "data_dir", "data-dir")];

/// The variable that says what to log.
const LOG: &str = "RUST_LOG";

impl Args {
    /// Reads the flags, then the file they name, then lays the variables and the flags over it.
    ///
    /// # Errors
    /// [`ConfigError`]; for `--help` and `--version` it is [`ConfigError::Asked`] with the text.
    pub fn read(
        flags: impl IntoIterator<Item = OsString>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let flags = command().try_get_matches_from(flags).map_err(|error| {
            let text = error.to_string();
            if error.use_stderr() { ConfigError::Usage(text) } else { ConfigError::Asked(text) }
        })?;
        let mut config = Config::default();
        if let Some(path) = flags.get_one::<String>("config") {
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(error.to_string()))?;
            config.apply_file(&text)?;
        }
        let mut log = "info".to_owned();
        let mut settings = Vec::new();
        for (name, value) in variables {
            // What other programs are told is theirs, be it text or not.
            let Some(name) = name.to_str().filter(|name| *name == LOG || name.starts_with(ENV_PREFIX)) else {
                continue;
            };
            let name = name.to_owned();
            let Ok(value) = value.into_string() else {
                return Err(ConfigError::WrongValue { origin: Origin::Env(name), expected: "UTF-8".to_owned() });
            };
            if name == LOG {
                log = value;
            } else {
                settings.push((name, value));
            }
        }
        config.apply_env(settings)?;
        for key in KEYS {
            let flag = flag(key.section, key.name);
            if let Some(value) = flags.get_one::<String>(&flag) {
                key.set(&mut config, &Given::Text(value), Origin::Flag(format!("--{flag}")))?;
            }
        }
        let log = flags.get_one::<String>("log").cloned().unwrap_or(log);
        Ok(Self { config, json: flags.get_flag("json"), log })
    }
}

fn flag(section: &str, name: &str) -> String {
    format!("{section}-{name}").replace('_', "-")
}

fn command() -> Command {
    let settings = KEYS.iter().map(|key| {
        let long = flag(key.section, key.name);
        let help = format!("{} [default: {}]", key.help.trim(), (key.default)());
        let short = SHORT.iter().find(|(section, name, _)| *section == key.section && *name == key.name);
        let arg = Arg::new(long.clone()).long(long).value_name("VALUE").help(help).help_heading("Settings");
        match short {
            Some((.., alias)) => arg.visible_alias(*alias),
            None => arg,
        }
    });
    Command::new("sync-relay")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Stores and announces envelopes it cannot read")
        .after_help("A setting comes from the file, then SYNC_RELAY_<SECTION>_<KEY>, then its flag; the later wins.")
        .arg(Arg::new("config").long("config").value_name("FILE").help("TOML file with settings"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one line of JSON once ready"))
        .arg(Arg::new("log").long("log").value_name("FILTER").help("What to log, like info or sync_relay=debug"))
        .args(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str], variables: &[(&str, &str)]) -> Result<Args, ConfigError> {
        let flags = ["sync-relay"].iter().chain(flags).map(OsString::from);
        Args::read(flags, variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "[limits]\nmessages_burst = 1\nmessages_per_minute = 1\nconnections_per_ip = 1")
            .expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let args = read(
            &["--config", path, "--limits-messages-burst", "3", "--data-dir", "d", "--json"],
            &[("SYNC_RELAY_LIMITS_MESSAGES_BURST", "2"), ("SYNC_RELAY_LIMITS_MESSAGES_PER_MINUTE", "2")],
        )
        .expect("valid");
        let limits = args.config.limits;
        assert_eq!((limits.messages_burst, limits.messages_per_minute, limits.connections_per_ip), (3, 2, 1));
        assert_eq!(args.config.storage.data_dir.to_str(), Some("d"));
        assert!(args.json);
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let error = read(&["--server-quic-bind", "nowhere"], &[]).expect_err("not an address");
        assert!(error.to_string().starts_with("--server-quic-bind must be an address and a port"), "{error}");
        let error = read(&["--server-quick-bind", "nowhere"], &[]).expect_err("no such flag");
        assert!(error.to_string().contains("--server-quick-bind"), "{error}");
    }

    #[test]
    fn help_lists_every_setting() {
        let help = read(&["--help"], &[]).expect_err("help is not a run").to_string();
        for key in KEYS {
            assert!(help.contains(&flag(key.section, key.name)), "{}", key.name);
        }
    }
}
