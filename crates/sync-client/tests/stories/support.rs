//! A relay and devices for stories: the real things, in this process, on loopback. The only code here that knows how
//! they are set up.

use std::{net::SocketAddr, ops::Deref, path::Path, time::Duration};

use sync_client::{
    Blob, InviteEvent, InviteSession, JoinEvent, JoinSession, OpenOptions, ProfileConfig, PushOptions, RelayBackend,
    SecretsChoice, SyncClient,
};
use sync_relay::{Handle, Relay, harness::loopback};
use sync_types::{ErrorCode, InviteCode, InviteLink, LocalCursor};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const APP: &str = "org.example.notes";

/// A relay whose folder and ports survive it.
pub(crate) struct TestRelay {
    dir: TempDir,
    pub(crate) quic: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) ticket: String,
    pub(crate) id: String,
    running: Option<(Handle, JoinHandle<()>)>,
}

impl TestRelay {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let relay = Relay::bind(loopback(dir.path())).await.expect("binds");
        let (quic, http, ticket, id) = (relay.quic_addr(), relay.http_addr(), relay.ticket(), relay.id().to_string());
        let running = Some((relay.handle(), tokio::spawn(relay.run())));
        Self { dir, quic, http, ticket, id, running }
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((handle, task)) = self.running.take() {
            handle.shutdown();
            task.await.expect("ends");
        }
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let mut config = loopback(self.dir.path());
        (config.server.quic_bind, config.server.http_bind) = (self.quic, self.http);
        let relay = Relay::bind(config).await.expect("binds again");
        self.running = Some((relay.handle(), tokio::spawn(relay.run())));
    }

    /// Starts it again without anything it stored, but its identity if `keep_identity` says so.
    pub(crate) async fn wipe(&mut self, keep_identity: bool) {
        self.stop().await;
        for entry in std::fs::read_dir(self.dir.path()).expect("readable") {
            let path = entry.expect("readable").path();
            let is_identity = path.file_name().is_some_and(|name| name == "identity.key");
            if !(is_identity && keep_identity) {
                std::fs::remove_file(path).expect("removable");
            }
        }
        self.restart().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    pub(crate) fn direct(&self) -> String {
        format!("{}@{}", self.id, self.quic)
    }
}

/// A device: a profile in a folder of its own, and the client that has it open.
pub(crate) struct Device {
    pub(crate) dir: TempDir,
    client: SyncClient,
}

impl Deref for Device {
    type Target = SyncClient;

    fn deref(&self) -> &SyncClient {
        &self.client
    }
}

impl Device {
    pub(crate) async fn new(name: &str, relay: &str) -> Self {
        Self::of_app(name, relay, APP).await
    }

    pub(crate) async fn of_app(name: &str, relay: &str, app: &str) -> Self {
        Self::made(name, &[relay], app).await
    }

    /// One that knows several relays, or none.
    pub(crate) async fn knowing(name: &str, relays: &[&str]) -> Self {
        Self::made(name, relays, APP).await
    }

    async fn made(name: &str, relays: &[&str], app: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        SyncClient::init(profile_config(dir.path(), name, relays, app)).await.expect("a fresh folder");
        let client = open(dir.path(), OpenOptions::default()).await;
        Self { dir, client }
    }

    /// One whose profile is put there by the story. It is offline until it is asked to sync.
    pub(crate) async fn with_folder(fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fill(dir.path());
        let options = OpenOptions { auto_connect: false, ..OpenOptions::default() };
        let client = open(dir.path(), options).await;
        Self { dir, client }
    }

    /// Opens the profile again, after it was closed.
    pub(crate) async fn reopen(&mut self) {
        self.reopen_with(OpenOptions::default()).await;
    }

    /// The same in a way of its own.
    pub(crate) async fn reopen_with(&mut self, options: OpenOptions) {
        self.client = open(self.dir.path(), options).await;
    }

    /// The same without a network.
    pub(crate) async fn reopen_offline(&mut self) {
        self.reopen_with(OpenOptions { auto_connect: false, ..OpenOptions::default() }).await;
    }
}

async fn open(dir: &Path, options: OpenOptions) -> SyncClient {
    SyncClient::open(dir, options).await.expect("opens")
}

/// A profile with these relays.
pub(crate) fn profile_config(dir: &Path, name: &str, relays: &[&str], app: &str) -> ProfileConfig {
    let relays = relays.iter().map(|relay| relay.parse().expect("a relay's address"));
    ProfileConfig {
        dir: dir.to_path_buf(),
        name: name.to_owned(),
        app_id: app.to_owned(),
        backend: RelayBackend::Relay(relays.collect()),
        secrets: SecretsChoice::File,
        passphrase: None,
    }
}

/// Lets `joiner` into `creator`'s group, both people agreeing.
pub(crate) async fn pair(creator: &SyncClient, joiner: &SyncClient) {
    let mut invite = creator.create_invite().expect("open");
    let code = code_of(invite.next().await.expect("an event"));
    let join = joiner.join(&code.to_text()).expect("a code");
    both_agree(invite, join).await;
}

/// Both people see the same digits, and say so.
pub(crate) async fn both_agree(mut invite: InviteSession, mut join: JoinSession) {
    let at_joiner = join.next().await.expect("an event");
    let JoinEvent::Digits { digits: at_joiner, .. } = at_joiner else { panic!("{at_joiner:?}") };
    let at_creator = invite.next().await.expect("an event");
    let InviteEvent::Digits { digits: at_creator, .. } = at_creator else { panic!("{at_creator:?}") };
    assert_eq!(at_creator, at_joiner);
    join.approve().await;
    invite.approve().await;
    let joined = join.next().await.expect("an event");
    assert!(matches!(joined, JoinEvent::Joined { .. }), "{joined:?}");
    let joined = invite.next().await.expect("an event");
    assert!(matches!(joined, InviteEvent::Joined { .. }), "{joined:?}");
}

pub(crate) fn code_of(event: InviteEvent) -> InviteCode {
    let InviteEvent::Invite { code: Some(code), .. } = event else { panic!("{event:?}") };
    code
}

pub(crate) fn link_of(event: InviteEvent) -> InviteLink {
    let InviteEvent::Invite { link, .. } = event else { panic!("{event:?}") };
    link
}

/// Two devices of one group.
pub(crate) async fn paired(relay: &TestRelay) -> [Device; 2] {
    let devices = [Device::new("phone", &relay.url()).await, Device::new("laptop", &relay.url()).await];
    pair(&devices[0], &devices[1]).await;
    devices
}

pub(crate) async fn push(client: &SyncClient, text: &str) {
    client.push(text.to_owned(), PushOptions::default()).await.expect("is queued");
}

pub(crate) async fn in_step(client: &SyncClient) {
    client.sync(PATIENCE).await.unwrap_or_else(|error| panic!("{error:?}: {:?}", client.status()));
}

/// Everything in the local log.
pub(crate) async fn log(client: &SyncClient) -> Vec<Blob> {
    let (mut blobs, mut after) = (Vec::new(), LocalCursor::START);
    loop {
        let page = client.pull(after, 100).await.expect("readable");
        blobs.extend(page.blobs);
        after = blobs.last().map_or(after, |blob: &Blob| blob.cursor);
        if !page.has_more {
            return blobs;
        }
    }
}

pub(crate) async fn texts(client: &SyncClient) -> Vec<String> {
    let text = |blob: Blob| String::from_utf8(blob.payload.to_vec()).expect("text");
    log(client).await.into_iter().map(text).collect()
}

/// Waits until the log holds this, in whatever order.
pub(crate) async fn holds(client: &SyncClient, expected: &[&str]) {
    let mut expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
    expected.sort();
    eventually(async || {
        let mut found = texts(client).await;
        found.sort();
        if found == expected { Ok(()) } else { Err(format!("{found:?}, {:?}", client.status())) }
    })
    .await;
}

/// Waits until it is so, or says what was so instead.
pub(crate) async fn eventually(is_so: impl AsyncFn() -> Result<(), String>) {
    let started = std::time::Instant::now();
    loop {
        match is_so().await {
            Ok(()) => return,
            Err(instead) => assert!(started.elapsed() < PATIENCE, "{instead}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The code of a failure.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, sync_client::ClientError>) -> ErrorCode {
    result.expect_err("fails").code()
}

/// Shows what happens where a story fails; `RUST_LOG` says how much.
pub(crate) fn trace() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}
