//! Every answer a command gives: its fields for scripts, its words for people.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::output::shown;

mod health;
mod status;

pub(crate) use health::{Finding, LostBlob, Repaired, SetAside};
pub(crate) use status::{BlobState, Contradiction, Disk, Parked, Relay, Status};

/// `init`
#[derive(Debug, Serialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) app: String,
    pub(crate) secrets: &'static str,
    /// With a passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group_id: Option<String>,
}

impl Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group_id.is_some() { "the first in a new group" } else { "in no group yet" };
        write!(f, "{} is ready, and {group}", shown(&self.name))
    }
}

/// `pair --create`, first
#[derive(Debug, Serialize)]
pub(crate) struct Invite {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    pub(crate) link: String,
    pub(crate) expires_at: u64,
}

impl Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}\n{}", self.link),
            None => f.write_str(&self.link),
        }
    }
}

/// `pair`, when both screens show digits
#[derive(Debug, Serialize)]
pub(crate) struct Confirm {
    pub(crate) confirm: Digits,
}

/// What a person compares.
#[derive(Debug, Serialize)]
pub(crate) struct Digits {
    pub(crate) digits: String,
    pub(crate) name: String,
    pub(crate) platform: String,
}

impl Display for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Digits { digits, name, platform } = &self.confirm;
        write!(f, "{digits}  should be on the screen of {} ({}) too", shown(name), shown(platform))
    }
}

/// `pair --create`, last
#[derive(Debug, Serialize)]
pub(crate) struct Joined {
    pub(crate) joined: Newcomer,
}

/// Who joined.
#[derive(Debug, Serialize)]
pub(crate) struct Newcomer {
    pub(crate) device_id: String,
    pub(crate) name: String,
}

impl Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in the group now", shown(&self.joined.name))
    }
}

/// `pair --join`, last
#[derive(Debug, Serialize)]
pub(crate) struct Member {
    pub(crate) group_id: String,
    pub(crate) device_id: String,
}

impl Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this device is in the group now, as {}", short(&self.device_id))
    }
}

/// `push`
#[derive(Debug, Serialize)]
pub(crate) struct Pushed {
    pub(crate) push_id: String,
    pub(crate) cursor: u64,
    pub(crate) state: Reached,
}

/// How far it got.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reached {
    Queued,
    Relay,
    All,
}

impl Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = match self.state {
            Reached::Queued => "safe here, sent when a relay answers",
            Reached::Relay => "on a relay",
            Reached::All => "on every relay",
        };
        write!(f, "#{}  {}  {reached}", self.cursor, short(&self.push_id))
    }
}

/// `pull` and `watch`
#[derive(Debug, Serialize)]
pub(crate) struct Blob {
    pub(crate) cursor: u64,
    pub(crate) push_id: String,
    pub(crate) blob_id: String,
    pub(crate) sender: String,
    pub(crate) own: bool,
    pub(crate) time_ms: u64,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) late: bool,
    #[serde(flatten)]
    pub(crate) payload: Payload,
}

/// What was pushed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Payload {
    /// It is UTF-8.
    Text(String),
    /// It isn't: in base64.
    Data(String),
}

impl Payload {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Data(data_encoding::BASE64.encode(bytes)),
        }
    }
}

impl Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sender = if self.own { "own" } else { short(&self.sender) };
        write!(f, "#{}  {sender:<8}  ", self.cursor)?;
        match &self.payload {
            Payload::Text(text) => f.write_str(&shown(text)),
            Payload::Data(data) => write!(f, "(bytes, {} in base64)", data.len()),
        }
    }
}

/// `ack`
#[derive(Debug, Serialize)]
pub(crate) struct Acked {
    pub(crate) last_cursor: u64,
}

impl Display for Acked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "applied up to #{}", self.last_cursor)
    }
}

/// `devices`
#[derive(Debug, Serialize)]
pub(crate) struct Device {
    pub(crate) device_id: String,
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) joined_by: Option<String>,
    pub(crate) copy_of: Option<String>,
    pub(crate) joined_at: u64,
    pub(crate) online: bool,
    pub(crate) last_seen: Option<u64>,
    pub(crate) received_up_to: Option<u64>,
    pub(crate) applied_up_to: Option<u64>,
    pub(crate) behind: Option<u64>,
    pub(crate) lost: u64,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) kit: bool,
    pub(crate) this: bool,
    /// As wide as the widest name, for people.
    #[serde(skip)]
    pub(crate) name_len: usize,
}

impl Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let this = if self.this { "  (this device)" } else { "" };
        let (id, name, platform) = (short(&self.device_id), shown(&self.name), shown(&self.platform));
        write!(f, "{id}  {name:<width$}  {platform:<8}  ", width = self.name_len)?;
        if self.kit {
            return f.write_str("a recovery kit");
        }
        match self.last_seen {
            _ if self.online => f.write_str("online")?,
            Some(last_seen) => write!(f, "seen {}", ago(wall_ms().saturating_sub(last_seen)))?,
            None => f.write_str("not seen yet")?,
        }
        match (self.behind, self.lost) {
            _ if self.this => {}
            (None, _) => f.write_str(", has not said what it has")?,
            (Some(0), 0) => f.write_str(", has everything")?,
            (Some(0), lost) => write!(f, ", has everything but {lost} that expired")?,
            (Some(behind), _) => write!(f, ", {behind} behind")?,
        }
        if let Some(former) = &self.copy_of {
            write!(f, ", a copy of {}", short(former))?;
        }
        f.write_str(this)
    }
}

/// `export-kit`
#[derive(Serialize)]
pub(crate) struct Kit {
    pub(crate) kit: Exported,
}

/// A kit that was just made: the page's text, or the file that the page was written to, and the code.
#[derive(Serialize)]
pub(crate) struct Exported {
    pub(crate) device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<String>,
    pub(crate) code: String,
}

impl Display for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.kit.text {
            writeln!(f, "page  {text}")?;
        }
        if let Some(page) = &self.kit.page {
            writeln!(f, "page  in {}", shown(page))?;
        }
        writeln!(f, "code  {}", self.kit.code)?;
        write!(f, "kit   {}", short(&self.kit.device_id))
    }
}

/// `snapshot publish`
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    /// Up to which cursor everything is in it.
    pub(crate) published: u64,
    pub(crate) bytes: u64,
    pub(crate) on_a_relay: bool,
}

impl Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.on_a_relay { "on a relay" } else { "on this device" };
        write!(f, "published  {} bytes up to cursor {}, {place}", self.bytes, self.published)
    }
}

/// `snapshot load`
#[derive(Debug, Serialize)]
pub(crate) struct Loaded {
    pub(crate) snapshot_id: String,
    pub(crate) sender: String,
    pub(crate) time_ms: u64,
    pub(crate) bytes: u64,
    pub(crate) taken: bool,
}

impl Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = if self.taken { "loaded " } else { "refused" };
        write!(f, "{done}  {} bytes that {} gave", self.bytes, short(&self.sender))
    }
}

/// `rename-device`
#[derive(Debug, Serialize)]
pub(crate) struct Renamed {
    pub(crate) renamed: Named,
}

/// Which device, and what it is called now.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    pub(crate) device_id: String,
    pub(crate) name: String,
}

impl Display for Renamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is called {} now", short(&self.renamed.device_id), shown(&self.renamed.name))
    }
}

/// `remove-device`
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    pub(crate) removed: Named,
    /// `new`, or `kept`.
    pub(crate) keys: &'static str,
}

impl Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) is out of the group", shown(&self.removed.name), short(&self.removed.device_id))?;
        match self.keys {
            "kept" => f.write_str("; the keys it has still open what the others push, if it comes by that"),
            _ => f.write_str(", which has new keys"),
        }
    }
}

/// `rotate-key`
#[derive(Debug, Serialize)]
pub(crate) struct Rotated {
    pub(crate) rotated: bool,
}

impl Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the group has new keys")
    }
}

/// `leave-group`
#[derive(Debug, Serialize)]
pub(crate) struct Left {
    pub(crate) left: String,
}

impl Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in no group any more, and has nothing of it", short(&self.left))
    }
}

/// `relay list`
#[derive(Debug, Serialize)]
pub(crate) struct RelayRow {
    pub(crate) address: String,
    /// Once it was met.
    pub(crate) relay_id: Option<String>,
    pub(crate) connection: &'static str,
    /// Own blobs that it hasn't got; unknown before there is a group, and before it was met.
    pub(crate) pending: Option<u64>,
    /// It lost blobs, and is being given them again.
    pub(crate) refilling: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contradictions: Vec<Contradiction>,
}

impl Display for RelayRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.address, self.connection)?;
        if let Some(pending @ 1..) = self.pending {
            write!(f, ", {pending} to send")?;
        }
        if self.refilling {
            f.write_str(", lost blobs and gets them again")?;
        }
        if let Some(problem) = self.problem {
            write!(f, ", {problem}")?;
        }
        self.contradictions.iter().try_for_each(|contradiction| write!(f, "\n  {contradiction}"))
    }
}

/// `relay add`
#[derive(Debug, Serialize)]
pub(crate) struct RelayAdded {
    pub(crate) added: String,
}

impl Display for RelayAdded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} carries this device's blobs too", self.added)
    }
}

/// `relay remove`
#[derive(Debug, Serialize)]
pub(crate) struct RelayRemoved {
    pub(crate) removed: String,
    #[serde(skip)]
    pub(crate) left: usize,
}

impl Display for RelayRemoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not used any more", self.removed)?;
        if self.left == 0 { f.write_str("; nothing carries this device's blobs now") } else { Ok(()) }
    }
}

/// How long that is, in the one unit that fits.
fn ago(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// As much of an id as a person compares.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
