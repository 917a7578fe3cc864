//! The schemes by which the page for invites opens an app.
//!
//! Which app it is the link says, and a link can come from anybody: whoever sees this server's name above a button takes
//! what is behind it for this server's. So the operator says which there may be, and there is no button for any other.

use std::{fmt, str::FromStr};

use sync_types::InviteLink;

use super::Value;

/// Longest scheme. Many are an app's identifier.
const LEN_MAX: usize = 64;
/// Most schemes.
const COUNT_MAX: usize = 32;

/// What browsers and systems act on themselves, which is no app's own.
const TAKEN: [&str; 21] = [
    "about",
    "blob",
    "chrome",
    "content",
    "data",
    "facetime",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "javascript",
    "mailto",
    "sms",
    "ssh",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// How links begin that the page may open an app with. The first is the one of an invite that names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemes(Vec<String>);

/// Text that is no list of schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected schemes, separated by commas")]
pub struct ParseSchemesError;

impl Schemes {
    /// The schemes, at least one.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl Default for Schemes {
    fn default() -> Self {
        Self(vec![InviteLink::SCHEME.to_owned()])
    }
}

impl FromStr for Schemes {
    type Err = ParseSchemesError;

    fn from_str(text: &str) -> Result<Self, ParseSchemesError> {
        let schemes: Vec<&str> = text.split(',').map(str::trim).collect();
        if schemes.len() > COUNT_MAX || !schemes.iter().all(|scheme| is_an_apps(scheme)) {
            return Err(ParseSchemesError);
        }
        Ok(Self(schemes.into_iter().map(str::to_owned).collect()))
    }
}

impl fmt::Display for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Value for Schemes {
    const EXPECTED: &'static str = "how apps' own links begin, in small letters, like zerok,org.example.notes";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

fn is_an_apps(scheme: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    (1..=LEN_MAX).contains(&scheme.len())
        && scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(rest)
        && !TAKEN.contains(&scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_schemes_are_taken() {
        let schemes: Schemes = "zerok, org.example.notes,x-y+1".parse().expect("schemes");
        assert_eq!(schemes.as_slice(), ["zerok", "org.example.notes", "x-y+1"]);
        assert_eq!(schemes.to_string().parse(), Ok(schemes), "what is shown is taken again");
        assert_eq!(Schemes::default().to_string(), "zerok");
        assert!("a".repeat(LEN_MAX).parse::<Schemes>().is_ok());
        assert!(vec!["a"; COUNT_MAX].join(",").parse::<Schemes>().is_ok());
    }

    #[test]
    fn what_is_no_scheme_of_an_app_is_refused() {
        for text in ["", ",", "zerok,", "Zerok", "zerok:", "zerok://join", "1password", "-a", "a b", "a\"b", "a<b", "ä"]
        {
            assert_eq!(text.parse::<Schemes>(), Err(ParseSchemesError), "{text}");
        }
        for taken in TAKEN {
            assert_eq!(format!("zerok,{taken}").parse::<Schemes>(), Err(ParseSchemesError), "{taken}");
        }
        assert_eq!("a".repeat(LEN_MAX + 1).parse::<Schemes>(), Err(ParseSchemesError));
        assert_eq!(vec!["a"; COUNT_MAX + 1].join(",").parse::<Schemes>(), Err(ParseSchemesError));
    }
}
