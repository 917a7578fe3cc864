//! A report for whoever helps: how everything stands, with nothing in it that says who or what it is about.
//!
//! Ids are shortened, which keeps them apart and finds them in a log; names, addresses, payloads and keys are left out.

use std::time::Duration;

use serde::Serialize;
use sync_core::{Status, event::ParkReason, status::RelayStatus};

use crate::{checkup::Finding, client::SyncClient, devices::Device, error::ClientError, resolve::RelayAddr};

/// Hex digits of an id that are told.
const SHORT: usize = 8;

/// The report. Serializes to what is shown; the fields' names are part of nothing that programs may rely on.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostics {
    version: &'static str,
    system: String,
    /// The code, if the profile does not open; then there is nothing else but what was found.
    fails_with: Option<&'static str>,
    findings: Vec<Found>,
    profile: Option<Profile>,
}

#[derive(Clone, Debug, Serialize)]
struct Found {
    check: &'static str,
    /// Which of the configured relays, from 1.
    relay: Option<usize>,
    verdict: &'static str,
    code: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
struct Profile {
    secrets: &'static str,
    group: Option<String>,
    device: Option<String>,
    status: Standing,
    relays: Vec<Relay>,
    devices: Vec<Other>,
    /// Bytes of the database and of what is not folded into it yet.
    store_bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Standing {
    badge: &'static str,
    connection: &'static str,
    pending: u64,
    waiting: u64,
    parked: Vec<(&'static str, usize)>,
    head_cursor: u64,
    last_cursor: u64,
    synced_ms: Option<u64>,
    identity_reused: bool,
    removed: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Relay {
    /// `http`, `https` or `direct`.
    reached_by: &'static str,
    id: Option<String>,
    log: Option<String>,
    connection: &'static str,
    pulled: u64,
    max_cursor: u64,
    pending: u64,
    refilling: bool,
    problem: Option<&'static str>,
    contradictions: Vec<Evidence>,
}

/// What somebody has read of a relay's log, and what this device was shown.
#[derive(Clone, Debug, Serialize)]
struct Evidence {
    kind: &'static str,
    device: String,
    cursor: u64,
    theirs: String,
    ours: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Other {
    id: String,
    this: bool,
    online: bool,
    last_seen_ms: Option<u64>,
    received_up_to: Option<u64>,
    applied_up_to: Option<u64>,
    behind: Option<u64>,
    lost: u64,
}

impl Diagnostics {
    /// Of a profile that does not open.
    pub fn of_failure(error: &ClientError) -> Self {
        let findings = vec![found(&Finding::of_failure(error), &[])];
        Self { findings, fails_with: Some(error.code().name()), ..Self::of_nothing() }
    }

    fn of_nothing() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            fails_with: None,
            findings: Vec::new(),
            profile: None,
        }
    }

    /// As text: JSON on several lines.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts always encode")
    }
}

impl SyncClient {
    /// A report for whoever helps. Looks first, as [`Self::checkup`] does, and waits that long.
    ///
    /// # Errors
    /// `local_storage`, `store_corrupt`, `closed`.
    pub async fn diagnostics(&self, within: Duration) -> Result<Diagnostics, ClientError> {
        let findings = self.checkup(within).await?;
        let relays = self.relays().await?;
        let addresses: Vec<_> = relays.iter().map(|relay| relay.address.clone()).collect();
        let status = self.status();
        let state = |id| status.relays.iter().find(|state| Some(state.relay) == id);
        let devices = if self.in_group().is_ok() { self.devices().await? } else { Vec::new() };
        let profile = Profile {
            secrets: self.inner.profile.secrets.name(),
            group: self.group_id().ok().map(|id| short(&id)),
            device: self.device_id().ok().map(|id| short(&id)),
            status: standing(&status),
            relays: relays.iter().map(|relay| of_relay(&relay.address, state(relay.relay))).collect(),
            devices: devices.iter().map(other).collect(),
            store_bytes: self.inner.store.sizes().await?.database,
        };
        let findings = findings.iter().map(|finding| found(finding, &addresses)).collect();
        Ok(Diagnostics { findings, profile: Some(profile), ..Diagnostics::of_nothing() })
    }
}

fn short(id: &impl ToString) -> String {
    let mut id = id.to_string();
    id.truncate(SHORT);
    id
}

fn found(finding: &Finding, relays: &[RelayAddr]) -> Found {
    let relay = finding.relay.as_ref().and_then(|relay| relays.iter().position(|known| known == relay));
    Found {
        check: finding.check.name(),
        relay: relay.map(|place| place + 1),
        verdict: finding.verdict.name(),
        code: finding.code.map(|code| code.name()),
    }
}

fn standing(status: &Status) -> Standing {
    let count = |reason| status.parked.iter().filter(|(_, parked)| *parked == reason).count();
    let parked = ParkReason::ALL.into_iter().map(|reason| (reason.name(), count(reason)));
    Standing {
        badge: status.badge.name(),
        connection: status.connection.name(),
        pending: status.pending,
        waiting: status.waiting,
        parked: parked.filter(|(_, count)| *count > 0).collect(),
        head_cursor: status.head_cursor.get(),
        last_cursor: status.last_cursor.get(),
        synced_ms: status.synced_ms,
        identity_reused: status.identity_reused,
        removed: status.removed,
    }
}

fn of_relay(address: &RelayAddr, state: Option<&RelayStatus>) -> Relay {
    let evidence = |state: &RelayStatus| {
        let of = |found: &sync_core::heads::Contradiction| Evidence {
            kind: found.kind(),
            device: short(&found.device),
            cursor: found.cursor.get(),
            theirs: short(&found.theirs),
            ours: found.ours.as_ref().map(short),
        };
        state.contradictions.iter().map(of).collect()
    };
    Relay {
        reached_by: reached_by(address),
        id: state.map(|state| short(&state.relay)),
        log: state.and_then(|state| state.log_id.as_ref().map(short)),
        connection: state.map_or("disconnected", |state| state.connection.name()),
        pulled: state.map_or(0, |state| state.pulled.get()),
        max_cursor: state.map_or(0, |state| state.max_cursor.get()),
        pending: state.map_or(0, |state| state.pending),
        refilling: state.is_some_and(|state| state.refilling),
        problem: state.and_then(|state| state.problem).map(|code| code.name()),
        contradictions: state.map(evidence).unwrap_or_default(),
    }
}

fn reached_by(address: &RelayAddr) -> &'static str {
    let address = address.to_string();
    match address.split_once("://") {
        Some(("https", _)) => "https",
        Some(_) => "http",
        None => "direct",
    }
}

fn other(device: &Device) -> Other {
    Other {
        id: short(&device.device_id),
        this: device.this,
        online: device.online,
        last_seen_ms: device.last_seen_ms,
        received_up_to: device.received_up_to.map(|cursor| cursor.get()),
        applied_up_to: device.applied_up_to.map(|cursor| cursor.get()),
        behind: device.behind,
        lost: device.lost,
    }
}
