//! A relay, and devices that are no Tauri apps: what the app talks to.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::Value;
use sync_relay::{Relay, harness::loopback};
use tauri_plugin_sync::sync_bridge::{
    Answer, Backend, BridgeError, Joined, PairRequest, PairingEvent, SecretsChoice, Settings, SyncHandle,
    dto::PushOptions,
};
use tempfile::TempDir;

use super::app::{APP, TestApp, channel};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn wait<T: Send + 'static>(answer: Answer<T>) -> Result<T, BridgeError> {
    answer.on_channel().recv_timeout(2 * PATIENCE).expect("every call is answered")
}

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A relay, on a runtime of its own.
pub(crate) struct TestRelay {
    _runtime: tokio::runtime::Runtime,
    pub(crate) address: String,
    _dir: TempDir,
}

impl TestRelay {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Runtime::new().expect("starts");
        let relay = runtime.block_on(Relay::bind(loopback(dir.path()))).expect("binds");
        let address = format!("http://{}", relay.http_addr());
        runtime.spawn(relay.run());
        Self { _runtime: runtime, address, _dir: dir }
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::Relay { relays: vec![self.address.clone()] }
    }
}

/// The id of a relay that nobody runs.
pub(crate) fn relay_id() -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    let relay = runtime.block_on(Relay::bind(loopback(dir.path()))).expect("binds");
    relay.id().to_string()
}

/// Another device.
pub(crate) struct Other {
    pub(crate) sync: SyncHandle,
    _dir: TempDir,
}

pub(crate) fn device(name: &str, backend: Backend) -> Other {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings { backend, secrets: Some(SecretsChoice::File), ..Settings::new(dir.path(), name, APP) };
    Other { sync: SyncHandle::new(settings), _dir: dir }
}

pub(crate) fn push(device: &Other, text: &str) {
    wait(device.sync.push(text.to_owned(), PushOptions::default())).expect("is pushed");
}

pub(crate) fn texts(device: &Other) -> Vec<String> {
    let blobs = wait(device.sync.pull(0, None)).expect("readable").blobs;
    blobs.iter().map(|blob| String::from_utf8(blob.payload.to_vec()).expect("text")).collect()
}

/// A pairing's listener, and where to hear what it was told.
pub(crate) fn listener() -> (impl FnMut(PairingEvent) + Send, mpsc::Receiver<PairingEvent>) {
    let (told, hears) = mpsc::channel();
    (move |event| drop(told.send(event)), hears)
}

/// The digits on the other device's screen, once they are there.
pub(crate) fn other_digits(hears: &mpsc::Receiver<PairingEvent>) -> String {
    loop {
        if let PairingEvent::Digits { digits, .. } = hears.recv_timeout(PATIENCE).expect("there is more") {
            return digits;
        }
    }
}

/// Begins to join, and returns when the digits are there.
pub(crate) fn join(device: &Other, invite: &str) -> (Answer<Joined>, String) {
    let (listen, hears) = listener();
    let joining = device.sync.pair(PairRequest::Join(invite.to_owned()), listen);
    let digits = other_digits(&hears);
    (joining, digits)
}

/// How to join with an invite that the app shows.
pub(crate) fn join_request(invite: &Value) -> PairRequest {
    PairRequest::Join(invite["link"].as_str().expect("a text").to_owned())
}

/// An app, and another device in its group.
pub(crate) fn paired(relay: &TestRelay) -> (TestApp, Other) {
    let (app, other) = (TestApp::on(relay), device("laptop", relay.backend()));
    let invite = app.invoke("create_invite", serde_json::json!({ "channel": channel(99) })).expect("is open");
    let (joining, digits) = join(&other, invite["link"].as_str().expect("a text"));
    app.heard(99, "digits");
    app.invoke("approve", serde_json::json!({ "digits": digits })).expect("both show them");
    wait(other.sync.approve(digits)).expect("both show them");
    wait(joining).expect("joins");
    app.heard(99, "joined");
    app.forget();
    (app, other)
}
