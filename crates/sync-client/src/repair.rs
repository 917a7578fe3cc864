//! Repair: what a checkup names and a program can mend.
//!
//! What the disk has changed is found by the names that envelopes are kept under, and comes again from the relays' logs, which
//! are read from their starts for it; what a relay lacks of what is here it is given ([`sync_core::Input::Repair`]). Nothing is
//! deleted: what no relay has stays where it is, and is named. A database that can't be read is put aside by
//! [`SyncClient::set_aside`], if a person says so.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sync_core::{Connection, Input, event::Damage, status::RelayStatus};
use sync_types::{DeviceId, ErrorCode, LocalCursor, PushId};
use tokio::sync::oneshot;

use crate::{
    client::SyncClient,
    clock::wall_ms,
    config::OpenOptions,
    driver::Command,
    error::ClientError,
    lock::ProfileLock,
    private,
    profile::ConfiguredRelay,
    resolve::RelayAddr,
    secrets,
    store::{Damaged, DamagedRow, FILE_NAME},
};

/// Blobs that are named one by one.
const NAMED_MAX: usize = 1_000;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The database as such.
    Store,
    /// What other devices sealed and this one holds.
    Envelopes,
    /// What this device sealed.
    Own,
    /// What waits here for something, or can't be read yet.
    Waiting,
    /// Snapshots that are kept here.
    Snapshots,
    /// A relay: whether it has everything that is here.
    Relay,
}

impl Part {
    /// What scripts and front ends see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Envelopes => "envelopes",
            Self::Own => "own",
            Self::Waiting => "waiting",
            Self::Snapshots => "snapshots",
            Self::Relay => "relay",
        }
    }
}

/// A blob that is damaged here and on no relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostBlob {
    /// Its place in the local log.
    pub cursor: LocalCursor,
    /// Its name, on every device.
    pub push_id: PushId,
    /// Who pushed it.
    pub sender: DeviceId,
}

/// What a repair found of one thing, and did about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What was looked at.
    pub part: Part,
    /// Which relay, where it is about one.
    pub relay: Option<RelayAddr>,
    /// How many were damaged; of a relay: missing there.
    pub found: u64,
    /// How many of those are as they should be now; of what waits and of snapshots: were let go of, to come again.
    pub mended: u64,
    /// What is wrong still, if anything is.
    pub code: Option<ErrorCode>,
    /// The blobs that are: a thousand of them at most.
    pub lost: Vec<LostBlob>,
    /// What was found and done, and what a person can do about the rest.
    pub text: String,
}

impl Repaired {
    fn new(part: Part, (found, mended): (u64, u64), text: impl Into<String>) -> Self {
        Self { part, relay: None, found, mended, code: None, lost: Vec::new(), text: text.into() }
    }

    fn bad(part: Part, code: ErrorCode) -> Self {
        Self { code: Some(code), ..Self::new(part, (0, 0), code.text()) }
    }

    /// What it says of a profile that does not open.
    pub fn of_failure(error: &ClientError) -> Self {
        if matches!(error, ClientError::NoGroup) {
            return Self::new(Part::Store, (0, 0), "this device belongs to no group yet; there is nothing to mend");
        }
        let beyond = error.code() == ErrorCode::StoreCorrupt;
        let text = if beyond { BEYOND_REPAIR.to_owned() } else { error.to_string() };
        Self { text, ..Self::bad(Part::Store, error.code()) }
    }
}

const BEYOND_REPAIR: &str = "the database can't be read, and nothing here can mend it. Restore the folder from a backup; or have \
                             the database set aside, make a new profile, and pair this device again or use a recovery kit: \
                             what relays and other devices have comes back, what was on this device alone does not";

impl SyncClient {
    /// Mends what can be mended. Connects for it, and waits that long for the relays.
    ///
    /// Looks at the whole database and at each envelope's bytes. Those that are damaged are taken again from the relays, whose
    /// logs are read from the start for it, and stay where they were, under the same cursor; a snapshot that is damaged is let
    /// go of. Each relay is given what it lacks of what is here, unless it has let go of that for good reasons. What is damaged
    /// and on no relay stays, and is named; so does what this device pushed and nobody else has.
    ///
    /// # Errors
    /// `local_storage`, `closed`. Whatever can't be mended is said of the part that it is about.
    pub async fn repair(&self, within: Duration) -> Result<Vec<Repaired>, ClientError> {
        self.not_closed()?;
        let store = &self.inner.store;
        let found = match store.check_all().await {
            Ok(()) => store.damaged().await,
            Err(error) => Err(error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) if error.code() == ErrorCode::StoreCorrupt => {
                return Ok(vec![Repaired {
                    text: BEYOND_REPAIR.to_owned(),
                    ..Repaired::bad(Part::Store, error.code())
                }]);
            }
            Err(error) => return Err(error.into()),
        };
        let mut done = vec![Repaired::new(Part::Store, (0, 0), "the profile's database is whole")];
        let Ok(group) = self.in_group() else {
            return Ok(done);
        };
        let misses = self.inner.shown_misses();
        let refused = match group.decide(Input::Repair { damage: damage_of(&found) }).await {
            Ok(()) => None,
            Err(ClientError::Refused(code)) => Some(code),
            Err(error) => return Err(error),
        };
        let mut compared = Vec::new();
        if refused.is_none() {
            self.connect().await?;
            // However that ends, what is known then is what is said.
            let _ = tokio::time::timeout(within, self.compared_or_missed(&misses)).await;
            let (answer, answered) = oneshot::channel();
            group.send(Command::Compared { answer }).await?;
            compared = answered.await.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)?;
        }
        let left = if found.is_empty() { Damaged::default() } else { store.damaged().await? };
        let is_own = |row: &&DamagedRow| row.sender == group.device_id();
        let held = |own: bool| {
            let of =
                |damaged: &Damaged| damaged.held.iter().filter(|row| is_own(row) == own).copied().collect::<Vec<_>>();
            (of(&found), of(&left))
        };
        done.push(envelopes(held(false)));
        done.push(own(held(true)));
        done.push(waiting(&found, &left));
        done.push(snapshots(&found, &left));
        let status = self.status();
        for ConfiguredRelay { address, relay } in self.relays().await? {
            let state = relay.and_then(|id| status.relays.iter().find(|state| state.relay == id));
            let through =
                relay.and_then(|id| compared.iter().find(|(of, _)| *of == id)).and_then(|(_, filled)| *filled);
            let of = refused.map_or_else(|| of_relay(state, through), |code| Repaired::bad(Part::Relay, code));
            done.push(Repaired { relay: Some(address), ..of });
        }
        Ok(done)
    }

    /// Puts aside what is in a folder with a database that is damaged beyond reading: the database and the keys that rest beside
    /// it, all of it renamed into a folder below, nothing deleted. A new profile can be made in its place. Says where it is.
    ///
    /// # Errors
    /// `invalid_argument` if the database can be read; whatever else opening it fails with; `local_storage`.
    pub async fn set_aside(dir: &Path, options: OpenOptions) -> Result<PathBuf, ClientError> {
        match Self::open(dir, OpenOptions { auto_connect: false, ..options }).await {
            Ok(client) => {
                let found = client.inner.store.check_all().await;
                client.close().await;
                match found {
                    Err(error) if error.code() == ErrorCode::StoreCorrupt => {}
                    Err(error) => return Err(error.into()),
                    Ok(()) => {
                        return Err(ClientError::InvalidArgument(
                            "the profile's database can be read; nothing was set aside",
                        ));
                    }
                }
            }
            Err(error) if error.code() == ErrorCode::StoreCorrupt => {}
            Err(error) => return Err(error),
        }
        let _lock = ProfileLock::take(dir).await?;
        let aside = dir.join(format!("damaged-{}", wall_ms() / 1_000));
        private::make_dir(&aside).map_err(ClientError::folder)?;
        let database = ["", "-wal", "-shm"].map(|suffix| format!("{FILE_NAME}{suffix}"));
        for name in database.iter().map(String::as_str).chain(secrets::FILE_NAMES) {
            match fs::rename(dir.join(name), aside.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(ClientError::folder(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(aside)
    }

    /// Waits until each relay is compared, or was looked for in vain.
    async fn compared_or_missed(&self, misses: &[u64]) {
        let mut shown = self.inner.watch_shown();
        loop {
            {
                let shown = shown.borrow_and_update();
                let missed = shown.misses.iter().zip(misses).filter(|(now, before)| now > before).count();
                let through = shown.status.relays.iter().filter(|relay| is_through(relay)).count();
                if through + missed >= shown.misses.len() {
                    return;
                }
            }
            if shown.changed().await.is_err() {
                return;
            }
        }
    }
}

fn is_through(relay: &RelayStatus) -> bool {
    relay.connection == Connection::Connected && !relay.refilling && relay.pulled == relay.max_cursor
}

fn damage_of(found: &Damaged) -> Damage {
    Damage {
        held: found.held.iter().map(|row| (row.sender, row.seq, row.hash)).collect(),
        waiting: found.waiting.clone(),
        parked: found.parked.clone(),
        snapshots: found.snapshots.clone(),
    }
}

/// How many of these there were, and how many of them there are not any more.
fn counts(found: usize, left: usize) -> (u64, u64) {
    (found as u64, found.saturating_sub(left) as u64)
}

fn named(rows: &[DamagedRow]) -> Vec<LostBlob> {
    let blob = |row: &DamagedRow| Some(LostBlob { cursor: row.cursor?, push_id: row.push_id, sender: row.sender });
    rows.iter().filter_map(blob).take(NAMED_MAX).collect()
}

fn envelopes((found, left): (Vec<DamagedRow>, Vec<DamagedRow>)) -> Repaired {
    let (count, mended) = counts(found.len(), left.len());
    if found.is_empty() {
        return Repaired::new(Part::Envelopes, (0, 0), "what other devices pushed is here as it came");
    }
    if left.is_empty() {
        let text = format!("damaged, and fetched again from a relay: {mended}");
        return Repaired::new(Part::Envelopes, (count, mended), text);
    }
    let text = format!(
        "damaged here and not to be had from a relay: {}. Nothing after the first of them can be read here. Have another device \
         that has them repaired while it is online, then this one again",
        left.len()
    );
    let repaired = Repaired::new(Part::Envelopes, (count, mended), text);
    Repaired { code: Some(ErrorCode::StoreCorrupt), lost: named(&left), ..repaired }
}

fn own((found, left): (Vec<DamagedRow>, Vec<DamagedRow>)) -> Repaired {
    let (count, mended) = counts(found.len(), left.len());
    if found.is_empty() {
        return Repaired::new(Part::Own, (0, 0), "what this device pushed is here as it was");
    }
    if left.is_empty() {
        let text = format!("damaged, and fetched again from a relay: {mended}");
        return Repaired::new(Part::Own, (count, mended), text);
    }
    let text = format!(
        "pushed here, damaged, and on no relay: {}. Nobody can bring these back; push them again from what the app has. They \
         are kept as they are",
        left.len()
    );
    let repaired = Repaired::new(Part::Own, (count, mended), text);
    Repaired { code: Some(ErrorCode::StoreCorrupt), lost: named(&left), ..repaired }
}

fn waiting(found: &Damaged, left: &Damaged) -> Repaired {
    let all = |damaged: &Damaged| damaged.waiting.len() + damaged.parked.len();
    let text = "what waits or can't be read yet is here as it came";
    let_go(Part::Waiting, counts(all(found), all(left)), text, "they are read again from the relays that have them")
}

fn snapshots(found: &Damaged, left: &Damaged) -> Repaired {
    let text = "the snapshots that are kept here are whole";
    let again = "this device's own is made again when the next one is due";
    let_go(Part::Snapshots, counts(found.snapshots.len(), left.snapshots.len()), text, again)
}

/// Of what need not be kept.
fn let_go(part: Part, (found, gone): (u64, u64), whole: &str, again: &str) -> Repaired {
    match (found, found - gone) {
        (0, _) => Repaired::new(part, (0, 0), whole),
        (_, 0) => Repaired::new(part, (found, gone), format!("damaged, and let go of: {found}; {again}")),
        (_, left) => {
            let text = format!("damaged: {left}, and could not be let go of");
            Repaired { code: Some(ErrorCode::StoreCorrupt), ..Repaired::new(part, (found, gone), text) }
        }
    }
}

fn of_relay(state: Option<&RelayStatus>, filled: Option<u64>) -> Repaired {
    let through = state.filter(|state| is_through(state));
    match (through, filled) {
        // What was never met before is read and given everything anyhow.
        (Some(_), None | Some(0)) => {
            Repaired::new(Part::Relay, (0, 0), "it has everything that it is to have of this device")
        }
        (Some(_), Some(filled)) => {
            let text = format!("missing there, and given again: {filled}");
            Repaired::new(Part::Relay, (filled, filled), text)
        }
        (None, _) => {
            let code = state.and_then(|state| state.problem);
            let online = state.is_some_and(|state| state.connection == Connection::Connected);
            let code = code.unwrap_or(if online { ErrorCode::TimedOut } else { ErrorCode::Offline });
            let text = if online && code == ErrorCode::TimedOut {
                "it is still being compared; that goes on by itself as long as this device is online".to_owned()
            } else {
                code.text().to_owned()
            };
            Repaired { text, ..Repaired::bad(Part::Relay, code) }
        }
    }
}
