//! What is wrong, and what can be mended.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use sync_client::{self as client, ClientError, ErrorCode, SyncClient};

use crate::{error::BridgeError, handle::SyncHandle, runtime::Answer};

/// What was found of one of the things that sync rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at: `profile`, `keys`, `store`, `group`, `clock` or `relay`.
    pub check: &'static str,
    /// The relay's address, where it is about one.
    pub relay: Option<String>,
    /// `good`; `notice`, which mends itself or is worth knowing; or `bad`: something has to be done.
    pub verdict: &'static str,
    /// What is wrong. Whatever is bad has one.
    pub code: Option<ErrorCode>,
    /// What was found, and what to do about it if it isn't good.
    pub text: String,
}

impl From<client::Finding> for Finding {
    fn from(finding: client::Finding) -> Self {
        Self {
            check: finding.check.name(),
            relay: finding.relay.map(|relay| relay.to_string()),
            verdict: finding.verdict.name(),
            code: finding.code,
            text: finding.text,
        }
    }
}

/// What a repair found of one thing, and did about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repaired {
    /// What was looked at: `store`, `envelopes`, `own`, `waiting`, `snapshots` or `relay`.
    pub part: &'static str,
    /// The relay's address, where it is about one.
    pub relay: Option<String>,
    /// How many were damaged; of a relay: missing there.
    pub found: u64,
    /// How many of those are as they should be now; of what waits and of snapshots: were let go of, to come again.
    pub mended: u64,
    /// What is wrong still, if anything is.
    pub code: Option<ErrorCode>,
    /// The blobs that are: a thousand of them at most.
    pub lost: Vec<LostBlob>,
    /// What was found and done, and what to do about the rest.
    pub text: String,
}

/// A blob that is damaged here and on no relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LostBlob {
    /// Its place in this device's log.
    pub cursor: u64,
    /// What its push returned.
    pub push_id: String,
    /// Who pushed it.
    pub sender: String,
}

impl From<client::Repaired> for Repaired {
    fn from(repaired: client::Repaired) -> Self {
        let lost = |blob: client::LostBlob| LostBlob {
            cursor: blob.cursor.get(),
            push_id: blob.push_id.to_string(),
            sender: blob.sender.to_string(),
        };
        Self {
            part: repaired.part.name(),
            relay: repaired.relay.map(|relay| relay.to_string()),
            found: repaired.found,
            mended: repaired.mended,
            code: repaired.code,
            lost: repaired.lost.into_iter().map(lost).collect(),
            text: repaired.text,
        }
    }
}

impl SyncHandle {
    /// Looks at everything that sync rests on, and says of each how it is and what to do. Takes as long as it takes to find
    /// out whether the relays answer, and no longer than this to get in step first. A profile that does not open is a finding
    /// too, and then the only one.
    ///
    /// # Errors
    /// `closed`.
    pub fn checkup(&self, within: Duration) -> Answer<Vec<Finding>> {
        let look = move |client: SyncClient| async move {
            Ok(client.checkup(within).await?.into_iter().map(Finding::from).collect())
        };
        self.look(look, |error| vec![client::Finding::of_failure(error).into()])
    }

    /// Mends what a checkup names and can be mended: envelopes that the disk has damaged are fetched again from the relays, and
    /// each relay is given what it lacks. Says of each thing what was found and what was done. Takes no longer than this for
    /// the relays. Of a profile that does not open it says why, and nothing else.
    ///
    /// # Errors
    /// `closed`.
    pub fn repair(&self, within: Duration) -> Answer<Vec<Repaired>> {
        let mend = move |client: SyncClient| async move {
            Ok(client.repair(within).await?.into_iter().map(Repaired::from).collect())
        };
        self.look(mend, |error| vec![client::Repaired::of_failure(error).into()])
    }

    /// Puts a database aside that can't be read, and the keys beside it: renamed, nothing deleted. The next call that makes a
    /// group or joins one makes a new profile. Resolves to the folder in which they are.
    ///
    /// # Errors
    /// `invalid_argument` if the database can be read; `no_profile`, `closed`, `local_storage`, and those of opening the profile.
    pub fn set_aside(&self) -> Answer<String> {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move { shared.set_aside().await })
    }

    /// A report for whoever helps, as text: how everything stands, with ids shortened and without names, addresses, payloads
    /// and keys. Looks first, as [`Self::checkup`] does.
    ///
    /// # Errors
    /// `closed`, `local_storage`, `store_corrupt`.
    pub fn diagnostics(&self, within: Duration) -> Answer<String> {
        let look = move |client: SyncClient| async move { Ok(client.diagnostics(within).await?.to_text()) };
        self.look(look, |error| client::Diagnostics::of_failure(error).to_text())
    }

    /// Does what connects for itself, and is offline afterwards if that is wanted. Of a profile that does not open something
    /// is said as well.
    fn look<T, F>(
        &self,
        work: impl FnOnce(SyncClient) -> F + Send + 'static,
        of_failure: impl FnOnce(&ClientError) -> T + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ClientError>> + Send + 'static,
    {
        let looked = self.with_client(move |shared, client| async move {
            let found = work(client.clone()).await;
            if !shared.wants() && client.device_id().is_ok() {
                client.disconnect().await?;
            }
            Ok(found?)
        });
        Answer::to(async move {
            match looked.await {
                Err(BridgeError::Client(error)) if error.code() != ErrorCode::Closed => Ok(of_failure(&error)),
                looked => looked,
            }
        })
    }
}
