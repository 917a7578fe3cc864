//! One device's session, from its greeting to its last word.
//!
//! Five loops run side by side in one task: read requests, change logs, answer reads, say who is there, write. Between
//! them are short queues, so each goes on while another waits: a device that takes nothing in can still push, and one
//! that sends half a frame still gets its pages. When one loop ends, the session ends: what was pushed is still
//! committed and acknowledged, and the reason is said before the connection closes. It also ends when its group gets
//! another id; then what was pushed is refused, for the store takes nothing by the old one.
//!
//! Invariant: a session holds a bounded number of bytes whatever the device does, and no lock while it waits.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use iroh::endpoint::{Connection, VarInt};
use sync_types::{
    DecodeError, DeviceId, DeviceMsg, ErrorCode, RelayCursor, RelayMsg,
    limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX},
    message::features,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tracing::{debug, info};

use crate::{
    error::Refusal,
    link::{FrameReader, FrameWriter, LinkError, time_for},
    own::Own,
    presence::{self, Here},
    quota::{Address, Pass},
    request::{
        ack, hello,
        hello::{Answer, Member, Peer},
        moving::{self, Mover},
        pull::{self, Read},
        push, receipt, snapshot,
        write::{self, Write},
    },
    state::State,
};

/// How long a device may take to greet.
const GREETING: Duration = Duration::from_secs(5);
/// MOVEs that may come before the greeting; each has the greeting's time.
const EARLY_MOVES_MAX: usize = 8;
/// How long an ending session may take to commit and answer what it has begun.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a peer may take to hear why its connection ends.
const LAST_WORD: Duration = Duration::from_millis(500);
/// Reads that wait for the one that is being answered.
const READS: usize = 16;
/// Short answers that wait to be written.
const REPLIES: usize = 256;

/// What the loops of a session share.
pub(crate) struct Session {
    pub(crate) relay: Arc<State>,
    pub(crate) member: Member,
    /// The network address that it comes from.
    pub(crate) from: Address,
    /// What signatures are bound to: see [`Peer`].
    pub(crate) exporter: [u8; 32],
    own: Mutex<Own>,
    /// Its place among the group's sessions.
    pub(crate) here: Here,
    /// How far the device has said to have read.
    acked: AtomicU64,
    /// Short answers. Long ones go through `pages`, one at a time.
    replies: mpsc::Sender<Bytes>,
    pages: mpsc::Sender<Bytes>,
    push_bytes: Arc<Semaphore>,
}

impl Session {
    /// Takes a token for one request.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Refusal> {
        self.relay.quotas.messages.take(self.member.device, now).map_err(|wait| {
            self.relay.metrics.limited.add(1);
            Refusal::later(ErrorCode::RateLimited, wait)
        })
    }

    /// Who would move the group.
    pub(crate) fn mover(&self) -> Mover<'_> {
        Mover { relay: &self.relay, device: self.member.device, from: self.from, exporter: &self.exporter }
    }

    /// Waits until this session may hold so many bytes more that are to be appended.
    pub(crate) async fn room(&self, len: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let len = u32::try_from(len).map_err(|_| ErrorCode::BlobTooLarge)?;
        let room = Arc::clone(&self.push_bytes).acquire_many_owned(len).await;
        room.map_err(|_| ErrorCode::ShuttingDown.into())
    }

    /// The rows that came over this connection.
    pub(crate) fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far the device has read; false if that is no news.
    pub(crate) fn advance(&self, acked: RelayCursor) -> bool {
        self.acked.fetch_max(acked.get(), Ordering::Relaxed) < acked.get()
    }

    /// Sends a short answer.
    pub(crate) async fn reply(&self, message: RelayMsg) {
        // The receiver outlives the loops that send.
        let _ = self.replies.send(message.to_frame()).await;
    }

    /// A place for one long answer, once the one before is being written. To be had before the answer is read
    /// from anywhere, so that what waits for a slow reader is a position and not a page.
    pub(crate) async fn place(&self) -> Option<Place<'_>> {
        self.pages.reserve().await.ok().map(Place)
    }
}

/// See [`Session::place`].
pub(crate) struct Place<'a>(mpsc::Permit<'a, Bytes>);

impl Place<'_> {
    /// Sends the answer.
    pub(crate) fn send(self, message: &RelayMsg) {
        self.0.send(message.to_frame());
    }
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The device said goodbye.
    Goodbye,
    /// The connection is gone.
    Lost,
    /// The relay ends it, and says why.
    Refused(Refusal),
    /// The group is known by another id, and what was left for the device is so many bytes.
    Moved(u64),
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Lost => Self::Lost,
            LinkError::Fault(code) => Self::Refused(code.into()),
        }
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(relay: Arc<State>, connection: Connection, from: Address) {
    let Ok(Ok((send, receive))) = timeout(GREETING, connection.accept_bi()).await else {
        return connection.close(code(ErrorCode::IdleTimeout), b"no greeting");
    };
    let peer = match Peer::of(&connection) {
        Ok(peer) => peer,
        Err(why) => return refuse(&relay, &connection, why),
    };
    let (code, reason) = session(&relay, &peer, from, FrameReader::new(receive), FrameWriter::new(send)).await;
    connection.close(code, reason.as_bytes());
}

/// One session, to its last word. Returns how its connection is to be closed.
pub(crate) async fn session(
    relay: &Arc<State>,
    peer: &Peer,
    from: Address,
    mut reader: FrameReader,
    mut writer: FrameWriter,
) -> (VarInt, &'static str) {
    let mut told: Option<Pass<DeviceId>> = None;
    let end = match greet(relay, peer, from, &mut reader, &mut writer).await {
        Ok(Answer::Welcome(member, welcome)) => {
            writer.queue(RelayMsg::from(welcome).to_frame());
            relay.metrics.connections.add(1);
            info!(device = ?member.device, group = ?member.log.group, "session opened");
            let device = member.device;
            let end = converse(relay, peer, from, member, &mut reader, &mut writer).await;
            info!(?device, ?end, "session ended");
            end
        }
        Ok(Answer::Moved(moved, pass)) => {
            let frame = RelayMsg::from(moved).to_frame();
            info!(device = ?peer.device, bytes = frame.len(), "told of another id");
            let bytes = frame.len() as u64;
            writer.queue(frame);
            told = Some(pass);
            End::Moved(bytes)
        }
        Err(end) => {
            debug!(?end, "greeting failed");
            end
        }
    };
    let closing = part(relay, &mut writer, end).await;
    drop(told);
    relay.metrics.bytes.add(reader.take_received() + writer.take_sent());
    closing
}

/// Tells a connection that there is no place for it, by the code alone: a frame would wait for its stream.
pub(crate) fn refuse(relay: &State, connection: &Connection, why: ErrorCode) {
    relay.metrics.refused.add(1);
    connection.close(code(why), why.name().as_bytes());
}

/// Reads up to the greeting, which nothing but MOVEs may come before.
async fn greet(
    relay: &State,
    peer: &Peer,
    from: Address,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) -> Result<Answer, End> {
    let mover = Mover { relay, device: peer.device, from, exporter: &peer.exporter };
    for _ in 0..=EARLY_MOVES_MAX {
        let next = timeout(GREETING, reader.next()).await.map_err(|_| Refusal::from(ErrorCode::IdleTimeout))??;
        let next = next.ok_or(End::Goodbye)?;
        match DeviceMsg::from_frame(&next) {
            Ok(DeviceMsg::Hello(message)) => return Ok(hello::hello(relay, peer, from, message).await?),
            Ok(DeviceMsg::Move(message)) => {
                writer.queue(moving::perform_early(&mover, message).await.to_frame());
                writer.flush().await?;
            }
            Ok(
                DeviceMsg::Push(_)
                | DeviceMsg::Pull(_)
                | DeviceMsg::Ack(_)
                | DeviceMsg::Get(_)
                | DeviceMsg::Receipt(_)
                | DeviceMsg::SnapshotPart(_)
                | DeviceMsg::Snapshot(_),
            ) => {
                return Err(Refusal::from(ErrorCode::NotGreeted).into());
            }
            Err(DecodeError::UnknownType { .. }) => return Err(Refusal::from(ErrorCode::Unsupported).into()),
            Err(DecodeError::Malformed { .. }) => return Err(Refusal::from(ErrorCode::Malformed).into()),
        }
    }
    Err(Refusal::from(ErrorCode::NotGreeted).into())
}

/// Runs the loops until one of them ends, and brings to an end what they had begun.
async fn converse(
    relay: &Arc<State>,
    peer: &Peer,
    from: Address,
    member: Member,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) -> End {
    let (replies, mut replies_out) = mpsc::channel(REPLIES);
    let (pages, mut pages_out) = mpsc::channel(1);
    let (writes, writes_out) = mpsc::channel(IN_FLIGHT_MAX);
    let (reads, reads_out) = mpsc::channel(READS);
    let session = Session {
        relay: Arc::clone(relay),
        here: relay.presence.enter(member.log.group, member.device),
        member,
        from,
        exporter: peer.exporter,
        own: Mutex::default(),
        acked: AtomicU64::new(0),
        replies,
        pages,
        push_bytes: Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)),
    };
    let end = {
        let mut changing = pin!(write::perform_all(&session, writes_out));
        let mut reading = pin!(pull::serve(&session, reads_out));
        let mut telling = pin!(tell(&session));
        let mut writing = pin!(write(&session, writer, &mut replies_out, &mut pages_out));
        let (end, drain) = tokio::select! {
            biased;
            end = &mut writing => (end, false),
            () = &mut changing => (End::Lost, false),
            () = &mut reading => (End::Lost, false),
            () = &mut telling => (End::Lost, false),
            () = session.member.log.ended() => (End::Refused(ErrorCode::GroupMoved.into()), true),
            end = read(&session, reader, writes, reads) => (end, end != End::Lost),
            () = relay.stopping() => (End::Refused(ErrorCode::ShuttingDown.into()), true),
        };
        if drain {
            // Nobody sends requests any more, so both loops end once they have answered what there is.
            let answering = async { tokio::join!(changing, reading) };
            let drained = async {
                tokio::select! {
                    biased;
                    _ = writing => {}
                    _ = answering => {}
                }
            };
            let _ = timeout(DRAIN, drained).await;
        }
        end
    };
    for answered in [&mut replies_out, &mut pages_out] {
        while let Ok(frame) = answered.try_recv() {
            writer.queue(frame);
        }
    }
    end
}

/// Says which snapshots there are, who else is there, and what was left for the group elsewhere, to a device that
/// understands it.
async fn tell(session: &Session) {
    let who = async {
        if session.member.features & features::PRESENCE != 0 {
            presence::tell(session).await;
        }
    };
    tokio::join!(biased; snapshot::tell(session), who, moving::tell(session));
    // Nothing is left to tell; the session goes on.
    std::future::pending::<()>().await;
}

/// Reads requests and hands them on.
async fn read(
    session: &Session,
    reader: &mut FrameReader,
    writes: mpsc::Sender<Box<Write>>,
    reads: mpsc::Sender<Box<Read>>,
) -> End {
    loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return End::Goodbye,
            Err(error) => return error.into(),
        };
        session.relay.metrics.bytes.add(reader.take_received());
        let refused = match DeviceMsg::from_frame(&frame) {
            Ok(DeviceMsg::Push(message)) => {
                let id = message.id;
                let checked = push::check(session, message).await.map(Write::Push);
                hand_on(&writes, checked).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::Pull(message)) => {
                let id = message.id;
                let admitted = session.admit(Instant::now()).map(|()| Read::Pull(message));
                hand_on(&reads, admitted).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::Get(message)) => {
                let id = message.id;
                let admitted = session.admit(Instant::now()).map(|()| Read::Get(message));
                hand_on(&reads, admitted).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::Move(message)) => {
                let id = message.id;
                let checked = moving::check(session, message).await.map(Write::Move);
                hand_on(&writes, checked).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::Receipt(message)) => {
                let id = message.id;
                let checked = receipt::check(session, message).map(Write::Receipt);
                hand_on(&writes, checked).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::SnapshotPart(message)) => {
                let id = message.id;
                let checked = snapshot::check_part(session, message).await.map(Write::Snapshot);
                hand_on(&writes, checked).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::Snapshot(message)) => {
                let id = message.id;
                let checked = snapshot::check_manifest(session, message).await.map(Write::Snapshot);
                hand_on(&writes, checked).await.map_err(|refusal| refusal.answer(id))
            }
            Ok(DeviceMsg::Ack(message)) => {
                ack::ack(session, &message);
                Ok(())
            }
            Ok(DeviceMsg::Hello(_)) | Err(DecodeError::Malformed { .. }) => {
                return End::Refused(ErrorCode::Malformed.into());
            }
            Err(DecodeError::UnknownType { id, .. }) => Err(Refusal::from(ErrorCode::Unsupported).answer(id)),
        };
        if let Err(refused) = refused {
            session.reply(refused.into()).await;
        }
    }
}

/// Queues a request. It travels in a box because a queue keeps places for dozens from the start, and most sessions only listen.
async fn hand_on<T>(queue: &mpsc::Sender<Box<T>>, request: Result<T, Refusal>) -> Result<(), Refusal> {
    // The queue's other end lives as long as the session.
    let _ = queue.send(Box::new(request?)).await;
    Ok(())
}

/// Writes answers as they come: short ones first, so that a large page delays no acknowledgement behind it.
async fn write(
    session: &Session,
    writer: &mut FrameWriter,
    replies: &mut mpsc::Receiver<Bytes>,
    pages: &mut mpsc::Receiver<Bytes>,
) -> End {
    loop {
        if let Err(error) = writer.flush().await {
            return error.into();
        }
        session.relay.metrics.bytes.add(writer.take_sent());
        tokio::select! {
            biased;
            Some(frame) = replies.recv() => {
                writer.queue(frame);
                while let Ok(frame) = replies.try_recv() {
                    writer.queue(frame);
                }
            }
            Some(frame) = pages.recv() => writer.queue(frame),
            else => return End::Lost,
        }
    }
}

/// Says why the connection ends, if it is worth saying. Returns how to close it.
async fn part(relay: &State, writer: &mut FrameWriter, end: End) -> (VarInt, &'static str) {
    match end {
        End::Goodbye => {
            let _ = timeout(LAST_WORD, writer.finish()).await;
            (VarInt::from_u32(0), "goodbye")
        }
        End::Lost => (VarInt::from_u32(0), ""),
        End::Refused(refusal) => {
            relay.metrics.refused.add(1);
            writer.queue(RelayMsg::from(refusal.answer(0)).to_frame());
            let _ = timeout(LAST_WORD, writer.finish()).await;
            (code(refusal.code), refusal.code.name())
        }
        End::Moved(bytes) => {
            // It has to arrive, over a slow line as well: without it the device finds its group nowhere.
            tokio::select! {
                biased;
                _ = timeout(time_for(bytes), writer.finish()) => {}
                () = relay.stopping() => {}
            }
            (code(ErrorCode::GroupMoved), ErrorCode::GroupMoved.name())
        }
    }
}

/// The QUIC error code that says the same, for a peer that misses the frame.
fn code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}
