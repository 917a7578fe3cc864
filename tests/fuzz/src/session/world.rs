//! The relay that the sessions are with, and who looks after each of them what is left.

use std::{collections::BTreeMap, time::Duration};

use sync_core::keys::{DeviceKey, EpochSecret};
use sync_relay::{Config, harness::Harness};
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, ErrorCode, FrameBuffer, LogId, RelayId, RelayMsg, Run,
    limits::{PAGE_ROWS_MAX, PROTOCOL_VERSION},
    message::{Hello, Pull, RowKind},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::Runtime,
    time::timeout,
};

use super::{
    device::{Device, Left},
    step::Step,
};

/// Longer than any answer takes on any machine: what takes longer does not come.
pub(super) const NEVER: Duration = Duration::from_secs(60);
/// Bytes on their way in either direction.
const STREAM: usize = 64 * 1024;
/// What a connection's TLS session would say.
pub(super) const EXPORTER: [u8; 32] = [6; 32];
pub(super) const RELAY: RelayId = RelayId::from_bytes([5; 32]);

/// A relay, and how often it was used.
pub(super) struct World {
    pub(super) sessions: usize,
    harness: Harness,
    runtime: Runtime,
    _folder: TempDir,
}

/// A group on the relay, made for one session.
pub(super) struct Group {
    epoch: EpochSecret,
    /// The device that is tried, and the one that looks afterwards.
    pub(super) devices: [DeviceId; 2],
}

impl Group {
    fn new(n: usize) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let devices = [1, 2].map(|device| {
            let mut seed = seed;
            seed[31] = device;
            DeviceKey::from_seed(&seed).device_id()
        });
        Self { epoch: EpochSecret::from_bytes(&seed), devices }
    }

    /// A greeting as it should be.
    pub(super) fn hello(&self, device: &DeviceId) -> Hello {
        let auth = self.epoch.relay_auth(&RELAY);
        Hello {
            version: PROTOCOL_VERSION,
            group: auth.relay_group_id(),
            auth_public: auth.public(),
            last_cursor: sync_types::RelayCursor::START,
            log_id: None,
            signature: auth.sign_hello(device, &RELAY, &EXPORTER).to_vec().into(),
            features: 0,
        }
    }
}

impl World {
    pub(super) fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::default();
        config.storage.data_dir = folder.path().to_owned();
        // Small enough to be met, but for those that would make one session depend on another.
        config.storage.max_blob_size = 16 * 1024;
        config.storage.max_group_storage = 64 * 1024;
        config.limits.messages_burst = 48;
        config.limits.messages_per_minute = 1;
        config.limits.groups_per_ip_hour = 1_000_000_000;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let harness = runtime.block_on(Harness::open(config, RELAY)).expect("an empty folder");
        Self { sessions: 0, harness, runtime, _folder: folder }
    }

    /// One device's session, and what it leaves behind.
    pub(super) fn session(&mut self, steps: Vec<Step>) {
        self.sessions += 1;
        let group = Group::new(self.sessions);
        let device = Device::new(&group);
        let left = self.runtime.block_on(async {
            let (ours, theirs) = duplex(STREAM);
            let serving = self.harness.session(group.devices[0], EXPORTER, theirs);
            let (code, ()) = tokio::join!(serving, device.live(steps, ours));
            device.leave(code)
        });
        self.runtime.block_on(async {
            let (ours, theirs) = duplex(STREAM);
            let serving = self.harness.session(group.devices[1], EXPORTER, theirs);
            let (code, log) = tokio::join!(serving, read_log(&group, ours));
            assert_eq!(code, 0, "who only reads is not sent away");
            compare(&left, &log);
        });
    }
}

/// A log as another device reads it: each row's blob id and run.
type Log = BTreeMap<u64, (BlobId, Run)>;

async fn read_log(group: &Group, mut stream: DuplexStream) -> Log {
    let (mut buffer, mut log, mut run) = (FrameBuffer::default(), Log::new(), Run::START);
    say(&mut stream, &group.hello(&group.devices[1]).into()).await;
    let RelayMsg::Welcome(welcome) = hear(&mut stream, &mut buffer).await else { panic!("a member is let in") };
    assert_ne!(welcome.log_id, LogId::from_bytes([0; 16]));
    while (log.len() as u64) < welcome.max_cursor.get() {
        let after = sync_types::RelayCursor::new(log.len() as u64);
        say(&mut stream, &Pull { id: 1, after, run, limit: PAGE_ROWS_MAX, follow: false }.into()).await;
        let RelayMsg::Page(page) = hear(&mut stream, &mut buffer).await else { panic!("the rows are there") };
        assert!(page.after == after && !page.rows.0.is_empty(), "pages are contiguous, and one row always fits");
        for row in page.rows.0 {
            let blob_id = match RowKind::from_number(row.kind) {
                Some(RowKind::Blob) => BlobHash::of_bytes(&row.bytes).blob_id(),
                Some(RowKind::Expired) => BlobId::from_slice(&row.bytes).expect("an id"),
                Some(RowKind::Yours) | None => panic!("this device pushed nothing"),
            };
            run = run.then(&blob_id);
            log.insert(log.len() as u64 + 1, (blob_id, run));
        }
    }
    log
}

/// Nothing was acknowledged that is not there, and nothing is there that was not pushed.
fn compare(left: &Left, log: &Log) {
    for (cursor, acknowledged) in &left.acknowledged {
        assert_eq!(log.get(cursor), Some(acknowledged), "row {cursor} was acknowledged");
    }
    if left.honest {
        let unknown = log.values().find(|(blob_id, _)| !left.pushed.contains(blob_id));
        assert_eq!(unknown, None, "nobody pushed this");
    }
}

async fn say(stream: &mut DuplexStream, message: &DeviceMsg) {
    stream.write_all(&message.to_frame()).await.expect("the relay listens");
}

async fn hear(stream: &mut DuplexStream, buffer: &mut FrameBuffer) -> RelayMsg {
    loop {
        if let Some(frame) = buffer.next_frame().expect("frames") {
            return understood(&RelayMsg::from_frame(&frame).expect("a message"));
        }
        let mut bytes = vec![0; STREAM];
        let len = timeout(NEVER, stream.read(&mut bytes)).await.expect("an answer comes").expect("it is open");
        assert!(len > 0, "the relay hung up on a member");
        buffer.extend(&bytes[..len]);
    }
}

/// A message that a relay may send: what it refuses, it refuses for a reason that is one, and not for its own defects.
pub(super) fn understood(message: &RelayMsg) -> RelayMsg {
    if let RelayMsg::Refused(refused) = message {
        let code = ErrorCode::from_number(refused.code);
        assert!(code.is_some_and(|code| code.number() < 100), "{refused:?} is no word of a relay's");
        let own = [Some(ErrorCode::Internal), Some(ErrorCode::ShuttingDown)];
        assert!(!own.contains(&code), "{refused:?} is the relay's own fault");
    }
    message.clone()
}
