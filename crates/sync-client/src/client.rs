//! The handle an app holds. It asks; the driver does.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use sync_core::{
    Badge, Connection, Input, Status,
    event::StoreOp,
    keys::GroupKeys,
    passphrase::Passphrase,
    roster::{Roster, RosterError},
    stored::Secrets,
};
use sync_types::{DeviceId, ErrorCode, GroupId, LocalLogId, Reaction};
use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    config::{OpenOptions, ProfileConfig},
    driver::{Command, Current, Driver, Parts},
    error::ClientError,
    event::{EventStream, SyncEvent},
    lock::ProfileLock,
    profile::{self, ConfiguredRelay, Founding, ProfileInfo},
    push::{ROOM_BYTES, ROOM_UNIT},
    random::{random, rng},
    resolve::{self, RelayAddr, Resolver},
    routes::Routes,
    secrets::{SecretStore, SecretsError},
    status::{self, Shown},
    store::{Membership, ProfileRow, Sizes, Store},
};

/// Requests that wait for the driver.
const COMMANDS_MAX: usize = 1_024;

/// One profile, open. Clones are the same client, and any number of tasks may use it at once.
///
/// The last one dropped disconnects by itself; [`Self::close`] waits for that.
#[derive(Clone)]
pub struct SyncClient {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// The profile's folder.
    pub(crate) dir: PathBuf,
    pub(crate) profile: ProfileRow,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) http: reqwest::Client,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) tokens: AtomicU64,
    /// Held by whoever is about to enter a group.
    pub(crate) entering: tokio::sync::Mutex<()>,
    auto_connect: bool,
    rotate_after: Option<Duration>,
    snapshot_after: Option<u64>,
    snapshot_after_bytes: Option<u64>,
    keep_for: Duration,
    keep_bytes: u64,
    state: RwLock<State>,
    shown: watch::Sender<Shown>,
    events: broadcast::Sender<SyncEvent>,
    /// Given back when the client is closed.
    lock: Mutex<Option<Arc<ProfileLock>>>,
}

enum State {
    WithoutGroup,
    /// With the task that drives the group's engine, so that whoever closes the client finds both or neither.
    InGroup(Arc<InGroup>, JoinHandle<()>),
    Closed,
}

/// A profile's place in its group, while the client is open.
pub(crate) struct InGroup {
    pub(crate) group_id: GroupId,
    current: watch::Receiver<Current>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl InGroup {
    /// The keys that this device has by now.
    pub(crate) fn keys(&self) -> Arc<GroupKeys> {
        Arc::clone(&self.current.borrow().keys)
    }

    /// Who this device is by now.
    pub(crate) fn device_id(&self) -> DeviceId {
        self.current.borrow().device_id
    }

    /// The roster of these entries, as they are stored.
    pub(crate) fn roster(&self, entries: Vec<Bytes>) -> Result<Roster, ClientError> {
        let mut roster = Roster::new(self.group_id);
        for entry in entries {
            match roster.apply(entry) {
                // What was stored while it waited may turn out to follow from nothing.
                Ok(_) | Err(RosterError::InvalidCommit) => {}
                Err(_) => return Err(ClientError::Refused(ErrorCode::StoreCorrupt)),
            }
        }
        Ok(roster)
    }

    /// Has the engine do what a person decided. Returns when that is durable.
    pub(crate) async fn decide(&self, input: Input) -> Result<(), ClientError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Decide { input: Box::new(input), answer }).await?;
        answered.await.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), ClientError> {
        self.commands.send(command).await.map_err(|_| ClientError::Closed)
    }
}

impl Inner {
    /// What the driver shows, as it changes.
    pub(crate) fn watch_shown(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// How often each relay was looked for in vain until now.
    pub(crate) fn shown_misses(&self) -> Vec<u64> {
        self.shown.borrow().misses.clone()
    }
}

impl SyncClient {
    /// Makes a profile that belongs to no group yet.
    ///
    /// # Errors
    /// `profile_exists`, `profile_in_use`, `keychain_unavailable`, `wrong_passphrase`, `invalid_argument`,
    /// `local_storage`.
    pub async fn init(config: ProfileConfig) -> Result<ProfileInfo, ClientError> {
        profile::init(config, None).await
    }

    /// Makes a profile that is the only device of a new group, whose first keys come from a passphrase. The passphrase
    /// lets nobody in and is kept nowhere. Other devices are paired as in any group.
    ///
    /// # Errors
    /// As [`Self::init`]; and `weak_passphrase`.
    pub async fn init_from_passphrase(
        config: ProfileConfig,
        passphrase: Passphrase,
    ) -> Result<ProfileInfo, ClientError> {
        profile::init(config, Some(passphrase)).await
    }

    /// Opens the profile in a folder. Needs no network: what is pushed is kept until a relay can be reached.
    ///
    /// # Errors
    /// `no_profile`, `profile_in_use`, `key_missing`, `keychain_unavailable`, `wrong_passphrase`, `store_corrupt`,
    /// `store_too_new`, `local_storage`.
    pub async fn open(dir: impl AsRef<Path>, options: OpenOptions) -> Result<Self, ClientError> {
        let (lock, store, row) = profile::open(dir.as_ref()).await?;
        let secrets = profile::secrets_of(&row, dir.as_ref(), options.passphrase);
        let http = resolve::http_client().map_err(|error| resolve::ResolveError::Unreachable(Some(error)))?;
        let shown = Shown::new(status::without_group(), &Routes::default());
        let client = Self {
            inner: Arc::new(Inner {
                dir: dir.as_ref().to_owned(),
                store: Arc::new(store),
                secrets,
                http,
                room: Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT)),
                tokens: AtomicU64::new(1),
                entering: tokio::sync::Mutex::new(()),
                auto_connect: options.auto_connect,
                rotate_after: options.rotate_after,
                snapshot_after: options.snapshot_after,
                snapshot_after_bytes: options.snapshot_after_bytes,
                keep_for: options.keep_for,
                keep_bytes: options.keep_bytes,
                state: RwLock::new(State::WithoutGroup),
                shown: watch::Sender::new(shown),
                events: broadcast::Sender::new(options.events_max.max(1)),
                lock: Mutex::new(Some(Arc::new(lock))),
                profile: row,
            }),
        };
        if let Some(membership) = client.inner.profile.membership {
            let stored = client.inner.secrets.load().await?;
            let secrets = Secrets::from_stored(&stored).map_err(|_| SecretsError::Unreadable)?;
            client.start(membership, secrets).await?;
        }
        Ok(client)
    }

    /// The profile, as it was set up.
    ///
    /// # Errors
    /// `local_storage`, `store_corrupt`.
    pub async fn profile(&self) -> Result<ProfileInfo, ClientError> {
        let addresses = self.inner.store.addresses().await?;
        let row = self.inner.store.profile().await?.ok_or(ClientError::NoProfile)?;
        Ok(ProfileInfo::new(&row, &addresses))
    }

    /// The relays of the profile, in order of preference.
    ///
    /// # Errors
    /// `local_storage`, `store_corrupt`.
    pub async fn relays(&self) -> Result<Vec<ConfiguredRelay>, ClientError> {
        Ok(self.inner.store.addresses().await?.iter().filter_map(ConfiguredRelay::new).collect())
    }

    /// Who this device is in its group. It is another one after it has found that its profile is used elsewhere as well.
    ///
    /// # Errors
    /// `no_group`, `closed`.
    pub fn device_id(&self) -> Result<DeviceId, ClientError> {
        Ok(self.in_group()?.device_id())
    }

    /// The group this device is in.
    ///
    /// # Errors
    /// `no_group`, `closed`.
    pub fn group_id(&self) -> Result<GroupId, ClientError> {
        Ok(self.in_group()?.group_id)
    }

    /// How everything stands.
    pub fn status(&self) -> Status {
        self.inner.shown.borrow().status.clone()
    }

    /// How much room the profile takes on its disk. Quick, however much is held.
    ///
    /// # Errors
    /// `local_storage`, `store_corrupt`, `closed`.
    pub async fn sizes(&self) -> Result<Sizes, ClientError> {
        self.not_closed()?;
        Ok(self.inner.store.sizes().await?)
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> EventStream {
        EventStream::new(self.inner.events.subscribe())
    }

    /// Connects to the relays, and keeps connected. Returns at once; [`Self::status`] says how it goes.
    ///
    /// # Errors
    /// `no_group`, `closed`.
    pub async fn connect(&self) -> Result<(), ClientError> {
        let group = self.in_group()?;
        group.send(Command::Online { online: true }).await?;
        group.send(Command::Nudge).await
    }

    /// Closes the connections and opens none until [`Self::connect`]. What is pushed meanwhile is kept.
    ///
    /// # Errors
    /// `no_group`, `closed`.
    pub async fn disconnect(&self) -> Result<(), ClientError> {
        self.in_group()?.send(Command::Online { online: false }).await
    }

    /// Uses these relays from now on, in order of preference, and no others. What the profile knows of one that stays is
    /// kept; whatever a new one lacks is sent there.
    ///
    /// # Errors
    /// `invalid_argument` for more than sixteen, `local_full`, `local_storage`, `closed`.
    pub async fn set_relays(&self, relays: &[RelayAddr]) -> Result<(), ClientError> {
        self.not_closed()?;
        // Nobody enters a group between the two, and would start with the relays of before.
        let _entering = self.inner.entering.lock().await;
        self.inner.store.set_addresses(&profile::spelled(relays)?).await?;
        match self.in_group() {
            Ok(group) => {
                let (answer, answered) = oneshot::channel();
                group.send(Command::Relays { rows: self.inner.store.addresses().await?, answer }).await?;
                answered.await.map_err(|_| ClientError::Closed)?.map_err(ClientError::Refused)
            }
            Err(ClientError::NoGroup) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Connects if need be, and waits until everything pushed is on every relay and everything there is here.
    ///
    /// # Errors
    /// `offline` once every relay was looked for in vain, `timed_out`, or what a relay refuses. Whatever is not done
    /// goes on in the background.
    pub async fn sync(&self, timeout: Duration) -> Result<(), ClientError> {
        let mut shown = self.inner.shown.subscribe();
        let misses = shown.borrow_and_update().misses.clone();
        self.connect().await?;
        let settled = async {
            loop {
                if let Some(outcome) = outcome(&shown.borrow_and_update(), &misses) {
                    return outcome;
                }
                shown.changed().await.map_err(|_| ClientError::Closed)?;
            }
        };
        tokio::time::timeout(timeout, settled).await.unwrap_or(Err(ClientError::TimedOut(timeout)))
    }

    /// Stores what is left to store, says goodbye to the relays and frees the profile. Takes no longer than a second,
    /// whatever the network does. Every clone of this client is closed with it.
    pub async fn close(&self) {
        let state = std::mem::replace(&mut *self.state_mut(), State::Closed);
        if let State::InGroup(group, driver) = state {
            end(&group, driver).await;
        }
        self.inner.store.close().await;
        locked(&self.inner.lock).take();
    }

    /// Leaves the group: ends its engine, and lets go of everything that was of it, keys first known to be of no use.
    pub(crate) async fn forget_group(&self) -> Result<(), ClientError> {
        let _entering = self.inner.entering.lock().await;
        let state = {
            let mut state = self.state_mut();
            match &*state {
                State::InGroup(..) => std::mem::replace(&mut *state, State::WithoutGroup),
                State::WithoutGroup => return Err(ClientError::NoGroup),
                State::Closed => return Err(ClientError::Closed),
            }
        };
        if let State::InGroup(group, driver) = state {
            end(&group, driver).await;
        }
        // A crash in between leaves secrets that nothing refers to, and that the next group's overwrite.
        self.inner.store.leave_group(LocalLogId::from_bytes(random())).await?;
        self.inner.secrets.delete().await?;
        let alone = status::without_group();
        self.inner.shown.send_replace(Shown::new(alone.clone(), &Routes::default()));
        // The engine that told of changes has ended, and this is one. Nobody may be listening.
        let _ = self.inner.events.send(SyncEvent::StatusChanged(Arc::new(alone)));
        Ok(())
    }

    pub(crate) fn in_group(&self) -> Result<Arc<InGroup>, ClientError> {
        match &*self.inner.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::InGroup(group, _) => Ok(Arc::clone(group)),
            State::WithoutGroup => Err(ClientError::NoGroup),
            State::Closed => Err(ClientError::Closed),
        }
    }

    pub(crate) fn not_closed(&self) -> Result<(), ClientError> {
        match self.in_group() {
            Err(ClientError::Closed) => Err(ClientError::Closed),
            _ => Ok(()),
        }
    }

    fn state_mut(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.inner.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a group with this device as its only member. An invite does so too, if need be.
    ///
    /// # Errors
    /// `already_in_group`, `keychain_unavailable`, `wrong_passphrase`, `local_full`, `local_storage`, `closed`.
    pub async fn create_group(&self) -> Result<(GroupId, DeviceId), ClientError> {
        let _entering = self.inner.entering.lock().await;
        match self.in_group() {
            Err(ClientError::NoGroup) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(ClientError::AlreadyInGroup),
        }
        let group = self.start_group().await?;
        Ok((group.group_id, group.device_id()))
    }

    /// Starts a group with this device as its only member, if it is in none yet.
    pub(crate) async fn ensure_group(&self) -> Result<Arc<InGroup>, ClientError> {
        let _entering = self.inner.entering.lock().await;
        match self.in_group() {
            Err(ClientError::NoGroup) => {}
            decided => return decided,
        }
        self.start_group().await
    }

    async fn start_group(&self) -> Result<Arc<InGroup>, ClientError> {
        let described = profile::in_roster(&self.inner.profile.name, &self.inner.profile.app_id)?;
        let Founding { secrets, genesis, .. } = profile::found(&described, GroupKeys::generate(&mut rng()), None);
        self.enter(secrets, &[StoreOp::Roster { entry: genesis }]).await
    }

    /// Enters a group: the secrets first, then everything else in one transaction. Between the two a crash leaves a
    /// profile without a group, whose next entry overwrites the secrets.
    pub(crate) async fn enter(&self, secrets: Secrets, ops: &[StoreOp]) -> Result<Arc<InGroup>, ClientError> {
        let group = secrets.group.as_ref().ok_or(ClientError::NoGroup)?.group_id();
        let membership = Membership { group, device: secrets.device.device_id() };
        self.inner.secrets.save(secrets.to_stored()).await?;
        self.inner.store.enter_group(membership, ops).await?;
        self.start(membership, secrets).await
    }

    async fn start(&self, membership: Membership, secrets: Secrets) -> Result<Arc<InGroup>, ClientError> {
        let keys = secrets.group.ok_or(SecretsError::Missing)?;
        if keys.group_id() != membership.group {
            return Err(SecretsError::Missing.into());
        }
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let keys = Arc::new(keys);
        let (current, now) = watch::channel(Current { device_id: membership.device, keys: Arc::clone(&keys) });
        let group = Arc::new(InGroup { group_id: membership.group, current: now, commands });
        let parts = Parts {
            store: Arc::clone(&self.inner.store),
            resolver: Resolver::new(self.inner.http.clone()),
            device_key: Arc::new(secrets.device),
            kem: Arc::new(secrets.kem),
            device_id: membership.device,
            keys,
            current,
            rotate_after: self.inner.rotate_after,
            snapshot_after: self.inner.snapshot_after,
            snapshot_after_bytes: self.inner.snapshot_after_bytes,
            keep_for: self.inner.keep_for,
            keep_bytes: self.inner.keep_bytes,
            online: self.inner.auto_connect,
            shown: self.inner.shown.clone(),
            events: self.inner.events.clone(),
            lock: locked(&self.inner.lock).clone().ok_or(ClientError::Closed)?,
        };
        let driver = Driver::open(parts, receiver).await?;
        let mut state = self.state_mut();
        if matches!(*state, State::Closed) {
            return Err(ClientError::Closed);
        }
        *state = State::InGroup(Arc::clone(&group), tokio::spawn(driver.run()));
        Ok(group)
    }
}

/// Has a driver store what is left to store, and waits for it.
async fn end(group: &InGroup, driver: JoinHandle<()>) {
    // A driver that is gone already needs no telling.
    let _ = group.send(Command::Close).await;
    if let Err(error) = driver.await {
        tracing::error!(%error, "the driver ended badly");
    }
}

/// Nothing is done under these locks that could leave half of it behind.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a sync came to, if that is decided.
fn outcome(shown: &Shown, misses: &[u64]) -> Option<Result<(), ClientError>> {
    let Shown { status, misses: now, problem } = shown;
    let settled = || {
        let read = |relay: &sync_core::status::RelayStatus| {
            relay.connection == Connection::Connected && relay.pulled == relay.max_cursor && !relay.refilling
        };
        // What can't be read here is as far as it gets by itself.
        let unreadable = status.badge == Badge::Failed && status.relays.len() == now.len();
        unreadable && status.pending == 0 && status.waiting == 0 && status.relays.iter().all(read)
    };
    if status.badge == Badge::Synced || settled() {
        return Some(Ok(()));
    }
    if status.removed {
        return Some(Err(ClientError::Refused(ErrorCode::Removed)));
    }
    if status.identity_reused {
        return Some(Err(ClientError::Refused(ErrorCode::IdentityReused)));
    }
    // Room that has to be made first counts as a refusal, though it is asked for again and again.
    let full = [ErrorCode::GroupFull, ErrorCode::StorageFull];
    let decided = |code: &ErrorCode| code.reaction() != Reaction::Retry || full.contains(code);
    let refusal = status.relays.iter().filter_map(|relay| relay.problem).find(decided).or(*problem);
    if let Some(code) = refusal {
        return Some(Err(ClientError::Refused(code)));
    }
    // Without any relay there is nobody to look for.
    let in_vain = now.iter().zip(misses).all(|(now, before)| now > before);
    in_vain.then_some(Err(ClientError::Offline))
}
