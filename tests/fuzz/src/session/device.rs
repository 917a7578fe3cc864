//! The device that says anything: it writes what the steps say, and holds the relay to its answers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, FrameBuffer, LogId, RelayCursor, RelayMsg, RequestId, Run,
    envelope::{HEADER_LEN, NONCE_LEN, SIGNATURE_LEN, TAG_LEN},
    limits::{BODY_LEN_MIN, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
    message::{Ack, Get, Hello, Page, Pull, Push, PushAck, Refused, RowKind},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split},
    sync::Notify,
    time::timeout,
};

use super::{
    step::{Shape, Step, Twist},
    world::{Group, NEVER, understood},
};

/// See the [module](self).
pub(super) struct Device<'a> {
    group: &'a Group,
    known: RefCell<Known>,
    /// Something was answered, or the relay has hung up.
    news: Notify,
}

/// What a session leaves behind.
pub(super) struct Left {
    /// By its place in the log.
    pub(super) acknowledged: BTreeMap<u64, (BlobId, Run)>,
    pub(super) pushed: BTreeSet<BlobId>,
    /// Nothing was said but what a device may say.
    pub(super) honest: bool,
}

/// What was asked, and what is known by the answers.
struct Known {
    last_id: RequestId,
    unanswered: BTreeMap<RequestId, Asked>,
    /// PULLs, which may be answered more than once: how far each has got, and its rows a page.
    pulls: BTreeMap<RequestId, (u64, usize)>,
    envelopes: Vec<Bytes>,
    own: BTreeSet<BlobId>,
    runs: BTreeMap<u64, Run>,
    left: Left,
    /// The greeting must not be accepted.
    outsider: bool,
    welcomed: bool,
    /// Where one frame ends and the next begins, the relay sees as we do.
    aligned: bool,
    /// What came last, if it refuses the connection, or a request whose id nobody could read.
    last_word: Option<Refused>,
    hung_up: bool,
}

enum Asked {
    Push(BlobId),
    Pull,
    Get(BlobId),
}

impl<'a> Device<'a> {
    pub(super) fn new(group: &'a Group) -> Self {
        let left = Left { acknowledged: BTreeMap::new(), pushed: BTreeSet::new(), honest: true };
        let known = Known {
            last_id: 0,
            unanswered: BTreeMap::new(),
            pulls: BTreeMap::new(),
            envelopes: Vec::new(),
            own: BTreeSet::new(),
            runs: BTreeMap::from([(0, Run::START)]),
            left,
            outsider: false,
            welcomed: false,
            aligned: true,
            last_word: None,
            hung_up: false,
        };
        Self { group, known: RefCell::new(known), news: Notify::new() }
    }

    /// The whole session.
    pub(super) async fn live(&self, steps: Vec<Step>, stream: DuplexStream) {
        let (receive, send) = split(stream);
        tokio::join!(self.write(steps, send), self.read(receive));
    }

    /// The session is over, and its connection closed with this code.
    pub(super) fn leave(self, code: u64) -> Left {
        let known = self.known.into_inner();
        let said = known.last_word.map(|refused| u64::from(refused.code));
        assert!(code == 0 || said == Some(code), "the connection ends with {code}, and {said:?} was said");
        assert!(code == 0 || !known.left.honest, "sent away for nothing: {code}");
        assert!(known.unanswered.is_empty() || !known.left.honest, "requests were not answered");
        known.left
    }

    async fn write(&self, steps: Vec<Step>, mut stream: WriteHalf<DuplexStream>) {
        let greets = matches!(steps.first(), Some(Step::Hello { .. }));
        let greeting = (!greets).then_some(Step::Hello { twist: Twist::None });
        let mut altered = None;
        for step in greeting.into_iter().chain(steps) {
            if let Step::Alter { at, with } = step {
                altered = Some((at, with));
                continue;
            }
            if matches!(step, Step::Settle) {
                self.settle().await;
                continue;
            }
            let bytes = self.known.borrow_mut().bytes(self.group, step, altered.take());
            if stream.write_all(&bytes).await.is_err() {
                break;
            }
        }
        if self.known.borrow().left.honest {
            self.settle().await;
        }
        // It may have hung up already.
        let _ = stream.shutdown().await;
    }

    /// Waits until everything is answered, or nothing will be any more.
    async fn settle(&self) {
        let settled = async {
            loop {
                let news = self.news.notified();
                if self.known.borrow().is_settled() {
                    return;
                }
                news.await;
            }
        };
        timeout(NEVER, settled).await.expect("every request is answered");
    }

    async fn read(&self, mut stream: ReadHalf<DuplexStream>) {
        let (mut buffer, mut bytes) = (FrameBuffer::default(), vec![0; 64 * 1024]);
        loop {
            let len = timeout(NEVER, stream.read(&mut bytes)).await.expect("a session ends").unwrap_or(0);
            if len == 0 {
                break;
            }
            buffer.extend(&bytes[..len]);
            while let Some(frame) = buffer.next_frame().expect("frames") {
                let message = understood(&RelayMsg::from_frame(&frame).expect("a message of the protocol"));
                self.known.borrow_mut().heard(message);
                self.news.notify_waiters();
            }
        }
        assert!(!buffer.is_mid_frame(), "the last word is a whole frame");
        self.known.borrow_mut().hung_up = true;
        self.news.notify_waiters();
    }
}

impl Known {
    /// What a step puts on the wire.
    fn bytes(&mut self, group: &Group, step: Step, altered: Option<(u16, u8)>) -> Vec<u8> {
        if let Step::Raw { kind, content } = step {
            self.left.honest = false;
            let len = u32::try_from(content.len() + 1).expect("a fuzzer's inputs are short");
            return [&len.to_be_bytes(), [kind].as_slice(), &content].concat();
        }
        if let Step::Bytes { bytes } = step {
            self.left.honest = false;
            self.aligned = false;
            return bytes;
        }
        let mut bytes = self.message(group, step).to_frame().to_vec();
        if let Some((at, with)) = altered.filter(|(_, with)| *with != 0) {
            let len = bytes.len();
            bytes[usize::from(at) % len] ^= with;
            self.left.honest = false;
            self.aligned = false;
            self.outsider = false;
        }
        bytes
    }

    fn message(&mut self, group: &Group, step: Step) -> DeviceMsg {
        match step {
            Step::Hello { twist } => self.hello(group, twist).into(),
            Step::Push { shape, age_s } => {
                let envelope = self.envelope(group, shape);
                self.push(envelope, age_s).into()
            }
            Step::PushAgain { which, age_s } => {
                let envelope = self.pushed(which).unwrap_or_default();
                self.push(envelope, age_s).into()
            }
            Step::Pull { after, limit, follow } => {
                let newest = || self.runs.last_key_value().map_or(0, |(cursor, _)| *cursor);
                let after = after.unwrap_or_else(newest);
                let run = self.runs.get(&after).copied().unwrap_or(Run::START);
                let id = self.ask(Asked::Pull);
                let rows = if limit == 0 { PAGE_ROWS_DEFAULT } else { limit.min(PAGE_ROWS_MAX) };
                self.pulls.insert(id, (after, rows as usize));
                Pull { id, after: RelayCursor::new(after), run, limit, follow }.into()
            }
            Step::Get { which } => {
                let envelope = which.and_then(|which| self.pushed(which)).unwrap_or_default();
                let blob_id = BlobHash::of_bytes(&envelope).blob_id();
                let id = self.ask(Asked::Get(blob_id));
                Get { id, blob_id }.into()
            }
            Step::Ack { cursor } => Ack { cursor: RelayCursor::new(cursor) }.into(),
            Step::Settle | Step::Alter { .. } | Step::Raw { .. } | Step::Bytes { .. } => {
                unreachable!("these are no messages")
            }
        }
    }

    /// No answer is to come any more, or none that could be told apart.
    fn is_settled(&self) -> bool {
        self.hung_up || !self.aligned || self.unanswered.is_empty()
    }

    fn ask(&mut self, what: Asked) -> RequestId {
        self.last_id += 1;
        self.unanswered.insert(self.last_id, what);
        self.last_id
    }

    fn hello(&mut self, group: &Group, twist: Twist) -> Hello {
        let good = group.hello(&group.devices[0]);
        let hello = match twist {
            Twist::None => good.clone(),
            Twist::KnownLog { log, cursor } => Hello {
                log_id: Some(LogId::from_bytes([log; LogId::LEN])),
                last_cursor: RelayCursor::new(cursor),
                ..good.clone()
            },
            Twist::Version { version } => Hello { version, ..good.clone() },
            Twist::Replayed => Hello { signature: group.hello(&group.devices[1]).signature, ..good.clone() },
            Twist::Squatted => Hello { group: sync_types::RelayGroupId::from_bytes([1; 32]), ..good.clone() },
            Twist::Cut { len } => {
                let signature = good.signature.slice(..usize::from(len).min(good.signature.len()));
                Hello { signature, ..good.clone() }
            }
        };
        let proves = |hello: &Hello| (hello.version, hello.group, hello.signature.clone());
        let bad = proves(&hello) != proves(&good);
        // A second greeting is no greeting.
        if bad || self.left_greeting() {
            self.left.honest = false;
        }
        self.outsider |= bad && !self.welcomed && self.last_id == 0 && self.aligned;
        self.last_id += 1;
        hello
    }

    /// Whether anything was said before.
    fn left_greeting(&self) -> bool {
        self.last_id > 0
    }

    fn pushed(&self, which: u8) -> Option<Bytes> {
        let len = self.envelopes.len();
        (len > 0).then(|| self.envelopes[usize::from(which) % len].clone())
    }

    fn push(&mut self, envelope: Bytes, age_s: u32) -> Push {
        let blob_id = BlobHash::of_bytes(&envelope).blob_id();
        self.left.pushed.insert(blob_id);
        let id = self.ask(Asked::Push(blob_id));
        Push { id, age_s, envelope }
    }

    fn envelope(&mut self, group: &Group, shape: Shape) -> Bytes {
        let sender: &DeviceId = &group.devices[usize::from(!shape.own)];
        let mut bytes = vec![shape.version.unwrap_or(1), 1, shape.kind % 6];
        bytes.extend([0; 4 + 16]);
        bytes.extend(sender.as_bytes());
        bytes.extend(shape.ttl_s.to_be_bytes());
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&(self.envelopes.len() as u64).to_be_bytes());
        bytes.extend(nonce);
        let least = isize::try_from(HEADER_LEN + BODY_LEN_MIN + TAG_LEN + SIGNATURE_LEN).expect("a few hundred");
        let len = least.saturating_add(4 * isize::from(shape.more));
        bytes.resize(usize::try_from(len).unwrap_or(0), 7);
        let bytes = Bytes::from(bytes);
        self.envelopes.push(bytes.clone());
        if shape.own {
            self.own.insert(BlobHash::of_bytes(&bytes).blob_id());
        }
        bytes
    }

    /// An answer came.
    fn heard(&mut self, message: RelayMsg) {
        self.last_word = None;
        match message {
            RelayMsg::Welcome(welcome) => {
                assert!(!self.outsider, "a stranger was let in");
                assert!(!std::mem::replace(&mut self.welcomed, true), "welcomed twice");
                assert_eq!((welcome.max_cursor.get(), welcome.pending_count), (0, 0), "the group is new");
            }
            RelayMsg::PushAck(ack) => self.acknowledged(&ack),
            RelayMsg::Page(page) => self.page(page),
            RelayMsg::Gap(_) => panic!("nothing has left the log"),
            RelayMsg::Got(got) => {
                let blob_id = BlobHash::of_bytes(&got.envelope).blob_id();
                if let Some(Asked::Get(asked)) = self.unanswered.remove(&got.id) {
                    assert!(asked == blob_id || !self.left.honest, "another envelope than was asked for");
                }
            }
            RelayMsg::Presence(_) | RelayMsg::Moved(_) | RelayMsg::MoveAck(_) => {
                panic!("it did not say that it understands that")
            }
            RelayMsg::Notify(notify) => assert!(notify.cursor > RelayCursor::START),
            RelayMsg::Refused(refused) if refused.id == 0 => self.last_word = Some(refused),
            RelayMsg::Refused(refused) => {
                self.unanswered.remove(&refused.id);
            }
        }
    }

    fn acknowledged(&mut self, ack: &PushAck) {
        let is = (ack.blob_id, ack.run);
        let was = self.left.acknowledged.insert(ack.cursor.get(), is);
        assert!(was.is_none_or(|was| was == is), "one row for two envelopes");
        self.known_run(ack.cursor.get(), ack.run);
        if let Some(Asked::Push(asked)) = self.unanswered.remove(&ack.id) {
            assert!(asked == ack.blob_id || !self.left.honest, "another envelope than was pushed");
        }
    }

    fn page(&mut self, page: Page) {
        self.unanswered.remove(&page.id);
        let Some((after, rows_max)) = self.pulls.get_mut(&page.id).filter(|_| self.left.honest) else { return };
        assert_eq!(page.after.get(), *after, "pages are contiguous");
        assert!(page.rows.0.len() <= *rows_max, "more rows than were asked for");
        *after += page.rows.0.len() as u64;
        let mut cursor = page.after.get();
        for row in &page.rows.0 {
            let blob_id = match RowKind::from_number(row.kind).expect("a kind of row") {
                RowKind::Blob => BlobHash::of_bytes(&row.bytes).blob_id(),
                RowKind::Expired => BlobId::from_slice(&row.bytes).expect("an id"),
                RowKind::Yours => {
                    let blob_id = BlobId::from_slice(&row.bytes).expect("an id");
                    assert!(self.own.contains(&blob_id), "not this device's");
                    blob_id
                }
            };
            let run = self.runs.get(&cursor).map(|run| run.then(&blob_id));
            cursor += 1;
            if let Some(run) = run {
                self.known_run(cursor, run);
            }
        }
        assert!(page.max_cursor.get() >= cursor);
    }

    fn known_run(&mut self, cursor: u64, run: Run) {
        let was = self.runs.insert(cursor, run);
        assert!(was.is_none_or(|was| was == run), "two runs at row {cursor}");
    }
}
