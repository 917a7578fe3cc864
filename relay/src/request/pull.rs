//! PULL: the rows after a cursor, and from then on every row as it comes.
//!
//! One loop a session, which holds nothing but its position. It reads a page when the log's head is past that
//! position and the page before is being written; a slow reader is simply further behind. A session that does not follow
//! is told once of the newest row, however many there were. How far the others have come is told in between.
//!
//! Invariant: the rows of a session's pages are contiguous from the PULL's cursor on.

use bytes::Bytes;
use sync_types::{
    Envelope, ErrorCode, RelayCursor, RelayMsg, RequestId,
    limits::{PAGE_BYTES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
    message::{Gap, Get, Notify, Page, Pull, Row, RowKind},
};
use tokio::sync::mpsc;

use super::{get, receipt::Telling};
use crate::{
    connection::Session,
    error::Refusal,
    retention::wall_ms,
    store::{Head, Span, StoreError, StoredRow},
};

/// A request that is answered with rows.
pub(crate) enum Read {
    Pull(Pull),
    Get(Get),
}

/// A PULL that goes on.
struct Follow {
    id: RequestId,
    after: RelayCursor,
    rows_max: usize,
}

/// Why a PULL gets no page.
enum Miss {
    Refused(Refusal),
    /// The row after the cursor has left.
    Gone,
}

impl From<StoreError> for Miss {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// Answers reads, follows and notifies, until there are no more requests to come.
pub(crate) async fn serve(session: &Session, mut requests: mpsc::Receiver<Box<Read>>) {
    let mut head = session.member.head.clone();
    let mut following: Option<Follow> = None;
    let mut told = session.member.entered_at;
    let mut receipts = Telling::new(session);
    loop {
        if receipts.is_due() {
            let Some(place) = session.place().await else { return };
            if let Some(message) = receipts.next(session).await {
                place.send(&message);
            }
        }
        let behind = following.as_ref().map_or(told, |follow| follow.after) < head.borrow_and_update().cursor;
        let request = if behind {
            match requests.try_recv() {
                Ok(request) => Some(request),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => return,
            }
        } else {
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => Some(request),
                    None => return,
                },
                () = receipts.due() => continue,
                changed = head.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
        };
        if let Some(Read::Pull(Pull { follow: true, .. })) = request.as_deref() {
            receipts.begin(session);
            while receipts.has_more() {
                let Some(place) = session.place().await else { return };
                if let Some(message) = receipts.next(session).await {
                    place.send(&message);
                }
            }
        }
        let Some(place) = session.place().await else { return };
        // Not what it was when the request came: that may be a while ago, and the device may know better.
        let end = session.member.log.head();
        match (request.map(|request| *request), &mut following) {
            (Some(Read::Get(get)), _) => place.send(&get::get(session, get).await),
            (Some(Read::Pull(pull)), _) => {
                following = None;
                let follow = Follow { id: pull.id, after: pull.after, rows_max: rows_max(pull.limit) };
                match begin(session, &pull, follow, &end, &mut told).await {
                    Ok((first, follow)) => {
                        place.send(&first);
                        following = pull.follow.then_some(follow);
                    }
                    Err(miss) => place.send(&missed(miss, pull.id, session)),
                }
            }
            (None, Some(follow)) => {
                let id = follow.id;
                match page(session, follow, &mut told).await {
                    Ok(page) => place.send(&page),
                    Err(miss) => {
                        following = None;
                        place.send(&missed(miss, id, session));
                    }
                }
            }
            (None, None) => {
                if let Some(notice) = notice(session, &end, &mut told) {
                    place.send(&notice);
                }
            }
        }
    }
}

fn rows_max(limit: u32) -> usize {
    let limit = if limit == 0 { PAGE_ROWS_DEFAULT } else { limit.min(PAGE_ROWS_MAX) };
    usize::try_from(limit).expect("at most PAGE_ROWS_MAX")
}

/// Checks that the device's log is this log, and reads the first page, which may be empty.
async fn begin(
    session: &Session,
    pull: &Pull,
    mut follow: Follow,
    end: &Head,
    told: &mut RelayCursor,
) -> Result<(RelayMsg, Follow), Miss> {
    let forked = || Miss::Refused(ErrorCode::LogForked.into());
    if pull.after > end.cursor {
        return Err(forked());
    }
    if pull.after < end.floor_cursor {
        return Err(Miss::Gone);
    }
    let run = session.relay.store.run_at(&session.member.log, pull.after).await?;
    if run.ok_or(Miss::Gone)? != pull.run {
        return Err(forked());
    }
    let first = page(session, &mut follow, told).await?;
    Ok((first, follow))
}

/// Reads the next page and moves on past it.
async fn page(session: &Session, follow: &mut Follow, told: &mut RelayCursor) -> Result<RelayMsg, Miss> {
    let log = &session.member.log;
    let span = Span { after: follow.after, rows_max: follow.rows_max, bytes_max: PAGE_BYTES_MAX };
    let rows = session.relay.store.rows(log, span, session.relay.clock.at(wall_ms())).await?.ok_or(Miss::Gone)?;
    let last = rows.last().map_or(follow.after, |row| row.cursor);
    let max_cursor = last.max(log.head.borrow().cursor);
    let rows = rows.into_iter().map(|row| served(session, row)).collect::<Vec<_>>();
    let blobs = rows.iter().filter(|row| row.kind == RowKind::Blob as u8).count();
    let page = Page { id: follow.id, after: follow.after, rows: rows.into(), max_cursor };
    session.relay.metrics.delivered.add(blobs as u64);
    follow.after = last;
    *told = max_cursor.max(*told);
    Ok(page.into())
}

fn served(session: &Session, row: StoredRow) -> Row {
    let mine = |envelope: &Bytes| {
        Envelope::parse(envelope.clone()).is_ok_and(|envelope| envelope.header().sender == session.member.device)
    };
    let own = row.envelope.as_ref().is_some_and(mine) && session.own().contains(row.cursor, &row.blob_id);
    let id = Bytes::copy_from_slice(row.blob_id.as_bytes());
    let (kind, bytes) = match row.envelope {
        Some(_) if own => (RowKind::Yours, id),
        Some(envelope) => (RowKind::Blob, envelope),
        None => (RowKind::Expired, id),
    };
    Row { kind: kind as u8, timestamp_ms: row.received_ms, bytes }
}

/// What to tell of the newest row, unless all there is to tell came from this connection.
fn notice(session: &Session, end: &Head, told: &mut RelayCursor) -> Option<RelayMsg> {
    let first = told.next();
    *told = end.cursor;
    let newest = end.newest?;
    if session.own().contains_all(first, end.cursor) {
        return None;
    }
    let notify = Notify {
        blob_id: newest.blob_id,
        cursor: end.cursor,
        sender: newest.sender,
        size: newest.size,
        timestamp_ms: newest.received_ms,
    };
    Some(notify.into())
}

fn missed(miss: Miss, id: RequestId, session: &Session) -> RelayMsg {
    match miss {
        Miss::Refused(refusal) => refusal.answer(id).into(),
        Miss::Gone => {
            let end = session.member.log.head.borrow();
            Gap { id, floor_cursor: end.floor_cursor, floor_run: end.floor_run }.into()
        }
    }
}
