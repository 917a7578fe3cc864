//! The app, and a page that asks it for things.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tauri::{
    App, RunEvent, Webview, WebviewWindow, WebviewWindowBuilder,
    http::{HeaderMap, HeaderName, HeaderValue},
    ipc::{CallbackFn, InvokeBody, InvokeResponseBody},
    test::{INVOKE_KEY, MockRuntime, get_ipc_response, mock_builder, mock_context, noop_assets},
    webview::InvokeRequest,
};
use tauri_plugin_sync::{Builder, Secrets, SyncExt as _, sync_bridge::SyncHandle};
use tauri_utils::{
    acl::{
        capability::Capability,
        manifest::{Manifest, PermissionFile},
        resolved::Resolved,
    },
    platform::Target,
};
use tempfile::TempDir;

use super::device::{TestRelay, eventually};

pub(crate) const APP: &str = "org.example.notes";
const ALL: [&str; 4] = ["sync:default", "sync:pairing", "sync:devices", "sync:configure"];

/// Why a page's request failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The page may not ask for that.
    Denied(String),
    /// Tauri could not read the arguments.
    Arguments(String),
    /// The plugin says why.
    Code(String),
}

impl Failure {
    fn of(value: Value) -> Self {
        if let Value::String(text) = value {
            return if text.contains("not allowed") { Self::Denied(text) } else { Self::Arguments(text) };
        }
        let fields: Vec<&String> = value.as_object().expect("an error is an object").keys().collect();
        assert_eq!(fields, ["code", "message"], "{value}");
        assert!(value["message"].as_str().is_some_and(|text| !text.is_empty()), "{value}");
        Self::Code(value["code"].as_str().expect("a text").to_owned())
    }

    pub(crate) fn code(self) -> String {
        let Self::Code(code) = self else { panic!("{self:?}") };
        code
    }
}

/// A page of blobs, taken apart.
pub(crate) struct Page {
    pub(crate) description: Value,
    pub(crate) payloads: Vec<Vec<u8>>,
}

type Heard = Arc<Mutex<Vec<(u32, Value)>>>;

/// An app with one window, `main`.
pub(crate) struct TestApp {
    pub(crate) app: App<MockRuntime>,
    page: WebviewWindow<MockRuntime>,
    heard: Heard,
    dir: PathBuf,
    own: Option<TempDir>,
}

/// Where the repository keeps the plugin's permissions.
pub(crate) fn permissions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("permissions")
}

fn permission_files(folder: &Path, files: &mut Vec<PermissionFile>) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            permission_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("readable");
            files.push(toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
    }
}

fn build(
    dir: &Path,
    builder: Builder,
    config: Value,
    granted: &[&str],
    heard: &Heard,
) -> tauri::Result<App<MockRuntime>> {
    let mut files = Vec::new();
    permission_files(&permissions(), &mut files);
    let acl = BTreeMap::from([("sync".to_owned(), Manifest::new(files, None))]);
    let capability: Capability =
        serde_json::from_value(json!({ "identifier": "page", "windows": ["*"], "permissions": granted }))
            .expect("a capability");
    let resolved = Resolved::resolve(&acl, BTreeMap::from([("page".to_owned(), capability)]), Target::current());
    let mut context = mock_context(noop_assets());
    *context.runtime_authority_mut() = tauri::runtime_authority!(acl, resolved.expect("permissions that exist"));
    context.config_mut().identifier = APP.to_owned();
    if !config.is_null() {
        context.config_mut().plugins.0.insert("sync".to_owned(), config);
    }
    let heard = Arc::clone(heard);
    mock_builder()
        .channel_interceptor(move |_, channel, _, body| {
            let InvokeResponseBody::Json(text) = body else { panic!("events are JSON") };
            let event = serde_json::from_str(text).expect("JSON");
            heard.lock().expect("no panics here").push((channel.0, event));
            true
        })
        .plugin(builder.dir(dir).build())
        .build(context)
}

/// Whether an app with this configuration starts.
pub(crate) fn try_build(config: Value) -> tauri::Result<App<MockRuntime>> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    build(dir.path(), Builder::new(), config, &[], &Heard::default())
}

/// What Tauri's `Channel` is as an argument.
pub(crate) fn channel(id: u32) -> Value {
    json!(format!("__CHANNEL__:{id}"))
}

impl TestApp {
    /// Knows no relay, and keeps its keys in a file.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder, Value::Null)
    }

    /// The same, with this relay.
    pub(crate) fn on(relay: &TestRelay) -> Self {
        Self::with(|builder| builder.relays([relay.address.clone()]), Value::Null)
    }

    /// A page that may do only this.
    pub(crate) fn granted(granted: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let made = Self::made(dir_of(&dir), Builder::new().secrets(Secrets::File), Value::Null, granted);
        Self { own: Some(dir), ..made }
    }

    pub(crate) fn with(build: impl FnOnce(Builder) -> Builder, config: Value) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let builder = build(Builder::new().secrets(Secrets::File));
        let made = Self::made(dir_of(&dir), builder, config, &ALL);
        Self { own: Some(dir), ..made }
    }

    /// In a folder that another app had.
    pub(crate) fn at(dir: &Path, build: impl FnOnce(Builder) -> Builder) -> Self {
        Self::made(dir.to_owned(), build(Builder::new().secrets(Secrets::File)), Value::Null, &ALL)
    }

    fn made(dir: PathBuf, builder: Builder, config: Value, granted: &[&str]) -> Self {
        let heard = Heard::default();
        let app = build(&dir, builder, config, granted, &heard).expect("starts");
        let page = WebviewWindowBuilder::new(&app, "main", Default::default()).build().expect("opens");
        Self { app, page, heard, dir, own: None }
    }

    pub(crate) fn window(&self, label: &str) -> WebviewWindow<MockRuntime> {
        WebviewWindowBuilder::new(&self.app, label, Default::default()).build().expect("opens")
    }

    pub(crate) fn profile_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    // ── What the page asks for ──

    pub(crate) fn invoke(&self, command: &str, arguments: Value) -> Result<Value, Failure> {
        self.invoke_with(command, arguments, &[])
    }

    pub(crate) fn invoke_in(
        &self,
        page: &WebviewWindow<MockRuntime>,
        command: &str,
        arguments: Value,
    ) -> Result<Value, Failure> {
        json_of(ask(page, LOCAL, command, InvokeBody::Json(arguments), &[]))
    }

    pub(crate) fn invoke_from(&self, origin: &str, command: &str, arguments: Value) -> Result<Value, Failure> {
        json_of(ask(&self.page, origin, command, InvokeBody::Json(arguments), &[]))
    }

    pub(crate) fn invoke_with(
        &self,
        command: &str,
        arguments: Value,
        headers: &[(&'static str, &str)],
    ) -> Result<Value, Failure> {
        json_of(ask(&self.page, LOCAL, command, InvokeBody::Json(arguments), headers))
    }

    pub(crate) fn invoke_in_background(
        &self,
        command: &'static str,
        arguments: Value,
    ) -> JoinHandle<Result<Value, Failure>> {
        let page = self.page.clone();
        std::thread::spawn(move || json_of(ask(&page, LOCAL, command, InvokeBody::Json(arguments), &[])))
    }

    pub(crate) fn code(&self, command: &str, arguments: Value) -> String {
        let failed = self.invoke(command, arguments);
        failed.map(|done| panic!("{command}: {done}")).unwrap_or_else(Failure::code)
    }

    pub(crate) fn push(&self, payload: &[u8], headers: &[(&'static str, &str)]) -> Result<Value, Failure> {
        self.send("push", payload, headers)
    }

    /// A request whose body is bytes.
    pub(crate) fn send(&self, command: &str, bytes: &[u8], headers: &[(&'static str, &str)]) -> Result<Value, Failure> {
        json_of(ask(&self.page, LOCAL, command, InvokeBody::Raw(bytes.to_vec()), headers))
    }

    /// An answer that is a description and bytes.
    pub(crate) fn bytes(&self, command: &str, arguments: Value) -> Result<(Value, Vec<u8>), Failure> {
        let InvokeResponseBody::Raw(bytes) = ask(&self.page, LOCAL, command, InvokeBody::Json(arguments), &[])? else {
            panic!("bytes are bytes")
        };
        let (length, rest) = bytes.split_first_chunk::<4>().expect("four bytes");
        let (description, rest) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).expect("fits"));
        Ok((serde_json::from_slice(description).expect("JSON"), rest.to_vec()))
    }

    pub(crate) fn pull(&self, after: u64, limit: Value) -> Result<Page, Failure> {
        let (description, bytes) = self.bytes("pull", json!({ "afterCursor": after, "limit": limit }))?;
        let (mut rest, mut payloads) = (&bytes[..], Vec::new());
        for blob in description["blobs"].as_array().expect("a list") {
            let length = usize::try_from(blob["length"].as_u64().expect("a number")).expect("fits");
            let (payload, behind) = rest.split_at(length);
            payloads.push(payload.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty(), "nothing is left over");
        Ok(Page { description, payloads })
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let payloads = self.pull(0, Value::Null).expect("readable").payloads;
        payloads.into_iter().map(|payload| String::from_utf8(payload).expect("text")).collect()
    }

    // ── What the page is told ──

    /// The first event of a kind that a channel told, once it has.
    pub(crate) fn heard(&self, channel: u32, kind: &str) -> Value {
        let mut heard = None;
        eventually(&format!("{kind} on channel {channel}: {:?}", self.heard), || {
            heard = self.find(channel, kind);
            heard.is_some()
        });
        heard.expect("waited for")
    }

    /// The same, if it is told within a moment in which it would have been.
    pub(crate) fn heard_by_now(&self, channel: u32, kind: &str) -> Option<Value> {
        std::thread::sleep(Duration::from_millis(300));
        self.find(channel, kind)
    }

    pub(crate) fn forget(&self) {
        self.heard.lock().expect("no panics here").clear();
    }

    fn find(&self, channel: u32, kind: &str) -> Option<Value> {
        let heard = self.heard.lock().expect("no panics here");
        heard.iter().find(|(id, event)| *id == channel && event["kind"] == kind).map(|(_, event)| event.clone())
    }

    // ── Its end ──

    /// Closes the engine as an app does that exits, and keeps its folder.
    pub(crate) fn close(mut self) -> TempDir {
        super::device::wait(self.app.sync().close()).expect("closes");
        self.own.take().unwrap_or_else(|| tempfile::tempdir().expect("a temporary folder"))
    }

    /// Runs the app until its window is closed, and says how long its exit was held up.
    pub(crate) fn run_until_closed(self) -> (Duration, SyncHandle) {
        let sync = self.app.sync();
        let page = self.page.clone();
        let closing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            page.close().expect("is open");
        });
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        self.app.run(move |_, event| {
            // The app is told after the plugin: of the request when the flush has begun, of the exit when it is over.
            if matches!(event, RunEvent::ExitRequested { .. } | RunEvent::Exit) {
                seen.lock().expect("no panics here").push(Instant::now());
            }
        });
        closing.join().expect("closes");
        let times = times.lock().expect("no panics here");
        let [requested, exited] = times[..] else { panic!("{times:?}") };
        (exited - requested, sync)
    }
}

fn dir_of(dir: &TempDir) -> PathBuf {
    dir.path().to_owned()
}

const LOCAL: &str = "tauri://localhost";

fn ask(
    page: &impl AsRef<Webview<MockRuntime>>,
    origin: &str,
    command: &str,
    body: InvokeBody,
    headers: &[(&'static str, &str)],
) -> Result<InvokeResponseBody, Failure> {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))
    };
    let request = InvokeRequest {
        cmd: format!("plugin:sync|{command}"),
        callback: CallbackFn(0),
        error: CallbackFn(1),
        url: origin.parse().expect("an origin"),
        body,
        headers: headers.iter().map(header).collect::<HeaderMap>(),
        invoke_key: INVOKE_KEY.to_owned(),
    };
    get_ipc_response(page, request).map_err(Failure::of)
}

fn json_of(answer: Result<InvokeResponseBody, Failure>) -> Result<Value, Failure> {
    Ok(match answer? {
        InvokeResponseBody::Json(text) => serde_json::from_str(&text).expect("JSON"),
        InvokeResponseBody::Raw(bytes) => json!({ "bytes": bytes.len() }),
    })
}

/// Lets only its owner use a file.
pub(crate) fn own(file: &Path) {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file, private).expect("is ours");
}
