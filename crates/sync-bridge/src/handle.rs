//! One profile, as a front end holds it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sync_client::{ClientError, DeviceId, LocalCursor, ProfileInfo, Rekey, SyncClient};
use tokio::sync::broadcast;

use crate::{
    dto::{BlobState, Configuration, Device, Membership, Page, PushOptions, Pushed, RecoveryKit, Status},
    error::BridgeError,
    event::{self, EVENTS_MAX, Event, Subscription},
    pairing::{Begun, Desk, Invite, Joined, Listener, PairRequest, PairingEvent},
    place,
    runtime::Answer,
    settings::{Backend, Settings},
};

/// Blobs in a page, when nobody says how many.
const PAGE_BLOBS: u32 = 100;

/// One profile. Clones are the same one, and any number of threads may use it at once.
///
/// It is opened by the first call that needs it, and made by the first that makes a group, joins one or configures it: an
/// app whose user never asks for sync asks for no keychain. A disk that is full now, or a keychain that is locked, fails
/// the calls until that is over, and nothing has to be started again. A call begins when it is made, not when its answer is
/// first asked for.
#[derive(Clone)]
pub struct SyncHandle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    settings: Settings,
    place: tokio::sync::Mutex<Place>,
    /// The front end wants to be connected. Kept across [`SyncHandle::rest`].
    wanted: AtomicBool,
    events: broadcast::Sender<Event>,
    desk: Desk,
}

enum Place {
    Unopened,
    Open(SyncClient),
    Closed,
}

impl Shared {
    /// The client, of a profile that is made if it isn't there.
    async fn client(&self) -> Result<SyncClient, BridgeError> {
        let mut place = self.place.lock().await;
        match &*place {
            Place::Open(client) => Ok(client.clone()),
            Place::Closed => Err(ClientError::Closed.into()),
            Place::Unopened => {
                Ok(self.use_client(&mut place, place::open_or_make(&self.settings, self.wants()).await?))
            }
        }
    }

    /// The client, if there is a profile.
    async fn existing_client(&self) -> Result<Option<SyncClient>, BridgeError> {
        let mut place = self.place.lock().await;
        match &*place {
            Place::Open(client) => Ok(Some(client.clone())),
            Place::Closed => Err(ClientError::Closed.into()),
            Place::Unopened => {
                let opened = place::open_existing(&self.settings, self.wants()).await?;
                Ok(opened.map(|client| self.use_client(&mut place, client)))
            }
        }
    }

    fn use_client(&self, place: &mut Place, client: SyncClient) -> SyncClient {
        event::pass_on(&client, self.events.clone());
        *place = Place::Open(client.clone());
        client
    }

    pub(crate) fn wants(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// The client, if it is open.
    async fn open_client(&self) -> Option<SyncClient> {
        match &*self.place.lock().await {
            Place::Open(client) => Some(client.clone()),
            Place::Unopened | Place::Closed => None,
        }
    }

    /// Puts a database aside that can't be read. Says where it is.
    pub(crate) async fn set_aside(&self) -> Result<String, BridgeError> {
        let place = self.place.lock().await;
        match &*place {
            Place::Open(_) => Err(BridgeError::Argument("the profile's database can be read; nothing was set aside")),
            Place::Closed => Err(ClientError::Closed.into()),
            Place::Unopened => Ok(place::set_aside(&self.settings).await?),
        }
    }

    /// The same, if the front end wants it to be connected.
    async fn wanted_client(&self) -> Option<SyncClient> {
        if self.wants() { self.open_client().await } else { None }
    }
}

impl SyncHandle {
    /// A handle to a profile, which is not opened yet.
    pub fn new(settings: Settings) -> Self {
        let wanted = AtomicBool::new(settings.auto_connect);
        Self {
            shared: Arc::new(Shared {
                settings,
                place: tokio::sync::Mutex::new(Place::Unopened),
                wanted,
                events: broadcast::Sender::new(EVENTS_MAX),
                desk: Desk::default(),
            }),
        }
    }

    /// Does something with the profile, which is made if it isn't there.
    fn with_made<T, F>(&self, work: impl FnOnce(Arc<Shared>, SyncClient) -> F + Send + 'static) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BridgeError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            let client = shared.client().await?;
            work(shared, client).await
        })
    }

    /// Does something that takes a group, and so a profile.
    pub(crate) fn with_client<T, F>(
        &self,
        work: impl FnOnce(Arc<Shared>, SyncClient) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BridgeError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            let client = shared.existing_client().await?.ok_or(ClientError::NoGroup)?;
            work(shared, client).await
        })
    }

    /// Says something about the profile, or what is so without one.
    fn with_any<T, F>(&self, work: impl FnOnce(Arc<Shared>, Option<SyncClient>) -> F + Send + 'static) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BridgeError>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            let client = shared.existing_client().await?;
            work(shared, client).await
        })
    }

    // ── The group ──

    /// Starts a group with this device as its only member. An invite does so too, if need be.
    ///
    /// # Errors
    /// `already_in_group`, and those of opening the profile.
    pub fn create_group(&self) -> Answer<Membership> {
        self.with_made(|_, client| async move {
            let (group_id, device_id) = client.create_group().await?;
            Ok(Membership { group_id: group_id.to_string(), device_id: device_id.to_string() })
        })
    }

    /// A whole pairing. The listener is told what to show, step by step; when it shows digits, a person compares them
    /// and the answer is [`Self::approve`] or [`Self::deny`]. Resolves when it is over.
    ///
    /// # Errors
    /// Whatever ends a pairing: `pairing_denied`, `wrong_code`, `code_expired`, `invite_not_found`, `offline`, …
    pub fn pair(&self, request: PairRequest, listener: impl FnMut(PairingEvent) + Send + 'static) -> Answer<Joined> {
        let listener: Listener = Box::new(listener);
        self.with_made(move |shared, client| async move {
            let Begun { end, invite: _ } = begin(&shared, client, request, listener)?;
            end.await.unwrap_or(Err(BridgeError::Defect))
        })
    }

    /// Opens an invite, and resolves when it can be shown. The listener is told the rest, as of [`Self::pair`].
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub fn create_invite(&self, listener: impl FnMut(PairingEvent) + Send + 'static) -> Answer<Invite> {
        let listener: Listener = Box::new(listener);
        self.with_made(move |shared, client| async move {
            let Begun { invite, end } = begin(&shared, client, PairRequest::Create, listener)?;
            match invite.await {
                Ok(invite) => Ok(invite),
                // It ended before it was open.
                Err(_) => Err(end.await.unwrap_or(Err(BridgeError::Defect)).err().unwrap_or(BridgeError::Defect)),
            }
        })
    }

    /// Begins to join with the code or link that the other device shows, and resolves at once. The listener is told the
    /// rest, as of [`Self::pair`].
    ///
    /// # Errors
    /// `invalid_code`, `already_in_group`, and those of opening the profile.
    pub fn join(&self, invite: String, listener: impl FnMut(PairingEvent) + Send + 'static) -> Answer<()> {
        let listener: Listener = Box::new(listener);
        self.with_made(move |shared, client| async move {
            begin(&shared, client, PairRequest::Join(invite), listener).map(drop)
        })
    }

    /// The person says that both screens show these digits.
    ///
    /// # Errors
    /// `invalid_argument` if this device shows others, or none.
    pub fn approve(&self, digits: String) -> Answer<()> {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move { shared.desk.approve(&digits).await })
    }

    /// The person says that the digits differ, or wants to stop: ends whatever pairing is under way.
    pub fn deny(&self) {
        self.shared.desk.deny();
    }

    /// The group's devices, in the order of their ids.
    ///
    /// # Errors
    /// `no_group`, and those of opening the profile.
    pub fn devices(&self) -> Answer<Vec<Device>> {
        self.with_client(|_, client| async move { Ok(client.devices().await?.into_iter().map(Device::from).collect()) })
    }

    /// Gives a device of the group another name, on all devices.
    ///
    /// # Errors
    /// `device_unknown`, `invalid_argument` if nothing can be seen of the name, `no_group`, `identity_reused`.
    pub fn rename_device(&self, device_id: String, name: String) -> Answer<()> {
        self.with_client(|_, client| async move { Ok(client.rename_device(device_of(&device_id)?, &name).await?) })
    }

    /// Removes a device from the group, which gets new keys by it unless they are to be kept. Resolves when that is safe
    /// on this device; the others hear of it as soon as they can be reached.
    ///
    /// # Errors
    /// `device_unknown`, `invalid_argument` for this device itself (see [`Self::leave_group`]), `removed`,
    /// `identity_reused`, `group_too_large`, `no_group`, `local_storage`, `closed`.
    pub fn remove_device(&self, device_id: String, keep_key: bool) -> Answer<()> {
        let rekey = if keep_key { Rekey::Keep } else { Rekey::New };
        self.with_client(move |_, client| async move { Ok(client.remove_device(device_of(&device_id)?, rekey).await?) })
    }

    /// Gives the group new keys. Nobody is removed.
    ///
    /// # Errors
    /// `removed`, `identity_reused`, `group_too_large`, `no_group`, `local_storage`, `closed`.
    pub fn rotate_key(&self) -> Answer<()> {
        self.with_client(|_, client| async move { Ok(client.rotate_key().await?) })
    }

    /// Makes a recovery kit, with which a person gets back into the group who has lost every device. A profile without a
    /// group starts one first. It works once a relay has it.
    ///
    /// # Errors
    /// `group_too_large`, `removed`, `identity_reused`, and those of opening the profile.
    pub fn export_kit(&self) -> Answer<RecoveryKit> {
        self.with_made(|_, client| async move { Ok(RecoveryKit::from(&client.export_kit().await?)) })
    }

    /// Gets back into a group with a kit: the text of its page and its code. This device becomes a member of its own.
    ///
    /// # Errors
    /// `invalid_kit`, `invalid_kit_code`, `wrong_kit_code`, `kit_too_new`, `other_app`, `removed`, `kit_unknown`,
    /// `stale_key`, `offline`, `group_too_large`, `already_in_group`, and those of opening the profile.
    pub fn import_kit(&self, text: String, code: String) -> Answer<Membership> {
        self.with_made(move |_, client| async move {
            let (group_id, device_id) = client.import_kit(&text, &code).await?;
            Ok(Membership { group_id: group_id.to_string(), device_id: device_id.to_string() })
        })
    }

    /// Takes this device out of its group, and deletes what the profile has of it. Refuses while that would lose
    /// something, unless it is forced.
    ///
    /// # Errors
    /// `not_safe_to_leave`, `no_group`, `local_storage`, `keychain_unavailable`, `closed`.
    pub fn leave_group(&self, force: bool) -> Answer<()> {
        self.with_client(move |_, client| async move { Ok(client.leave_group(force).await?) })
    }

    // ── Blobs ──

    /// Pushes a blob to the group's other devices. Resolves once it is safe on this one, online or not, or as far as the
    /// options say; after half a minute with however far it got.
    ///
    /// # Errors
    /// `blob_too_large`, `no_group`, `local_full`, `local_storage`, `identity_reused`, `closed`. A push that fails left
    /// nothing behind.
    pub fn push(&self, payload: impl Into<bytes::Bytes>, options: PushOptions) -> Answer<Pushed> {
        let payload = payload.into();
        self.with_client(move |_, client| async move {
            let options = sync_client::PushOptions {
                wait: options.wait.into(),
                ttl: Duration::from_secs(options.ttl),
                ..sync_client::PushOptions::default()
            };
            Ok(client.push(payload, options).await?.into())
        })
    }

    /// The blobs of the local log after a cursor, 0 for all. Reads the disk only.
    ///
    /// # Errors
    /// `cursor_unknown` for a cursor beyond the newest blob, `no_group`, `local_storage`, `store_corrupt`.
    pub fn pull(&self, after: u64, limit: Option<u32>) -> Answer<Page> {
        self.with_client(move |_, client| async move {
            Ok(client.pull(LocalCursor::new(after), limit.unwrap_or(PAGE_BLOBS)).await?.into())
        })
    }

    /// The app has applied everything up to and with this blob. Never moves back.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn ack(&self, cursor: u64) -> Answer<()> {
        self.with_client(move |_, client| async move { Ok(client.ack(LocalCursor::new(cursor)).await?) })
    }

    /// How far blobs of the local log got: on which relays, on which devices. In the order in which they are asked for; a
    /// cursor that is none of the log's is left out.
    ///
    /// # Errors
    /// `invalid_argument` for more than 1,000, `no_group`, `local_storage`, and those of opening the profile.
    pub fn blob_states(&self, cursors: Vec<u64>) -> Answer<Vec<BlobState>> {
        self.with_client(move |_, client| async move {
            let cursors: Vec<_> = cursors.into_iter().map(LocalCursor::new).collect();
            Ok(client.blob_states(&cursors).await?.into_iter().map(BlobState::from).collect())
        })
    }

    /// The highest cursor that the app acknowledged.
    ///
    /// # Errors
    /// Those of opening the profile.
    pub fn last_cursor(&self) -> Answer<u64> {
        self.with_any(|_, client| async move { Ok(client.map_or(0, |client| client.last_cursor().get())) })
    }

    // ── The connection ──

    /// How everything stands.
    ///
    /// # Errors
    /// Those of opening the profile.
    pub fn status(&self) -> Answer<Status> {
        self.with_any(|_, client| async move {
            Ok(match &client {
                Some(client) => status(client).await,
                None => Status::without_profile(),
            })
        })
    }

    /// Connects, and keeps connected. Resolves at once; the status says how it goes.
    ///
    /// # Errors
    /// `no_group`, `closed`, and those of opening the profile.
    pub fn connect(&self) -> Answer<()> {
        self.with_client(|shared, client| async move {
            client.connect().await?;
            shared.wanted.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Closes the connections and opens none until [`Self::connect`]. What is pushed meanwhile is kept.
    ///
    /// # Errors
    /// `no_group`, `closed`, and those of opening the profile.
    pub fn disconnect(&self) -> Answer<()> {
        self.with_client(|shared, client| async move {
            client.disconnect().await?;
            shared.wanted.store(false, Ordering::Relaxed);
            Ok(())
        })
    }

    /// A full cycle: waits until everything pushed is on every relay and everything there is here. A profile that is to
    /// stay offline is connected for as long as that takes.
    ///
    /// # Errors
    /// `offline` once every relay was looked for in vain, `timed_out`, or what a relay refuses. Whatever is not done
    /// goes on in the background.
    pub fn sync_now(&self, within: Duration) -> Answer<Status> {
        self.with_client(move |shared, client| async move {
            let synced = client.sync(within).await;
            if !shared.wants() {
                client.disconnect().await?;
            }
            synced?;
            Ok(status(&client).await)
        })
    }

    /// Uses another backend from now on, if one is given, and says how the profile is set up.
    ///
    /// # Errors
    /// `unsupported_tier`, `relay_unknown` for what names none, `invalid_argument` for more than sixteen,
    /// `local_storage`, `closed`, and those of opening the profile.
    pub fn configure(&self, backend: Option<Backend>) -> Answer<Configuration> {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            let client = match backend {
                Some(backend) => {
                    let relays = backend.addresses()?;
                    let client = shared.client().await?;
                    client.set_relays(&relays).await?;
                    Some(client)
                }
                None => shared.existing_client().await?,
            };
            match client {
                Some(client) => Ok(configuration(&client.profile().await?)),
                None => Ok(shared.settings.configuration()),
            }
        })
    }

    /// Tells a listener everything from now on, on a thread of ours, until it returns false or the subscription is
    /// dropped.
    pub fn subscribe(&self, listener: impl FnMut(Event) -> bool + Send + 'static) -> Subscription {
        event::tell(self.shared.events.subscribe(), listener)
    }

    // ── The app's life ──

    /// The app is there: opens the profile, if there is one, connects, sends what waits and fetches what is new, unless the
    /// front end wants to be offline. Quick where that is so already.
    ///
    /// # Errors
    /// Those of opening the profile.
    pub fn wake(&self) -> Answer<()> {
        self.with_any(|shared, client| async move {
            match client {
                Some(client) if shared.wants() => match client.connect().await {
                    // Before there is a group there is nobody to connect to.
                    Ok(()) | Err(ClientError::NoGroup) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Some(_) | None => Ok(()),
            }
        })
    }

    /// A full cycle, unless the front end wants to be offline: for an app that may work in the background for so long.
    ///
    /// # Errors
    /// As [`Self::sync_now`].
    pub fn cycle(&self, within: Duration) -> Answer<()> {
        self.with_any(move |shared, client| async move {
            match client {
                Some(client) if shared.wants() => match client.sync(within).await {
                    // Before there is a group there is nothing to sync.
                    Ok(()) | Err(ClientError::NoGroup) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Some(_) | None => Ok(()),
            }
        })
    }

    /// Waits until everything pushed is on every relay, and no longer than this. Opens nothing.
    pub fn flush(&self, within: Duration) -> Answer<()> {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            flush(&shared, within).await;
            Ok(())
        })
    }

    /// The app is put aside, and may be stopped at any moment: flushes, and closes the connections. What is pushed from
    /// now on is kept; [`Self::wake`] goes on.
    pub fn rest(&self, within: Duration) -> Answer<()> {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            if let Some(client) = flush(&shared, within).await {
                // Without a group, or closed, there is no connection.
                let _ = client.disconnect().await;
            }
            Ok(())
        })
    }

    /// Closes the profile, for good: says goodbye to the relays and lets other processes have it. Takes no longer than a
    /// second.
    pub fn close(&self) -> Answer<()> {
        let shared = Arc::clone(&self.shared);
        Answer::to(async move {
            shared.desk.deny();
            let place = std::mem::replace(&mut *shared.place.lock().await, Place::Closed);
            if let Place::Open(client) = place {
                client.close().await;
            }
            Ok(())
        })
    }
}

fn begin(shared: &Shared, client: SyncClient, request: PairRequest, listener: Listener) -> Result<Begun, BridgeError> {
    shared.desk.begin(client, request, shared.settings.link_scheme.clone(), listener)
}

fn configuration(profile: &ProfileInfo) -> Configuration {
    let relays = profile.relays.iter().map(ToString::to_string).collect();
    Configuration {
        backend: Backend::Relay { relays },
        secrets: profile.secrets.name().to_owned(),
        name: profile.name.clone(),
    }
}

async fn status(client: &SyncClient) -> Status {
    Status::new(client.status(), place::disk(client).await, place::membership(client))
}

/// Waits until what is pushed is out, and says whose. What is not out in time goes out when the app is next there.
async fn flush(shared: &Shared, within: Duration) -> Option<SyncClient> {
    let client = tokio::time::timeout(within, shared.wanted_client()).await.ok()??;
    let flushed = async {
        let mut events = client.subscribe();
        // Whoever waits between two attempts tries now.
        if client.status().pending > 0 && client.connect().await.is_ok() {
            while client.status().pending > 0 && events.next().await.is_some() {}
        }
    };
    let _ = tokio::time::timeout(within, flushed).await;
    Some(client)
}

/// Nothing is done under these locks that could leave half of it behind.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device_of(text: &str) -> Result<DeviceId, BridgeError> {
    text.parse().map_err(|_| BridgeError::Argument("a device's id has 64 hex digits"))
}
