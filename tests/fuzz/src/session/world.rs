//! The relay that the sessions are with, and who looks after each of them what is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use sync_core::keys::{DeviceKey, EpochSecret, RelayAuthKey};
use sync_relay::{Config, harness::Harness};
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, ErrorCode, FrameBuffer, LogId, RelayGroupId, RelayId, RelayMsg, RequestId,
    Run,
    limits::{PAGE_ROWS_MAX, PROTOCOL_VERSION},
    message::{Get, Hello, Move, Over, Pull, RowKind, features},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    runtime::Runtime,
    time::timeout,
};

use super::{
    device::{Device, Left},
    ids::IDS,
    step::{Flaw, Step},
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
    pub(super) lives: usize,
    harness: Harness,
    runtime: Runtime,
    _folder: TempDir,
}

/// A group on the relay, made for one life.
pub(super) struct Group {
    /// One for each of its ids.
    epochs: [EpochSecret; IDS],
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
        let epochs = std::array::from_fn(|id| {
            let mut seed = seed;
            seed[30] = u8::try_from(id).expect("few");
            EpochSecret::from_bytes(&seed)
        });
        Self { epochs, devices }
    }

    fn auth(&self, id: usize) -> RelayAuthKey {
        self.epochs[id].relay_auth(&RELAY)
    }

    /// What the relay knows it by.
    pub(super) fn id(&self, id: usize) -> RelayGroupId {
        self.auth(id).relay_group_id()
    }

    /// A MOVE, as it should be but for its flaw.
    pub(super) fn moving(&self, id: RequestId, to: usize, over: &[(usize, Bytes)], flaw: Flaw) -> Move {
        let device = &self.devices[usize::from(flaw == Flaw::Replayed)];
        let (new, ends) = (self.auth(to), (device, &RELAY, &EXPORTER));
        let group = new.relay_group_id();
        let over = over.iter().map(|(id, package)| {
            let old = self.auth(*id);
            let signs = if flaw == Flaw::Squatted { &new } else { &old };
            let signature = signs.sign_move(ends, &group, package).to_vec().into();
            Over { group: old.relay_group_id(), auth_public: old.public(), signature, package: package.clone() }
        });
        let signature =
            if flaw == Flaw::Unsigned { Bytes::new() } else { new.sign_move(ends, &group, &[]).to_vec().into() };
        Move {
            id,
            group,
            auth_public: new.public(),
            signature,
            over: over.collect::<Vec<_>>().into(),
            remaining: self.devices.to_vec().into(),
        }
    }

    /// A greeting by one of its ids, as it should be.
    pub(super) fn hello(&self, id: usize, device: &DeviceId) -> Hello {
        let auth = self.auth(id);
        Hello {
            version: PROTOCOL_VERSION,
            group: auth.relay_group_id(),
            auth_public: auth.public(),
            last_cursor: sync_types::RelayCursor::START,
            log_id: None,
            signature: auth.sign_hello(device, &RELAY, &EXPORTER).to_vec().into(),
            features: features::MOVE | features::SNAPSHOTS,
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
        config.storage.max_groups = 1_000_000;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let harness = runtime.block_on(Harness::open(config, RELAY)).expect("an empty folder");
        Self { lives: 0, harness, runtime, _folder: folder }
    }

    /// One device's life, and what it leaves behind.
    pub(super) fn live(&mut self, steps: Vec<Step>) {
        self.lives += 1;
        let group = Group::new(self.lives);
        let mut left = Left::default();
        for (id, steps) in sessions(steps) {
            let device = Device::new(&group, id, left);
            left = self.runtime.block_on(async {
                let (ours, theirs) = duplex(STREAM);
                let serving = self.harness.session(group.devices[0], EXPORTER, theirs);
                let (code, ()) = tokio::join!(serving, device.live(steps, ours));
                device.leave(code)
            });
        }
        let (mut logs, mut snapshots) = (BTreeMap::new(), BTreeMap::new());
        for id in left.ids.met.clone() {
            self.runtime.block_on(async {
                let (ours, theirs) = duplex(STREAM);
                let serving = self.harness.session(group.devices[1], EXPORTER, theirs);
                let (code, found) = tokio::join!(serving, look(&group, id, ours));
                match found {
                    Found::Log(log_id, log, manifests) => {
                        assert_eq!(code, 0, "who only reads is not sent away");
                        assert!(left.ids.may_live(id), "a log under an id that is over");
                        logs.insert(log_id, log);
                        snapshots.insert(log_id, manifests);
                    }
                    Found::Packages(packages) => {
                        assert_eq!(code, u64::from(ErrorCode::GroupMoved.number()));
                        left.ids.told(id, &packages);
                    }
                }
            });
        }
        compare(&left, &logs);
        compare_snapshots(&left, &snapshots);
    }
}

/// The steps of each session, and the id by which the device comes.
fn sessions(steps: Vec<Step>) -> Vec<(usize, Vec<Step>)> {
    let mut sessions = vec![(0, Vec::new())];
    for step in steps {
        if let Step::Again { id } = step {
            sessions.push((usize::from(id) % IDS, Vec::new()));
        } else {
            sessions.last_mut().expect("there is one").1.push(step);
        }
    }
    sessions
}

/// A log as another device reads it: each row's blob id and run.
type Log = BTreeMap<u64, (BlobId, Run)>;

/// What there is under an id.
enum Found {
    /// With the snapshots that the relay names.
    Log(LogId, Log, Vec<BlobId>),
    Packages(Vec<Bytes>),
}

async fn look(group: &Group, id: usize, mut stream: DuplexStream) -> Found {
    let (mut buffer, mut log, mut run) = (FrameBuffer::default(), Log::new(), Run::START);
    say(&mut stream, &group.hello(id, &group.devices[1]).into()).await;
    let answer = hear(&mut stream, &mut buffer).await;
    if let RelayMsg::Moved(moved) = answer {
        return Found::Packages(moved.packages.0);
    }
    let RelayMsg::Welcome(welcome) = answer else { panic!("a member is let in: {answer:?}") };
    assert_ne!(welcome.log_id, LogId::from_bytes([0; 16]));
    let RelayMsg::Snapshots(snapshots) = hear(&mut stream, &mut buffer).await else { panic!("they are told first") };
    for blob_id in &snapshots.manifests.0 {
        say(&mut stream, &Get { id: 2, blob_id: *blob_id }.into()).await;
        let RelayMsg::Got(got) = hear(&mut stream, &mut buffer).await else { panic!("what is named is there") };
        assert_eq!(BlobHash::of_bytes(&got.envelope).blob_id(), *blob_id);
    }
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
            assert!(log.values().all(|(other, _)| *other != blob_id), "a blob is in a log once");
            log.insert(log.len() as u64 + 1, (blob_id, run));
        }
    }
    Found::Log(welcome.log_id, log, snapshots.manifests.0)
}

/// Nothing was acknowledged that is not there, and nothing is there that was not pushed.
fn compare(left: &Left, logs: &BTreeMap<LogId, Log>) {
    let everywhere: BTreeSet<_> = logs.values().flat_map(Log::values).map(|(blob_id, _)| *blob_id).collect();
    for (log_id, acknowledged) in &left.acknowledged {
        for (cursor, row) in acknowledged {
            match logs.get(log_id) {
                Some(log) => assert_eq!(log.get(cursor), Some(row), "row {cursor} was acknowledged"),
                None => assert!(everywhere.contains(&row.0), "row {cursor} was in a log that became a part of another"),
            }
        }
    }
    if left.honest {
        let unknown = everywhere.iter().find(|blob_id| !left.pushed.contains(blob_id));
        assert_eq!(unknown, None, "nobody pushed this");
    }
}

/// The relay names those that were acknowledged last, and nothing that nobody published.
fn compare_snapshots(left: &Left, found: &BTreeMap<LogId, Vec<BlobId>>) {
    if !left.honest {
        return;
    }
    for (log_id, manifests) in found {
        assert!(manifests.iter().all(|manifest| left.published.contains(manifest)), "nobody published this");
        // What becomes of those of several logs is the store's suite's to say.
        let expected = left.kept.get(log_id).map_or(&[][..], |kept| kept);
        assert!(left.has_moved || manifests == expected, "{manifests:?} and not {expected:?}");
    }
}

async fn say(stream: &mut DuplexStream, message: &DeviceMsg) {
    stream.write_all(&message.to_frame()).await.expect("the relay listens");
}

async fn hear(stream: &mut DuplexStream, buffer: &mut FrameBuffer) -> RelayMsg {
    loop {
        if let Some(frame) = buffer.next_frame().expect("frames") {
            let message = understood(&RelayMsg::from_frame(&frame).expect("a message"));
            // Unasked: what others left who went another way.
            if !matches!(&message, RelayMsg::MoveAck(ack) if ack.id == 0) {
                return message;
            }
            continue;
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
