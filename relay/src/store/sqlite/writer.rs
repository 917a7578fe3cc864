//! The one task that writes.
//!
//! It takes everything that waits for it and commits it as one transaction: under load one disk flush carries
//! hundreds of pushes, and alone a push waits for nobody. Being alone, it needs no locks, it numbers rows without
//! gaps, and a reader can't see row n+1 before row n.
//!
//! Invariant: nothing is answered, and no head moves, before the commit returned. If it fails, nothing happened:
//! what the transaction changed in memory is dropped with it.
//!
//! Invariant: a MOVE has its turn in the queue, and so has the mending of a log. What came before it is done before it, and
//! what comes behind it finds the logs over that it has ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use sqlx::{Row as _, SqliteConnection};
use sync_sqlite::Database;
use sync_types::{BlobId, DeviceId, ErrorCode, LogId, RelayCursor};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::{Shared, append::Batch, ids, mending::Inspected, receipts, signed};
use crate::store::{
    Appended, Bounds, Greeted, Greeting, GroupLog, Moved, Moving, NewBlob, NewPart, NewSnapshot, StoreError, Sweep,
    Swept,
};

/// Requests taken into one transaction at most.
const GATHER_MAX: usize = 256;
/// How long noted ACKs wait for a transaction to ride on before they get their own.
const ACKS_WAIT: Duration = Duration::from_secs(1);

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// Blobs for one log.
pub(super) type Request = (Arc<GroupLog>, Vec<NewBlob>);
pub(super) type Answers = Vec<Result<Appended, ErrorCode>>;

/// What the writer is asked to do.
pub(super) enum Write {
    Greet(Greeting, Reply<Greeted>),
    Append(Arc<GroupLog>, Vec<NewBlob>, Reply<Answers>),
    Move(Moving, Reply<Result<Moved, ErrorCode>>),
    Acked {
        group_no: i64,
        device: DeviceId,
        cursor: RelayCursor,
        now_ms: u64,
    },
    Receipt(Arc<GroupLog>, DeviceId, Bytes, Reply<Result<(), ErrorCode>>),
    Part(Arc<GroupLog>, NewPart, Reply<Result<(), ErrorCode>>),
    Snapshot(Arc<GroupLog>, NewSnapshot, Reply<Result<(), ErrorCode>>),
    /// These rows are damaged, and another log begins with the others.
    Mend(Arc<GroupLog>, Vec<i64>, LogId, Reply<()>),
    /// A manifest or a part is damaged.
    DropBlob(Arc<GroupLog>, BlobId, Reply<()>),
    Inspected(Inspected, Reply<()>),
    Sweep(Sweep, Reply<Swept>),
    Close(Reply<()>),
}

/// What was gathered and may share transactions.
#[derive(Default)]
struct Gathered {
    greetings: Vec<(Greeting, Reply<Greeted>)>,
    appends: Vec<(Request, Reply<Answers>)>,
    sweeps: Vec<(Sweep, Reply<Swept>)>,
}

/// See the [module](self).
pub(super) struct Writer {
    pub(super) db: Database,
    pub(super) books: Books,
}

/// What the writer knows without asking the database.
pub(super) struct Books {
    pub(super) shared: Arc<Shared>,
    pub(super) bounds: Bounds,
    /// What each group keeps, in the bytes its quota counts.
    pub(super) group_bytes: HashMap<i64, u64>,
    /// Bytes of the database in use: exact after [`measure`], and since then counted generously.
    pub(super) db_bytes: u64,
    /// How far devices have read, not yet written down.
    acks: BTreeMap<(i64, DeviceId), (RelayCursor, u64)>,
    /// Receipts, the same.
    pub(super) receipts: receipts::Waiting,
}

impl Writer {
    pub(super) async fn new(
        mut db: SqliteConnection,
        shared: Arc<Shared>,
        bounds: Bounds,
        group_bytes: HashMap<i64, u64>,
    ) -> Result<Self, StoreError> {
        let db_bytes = measure(&mut db, &shared).await?;
        shared.db_bytes.store(db_bytes, Ordering::Relaxed);
        Ok(Self {
            db: Database::new(db),
            books: Books { shared, bounds, group_bytes, db_bytes, acks: BTreeMap::new(), receipts: BTreeMap::new() },
        })
    }

    /// Writes until it is told to close, or until nobody is left to ask.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Write>) {
        let mut gathered = Vec::with_capacity(GATHER_MAX);
        let closed = loop {
            let waiting = inbox.recv_many(&mut gathered, GATHER_MAX);
            if self.books.acks.is_empty() && self.books.receipts.is_empty() {
                waiting.await;
            } else if tokio::time::timeout(ACKS_WAIT, waiting).await.is_err() {
                self.note_acks().await;
                continue;
            }
            if gathered.is_empty() {
                break None;
            }
            if let Some(closed) = self.perform(gathered.drain(..)).await {
                break Some(closed);
            }
        };
        self.note_acks().await;
        if let Err(error) = self.db.close().await {
            error!(%error, "the database did not close cleanly");
        }
        if let Some(closed) = closed {
            let _ = closed.send(Ok(()));
        }
    }

    /// Performs what was gathered; returns the request to close, if there was one.
    async fn perform(&mut self, gathered: impl Iterator<Item = Write>) -> Option<Reply<()>> {
        let (mut batch, mut close) = (Gathered::default(), None);
        for write in gathered {
            match write {
                Write::Greet(greeting, reply) => batch.greetings.push((greeting, reply)),
                Write::Append(log, blobs, reply) => batch.appends.push(((log, blobs), reply)),
                Write::Acked { group_no, device, cursor, now_ms } => {
                    let noted = self.books.acks.entry((group_no, device)).or_default();
                    *noted = (noted.0.max(cursor), noted.1.max(now_ms));
                }
                Write::Receipt(log, device, envelope, reply) => {
                    let _ = reply.send(self.keep_receipt(&log, device, envelope).await);
                }
                Write::Part(log, part, reply) => {
                    let _ = reply.send(self.keep_part(&log, part).await);
                }
                Write::Snapshot(log, snapshot, reply) => {
                    let _ = reply.send(self.publish_snapshot(&log, snapshot).await);
                }
                Write::Sweep(sweep, reply) => batch.sweeps.push((sweep, reply)),
                Write::Move(moving, reply) => {
                    self.perform_together(std::mem::take(&mut batch)).await;
                    self.note_acks().await;
                    let _ = reply.send(self.move_group(moving).await);
                }
                Write::Mend(log, damaged, log_id, reply) => {
                    self.perform_together(std::mem::take(&mut batch)).await;
                    self.note_acks().await;
                    let _ = reply.send(self.mend(&log, &damaged, log_id).await);
                }
                Write::DropBlob(log, blob_id, reply) => {
                    let _ = reply.send(self.drop_blob(&log, &blob_id).await);
                }
                Write::Inspected(inspected, reply) => {
                    let _ = reply.send(self.inspected(inspected).await);
                }
                Write::Close(reply) => close = Some(reply),
            }
        }
        self.perform_together(batch).await;
        close
    }

    /// Performs what may share transactions.
    async fn perform_together(&mut self, batch: Gathered) {
        if !batch.greetings.is_empty() {
            self.greet(batch.greetings).await;
        }
        if !batch.appends.is_empty() {
            self.append(batch.appends).await;
            self.index_fresh().await;
        }
        for (sweep, reply) in batch.sweeps {
            self.note_acks().await;
            let _ = reply.send(self.sweep(sweep).await);
        }
    }

    /// Appends all in one transaction. If that fails, each by itself, so that what one group's rows suffer from is
    /// no other group's loss.
    async fn append(&mut self, appends: Vec<(Request, Reply<Answers>)>) {
        let (requests, replies): (Vec<_>, Vec<_>) = appends.into_iter().unzip();
        let answers = match self.commit(requests.clone()).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if requests.len() == 1 => vec![Err(error)],
            Err(_) => {
                let mut answers = Vec::with_capacity(requests.len());
                for request in requests {
                    let alone = self.commit(vec![request]).await;
                    answers.push(alone.map(|mut answers| answers.remove(0)));
                }
                answers
            }
        };
        for (reply, answers) in replies.into_iter().zip(answers) {
            let _ = reply.send(answers);
        }
    }

    async fn commit(&mut self, requests: Vec<Request>) -> Result<Vec<Answers>, StoreError> {
        let mut batch = Batch::default();
        let answers = self
            .db
            .transaction(async |db| {
                write_acks(db, &self.books.acks);
                receipts::write(db, &self.books.receipts);
                batch.append(db, &self.books, requests).await
            })
            .await?;
        self.books.acks.clear();
        receipts::announce(&self.books.shared, &std::mem::take(&mut self.books.receipts));
        batch.publish(&mut self.books);
        Ok(answers)
    }

    /// Writes the noted ACKs and receipts down by themselves. Those that can't be written are noted again by their devices.
    pub(super) async fn note_acks(&mut self) {
        let (acks, receipts) = (std::mem::take(&mut self.books.acks), std::mem::take(&mut self.books.receipts));
        let noting = self.db.transaction(async |db| {
            write_acks(db, &acks);
            receipts::write(db, &receipts);
            Ok::<_, StoreError>(())
        });
        if noting.await.is_ok() {
            receipts::announce(&self.books.shared, &receipts);
        }
    }
}

fn write_acks(db: &mut Database, acks: &BTreeMap<(i64, DeviceId), (RelayCursor, u64)>) {
    for ((group_no, device), (cursor, now_ms)) in acks {
        db.add("UPDATE devices SET acked = MAX(acked, ?), seen_ms = MAX(seen_ms, ?) WHERE group_no = ? AND device = ?")
            .bind(signed(cursor.get()))
            .bind(signed(*now_ms))
            .bind(group_no)
            .bind(device.as_bytes().as_slice());
    }
}

/// Bytes of the database in use: all its pages but the free ones, and what the index of blobs has still to grow by.
pub(super) async fn measure(db: &mut SqliteConnection, shared: &Shared) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT (pages.page_count - free.freelist_count) * size.page_size
         FROM pragma_page_count AS pages, pragma_freelist_count AS free, pragma_page_size AS size",
    )
    .fetch_one(db)
    .await?;
    let pages: i64 = row.try_get(0)?;
    Ok(pages.cast_unsigned() + ids::footprint(shared.fresh().len()))
}
