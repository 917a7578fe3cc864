//! The kinds of value a setting can have: how each is read from TOML and from text, shown, and asked for.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use axum::http::HeaderName;

/// A value on its way to a setting.
pub(crate) enum Given<'a> {
    Toml(&'a toml::Value),
    Text(&'a str),
}

/// A kind of value.
pub(crate) trait Value: Sized {
    /// Completes "… must be".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    /// Most kinds are strings in TOML too.
    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }

    /// As a person would write it.
    fn show(&self) -> String;

    fn read(given: &Given<'_>) -> Option<Self> {
        match given {
            Given::Toml(value) => Self::from_toml(value),
            Given::Text(text) => Self::from_text(text),
        }
    }
}

impl Value for u64 {
    const EXPECTED: &'static str = "a whole number, not negative";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_integer()?.try_into().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an address and a port, like 127.0.0.1:8080 or [::]:4843";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "the path of a folder";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for HeaderName {
    const EXPECTED: &'static str = "the name of an HTTP header";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for HostPort {
    const EXPECTED: &'static str = "a host and a port, like relay.example:4843";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// What may be left out. An empty text leaves it out again.
impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::from_text(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::show)
    }
}

/// Where devices reach a port: a name or an address, and the port. Names are for devices to resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort(String);

/// Text that is no `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host and a port")]
pub struct ParseHostPortError;

impl FromStr for HostPort {
    type Err = ParseHostPortError;

    fn from_str(text: &str) -> Result<Self, ParseHostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or(ParseHostPortError)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let blank = host.is_empty() || host.contains(char::is_whitespace) || host.contains('/');
        if blank || (host.contains(':') && !bracketed) || port.parse::<u16>().is_err() {
            return Err(ParseHostPortError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn a_host_and_a_port() {
        for good in ["relay.example:4843", "192.0.2.1:1", "[2001:db8::1]:4843"] {
            assert_eq!(good.parse::<HostPort>().expect(good).to_string(), good);
        }
        for bad in
            ["relay.example", ":4843", "2001:db8::1:4843", "relay.example:port", "http://relay.example:1", "a b:1"]
        {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
