//! The device that says anything: it writes what the steps say, and holds the relay to its answers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use sync_types::{
    BlobHash, BlobId, DeviceId, DeviceMsg, ErrorCode, FrameBuffer, Kind, LogId, RelayCursor, RelayMsg, RequestId, Run,
    envelope::{HEADER_LEN, NONCE_LEN, SIGNATURE_LEN, TAG_LEN},
    limits::{BODY_LEN_MIN, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, SNAPSHOTS_KEPT},
    message::{
        Ack, Get, Hello, MoveAck, Page, Pull, Push, PushAck, Receipt, Refused, RowKind, Snapshot, SnapshotPart,
        features,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, split},
    sync::Notify,
    time::timeout,
};

use super::{
    ids::{IDS, Ids},
    step::{Flaw, Shape, Step, Twist},
    world::{Group, NEVER, understood},
};

/// Kinds of envelopes, and one that is none.
const KINDS: u8 = 6;
/// MOVEs that a relay takes before a greeting.
const EARLY_MOVES_MAX: usize = 8;

/// See the [module](self).
pub(super) struct Device<'a> {
    group: &'a Group,
    /// Which of the group's ids it comes by.
    id: usize,
    known: RefCell<Known>,
    /// Something was answered, or the relay has hung up.
    news: Notify,
}

/// What sessions leave behind.
pub(super) struct Left {
    /// By its place in each log.
    pub(super) acknowledged: BTreeMap<LogId, BTreeMap<u64, (BlobId, Run)>>,
    pub(super) pushed: BTreeSet<BlobId>,
    /// Manifests, acknowledged or not.
    pub(super) published: BTreeSet<BlobId>,
    /// Those that each log should have by what was acknowledged, the newest last.
    pub(super) kept: BTreeMap<LogId, Vec<BlobId>>,
    /// A MOVE was said.
    pub(super) has_moved: bool,
    pub(super) ids: Ids,
    /// Nothing was said but what a device may say.
    pub(super) honest: bool,
}

impl Default for Left {
    fn default() -> Self {
        Self {
            acknowledged: BTreeMap::new(),
            pushed: BTreeSet::new(),
            published: BTreeSet::new(),
            kept: BTreeMap::new(),
            has_moved: false,
            ids: Ids::default(),
            honest: true,
        }
    }
}

/// What was asked, and what is known by the answers.
struct Known {
    last_id: RequestId,
    unanswered: BTreeMap<RequestId, Asked>,
    /// PULLs, which may be answered more than once: how far each has got, and its rows a page.
    pulls: BTreeMap<RequestId, (u64, usize)>,
    envelopes: Vec<Bytes>,
    /// Parts of snapshots that were sent.
    parts: Vec<BlobId>,
    /// It said that it understands snapshots.
    understands: bool,
    /// It was told which there are.
    listed: bool,
    own: BTreeSet<BlobId>,
    runs: BTreeMap<u64, Run>,
    left: Left,
    /// In this session nothing was said but what a device may say.
    honest: bool,
    greeted: bool,
    /// MOVEs before the greeting.
    early: usize,
    /// The greeting must not be accepted.
    outsider: bool,
    /// The log that it was welcomed to.
    log: Option<LogId>,
    /// It was told what is left at the id that it came by, or that this is over.
    moved: bool,
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
    Move,
    Receipt,
    Part,
    /// A manifest, the row up to which it covers, and the run there as far as it is known.
    Snapshot(BlobId, u64, Run),
}

impl<'a> Device<'a> {
    pub(super) fn new(group: &'a Group, id: usize, mut left: Left) -> Self {
        left.ids.met.insert(id);
        let known = Known {
            last_id: 0,
            unanswered: BTreeMap::new(),
            pulls: BTreeMap::new(),
            envelopes: Vec::new(),
            parts: Vec::new(),
            understands: false,
            listed: false,
            own: BTreeSet::new(),
            runs: BTreeMap::from([(0, Run::START)]),
            left,
            honest: true,
            greeted: false,
            early: 0,
            outsider: false,
            log: None,
            moved: false,
            aligned: true,
            last_word: None,
            hung_up: false,
        };
        Self { group, id, known: RefCell::new(known), news: Notify::new() }
    }

    /// The whole session.
    pub(super) async fn live(&self, steps: Vec<Step>, stream: DuplexStream) {
        let (receive, send) = split(stream);
        tokio::join!(self.write(steps, send), self.read(receive));
    }

    /// The session is over, and its connection closed with this code.
    pub(super) fn leave(self, code: u64) -> Left {
        let mut known = self.known.into_inner();
        known.left.ids.close(&|id| self.group.id(id));
        let moved = u64::from(ErrorCode::GroupMoved.number());
        let said = known.last_word.map(|refused| u64::from(refused.code)).or(known.moved.then_some(moved));
        assert!(code == 0 || said == Some(code), "the connection ends with {code}, and {said:?} was said");
        let ids = &known.left.ids;
        let is_over = ids.doubtful || ids.is_over(self.id);
        assert!(is_over || !known.moved, "the id is not over");
        assert!(code == 0 || !known.honest || (code == moved && is_over), "sent away for nothing: {code}");
        assert!(known.unanswered.is_empty() || !known.honest || is_over, "requests were not answered");
        let may_stay = !known.honest || known.log.is_none() || ids.may_live(self.id);
        assert!(may_stay || code == moved, "it was not told that the id is over");
        known.left.honest &= known.honest;
        known.left
    }

    async fn write(&self, steps: Vec<Step>, mut stream: WriteHalf<DuplexStream>) {
        // MOVEs may come before it.
        let greets = steps.iter().find(|step| !matches!(step, Step::Move { .. } | Step::Settle));
        let greets = matches!(greets, Some(Step::Hello { .. }));
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
            let bytes = self.known.borrow_mut().bytes((self.group, self.id), step, altered.take());
            if stream.write_all(&bytes).await.is_err() {
                break;
            }
        }
        if self.known.borrow().honest {
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
                self.known.borrow_mut().heard((self.group, self.id), message);
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
    fn bytes(&mut self, group: (&Group, usize), step: Step, altered: Option<(u16, u8)>) -> Vec<u8> {
        if let Step::Raw { kind, content } = step {
            self.honest = false;
            let len = u32::try_from(content.len() + 1).expect("a fuzzer's inputs are short");
            return [&len.to_be_bytes(), [kind].as_slice(), &content].concat();
        }
        if let Step::Bytes { bytes } = step {
            self.honest = false;
            self.aligned = false;
            return bytes;
        }
        let message = self.message(group, step);
        let mut bytes = message.to_frame().to_vec();
        if let Some((at, with)) = altered.filter(|(_, with)| *with != 0) {
            let len = bytes.len();
            bytes[usize::from(at) % len] ^= with;
            self.left.ids.doubtful |= matches!(message, DeviceMsg::Move(_));
            self.honest = false;
            self.aligned = false;
            self.outsider = false;
        }
        bytes
    }

    fn message(&mut self, (group, group_id): (&Group, usize), step: Step) -> DeviceMsg {
        match step {
            Step::Hello { twist } => self.hello(group, group_id, twist).into(),
            Step::Move { to, over, flaw } => {
                self.early += usize::from(!self.greeted);
                self.left.has_moved = true;
                // Later ones are neither read nor answered.
                self.honest &= self.greeted || self.early <= EARLY_MOVES_MAX;
                let to = usize::from(to) % IDS;
                let is_over = |id: &usize| (over >> id) & 1 == 1 && (*id != to || flaw == Flaw::OntoItself);
                let over: Vec<_> =
                    (0..IDS).filter(is_over).map(|id| (id, Bytes::from(format!("{id} to {to}")))).collect();
                let good = match flaw {
                    Flaw::None => true,
                    Flaw::Unsigned | Flaw::Replayed => false,
                    Flaw::Squatted => over.is_empty(),
                    Flaw::OntoItself => over.iter().all(|(id, _)| *id != to),
                };
                let id = self.ask(Asked::Move);
                let moving = group.moving(id, to, &over, flaw);
                self.left.ids.ask(id, to, over, good);
                moving.into()
            }
            Step::Push { shape, age_s } => {
                let envelope = self.envelope(group, shape);
                if shape.kind % KINDS == Kind::Receipt as u8 {
                    // That kind is in no log.
                    let id = self.ask(Asked::Receipt);
                    return Receipt { id, envelope }.into();
                }
                if shape.kind % KINDS == Kind::Snapshot as u8 {
                    // Nor is this one.
                    self.parts.push(BlobHash::of_bytes(&envelope).blob_id());
                    let id = self.ask(Asked::Part);
                    return SnapshotPart { id, envelope }.into();
                }
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
            Step::Publish { shape, parts, covers } => {
                let envelope = self.envelope(group, Shape { kind: Kind::Snapshot as u8, ..shape });
                let newest = self.runs.last_key_value().map_or(0, |(cursor, _)| *cursor);
                let covers = covers.unwrap_or(newest);
                let run = self.runs.get(&covers).copied().unwrap_or(Run::START);
                let blob_id = BlobHash::of_bytes(&envelope).blob_id();
                self.left.published.insert(blob_id);
                let parts: Vec<_> = self.parts.iter().rev().take(usize::from(parts % 4)).copied().collect();
                let id = self.ask(Asked::Snapshot(blob_id, covers, run));
                Snapshot { id, envelope, parts: parts.into(), covers: RelayCursor::new(covers), run }.into()
            }
            Step::Ack { cursor } => Ack { cursor: RelayCursor::new(cursor) }.into(),
            Step::Settle | Step::Alter { .. } | Step::Raw { .. } | Step::Bytes { .. } | Step::Again { .. } => {
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

    fn hello(&mut self, group: &Group, id: usize, twist: Twist) -> Hello {
        let good = group.hello(id, &group.devices[0]);
        let hello = match twist {
            Twist::None => good.clone(),
            Twist::KnownLog { log, cursor } => Hello {
                log_id: Some(LogId::from_bytes([log; LogId::LEN])),
                last_cursor: RelayCursor::new(cursor),
                ..good.clone()
            },
            Twist::Version { version } => Hello { version, ..good.clone() },
            Twist::Replayed => Hello { signature: group.hello(id, &group.devices[1]).signature, ..good.clone() },
            Twist::Squatted => Hello { group: sync_types::RelayGroupId::from_bytes([1; 32]), ..good.clone() },
            Twist::Cut { len } => {
                let signature = good.signature.slice(..usize::from(len).min(good.signature.len()));
                Hello { signature, ..good.clone() }
            }
            Twist::Older => Hello { features: 0, ..good.clone() },
        };
        let proves = |hello: &Hello| (hello.version, hello.group, hello.signature.clone());
        let bad = proves(&hello) != proves(&good);
        // A second greeting is no greeting.
        if bad || self.greeted {
            self.honest = false;
        }
        self.outsider |= bad && !self.greeted && self.log.is_none() && self.aligned;
        if !self.greeted {
            self.understands = hello.features & features::SNAPSHOTS != 0;
        }
        self.greeted = true;
        self.last_id += 1;
        hello
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
        let mut bytes = vec![shape.version.unwrap_or(1), 1, shape.kind % KINDS];
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
    fn heard(&mut self, (group, group_id): (&Group, usize), message: RelayMsg) {
        self.last_word = None;
        match message {
            RelayMsg::Welcome(welcome) => {
                assert!(!self.outsider, "a stranger was let in");
                assert!(self.left.ids.may_live(group_id), "let in by an id that is over");
                assert_eq!(self.log.replace(welcome.log_id), None, "welcomed twice");
                let known = self.left.acknowledged.get(&welcome.log_id).and_then(|known| known.last_key_value());
                assert!(known.is_none_or(|(cursor, _)| *cursor <= welcome.max_cursor.get()), "rows are gone");
            }
            RelayMsg::Moved(moved) => {
                assert!(!self.outsider && self.log.is_none(), "a stranger was told");
                self.left.ids.told(group_id, &moved.packages.0);
                self.moved = true;
            }
            RelayMsg::MoveAck(ack) => self.moved(group, ack),
            RelayMsg::PushAck(ack) => self.acknowledged(&ack),
            RelayMsg::Page(page) => self.page(page),
            RelayMsg::Gap(_) => panic!("nothing has left the log"),
            RelayMsg::Got(got) => {
                let blob_id = BlobHash::of_bytes(&got.envelope).blob_id();
                if let Some(Asked::Get(asked)) = self.unanswered.remove(&got.id) {
                    assert!(asked == blob_id || !self.honest, "another envelope than was asked for");
                }
            }
            RelayMsg::Presence(_) | RelayMsg::Receipts(_) => panic!("it did not say that it understands that"),
            RelayMsg::ReceiptAck(ack) => {
                let asked = self.unanswered.remove(&ack.id);
                assert!(matches!(asked, Some(Asked::Receipt)) || !self.honest, "this was not asked");
            }
            RelayMsg::Snapshots(snapshots) => {
                assert!(
                    self.log.is_some() && (self.understands || !self.honest),
                    "it did not say that it understands that"
                );
                let published = |manifest| self.left.published.contains(manifest);
                let known = snapshots.manifests.0.iter().all(published);
                assert!(known || !self.honest || !self.left.honest, "nobody published this");
                self.listed = true;
            }
            RelayMsg::SnapshotAck(ack) => self.snapshot_kept(ack.id),
            RelayMsg::Notify(notify) => assert!(notify.cursor > RelayCursor::START),
            RelayMsg::Refused(refused) if refused.id == 0 => self.last_word = Some(refused),
            RelayMsg::Refused(refused) => self.refused(group, &refused),
        }
    }

    /// A part or a manifest is on the relay's disk.
    fn snapshot_kept(&mut self, id: RequestId) {
        let asked = self.unanswered.remove(&id);
        let of_this = matches!(asked, Some(Asked::Part | Asked::Snapshot(..)));
        assert!(of_this || !self.honest, "this was not asked");
        let Some(Asked::Snapshot(blob_id, covers, run)) = asked else { return };
        assert!(covers == 0 || run != Run::START || !self.honest, "no row has this run");
        let kept = self.left.kept.entry(self.log.expect("it was welcomed to one")).or_default();
        if !kept.contains(&blob_id) {
            kept.push(blob_id);
            kept.drain(..kept.len().saturating_sub(SNAPSHOTS_KEPT));
        }
    }

    fn refused(&mut self, group: &Group, refused: &Refused) {
        let code = refused.error();
        let asked = self.unanswered.remove(&refused.id);
        let outdone = code == ErrorCode::SnapshotOutdone;
        assert!(!outdone || matches!(asked, Some(Asked::Snapshot(..))) || !self.honest, "by nothing");
        if let Some(Asked::Move) = asked {
            let good = self.left.ids.asked(refused.id).is_some_and(|asked| asked.good);
            let because = if good {
                matches!(code, ErrorCode::GroupMoved)
            } else {
                matches!(code, ErrorCode::AuthFailed | ErrorCode::Malformed)
            };
            let expected = because || matches!(code, ErrorCode::RateLimited);
            assert!(expected || !self.honest, "a move was refused for {}", code.name());
            self.left.ids.answered(refused.id, Err(code), &|id| group.id(id));
        } else if code == ErrorCode::GroupMoved {
            // Said of a request; that it is so is seen at the end.
            self.moved |= self.honest;
        }
    }

    fn moved(&mut self, group: &Group, ack: MoveAck) {
        if ack.id == 0 {
            // Unasked: what others left who went another way. There has to be something.
            assert!(!ack.others.0.is_empty(), "nothing is told");
            return;
        }
        let asked = self.unanswered.remove(&ack.id);
        assert!(matches!(asked, Some(Asked::Move)) || !self.honest, "this was not asked");
        let good = self.left.ids.asked(ack.id).is_none_or(|asked| asked.good);
        assert!(good, "what was not signed is done");
        self.left.ids.answered(ack.id, Ok(ack.others.0), &|id| group.id(id));
    }

    fn acknowledged(&mut self, ack: &PushAck) {
        let is = (ack.blob_id, ack.run);
        let log = self.log.expect("it was welcomed to one");
        let was = self.left.acknowledged.entry(log).or_default().insert(ack.cursor.get(), is);
        assert!(was.is_none_or(|was| was == is), "one row for two envelopes");
        self.known_run(ack.cursor.get(), ack.run);
        if let Some(Asked::Push(asked)) = self.unanswered.remove(&ack.id) {
            assert!(asked == ack.blob_id || !self.honest, "another envelope than was pushed");
        }
    }

    fn page(&mut self, page: Page) {
        self.unanswered.remove(&page.id);
        assert!(self.listed || !self.understands || !self.honest, "snapshots are told first");
        let Some((after, rows_max)) = self.pulls.get_mut(&page.id).filter(|_| self.honest) else { return };
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
