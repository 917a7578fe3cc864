//! Stories of front ends, each a handle on a profile of its own, with a real relay between them. No test is async: a front
//! end has no runtime that anything could depend on.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use sync_bridge::{
    Answer, Backend, BridgeError, ErrorCode, Event, Joined, PairRequest, PairingEvent, Passphrase, SecretsChoice,
    Settings, SyncHandle,
    dto::{Badge, Connection, PushOptions, PushState, Wait},
};
use sync_relay::{Relay, harness::loopback};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const APP: &str = "org.example.notes";

fn wait<T: Send + 'static>(answer: Answer<T>) -> Result<T, BridgeError> {
    answer.on_channel().recv_timeout(2 * PATIENCE).expect("every call is answered")
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A relay, on a runtime of its own.
struct TestRelay {
    runtime: tokio::runtime::Runtime,
    address: String,
    _dir: TempDir,
}

impl TestRelay {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Runtime::new().expect("starts");
        let relay = runtime.block_on(Relay::bind(loopback(dir.path()))).expect("binds");
        let address = format!("http://{}", relay.http_addr());
        runtime.spawn(relay.run());
        Self { runtime, address, _dir: dir }
    }

    fn backend(&self) -> Backend {
        Backend::Relay { relays: vec![self.address.clone()] }
    }

    fn stop(self) {
        self.runtime.shutdown_background();
    }
}

fn settings(dir: &Path, name: &str, backend: Backend) -> Settings {
    Settings { backend, secrets: Some(SecretsChoice::File), ..Settings::new(dir, name, APP) }
}

/// A front end, and the folder of its profile.
struct FrontEnd {
    sync: SyncHandle,
    dir: TempDir,
}

impl FrontEnd {
    fn new(name: &str, backend: Backend) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let sync = SyncHandle::new(settings(dir.path(), name, backend));
        Self { sync, dir }
    }

    fn push(&self, text: &str, wait_for: Wait) -> PushState {
        let options = PushOptions { wait: wait_for, ..PushOptions::default() };
        wait(self.sync.push(text.to_owned(), options)).expect("is pushed").state
    }

    fn texts(&self) -> Vec<String> {
        let blobs = wait(self.sync.pull(0, None)).expect("readable").blobs;
        blobs.iter().map(|blob| String::from_utf8(blob.payload.to_vec()).expect("text")).collect()
    }
}

/// A pairing's listener, and where to hear what it was told.
fn listener() -> (impl FnMut(PairingEvent) + Send, mpsc::Receiver<PairingEvent>) {
    let (told, hears) = mpsc::channel();
    (move |event| drop(told.send(event)), hears)
}

fn kind(event: &PairingEvent) -> String {
    serde_json::to_value(event).expect("serializes")["kind"].as_str().expect("a word").to_owned()
}

fn next(hears: &mpsc::Receiver<PairingEvent>) -> PairingEvent {
    hears.recv_timeout(PATIENCE).expect("there is more")
}

/// The digits on a screen, once they are there.
fn digits(hears: &mpsc::Receiver<PairingEvent>) -> String {
    loop {
        let event = next(hears);
        if let PairingEvent::Digits { digits, .. } = event {
            return digits;
        }
        assert!(["invite", "waiting"].contains(&kind(&event).as_str()), "{}", kind(&event));
    }
}

fn code<T>(result: Result<T, BridgeError>) -> ErrorCode {
    result.map(drop).expect_err("fails").code()
}

fn paired(relay: &TestRelay) -> [FrontEnd; 2] {
    let [phone, laptop] = ["phone", "laptop"].map(|name| FrontEnd::new(name, relay.backend()));
    let (listen, phone_hears) = listener();
    let invite = wait(phone.sync.create_invite(listen)).expect("is open");
    let (listen, laptop_hears) = listener();
    wait(laptop.sync.join(invite.code.expect("a relay answers"), listen)).expect("begins");
    let (there, here) = (digits(&phone_hears), digits(&laptop_hears));
    assert_eq!(there, here);
    wait(phone.sync.approve(there)).expect("is asked");
    wait(laptop.sync.approve(here)).expect("is asked");
    for hears in [phone_hears, laptop_hears] {
        assert_eq!([next(&hears), next(&hears)].map(|event| kind(&event)), ["approved", "joined"]);
    }
    [phone, laptop]
}

#[test]
fn two_front_ends_pair_and_what_one_pushes_the_other_hears_of_and_pulls() {
    let relay = TestRelay::start();
    let [phone, laptop] = paired(&relay);
    let (told, hears) = mpsc::channel();
    let _subscription = laptop.sync.subscribe(move |event| told.send(event).is_ok());

    assert_eq!(phone.push("hello", Wait::All), PushState::All);
    let sender = loop {
        let event = hears.recv_timeout(PATIENCE).expect("is told");
        if let Event::BlobAvailable { cursor: 1, sender, late: false, .. } = event {
            break sender;
        }
    };
    let status = wait(phone.sync.status()).expect("opens");
    assert_eq!(status.device_id.as_deref(), Some(sender.as_str()));
    assert_eq!(laptop.texts(), ["hello"]);
    wait(laptop.sync.ack(1)).expect("is there");
    assert_eq!(wait(laptop.sync.last_cursor()).expect("opens"), 1);
    assert_eq!(code(wait(laptop.sync.ack(2))), ErrorCode::CursorUnknown);

    let synced = wait(laptop.sync.sync_now(PATIENCE)).expect("a relay answers");
    assert_eq!((synced.badge, synced.pending, synced.unread), (Badge::Synced, 0, 0));
    let devices = wait(laptop.sync.devices()).expect("in a group");
    assert_eq!(devices.len(), 2);
    wait(laptop.sync.rename_device(sender, "Ann's phone".to_owned())).expect("is a member");
    eventually("the new name on the phone", || {
        wait(phone.sync.devices()).expect("in a group").iter().any(|device| device.name == "Ann's phone")
    });
}

#[test]
fn pair_is_a_whole_pairing_on_both_sides() {
    let relay = TestRelay::start();
    let [phone, laptop] = ["phone", "laptop"].map(|name| FrontEnd::new(name, relay.backend()));
    let (listen, phone_hears) = listener();
    let inviting = phone.sync.pair(PairRequest::Create, listen);
    let PairingEvent::Invite(invite) = next(&phone_hears) else { panic!("the invite comes first") };
    assert!(invite.link.starts_with("zerok://join#") && invite.qr_svg.is_some_and(|svg| svg.contains("<svg")));
    let (listen, laptop_hears) = listener();
    let joining = laptop.sync.pair(PairRequest::Join(invite.link), listen);
    let (there, here) = (digits(&phone_hears), digits(&laptop_hears));
    wait(phone.sync.approve(there)).expect("is asked");
    // As a screen shows them.
    wait(laptop.sync.approve(format!("{} {}", &here[..3], &here[3..]))).expect("is asked");
    let Joined { group_id, device_id, name } = wait(inviting).expect("is joined");
    assert_eq!(name.as_deref(), Some("laptop"));
    assert_eq!(wait(joining).expect("joins"), Joined { group_id, device_id, name: None });
}

#[test]
fn only_the_digits_that_are_shown_can_be_approved_and_a_second_pairing_ends_the_first() {
    let relay = TestRelay::start();
    let [phone, laptop] = ["phone", "laptop"].map(|name| FrontEnd::new(name, relay.backend()));
    assert_eq!(code(wait(phone.sync.approve("123456".to_owned()))), ErrorCode::InvalidArgument);
    let (listen, first) = listener();
    let invite = wait(phone.sync.create_invite(listen)).expect("is open");
    let (listen, laptop_hears) = listener();
    let joining = laptop.sync.pair(PairRequest::Join(invite.link), listen);
    let shown = digits(&first);
    let other = if shown == "000000" { "000001" } else { "000000" };
    assert_eq!(code(wait(phone.sync.approve(other.to_owned()))), ErrorCode::InvalidArgument);

    let (listen, second) = listener();
    wait(phone.sync.create_invite(listen)).expect("is open");
    let PairingEvent::Failed { code: ErrorCode::PairingDenied, .. } = next(&first) else { panic!("is over") };
    assert_eq!(code(wait(phone.sync.approve(shown))), ErrorCode::InvalidArgument, "they are no longer shown");
    assert_eq!(code(wait(joining)), ErrorCode::PairingDenied);
    drop(laptop_hears);
    phone.sync.deny();
    let heard: Vec<String> =
        std::iter::from_fn(|| second.recv_timeout(PATIENCE).ok()).map(|event| kind(&event)).collect();
    assert_eq!(heard, ["invite", "waiting", "failed"]);
}

#[test]
fn a_kit_brings_back_who_has_lost_every_device() {
    let relay = TestRelay::start();
    let [phone, tablet] = ["phone", "tablet"].map(|name| FrontEnd::new(name, relay.backend()));
    let kit = wait(phone.sync.export_kit()).expect("starts a group for it");
    assert!(kit.page.contains("<svg") && !kit.page.contains(&kit.code) && kit.qr_svg.is_some());
    let devices = wait(phone.sync.devices()).expect("in a group");
    let kits: Vec<_> = devices.iter().filter(|device| device.kit).map(|device| &device.device_id).collect();
    assert_eq!(kits, [&kit.device_id]);
    phone.push("kept", Wait::Local);
    wait(phone.sync.sync_now(PATIENCE)).expect("a relay answers");
    assert_eq!(code(wait(phone.sync.leave_group(false))), ErrorCode::NotSafeToLeave, "a kit is no other device");
    wait(phone.sync.close()).expect("closes");

    let import = |text: &str, code: &str| wait(tablet.sync.import_kit(text.to_owned(), code.to_owned()));
    assert_eq!(code(import(&kit.text[1..], &kit.code)), ErrorCode::InvalidKit);
    assert_eq!(code(import(&kit.text, "ABCD")), ErrorCode::InvalidKitCode);
    let member = import(&kit.text, &kit.code).expect("gets in");
    assert_ne!(member.device_id, kit.device_id);
    eventually("what there was", || tablet.texts() == ["kept"]);
    assert_eq!(code(import(&kit.text, &kit.code)), ErrorCode::AlreadyInGroup);
}

#[test]
fn a_profile_without_a_group_says_so_and_a_text_that_is_no_invite_is_refused() {
    let phone = FrontEnd::new("phone", Backend::default());
    let status = wait(phone.sync.status()).expect("opens");
    assert_eq!((status.badge, status.group_id, status.device_id), (Badge::Offline, None, None));
    assert_eq!(code(wait(phone.sync.push("x", PushOptions::default()))), ErrorCode::NoGroup);
    assert_eq!(code(wait(phone.sync.pull(0, None))), ErrorCode::NoGroup);
    assert_eq!(code(wait(phone.sync.connect())), ErrorCode::NoGroup);
    assert_eq!(std::fs::read_dir(phone.dir.path()).expect("readable").count(), 0, "and nothing was made for that");
    assert_eq!(code(wait(phone.sync.join("hello".to_owned(), |_| {}))), ErrorCode::InvalidCode);
    let made = wait(phone.sync.create_group()).expect("needs no relay");
    assert_eq!(wait(phone.sync.status()).expect("opens").group_id, Some(made.group_id));
    assert_eq!(code(wait(phone.sync.create_group())), ErrorCode::AlreadyInGroup);
    let renamed = phone.sync.rename_device("4f1c".to_owned(), "x".to_owned());
    assert_eq!(code(wait(renamed)), ErrorCode::InvalidArgument);
    assert_eq!(code(wait(phone.sync.rename_device("00".repeat(32), "x".to_owned()))), ErrorCode::DeviceUnknown);
    wait(phone.sync.close()).expect("closes");
    assert_eq!(code(wait(phone.sync.status())), ErrorCode::Closed);
}

#[test]
fn changing_the_backend_is_changing_one_value() {
    let relay = TestRelay::start();
    let phone = FrontEnd::new("phone", Backend::default());
    wait(phone.sync.create_group()).expect("needs no relay");
    phone.push("kept", Wait::Local);
    assert_eq!(code(wait(phone.sync.sync_now(PATIENCE))), ErrorCode::Offline);
    assert_eq!(code(wait(phone.sync.configure(Some(Backend::Iroh)))), ErrorCode::UnsupportedTier);
    let nowhere = Backend::Relay { relays: vec!["pigeons".to_owned()] };
    assert_eq!(code(wait(phone.sync.configure(Some(nowhere)))), ErrorCode::RelayUnknown);
    assert_eq!(wait(phone.sync.configure(None)).expect("readable").backend, Backend::default(), "nothing changed");
    let configured = wait(phone.sync.configure(Some(relay.backend()))).expect("is one");
    assert_eq!((configured.backend, configured.secrets.as_str()), (relay.backend(), "file"));
    assert_eq!(wait(phone.sync.sync_now(PATIENCE)).expect("a relay answers").badge, Badge::Synced);
}

#[test]
fn a_front_end_rests_and_wakes_unless_it_wants_to_be_offline() {
    let relay = TestRelay::start();
    let phone = FrontEnd::new("phone", relay.backend());
    wait(phone.sync.create_group()).expect("starts");
    wait(phone.sync.sync_now(PATIENCE)).expect("a relay answers");
    let connection = || wait(phone.sync.status()).expect("opens").connection;
    wait(phone.sync.rest(Duration::from_millis(500))).expect("rests");
    eventually("no connection", || connection() == Connection::Disconnected);
    phone.push("kept", Wait::Local);
    assert_eq!(connection(), Connection::Disconnected, "a push opens none");
    wait(phone.sync.wake()).expect("opens");
    eventually("a connection", || connection() == Connection::Connected);

    wait(phone.sync.disconnect()).expect("in a group");
    eventually("no connection", || connection() == Connection::Disconnected);
    wait(phone.sync.wake()).expect("opens");
    wait(phone.sync.sync_now(PATIENCE)).expect("a relay answers");
    eventually("none again", || connection() == Connection::Disconnected);
}

#[test]
fn a_flush_sends_what_waits_and_is_bounded_where_nobody_answers() {
    let relay = TestRelay::start();
    let [phone, laptop] = paired(&relay);
    wait(phone.sync.rest(PATIENCE)).expect("rests");
    phone.push("at the last moment", Wait::Local);
    wait(phone.sync.flush(PATIENCE)).expect("flushes");
    assert_eq!(wait(phone.sync.status()).expect("opens").pending, 0);
    eventually("it on the laptop", || laptop.texts() == ["at the last moment"]);

    relay.stop();
    phone.push("too late", Wait::Local);
    let started = Instant::now();
    wait(phone.sync.flush(Duration::from_millis(500))).expect("gives up");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(900), "{took:?}");
}

#[test]
fn a_sealed_profile_opens_with_its_passphrase_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let handle = |passphrase: Option<&str>| {
        let passphrase = passphrase.and_then(|text| Passphrase::new(text).ok().map(Arc::new));
        let sealed = settings(dir.path(), "phone", Backend::default());
        SyncHandle::new(Settings { passphrase, secrets: Some(SecretsChoice::EncryptedFile), ..sealed })
    };
    assert_eq!(code(wait(handle(None).create_group())), ErrorCode::WrongPassphrase);
    let phone = handle(Some("correct horse"));
    wait(phone.create_group()).expect("starts");
    wait(phone.push("sealed", PushOptions::default())).expect("is pushed");
    wait(phone.close()).expect("closes");
    assert_eq!(code(wait(handle(Some("battery staple")).pull(0, None))), ErrorCode::WrongPassphrase);
    let phone = handle(Some("correct horse"));
    assert_eq!(wait(phone.pull(0, None)).expect("opens").blobs[0].payload.as_ref(), b"sealed");
}

/// How many blobs the child below pushes before it is stopped.
const OWED: usize = 20;

/// The part a child process plays: an app that pushes and is stopped without a word.
#[test]
fn as_a_child_push_until_stopped() {
    let Some(dir) = std::env::var_os("SYNC_TEST_PUSH") else { return };
    let sync = SyncHandle::new(settings(Path::new(&dir), "phone", Backend::default()));
    wait(sync.create_group()).expect("starts");
    for number in 0..OWED {
        wait(sync.push(number.to_string(), PushOptions::default())).expect("is pushed");
    }
    println!("pushed");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn what_was_pushed_survives_sigterm_and_goes_out_later() {
    use std::io::BufRead as _;
    let relay = TestRelay::start();
    let phone = FrontEnd::new("phone", Backend::default());
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "as_a_child_push_until_stopped", "--nocapture"])
        .env("SYNC_TEST_PUSH", phone.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let said = std::io::BufReader::new(child.stdout.take().expect("is piped"));
    assert!(said.lines().any(|line| line.expect("text").contains("pushed")), "it pushed all of them");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let status = child.wait().expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "it had no last word: {status}");

    let expected: Vec<String> = (0..OWED).map(|number| number.to_string()).collect();
    assert_eq!(phone.texts(), expected);
    assert!(wait(phone.sync.status()).expect("opens").pending >= 20, "all of it is still owed");
    wait(phone.sync.configure(Some(relay.backend()))).expect("is one");
    let synced = wait(phone.sync.sync_now(PATIENCE)).expect("a relay answers");
    assert_eq!((synced.badge, synced.pending), (Badge::Synced, 0));
}
