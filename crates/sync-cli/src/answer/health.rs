//! How well the profile is: `doctor` and `repair`.

use std::fmt::{self, Display};

use serde::Serialize;

use super::short;
use crate::output::shown;

/// `doctor`
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: &'static str,
    pub(crate) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    pub(crate) text: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            "good" => "✓",
            "notice" => "!",
            _ => "✗",
        };
        match &self.relay {
            Some(relay) => write!(f, "{mark} {} {relay}: {}", self.check, self.text),
            None => write!(f, "{mark} {}: {}", self.check, self.text),
        }
    }
}

/// `repair`
#[derive(Debug, Serialize)]
pub(crate) struct Repaired {
    pub(crate) part: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<String>,
    pub(crate) found: u64,
    pub(crate) mended: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<LostBlob>,
    pub(crate) text: String,
}

/// A blob that is damaged here and on no relay.
#[derive(Debug, Serialize)]
pub(crate) struct LostBlob {
    pub(crate) cursor: u64,
    pub(crate) push_id: String,
    pub(crate) sender: String,
}

impl Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match (self.code, self.found) {
            (Some(_), _) => "✗",
            (None, 0) => "✓",
            (None, _) => "+",
        };
        match &self.relay {
            Some(relay) => write!(f, "{mark} {} {relay}: {}", self.part, self.text)?,
            None => write!(f, "{mark} {}: {}", self.part, self.text)?,
        }
        let blob = |blob: &LostBlob| format!("\n  #{}  {}  {}", blob.cursor, short(&blob.push_id), short(&blob.sender));
        self.lost.iter().try_for_each(|lost| f.write_str(&blob(lost)))
    }
}

/// `repair --set-aside`
#[derive(Debug, Serialize)]
pub(crate) struct SetAside {
    pub(crate) set_aside: String,
}

impl Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was here is in {} now", shown(&self.set_aside))
    }
}
