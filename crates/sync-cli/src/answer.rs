//! Every answer a command gives: its fields for scripts, its words for people.

use std::fmt::{self, Display};

use serde::Serialize;

use sync_client::RelayStatus;

use crate::output::shown;

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

/// `status` and `sync`
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) badge: &'static str,
    pub(crate) connection: &'static str,
    pub(crate) pending: u64,
    pub(crate) parked: Vec<Parked>,
    pub(crate) waiting: u64,
    pub(crate) last_cursor: u64,
    pub(crate) head_cursor: u64,
    pub(crate) disk: Disk,
    pub(crate) relays: Vec<Relay>,
}

/// How much room the profile takes, in bytes, but for the number of envelopes.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    pub(crate) database: u64,
    pub(crate) free: u64,
    pub(crate) envelopes: u64,
    pub(crate) waiting: u64,
    pub(crate) parked: u64,
    pub(crate) snapshots: u64,
}

/// A blob that can't be read here.
#[derive(Debug, Serialize)]
pub(crate) struct Parked {
    pub(crate) blob_id: String,
    pub(crate) reason: &'static str,
}

/// A relay, as this device sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Relay {
    pub(crate) relay_id: String,
    pub(crate) connection: &'static str,
    pub(crate) pulled: u64,
    pub(crate) max_cursor: u64,
    pub(crate) pending: u64,
    /// Envelope bytes it keeps of the group at most, once it has said so.
    pub(crate) room: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contradictions: Vec<Contradiction>,
}

/// What another device has read on a relay, and this one is not shown there.
#[derive(Debug, Serialize)]
pub(crate) struct Contradiction {
    pub(crate) device_id: String,
    pub(crate) cursor: u64,
    pub(crate) kind: &'static str,
}

impl Contradiction {
    pub(crate) fn all(relay: &RelayStatus) -> Vec<Self> {
        let of = |found: &sync_client::Contradiction| Self {
            device_id: found.device.to_string(),
            cursor: found.cursor.get(),
            kind: found.kind(),
        };
        relay.contradictions.iter().map(of).collect()
    }
}

impl Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} has read another log there, up to {}", self.kind, short(&self.device_id), self.cursor)
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} blobs here, {} to send", self.badge, self.head_cursor, self.pending)?;
        write!(f, "\n{} on this disk", bytes(self.disk.database))?;
        for Parked { blob_id, reason } in &self.parked {
            write!(f, "\nunreadable: {} ({reason})", short(blob_id))?;
        }
        for relay in &self.relays {
            write!(f, "\nrelay {}: {}", short(&relay.relay_id), relay.connection)?;
            if let Some(room) = relay.room {
                write!(f, ", keeps {} at most", bytes(room))?;
            }
            if let Some(problem) = relay.problem {
                write!(f, ", {problem}")?;
            }
            for contradiction in &relay.contradictions {
                write!(f, "\n  {contradiction}")?;
            }
        }
        Ok(())
    }
}

/// `status --blobs`
#[derive(Debug, Serialize)]
pub(crate) struct BlobState {
    pub(crate) cursor: u64,
    pub(crate) push_id: String,
    pub(crate) sender: String,
    pub(crate) own: bool,
    pub(crate) relays: Vec<String>,
    pub(crate) relays_configured: usize,
    pub(crate) received_by: Vec<String>,
    pub(crate) applied_by: Vec<String>,
    pub(crate) lost_by: Vec<String>,
}

impl From<sync_client::BlobState> for BlobState {
    fn from(state: sync_client::BlobState) -> Self {
        let texts = |ids: &[sync_client::DeviceId]| ids.iter().map(ToString::to_string).collect();
        Self {
            cursor: state.cursor.get(),
            push_id: state.push_id.to_string(),
            sender: state.sender.to_string(),
            own: state.own,
            relays: state.relays.iter().map(ToString::to_string).collect(),
            relays_configured: state.relays_configured,
            received_by: texts(&state.received_by),
            applied_by: texts(&state.applied_by),
            lost_by: texts(&state.lost_by),
        }
    }
}

impl Display for BlobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}  {}", self.cursor, if self.own { "own" } else { short(&self.sender) })?;
        if self.own {
            write!(f, ", on {} of {} relays", self.relays.len(), self.relays_configured)?;
        }
        let devices = |f: &mut fmt::Formatter<'_>, what: &str, ids: &[String]| match ids {
            [] => Ok(()),
            ids => write!(f, ", {what} {}", ids.iter().map(|id| short(id)).collect::<Vec<_>>().join(" ")),
        };
        devices(f, "received by", &self.received_by)?;
        devices(f, "applied by", &self.applied_by)?;
        devices(f, "lost for", &self.lost_by)
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

/// How much that is, in the one unit that fits.
fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} bytes"),
        1_024..1_048_576 => format!("{} KiB", count / 1_024),
        _ => format!("{} MiB", count / 1_048_576),
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
