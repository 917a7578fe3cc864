//! A checkup: everything that sync rests on, looked at piece by piece, and what to do about each.
//!
//! Looking is one thing ([`SyncClient::checkup`]), judging what was seen another: that is functions of facts.
//!
//! Invariant: what a finding says to people holds no key, name or payload, so it can be shown to whoever helps.

use std::time::{Duration, SystemTime};

use sync_core::{Connection, Status, event::ParkReason, status::RelayStatus};
use sync_types::ErrorCode;

use crate::{
    client::SyncClient,
    error::ClientError,
    profile::ConfiguredRelay,
    resolve::{RelayAddr, ResolveError, Resolver},
    store::{Damaged, StoreError},
};

/// Clocks that differ by less are no reason to bother anybody.
const CLOCK_OFF: Duration = Duration::from_secs(120);

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether the profile opens at all.
    Profile,
    /// The secrets, where they rest.
    Keys,
    /// The profile's database.
    Store,
    /// Whether this device belongs to a group, and can read all it has of it.
    Group,
    /// This device's clock, beside those of its relays.
    Clock,
    /// A relay: whether it answers, is the one it was, and has what it should.
    Relay,
}

impl Check {
    /// What scripts and front ends see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Keys => "keys",
            Self::Store => "store",
            Self::Group => "group",
            Self::Clock => "clock",
            Self::Relay => "relay",
        }
    }
}

/// How something was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Not as it should be, and mending itself, or worth knowing.
    Notice,
    /// Something has to be done about it.
    Bad,
}

impl Verdict {
    /// What scripts and front ends see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Notice => "notice",
            Self::Bad => "bad",
        }
    }
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Which relay, where it is about one.
    pub relay: Option<RelayAddr>,
    /// How it is.
    pub verdict: Verdict,
    /// What is wrong. Whatever is bad has one.
    pub code: Option<ErrorCode>,
    /// What was found, and what to do about it if it isn't good.
    pub text: String,
}

impl Finding {
    fn new(check: Check, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { check, relay: None, verdict, code: None, text: text.into() }
    }

    fn bad(check: Check, code: ErrorCode) -> Self {
        Self { code: Some(code), ..Self::new(check, Verdict::Bad, code.text()) }
    }

    fn of_relay(self, relay: &RelayAddr) -> Self {
        Self { relay: Some(relay.clone()), ..self }
    }

    /// What it says of a profile that it does not open.
    pub fn of_failure(error: &ClientError) -> Self {
        if matches!(error, ClientError::NoGroup) {
            return without_group();
        }
        let check = if matches!(error, ClientError::Secrets(_)) {
            Check::Keys
        } else if matches!(error, ClientError::Store(_)) {
            Check::Store
        } else {
            Check::Profile
        };
        Self { text: error.to_string(), ..Self::bad(check, error.code()) }
    }
}

impl SyncClient {
    /// Looks at keys, database, clock, group and relays, and says of each how it is. Connects for it, and waits that long
    /// for everything to be in step before it judges.
    ///
    /// # Errors
    /// `closed`. Everything else that is wrong is a finding.
    pub async fn checkup(&self, within: Duration) -> Result<Vec<Finding>, ClientError> {
        self.not_closed()?;
        let mut findings = vec![
            match self.inner.secrets.probe().await {
                Ok(()) => Finding::new(Check::Keys, Verdict::Good, "this device's keys are where they should be"),
                Err(error) => Finding { text: error.to_string(), ..Finding::bad(Check::Keys, error.code()) },
            },
            match self.damage().await {
                Ok(0) => Finding::new(Check::Store, Verdict::Good, "the profile's database is whole"),
                Ok(count) => {
                    let text = format!("kept envelopes that the disk has changed: {count}; have this profile repaired");
                    Finding { text, ..Finding::bad(Check::Store, ErrorCode::StoreCorrupt) }
                }
                Err(error) => Finding::bad(Check::Store, error.code()),
            },
        ];
        if self.in_group().is_ok() {
            // However that ends, what is known then is what is judged.
            let _ = self.sync(within).await;
            findings.push(group(&self.status()));
        } else {
            findings.push(without_group());
        }
        // Read by now: who answers at an address is known once it was met. Where there is no reading, the database's own finding
        // has said so.
        let Ok(relays) = self.inner.store.addresses().await else { return Ok(findings) };
        let resolver = Resolver::new(self.inner.http.clone());
        let (status, mut ahead) = (self.status(), Vec::new());
        for row in &relays {
            let Some(ConfiguredRelay { address, relay }) = ConfiguredRelay::new(row) else { continue };
            let found = resolver.resolve(&address, row.pin.as_ref()).await.map(drop);
            let theirs = if found.is_ok() { resolver.clock(&address).await } else { None };
            ahead.extend(theirs.map(|theirs| ahead_s(SystemTime::now(), theirs)));
            let state = relay.and_then(|id| status.relays.iter().find(|state| state.relay == id));
            findings.push(relay_finding(&found, state, self.in_group().is_ok()).of_relay(&address));
        }
        if relays.is_empty() {
            let text = "no relay is configured: what is pushed stays here; add one";
            findings.push(Finding::new(Check::Relay, Verdict::Notice, text));
        }
        findings.extend(clock(&ahead));
        Ok(findings)
    }

    /// How many envelopes are not what they were, in a database that is whole as such.
    async fn damage(&self) -> Result<usize, StoreError> {
        self.inner.store.check().await?;
        let Damaged { held, waiting, parked, snapshots } = self.inner.store.damaged().await?;
        Ok(held.len() + waiting.len() + parked.len() + snapshots.len())
    }
}

fn without_group() -> Finding {
    let text = "this device belongs to no group yet; pair it with another one";
    Finding { code: Some(ErrorCode::NoGroup), ..Finding::new(Check::Group, Verdict::Notice, text) }
}

/// By how many seconds the first is ahead of the second.
fn ahead_s(ours: SystemTime, theirs: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match ours.duration_since(theirs) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

/// What clocks say that are compared with this device's: it is ahead of each by so many seconds. Nothing, if none is.
fn clock(ahead_s: &[i64]) -> Option<Finding> {
    let mut sorted = ahead_s.to_vec();
    sorted.sort_unstable();
    let off = *sorted.get(sorted.len() / 2)?;
    let text = |off: i64| {
        let (far, way) = (off.unsigned_abs(), if off > 0 { "ahead of" } else { "behind" });
        let (many, unit) = if far >= 2 * 86_400 { (far / 86_400, "days") } else { (far / 60, "minutes") };
        format!("this device's clock is {many} {unit} {way} its relays'; set it, or times shown to people are wrong")
    };
    Some(if off.unsigned_abs() > CLOCK_OFF.as_secs() {
        Finding::new(Check::Clock, Verdict::Notice, text(off))
    } else {
        Finding::new(Check::Clock, Verdict::Good, "this device's clock agrees with its relays'")
    })
}

fn group(status: &Status) -> Finding {
    let parked = |reason| status.parked.iter().filter(|(_, parked)| *parked == reason).count();
    if status.removed {
        return Finding::bad(Check::Group, ErrorCode::Removed);
    }
    if status.identity_reused {
        return Finding::bad(Check::Group, ErrorCode::IdentityReused);
    }
    let unreadable = [
        (ParkReason::TooNew, Some(ErrorCode::VersionUnsupported), "of a newer version of the app; update it here"),
        (ParkReason::Unreadable, Some(ErrorCode::BadEnvelope), "made wrongly; update the app on all devices"),
        (
            ParkReason::Forked,
            Some(ErrorCode::IdentityReused),
            "of a device that was copied; they come again once it has noticed that",
        ),
        (ParkReason::KeyMissing, None, "sealed under a key that is on its way; another member has to come online"),
    ];
    let found = unreadable.into_iter().map(|(reason, code, what)| (parked(reason), code, what));
    match found.into_iter().find(|(count, ..)| *count > 0) {
        Some((count, code, what)) => {
            let text = format!("blobs that can't be read here: {count}, {what}");
            match code {
                Some(code) => Finding { text, ..Finding::bad(Check::Group, code) },
                None => Finding::new(Check::Group, Verdict::Notice, text),
            }
        }
        None if status.waiting > 0 => {
            let text =
                "blobs wait here for earlier ones of their sender, which are on their way, or will be reported missing";
            Finding::new(Check::Group, Verdict::Notice, text)
        }
        None => Finding::new(Check::Group, Verdict::Good, "everything that came from the group's devices can be read"),
    }
}

fn relay_finding(found: &Result<(), ResolveError>, state: Option<&RelayStatus>, in_group: bool) -> Finding {
    if let Err(error) = found {
        return Finding::bad(Check::Relay, error.code());
    }
    if !in_group {
        return Finding::new(Check::Relay, Verdict::Good, "it answers");
    }
    let Some(state) = state else { return Finding::bad(Check::Relay, ErrorCode::Offline) };
    if let Some(code) = state.problem {
        return Finding::bad(Check::Relay, code);
    }
    if state.connection != Connection::Connected {
        return Finding::bad(Check::Relay, ErrorCode::Offline);
    }
    let notice = |text: String| Finding::new(Check::Relay, Verdict::Notice, text);
    if let Some(found) = state.contradictions.first() {
        let what = match found.ours {
            Some(_) => "other blobs than",
            None => "fewer blobs than",
        };
        let text = format!(
            "it shows this device {what} another has read there: it was restored from an old copy, or it does not tell the \
             truth; ask its operator, or use another relay"
        );
        return Finding { text, ..Finding::bad(Check::Relay, ErrorCode::LogForked) };
    }
    if state.refilling {
        return notice("it lacks blobs that are here, and is being given them; leave this device online".to_owned());
    }
    if state.pending > 0 {
        return notice(format!("{} blobs are still to be sent to it; leave this device online", state.pending));
    }
    if state.pulled < state.max_cursor {
        let rows = state.max_cursor.get() - state.pulled.get();
        return notice(format!("{rows} blobs are still to be read from it; leave this device online"));
    }
    Finding::new(
        Check::Relay,
        Verdict::Good,
        "it answers, has everything that was pushed here, and everything it has is here",
    )
}

#[cfg(test)]
mod tests {
    use sync_core::heads::Contradiction;
    use sync_types::{BlobId, DeviceId, LogId, RelayCursor, RelayId, Run};

    use super::*;

    fn relay() -> RelayStatus {
        RelayStatus {
            relay: RelayId::from_bytes([1; 32]),
            connection: Connection::Connected,
            log_id: Some(LogId::from_bytes([2; 16])),
            pulled: RelayCursor::new(7),
            max_cursor: RelayCursor::new(7),
            pending: 0,
            refilling: false,
            room: None,
            contradictions: Vec::new(),
            problem: None,
        }
    }

    fn of_relay(state: RelayStatus) -> (Verdict, Option<ErrorCode>) {
        let finding = relay_finding(&Ok(()), Some(&state), true);
        (finding.verdict, finding.code)
    }

    #[test]
    fn a_relay_is_good_only_if_nothing_is_left_to_do_there() {
        assert_eq!(of_relay(relay()), (Verdict::Good, None));
        assert_eq!(of_relay(RelayStatus { pending: 1, ..relay() }), (Verdict::Notice, None));
        assert_eq!(of_relay(RelayStatus { refilling: true, ..relay() }), (Verdict::Notice, None));
        assert_eq!(of_relay(RelayStatus { max_cursor: RelayCursor::new(8), ..relay() }), (Verdict::Notice, None));
        let (device, cursor) = (DeviceId::from_bytes([3; 32]), RelayCursor::new(9));
        let withheld = Contradiction { device, cursor, theirs: Run::from_bytes([4; 32]), ours: None };
        let lies = RelayStatus { contradictions: vec![withheld], ..relay() };
        assert_eq!(of_relay(lies), (Verdict::Bad, Some(ErrorCode::LogForked)));
        let full = RelayStatus { problem: Some(ErrorCode::GroupFull), ..relay() };
        assert_eq!(of_relay(full), (Verdict::Bad, Some(ErrorCode::GroupFull)));
        let away = RelayStatus { connection: Connection::Reconnecting { attempt: 2 }, ..relay() };
        assert_eq!(of_relay(away), (Verdict::Bad, Some(ErrorCode::Offline)));
        let another = relay_finding(&Err(ResolveError::IdentityChanged), Some(&relay()), true);
        assert_eq!((another.verdict, another.code), (Verdict::Bad, Some(ErrorCode::RelayIdentityChanged)));
    }

    #[test]
    fn a_clock_is_off_if_most_others_say_so() {
        let verdict = |ahead: &[i64]| clock(ahead).map(|finding| finding.verdict);
        assert_eq!(verdict(&[]), None);
        assert_eq!(verdict(&[-3]), Some(Verdict::Good));
        assert_eq!(verdict(&[4, -2, 90_000]), Some(Verdict::Good), "one relay's own clock is none of ours");
        assert_eq!(verdict(&[90_000, 90_001, 1]), Some(Verdict::Notice));
        let behind = clock(&[-600]).expect("it is off");
        assert!(behind.text.contains("10 minutes behind"), "{}", behind.text);
        let ahead = clock(&[10 * 365 * 86_400]).expect("it is off");
        assert!(ahead.text.contains("3650 days ahead"), "{}", ahead.text);
    }

    #[test]
    fn what_can_not_be_read_is_said_by_its_reason() {
        let fine = Status {
            badge: sync_core::Badge::Synced,
            connection: Connection::Connected,
            ..crate::status::without_group()
        };
        assert_eq!(group(&fine).verdict, Verdict::Good);
        for reason in ParkReason::ALL {
            let parked = vec![(BlobId::from_bytes([1; 16]), reason)];
            let finding = group(&Status { parked, ..fine.clone() });
            assert!(finding.verdict != Verdict::Good && finding.text.contains(": 1, "), "{finding:?}");
        }
        assert_eq!(group(&Status { waiting: 2, ..fine.clone() }).verdict, Verdict::Notice);
        assert_eq!(group(&Status { removed: true, ..fine.clone() }).code, Some(ErrorCode::Removed));
        assert_eq!(group(&Status { identity_reused: true, ..fine }).code, Some(ErrorCode::IdentityReused));
    }
}
