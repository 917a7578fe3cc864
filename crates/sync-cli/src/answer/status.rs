//! How the copy stands: `status`, `sync` and `status --blobs`.

use std::fmt::{self, Display};

use serde::Serialize;

use sync_client::RelayStatus;

use super::short;

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
        let (kind, device, cursor) = (self.kind, short(&self.device_id), self.cursor);
        match kind {
            "withheld" => {
                write!(f, "{kind}: {device} has read as far as {cursor} there, and this device is not shown that")
            }
            _ => write!(f, "{kind}: {device} has read something else there, up to {cursor}"),
        }
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

/// How much that is, in the one unit that fits.
fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} bytes"),
        1_024..1_048_576 => format!("{} KiB", count / 1_024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}
