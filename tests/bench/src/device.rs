//! Devices as apps have them: profiles in folders of their own, opened by the real client.

use std::{
    future::Future,
    ops::Deref,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand_core::{Rng, SeedableRng};
use sync_client::{
    Connection, InviteEvent, JoinEvent, OpenOptions, PendingPush, ProfileConfig, PushOptions, RelayBackend,
    SecretsChoice, Status, SyncClient,
};
use tempfile::TempDir;

use crate::{Failure, PATIENCE};

/// The size of a blob, if nothing else is said.
pub(crate) const BLOB_LEN: usize = 300;
/// How often a state is looked at that is waited for.
const GLANCE: Duration = Duration::from_millis(1);

/// A device that is open.
pub(crate) struct Device {
    folder: TempDir,
    client: SyncClient,
}

impl Deref for Device {
    type Target = SyncClient;

    fn deref(&self) -> &SyncClient {
        &self.client
    }
}

impl Device {
    /// A new one, in no group.
    pub(crate) async fn new(relay: &str) -> Result<Self, Failure> {
        Self::new_with(relay, OpenOptions::default()).await
    }

    /// The same, opened like this.
    pub(crate) async fn new_with(relay: &str, options: OpenOptions) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let config = ProfileConfig {
            dir: folder.path().to_path_buf(),
            name: "bench".to_owned(),
            app_id: "bench".to_owned(),
            backend: RelayBackend::Relay(vec![relay.parse()?]),
            secrets: SecretsChoice::File,
            passphrase: None,
        };
        SyncClient::init(config).await?;
        let client = SyncClient::open(folder.path(), options).await?;
        Ok(Self { folder, client })
    }

    /// Two new ones in one group.
    pub(crate) async fn pair(relay: &str) -> Result<[Self; 2], Failure> {
        let first = Self::new(relay).await?;
        let second = first.joined_by_another(relay).await?;
        Ok([first, second])
    }

    /// Lets a new one into this one's group.
    pub(crate) async fn joined_by_another(&self, relay: &str) -> Result<Self, Failure> {
        self.joined_by_another_with(relay, OpenOptions::default()).await
    }

    /// The same, opened like this.
    pub(crate) async fn joined_by_another_with(&self, relay: &str, options: OpenOptions) -> Result<Self, Failure> {
        let joiner = Self::new_with(relay, options).await?;
        let mut invite = self.create_invite()?;
        let Some(InviteEvent::Invite { code: Some(code), .. }) = invite.next().await else {
            return Err("no invite".into());
        };
        let mut join = joiner.join(&code.to_text())?;
        let (Some(JoinEvent::Digits { .. }), Some(InviteEvent::Digits { .. })) =
            (join.next().await, invite.next().await)
        else {
            return Err("no digits to compare".into());
        };
        join.approve().await;
        invite.approve().await;
        let (Some(JoinEvent::Joined { .. }), Some(InviteEvent::Joined { .. })) =
            (join.next().await, invite.next().await)
        else {
            return Err("pairing failed".into());
        };
        Ok(joiner)
    }

    /// Closes it, and opens it again when it is wanted.
    pub(crate) async fn asleep(self) -> Asleep {
        self.client.close().await;
        Asleep { folder: self.folder }
    }

    /// Pushes so many blobs, and waits until they are on this device's disk.
    pub(crate) async fn push_many(&self, count: usize) -> Result<(), Failure> {
        let mut pending: Vec<PendingPush> = Vec::with_capacity(count);
        for blob in blobs(count) {
            pending.push(self.enqueue(blob, PushOptions::default()).await?);
        }
        for push in pending {
            push.done().await?;
        }
        Ok(())
    }

    /// Waits until its status is so; how long that took.
    pub(crate) async fn until(&self, is_so: impl Fn(&Status) -> bool) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let reached = async {
            while !is_so(&self.status()) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        within_patience(reached).await?;
        Ok(begun.elapsed())
    }

    /// Waits until it is connected and in step.
    pub(crate) async fn settled(&self) -> Result<(), Failure> {
        Ok(self.sync(PATIENCE).await?)
    }
}

/// A device that is closed.
pub(crate) struct Asleep {
    folder: TempDir,
}

impl Asleep {
    /// Opens it.
    pub(crate) async fn awake(self) -> Result<Device, Failure> {
        self.awake_with(OpenOptions::default()).await
    }

    /// The same, like this.
    pub(crate) async fn awake_with(self, options: OpenOptions) -> Result<Device, Failure> {
        let client = SyncClient::open(self.folder.path(), options).await?;
        Ok(Device { folder: self.folder, client })
    }
}

/// Whether a device is connected.
pub(crate) fn is_connected(status: &Status) -> bool {
    status.connection == Connection::Connected
}

/// Blobs of random bytes: nothing here is to gain from what can be compressed.
pub(crate) fn blobs(count: usize) -> impl Iterator<Item = Bytes> {
    let mut rng = rand_chacha::ChaCha8Rng::from_seed([7; 32]);
    (0..count).map(move |_| {
        let mut blob = vec![0; BLOB_LEN];
        rng.fill_bytes(&mut blob);
        blob.into()
    })
}

/// Waits, but not for ever.
pub(crate) async fn within_patience<T>(what: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, what).await.map_err(|_| "what was to be measured did not come to an end".into())
}
