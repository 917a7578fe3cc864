//! What the loop does when the disk fails under it.

use bytes::Bytes;
use sync_core::{
    Badge,
    event::{PushState, Pushed, Token, Wait},
    keys::DeviceKem,
    roster::{Genesis, Profile},
};
use sync_types::{DeviceId, LocalCursor, LocalLogId};
use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::{
    random::rng,
    secrets::SecretsChoice,
    status::without_group,
    store::{Membership, ProfileRow, SqliteStore},
};

/// A driver on a real database, with a relay that never answers.
struct Rig {
    store: Arc<SqliteStore>,
    commands: mpsc::Sender<Command>,
    shown: watch::Sender<Shown>,
    last_token: Token,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let lock = Arc::new(ProfileLock::take(dir.path()).await.expect("nobody has it"));
        let store = Arc::new(SqliteStore::open(dir.path(), true).await.expect("opens"));
        let (device, kem, keys) =
            (DeviceKey::generate(&mut rng()), DeviceKem::generate(&mut rng()), GroupKeys::generate(&mut rng()));
        let profile = ProfileRow {
            profile_id: random(),
            local_log_id: LocalLogId::from_bytes(random()),
            name: "phone".to_owned(),
            app_id: "org.example.app".to_owned(),
            secrets: SecretsChoice::File,
            membership: None,
        };
        store.create_profile(&profile, &["http://127.0.0.1:9".to_owned()], &[]).await.expect("a fresh store");
        let described = Profile::new("phone", "linux", "org.example.app").expect("short enough");
        let entry = Genesis::create(&keys.group_id(), (&device, &kem), &described, 0);
        let membership = Membership { group: keys.group_id(), device: device.device_id() };
        store.enter_group(membership, &[StoreOp::Roster { entry }]).await.expect("a fresh store");

        let shown = watch::Sender::new(Shown::new(without_group(), &Routes::default()));
        let parts = Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            resolver: Resolver::new(crate::resolve::http_client().expect("builds")),
            device_id: device.device_id(),
            device_key: Arc::new(device),
            kem: Arc::new(kem),
            current: watch::Sender::new(Current { device_id: membership.device, keys: Arc::new(keys.share()) }),
            keys: Arc::new(keys),
            rotate_after: None,
            snapshot_after: None,
            snapshot_after_bytes: None,
            keep_for: Duration::ZERO,
            keep_bytes: 0,
            online: false,
            shown: shown.clone(),
            events: broadcast::Sender::new(64),
            lock,
        };
        let (commands, receiver) = mpsc::channel(64);
        tokio::spawn(Driver::open(parts, receiver).await.expect("opens").run());
        Self { store, commands, shown, last_token: 0, _dir: dir }
    }

    /// Begins a push of many bytes.
    async fn push(&mut self, wait: Wait) -> (Token, oneshot::Receiver<Result<Pushed, ErrorCode>>) {
        self.last_token += 1;
        let token = self.last_token;
        let room = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open");
        let (answer, answered) = oneshot::channel();
        let payload = Bytes::from(vec![7; 200_000]);
        self.commands.send(Command::Push { token, payload, ttl_s: 0, wait, answer, room }).await.expect("runs");
        (token, answered)
    }

    /// Pages the database may have.
    async fn limit(&self, pages: u32) {
        self.store.execute(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).await;
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_pushes_it_has_no_room_for_and_nobody_elses() {
    let mut rig = Rig::new().await;
    let (_, before) = rig.push(Wait::Relay).await;
    let (_, stored) = rig.push(Wait::Local).await;
    let stored = stored.await.expect("an answer").expect("there is room");

    rig.limit(150).await;
    let (_, too_much) = rig.push(Wait::Local).await;
    let (_, again) = rig.push(Wait::Local).await;
    assert_eq!(too_much.await.expect("an answer"), Err(ErrorCode::LocalFull));
    assert_eq!(again.await.expect("an answer"), Err(ErrorCode::LocalFull));
    let before = before.await.expect("an answer").expect("was stored before");
    assert_eq!((before.state, before.cursor.get()), (PushState::Queued, 1));
    assert_eq!(rig.shown.borrow().status.badge, Badge::Failed);

    rig.limit(1_000_000).await;
    let after = loop {
        let (_, push) = rig.push(Wait::Local).await;
        match push.await.expect("an answer") {
            Ok(pushed) => break pushed,
            Err(code) => assert_eq!(code, ErrorCode::LocalFull),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(after.cursor, stored.cursor.next(), "what failed left no hole");
    let log = rig.store.log(LocalCursor::START, 10, usize::MAX).await.expect("readable");
    assert_eq!(log.len(), 3);
    assert_ne!(rig.shown.borrow().status.badge, Badge::Failed);
}

#[tokio::test]
async fn who_decides_something_is_told_if_that_came_to_nothing() {
    let rig = Rig::new().await;
    let before = rig.store.load().await.expect("readable").roster;
    let (answer, answered) = oneshot::channel();
    let input = Box::new(Input::Rename { device: DeviceId::from_bytes([7; 32]), name: "nobody's".to_owned() });
    rig.commands.send(Command::Decide { input, answer }).await.expect("runs");
    assert_eq!(answered.await.expect("an answer"), Err(ErrorCode::DeviceUnknown));
    assert_eq!(rig.store.load().await.expect("readable").roster, before);
}

#[tokio::test]
async fn who_gives_up_is_answered_and_the_blob_stays() {
    let mut rig = Rig::new().await;
    let (token, answer) = rig.push(Wait::All).await;
    rig.commands.send(Command::GiveUp { token }).await.expect("runs");
    let pushed = answer.await.expect("an answer").expect("is queued");
    assert_eq!(pushed.state, PushState::Queued);
    assert_eq!(rig.store.cursors().await.expect("readable").0, pushed.cursor);
}

#[tokio::test]
async fn closing_answers_everybody() {
    let mut rig = Rig::new().await;
    let (_, waiting) = rig.push(Wait::All).await;
    rig.commands.send(Command::Close).await.expect("runs");
    assert_eq!(waiting.await.expect("an answer").expect("is queued").state, PushState::Queued);
    rig.commands.closed().await;
    assert_eq!(rig.shown.borrow().status.badge, Badge::Offline);
}
